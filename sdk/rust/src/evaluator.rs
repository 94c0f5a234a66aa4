//! Predictions and labels to statistics.

use serde::de::DeserializeOwned;

use crate::{Batch, Failure, Issues, Report};

/// One metric that an evaluator reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// The name that gate rules use.
    pub name: String,
    /// Its unit, such as `1` or `ms`.
    pub unit: String,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// A plugin that measures how good predictions are. It is not told which version it scores, and it does not judge.
///
/// ```
#[doc = include_str!("../examples/evaluator.rs")]
/// ```
pub trait Evaluator: Sized + 'static {
    /// Its configuration. Keys that the type does not read are refused.
    type Config: DeserializeOwned;

    /// Takes the configuration. Called once, first.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn configure(config: Self::Config) -> Result<Self, Issues>;

    /// A self-test without side effects.
    ///
    /// # Errors
    /// When the plugin would not work.
    fn probe(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// The metrics it will report.
    fn metrics(&self) -> Vec<Metric>;

    /// Tells the terms of every metric for `rows`.
    ///
    /// # Errors
    /// When the rows cannot be measured; nothing is kept of the report then.
    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure>;
}

#[cfg(target_family = "wasm")]
mod glue {
    use super::Evaluator;
    use crate::bindings::evaluator as wit;
    use crate::bindings::host::{failures, measurements, rows};
    use crate::export::private::{Exported, Hosted, configured};
    use crate::{Batch, Failure, Report};

    impl<P: Evaluator + Hosted> wit::Guest for Exported<P> {
        fn metrics() -> Vec<wit::Metric> {
            let metrics = configured::<P>().map(|plugin| plugin.metrics()).unwrap_or_default();
            let lower =
                |metric: super::Metric| wit::Metric { name: metric.name, unit: metric.unit, higher_is_better: metric.higher_is_better };
            metrics.into_iter().map(lower).collect()
        }

        fn evaluate(rows: &rows::Batch, report: &measurements::Report) -> Result<(), failures::Failure> {
            configured::<P>()?.evaluate(&Batch::new(rows), &Report::new(report)).map_err(Failure::into_host)
        }
    }
}
