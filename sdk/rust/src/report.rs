//! What an evaluator measured, told row by row.

use crate::Failure;
use crate::host::{measurements, rows};

/// The terms of every metric. Each list has one entry a row of the scored batch, in its order; NaN = the row does not count.
pub struct Report<'host> {
    report: &'host measurements::Report,
}

impl<'host> Report<'host> {
    pub(crate) fn new(report: &'host measurements::Report) -> Report<'host> {
        Report { report }
    }

    /// The metric is the mean of `values`.
    ///
    /// # Errors
    /// When the list has the wrong length, or the metric was not declared.
    pub fn mean(&self, metric: &str, values: &[f64]) -> Result<(), Failure> {
        told(self.report.mean(metric, values))
    }

    /// The metric is the sum of `numerators` over the sum of `denominators`.
    ///
    /// # Errors
    /// When a list has the wrong length, or the metric was not declared.
    pub fn ratio(&self, metric: &str, numerators: &[f64], denominators: &[f64]) -> Result<(), Failure> {
        told(self.report.ratio(metric, numerators, denominators))
    }

    /// The metric is the mean over the classes of each class's ratio; call once a class. A class with 0/0 is left out.
    ///
    /// # Errors
    /// When a list has the wrong length, or the metric was not declared.
    pub fn class_ratio(&self, metric: &str, class: &str, numerators: &[f64], denominators: &[f64]) -> Result<(), Failure> {
        told(self.report.class_ratio(metric, class, numerators, denominators))
    }

    /// The metric is the `q`-quantile of `values`, `q` between 0 and 1.
    ///
    /// # Errors
    /// When the list has the wrong length, or the metric was not declared.
    pub fn quantile(&self, metric: &str, q: f64, values: &[f64]) -> Result<(), Failure> {
        told(self.report.quantile(metric, q, values))
    }

    /// The metric is the area under the ROC curve of `values` against `labels` of 0 and 1.
    ///
    /// # Errors
    /// When a list has the wrong length, or the metric was not declared.
    pub fn ranking(&self, metric: &str, values: &[f64], labels: &[u8]) -> Result<(), Failure> {
        told(self.report.ranking(metric, values, labels))
    }

    /// The metric is a number without terms, made from `count` rows; only threshold rules can use it.
    ///
    /// # Errors
    /// When the metric was not declared.
    pub fn opaque(&self, metric: &str, value: f64, count: u64) -> Result<(), Failure> {
        told(self.report.opaque(metric, value, count))
    }
}

fn told(answer: Result<(), rows::DataError>) -> Result<(), Failure> {
    answer.map_err(Failure::refused)
}
