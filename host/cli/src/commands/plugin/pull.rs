//! `tidegate plugin pull`: components out of registries, into the plugin folder and into `plugins.lock`.
//!
//! A tag is looked up once and never again: what is used from then on is what the lock names, with or without the registry.

use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_sandbox::Sandbox;
use tidegate_vocab::{Digest, PluginName};

use super::{named, with_sandbox};
use crate::compose::lock::{Entry, PluginsLock};
use crate::compose::registry::{Pulled, SIGNATURE, pull as fetch};
use crate::compose::trust::{TrustedKeys, signature_path};
use crate::compose::{Loaded, block_on, component, load_component};
use crate::config::{Config, OciReference};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// What became of one plugin.
struct Done {
    plugin: PluginName,
    from: OciReference,
    digest: Digest,
    is_new: bool,
}

/// Pulls the plugins that were named, or all that the settings say to pull; `from` says from where, for one.
///
/// # Errors
/// A [`Failure`] when one cannot be pulled or must not be used; those before it are in place.
pub fn pull(config: &Config, plugins: &[String], from: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut done = Vec::new();
    for (plugin, from) in wanted(config, plugins, from)? {
        done.push(match there(config, &plugin, &from)? {
            Some(digest) => Done { plugin, from, digest, is_new: false },
            None => {
                let pulled = block_on(fetch(&from, config.plugins.limits.component_bytes_max))?;
                let mut placed = None;
                with_sandbox(config, |sandbox| {
                    placed = Some(place(config, sandbox, &plugin, &pulled)?);
                    Ok(Exit::Ok)
                })?;
                let digest = placed.unwrap_or_else(|| Digest::of(&pulled.component));
                Done { plugin, from: pulled.from, digest, is_new: true }
            }
        });
    }
    let line = |done: &Done| {
        let how = if done.is_new { "pulled from" } else { "there already, from" };
        format!("{}: {}, {how} {}\n", done.plugin, done.digest.short(), done.from)
    };
    let text = || {
        let lines: String = done.iter().map(line).collect();
        lines + "written to plugins.lock; a running host looks at it with `tidegate plugin reload`\n"
    };
    let value = |done: &Done| json!({ "plugin": done.plugin, "digest": done.digest, "from": done.from.to_string(), "new": done.is_new });
    terminal.result(text, || done.iter().map(value).collect());
    Ok(Exit::Ok)
}

/// Which plugins are pulled, and from where.
fn wanted(config: &Config, plugins: &[String], from: Option<&str>) -> Result<Vec<(PluginName, OciReference)>, Failure> {
    let names = plugins.iter().map(|plugin| named(plugin)).collect::<Result<Vec<_>, _>>()?;
    if let Some(from) = from {
        let [name] = names.as_slice() else {
            return Err(Failure::usage(
                "`--from` is for one plugin",
                "name it: `tidegate plugin pull NAME --from oci://HOST/REPOSITORY:TAG`",
            ));
        };
        let reference = OciReference::read(from).map_err(|why| {
            let hint = "expected `oci://HOST/REPOSITORY@sha256:…`, or with `:TAG`";
            Failure::usage(format!("`{from}` is not a place in a registry: {why}"), hint)
        })?;
        return match config.plugin(name).from {
            Some(own) if own != reference => {
                let text = format!("the settings say that `{name}` is pulled from `{own}`");
                Err(Failure::usage(text, format!("change `[plugin.{name}] from` to what you mean, and leave out `--from`")))
            }
            _ => Ok(vec![(name.clone(), reference)]),
        };
    }
    let all = || config.plugin.iter().filter(|(_, plugin)| plugin.from.is_some()).map(|(name, _)| name.clone()).collect();
    let names: Vec<PluginName> = if names.is_empty() { all() } else { names };
    let hint =
        "write `[plugin.NAME] from = \"oci://HOST/REPOSITORY@sha256:…\"`, or `tidegate plugin pull NAME --from oci://HOST/REPOSITORY:TAG`";
    if names.is_empty() {
        return Err(Failure::usage("no plugin of the settings is pulled from a registry", hint));
    }
    let of = |name: PluginName| match config.plugin(&name).from {
        Some(from) => Ok((name, from)),
        None => Err(Failure::usage(format!("the settings do not say where `{name}` is pulled from"), hint)),
    };
    names.into_iter().map(of).collect()
}

/// The component in the folder, if it was pulled from there before.
fn there(config: &Config, plugin: &PluginName, from: &OciReference) -> Result<Option<Digest>, Failure> {
    let locked = PluginsLock::read(config)?;
    let entry = locked.entries.get(plugin).filter(|entry| from.is_pinned() && entry.from.as_deref() == Some(&from.to_string()));
    let Some(entry) = entry else { return Ok(None) };
    let found = component(plugin, &config.plugin_file(plugin)).ok().map(|bytes| Digest::of(&bytes));
    Ok(found.filter(|found| *found == entry.digest))
}

/// Puts what was pulled into the folder and the lock, once it is known to be what it must be.
fn place(config: &Config, sandbox: &Sandbox, plugin: &PluginName, pulled: &Pulled) -> Result<Digest, Failure> {
    let annotation = PathBuf::from(format!("{SIGNATURE} of {}", pulled.from));
    TrustedKeys::read(config)?.check(plugin, &pulled.component, pulled.signature.as_deref(), &annotation)?;
    let loaded = Loaded { signature: pulled.signature.clone(), ..load_component(sandbox, plugin, pulled.component.clone())? };
    let entry = Entry { from: Some(pulled.from.to_string()), ..Entry::of(&loaded, config)? };
    let digest = entry.digest;
    let file = config.plugin_file(plugin);
    write_signature(&signature_path(&file), pulled.signature.as_deref())?;
    write(&file, &pulled.component)?;
    let mut locked = PluginsLock::read(config)?;
    locked.entries.insert(plugin.clone(), entry);
    locked.write(config)?;
    Ok(digest)
}

/// Writes the signature, or takes away that of the component which was there before.
fn write_signature(path: &Path, signature: Option<&str>) -> Result<(), Failure> {
    if let Some(text) = signature {
        return write(path, text.as_bytes());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(path, error)),
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all; a link is replaced, not written through.
#[expect(clippy::disallowed_methods, reason = "the folder of plugins is the operator's")]
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let folder = path.parent().unwrap_or(Path::new(""));
    let written =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&beside, bytes)).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: std::io::Error) -> Failure {
    Failure::from(anyhow::Error::new(error).context(format!("could not write `{}`", path.display())))
}
