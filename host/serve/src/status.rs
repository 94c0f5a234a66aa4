//! What the status page and `/v1/status` show: plain data, filled in by `cli`.

use serde::Serialize;
use tidegate_vocab::{Decision, PipelineId, PluginName, QualityPoint, Timestamp, VersionNo};

/// The whole host at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The host's version.
    pub host_version: String,
    /// When it was started, on the system's clock.
    pub started_at: Timestamp,
    /// The settings in force.
    pub settings: SettingsStatus,
    /// One a pipeline.
    pub pipelines: Vec<PipelineStatus>,
    /// Every loaded plugin, by name.
    pub plugins: Vec<PluginStatus>,
}

/// One pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    /// Its name, and its model's.
    pub id: PipelineId,
    /// What time it is for the pipeline; simulated while a history is replayed.
    pub now: Timestamp,
    /// Whether that time is simulated.
    pub replayed: bool,
    /// Where in the loop it is at work.
    pub at: Node,
    /// What it does there, as a sentence.
    pub doing: String,
    /// Why it does not get on, with the way out; `None` while it does.
    pub stalled: Option<String>,
    /// The plugins of the loop, in its order.
    pub source: PluginName,
    /// Cleaners in order.
    pub cleaners: Vec<PluginName>,
    /// Evaluators.
    pub evaluators: Vec<PluginName>,
    /// Alerters.
    pub alerters: Vec<PluginName>,
    /// The model family, such as `mlp`.
    pub family: String,
    /// The features' names.
    pub features: Vec<String>,
    /// The classes of the label.
    pub classes: Vec<String>,
    /// Rows committed.
    pub rows: u64,
    /// Of these, rows kept out of the dataset, by who and why, most first.
    pub quarantined: Vec<(String, String, u64)>,
    /// Batches that were set aside because a cleaner fails on them, by first row.
    pub dead_letters: Vec<DeadLetterStatus>,
    /// When rows were last committed, on the system's clock.
    pub last_rows_at: Option<Timestamp>,
    /// Predictions logged.
    pub predictions: u64,
    /// Predictions answered but not logged since the start, because the log had fallen behind.
    pub predictions_shed: u64,
    /// Labels that came by id.
    pub labels: u64,
    /// Who serves.
    pub champion: Option<ChampionStatus>,
    /// The run under way.
    pub run: Option<RunStatus>,
    /// The version that takes over requests.
    pub rollout: Option<RolloutStatus>,
    /// What the newest answers seem to be worth, before their labels come.
    pub estimate: Option<EstimateStatus>,
    /// How the champion stands against the version before, as a sentence.
    pub guard: Option<String>,
    /// What the newest window of rows says about drift.
    pub drift: Option<DriftStatus>,
    /// Realised quality over time, oldest first.
    pub quality: Vec<QualityPoint>,
    /// Every move of the champion, oldest first.
    pub moves: Vec<Move>,
    /// The latest decisions with their numbers, newest first.
    pub decisions: Vec<(u64, Decision)>,
    /// Versions trained.
    pub versions: u32,
    /// What would happen next, a sentence each.
    pub next: Vec<String>,
}

/// A place in the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Waiting for rows.
    Source,
    /// Cleaning.
    Cleaners,
    /// Comparing labels with answers, and asking the triggers.
    Monitor,
    /// Training.
    Train,
    /// Judging, or waiting for rows to judge on.
    Gate,
}

/// Who serves.
#[derive(Debug, Clone, Serialize)]
pub struct ChampionStatus {
    /// Its number.
    pub version: VersionNo,
    /// The digest of its weights, in hex.
    pub weights: String,
    /// Since when.
    pub since: Timestamp,
    /// Who decided, in words: `the gate`, `operator ada`.
    pub by: String,
    /// Why, as a sentence.
    pub reason: String,
    /// Answered and labelled rows since it serves, and how many were right.
    pub rows: u64,
    /// Of these, how many were right.
    pub right: u64,
    /// The 95 % interval of the share of right ones (Wilson), where there are rows.
    pub interval: Option<(f64, f64)>,
}

/// The run under way.
#[derive(Debug, Clone, Serialize)]
pub struct RunStatus {
    /// Its number, such as `run-7`.
    pub id: String,
    /// Its state, in a word.
    pub state: String,
    /// Why it was started.
    pub trigger: String,
    /// When.
    pub started_at: Timestamp,
    /// The version it trained.
    pub version: Option<VersionNo>,
    /// The share of the training that is done, 0 to 1, while it trains.
    pub progress: Option<f64>,
    /// Labelled rows that the gate waits for.
    pub waiting_rows: Option<u64>,
    /// Times the gate has looked.
    pub looks: u32,
}

/// What a window of rows says about drift.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftStatus {
    /// Whose rows it was held against.
    pub version: VersionNo,
    /// Its rows.
    pub rows: u64,
    /// When it was looked at, on the pipeline's clock.
    pub at: Timestamp,
    /// What was found, as a sentence.
    pub reason: String,
    /// Features and answers, the one that moved most first: its name, how far it moved, what is usual, and whether it drifts.
    pub features: Vec<(String, f64, f64, bool)>,
}

/// What answers seem to be worth whose labels have not come (CBPE).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EstimateStatus {
    /// Who answered.
    pub version: VersionNo,
    /// Rows it was estimated from.
    pub rows: u64,
    /// The estimated share of right answers.
    pub accuracy: f64,
    /// Three sampling errors below and above it.
    pub band: (f64, f64),
    /// The share that was right when the version was judged.
    pub reference: f64,
    /// Estimates that could be compared with what came out.
    pub compared: u64,
    /// How far these were off on average; `None` before the first.
    pub distance: Option<f64>,
}

/// A version that takes over requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutStatus {
    /// Its number.
    pub version: VersionNo,
    /// `check`, `shadow` or `canary`.
    pub stage: String,
    /// Since when it is there, or in this step of the canary.
    pub since: Timestamp,
    /// The share of requests that it answers; 0 before the canary.
    pub share: f64,
    /// Requests so far: mirrored ones, or those of the smaller arm.
    pub requests: u64,
    /// Requests after which this step is over.
    pub requests_needed: u64,
    /// Why it stands there, as a sentence.
    pub reason: String,
}

/// One move of the champion.
#[derive(Debug, Clone, Serialize)]
pub struct Move {
    /// When.
    pub at: Timestamp,
    /// Rows that had arrived, where that is known.
    pub row: Option<u64>,
    /// From which version.
    pub from: Option<VersionNo>,
    /// To which.
    pub to: VersionNo,
    /// Whether it took a version back.
    pub is_rollback: bool,
}

/// One loaded plugin.
#[derive(Debug, Clone, Serialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: PluginName,
    /// Its kind, such as `cleaner`.
    pub kind: String,
    /// The version its manifest says.
    pub version: String,
    /// The digest of its component, in hex.
    pub digest: String,
    /// The pipelines that use it.
    pub pipelines: Vec<PipelineId>,
    /// The pipelines in which it has strikes that count.
    pub struck: Vec<StruckStatus>,
    /// Attempts to replace it since the start, newest first.
    pub reloads: Vec<Reload>,
}

/// A plugin that failed in one pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct StruckStatus {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Strikes that count now.
    pub strikes: u32,
    /// Since when it is not called, on the pipeline's clock, and why; `None` while it is called.
    pub quarantined: Option<(Timestamp, String)>,
}

/// A batch that was set aside.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterStatus {
    /// Its number.
    pub number: u64,
    /// Number of its first row.
    pub first_row: u64,
    /// Its rows.
    pub rows: u64,
    /// The cleaner that fails on it.
    pub plugin: PluginName,
    /// When, on the pipeline's clock.
    pub at: Timestamp,
    /// The error.
    pub error: String,
}

/// The settings in force, and how they stand to the file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SettingsStatus {
    /// The file.
    pub file: String,
    /// The digest of what is in force.
    pub digest: String,
    /// Keys of the file that need a restart, as a sentence each.
    pub waiting: Vec<String>,
    /// Why the file as it is now is not in force; `None` where it is, but for what waits.
    pub refused: Option<String>,
    /// Attempts to take the file up since the start, newest first; `applied` and `needs a restart` are results of theirs.
    pub reloads: Vec<Reload>,
}

/// One attempt to replace a plugin.
#[derive(Debug, Clone, Serialize)]
pub struct Reload {
    /// When, on the system's clock.
    pub at: Timestamp,
    /// The digest of the new file, in hex, where it could be read.
    pub digest: Option<String>,
    /// How it ended: `replaced`, `refused`, `held`, `proven` or `taken back`.
    pub result: String,
    /// Why the new one does not serve; `None` when it does.
    pub refused: Option<String>,
    /// What the new one does differently, a sentence a place.
    pub differences: Vec<String>,
}

impl Reload {
    /// Whether it waits for somebody's word.
    pub(crate) fn is_held(&self) -> bool {
        self.result == "held"
    }
}
