//! The little that a pipeline remembers between events beside what the store lists: one JSON value, committed with each step.

use serde::{Deserialize, Serialize};
use tidegate_policy::TriggerState;
use tidegate_vocab::VersionNo;

use crate::QualityHistory;

/// The name of the value in the store.
pub(crate) const KEY: &str = "loop";

/// What a pipeline remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopState {
    /// Rows below this number have been scored and shown to the detectors.
    pub observed_row: u64,
    /// Rows below this number have been counted by the triggers.
    pub counted_row: u64,
    /// Which version answered for rows from which number on, rising; rows before the first had none.
    pub serving_from: Vec<(u64, VersionNo)>,
    /// What the triggers remember.
    pub triggers: TriggerState,
    /// Labels by id up to this number have been scored and shown to the detectors.
    #[serde(default)]
    pub observed_label: u64,
    /// Realised quality so far.
    #[serde(default)]
    pub quality: QualityHistory,
}

impl LoopState {
    /// The version that answered for `row`, and the first row that it no longer answers for.
    pub fn serving_at(&self, row: u64) -> (Option<VersionNo>, u64) {
        let next = self.serving_from.partition_point(|(from, _)| *from <= row);
        let until = self.serving_from.get(next).map_or(u64::MAX, |(from, _)| *from);
        let version = next.checked_sub(1).and_then(|index| self.serving_from.get(index)).map(|(_, version)| *version);
        (version, until)
    }

    /// Notes that `version` answers from `row` on.
    pub(crate) fn serve_from(&mut self, row: u64, version: VersionNo) {
        self.serving_from.retain(|(from, _)| *from < row);
        self.serving_from.push((row, version));
        // Older entries than the rows still to be scored are of no use, but for the one in force at the first of them.
        let keep_from = self.serving_from.partition_point(|(from, _)| *from <= self.observed_row).saturating_sub(1);
        self.serving_from.drain(..keep_from);
    }
}
