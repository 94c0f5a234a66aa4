//! What evaluators say about a model: terms by row, and the values with intervals that the host makes of them.

use serde::{Deserialize, Serialize};

/// Per-row terms of one metric. Every list has one entry a row of the scored batch, in order; NaN = the row does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Terms {
    /// The mean of the values.
    Mean {
        /// One a row.
        #[serde(with = "nan_as_null")]
        values: Vec<f64>,
    },
    /// Sum of numerators over sum of denominators.
    Ratio {
        /// One a row.
        #[serde(with = "nan_as_null")]
        numerators: Vec<f64>,
        /// One a row.
        #[serde(with = "nan_as_null")]
        denominators: Vec<f64>,
    },
    /// The mean over classes of each class's ratio; a class with 0/0 is left out.
    ClassRatio {
        /// One entry a class of the contract.
        classes: Vec<ClassTerms>,
    },
    /// The `q`-quantile of the values.
    Quantile {
        /// Between 0 and 1.
        q: f64,
        /// One a row.
        #[serde(with = "nan_as_null")]
        values: Vec<f64>,
    },
    /// Area under the ROC curve of the values against labels 0 and 1.
    Ranking {
        /// One a row.
        #[serde(with = "nan_as_null")]
        values: Vec<f64>,
        /// One a row, 0 or 1.
        labels: Vec<u8>,
    },
    /// A number without terms; only threshold rules can use it.
    Opaque {
        /// The number.
        value: f64,
        /// How many rows it was made from.
        count: u64,
    },
}

/// The terms of one class in [`Terms::ClassRatio`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassTerms {
    /// The class.
    pub class: String,
    /// One a row.
    #[serde(with = "nan_as_null")]
    pub numerators: Vec<f64>,
    /// One a row.
    #[serde(with = "nan_as_null")]
    pub denominators: Vec<f64>,
}

/// What an evaluator declares about one of its metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// The name that gate rules use.
    pub name: String,
    /// Its unit, such as `1` or `ms`.
    pub unit: String,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// One metric of one model on one scored batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTerms {
    /// What it is.
    pub metric: MetricInfo,
    /// Its terms.
    pub terms: Terms,
}

/// A metric's value with its interval and count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The metric's name.
    pub metric: String,
    /// Its value; `None` when the rows do not determine one (0/0).
    pub value: Option<f64>,
    /// Two-sided interval at `confidence`.
    pub interval: Option<(f64, f64)>,
    /// Rows that counted.
    pub count: u64,
}

/// JSON has no NaN: a term that does not count is stored as `null`.
mod nan_as_null {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| (!value.is_nan()).then_some(*value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_that_does_not_count_survives_storage() {
        let stored = serde_json::to_string(&Terms::Mean { values: vec![1.0, f64::NAN] }).unwrap();
        assert_eq!(stored, r#"{"kind":"mean","values":[1.0,null]}"#);
        let Terms::Mean { values } = serde_json::from_str(&stored).unwrap() else { panic!("another kind came back") };
        assert!(values[0] == 1.0 && values[1].is_nan());
    }
}
