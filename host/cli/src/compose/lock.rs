//! `plugins.lock`: which component each plugin must be, and what it was lent when somebody looked at it.
//!
//! The file lies beside the settings, so that it is kept with them. A plugin with an entry is loaded only as the entry says, whatever
//! lies in the plugin folder; one without is loaded as found, unless it must be locked: because `[plugins] locked` says so, or because
//! it was granted http or a secret. Whoever may write the plugin folder must not inherit those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_vocab::{Digest, PluginName};

use super::Loaded;
use super::trust::{TrustedKeys, signature_path};
use crate::config::{Config, File, PluginConfig, section};
use crate::failure::Failure;
use crate::plain_file;

/// The file's name.
const FILE: &str = "plugins.lock";
/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What the file begins with.
const HEAD: &str = "# Which component each plugin must be. Written by `tidegate plugin lock` and `tidegate plugin pin`.\n\n";

/// The entries of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginsLock {
    /// By plugin.
    pub entries: BTreeMap<PluginName, Entry>,
}

/// What one plugin must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its component.
    pub digest: Digest,
    /// The interface that it was built for.
    pub interface: String,
    /// What it was lent, a line each.
    #[serde(default)]
    pub grants: BTreeSet<String>,
    /// Where it was pulled from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The key that had signed it, where signatures were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

impl Entry {
    /// The entry of a plugin as it is loaded and lent to now.
    ///
    /// # Errors
    /// A [`Failure`] when no trusted key has signed it.
    pub fn of(loaded: &Loaded, config: &Config) -> Result<Entry, Failure> {
        let (plugin, signature) = (&loaded.plugin, loaded.signature.as_deref());
        let place = signature_path(&config.plugin_file(plugin.name()));
        let signed_by = TrustedKeys::read(config)?.check(plugin.name(), &loaded.component, signature, &place)?;
        let interface = plugin.manifest().interface.clone();
        Ok(Entry { digest: plugin.digest(), interface, grants: grant_lines(&config.plugin(plugin.name())), from: None, signed_by })
    }
}

impl PluginsLock {
    /// The file beside the settings; no entries where there is none.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read, or is no such file.
    pub fn read(config: &Config) -> Result<PluginsLock, Failure> {
        let path = path(config);
        let text = match plain_file::text(&path, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(PluginsLock::default()),
            Err(error) => return Err(unusable(&path, error.into())),
        };
        let hint = "mend the line, or remove the entry and write it again with `tidegate plugin lock NAME`";
        toml::from_str(&text).map_err(|error| {
            let said = format!("`{}` is not a lock file: {}", path.display(), error.message());
            let span = error.span().unwrap_or(0..0);
            Failure::usage(said, hint).at(&File { path: path.clone(), text: text.clone() }, span, "here")
        })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be written.
    #[expect(clippy::disallowed_methods, reason = "a file of the operator's, like the settings")]
    pub fn write(&self, config: &Config) -> Result<PathBuf, Failure> {
        let path = path(config);
        let text = toml::to_string(self).map_err(|error| unusable(&path, error.into()))?;
        let beside = path.with_extension("lock.new");
        let written = std::fs::write(&beside, format!("{HEAD}{text}")).and_then(|()| std::fs::rename(&beside, &path));
        written.map_err(|error| unusable(&path, error.into()))?;
        Ok(path)
    }

    /// Whether `plugin` is what the settings say that it is pulled from, if they do.
    ///
    /// # Errors
    /// A [`Failure`] that says what the entry names instead.
    pub fn check_pulled(&self, config: &Config, plugin: &PluginName) -> Result<(), Failure> {
        let Some(wanted) = config.plugin(plugin).from.map(|from| from.to_string()) else { return Ok(()) };
        let locked = self.entries.get(plugin).and_then(|entry| entry.from.as_ref());
        if locked == Some(&wanted) {
            return Ok(());
        }
        let found = locked.map_or_else(|| "it was not pulled yet".to_owned(), |locked| format!("`{FILE}` names `{locked}`"));
        Err(Failure::usage(format!("plugin `{plugin}` is to be `{wanted}`, and {found}"), format!("`tidegate plugin pull {plugin}`")))
    }

    /// Whether `plugin` may be loaded with this digest and what the settings lend it.
    ///
    /// # Errors
    /// A [`Failure`] that says what differs from the entry, or that there has to be one.
    pub fn check(&self, config: &Config, plugin: &PluginName, found: Digest) -> Result<(), Failure> {
        let Some(entry) = self.entries.get(plugin) else {
            return if config.must_be_locked(plugin) { Err(unlocked(config, plugin)) } else { Ok(()) };
        };
        let again = format!("look at it with `tidegate plugin inspect {plugin}`; if it is meant, `tidegate plugin lock {plugin}`");
        if entry.digest != found {
            let text = format!("plugin `{plugin}` is {}, `{FILE}` says {}", found.short(), entry.digest.short());
            return Err(Failure::usage(text, again));
        }
        let lent = grant_lines(&config.plugin(plugin));
        if lent == entry.grants {
            return Ok(());
        }
        let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            let lines: Vec<&str> = one.difference(other).map(String::as_str).collect();
            if lines.is_empty() { "nothing".to_owned() } else { section::list(&lines) }
        };
        let (added, gone) = (only(&lent, &entry.grants), only(&entry.grants, &lent));
        let text = format!("plugin `{plugin}` is lent other things than `{FILE}` says: added {added}, gone {gone}");
        Err(Failure::usage(text, again))
    }
}

fn unlocked(config: &Config, plugin: &PluginName) -> Failure {
    let why = if config.plugins.locked { "`[plugins] locked` is set" } else { "it was granted http or a secret" };
    let text = format!("plugin `{plugin}` has no entry in `{FILE}`, which it must have because {why}");
    Failure::usage(text, format!("look at it with `tidegate plugin inspect {plugin}`, then `tidegate plugin lock {plugin}`"))
}

fn path(config: &Config) -> PathBuf {
    config.file.path.with_file_name(FILE)
}

fn unusable(path: &std::path::Path, error: anyhow::Error) -> Failure {
    Failure::from(error.context(format!("could not use `{}`", path.display())))
}

/// What a plugin was lent, a line each, in words that do not depend on the order of the settings.
pub fn grant_lines(plugin: &PluginConfig) -> BTreeSet<String> {
    let grants = &plugin.grants;
    let inputs = grants.inputs.iter().map(|input| format!("input {input}"));
    let clock = grants.clock.then(|| "clock".to_owned());
    let http =
        grants.http.iter().flat_map(|to| to.methods.iter().map(move |method| format!("http {method} {}:{}{}", to.host, to.port, to.path)));
    let secrets =
        grants.secrets.iter().map(|secret| format!("secret {} as {} to {}{}", secret.name, secret.header, secret.host, secret.path));
    let columns = grants.columns.iter().flat_map(|columns| {
        let read = columns.read.iter().map(|name| format!("read column {name}"));
        read.chain(columns.write.iter().map(|name| format!("write column {name}")))
    });
    let none = grants.columns.as_ref().is_some_and(|columns| columns.read.is_empty() && columns.write.is_empty());
    let none = none.then(|| "no column".to_owned());
    inputs.chain(clock).chain(http).chain(secrets).chain(columns).chain(none).collect()
}
