//! Immutable datasets.

use serde::{Deserialize, Serialize};

use crate::{Contract, Digest, Timestamp};

/// An immutable dataset: rows of cleaned parts behind one cleaner chain, cut off in event and knowledge time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The cleaner chain of all its parts.
    pub chain: Digest,
    /// Digests of the cleaner components, in order.
    pub cleaners: Vec<Digest>,
    /// What its columns are.
    pub contract: Contract,
    /// Its parts, in row order; of each, a range of row numbers.
    pub parts: Vec<SnapshotPart>,
    /// Rows with a later event time are not in it.
    pub event_cutoff: Timestamp,
    /// Rows whose label was learned later are not in it.
    pub knowledge_cutoff: Timestamp,
    /// Rows in it.
    pub row_count: u64,
    /// Its splits, in time order and disjoint.
    pub splits: Vec<Split>,
    /// Digest of the labels that came after their rows, as they were known at the cut-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_labels: Option<Digest>,
    /// All parts that its rows see something of, its own among them, in row order; none where rows see no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Digest>,
}

/// The rows of one part that belong to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// Digest of the cleaned part.
    pub digest: Digest,
    /// First row number that belongs to the snapshot.
    pub first_row: u64,
    /// Last row number that belongs to the snapshot.
    pub last_row: u64,
    /// How many rows that is; numbers of quarantined rows are missing in between.
    pub row_count: u64,
}

/// A part of a snapshot with one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// `train`, `validation` or `gate`.
    pub name: String,
    /// Positions in the snapshot, from 0.
    pub start: u64,
    /// One past the last position.
    pub end: u64,
}

impl Snapshot {
    /// The snapshot's id: the digest of everything in it.
    pub fn id(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).expect("a snapshot has no map with keys that are not text"))
    }

    /// Every file that it is read from; some more than once.
    pub fn files(&self) -> impl Iterator<Item = Digest> {
        self.parts.iter().map(|part| part.digest).chain(self.history.iter().copied()).chain(self.late_labels)
    }

    /// The split named `name`.
    pub fn split(&self, name: &str) -> Option<&Split> {
        self.splits.iter().find(|split| split.name == name)
    }
}
