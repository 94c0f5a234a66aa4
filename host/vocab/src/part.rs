//! Immutable pieces of a dataset, and where their rows came from.

use serde::{Deserialize, Serialize};

use crate::{CleanerState, Digest, Timestamp};

/// The columns that the host adds to every cleaned part, beside those of the contract.
#[derive(Debug)]
pub struct RowColumns;

impl RowColumns {
    /// `i64`: the number of the row in its pipeline, from 0, in order of ingest.
    pub const ROW: &'static str = "tidegate_row";
    /// `timestamp-us`: event time.
    pub const EVENT_TIME: &'static str = "tidegate_event_time";
    /// `timestamp-us`: when Tidegate learned the row's label.
    pub const KNOWN_TIME: &'static str = "tidegate_known_time";
}

/// Rows as a source gave them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPart {
    /// Digest of the part's file.
    pub digest: Digest,
    /// Number of its first row; parts of a pipeline are contiguous.
    pub first_row: u64,
    /// How many rows.
    pub row_count: u64,
    /// Size of the file.
    pub byte_count: u64,
    /// When it was polled.
    pub polled_at: Timestamp,
}

/// The rows of one raw part that came through one cleaner chain and the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanPart {
    /// Digest of the cleaner digests, their configurations and the contract.
    pub chain: Digest,
    /// The raw part it was derived from.
    pub raw: Digest,
    /// Digest of its Parquet file; the file of an empty part exists too.
    pub digest: Digest,
    /// Number of the raw part's first row.
    pub first_row: u64,
    /// Rows that were kept.
    pub row_count: u64,
    /// Size of the file.
    pub byte_count: u64,
    /// Earliest and latest event time of the kept rows.
    pub event_time: Option<(Timestamp, Timestamp)>,
    /// The rows that were not kept, by reason.
    pub quarantined: Vec<Quarantined>,
    /// What the cleaners that keep state were given of it: whoever cleans the raw part again gives them the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<CleanerState>,
}

/// Rows of one raw part that were kept out of the dataset for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Who kept them out: `contract` or a plugin's name.
    pub by: String,
    /// Why, such as `null:temperature` or a reason from the plugin's manifest.
    pub reason: String,
    /// Their row numbers, rising.
    pub rows: Vec<u64>,
}
