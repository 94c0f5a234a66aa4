//! Who answers: from aliases and blobs to loaded versions with their cleaners.
//!
//! A version's cleaners are those that its training rows passed through, by digest, from the store: the plugin folder has no say in
//! what serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use tidegate_model::Model;
use tidegate_pipeline::{Pipeline, Stores};
use tidegate_sandbox::{CallError, Cleaner, Plugin, PluginSettings, Sandbox};
use tidegate_serve::{Arm, Clean, CleanedRequest, ModelRoute, RolloutRoute, Routes, Traffic};
use tidegate_vocab::{Alias, Batch, Clock, Contract, ContractColumn, ModelVersion, PipelineId, Role, VersionNo, VersionState};
use tokio::sync::watch;

use super::traffic::Split;
use crate::compose;
use crate::config::{Config, PipelineConfig, PluginUse};
use crate::failure::Failure;

/// Versions of one pipeline that can be asked: the champion, one that is rolled out, those it can be rolled back to, the anchor.
const LOADED_MAX: usize = 5;

/// What each pipeline announces; a request sees all of it as it was at one moment.
#[derive(Clone)]
pub struct RouteTable {
    announced: Arc<Mutex<BTreeMap<PipelineId, Announced>>>,
    routes: watch::Sender<Arc<Routes>>,
}

struct Announced {
    contract: Arc<Contract>,
    champion: Result<Arc<Arm>, String>,
    versions: BTreeMap<VersionNo, Arc<Arm>>,
    rollout: Option<RolloutRoute>,
}

impl RouteTable {
    /// A table in which every pipeline of `config` is known and nobody answers yet.
    pub fn new(config: &Config) -> RouteTable {
        let table = RouteTable { announced: Arc::default(), routes: watch::Sender::default() };
        for pipeline in &config.pipelines {
            let starting = Err(format!("`{}` is starting", pipeline.id));
            table.announce(
                &pipeline.id,
                Announced { contract: Arc::new(pipeline.contract.clone()), champion: starting, versions: BTreeMap::new(), rollout: None },
            );
        }
        table
    }

    /// What the server reads.
    pub fn routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.subscribe()
    }

    fn announce(&self, pipeline: &PipelineId, announced: Announced) {
        let mut all = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(pipeline.clone(), announced);
        let model = |(id, announced): (&PipelineId, &Announced)| {
            let (contract, champion) = (Arc::clone(&announced.contract), announced.champion.clone());
            let route = ModelRoute::new(id.clone(), contract, champion, announced.versions.clone());
            (id.to_string(), route.rolling_out(announced.rollout.clone()))
        };
        self.routes.send_replace(Arc::new(Routes { models: all.iter().map(model).collect() }));
    }
}

/// Announces the versions of one pipeline.
pub struct Router {
    settings: watch::Receiver<Arc<Config>>,
    pipeline: PipelineId,
    stores: Stores,
    sandbox: Sandbox,
    table: RouteTable,
    loaded: BTreeMap<VersionNo, Arc<Arm>>,
    champion: Option<VersionNo>,
    /// How requests are shared out with a version that is rolled out.
    split: Option<(VersionNo, Arc<Split>)>,
    /// Why the version that is rolled out does not load.
    left_out: Option<String>,
    /// The contract that the champion learned by, where there is one.
    learned: Option<Contract>,
    announced: bool,
    /// The newest cleaned rows, for versions that see something of earlier ones.
    past: watch::Sender<Arc<Batch>>,
    /// What the rows in `past` were read of: the rows there were, and the labels that had come by id.
    seen: Option<(u64, u64)>,
}

impl Router {
    /// A router for one pipeline; nothing is announced yet.
    pub fn new(
        settings: watch::Receiver<Arc<Config>>,
        pipeline: PipelineId,
        stores: Stores,
        sandbox: Sandbox,
        table: RouteTable,
    ) -> Router {
        let past = watch::Sender::new(Arc::new(Batch { rows: RecordBatch::new_empty(Arc::new(Schema::empty())), roles: Vec::new() }));
        Router {
            settings,
            pipeline,
            stores,
            sandbox,
            table,
            loaded: BTreeMap::new(),
            champion: None,
            split: None,
            left_out: None,
            learned: None,
            announced: false,
            past,
            seen: None,
        }
    }

    /// Announces who answers, if that has changed.
    ///
    /// # Errors
    /// A [`Failure`] when a version or a cleaner of it does not load. Where it is the champion, whoever answered before goes on; where it
    /// is the version that is rolled out, the champion answers alone and nothing is shared out.
    pub async fn refresh(&mut self, pipeline: &mut Pipeline) -> Result<(), Failure> {
        let champion = self.stores.meta.alias(&self.pipeline, Alias::Champion).await?;
        let settings = pipeline.settings().rollout.clone();
        // It is loaded once a fresh process has shown that it can be.
        let rollout = pipeline.rollout().filter(|rollout| rollout.state != VersionState::Blessed).zip(settings.as_ref());
        let rolled_out = rollout.map(|(rollout, _)| rollout.version);
        if self.announced && champion == self.champion && rolled_out == self.split.as_ref().map(|(version, _)| *version) {
            if let (Some((_, split)), Some((rollout, settings))) = (&self.split, rollout) {
                split.stands(rollout, settings);
            }
            return Ok(());
        }
        let mut split = rollout.map(|(rollout, settings)| {
            let same = self.split.as_ref().filter(|(version, _)| *version == rollout.version).map(|(_, split)| Arc::clone(split));
            let split = same.unwrap_or_else(|| Arc::new(Split::new(rollout.version, pipeline.settings().seed)));
            split.stands(rollout, settings);
            (rollout.version, split)
        });
        let mut wanted: Vec<VersionNo> = champion.into_iter().chain(rolled_out).collect();
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
        let (config, mut loaded, mut left_out) = (self.config(), BTreeMap::new(), None);
        for number in kept {
            let arm = match self.loaded.get(&number) {
                Some(arm) => Arc::clone(arm),
                None => match load_arm(&config, &self.pipeline, &self.stores, &self.sandbox, number, self.past.subscribe()).await {
                    Ok(arm) => arm,
                    Err(failure) if Some(number) == champion => return Err(failure),
                    Err(failure) => {
                        tracing::warn!(pipeline = %self.pipeline, version = %number, "kept out: {}", failure.line());
                        left_out = left_out.or(Some(failure).filter(|_| Some(number) == rolled_out));
                        continue;
                    }
                },
            };
            loaded.insert(number, arm);
        }
        split = split.filter(|(version, _)| loaded.contains_key(version));
        self.learned = match champion {
            Some(number) => self.learned_by(number).await?,
            None => None,
        };
        if let Some((_, over)) = std::mem::replace(&mut self.split, split).filter(|(version, _)| Some(*version) != rolled_out) {
            over.close();
        }
        (self.loaded, self.champion, self.announced, self.seen) = (loaded, champion, true, None);
        self.look_back(pipeline).await?;
        self.announce();
        self.left_out = left_out.as_ref().map(Failure::line);
        left_out.map_or(Ok(()), Err)
    }

    /// Reads the rows that loaded versions see something of, if there are such versions, and rows or labels have come.
    ///
    /// # Errors
    /// A [`Failure`] when they cannot be read; requests go on with those from before.
    pub async fn look_back(&mut self, pipeline: &mut Pipeline) -> Result<(), Failure> {
        let lags = self.loaded.values().map(|arm| &arm.model.manifest().spec.lags).filter(|lags| !lags.is_empty());
        let seen = Some((pipeline.rows_cleaned(), pipeline.state().observed_label));
        if self.seen == seen {
            return Ok(());
        }
        let mut newest: Option<Batch> = None;
        for lags in lags {
            let rows = pipeline.clean_rows().recent(lags, pipeline.rows_cleaned(), pipeline.now()).await?;
            if newest.as_ref().is_none_or(|newest| newest.row_count() < rows.row_count()) {
                newest = Some(rows);
            }
        }
        if let Some(rows) = newest {
            self.past.send_replace(Arc::new(rows));
        }
        self.seen = seen;
        Ok(())
    }

    /// How requests are shared out with a version that is rolled out.
    pub fn split(&self) -> Option<Arc<Split>> {
        self.split.as_ref().map(|(_, split)| Arc::clone(split))
    }

    /// Why nothing is shared out with the version that is rolled out, where it does not load.
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.settings.borrow())
    }

    /// The versions that can be asked, loaded under other settings; nothing is announced.
    ///
    /// # Errors
    /// A [`Failure`] when the cleaners of one do not start under them.
    pub async fn loaded_under(&self, config: &Arc<Config>) -> Result<BTreeMap<VersionNo, Arc<Arm>>, Failure> {
        let running = self.config();
        if running.plugin == config.plugin && running.inputs == config.inputs {
            return Ok(self.loaded.clone());
        }
        let mut loaded = BTreeMap::new();
        for number in self.loaded.keys() {
            loaded.insert(*number, load_arm(config, &self.pipeline, &self.stores, &self.sandbox, *number, self.past.subscribe()).await?);
        }
        Ok(loaded)
    }

    /// Announces what was loaded by [`Router::loaded_under`].
    pub fn announce_anew(&mut self, loaded: BTreeMap<VersionNo, Arc<Arm>>) {
        self.loaded = loaded;
        if self.announced {
            self.announce();
        }
    }

    /// The contract of the rows that a version was trained on.
    async fn learned_by(&self, number: VersionNo) -> Result<Option<Contract>, Failure> {
        let Some(version) = self.stores.meta.version(&self.pipeline, number).await? else { return Ok(None) };
        Ok(self.stores.meta.snapshot(&version.snapshot).await?.map(|snapshot| snapshot.contract))
    }

    fn announce(&self) {
        let config = self.config();
        let Some(config) = config.pipelines.iter().find(|pipeline| pipeline.id == self.pipeline) else { return };
        let champion = self.champion.and_then(|number| self.loaded.get(&number)).cloned();
        let champion = champion.ok_or_else(|| nobody_yet(config));
        let contract = match &self.learned {
            Some(learned) => asked(&config.contract, learned),
            None => config.contract.clone(),
        };
        let (contract, versions) = (Arc::new(contract), self.loaded.clone());
        let rollout = self.split.as_ref().and_then(|(version, split)| {
            let traffic = Arc::clone(split) as Arc<dyn Traffic>;
            Some(RolloutRoute { arm: Arc::clone(self.loaded.get(version)?), traffic })
        });
        self.table.announce(&self.pipeline, Announced { contract, champion, versions, rollout });
    }
}

/// Loads one version with the cleaners that its requests pass through, and the rows that it sees something of.
///
/// # Errors
/// A [`Failure`] when it is not there, is quarantined, or does not load.
pub async fn load_arm(
    config: &Arc<Config>,
    pipeline: &PipelineId,
    stores: &Stores,
    sandbox: &Sandbox,
    number: VersionNo,
    past: watch::Receiver<Arc<Batch>>,
) -> Result<Arc<Arm>, Failure> {
    let missing = || Failure::usage(format!("there is no {number} of `{pipeline}`"), "`tidegate models` lists the versions");
    let version = stores.meta.version(pipeline, number).await?.ok_or_else(missing)?;
    if version.state == VersionState::Quarantined {
        return Err(Failure::usage(format!("{number} is quarantined"), "`tidegate models` lists the others"));
    }
    let weights = stores.blobs.get(&version.weights).await?;
    let manifest = stores.blobs.get(&version.manifest).await?;
    let model = Model::load(&weights, &manifest).map_err(|error| Failure::new(&error, None))?;
    let cleaners = serving_cleaners(config, stores, sandbox, &version).await?;
    Ok(Arc::new(Arm::new(number, version.weights.to_string(), Arc::new(model), cleaners).seeing(past)))
}

async fn serving_cleaners(
    config: &Arc<Config>,
    stores: &Stores,
    sandbox: &Sandbox,
    version: &ModelVersion,
) -> Result<Vec<Arc<dyn Clean>>, Failure> {
    let mut cleaners: Vec<Arc<dyn Clean>> = Vec::with_capacity(version.serving.len());
    for serving in &version.serving {
        let component = stores.blobs.get(&serving.component).await?;
        let (plugin, settings) = (serving.plugin.clone(), serving.config.clone());
        let used = PluginUse { plugin, config: settings, serving: true, damage: Default::default(), span: 0..0, config_span: 0..0 };
        let (config, sandbox, clock) = (Arc::clone(config), sandbox.clone(), Arc::clone(&stores.clock));
        let ready = tokio::task::spawn_blocking(move || ServingCleaner::new(&config, &sandbox, &used, &clock, component));
        let ready = ready.await.map_err(|error| Failure::from(anyhow::Error::new(error)))??;
        cleaners.push(Arc::new(ready));
    }
    Ok(cleaners)
}

/// What requests are held to: the contract in the settings, but with the features that the champion learned. Columns that it does
/// not know may be sent, and are not looked at. So a contract that nobody has accepted yet changes nothing for those who ask.
fn asked(settings: &Contract, learned: &Contract) -> Contract {
    let mut columns = learned.columns.clone();
    let unknown = settings.columns.iter().filter(|column| columns.iter().all(|known| known.name != column.name));
    let unknown: Vec<ContractColumn> = unknown.map(|column| ContractColumn { role: Role::Slice, ..column.clone() }).collect();
    columns.extend(unknown);
    Contract { columns, ..settings.clone() }
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
        let settings = compose::Maker { config, clock }.settings(used, &loaded)?;
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
