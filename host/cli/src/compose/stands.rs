//! Which component a plugin's name stands for: the file in the plugin folder, unless it is locked to another or was taken back.

use bytes::Bytes;
use tidegate_vocab::{Digest, PluginName};

use super::kept::{Book, Kept};
use super::lock::PluginsLock;
use super::trust::{TrustedKeys, signature_beside, signature_path};
use super::{Loaded, component};
use crate::config::Config;
use crate::failure::Failure;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Its component.
    pub component: Bytes,
    /// The digest.
    pub digest: Digest,
    /// The signature that came with it, if one did.
    pub signature: Option<String>,
    /// Why it is not the file in the plugin folder.
    pub instead: Option<String>,
}

/// What decides it.
pub struct Registry {
    lock: PluginsLock,
    keys: TrustedKeys,
    kept: Kept,
    book: Book,
}

impl Registry {
    /// As the files are now.
    ///
    /// # Errors
    /// A [`Failure`] when one cannot be read.
    pub fn read(config: &Config) -> Result<Registry, Failure> {
        let kept = Kept::of(config);
        Ok(Registry { lock: PluginsLock::read(config)?, keys: TrustedKeys::read(config)?, book: kept.book()?, kept })
    }

    /// What `plugin` stands for.
    ///
    /// # Errors
    /// A [`Failure`] when its file cannot be read, the lock does not allow it and what it allows is not kept, or
    /// no trusted key has signed it.
    pub fn stands(&self, config: &Config, plugin: &PluginName) -> Result<Stands, Failure> {
        self.lock.check_pulled(config, plugin)?;
        let file = config.plugin_file(plugin);
        let found = component(plugin, &file).map(Bytes::from);
        let digest = found.as_ref().ok().map(Digest::of);
        let instead = |wanted: Digest, why: String| -> Result<Option<Stands>, Failure> {
            if digest == Some(wanted) {
                return Ok(None);
            }
            let kept = self.kept.component(wanted)?;
            let signature = self.kept.signature(wanted)?;
            Ok(kept.map(|component| Stands { component, digest: wanted, signature, instead: Some(why) }))
        };
        let other = match (self.lock.entries.get(plugin), self.book.of(plugin)) {
            (Some(entry), _) => instead(entry.digest, "`plugins.lock` names another build than lies in the plugin folder".to_owned())?,
            (None, Some(builds)) => match builds.taken_back.iter().find(|(back, _)| Some(*back) == digest) {
                Some((_, why)) => instead(builds.in_use, format!("the build in the plugin folder was taken back: {why}"))?,
                None => None,
            },
            (None, None) => None,
        };
        let stands = match other {
            Some(other) => other,
            None => {
                let component = found?;
                let signature = signature_beside(&file)?;
                Stands { digest: Digest::of(&component), component, signature, instead: None }
            }
        };
        self.lock.check(config, plugin, stands.digest)?;
        let place = match &stands.instead {
            Some(_) => self.kept.signature_path(stands.digest),
            None => signature_path(&file),
        };
        self.keys.check(plugin, &stands.component, stands.signature.as_deref(), &place)?;
        Ok(stands)
    }

    /// Whether the build in use may stay in use under the settings of `config`.
    ///
    /// # Errors
    /// A [`Failure`] when the lock does not allow what it is lent, or no trusted key has signed it.
    pub fn check(&self, config: &Config, loaded: &Loaded) -> Result<(), Failure> {
        let (plugin, digest) = (loaded.plugin.name(), loaded.plugin.digest());
        self.lock.check(config, plugin, digest)?;
        self.keys.check(plugin, &loaded.component, loaded.signature.as_deref(), &self.kept.signature_path(digest)).map(drop)
    }

    /// Whether somebody has looked at what `plugin` is lent: the lock has an entry for it, to which [`Registry::check`] holds it.
    pub fn is_locked(&self, plugin: &PluginName) -> bool {
        self.lock.entries.contains_key(plugin)
    }
}
