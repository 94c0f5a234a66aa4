//! Trained artefacts and the names that point at them.

use serde::{Deserialize, Serialize};

use crate::{Digest, PluginName, RunId, Timestamp, VersionNo};

/// Where a version stands. Who is champion is read from the alias, not from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// Trained, not yet judged.
    Challenger,
    /// Judged inconclusively; judged again when rows arrive.
    Held,
    /// Passed its gate; waits for an operator.
    AwaitingApproval,
    /// Judged worse, or never good enough.
    Rejected,
    /// Passed its gate.
    Blessed,
    /// Did not load or answer in a fresh process.
    InfraFailed,
    /// Loaded and answered in a fresh process.
    InfraOk,
    /// Answers mirrored requests.
    Shadow,
    /// Answers a share of requests.
    Canary,
    /// Answers requests.
    Serving,
    /// Was replaced.
    Retired,
    /// Was taken back.
    RolledBack,
    /// Its data and hyper-parameters are not to be trained again.
    Quarantined,
}

impl VersionState {
    /// All states, in the order of a version's life.
    pub const ALL: [VersionState; 13] = [
        VersionState::Challenger,
        VersionState::Held,
        VersionState::AwaitingApproval,
        VersionState::Rejected,
        VersionState::Blessed,
        VersionState::InfraFailed,
        VersionState::InfraOk,
        VersionState::Shadow,
        VersionState::Canary,
        VersionState::Serving,
        VersionState::Retired,
        VersionState::RolledBack,
        VersionState::Quarantined,
    ];

    /// Whether a version may go from this state to `to`. An operator may promote a version that was held or rejected, or waits for that, and
    /// roll back to one that was retired or rolled back.
    pub fn may_become(self, to: VersionState) -> bool {
        use VersionState::{
            AwaitingApproval, Blessed, Canary, Challenger, Held, InfraFailed, InfraOk, Quarantined, Rejected, Retired, RolledBack, Serving,
            Shadow,
        };
        match to {
            Challenger => false,
            Held => self == Challenger,
            AwaitingApproval => matches!(self, Challenger | Held),
            Rejected => matches!(self, Challenger | Held | AwaitingApproval),
            Blessed => matches!(self, Challenger | Held | AwaitingApproval | Rejected),
            InfraFailed | InfraOk => self == Blessed,
            Shadow => self == InfraOk,
            Canary => matches!(self, InfraOk | Shadow | Canary),
            Serving => matches!(self, Blessed | InfraOk | Shadow | Canary | Retired | RolledBack),
            Retired => self == Serving,
            RolledBack => matches!(self, Blessed | InfraOk | Shadow | Canary | Serving),
            Quarantined => self == RolledBack,
        }
    }
}

/// One immutable trained artefact of a pipeline's model. Only its state changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// Its number in the pipeline.
    pub number: VersionNo,
    /// Where it stands.
    pub state: VersionState,
    /// The run that trained it.
    pub run: RunId,
    /// The champion when it was trained.
    pub parent: Option<VersionNo>,
    /// The dataset it was trained on.
    pub snapshot: Digest,
    /// Digest of `model.safetensors`.
    pub weights: Digest,
    /// Digest of `model.json`.
    pub manifest: Digest,
    /// Digest of data and hyper-parameters.
    pub fingerprint: Digest,
    /// The first row number it has not seen: what arrives from here on may judge it.
    pub trained_until_row: u64,
    /// When it was trained.
    pub created_at: Timestamp,
    /// The cleaners that its requests pass through, in order: those that its training rows passed through and that are marked for
    /// serving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serving: Vec<ServingCleaner>,
}

/// A cleaner on the request path. Its component is kept as a blob, so that a version can serve when the file has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingCleaner {
    /// Its name.
    pub plugin: PluginName,
    /// Digest of its component.
    pub component: Digest,
    /// Its configuration.
    pub config: serde_json::Value,
}

/// A movable name for one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alias {
    /// The version that serves.
    Champion,
    /// The last version that was promoted by a `superior` rule.
    Anchor,
}

impl Alias {
    /// The word in the store, the journal and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Alias::Champion => "champion",
            Alias::Anchor => "anchor",
        }
    }
}
