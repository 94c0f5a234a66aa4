//! A gate: the rules that a challenger must pass, written before the run.
//!
//! A [`Gate`] read from a configuration is well formed but unchecked; [`Gate::check`] lists every number out of its bounds, and
//! [`judge`](crate::judge) is total on a gate that passes it. [`Gate::lint`] warns about gates that are legal and unwise.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::slice::{SLICE_COLUMNS_MAX, SLICES_MAX};
use crate::{Against, Rule, SliceRule, Test};

/// The rules of one pipeline, and the rows they are judged on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Which rows judge.
    #[serde(default)]
    pub rows: GateRows,
    /// How the rows depend on each other; declared, never guessed, so it has no default.
    pub dependence: Dependence,
    /// One-sided confidence of every rule, over all looks together.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// Rows needed for the first look.
    #[serde(default)]
    pub rows_min: RowsMin,
    /// Rows that each class needs before anything is concluded.
    #[serde(default = "rows_per_class_min")]
    pub rows_per_class_min: u64,
    /// How often one challenger is judged before its hold expires.
    #[serde(default = "looks_max")]
    pub looks_max: u32,
    /// Bootstrap resamples of one decision.
    #[serde(default = "resamples")]
    pub resamples: u32,
    /// How bounds are read from resamples.
    #[serde(default, skip_serializing_if = "Interval::is_default")]
    pub interval: Interval,
    /// Share of the rows between the first and the last judged one whose label must have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity_min: Option<f64>,
    /// Who has to agree when every rule has passed.
    #[serde(default, skip_serializing_if = "Approval::is_default")]
    pub approval: Approval,
    /// Columns whose values are judged apart.
    #[serde(rename = "slice", default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceRule>,
    /// The rules; all must pass.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// Which rows judge a challenger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateRows {
    /// Rows that arrive after its cut-off.
    #[default]
    Arriving,
    /// Rows at the end of its snapshot that it was not trained on.
    HeldOut,
}

/// How rows depend on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// Not at all.
    Independent,
    /// Neighbours in time are alike.
    Time,
    /// Rows that share a value of this column are alike.
    Cluster(String),
}

/// Who has to agree to a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody: the rules promote.
    #[default]
    None,
    /// An operator, who promotes it by hand.
    Operator,
}

impl Approval {
    fn is_default(&self) -> bool {
        *self == Approval::default()
    }
}

/// How bounds are read from the resampled estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interval {
    /// Their quantiles.
    #[default]
    Percentile,
    /// Their quantiles, corrected for bias and for a spread that changes with the estimate (Efron 1987).
    Bca,
}

impl Interval {
    fn is_default(&self) -> bool {
        *self == Interval::default()
    }
}

/// Rows needed for the first look: a number, or as many as the narrowest `non-inferior` rule needs for 80 % power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RowsMinText", into = "RowsMinText")]
pub enum RowsMin {
    /// This many.
    Rows(u64),
    /// See [`power_rows`](crate::power_rows).
    Power,
}

impl Default for RowsMin {
    fn default() -> RowsMin {
        RowsMin::Rows(300)
    }
}

fn confidence() -> f64 {
    0.95
}

fn rows_per_class_min() -> u64 {
    30
}

fn looks_max() -> u32 {
    3
}

fn resamples() -> u32 {
    2_000
}

/// One thing that is wrong with a gate, or unwise about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateIssue {
    /// The key, relative to the gate: `confidence`, or `rule.not-worse.margin`.
    pub key: String,
    /// What is wrong, with what was found and what was expected.
    pub message: String,
    hint: String,
}

impl std::fmt::Display for GateIssue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`gate.{}`: {}", self.key, self.message)
    }
}

impl GateIssue {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

impl Gate {
    /// Everything that is out of its bounds; [`judge`](crate::judge) refuses such a gate.
    pub fn check(&self) -> Vec<GateIssue> {
        let mut issues = Vec::new();
        let mut bound = |holds: bool, key: String, found: String, expected: &str, hint: &str| {
            if !holds {
                issues.push(GateIssue { key, message: format!("found {found}, expected {expected}"), hint: hint.into() });
            }
        };
        let open = |value: f64, low: f64, high: f64| value > low && value < high;
        let confidence = self.confidence;
        bound(open(confidence, 0.5, 1.0), "confidence".into(), confidence.to_string(), "more than 0.5 and less than 1", "0.95 is usual");
        if let RowsMin::Rows(rows) = self.rows_min {
            bound((1..=10_000_000).contains(&rows), "rows_min".into(), rows.to_string(), "1 to 10000000, or \"power\"", "300 is usual");
        }
        let per_class = self.rows_per_class_min;
        bound(per_class <= 1_000_000, "rows_per_class_min".into(), per_class.to_string(), "0 to 1000000", "30 is usual");
        bound((1..=100).contains(&self.looks_max), "looks_max".into(), self.looks_max.to_string(), "1 to 100", "3 is usual");
        let resamples = self.resamples;
        bound((200..=20_000).contains(&resamples), "resamples".into(), resamples.to_string(), "200 to 20000", "2000 is usual");
        bound(!self.rules.is_empty(), "rule".into(), "no rule".into(), "at least one", "a gate without rules would promote anything");
        let empty_cluster = matches!(&self.dependence, Dependence::Cluster(column) if column.is_empty());
        bound(!empty_cluster, "dependence.cluster".into(), "an empty name".into(), "the name of a column", "name the grouping column");
        if let Some(share) = self.maturity_min {
            bound(share > 0.0 && share <= 1.0, "maturity_min".into(), share.to_string(), "more than 0 and at most 1", "0.9 is usual");
        }
        let columns = self.slices.len();
        bound(columns <= SLICE_COLUMNS_MAX, "slice".into(), columns.to_string(), "at most 8 columns", "name those that matter");
        for slice in &self.slices {
            let key = |name: &str| format!("slice.{}.{name}", slice.column);
            bound(!slice.column.is_empty(), key("column"), "an empty name".into(), "the name of a column", "name the column");
            let (values, few) = (slice.values.len(), "at most 20 values");
            bound(values <= SLICES_MAX, key("values"), values.to_string(), few, "name those that matter");
        }
        let mut seen = BTreeSet::new();
        for rule in &self.rules {
            let key = |name: &str| format!("rule.{}.{name}", rule.id);
            bound(!rule.id.is_empty(), key("id"), "an empty id".into(), "a name", "the id names the rule in every verdict");
            bound(seen.insert(&rule.id), key("id"), format!("`{}` twice", rule.id), "unique ids", "rename one of the rules");
            bound(!rule.metric.is_empty(), key("metric"), "an empty name".into(), "a metric", "evaluators list their metrics");
            let names_other = rule.against != Against::Bound;
            let needs_other = !matches!(rule.test, Test::LowerBound { .. } | Test::UpperBound { .. });
            let wanted = if needs_other { "a model to compare with" } else { "no `against`" };
            bound(names_other == needs_other, key("against"), format!("`{}`", rule.against), wanted, "bounds compare with `bound` alone");
            if let Some(gain_max) = rule.gain_max {
                bound(
                    gain_max > 0.0 && gain_max.is_finite(),
                    key("gain_max"),
                    gain_max.to_string(),
                    "a finite number above 0",
                    "0.1 is usual",
                );
            }
            match rule.test {
                Test::NonInferior { margin } => {
                    bound(open(margin, 0.0, 1.0), key("margin"), margin.to_string(), "more than 0 and less than 1", "0.02 is usual");
                }
                Test::RatioUpper { ratio_max } => {
                    let holds = ratio_max > 0.0 && ratio_max.is_finite();
                    bound(holds, key("ratio_max"), ratio_max.to_string(), "a finite number above 0", "1.10 allows 10 % more");
                }
                Test::LowerBound { bound: value } | Test::UpperBound { bound: value } => {
                    bound(value.is_finite(), key("bound"), value.to_string(), "a finite number", "state it in the metric's unit");
                }
                Test::Superior => {}
            }
        }
        issues
    }

    /// What is legal and unwise: a metric that is compared with each champion in turn, but never with the anchor, can sink by a
    /// little at every promotion.
    pub fn lint(&self) -> Vec<GateIssue> {
        let against_champion = |rule: &&Rule| rule.against == Against::Champion && matches!(rule.test, Test::NonInferior { .. });
        let anchored = |metric: &str| self.rules.iter().any(|rule| rule.against == Against::Anchor && rule.metric == metric);
        let issue = |rule: &Rule| GateIssue {
            key: format!("rule.{}", rule.id),
            message: format!("`{}` may sink a little at every promotion: no rule compares it with the anchor", rule.metric),
            hint: format!("add a rule with metric = \"{}\", against = \"anchor\", test = \"non-inferior\"", rule.metric),
        };
        self.rules.iter().filter(against_champion).filter(|rule| !anchored(&rule.metric)).map(issue).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of rows, or \"power\"")]
enum RowsMinText {
    Rows(u64),
    Word(String),
}

impl TryFrom<RowsMinText> for RowsMin {
    type Error = String;

    fn try_from(text: RowsMinText) -> Result<RowsMin, String> {
        match text {
            RowsMinText::Rows(rows) => Ok(RowsMin::Rows(rows)),
            RowsMinText::Word(word) if word == "power" => Ok(RowsMin::Power),
            RowsMinText::Word(word) => Err(format!("`rows_min`: expected a number of rows, or \"power\", found `{word}`")),
        }
    }
}

impl From<RowsMin> for RowsMinText {
    fn from(rows_min: RowsMin) -> RowsMinText {
        match rows_min {
            RowsMin::Rows(rows) => RowsMinText::Rows(rows),
            RowsMin::Power => RowsMinText::Word("power".into()),
        }
    }
}
