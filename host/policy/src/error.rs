//! Why a gate could not be judged; an inconclusive gate is no error.

/// Why a gate could not be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JudgeError {
    /// The gate itself is out of bounds.
    #[error("could not judge by a gate with mistakes: {}", .issues.join("; "))]
    Gate {
        /// What [`Gate::check`](crate::Gate::check) says.
        issues: Vec<String>,
    },
    /// No evaluator gave the metric for this model.
    #[error("could not judge rule `{rule}`: metric `{metric}` was not computed for the {model}; available: {}", listed(.available))]
    MissingMetric {
        /// The rule.
        rule: String,
        /// Its metric.
        metric: String,
        /// `challenger`, `champion`, ….
        model: String,
        /// The metrics that were computed.
        available: Vec<String>,
    },
    /// The model to compare with was not evaluated at all.
    #[error("could not judge rule `{rule}`: no `{against}` was evaluated; available: {}", listed(.available))]
    MissingOther {
        /// The rule.
        rule: String,
        /// Whom it compares with.
        against: String,
        /// Who was evaluated.
        available: Vec<String>,
    },
    /// Terms of different kinds, or for another number of rows.
    #[error("could not judge rule `{rule}`: the terms of metric `{metric}` do not fit together: expected {expected}, found {found}")]
    Shape {
        /// The rule.
        rule: String,
        /// Its metric.
        metric: String,
        /// What the terms should be.
        expected: String,
        /// What they are.
        found: String,
    },
    /// A number without terms cannot be compared between models.
    #[error("could not judge rule `{rule}`: metric `{metric}` is a single number without terms, which test `{test}` cannot use")]
    Opaque {
        /// The rule.
        rule: String,
        /// Its metric.
        metric: String,
        /// Its test.
        test: String,
    },
    /// The gate declares clusters and the rows come without them.
    #[error("could not judge rows clustered by `{column}`: expected one cluster a row for {rows} rows, found {found}")]
    Clusters {
        /// The declared column.
        column: String,
        /// Rows to judge.
        rows: usize,
        /// Cluster numbers given.
        found: usize,
    },
}

impl JudgeError {
    /// The way out, naming the configuration key to change.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            JudgeError::Gate { .. } => "`tidegate check` lists the mistakes with their places".into(),
            JudgeError::MissingMetric { rule, .. } => {
                format!("change `metric` of gate rule `{rule}`, or add an evaluator that computes it to `evaluators`")
            }
            JudgeError::MissingOther { rule, .. } => format!("change `against` of gate rule `{rule}`"),
            JudgeError::Shape { rule, .. } => {
                format!("the evaluator of this metric contradicts itself; remove gate rule `{rule}` or change the evaluator")
            }
            JudgeError::Opaque { rule, .. } => {
                format!("use test = \"lower-bound\" or \"upper-bound\" in gate rule `{rule}`, or an evaluator that gives terms")
            }
            JudgeError::Clusters { .. } => "name a column of the contract in `dependence = { cluster = … }` of the gate".into(),
        })
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") }
}
