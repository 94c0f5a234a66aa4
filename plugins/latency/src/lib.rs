//! Evaluator `latency`: quantiles of the time that one prediction takes.
//!
//! The host measures: it asks the model for one row at a time and writes how long each took into the column with the role
//! `latency-ns`. It does so only for a pipeline with an evaluator whose manifest asks for `latency`, because it costs a second
//! scoring, and because a rule about it makes decisions depend on the machine. A row that was not timed (a naive baseline has no
//! model to time) does not count.

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

/// Nanoseconds of a millisecond.
const NS_PER_MS: f64 = 1e6;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The quantiles to report, in percent.
    #[serde(default = "usual")]
    pub quantiles: Vec<u8>,
}

fn usual() -> Vec<u8> {
    vec![50, 95, 99]
}

/// The plugin.
pub struct Latency {
    quantiles: Vec<u8>,
}

tidegate_plugin::export!(Latency, evaluator);

impl Evaluator for Latency {
    type Config = Config;

    fn configure(Config { quantiles }: Config) -> Result<Latency, Issues> {
        let mut issues = Issues::default();
        if quantiles.is_empty() {
            issues.push("/quantiles", "there is none; expected numbers such as 95");
        }
        for (index, quantile) in quantiles.iter().enumerate() {
            let pointer = format!("/quantiles/{index}");
            if !(1..=99).contains(quantile) {
                issues.push(pointer, format!("it is {quantile}; expected 1 to 99 percent"));
            } else if quantiles[..index].contains(quantile) {
                issues.push(pointer, format!("{quantile} is there twice"));
            }
        }
        issues.or(Latency { quantiles })
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |quantile: &u8| Metric { name: name(*quantile), unit: "ms".into(), higher_is_better: false };
        self.quantiles.iter().map(metric).collect()
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let timed = rows.columns().any(|column| column.role() == "latency-ns");
        if !timed {
            return Err(Failure::new("the host did not time these predictions: there is no column with the role `latency-ns`"));
        }
        let nanos = rows.with_role("latency-ns")?.i64()?;
        let values: Vec<f64> = nanos.iter().map(|nanos| nanos.map_or(f64::NAN, |nanos| nanos as f64 / NS_PER_MS)).collect();
        for quantile in &self.quantiles {
            report.quantile(&name(*quantile), f64::from(*quantile) / 100.0, &values)?;
        }
        Ok(())
    }
}

fn name(quantile: u8) -> String {
    format!("latency_p{quantile}")
}

#[cfg(test)]
mod tests {
    use tidegate_plugin::testing::{self, Table, Terms};

    use super::*;

    fn plugin(config: &str) -> Latency {
        Latency::configure(testing::config(config).unwrap()).unwrap()
    }

    #[test]
    fn each_quantile_is_a_metric_in_milliseconds() {
        let plugin = plugin(r#"{"quantiles":[50,95]}"#);
        let metrics = plugin.metrics();
        assert_eq!(metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["latency_p50", "latency_p95"]);
        assert!(metrics.iter().all(|metric| metric.unit == "ms" && !metric.higher_is_better));
        let table = Table::new().i64("t", [Some(1_500_000), Some(20_000)]).role("latency-ns");
        let told = testing::evaluate(&plugin, &table).unwrap();
        assert_eq!(told[&("latency_p95".to_owned(), String::new())], Terms::Quantile(0.95, vec![1.5, 0.02]));
    }

    #[test]
    fn a_row_that_was_not_timed_does_not_count() {
        let told = testing::evaluate(&plugin("{}"), &Table::new().i64("t", [None, Some(0)]).role("latency-ns")).unwrap();
        assert_eq!(told.len(), 3);
        let Terms::Quantile(_, values) = &told[&("latency_p99".to_owned(), String::new())] else { panic!("{told:?}") };
        assert!(values[0].is_nan() && values[1] == 0.0);
        let error = testing::evaluate(&plugin("{}"), &Table::new().i64("t", [Some(1)])).unwrap_err();
        assert!(error.message.contains("did not time these predictions"), "{}", error.message);
    }

    #[test]
    fn a_quantile_is_a_percentage() {
        for (config, pointer) in [
            (r#"{"quantiles":[]}"#, "/quantiles"),
            (r#"{"quantiles":[95,0]}"#, "/quantiles/1"),
            (r#"{"quantiles":[100]}"#, "/quantiles/0"),
            (r#"{"quantiles":[95,95]}"#, "/quantiles/1"),
        ] {
            assert_eq!(Latency::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer, "{config}");
        }
    }
}
