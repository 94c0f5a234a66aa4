//! The evaluator against scikit-learn, and what it does with odd rows.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::Evaluator;
use tidegate_plugin::testing::{self, Table, Terms, Told};

use crate::{Prediction, Regression};

#[derive(Deserialize)]
struct Case {
    name: String,
    prediction: String,
    labels: Vec<Option<String>>,
    predictions: Vec<String>,
    classes: Vec<String>,
    probabilities: Vec<Vec<f64>>,
    expected: BTreeMap<String, f64>,
}

fn plugin(prediction: Prediction) -> Regression {
    Regression { prediction }
}

fn scored(labels: &[Option<&str>], predictions: &[Option<&str>]) -> Table {
    let table = Table::new().text("y", labels.iter().copied()).role("label");
    table.text("said", predictions.iter().copied()).role("prediction")
}

fn sum(values: &[f64]) -> f64 {
    values.iter().filter(|value| !value.is_nan()).sum()
}

/// The value of a metric, made of its terms as the host makes it.
fn value(told: &Told, metric: &str) -> f64 {
    match &told[&(metric.to_owned(), String::new())] {
        Terms::Mean(values) => sum(values) / values.iter().filter(|value| !value.is_nan()).count() as f64,
        Terms::Ratio(numerators, denominators) => sum(numerators) / sum(denominators),
        Terms::Opaque(value, _) => *value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_metric_is_what_scikit_learn_says() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/fixtures/scores.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let labels: Vec<_> = case.labels.iter().map(Option::as_deref).collect();
        let predictions: Vec<_> = case.predictions.iter().map(|said| Some(said.as_str())).collect();
        let mut table = scored(&labels, &predictions);
        for (class, values) in case.classes.iter().zip(&case.probabilities) {
            table = table.f64(&format!("p{class}"), values.iter().copied().map(Some)).role(&format!("probability:{class}"));
        }
        let plugin = Regression::configure(testing::config(&format!(r#"{{"prediction":"{}"}}"#, case.prediction)).unwrap()).unwrap();
        let told = testing::evaluate(&plugin, &table).unwrap();
        for metric in plugin.metrics() {
            let (found, expected) = (value(&told, &metric.name), case.expected[&metric.name]);
            assert!((found - expected).abs() < 1e-11, "{}: {} is {found}, expected {expected}", case.name, metric.name);
        }
    }
}

#[test]
fn a_row_without_a_label_does_not_count() {
    let told =
        testing::evaluate(&plugin(Prediction::Class), &scored(&[None, Some("2"), Some("4")], &[Some("9"), Some("3"), Some("3")])).unwrap();
    assert_eq!((value(&told, "mae"), value(&told, "rmse"), value(&told, "r2")), (1.0, 1.0, 0.0));
    assert_eq!(told[&("rmse".to_owned(), String::new())], Terms::Opaque(1.0, 2));
    let none = testing::evaluate(&plugin(Prediction::Class), &scored(&[None], &[Some("9")])).unwrap();
    assert!(value(&none, "mae").is_nan() && !none.contains_key(&("rmse".to_owned(), String::new())));
}

#[test]
fn numbers_may_come_as_numbers() {
    let table = Table::new().i64("y", [Some(1), None]).role("label").f64("said", [Some(1.5), Some(7.0)]).role("prediction");
    let told = testing::evaluate(&plugin(Prediction::Class), &table).unwrap();
    assert_eq!(value(&told, "mae"), 0.5);
}

#[test]
fn what_is_no_number_is_named_with_its_row() {
    let rain = "is `rain`, which is not a number; `regression` needs numbers, `classification` takes any classes";
    let probability = Table::new().text("y", [Some("1")]).role("label").f64("p", [Some(1.0)]).role("probability:rain");
    for (prediction, table, expected) in [
        (Prediction::Class, scored(&[Some("1"), Some("rain")], &[Some("1"), Some("1")]), format!("row 1: the label {rain}")),
        (Prediction::Class, scored(&[Some("1")], &[Some("rain")]), format!("row 0: the prediction {rain}")),
        (Prediction::Class, scored(&[Some("1")], &[None]), "row 0 has a label but no prediction".to_owned()),
        (Prediction::Mean, probability, format!("the class {rain}")),
        (Prediction::Mean, scored(&[Some("1")], &[Some("1")]), "the model gives no probabilities; set `prediction = \"class\"`".to_owned()),
    ] {
        assert_eq!(testing::evaluate(&plugin(prediction), &table).unwrap_err().message, expected);
    }
}

#[test]
fn better_is_said_as_it_is() {
    let metrics = plugin(Prediction::Class).metrics();
    let better: Vec<(&str, bool)> = metrics.iter().map(|metric| (metric.name.as_str(), metric.higher_is_better)).collect();
    assert_eq!(better, [("mae", false), ("mse", false), ("rmse", false), ("r2", true)]);
}
