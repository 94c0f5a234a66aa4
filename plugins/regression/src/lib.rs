//! Evaluator `regression`: errors of predicted numbers.
//!
//! Labels and predictions are classes, which here must be numbers. What is a mean or a ratio of sums over rows is told row by row,
//! so that the host can slice it, put intervals on it and compare two models. RMSE is neither (a root of a mean): it is told as one
//! number, which only a threshold rule can use; `mse` orders models in the same way and can be compared.

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

/// The role of a probability column, before its class.
const PROBABILITY: &str = "probability:";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The number that is compared with the label.
    #[serde(default)]
    pub prediction: Prediction,
}

/// The number that is compared with the label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prediction {
    /// The class that was answered.
    #[default]
    Class,
    /// The mean of all classes, weighed by their probabilities.
    Mean,
}

/// The plugin.
pub struct Regression {
    prediction: Prediction,
}

tidegate_plugin::export!(Regression, evaluator);

impl Evaluator for Regression {
    type Config = Config;

    fn configure(Config { prediction }: Config) -> Result<Regression, Issues> {
        Ok(Regression { prediction })
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, unit: &str, higher_is_better| Metric { name: name.into(), unit: unit.into(), higher_is_better };
        vec![metric("mae", "label", false), metric("mse", "label²", false), metric("rmse", "label", false), metric("r2", "1", true)]
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let labels = numbers(rows, "label")?;
        let predicted = match self.prediction {
            Prediction::Class => numbers(rows, "prediction")?,
            Prediction::Mean => means(rows)?,
        };
        if let Some(row) = (0..labels.len()).find(|row| labels[*row].is_finite() && predicted[*row].is_nan()) {
            return Err(Failure::new(format!("row {row} has a label but no prediction")));
        }
        let errors: Vec<f64> = labels.iter().zip(&predicted).map(|(label, predicted)| label - predicted).collect();
        let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
        let (sum, count) = total(&labels);
        let centre = sum / count;
        let spread: Vec<f64> = labels.iter().map(|label| (label - centre).powi(2)).collect();
        let explained: Vec<f64> = spread.iter().zip(&squares).map(|(spread, square)| spread - square).collect();
        report.mean("mae", &errors.iter().map(|error| error.abs()).collect::<Vec<_>>())?;
        report.mean("mse", &squares)?;
        report.ratio("r2", &explained, &spread)?;
        let (sum, count) = total(&squares);
        // Without a labelled row there is no number to tell.
        if count > 0.0 { report.opaque("rmse", (sum / count).sqrt(), count as u64) } else { Ok(()) }
    }
}

/// Sum and number of the values that count.
fn total(values: &[f64]) -> (f64, f64) {
    values.iter().filter(|value| !value.is_nan()).fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0))
}

/// The numbers in the column of a role; NaN where there is none.
fn numbers(rows: &Batch, role: &str) -> Result<Vec<f64>, Failure> {
    let mut numbers = Vec::with_capacity(rows.row_count() as usize);
    for window in rows.windows() {
        let column = window.with_role(role)?;
        match column.dtype() {
            "f64" => numbers.extend(column.f64()?.iter().map(|value| value.unwrap_or(f64::NAN))),
            "i64" => numbers.extend(column.i64()?.iter().map(|value| value.map_or(f64::NAN, |value| value as f64))),
            _ => {
                for cell in column.text()?.iter() {
                    let number = cell.map_or(Ok(f64::NAN), |cell| number(cell, &format!("row {}: the {role}", numbers.len())))?;
                    numbers.push(number);
                }
            }
        }
    }
    Ok(numbers)
}

/// The mean of the classes, weighed by their probabilities.
fn means(rows: &Batch) -> Result<Vec<f64>, Failure> {
    let mut means = vec![0.0; rows.row_count() as usize];
    let mut classes = 0;
    for column in rows.columns() {
        let Some(class) = column.role().strip_prefix(PROBABILITY) else { continue };
        let class = number(class, "the class")?;
        let probabilities = column.f64()?;
        means.iter_mut().zip(probabilities.iter()).for_each(|(mean, share)| *mean += class * share.unwrap_or(f64::NAN));
        classes += 1;
    }
    if classes == 0 {
        return Err(Failure::new("the model gives no probabilities; set `prediction = \"class\"`"));
    }
    Ok(means)
}

fn number(text: &str, what: &str) -> Result<f64, Failure> {
    let parsed = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    parsed.ok_or_else(|| {
        Failure::new(format!("{what} is `{text}`, which is not a number; `regression` needs numbers, `classification` takes any classes"))
    })
}

#[cfg(test)]
mod tests;
