//! What a pipeline is given: plugins, stores and a clock. The sandbox's handles fit; tests script their own.

use std::sync::Arc;

use tidegate_sandbox::{Alert, Alerter, CallError, Cleaned, Cleaner, Evaluator, Pull, Source};
use tidegate_store::{Blobs, Fence, MetaStore, WorkQueue};
use tidegate_vocab::{Batch, Clock, Digest, MetricInfo, MetricTerms, PluginName};

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
    /// The handle. Taken out while a call is under way on another thread.
    pub port: Option<Box<P>>,
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

/// Where a pipeline keeps everything.
#[derive(Clone)]
pub struct Stores {
    /// Metadata: the only commit point.
    pub meta: Arc<dyn MetaStore>,
    /// Immutable files by digest.
    pub blobs: Arc<dyn Blobs>,
    /// Work units of cleaning.
    pub queue: Arc<dyn WorkQueue>,
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
