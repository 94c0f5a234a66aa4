//! Verdicts and the decisions made of them.

use serde::{Deserialize, Serialize};

use crate::{Digest, RunId, Timestamp, VersionNo};

/// What a gate rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The rows show that the rule holds.
    Pass,
    /// The rows show that it does not.
    Fail,
    /// The rows show neither.
    Inconclusive,
}

/// One rule's verdict with the numbers behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleVerdict {
    /// The rule's id.
    pub rule: String,
    /// What it says.
    pub verdict: Verdict,
    /// The metric it looked at.
    pub metric: String,
    /// Whom the challenger was compared with: `champion`, `anchor`, `no-change`, `majority`, or the bound itself.
    pub against: String,
    /// The statistical method: `tango`, `mcnemar-mid-p`, `wilson`, `paired-bootstrap`, `paired-block-bootstrap`, ….
    pub method: String,
    /// The challenger's value.
    pub challenger: Option<f64>,
    /// The other's value.
    pub other: Option<f64>,
    /// The estimate that was tested: a difference, a ratio or a value.
    pub estimate: Option<f64>,
    /// Its one-sided lower and upper bounds at `1 - alpha`.
    pub interval: Option<(f64, f64)>,
    /// What the rule compares the bounds with.
    pub threshold: f64,
    /// The error this look was allowed to spend.
    pub alpha: f64,
    /// Rows that counted.
    pub rows: u64,
    /// One sentence for people.
    pub reason: String,
}

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// It becomes champion.
    Promote,
    /// It never will.
    Reject,
    /// More rows are needed.
    Hold,
    /// It becomes champion again.
    RollBack,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecidedBy {
    /// The gate.
    Gate,
    /// A person, by name.
    Operator(String),
    /// A rollout, by what came of requests.
    Guard,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The snapshot the version was trained on.
    pub snapshot: Digest,
    /// The version's weights.
    pub weights: Digest,
    /// The gate rules.
    pub gate: Digest,
    /// The evaluator components, in order.
    pub evaluators: Vec<Digest>,
    /// The stored terms of all models compared.
    pub terms: Digest,
    /// The seed of the resampling.
    pub seed: u64,
}

/// A decision; the only thing that moves an alias. Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub kind: DecisionKind,
    /// About which version.
    pub version: VersionNo,
    /// The champion when it was decided; the alias moves only if it still is.
    pub parent: Option<VersionNo>,
    /// Who decided.
    pub by: DecidedBy,
    /// When.
    pub at: Timestamp,
    /// The run it belongs to, if any.
    pub run: Option<RunId>,
    /// Which look at the rows this was, from 1; 0 where no gate looked.
    pub look: u32,
    /// What it rests on; an operator's decision has none.
    pub evidence: Option<Evidence>,
    /// The verdicts.
    pub rules: Vec<RuleVerdict>,
    /// One sentence for people.
    pub reason: String,
}

impl Decision {
    /// Who decided, as people are told.
    pub fn author(&self) -> String {
        match (&self.by, self.kind) {
            (DecidedBy::Gate, _) => "the gate".to_owned(),
            (DecidedBy::Operator(name), _) => format!("operator {name}"),
            (DecidedBy::Guard, DecisionKind::RollBack) => "the guard".to_owned(),
            (DecidedBy::Guard, _) => "the rollout".to_owned(),
        }
    }
}
