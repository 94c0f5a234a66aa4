//! Evaluator `classification`: accuracy, macro F1, log loss and, for one positive class, precision, recall and F1.
//!
//! It tells terms, one a row, so that the host can put intervals on every metric, slice it and compare two models row by row. A row
//! without a label does not count: all its terms are NaN.

mod scored;

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

use scored::Scored;

/// The smallest probability that log loss believes: a model that is sure and wrong costs 34.5 nats, not infinity.
const PROBABILITY_MIN: f64 = 1e-15;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The class that precision, recall and F1 are about.
    pub positive: Option<String>,
}

/// The plugin.
pub struct Classification {
    positive: Option<String>,
}

tidegate_plugin::export!(Classification, evaluator);

impl Evaluator for Classification {
    type Config = Config;

    fn configure(Config { positive }: Config) -> Result<Classification, Issues> {
        match positive {
            Some(class) if class.is_empty() => Err(Issues::at("/positive", "the positive class is empty; expected one of the labels")),
            positive => Ok(Classification { positive }),
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, unit: &str, higher_is_better| Metric { name: name.into(), unit: unit.into(), higher_is_better };
        let mut metrics = vec![metric("accuracy", "1", true), metric("macro_f1", "1", true), metric("log_loss", "nat", false)];
        if self.positive.is_some() {
            metrics.extend(["precision", "recall", "f1"].map(|name| metric(name, "1", true)));
        }
        metrics
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let scored = Scored::read(rows)?;
        report.mean("accuracy", &scored.per_row(|label, prediction| f64::from(u8::from(label == prediction))))?;
        report.mean("log_loss", &scored.losses(rows, PROBABILITY_MIN)?)?;
        for class in 0..scored.classes.len() as u32 {
            let terms = scored.terms(class);
            report.class_ratio("macro_f1", &scored.classes[class as usize], &terms.hits_twice, &terms.labels_and_predictions)?;
        }
        if let Some(positive) = &self.positive {
            let terms = scored.terms(scored.positive(positive)?);
            report.ratio("precision", &terms.hits, &terms.predictions)?;
            report.ratio("recall", &terms.hits, &terms.labels)?;
            report.ratio("f1", &terms.hits_twice, &terms.labels_and_predictions)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
