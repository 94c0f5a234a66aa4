//! What was answered, and what turned out to be true.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, VersionNo};

/// Ground truth that came by itself, after its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLabel {
    /// The id of the row, as text.
    pub row_id: String,
    /// Its class.
    pub class: String,
    /// When it became known. A snapshot cut off earlier does not see it.
    pub known_at: Timestamp,
}

/// One row that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedPrediction {
    /// The id of the row, as text: the caller's, or one that was made for it.
    pub row_id: String,
    /// When it was answered.
    pub at: Timestamp,
    /// Who answered.
    pub version: VersionNo,
    /// The class it was given.
    pub predicted: String,
    /// The probability of each class, in the order of the contract.
    pub probabilities: Vec<f64>,
    /// The features as they came, before serving cleaners: a JSON object.
    pub features: serde_json::Map<String, serde_json::Value>,
    /// Nanoseconds from the parsed request to the answer.
    pub latency_ns: u64,
    /// The arm of the rollout that it was counted in, where one was under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<TrafficArm>,
}

/// Who answers a request while a version is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficArm {
    /// The new version.
    Canary,
    /// The champion, watched beside the canary.
    Control,
    /// The champion, not watched.
    Rest,
}

/// A part of the rows whose labels have become known, compared with what was answered for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityPoint {
    /// When the last of them was compared, on the pipeline's clock.
    pub at: Timestamp,
    /// The last row's event time.
    pub event_time: Timestamp,
    /// Who answered them.
    pub version: VersionNo,
    /// How many were answered and labelled.
    pub rows: u64,
    /// How many of these were right.
    pub right: u64,
    /// How many were answered over HTTP; the others are what the version would have answered.
    pub served: u64,
}
