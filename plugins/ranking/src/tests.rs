//! The evaluator against scikit-learn, and what it does with odd rows.

use serde::Deserialize;
use tidegate_plugin::Evaluator;
use tidegate_plugin::testing::{self, Table, Terms};

use crate::Ranking;

#[derive(Deserialize)]
struct Case {
    name: String,
    positive: String,
    labels: Vec<Option<String>>,
    probabilities: Vec<f64>,
    expected: f64,
}

fn plugin(positive: &str) -> Ranking {
    Ranking { positive: positive.to_owned() }
}

fn scored(labels: &[Option<&str>], probabilities: &[Option<f64>]) -> Table {
    let table = Table::new().text("y", labels.iter().copied()).role("label");
    let other: Vec<_> = probabilities.iter().map(|share| share.map(|share| 1.0 - share)).collect();
    table.f64("p0", other).role("probability:0").f64("p1", probabilities.iter().copied()).role("probability:1")
}

fn terms(table: &Table) -> (Vec<f64>, Vec<u8>) {
    let told = testing::evaluate(&plugin("1"), table).unwrap();
    match told.into_values().next() {
        Some(Terms::Ranking(values, labels)) => (values, labels),
        other => panic!("{other:?}"),
    }
}

/// The area, from its definition: over all pairs of a row of the class and one of another.
fn area((values, labels): &(Vec<f64>, Vec<u8>)) -> f64 {
    let of =
        |wanted: u8| values.iter().zip(labels).filter(move |(value, label)| !value.is_nan() && **label == wanted).map(|(value, _)| *value);
    let pairs = of(1).flat_map(|high| {
        of(0).map(move |low| {
            if high > low {
                1.0
            } else if high == low {
                0.5
            } else {
                0.0
            }
        })
    });
    let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), pair| (sum + pair, count + 1.0));
    sum / count
}

#[test]
fn the_area_is_what_scikit_learn_says() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/fixtures/areas.json")).unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        assert_eq!(case.positive, "1");
        let labels: Vec<_> = case.labels.iter().map(Option::as_deref).collect();
        let found = area(&terms(&scored(&labels, &case.probabilities.iter().copied().map(Some).collect::<Vec<_>>())));
        assert!((found - case.expected).abs() < 1e-12, "{}: {found}, expected {}", case.name, case.expected);
    }
}

#[test]
fn a_row_without_a_label_does_not_count() {
    let (values, labels) = terms(&scored(&[None, Some("1"), Some("2")], &[None, Some(0.75), Some(0.5)]));
    assert!(values[0].is_nan());
    assert_eq!((&values[1..], labels), (&[0.75, 0.5][..], vec![0, 1, 0]));
}

#[test]
fn what_cannot_be_ranked_is_named() {
    let bare = Table::new().text("y", [Some("1")]).role("label");
    for (positive, table, expected) in [
        ("x", scored(&[Some("1")], &[Some(0.5)]), "`positive` is `x`, which has no probability; the classes are `0`, `1`"),
        ("1", bare, "`positive` is `1`, which has no probability; the model gives no probabilities"),
        ("1", scored(&[Some("1")], &[Some(1.5)]), "row 0 has 1.5; expected a probability between 0 and 1"),
        ("1", scored(&[Some("1")], &[None]), "row 0 has nothing; expected a probability between 0 and 1"),
    ] {
        assert_eq!(testing::evaluate(&plugin(positive), &table).unwrap_err().message, expected);
    }
    assert!(Ranking::configure(testing::config(r#"{"positive":""}"#).unwrap()).is_err());
    assert!(plugin("1").metrics()[0].higher_is_better);
}
