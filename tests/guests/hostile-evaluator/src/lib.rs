//! An evaluator that misbehaves in the one way that its configuration names; `behave` reports a metric that is always 1.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

/// The metric that it announces.
const METRIC: &str = "charm";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub mode: Mode,
}

/// What it does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Reports 1 for every row.
    Behave,
    /// Never returns.
    Spin,
    /// Executes `unreachable`.
    Trap,
    /// Reports fewer terms than there are rows.
    TooFewTerms,
    /// Reports a metric that it did not announce.
    Unannounced,
    /// Announces the metric of another evaluator.
    Borrowed,
    /// Reports infinities.
    Infinite,
    /// Announces a metric and reports nothing.
    Silent,
    /// Reports the largest number there is, for every row.
    Huge,
    /// Announces the same metric twice.
    Twice,
}

/// The plugin.
pub struct Hostile {
    mode: Mode,
}

tidegate_plugin::export!(Hostile, evaluator);

impl Evaluator for Hostile {
    type Config = Config;

    fn configure(config: Config) -> Result<Hostile, Issues> {
        Ok(Hostile { mode: config.mode })
    }

    fn metrics(&self) -> Vec<Metric> {
        let name = if self.mode == Mode::Borrowed { "accuracy" } else { METRIC };
        let metric = || Metric { name: name.into(), unit: "1".into(), higher_is_better: true };
        if self.mode == Mode::Twice { vec![metric(), metric()] } else { vec![metric()] }
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let ones = vec![1.0; rows.row_count() as usize];
        match self.mode {
            Mode::Behave => report.mean(METRIC, &ones),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Trap => trap(),
            Mode::TooFewTerms => report.mean(METRIC, &ones[1..]),
            Mode::Unannounced => report.mean("luck", &ones),
            Mode::Borrowed => report.mean("accuracy", &ones),
            Mode::Infinite => report.mean(METRIC, &vec![f64::INFINITY; ones.len()]),
            Mode::Silent | Mode::Twice => Ok(()),
            Mode::Huge => report.mean(METRIC, &vec![f64::MAX; ones.len()]),
        }
    }
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    std::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}
