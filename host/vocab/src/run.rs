//! One pass from trigger to decision.

use serde::{Deserialize, Serialize};

use crate::{DecisionKind, Digest, RunId, ServingCleaner, Timestamp, VersionNo};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Triggered.
    Queued,
    /// Its dataset is fixed.
    Snapshotted,
    /// Its version is being trained.
    Training,
    /// Its version is being measured.
    Evaluating,
    /// Its gate waits for rows, or is being judged.
    Gating,
    /// It ended with a decision.
    Done,
    /// It ended with an error.
    Failed,
    /// An operator ended it.
    Cancelled,
    /// A newer trigger replaced it.
    Superseded,
}

impl RunState {
    /// All states, in order.
    pub const ALL: [RunState; 9] = [
        RunState::Queued,
        RunState::Snapshotted,
        RunState::Training,
        RunState::Evaluating,
        RunState::Gating,
        RunState::Done,
        RunState::Failed,
        RunState::Cancelled,
        RunState::Superseded,
    ];

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, RunState::Done | RunState::Failed | RunState::Cancelled | RunState::Superseded)
    }

    /// Whether a run may go from this state to `to`.
    pub fn may_become(self, to: RunState) -> bool {
        use RunState::{Cancelled, Done, Evaluating, Failed, Gating, Queued, Snapshotted, Superseded, Training};
        match to {
            Queued => false,
            Snapshotted => self == Queued,
            Training => self == Snapshotted,
            Evaluating => matches!(self, Training | Gating),
            Gating => self == Evaluating,
            Done => matches!(self, Gating | Evaluating | Queued | Snapshotted),
            Failed | Cancelled | Superseded => !self.is_final(),
        }
    }
}

/// A run, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number in the pipeline.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Why it was started, as a sentence.
    pub trigger: String,
    /// The seed of everything random in it.
    pub seed: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// Rows ingested when it was started: rows from this number on have arrived since.
    pub started_row: u64,
    /// Its dataset.
    pub snapshot: Option<Digest>,
    /// The version it trained.
    pub version: Option<VersionNo>,
    /// How often its gate has looked at arriving rows.
    pub looks: u32,
    /// What was decided.
    pub decision: Option<DecisionKind>,
    /// Why it failed, or ended without a decision.
    pub note: Option<String>,
    /// Whether a person asked for it: then nothing that saves a training keeps it from one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The cleaners that requests of its version will pass through; fixed with the dataset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serving: Vec<ServingCleaner>,
}
