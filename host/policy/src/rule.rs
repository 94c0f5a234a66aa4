//! One rule of a gate: which metric, against whom, and what must be shown.
//!
//! In the configuration a rule is one flat table; [`RuleText`] is that table, and turning it into a [`Rule`] refuses a key that
//! does not belong to the rule's test, so that a `margin` beside `superior` is an error rather than a wish.

use serde::{Deserialize, Serialize};

/// The margin of a `non-inferior` rule that names none, in units of the metric.
pub const MARGIN_DEFAULT: f64 = 0.02;

/// One rule of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RuleText", into = "RuleText")]
pub struct Rule {
    /// Its name, unique in the gate.
    pub id: String,
    /// The metric it looks at, as an evaluator declares it.
    pub metric: String,
    /// Whom the challenger is compared with.
    pub against: Against,
    /// What must be shown.
    pub test: Test,
    /// The largest gain over the other that is believed, in units of the metric; only for `non-inferior` and `superior`.
    pub gain_max: Option<f64>,
}

/// Whom a challenger is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The version that serves.
    Champion,
    /// The last version that was promoted by a `superior` rule.
    Anchor,
    /// The naive baseline that repeats the last known label.
    NoChange,
    /// The naive baseline that always answers the commonest class.
    Majority,
    /// A linear model trained on the same rows.
    Linear,
    /// Nobody: the number in the rule's own `bound`.
    Bound,
}

impl Against {
    /// The word in configurations, verdicts and messages.
    pub fn word(self) -> &'static str {
        match self {
            Against::Champion => "champion",
            Against::Anchor => "anchor",
            Against::NoChange => "no-change",
            Against::Majority => "majority",
            Against::Linear => "linear",
            Against::Bound => "bound",
        }
    }

    /// Whose metric it is, as a sentence names him.
    pub fn described(self) -> &'static str {
        match self {
            Against::Champion => "the champion",
            Against::Anchor => "the anchor",
            Against::NoChange => "repeating the last label",
            Against::Majority => "always answering the commonest class",
            Against::Linear => "a linear model of the same rows",
            Against::Bound => "the bound",
        }
    }

    /// The baselines that stand in for a champion before there is one.
    pub const NAIVE: [Against; 3] = [Against::NoChange, Against::Majority, Against::Linear];
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What a rule wants shown. Differences are taken in favour of the challenger: for a metric of which less is better, other − challenger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Test {
    /// The challenger is worse by less than `margin`.
    NonInferior {
        /// In units of the metric, between 0 and 1.
        margin: f64,
    },
    /// The challenger is better.
    Superior,
    /// The challenger's value is above `bound`.
    LowerBound {
        /// In units of the metric.
        bound: f64,
    },
    /// The challenger's value is below `bound`.
    UpperBound {
        /// In units of the metric.
        bound: f64,
    },
    /// The challenger's value is less than `ratio_max` times the other's.
    RatioUpper {
        /// Greater than 0.
        ratio_max: f64,
    },
}

impl Test {
    /// The word in configurations.
    pub fn word(self) -> &'static str {
        match self {
            Test::NonInferior { .. } => "non-inferior",
            Test::Superior => "superior",
            Test::LowerBound { .. } => "lower-bound",
            Test::UpperBound { .. } => "upper-bound",
            Test::RatioUpper { .. } => "ratio-upper",
        }
    }

    /// Whether it is about a gain over another version.
    pub fn has_gain(self) -> bool {
        matches!(self, Test::NonInferior { .. } | Test::Superior)
    }

    /// Whether it is judged in slices too: what asks for no less than before, and what asks for a level.
    pub fn is_sliced(self) -> bool {
        matches!(self, Test::NonInferior { .. } | Test::LowerBound { .. } | Test::UpperBound { .. })
    }

    /// The number that the bounds of the estimate are compared with.
    pub fn threshold(self) -> f64 {
        match self {
            Test::NonInferior { margin } => -margin,
            Test::Superior => 0.0,
            Test::LowerBound { bound } | Test::UpperBound { bound } => bound,
            Test::RatioUpper { ratio_max } => ratio_max,
        }
    }

    /// Whether the estimate must lie above the threshold; below it otherwise.
    pub fn wants_above(self) -> bool {
        !matches!(self, Test::UpperBound { .. } | Test::RatioUpper { .. })
    }
}

/// A rule as it is written in the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    metric: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    test: TestWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ratio_max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gain_max: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TestWord {
    NonInferior,
    Superior,
    LowerBound,
    UpperBound,
    RatioUpper,
}

impl TryFrom<RuleText> for Rule {
    type Error = String;

    fn try_from(text: RuleText) -> Result<Rule, String> {
        let RuleText { id, metric, against, test, margin, bound, ratio_max, gain_max } = text;
        let need = |key: &str, value: Option<f64>, word: &str| value.ok_or_else(|| format!("rule `{id}`: test `{word}` needs `{key}`"));
        let (parsed, own_key) = match test {
            TestWord::NonInferior => (Test::NonInferior { margin: margin.unwrap_or(MARGIN_DEFAULT) }, "margin"),
            TestWord::Superior => (Test::Superior, ""),
            TestWord::LowerBound => (Test::LowerBound { bound: need("bound", bound, "lower-bound")? }, "bound"),
            TestWord::UpperBound => (Test::UpperBound { bound: need("bound", bound, "upper-bound")? }, "bound"),
            TestWord::RatioUpper => (Test::RatioUpper { ratio_max: need("ratio_max", ratio_max, "ratio-upper")? }, "ratio_max"),
        };
        for (key, value) in [("margin", margin), ("bound", bound), ("ratio_max", ratio_max)] {
            if value.is_some() && key != own_key {
                return Err(format!("rule `{id}`: `{key}` does not belong to test `{}`", parsed.word()));
            }
        }
        if gain_max.is_some() && !parsed.has_gain() {
            return Err(format!("rule `{id}`: `gain_max` does not belong to test `{}`", parsed.word()));
        }
        let against = match (against, own_key == "bound") {
            (None, true) => Against::Bound,
            (Some(against), true) if against != Against::Bound => {
                return Err(format!("rule `{id}`: test `{}` compares with `bound`, so `against` does not belong to it", parsed.word()));
            }
            (None | Some(Against::Bound), false) => {
                return Err(format!("rule `{id}`: test `{}` needs `against`, such as \"champion\"", parsed.word()));
            }
            (Some(against), _) => against,
        };
        Ok(Rule { id, metric, against, test: parsed, gain_max })
    }
}

impl From<Rule> for RuleText {
    fn from(rule: Rule) -> RuleText {
        let Rule { id, metric, against, test, gain_max } = rule;
        let against = (against != Against::Bound).then_some(against);
        let text = RuleText { id, metric, against, test: TestWord::Superior, margin: None, bound: None, ratio_max: None, gain_max };
        match test {
            Test::NonInferior { margin } => RuleText { test: TestWord::NonInferior, margin: Some(margin), ..text },
            Test::Superior => text,
            Test::LowerBound { bound } => RuleText { test: TestWord::LowerBound, bound: Some(bound), ..text },
            Test::UpperBound { bound } => RuleText { test: TestWord::UpperBound, bound: Some(bound), ..text },
            Test::RatioUpper { ratio_max } => RuleText { test: TestWord::RatioUpper, ratio_max: Some(ratio_max), ..text },
        }
    }
}
