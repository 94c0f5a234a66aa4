//! Detached signatures: a plugin is used only if a key that the operator trusts has signed its component.
//!
//! The signature of `NAME.wasm` is `NAME.wasm.sig` beside it, in minisign's format; that of a component that is kept in the state
//! folder is kept with it. It says who made the bytes, not under which name they may be used: that is for `plugins.lock`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{PublicKey, Signature};
use tidegate_vocab::PluginName;

use crate::config::section::{self, Placed};
use crate::config::{Config, KeyOrigin};
use crate::failure::Failure;
use crate::plain_file;

/// Bytes of a file that holds a key or a signature.
const FILE_BYTES_MAX: u64 = 4096;
/// Where the id of a key lies in a key and in a signature, after two bytes that name the algorithm.
const KEY_ID: std::ops::Range<usize> = 2..10;

/// The keys that the settings trust; none where no signatures are asked for.
#[derive(Debug)]
pub struct TrustedKeys(Vec<Trusted>);

#[derive(Debug)]
struct Trusted {
    key: PublicKey,
    id: String,
    /// Where the settings have it from.
    from: String,
}

impl TrustedKeys {
    /// The keys of the settings.
    ///
    /// # Errors
    /// A [`Failure`] that points at the key that cannot be read, or is none.
    pub fn read(config: &Config) -> Result<TrustedKeys, Failure> {
        let read = |origin: &Placed<KeyOrigin>| {
            let (from, key) = match &origin.value {
                KeyOrigin::Inline(text) => ("the settings".to_owned(), key_of(text)),
                KeyOrigin::File(path) => (path.display().to_string(), key_in(path)),
            };
            key.map(|(key, id)| Trusted { key, id, from: from.clone() }).map_err(|why| {
                let hint =
                    "name the public key, which `tidegate plugin keygen NAME` and `minisign -G` write into a file that ends in `.pub`";
                let failure = Failure::usage(format!("there is no public key in {from}: {why}"), hint);
                failure.at(&config.file, origin.span.clone(), "trusted here")
            })
        };
        config.plugins.trusted_keys.iter().map(read).collect::<Result<Vec<_>, _>>().map(TrustedKeys)
    }

    /// Who signed `component`; `None` where no signatures are asked for. `signature` is the text of its signature, `place` where that
    /// was looked for.
    ///
    /// # Errors
    /// A [`Failure`] that names the keys that are trusted, what was found instead, and the way out.
    pub fn check(&self, plugin: &PluginName, component: &[u8], signature: Option<&str>, place: &Path) -> Result<Option<String>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let place = place.display();
        let refuse = |found: String, hint: String| {
            let ids: Vec<String> = self.0.iter().map(|trusted| format!("{} ({})", trusted.id, trusted.from)).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let one = if ids.len() == 1 { "the key" } else { "one of the keys" };
            Failure::usage(format!("plugin `{plugin}` must be signed by {one} {}: {found}", section::list(&ids)), hint)
        };
        let sign =
            format!("look at it with `tidegate plugin inspect {plugin}`; if it is meant, `tidegate plugin sign {plugin} --key FILE`");
        let Some(text) = signature else {
            return Err(refuse(format!("there is no signature `{place}`"), sign));
        };
        let (signature, signer) = signature_of(text).map_err(|why| refuse(format!("`{place}` is not a signature: {why}"), sign.clone()))?;
        let Some(trusted) = self.0.iter().find(|trusted| trusted.id == signer) else {
            let hint = format!("if you trust {signer}, add its public key to `[plugins] trusted_keys`; if not, {sign}");
            return Err(refuse(format!("it is signed by {signer}"), hint));
        };
        match trusted.key.verify(component, &signature, false) {
            Ok(()) => Ok(Some(signer)),
            Err(error) => {
                let found = format!("`{place}` by {signer} does not fit the component: {error}");
                Err(refuse(found, format!("one of the two was changed or mixed up: copy both again; or {sign}")))
            }
        }
    }
}

/// Where the signature of a component lies.
pub fn signature_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// The signature beside a component, if there is one.
///
/// # Errors
/// A [`Failure`] when it cannot be read.
pub fn signature_beside(component: &Path) -> Result<Option<String>, Failure> {
    let path = signature_path(component);
    match text_of(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let text = format!("could not read the signature `{}`", path.display());
            Err(Failure::from(anyhow::Error::new(error).context(text)))
        }
    }
}

/// The id of a key, as minisign writes it.
pub fn key_id(bytes: &[u8]) -> String {
    bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

/// The id in a line of a key or a signature.
fn id_in(line: Option<&str>) -> Result<String, String> {
    let bytes = line.and_then(|line| BASE64_STANDARD.decode(line.trim()).ok());
    bytes.as_deref().and_then(|bytes| bytes.get(KEY_ID)).map(key_id).ok_or_else(|| "it is not in minisign's format".to_owned())
}

fn signature_of(text: &str) -> Result<(Signature, String), String> {
    let id = id_in(text.lines().nth(1))?;
    Ok((Signature::decode(text).map_err(|error| error.to_string())?, id))
}

fn key_of(line: &str) -> Result<(PublicKey, String), String> {
    let id = id_in(Some(line))?;
    Ok((PublicKey::from_base64(line.trim()).map_err(|error| error.to_string())?, id))
}

fn key_in(path: &Path) -> Result<(PublicKey, String), String> {
    let text = text_of(path).map_err(|error| error.to_string())?;
    // A comment, then the key.
    key_of(text.lines().nth(1).unwrap_or_default())
}

/// The text of a small file.
pub fn text_of(path: &Path) -> std::io::Result<String> {
    plain_file::text(path, FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::signing::SecretKey;

    fn key() -> SecretKey {
        SecretKey::generate().unwrap()
    }

    fn trusted(keys: &[&SecretKey]) -> TrustedKeys {
        let key = |key: &&SecretKey| {
            let (key, id) = key_of(key.public_text().lines().nth(1).unwrap()).unwrap();
            Trusted { key, id, from: "keys/team.pub".to_owned() }
        };
        TrustedKeys(keys.iter().map(key).collect())
    }

    fn signed(key: &SecretKey, component: &[u8]) -> String {
        key.sign(component, "t")
    }

    #[track_caller]
    fn refused(keys: &TrustedKeys, component: &[u8], signature: Option<&str>, because: &str) {
        let failure = keys.check(&"csv".parse().unwrap(), component, signature, Path::new("plugins/csv.wasm.sig"));
        let line = failure.unwrap_err().line();
        assert!(line.contains(because) && line.contains("hint: "), "{because}\n{line}");
        for trusted in &keys.0 {
            assert!(line.contains(&format!("{} (keys/team.pub)", trusted.id)), "{line}");
        }
    }

    #[test]
    fn only_bytes_that_a_trusted_key_signed_are_let_through() {
        let (team, other, stranger) = (key(), key(), key());
        let keys = trusted(&[&team, &other]);
        let good = signed(&team, b"component");
        let check = |keys: &TrustedKeys, component: &[u8], signature: Option<&str>| {
            keys.check(&"csv".parse().unwrap(), component, signature, Path::new("x"))
        };
        assert_eq!(check(&keys, b"component", Some(&good)).unwrap(), Some(team.id()));
        assert_eq!(check(&keys, b"component", Some(&signed(&other, b"component"))).unwrap(), Some(other.id()));
        // No keys, no question.
        assert_eq!(check(&trusted(&[]), b"component", None).unwrap(), None);

        refused(&keys, b"component", None, "there is no signature `plugins/csv.wasm.sig`");
        refused(&keys, b"Component", Some(&good), "does not fit the component");
        let by_stranger = signed(&stranger, b"component");
        refused(&keys, b"component", Some(&by_stranger), &format!("it is signed by {}", stranger.id()));
        // A stranger whose signature claims the id of a trusted key.
        let mut forged = trusted(&[&stranger]);
        forged.0[0].id = team.id();
        refused(&forged, b"component", Some(&good), "does not fit the component");
        // The comment is signed too.
        refused(&keys, b"component", Some(&good.replace("trusted comment: t", "trusted comment: u")), "does not fit the component");
    }

    #[test]
    fn a_file_that_is_no_signature_is_refused_and_nothing_panics() {
        let team = key();
        let (keys, good) = (trusted(&[&team]), signed(&team, b"component"));
        for cut in (0..good.trim_end().len()).step_by(7) {
            refused(&keys, b"component", Some(&good[..cut]), "is not a signature");
        }
        // The first line is a comment that nobody vouches for.
        for line in 1..4 {
            let lines: Vec<&str> = good.lines().enumerate().map(|(at, text)| if at == line { "é" } else { text }).collect();
            refused(&keys, b"component", Some(&lines.join("\n")), "`plugins/csv.wasm.sig`");
        }
    }
}
