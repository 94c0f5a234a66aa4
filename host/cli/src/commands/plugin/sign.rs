//! `tidegate plugin keygen`, `sign` and `verify`: signatures in minisign's format, which its own tool makes and checks as well.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{named, named_or_used};
use crate::compose::component;
use crate::compose::signing::SecretKey;
use crate::compose::stands::Registry;
use crate::compose::trust::{TrustedKeys, signature_path, text_of};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// What may be read of a secret key: by its owner.
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// Makes a key pair without a password; a pipeline that builds plugins has nobody to type one.
///
/// # Errors
/// A [`Failure`] when one of the files is there already, or cannot be written.
pub fn keygen(name: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let ending = |ending: &str| {
        let mut path = name.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let (public, secret) = (ending(".pub"), ending(".key"));
    let key = SecretKey::generate().map_err(|why| unusable(&secret, anyhow::anyhow!(why)))?;
    create(&secret, &key.secret_text(), SECRET_MODE)?;
    create(&public, &key.public_text(), PUBLIC_MODE)?;
    let id = key.id();
    let (shown, hidden) = (public.display(), secret.display());
    let text = || {
        format!("key {id}: `{shown}` is for `[plugins] trusted_keys`, `{hidden}` signs and has no password: keep it away from the host\n")
    };
    terminal.result(text, || json!({ "key": id, "public": public, "secret": secret }));
    Ok(Exit::Ok)
}

/// Signs components.
///
/// # Errors
/// A [`Failure`] when the key cannot be used, or a component not be read.
#[expect(clippy::disallowed_methods, reason = "a signature lies beside the component, in a folder of the operator's")]
pub fn sign(config: &Config, plugins: &[String], key: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let secret = secret_key(key)?;
    let id = secret.id();
    let mut signed = Vec::new();
    for plugin in plugins {
        let path = if plugin.ends_with(".wasm") { PathBuf::from(plugin) } else { config.plugin_file(&named(plugin)?) };
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let bytes = component(&named(name)?, &path)?;
        let comment = format!("{name}.wasm");
        let place = signature_path(&path);
        std::fs::write(&place, secret.sign(&bytes, &comment)).map_err(|error| unusable(&place, error.into()))?;
        signed.push(place);
    }
    let text = || signed.iter().map(|place| format!("{}: by {id}\n", place.display())).collect();
    terminal.result(text, || signed.iter().map(|place| json!({ "signature": place, "key": id })).collect());
    Ok(Exit::Ok)
}

/// Says who signed what each plugin's name stands for.
///
/// # Errors
/// A [`Failure`] when one is not signed by a trusted key, or must not be used for another reason.
pub fn verify(config: &Config, plugins: &[String], terminal: &Terminal) -> Result<Exit, Failure> {
    if config.plugins.trusted_keys.is_empty() {
        let hint = "name the public keys in `[plugins] trusted_keys`; `tidegate plugin keygen NAME` makes one";
        return Err(Failure::usage("the settings trust no key, so that there is nothing to check a signature against", hint));
    }
    let (registry, keys) = (Registry::read(config)?, TrustedKeys::read(config)?);
    let mut signed = Vec::new();
    for name in named_or_used(config, plugins)? {
        let stands = registry.stands(config, &name)?;
        let place = signature_path(&config.plugin_file(&name));
        let by = keys.check(&name, &stands.component, stands.signature.as_deref(), &place)?;
        signed.push((name, stands.digest, by.unwrap_or_default()));
    }
    let text = || signed.iter().map(|(name, digest, by)| format!("{name}: {}, signed by {by}\n", digest.short())).collect();
    terminal.result(text, || signed.iter().map(|(name, digest, by)| json!({ "plugin": name, "digest": digest, "key": by })).collect());
    Ok(Exit::Ok)
}

fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let text = text_of(path).map_err(|error| unusable(path, error.into()))?;
    SecretKey::read(&text).map_err(|error| {
        let said = format!("`{}` is not a secret key without a password: {error}", path.display());
        let hint = "`tidegate plugin keygen NAME` makes one; with a key that has a password, `minisign -S -s FILE -x NAME.wasm.sig -m NAME.wasm` signs";
        Failure::usage(said, hint)
    })
}

/// Writes a file that is not there yet.
fn create(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| unusable(path, error.into()))
}

fn unusable(path: &Path, error: anyhow::Error) -> Failure {
    Failure::from(error.context(format!("could not use `{}`", path.display())))
}
