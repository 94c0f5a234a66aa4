//! Evaluator `ranking`: how well the probability of one class orders the rows.
//!
//! AUROC is the chance that a row of the class gets a higher probability than a row of another, ties counting half. It depends on all
//! rows together; what is told is each row's probability and whether it is of the class, and the host does the rest, also for
//! slices and resamples.

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

/// The role of a probability column, before its class.
const PROBABILITY: &str = "probability:";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The class that is to be told from the others.
    pub positive: String,
}

/// The plugin.
pub struct Ranking {
    positive: String,
}

tidegate_plugin::export!(Ranking, evaluator);

impl Evaluator for Ranking {
    type Config = Config;

    fn configure(Config { positive }: Config) -> Result<Ranking, Issues> {
        if positive.is_empty() {
            return Err(Issues::at("/positive", "the positive class is empty; expected one of the labels"));
        }
        Ok(Ranking { positive })
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![Metric { name: "auroc".into(), unit: "1".into(), higher_is_better: true }]
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let classes: Vec<&str> = rows.columns().filter_map(|column| column.role().strip_prefix(PROBABILITY)).collect();
        if !classes.contains(&self.positive.as_str()) {
            let classes: Vec<String> = classes.iter().map(|class| format!("`{class}`")).collect();
            let found = if classes.is_empty() {
                "the model gives no probabilities".to_owned()
            } else {
                format!("the classes are {}", classes.join(", "))
            };
            return Err(Failure::new(format!("`positive` is `{}`, which has no probability; {found}", self.positive)));
        }
        let role = format!("{PROBABILITY}{}", self.positive);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for window in rows.windows() {
            let (label, probability) = (window.with_role("label")?.text()?, window.with_role(&role)?.f64()?);
            for (label, probability) in label.iter().zip(probability.iter()) {
                let value = match (label, probability) {
                    (None, _) => f64::NAN,
                    (Some(_), Some(probability)) if (0.0..=1.0).contains(&probability) => probability,
                    (Some(_), found) => return Err(impossible(values.len(), found)),
                };
                values.push(value);
                labels.push(u8::from(label == Some(self.positive.as_str())));
            }
        }
        report.ranking("auroc", &values, &labels)
    }
}

fn impossible(row: usize, found: Option<f64>) -> Failure {
    let found = found.map_or("nothing".into(), |value| value.to_string());
    Failure::new(format!("row {row} has {found}; expected a probability between 0 and 1"))
}

#[cfg(test)]
mod tests;
