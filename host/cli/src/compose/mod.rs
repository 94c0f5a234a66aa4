//! The composition root: from checked settings to open stores, loaded plugins and a pipeline.
//!
//! Straight-line on purpose: what is opened, in which order, and what is handed to whom can be read from top to bottom.

pub mod clock;
pub mod egress;
pub mod inputs;
pub mod kept;
pub mod lock;
mod plugins;
pub mod registry;
mod retention;
mod secrets;
pub mod signing;
pub mod stands;
pub mod trust;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_pipeline::{FailureRules, Observer, Pipeline, PipelineError, Settings, Stores};
use tidegate_policy::{Dependence, DriftSettings, GateRows, GuardSettings};
use tidegate_sandbox::{CompiledCache, Compiler, Sandbox, SandboxConfig};
use tidegate_store::{EntryFolder, StateFolder, StoreError};
use tidegate_vocab::limits::{EPOCH_TICK_MS, POLL_BYTES_MAX, POLL_ROWS_MAX};
use tidegate_vocab::{Clock, Seed};

pub use plugins::{Loaded, Maker, chain, check_evaluator, check_metrics, component, load_component, load_file, load_plugin, plugins};
pub use retention::{Room, collect, make_room};

use crate::config::{Config, PipelineConfig};
use crate::failure::Failure;
use clock::SystemClock;

/// The hidden command with which the binary compiles a plugin in a process of its own.
pub const COMPILE_COMMAND: &str = "compile-plugin";

/// Runs `work` on the runtime that all commands share.
///
/// # Errors
/// A [`Failure`] when the system refuses threads, or the one of `work`.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::from(anyhow::Error::new(error).context("could not start the runtime")))?;
    runtime.block_on(work)
}

/// Runs `work` with the state folder of `config` open for this process alone, and closes it in good order: what is left is one
/// database file, which can be copied.
///
/// # Errors
/// A [`Failure`] that says who holds the folder or what is wrong with it, or the one of `work`.
pub fn with_state<T>(config: &Config, work: impl AsyncFnOnce(&StateFolder) -> Result<T, Failure>) -> Result<T, Failure> {
    block_on(async {
        let state = open_state(config).await?;
        let done = work(&state).await;
        state.meta.close().await;
        done
    })
}

/// Runs `work` with the state folder of `config`, for commands that only read. While another process has the folder open they read
/// beside it: what they see is what is committed at that instant, and whatever they would commit is refused.
///
/// # Errors
/// As [`with_state`], but for a folder that is in use.
pub fn with_state_to_read<T>(config: &Config, work: impl AsyncFnOnce(&StateFolder) -> Result<T, Failure>) -> Result<T, Failure> {
    block_on(async {
        let state = match StateFolder::open(&config.store.folder, &owner()).await {
            Err(StoreError::Locked { .. }) => StateFolder::open_to_read(&config.store.folder).await?,
            opened => opened?,
        };
        let done = work(&state).await;
        state.meta.close().await;
        done
    })
}

/// Opens the state folder of `config`, for this process alone.
///
/// # Errors
/// A [`Failure`] that says who holds it, or what is wrong with it.
pub async fn open_state(config: &Config) -> Result<StateFolder, Failure> {
    Ok(StateFolder::open(&config.store.folder, &owner()).await?)
}

/// The name under which this process takes a fence.
fn owner() -> String {
    format!("tidegate, process {}", std::process::id())
}

/// A sandbox that keeps compiled plugins in the state folder.
///
/// # Errors
/// A [`Failure`] when the engine cannot be set up.
pub fn sandbox(config: &Config, state: &StateFolder) -> Result<Sandbox, Failure> {
    let cache = state.compiled.clone().map(|folder| Arc::new(FolderCache(folder)) as Arc<dyn CompiledCache>);
    let program = std::env::current_exe().map_err(|error| anyhow::Error::new(error).context("could not find the program itself"))?;
    let sandbox = Sandbox::new(SandboxConfig {
        limits: config.plugins.limits,
        compiled: cache,
        mac_key: state.key,
        compiler: Compiler::Child { program, args: vec![COMPILE_COMMAND.to_owned()] },
        epoch_tick_ms: EPOCH_TICK_MS,
    });
    sandbox.map_err(|error| Failure::new(&error, None))
}

/// The stores of a state folder under a clock.
pub fn stores(state: &StateFolder, clock: Arc<dyn Clock>) -> Stores {
    let (meta, queue) = (Arc::clone(&state.meta) as _, Arc::clone(&state.meta) as _);
    let (blobs, feedback) = (Arc::clone(&state.blobs) as _, Arc::clone(&state.meta) as _);
    Stores { meta, blobs, queue, feedback, fence: state.fence, clock }
}

/// The settings of a pipeline, without any file format. `rows` is which rows judge where the file leaves it open.
pub fn settings(pipeline: &PipelineConfig, rows: GateRows, failures: FailureRules) -> Settings {
    let mut gate = pipeline.gate.clone();
    gate.rows = pipeline.gate_rows.unwrap_or(rows);
    Settings {
        id: pipeline.id.clone(),
        contract: pipeline.contract.clone(),
        positive_class: positive_class(pipeline),
        model: pipeline.model.spec.clone(),
        window_rows: pipeline.model.window_rows,
        held_out_rows: pipeline.model.held_out_rows,
        trial_rows: pipeline.model.trial_rows,
        drift: pipeline.drift.map(|drift| DriftSettings { independent: pipeline.gate.dependence == Dependence::Independent, ..drift }),
        guard: pipeline.guard.map(|guard| match pipeline.gate.dependence {
            Dependence::Independent => GuardSettings { block_rows: 1, ..guard },
            Dependence::Time | Dependence::Cluster(_) => guard,
        }),
        estimate_rows: pipeline.estimate.window_rows,
        // Only a host that answers requests can roll anything out.
        rollout: None,
        triggers: pipeline.triggers.clone(),
        gate,
        ungated: false,
        seed: Seed(pipeline.model.seed),
        poll_rows_max: POLL_ROWS_MAX,
        poll_bytes_max: POLL_BYTES_MAX,
        failures,
    }
}

/// A pipeline on the real clock, with its plugins loaded.
///
/// # Errors
/// A [`Failure`] that says which plugin does not load, or what the store lacks.
pub async fn pipeline(
    config: &Config,
    pipeline: &PipelineConfig,
    state: &StateFolder,
    rows: GateRows,
    observer: Box<dyn Observer>,
) -> Result<Pipeline, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sandbox = sandbox(config, state)?;
    let plugins = plugins(config, pipeline, &sandbox, &clock)?;
    Ok(Pipeline::open(settings(pipeline, rows, config.plugins.failures), plugins, stores(state, clock), observer).await?)
}

/// The class whose F1 is reported: the one an evaluator calls positive, else the last of the contract.
fn positive_class(pipeline: &PipelineConfig) -> String {
    let named = pipeline.evaluators.iter().find_map(|step| step.config.get("positive")?.as_str());
    let last = pipeline.contract.label.classes.last();
    named.map(str::to_owned).or_else(|| last.cloned()).unwrap_or_default()
}

/// The inputs of a configuration.
fn inputs(config: &Config) -> inputs::FileInputs {
    let paths: BTreeMap<_, _> = config.inputs.iter().map(|(name, input)| (name.clone(), input.path.clone())).collect();
    inputs::FileInputs(paths)
}

/// A cache that cannot be read or written costs a compilation and nothing else.
struct FolderCache(EntryFolder);

impl CompiledCache for FolderCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).unwrap_or_else(|error| {
            tracing::warn!(%error, "compiled plugin not read");
            None
        })
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        if let Err(error) = self.0.put(key, bytes) {
            tracing::warn!(%error, "compiled plugin not kept");
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let hint = error.hint();
        Failure::new(&error, hint)
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Failure {
        let hint = error.hint();
        Failure::new(&error, hint)
    }
}
