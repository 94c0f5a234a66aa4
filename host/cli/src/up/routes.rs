//! Who answers: from aliases and blobs to loaded versions with their cleaners.
//!
//! A version's cleaners are those that its training rows passed through, by digest, from the store: the plugin folder has no say in
//! what serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_model::Model;
use tidegate_pipeline::Stores;
use tidegate_sandbox::{CallError, Cleaner, Plugin, PluginSettings, Sandbox};
use tidegate_serve::{Arm, Clean, CleanedRequest, ModelRoute, Routes};
use tidegate_vocab::{Alias, Batch, Clock, ModelVersion, PipelineId, VersionNo, VersionState};
use tokio::sync::watch;

use crate::compose;
use crate::config::{Config, PipelineConfig, PluginUse};
use crate::failure::Failure;

/// Versions of one pipeline that can be asked: the champion, those it can be rolled back to, the anchor.
const LOADED_MAX: usize = 4;

/// Announces the versions of one pipeline.
pub struct Router {
    config: Arc<Config>,
    pipeline: PipelineId,
    stores: Stores,
    sandbox: Sandbox,
    routes: watch::Sender<Arc<Routes>>,
    loaded: BTreeMap<VersionNo, Arc<Arm>>,
    champion: Option<VersionNo>,
    announced: bool,
}

impl Router {
    /// A router for one pipeline; nothing is announced yet.
    pub fn new(config: Arc<Config>, pipeline: PipelineId, stores: Stores, sandbox: Sandbox, routes: watch::Sender<Arc<Routes>>) -> Router {
        Router { config, pipeline, stores, sandbox, routes, loaded: BTreeMap::new(), champion: None, announced: false }
    }

    /// Announces who answers, if that has changed.
    ///
    /// # Errors
    /// A [`Failure`] when a version or a cleaner of it does not load; whoever answered before goes on.
    pub async fn refresh(&mut self) -> Result<(), Failure> {
        let champion = self.stores.meta.alias(&self.pipeline, Alias::Champion).await?;
        if self.announced && champion == self.champion {
            return Ok(());
        }
        let mut wanted: Vec<VersionNo> = champion.into_iter().collect();
        let history = self.stores.meta.alias_history(&self.pipeline, Alias::Champion).await?;
        for step in history.iter().rev() {
            wanted.extend(step.from);
            wanted.push(step.to);
        }
        wanted.extend(self.stores.meta.alias(&self.pipeline, Alias::Anchor).await?);
        let mut kept: Vec<VersionNo> = Vec::new();
        for number in wanted {
            if !kept.contains(&number) && kept.len() < LOADED_MAX {
                kept.push(number);
            }
        }
        let mut loaded = BTreeMap::new();
        for number in kept {
            let arm = match self.loaded.get(&number) {
                Some(arm) => Arc::clone(arm),
                None => match self.load(number).await {
                    Ok(arm) => arm,
                    Err(failure) if Some(number) == champion => return Err(failure),
                    Err(failure) => {
                        tracing::warn!(pipeline = %self.pipeline, version = %number, "kept out: {}", failure.line());
                        continue;
                    }
                },
            };
            loaded.insert(number, arm);
        }
        (self.loaded, self.champion, self.announced) = (loaded, champion, true);
        self.announce();
        Ok(())
    }

    fn announce(&self) {
        let Some(config) = self.config.pipelines.iter().find(|pipeline| pipeline.id == self.pipeline) else { return };
        let champion = self.champion.and_then(|number| self.loaded.get(&number)).cloned();
        let route = ModelRoute {
            pipeline: self.pipeline.clone(),
            contract: Arc::new(config.contract.clone()),
            champion: champion.ok_or_else(|| nobody_yet(config)),
            versions: self.loaded.clone(),
        };
        self.routes.send_modify(|routes| {
            let mut models: BTreeMap<String, Arc<ModelRoute>> = routes.models.clone();
            models.insert(self.pipeline.to_string(), Arc::new(route));
            *routes = Arc::new(Routes { models });
        });
    }

    async fn load(&self, number: VersionNo) -> Result<Arc<Arm>, Failure> {
        let missing = || Failure::from(anyhow::anyhow!("{number} of pipeline `{}` is not in the store", self.pipeline));
        let version = self.stores.meta.version(&self.pipeline, number).await?.ok_or_else(missing)?;
        if matches!(version.state, VersionState::Quarantined) {
            return Err(Failure::from(anyhow::anyhow!("{number} is quarantined")));
        }
        let weights = self.stores.blobs.get(&version.weights).await?;
        let manifest = self.stores.blobs.get(&version.manifest).await?;
        let model = Model::load(&weights, &manifest).map_err(|error| Failure::new(&error, None))?;
        let cleaners = self.cleaners(&version).await?;
        Ok(Arc::new(Arm { version: number, weights: version.weights.to_string(), model: Arc::new(model), cleaners }))
    }

    async fn cleaners(&self, version: &ModelVersion) -> Result<Vec<Arc<dyn Clean>>, Failure> {
        let mut cleaners: Vec<Arc<dyn Clean>> = Vec::with_capacity(version.serving.len());
        for serving in &version.serving {
            let component = self.stores.blobs.get(&serving.component).await?;
            let used = PluginUse {
                plugin: serving.plugin.clone(),
                config: serving.config.clone(),
                serving: true,
                span: 0..0,
                config_span: 0..0,
            };
            let (config, sandbox, clock) = (Arc::clone(&self.config), self.sandbox.clone(), Arc::clone(&self.stores.clock));
            let ready = tokio::task::spawn_blocking(move || ServingCleaner::new(&config, &sandbox, &used, &clock, component));
            let ready = ready.await.map_err(|error| Failure::from(anyhow::Error::new(error)))??;
            cleaners.push(Arc::new(ready));
        }
        Ok(cleaners)
    }
}

/// Why nobody answers, and what is missing.
fn nobody_yet(config: &PipelineConfig) -> String {
    format!("no version of `{}` has passed its gate yet; the status page says what it waits for", config.id)
}

/// A cleaner of a version, with as many instances as requests use at once.
struct ServingCleaner {
    name: String,
    plugin: Plugin,
    settings: PluginSettings,
    idle: Mutex<Vec<Cleaner>>,
}

impl ServingCleaner {
    fn new(
        config: &Config,
        sandbox: &Sandbox,
        used: &PluginUse,
        clock: &Arc<dyn Clock>,
        component: bytes::Bytes,
    ) -> Result<ServingCleaner, Failure> {
        let loaded = compose::load_component(sandbox, &used.plugin, component)?;
        let settings = compose::Maker { config, clock }.settings(used, &loaded);
        let first = loaded.plugin.cleaner(&settings).map_err(|error| Failure::new(&error, error.hint()))?;
        Ok(ServingCleaner { name: used.plugin.to_string(), plugin: loaded.plugin, settings, idle: Mutex::new(vec![first]) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Cleaner>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clean for ServingCleaner {
    fn name(&self) -> &str {
        &self.name
    }

    fn clean(&self, rows: &Batch) -> Result<CleanedRequest, String> {
        let told = |error: CallError| error.to_string();
        let taken = self.idle().pop();
        let mut cleaner = match taken {
            Some(cleaner) => cleaner,
            None => self.plugin.cleaner(&self.settings).map_err(told)?,
        };
        // An instance whose call failed is dropped by the sandbox and made anew at the next call.
        let cleaned = cleaner.clean(rows);
        self.idle().push(cleaner);
        let cleaned = cleaned.map_err(told)?;
        let mut dropped: Vec<(usize, String)> =
            cleaned.dropped.into_iter().map(|(row, reason)| (row as usize, reason.to_string())).collect();
        dropped.sort_unstable_by_key(|(row, _)| *row);
        Ok(CleanedRequest { rows: cleaned.rows, dropped })
    }
}
