//! What a pipeline is given: plugins, stores and a clock. The sandbox's handles fit; tests script their own.

use std::sync::Arc;

use tidegate_sandbox::{Alert, Alerter, CallError, Cleaned, Cleaner, Evaluator, LastWords, Pull, Source};
use tidegate_store::{Blobs, Feedback, Fence, MetaStore, WorkQueue};
use tidegate_vocab::{Batch, Clock, Digest, MetricInfo, MetricTerms, PluginName, StateChanges, StateEntries};

use crate::DamageBounds;

/// Rows in. Calls may block.
pub trait SourcePort: Send {
    /// Goes on after `cursor`, or from the beginning.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError>;

    /// At most `rows_max` rows of about `bytes_max` bytes.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, CallError>;
}

/// Rows to rows. Calls may block.
pub trait CleanPort: Send {
    /// What is left of `rows`, and which rows were dropped and why.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError>;

    /// Whether what it makes of a batch depends on the batches before, as its state tells them.
    fn keeps_state(&self) -> bool {
        false
    }

    /// The same for one that keeps state, with what was kept until now; and what is to be kept besides.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn clean_keeping(&mut self, rows: &Batch, _kept: &Arc<StateEntries>) -> Result<(Cleaned, StateChanges), CallError> {
        Ok((self.clean(rows)?, StateChanges::default()))
    }

    /// The keys of its state that the last call used, however it ended.
    fn state_keys(&self) -> Vec<Box<[u8]>> {
        Vec::new()
    }

    /// What the plugin left behind in the last call that ended badly.
    fn last_words(&self) -> LastWords {
        LastWords::default()
    }
}

/// Predictions and labels to terms. Calls may block.
pub trait EvaluatePort: Send {
    /// The metrics it will report.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError>;

    /// The terms of one scored batch.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError>;

    /// Whether it measures how long answers take: they are timed only then.
    fn needs_latency(&self) -> bool {
        false
    }
}

/// Alerts out. Calls may block.
pub trait AlertPort: Send {
    /// Sends one alert.
    ///
    /// # Errors
    /// The plugin's, or the host's when it stopped the plugin.
    fn notify(&mut self, alert: &Alert) -> Result<(), CallError>;
}

/// One configured plugin of a pipeline.
pub struct PluginStep<P: ?Sized> {
    /// Its name.
    pub name: PluginName,
    /// The component's digest.
    pub digest: Digest,
    /// Its configuration, as JSON.
    pub config: serde_json::Value,
    /// The component: kept with every version whose requests pass through it, and with the batches that it failed on.
    pub component: bytes::Bytes,
    /// What it was granted of the columns, where that is not what its kind sees: rows that it cleaned without are other rows.
    pub columns: Option<serde_json::Value>,
    /// Whether the requests that a version answers pass through it, too.
    pub serving: bool,
    /// Its limits and grants, as the settings give them: with another of these it is another plugin to the ledger of strikes.
    pub circumstances: serde_json::Value,
    /// How much a cleaner may change of a batch; others change none.
    pub damage: DamageBounds,
    /// The handle. Taken out while a call is under way on another thread.
    pub port: Option<Box<P>>,
}

/// What of a cleaner's settings its rows depend on, for the digest of the chain.
pub fn cleaner_settings(config: &serde_json::Value, columns: Option<&serde_json::Value>) -> serde_json::Value {
    match columns {
        // A configuration is an object, so that a list is none.
        Some(columns) => serde_json::json!([config, columns]),
        None => config.clone(),
    }
}

impl PluginStep<dyn CleanPort> {
    /// Whether what it makes of a batch depends on the batches before.
    pub fn keeps_state(&self) -> bool {
        self.port.as_ref().is_some_and(|port| port.keeps_state())
    }
}

/// All plugins of a pipeline.
pub struct Plugins {
    /// Where rows come from.
    pub source: PluginStep<dyn SourcePort>,
    /// What they pass through, in order.
    pub cleaners: Vec<PluginStep<dyn CleanPort>>,
    /// What measures versions.
    pub evaluators: Vec<PluginStep<dyn EvaluatePort>>,
    /// Where alerts go.
    pub alerters: Vec<PluginStep<dyn AlertPort>>,
}

impl Plugins {
    /// Name and digest of each, in the order of the loop.
    pub fn components(&self) -> impl Iterator<Item = (PluginName, Digest)> {
        let source = std::iter::once((self.source.name.clone(), self.source.digest));
        let cleaners = self.cleaners.iter().map(|step| (step.name.clone(), step.digest));
        let evaluators = self.evaluators.iter().map(|step| (step.name.clone(), step.digest));
        source.chain(cleaners).chain(evaluators).chain(self.alerters.iter().map(|step| (step.name.clone(), step.digest)))
    }
}

impl Plugins {
    /// Name and [use](PluginStep::used) of each, in the order of the loop.
    pub(crate) fn used(&self) -> Vec<(PluginName, Digest)> {
        fn of<P: ?Sized>(step: &PluginStep<P>) -> (PluginName, Digest) {
            (step.name.clone(), step.used())
        }
        let mut used = vec![of(&self.source)];
        used.extend(self.cleaners.iter().map(of));
        used.extend(self.evaluators.iter().map(of));
        used.extend(self.alerters.iter().map(of));
        used
    }
}

/// Where a pipeline keeps everything.
#[derive(Clone)]
pub struct Stores {
    /// Metadata: the only commit point.
    pub meta: Arc<dyn MetaStore>,
    /// Immutable files by digest.
    pub blobs: Arc<dyn Blobs>,
    /// Work units of cleaning.
    pub queue: Arc<dyn WorkQueue>,
    /// What was answered over HTTP, and labels that come by id.
    pub feedback: Arc<dyn Feedback>,
    /// The right to write.
    pub fence: Fence,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl SourcePort for Source {
    fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError> {
        Source::open(self, cursor)
    }

    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, CallError> {
        Source::next(self, rows_max, bytes_max)
    }
}

impl CleanPort for Cleaner {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        Cleaner::clean(self, rows)
    }

    fn keeps_state(&self) -> bool {
        Cleaner::keeps_state(self)
    }

    fn clean_keeping(&mut self, rows: &Batch, kept: &Arc<StateEntries>) -> Result<(Cleaned, StateChanges), CallError> {
        Cleaner::clean_keeping(self, rows, kept)
    }

    fn state_keys(&self) -> Vec<Box<[u8]>> {
        Cleaner::state_keys(self)
    }

    fn last_words(&self) -> LastWords {
        Cleaner::last_words(self).clone()
    }
}

impl EvaluatePort for Evaluator {
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        Evaluator::metrics(self)
    }

    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        Evaluator::evaluate(self, scored)
    }

    fn needs_latency(&self) -> bool {
        self.asks_for("latency")
    }
}

impl AlertPort for Alerter {
    fn notify(&mut self, alert: &Alert) -> Result<(), CallError> {
        Alerter::notify(self, alert).map(|_reference| ())
    }
}
