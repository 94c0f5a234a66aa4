//! `tidegate plugin lock`, `pin` and `unpin`: what `plugins.lock` says.

use serde_json::json;
use tidegate_sandbox::Sandbox;
use tidegate_vocab::{Digest, PluginName};

use super::{found, named, named_or_used};
use crate::compose::kept::Kept;
use crate::compose::lock::{Entry, PluginsLock};
use crate::compose::{Loaded, load_component};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Writes an entry for each plugin that is used, or was named, as it lies in the plugin folder.
///
/// # Errors
/// A [`Failure`] when one does not load.
pub fn lock(config: &Config, sandbox: &Sandbox, plugins: &[String], terminal: &Terminal) -> Result<Exit, Failure> {
    let names = named_or_used(config, plugins)?;
    let mut locked = PluginsLock::read(config)?;
    for name in &names {
        let entry = Entry::of(&found(config, sandbox, name.as_str())?, config)?;
        insert(&mut locked, name, entry);
    }
    written(config, &locked, &names, terminal)
}

/// Writes an entry for one build: that in use, or the one that `digest` begins with among those kept and that in the folder.
///
/// # Errors
/// A [`Failure`] when there is no such build.
pub fn pin(config: &Config, sandbox: &Sandbox, plugin: &str, digest: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let name = named(plugin)?;
    let kept = Kept::of(config);
    let book = kept.book()?;
    let builds = book.of(&name).map_or_else(Vec::new, |builds| [&[builds.in_use][..], &builds.before].concat());
    let in_folder = found(config, sandbox, plugin);
    let in_folder_digest = in_folder.as_ref().ok().map(|loaded| loaded.plugin.digest());
    let known: Vec<Digest> = builds.iter().copied().chain(in_folder_digest).collect();
    let Some(wanted) = known.iter().copied().find(|known| digest.is_none_or(|start| known.to_string().starts_with(start))) else {
        let shown: Vec<String> = known.iter().map(Digest::short).collect();
        let text = format!("there is no build `{}` of `{name}`", digest.unwrap_or_default());
        return Err(Failure::usage(text, format!("there are: {}", if shown.is_empty() { "none".to_owned() } else { shown.join(", ") })));
    };
    let loaded = match in_folder {
        Ok(loaded) if loaded.plugin.digest() == wanted => loaded,
        _ => {
            let gone = || Failure::usage(format!("the build {} of `{name}` is not kept any more", wanted.short()), "pin another one");
            let loaded = load_component(sandbox, &name, kept.component(wanted)?.ok_or_else(gone)?)?;
            Loaded { signature: kept.signature(wanted)?, ..loaded }
        }
    };
    let mut locked = PluginsLock::read(config)?;
    insert(&mut locked, &name, Entry::of(&loaded, config)?);
    written(config, &locked, &[name], terminal)
}

/// The same component still is from where it was pulled.
fn insert(locked: &mut PluginsLock, name: &PluginName, entry: Entry) {
    let before = locked.entries.get(name).filter(|before| before.digest == entry.digest);
    let from = before.and_then(|before| before.from.clone());
    locked.entries.insert(name.clone(), Entry { from, ..entry });
}

/// Removes the entry of one plugin.
///
/// # Errors
/// A [`Failure`] when there is none.
pub fn unpin(config: &Config, plugin: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let name = named(plugin)?;
    let mut locked = PluginsLock::read(config)?;
    if locked.entries.remove(&name).is_none() {
        return Err(Failure::usage(format!("`plugins.lock` has no entry for `{name}`"), "there is nothing to remove"));
    }
    locked.write(config)?;
    let text = || format!("{name}: its file in the plugin folder is used again\n");
    terminal.result(text, || json!({ "plugin": name, "locked": false }));
    Ok(Exit::Ok)
}

fn written(config: &Config, locked: &PluginsLock, names: &[PluginName], terminal: &Terminal) -> Result<Exit, Failure> {
    let path = locked.write(config)?;
    let entries = names.iter().filter_map(|name| Some((name, locked.entries.get(name)?)));
    let text = || {
        let lines = entries.clone().map(|(name, entry)| {
            let grants: Vec<&str> = entry.grants.iter().map(String::as_str).collect();
            let lent = if grants.is_empty() { "nothing".to_owned() } else { grants.join(", ") };
            let signed = entry.signed_by.as_ref().map_or_else(String::new, |key| format!(", signed by {key}"));
            format!("{name}: {}, lent {lent}{signed}\n", entry.digest.short())
        });
        lines.chain([format!("written to {}; a running host looks at it with `tidegate plugin reload`\n", path.display())]).collect()
    };
    let value = || entries.clone().map(|(name, entry)| json!({ "plugin": name, "locked": true, "entry": entry })).collect();
    terminal.result(text, value);
    Ok(Exit::Ok)
}
