//! The evaluator against scikit-learn, and what it does with odd rows.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::Evaluator;
use tidegate_plugin::testing::{self, Table, Terms, Told};

use crate::Classification;

#[derive(Deserialize)]
struct Case {
    name: String,
    positive: String,
    classes: Vec<String>,
    labels: Vec<Option<String>>,
    predictions: Vec<String>,
    probabilities: Vec<Vec<f64>>,
    expected: BTreeMap<String, f64>,
}

fn scored(labels: &[Option<&str>], predictions: &[Option<&str>]) -> Table {
    let labels = Table::new().text("y", labels.iter().copied()).role("label");
    labels.text("said", predictions.iter().copied()).role("prediction")
}

fn with_probability(table: Table, class: &str, values: &[f64]) -> Table {
    table.f64(&format!("p{class}"), values.iter().copied().map(Some)).role(&format!("probability:{class}"))
}

fn plugin(positive: Option<&str>) -> Classification {
    Classification { positive: positive.map(str::to_owned) }
}

fn sum(values: &[f64]) -> f64 {
    values.iter().filter(|value| !value.is_nan()).sum()
}

/// The value of a metric, made of its terms as the host makes it.
fn value(told: &Told, metric: &str) -> f64 {
    let ratios = told.iter().filter(|((name, _), _)| name == metric).map(|(_, terms)| match terms {
        Terms::Mean(values) => sum(values) / values.iter().filter(|value| !value.is_nan()).count() as f64,
        Terms::Ratio(numerators, denominators) => sum(numerators) / sum(denominators),
        other => panic!("{other:?}"),
    });
    let ratios: Vec<f64> = ratios.filter(|ratio| !ratio.is_nan()).collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}

#[test]
fn every_metric_is_what_scikit_learn_says() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/fixtures/scores.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let labels: Vec<_> = case.labels.iter().map(Option::as_deref).collect();
        let predictions: Vec<_> = case.predictions.iter().map(|class| Some(class.as_str())).collect();
        let classes = case.classes.iter().zip(&case.probabilities);
        let table = classes.fold(scored(&labels, &predictions), |table, (class, values)| with_probability(table, class, values));
        let plugin = plugin(Some(&case.positive));
        let told = testing::evaluate(&plugin, &table).unwrap();
        for metric in plugin.metrics() {
            let (found, expected) = (value(&told, &metric.name), case.expected[&metric.name]);
            assert!((found - expected).abs() < 1e-12, "{}: {} is {found}, expected {expected}", case.name, metric.name);
        }
    }
}

#[test]
fn a_row_without_a_label_has_no_terms() {
    let table = with_probability(scored(&[None, Some("1")], &[Some("1"), Some("1")]), "1", &[0.5, 1.0]);
    let told = testing::evaluate(&plugin(Some("1")), &table).unwrap();
    for ((metric, class), terms) in told {
        let lists = match terms {
            Terms::Mean(values) => vec![values],
            Terms::Ratio(numerators, denominators) => vec![numerators, denominators],
            other => panic!("{other:?}"),
        };
        assert!(lists.iter().all(|list| list[0].is_nan() && !list[1].is_nan()), "{metric} {class}: {lists:?}");
    }
}

#[test]
fn classes_without_probabilities_are_those_that_occur() {
    let table = scored(&[Some("b"), Some("a")], &[Some("b"), Some("c")]);
    let told = testing::evaluate(&plugin(Some("z")), &table).unwrap();
    let classes: Vec<&str> = told.keys().filter(|(metric, _)| metric == "macro_f1").map(|(_, class)| class.as_str()).collect();
    assert_eq!(classes, ["a", "b", "c"]);
    assert_eq!(told[&("f1".into(), String::new())], Terms::Ratio(vec![0.0, 0.0], vec![0.0, 0.0]));
    assert!(matches!(&told[&("log_loss".into(), String::new())], Terms::Mean(values) if values.iter().all(|value| value.is_nan())));
}

#[test]
fn a_label_that_the_model_does_not_know_costs_the_most() {
    let table = with_probability(scored(&[Some("new")], &[Some("1")]), "1", &[1.0]);
    let told = testing::evaluate(&plugin(None), &table).unwrap();
    assert!((value(&told, "log_loss") - 34.538_776_394_910_684).abs() < 1e-12);
}

#[test]
fn without_a_positive_class_there_is_no_precision() {
    let names: Vec<String> = plugin(None).metrics().into_iter().map(|metric| metric.name).collect();
    assert_eq!(names, ["accuracy", "macro_f1", "log_loss"]);
    let told = testing::evaluate(&plugin(None), &scored(&[Some("1")], &[Some("1")])).unwrap();
    assert!(told.keys().all(|(metric, _)| names.contains(metric)), "{told:?}");
}

#[test]
fn rows_that_cannot_be_measured_are_named() {
    let said = [Some("1")];
    let cases = [
        (scored(&[Some("1")], &[None]), "row 0 has a label but no prediction"),
        (
            with_probability(scored(&[Some("1")], &said), "1", &[1.5]),
            "row 0 of column `p1` holds 1.5; expected a probability between 0 and 1",
        ),
        (
            with_probability(scored(&[Some("1")], &said), "1", &[f64::NAN]),
            "row 0 of column `p1` holds NaN; expected a probability between 0 and 1",
        ),
        (
            with_probability(scored(&[Some("1")], &said), "1", &[0.5]).f64("p0", [Some(0.5)]).role("probability:0"),
            "`positive` is `x`, which is not a class; the classes are `1`, `0`",
        ),
        (Table::new().text("y", said).role("label"), "the batch has no column with the role `prediction`"),
    ];
    for (table, expected) in cases {
        assert_eq!(testing::evaluate(&plugin(Some("x")), &table).unwrap_err().message, expected);
    }
}

#[test]
fn many_rows_are_read_window_by_window() {
    let labels: Vec<_> = (0..150_000).map(|row| Some(if row % 3 == 0 { "1" } else { "0" })).collect();
    let predictions: Vec<_> = (0..150_000).map(|row| Some(if row % 5 == 0 { "1" } else { "0" })).collect();
    let told = testing::evaluate(&plugin(Some("1")), &scored(&labels, &predictions)).unwrap();
    assert!((value(&told, "accuracy") - 0.6).abs() < 1e-12);
    assert!((value(&told, "precision") - 1.0 / 3.0).abs() < 1e-12);
    assert!((value(&told, "recall") - 0.2).abs() < 1e-12);
}
