//! Hot reload: a new file in the plugin folder takes the place of the old one, or the old one stays and the reason is told.
//!
//! observe (a burst of changes is one) → read → same digest: nothing to do → compile in a child process → check the world → configure
//! and probe an instance for every place that uses it → swap, between two events of each pipeline. Nothing that serves is touched
//! before the last step, and versions that serve keep the components that their rows passed through.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tidegate_pipeline::Replacement;
use tidegate_sandbox::Sandbox;
use tidegate_serve::Reload;
use tidegate_vocab::{Clock, Digest, PipelineId, PluginName};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::actor::Message;
use super::board::PluginBook;
use crate::compose::clock::SystemClock;
use crate::compose::{Loaded, Maker, load_component};
use crate::config::{Config, PipelineConfig};
use crate::failure::Failure;

/// How long the folder must be quiet before a change is looked at.
const QUIET_MS: u64 = 100;
/// Changes that wait to be looked at; more are one.
const CHANGES_MAX: usize = 16;

/// One pipeline as a reload sees it.
#[derive(Clone)]
pub struct Place {
    /// Its inbox.
    pub inbox: mpsc::Sender<Message>,
    /// The time that its plugins see.
    pub clock: Arc<dyn Clock>,
}

/// Replaces plugins.
pub struct Reloader {
    /// The settings.
    pub config: Arc<Config>,
    /// Where plugins run.
    pub sandbox: Sandbox,
    /// Every pipeline.
    pub places: BTreeMap<PipelineId, Place>,
    /// What is known of plugins.
    pub book: Arc<PluginBook>,
    /// What is known of each plugin's file.
    pub seen: tokio::sync::Mutex<BTreeMap<PluginName, Seen>>,
}

/// What is known of one plugin's file.
pub struct Seen {
    /// The digest in use.
    pub in_use: Digest,
    /// The digest that was refused last; it is tried again only when somebody asks.
    pub refused: Option<Digest>,
}

impl Reloader {
    /// Follows the plugin folder until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let (changed, mut changes) = mpsc::channel(CHANGES_MAX);
        // A folder that cannot be watched is looked at when somebody asks for it.
        let _watcher = match self.watch(changed) {
            Ok(watcher) => watcher,
            Err(error) => {
                let folder = self.config.plugins.folder.display();
                tracing::warn!(%folder, %error, "the plugin folder cannot be watched; `tidegate plugin reload` looks at it");
                return;
            }
        };
        loop {
            tokio::select! {
                change = changes.recv() => if change.is_none() { return },
                () = stop.cancelled() => return,
            }
            while tokio::time::timeout(Duration::from_millis(QUIET_MS), changes.recv()).await.is_ok_and(|change| change.is_some()) {}
            self.look(None, false).await;
        }
    }

    fn watch(&self, changed: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(&self.config.plugins.folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    /// Looks at the file of every plugin in use, or of `only`; each that changed, and why the old one stays where it does. With
    /// `again`, files that were refused before are tried once more.
    pub async fn look(&self, only: Option<&PluginName>, again: bool) -> Vec<(PluginName, Option<String>)> {
        let mut all = self.seen.lock().await;
        let mut changed = Vec::new();
        for (name, seen) in all.iter_mut().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            // A file that is missing or half written is looked at again when it changes again.
            let Ok(bytes) = read(self.config.plugin_file(name)).await else { continue };
            let digest = Digest::of(&bytes);
            if bytes.is_empty() || digest == seen.in_use || (seen.refused == Some(digest) && !again) {
                continue;
            }
            let refused = self.replace(name, bytes.into()).await.err().map(|failure| failure.line());
            match &refused {
                None => *seen = Seen { in_use: digest, refused: None },
                Some(_) => seen.refused = Some(digest),
            }
            self.tell(name, digest, refused.clone());
            changed.push((name.clone(), refused));
        }
        changed
    }

    async fn replace(&self, name: &PluginName, component: bytes::Bytes) -> Result<(), Failure> {
        let (sandbox, plugin) = (self.sandbox.clone(), name.clone());
        let loaded = tokio::task::spawn_blocking(move || load_component(&sandbox, &plugin, component)).await;
        let loaded = Arc::new(loaded.map_err(|error| Failure::from(anyhow::Error::new(error)))??);
        // All instances are made before the first is swapped in.
        let mut ready = Vec::new();
        for pipeline in self.config.pipelines.iter().filter(|pipeline| pipeline.plugins().any(|(_, used)| used.plugin == *name)) {
            let Some(place) = self.places.get(&pipeline.id) else { continue };
            let (config, pipeline, clock, loaded) =
                (Arc::clone(&self.config), pipeline.clone(), Arc::clone(&place.clock), Arc::clone(&loaded));
            let name = name.clone();
            let made = tokio::task::spawn_blocking(move || replacements(&config, &pipeline, &clock, &name, &loaded)).await;
            ready.push((place, made.map_err(|error| Failure::from(anyhow::Error::new(error)))??));
        }
        for (place, replacements) in ready {
            let (done, replaced) = oneshot::channel();
            let gone = || Failure::from(anyhow::anyhow!("the pipeline has stopped"));
            place.inbox.send(Message::Replace(replacements, done)).await.map_err(|_| gone())?;
            replaced.await.map_err(|_| gone())?.map_err(|why| Failure::from(anyhow::anyhow!(why)))?;
        }
        self.book.in_use(&loaded.plugin);
        Ok(())
    }

    fn tell(&self, name: &PluginName, digest: Digest, refused: Option<String>) {
        let result = if refused.is_some() { "refused" } else { "replaced" };
        match &refused {
            None => tracing::info!(plugin = %name, digest = %digest.short(), "plugin replaced"),
            Some(why) => tracing::warn!(plugin = %name, digest = %digest.short(), "plugin not replaced, the old one stays: {why}"),
        }
        let body = serde_json::json!({ "plugin": name, "digest": digest, "result": result, "why": refused });
        for pipeline in self.config.pipelines.iter().filter(|pipeline| pipeline.plugins().any(|(_, used)| used.plugin == *name)) {
            if let Some(place) = self.places.get(&pipeline.id) {
                // An actor whose inbox is full tells the log at least.
                let _ = place.inbox.try_send(Message::Note("plugin", body.clone()));
            }
        }
        let reload = Reload { at: SystemClock.now(), digest: Some(digest.to_string()), refused };
        self.book.attempt(name, reload);
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox is handed bytes; this is where they are read")]
async fn read(path: PathBuf) -> std::io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || std::fs::read(path)).await.map_err(std::io::Error::other)?
}

/// An instance for every place of `pipeline` that uses the plugin.
fn replacements(
    config: &Config,
    pipeline: &PipelineConfig,
    clock: &Arc<dyn Clock>,
    name: &PluginName,
    loaded: &Loaded,
) -> Result<Vec<Replacement>, Failure> {
    let make = Maker { config, clock };
    let mut ready = Vec::new();
    if pipeline.source.plugin == *name {
        ready.push(Replacement::Source(make.source(&pipeline.source, loaded)?));
    }
    for (index, used) in pipeline.cleaners.iter().enumerate().filter(|(_, used)| used.plugin == *name) {
        ready.push(Replacement::Cleaner(index, make.cleaner(used, loaded)?));
    }
    for (index, used) in pipeline.evaluators.iter().enumerate().filter(|(_, used)| used.plugin == *name) {
        let mut step = make.evaluator(used, loaded)?;
        crate::compose::check_evaluator(pipeline, &mut step)?;
        ready.push(Replacement::Evaluator(index, step));
    }
    for (index, used) in pipeline.alerters.iter().enumerate().filter(|(_, used)| used.plugin == *name) {
        ready.push(Replacement::Alerter(index, make.alerter(used, loaded)?));
    }
    Ok(ready)
}
