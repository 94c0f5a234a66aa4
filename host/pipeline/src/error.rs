//! What can go wrong in a pipeline.

use tidegate_dataset::DatasetError;
use tidegate_model::{LoadError, PredictError, TrainError};
use tidegate_policy::JudgeError;
use tidegate_sandbox::CallError;
use tidegate_store::StoreError;
use tidegate_vocab::{Digest, PluginName, VersionNo};

use crate::DamageBreach;
use crate::run::chain_text;

/// What a pipeline could not do, and to what.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A call of a plugin failed.
    #[error("plugin `{plugin}` failed in step `{step}`")]
    Plugin {
        /// Which plugin.
        plugin: PluginName,
        /// `source`, `cleaner`, `evaluator` or `alerter`.
        step: &'static str,
        /// How.
        source: CallError,
    },
    /// A cleaner changed more of a batch than it may.
    #[error("cleaner `{plugin}` did more to rows {first_row} to {last_row} than it may: {}", breach.found)]
    Damage {
        /// Which cleaner.
        plugin: PluginName,
        /// First row.
        first_row: u64,
        /// Last row.
        last_row: u64,
        /// The bound that was passed.
        breach: DamageBreach,
    },
    /// A plugin has failed too often to be called.
    #[error("plugin `{plugin}` is quarantined, and step `{step}` waits: {why}")]
    PluginQuarantined {
        /// Which plugin.
        plugin: PluginName,
        /// `source`, `cleaner` or `evaluator`.
        step: &'static str,
        /// Why.
        why: String,
    },
    /// There is no dead letter of that number.
    #[error("there is no dead letter {number}")]
    NoDeadLetter {
        /// Which.
        number: u64,
    },
    /// A plugin that is not held has nothing to be released from.
    #[error("plugin `{plugin}` has no strikes")]
    NoStrikes {
        /// Which plugin.
        plugin: PluginName,
    },
    /// Rows could not become a dataset.
    #[error("could not make a dataset of rows {first_row} to {last_row}")]
    Dataset {
        /// First row.
        first_row: u64,
        /// Last row.
        last_row: u64,
        /// Why.
        source: DatasetError,
    },
    /// Rows have not the columns that a model sees of earlier rows.
    #[error("could not give rows {first_row} to {last_row} what they see of earlier rows")]
    Lags {
        /// First row.
        first_row: u64,
        /// Last row.
        last_row: u64,
        /// Why.
        source: tidegate_model::ColumnError,
    },
    /// A version could not be trained.
    #[error("could not train a challenger")]
    Train {
        /// Why.
        source: TrainError,
    },
    /// A stored version could not be loaded.
    #[error("could not load {version}")]
    Load {
        /// Which.
        version: VersionNo,
        /// Why.
        source: LoadError,
    },
    /// A version could not answer for rows of its own contract.
    #[error("{version} could not predict rows {first_row} to {last_row}")]
    Predict {
        /// Which.
        version: VersionNo,
        /// First row.
        first_row: u64,
        /// Last row.
        last_row: u64,
        /// Why.
        source: PredictError,
    },
    /// The gate could not be judged.
    #[error("could not judge {version}")]
    Judge {
        /// Which.
        version: VersionNo,
        /// Why.
        source: JudgeError,
    },
    /// A person asked for a run, and a brake of the `manual` trigger holds it.
    #[error("no run starts by hand now: the `manual` trigger says that {held}")]
    ManualHeld {
        /// What holds it.
        held: String,
    },
    /// The store names something that it does not hold.
    #[error("the store names {what}, and does not hold it")]
    Missing {
        /// What.
        what: String,
    },
    /// The pipeline's memory in the store does not parse.
    #[error("could not read what the pipeline remembers")]
    ReadState {
        /// Why.
        source: serde_json::Error,
    },
    /// What a cleaner keeps from batch to batch does not parse.
    #[error("could not read what a cleaner remembers, from layer {layer} of its state")]
    ReadMemory {
        /// The digest of the layer's file.
        layer: Digest,
        /// Why.
        source: DatasetError,
    },
    /// An operator asked for something that the state of a version does not allow.
    #[error("{version} cannot become champion: {why}")]
    NotPromotable {
        /// Which.
        version: VersionNo,
        /// Why.
        why: String,
    },
    /// A version that the gate cannot be asked about.
    #[error("the gate cannot be asked about {version}: {why}")]
    NotJudgeable {
        /// Which.
        version: VersionNo,
        /// Why.
        why: String,
    },
    /// A person asked for a run while a version is rolled out.
    #[error("no run starts while {version} is rolled out")]
    RolloutOpen {
        /// Which.
        version: VersionNo,
    },
    /// A model that was trained elsewhere cannot be taken in.
    #[error("the model cannot be imported: {why}")]
    NotImportable {
        /// Why.
        why: String,
    },
    /// The settings hold another contract than the accepted one.
    #[error("the contract in the settings is not the one that was accepted\n  {}", lines.join("\n  "))]
    ContractChanged {
        /// What it changes, one thing a line.
        lines: Vec<String>,
    },
    /// A row that cannot be let in again.
    #[error("row {row} cannot be let in again: {why}")]
    NotReadmittable {
        /// Which.
        row: u64,
        /// Why.
        why: String,
    },
    /// The state takes more room than it may, and nothing of it may go.
    #[error("the state takes {bytes} bytes, `disk_bytes_max` is {bytes_max}, and nothing that is left may go")]
    OverBudget {
        /// What is needed.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// There is nothing to roll back to.
    #[error("there is nothing to roll back to: {why}")]
    NoRollbackTarget {
        /// Why.
        why: String,
    },
    /// A thread of a plugin call or a training died; a bug of ours.
    #[error("a thread of step `{step}` ended without an answer")]
    Thread {
        /// Which step.
        step: &'static str,
    },
    /// Two evaluators report one metric.
    #[error("metric `{metric}` is reported by two evaluators, the second is `{plugin}`")]
    MetricTwice {
        /// The metric.
        metric: String,
        /// The second evaluator.
        plugin: PluginName,
    },
    /// A blob does not hold what its digest was stored for.
    #[error("could not read blob `{digest}`")]
    Blob {
        /// Its digest.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
}

impl PipelineError {
    /// Whether a plugin is to blame for it.
    pub fn is_fault(&self) -> bool {
        match self {
            PipelineError::Plugin { source, .. } => source.is_fault(),
            PipelineError::Damage { .. } => true,
            _ => false,
        }
    }

    /// Whether it is the plugin's fault or the batch's, and nobody else's.
    pub(crate) fn is_about_plugin_or_batch(&self) -> bool {
        self.is_fault() || matches!(self, PipelineError::Plugin { source, .. } if source.is_final_refusal())
    }

    /// Whether a cleaner's state has grown too large: no batch is to blame for what all of them have left there.
    pub(crate) fn is_about_state(&self) -> bool {
        let grown = ["state_entries_max", "state_bytes_max"];
        matches!(self, PipelineError::Plugin { source: CallError::OverLimit { limit, .. }, .. } if grown.contains(limit))
    }

    /// How a call ended, in a word.
    pub fn outcome(&self) -> &'static str {
        match self {
            PipelineError::Plugin { source, .. } => source.word(),
            PipelineError::Damage { .. } => "damage",
            _ => "error",
        }
    }

    /// What went wrong, without the step around it.
    pub fn own_words(&self) -> String {
        match self {
            PipelineError::Plugin { source, .. } => source.to_string(),
            other => chain_text(other),
        }
    }

    /// When a plugin asked to be tried again, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            PipelineError::Plugin { source, .. } => source.retry_after_ms(),
            _ => None,
        }
    }

    /// The way out, where there is one to name.
    pub fn hint(&self) -> Option<String> {
        match self {
            PipelineError::Store(source) | PipelineError::Blob { source, .. } => source.hint(),
            PipelineError::Plugin { source, .. } => source.hint(),
            PipelineError::Damage { plugin, breach, .. } => {
                Some(format!("mend the cleaner, or raise `damage.{}` where `{plugin}` is used", breach.key))
            }
            PipelineError::PluginQuarantined { plugin, .. } => {
                Some(format!("`tidegate plugin release {plugin}` lets it try again; so does another file, configuration or limit of it"))
            }
            PipelineError::NoDeadLetter { .. } => Some("`tidegate dead-letter list` lists them".to_owned()),
            PipelineError::NoStrikes { .. } => Some("the status page and `tidegate plugin strikes` show who has".to_owned()),
            PipelineError::Dataset { source, .. } => source.hint(),
            PipelineError::ManualHeld { .. } => Some("wait, or change the brakes of the trigger of kind `manual`".to_owned()),
            PipelineError::Train { source } => source.hint(),
            PipelineError::Lags { source, .. } => source.hint(),
            PipelineError::Load { source, .. } => source.hint(),
            PipelineError::Predict { source, .. } => source.hint(),
            PipelineError::Judge { source, .. } => source.hint(),
            PipelineError::Missing { .. } => Some("restore the state folder from a backup".to_owned()),
            PipelineError::ReadState { .. } => Some("the state folder was written by another version of Tidegate".to_owned()),
            PipelineError::ReadMemory { .. } => Some(
                "restore the state folder from a backup; with another `config` the cleaners begin anew, and clean every part again"
                    .to_owned(),
            ),
            PipelineError::NotPromotable { .. } => Some("`tidegate models` lists the versions and their states".to_owned()),
            PipelineError::NotJudgeable { .. } => {
                Some("`tidegate models` lists the versions; `tidegate gate replay` needs no more than what is stored".to_owned())
            }
            PipelineError::RolloutOpen { version } => {
                Some(format!("a running `tidegate up` goes on with it; `tidegate promote {version}` or `tidegate rollback` ends it"))
            }
            PipelineError::NotImportable { .. } => {
                Some("`tidegate export VERSION FOLDER` shows what the two files look like; the contract is in `tidegate.toml`".to_owned())
            }
            PipelineError::ContractChanged { .. } => Some(
                "`tidegate contract diff` says what that means for the champion, `tidegate contract accept` accepts it; or put the \
                 old contract back"
                    .to_owned(),
            ),
            PipelineError::NotReadmittable { .. } => {
                Some("`tidegate quarantine list` lists the rows that are kept out, with who keeps them out and why".to_owned())
            }
            PipelineError::OverBudget { .. } => Some(
                "raise `disk_bytes_max` under `[store]`, or lower `window_rows` of a model; `tidegate gc --dry-run` shows what is needed"
                    .to_owned(),
            ),
            PipelineError::NoRollbackTarget { .. } => Some("`tidegate promote VERSION` makes any trained version champion".to_owned()),
            PipelineError::MetricTwice { .. } => Some("give one of the two evaluators another configuration, or take it out".to_owned()),
            PipelineError::Thread { .. } => None,
        }
    }
}
