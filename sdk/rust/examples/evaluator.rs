//! An evaluator for numbers: the mean absolute error. A row whose label has not come yet does not count.
use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

#[derive(Deserialize)]
struct Config {}

struct MeanError;

tidegate_plugin::export!(MeanError, evaluator, "examples/evaluator.toml");

impl Evaluator for MeanError {
    type Config = Config;

    fn configure(Config {}: Config) -> Result<MeanError, Issues> {
        Ok(MeanError)
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![Metric { name: "mae".into(), unit: "1".into(), higher_is_better: false }]
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let (labels, predictions) = (rows.with_role("label")?.text()?, rows.with_role("prediction")?.text()?);
        let mut errors = Vec::with_capacity(labels.len());
        for (label, prediction) in labels.iter().zip(predictions.iter()) {
            errors.push(match (label, prediction) {
                (Some(label), Some(prediction)) => (label.parse::<f64>()? - prediction.parse::<f64>()?).abs(),
                _ => f64::NAN,
            });
        }
        report.mean("mae", &errors)
    }
}
