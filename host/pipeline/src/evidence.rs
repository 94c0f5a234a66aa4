//! What a decision was made on, as it is stored: enough to make it again, under the same rules or others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_policy::{Against, Gate, GateVerdict, JudgeError, JudgeInput, SliceRows, judge};
use tidegate_vocab::{MetricTerms, Seed};

/// The rows of one look, and the terms of everyone who was compared on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredTerms {
    /// The class of each row.
    pub labels: Vec<u32>,
    /// Classes of the contract.
    pub class_count: usize,
    /// The cluster number of each row; empty unless the gate declared clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<u32>,
    /// The values of the columns that the gate judged apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, SliceRows>,
    /// Share of the rows between the first and the last one whose label had come; absent in evidence that is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity: Option<f64>,
    /// The challenger's metrics.
    pub challenger: Vec<MetricTerms>,
    /// Those of whom it was compared with.
    pub others: BTreeMap<Against, Vec<MetricTerms>>,
}

impl StoredTerms {
    /// As they lie in the store.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("terms are plain data")
    }

    /// Reads what [`StoredTerms::encode`] wrote.
    ///
    /// # Errors
    /// For anything else, such as the terms of a build that kept no labels beside them.
    pub fn decode(bytes: &[u8]) -> Result<StoredTerms, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What `gate` says of them at look `look`.
    ///
    /// # Errors
    /// As of [`judge`].
    pub fn judge(&self, gate: &Gate, look: u32, seed: Seed) -> Result<GateVerdict, JudgeError> {
        let StoredTerms { labels, class_count, clusters, slices, maturity, challenger, others } = self;
        let (class_count, maturity) = (*class_count, *maturity);
        judge(gate, look, &JudgeInput { labels, class_count, clusters, slices, maturity, challenger, others, seed })
    }
}
