//! Evaluator `tokens`: what answers cost in tokens.
//!
//! Only models that work in tokens have such counts; the host gives them as columns with the roles `tokens-in` and `tokens-out`. For
//! any other model it says so and fails, because a cost of zero would pass every gate.

use serde::Deserialize;
use tidegate_plugin::{Batch, Evaluator, Failure, Issues, Metric, Report};

/// The configuration: there is nothing to configure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The plugin.
pub struct Tokens;

tidegate_plugin::export!(Tokens, evaluator);

impl Evaluator for Tokens {
    type Config = Config;

    fn configure(Config {}: Config) -> Result<Tokens, Issues> {
        Ok(Tokens)
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str| Metric { name: name.into(), unit: "token".into(), higher_is_better: false };
        vec![metric("tokens_per_answer"), metric("tokens_per_correct_answer")]
    }

    fn evaluate(&self, rows: &Batch, report: &Report) -> Result<(), Failure> {
        let absent = |role: &&str| !rows.columns().any(|column| column.role() == *role);
        let absent: Vec<&str> = ["tokens-in", "tokens-out"].into_iter().filter(absent).collect();
        if !absent.is_empty() {
            let message = format!(
                "the model counts no tokens: the scored rows have no column with the role `{}`; take `tokens` out of `evaluators`",
                absent.join("` and none with `")
            );
            return Err(Failure::new(message));
        }
        let (mut costs, mut correct) = (Vec::new(), Vec::new());
        for window in rows.windows() {
            let (read, written) = (window.with_role("tokens-in")?.i64()?, window.with_role("tokens-out")?.i64()?);
            let (label, said) = (window.with_role("label")?.text()?, window.with_role("prediction")?.text()?);
            for row in 0..window.row_count() as usize {
                let cost = read.get(row).zip(written.get(row)).map_or(f64::NAN, |(read, written)| read as f64 + written as f64);
                costs.push(cost);
                // Without a label nobody knows whether the answer is correct.
                correct.push(label.get(row).map_or(f64::NAN, |label| f64::from(u8::from(said.get(row) == Some(label)))));
            }
        }
        report.mean("tokens_per_answer", &costs)?;
        let both = |(cost, correct): (&f64, &f64)| if cost.is_nan() || correct.is_nan() { (f64::NAN, f64::NAN) } else { (*cost, *correct) };
        let (costs, correct): (Vec<f64>, Vec<f64>) = costs.iter().zip(&correct).map(both).unzip();
        report.ratio("tokens_per_correct_answer", &costs, &correct)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_plugin::testing::{self, Table, Terms};

    use super::*;

    fn scored() -> Table {
        let table = Table::new().text("y", [Some("a"), Some("b"), None, Some("a")]).role("label");
        table.text("said", [Some("a"), Some("a"), Some("a"), Some("a")]).role("prediction")
    }

    #[test]
    fn a_correct_answer_bears_the_cost_of_the_wrong_ones() {
        let table = scored().i64("in", [Some(10), Some(20), Some(30), None]).role("tokens-in");
        let told = testing::evaluate(&Tokens, &table.i64("out", [Some(1), Some(2), Some(3), Some(4)]).role("tokens-out")).unwrap();
        let Terms::Mean(costs) = &told[&("tokens_per_answer".to_owned(), String::new())] else { panic!("{told:?}") };
        assert_eq!(costs[..3], [11.0, 22.0, 33.0]);
        assert!(costs[3].is_nan(), "an answer without a count does not count");
        let Terms::Ratio(costs, correct) = &told[&("tokens_per_correct_answer".to_owned(), String::new())] else { panic!("{told:?}") };
        assert_eq!((&costs[..2], &correct[..2]), (&[11.0, 22.0][..], &[1.0, 0.0][..]));
        assert!((2..4).all(|row| costs[row].is_nan() && correct[row].is_nan()));
    }

    #[test]
    fn a_model_without_tokens_is_no_model_for_nothing() {
        let error = testing::evaluate(&Tokens, &scored()).unwrap_err();
        let expected = "the model counts no tokens: the scored rows have no column with the role `tokens-in` and none with `tokens-out`; \
                        take `tokens` out of `evaluators`";
        assert_eq!(error.message, expected);
        let half = scored().i64("in", [Some(1); 4]).role("tokens-in");
        assert!(testing::evaluate(&Tokens, &half).unwrap_err().message.contains("with the role `tokens-out`;"));
    }

    #[test]
    fn there_is_nothing_to_configure() {
        assert!(Tokens::configure(testing::config("{}").unwrap()).is_ok());
        assert!(testing::config::<Config>(r#"{"price":1}"#).is_err());
        assert!(Tokens.metrics().iter().all(|metric| !metric.higher_is_better));
    }
}
