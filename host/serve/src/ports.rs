//! What the server is given: who answers, where predictions and labels go, what there is to show. `cli` wires it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tidegate_model::Model;
use tidegate_vocab::{Batch, Clock, Contract, LateLabel, LoggedPrediction, PipelineId, Timestamp, VersionNo};
use tokio::sync::watch;

use crate::infer::Plan;
use crate::metrics::{ArmCounters, Metrics};
use crate::status::Status;
use crate::traffic::RolloutRoute;

/// Everything outside the server.
#[derive(Clone)]
pub struct Ports {
    /// Who answers; changes as a whole, so that a request sees one state of it.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Where answered rows go.
    pub predictions: Arc<dyn PredictionSink>,
    /// Where labels go.
    pub labels: Arc<dyn LabelSink>,
    /// Where posts to triggers go.
    pub triggers: Arc<dyn TriggerSink>,
    /// What there is to show.
    pub views: Arc<dyn Views>,
    /// Counts up whenever something that is shown has changed.
    pub changes: watch::Receiver<u64>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// All models by name; a pipeline's model has its name.
#[derive(Default)]
pub struct Routes {
    /// By name.
    pub models: BTreeMap<String, ModelRoute>,
}

/// One model, and who answers for it.
pub struct ModelRoute {
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// What its columns are.
    pub contract: Arc<Contract>,
    /// Who answers, or why nobody does yet: a sentence that says what is missing.
    pub champion: Result<Arc<Arm>, String>,
    /// The versions that can be asked by number, the champion among them.
    pub versions: BTreeMap<VersionNo, Arc<Arm>>,
    /// The version that takes over requests, while one is rolled out.
    pub rollout: Option<RolloutRoute>,
    plan: OnceLock<Plan>,
}

impl ModelRoute {
    /// A model of `pipeline`; `champion` is one of `versions` too.
    pub fn new(
        pipeline: PipelineId,
        contract: Arc<Contract>,
        champion: Result<Arc<Arm>, String>,
        versions: BTreeMap<VersionNo, Arc<Arm>>,
    ) -> ModelRoute {
        ModelRoute { pipeline, contract, champion, versions, rollout: None, plan: OnceLock::new() }
    }

    /// The same, with a version that takes over requests.
    pub fn rolling_out(self, rollout: Option<RolloutRoute>) -> ModelRoute {
        ModelRoute { rollout, ..self }
    }

    /// What the contract asks of a request, worked out by the first one.
    pub(crate) fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| Plan::new(&self.contract))
    }
}

/// A loaded version with the cleaners that its training rows passed through.
pub struct Arm {
    /// Its number.
    pub version: VersionNo,
    /// The digest of its weights, in hex.
    pub weights: String,
    /// The model.
    pub model: Arc<Model>,
    /// What its requests pass through, in order.
    pub cleaners: Vec<Arc<dyn Clean>>,
    past: Option<watch::Receiver<Arc<Batch>>>,
    counters: OnceLock<ArmCounters>,
}

impl Arm {
    /// A loaded version.
    pub fn new(version: VersionNo, weights: String, model: Arc<Model>, cleaners: Vec<Arc<dyn Clean>>) -> Arm {
        Arm { version, weights, model, cleaners, past: None, counters: OnceLock::new() }
    }

    /// The same, with the newest cleaned rows of its pipeline, for a model that sees something of earlier rows.
    pub fn seeing(self, past: watch::Receiver<Arc<Batch>>) -> Arm {
        Arm { past: Some(past), ..self }
    }

    /// `rows` with what its model sees of earlier rows at `now`; `None` where it sees nothing of them.
    ///
    /// # Errors
    /// A sentence about what is missing.
    pub fn lagged(&self, rows: &Batch, now: Timestamp) -> Result<Option<Batch>, String> {
        let manifest = self.model.manifest();
        if manifest.spec.lags.is_empty() {
            return Ok(None);
        }
        let Some(past) = &self.past else { return Err(format!("nobody tells {} of earlier rows", self.version)) };
        let past = Arc::clone(&past.borrow());
        let lagged = manifest.spec.lags.attach_now(&manifest.contract, &past, now, rows);
        lagged.map(|lagged| Some(lagged.rows)).map_err(|error| format!("{} cannot see earlier rows: {error}", self.version))
    }

    /// Its counters, registered by the first request: a look-up by labels would cost more than counting.
    pub(crate) fn counters(&self, model: &str, metrics: &Metrics) -> &ArmCounters {
        self.counters.get_or_init(|| metrics.arm(model, self.version, &self.model.manifest().classes))
    }
}

/// A cleaner on the request path. Calls may block for as long as the plugin's `call_ms_max`.
pub trait Clean: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// What is left of `rows`.
    ///
    /// # Errors
    /// A sentence about the plugin's failure: nothing is answered then.
    fn clean(&self, rows: &Batch) -> Result<CleanedRequest, String>;
}

/// A request after one cleaner.
pub struct CleanedRequest {
    /// The rows that were kept.
    pub rows: Batch,
    /// The positions of the dropped rows in the batch that came in, rising, and why each was dropped.
    pub dropped: Vec<(usize, String)>,
}

/// Where answered rows go.
pub trait PredictionSink: Send + Sync {
    /// Takes the rows of one request; never blocks. `false` when the log has fallen behind and they were shed, which is counted.
    fn log(&self, pipeline: &PipelineId, predictions: Vec<LoggedPrediction>) -> bool;
}

/// Where labels go.
#[async_trait]
pub trait LabelSink: Send + Sync {
    /// Keeps labels, durably, all or none.
    async fn add(&self, pipeline: &PipelineId, labels: Vec<LateLabel>) -> Result<LabelsAdded, LabelError>;
}

/// Labels that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelsAdded {
    /// Labels that say something new.
    pub added: u64,
    /// Labels that were there already, with the same class.
    pub unchanged: u64,
}

/// Why labels were not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// These ids were neither predicted nor ingested.
    #[error("{} of the labels name rows that were neither predicted nor ingested", .0.len())]
    Unknown(Vec<String>),
    /// The labels of this pipeline come with its rows.
    #[error("labels of this pipeline come with its rows, not by id; `by_id = true` in its contract's `label` takes them by id")]
    NotById,
    /// They could not be stored; the same request can be sent again.
    #[error("the labels could not be stored: {0}")]
    Failed(String),
}

/// Where posts to triggers go.
#[async_trait]
pub trait TriggerSink: Send + Sync {
    /// Tells a pipeline that somebody posted to its trigger called `name`.
    async fn post(&self, pipeline: &PipelineId, name: &str) -> Result<(), TriggerError>;
}

/// Why a post came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// The pipeline has no such trigger, but these.
    #[error("there is no such trigger")]
    Unknown(Vec<String>),
    /// The pipeline has too much to do.
    #[error("the pipeline is busy")]
    Busy,
}

/// What there is to show.
#[async_trait]
pub trait Views: Send + Sync {
    /// The whole host at this moment.
    async fn status(&self) -> Status;

    /// Why the host should not be sent requests, a sentence each; none when it is ready.
    fn unready(&self) -> Vec<String>;

    /// What else the host counts, as Prometheus reads it; appended to the server's own metrics.
    fn counters(&self) -> String {
        String::new()
    }
}
