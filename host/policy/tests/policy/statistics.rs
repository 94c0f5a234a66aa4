//! Agreement with scipy, statsmodels and scikit-learn to 1e-9; `tests/fixtures/make_statistics.py` made the numbers.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse should fail its test")]

use serde_json::Value;
use tidegate_policy::{
    Dependence, Resampling, accuracy, f1, kappa_no_change, macro_f1, mcnemar_mid_p, normal_quantile, percentile_bounds, power_rows,
    statistic, tango, wilson,
};
use tidegate_vocab::{ClassTerms, Seed, Terms};

fn fixture(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../fixtures/statistics.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn classes(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|class| class as u32).collect()
}

pub fn near(found: f64, expected: f64, what: &str) {
    let close = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    assert!(close, "{what}: found {found}, expected {expected}");
}

#[test]
fn quantiles_of_the_normal_distribution() {
    for case in fixture("normal_quantile") {
        let case = numbers(&case);
        near(normal_quantile(case[0]), case[1], &format!("{case:?}"));
    }
    assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
}

#[test]
fn wilson_agrees_with_statsmodels() {
    for case in fixture("wilson") {
        let case = numbers(&case);
        let (low, high) = wilson(case[0], case[1], case[2]);
        near(low, case[3], &format!("lower of {case:?}"));
        near(high, case[4], &format!("upper of {case:?}"));
    }
    assert_eq!(wilson(0.0, 0.0, 0.05), (0.0, 1.0));
}

#[test]
fn mcnemar_agrees_with_scipy() {
    for case in fixture("mcnemar_mid_p") {
        let case = numbers(&case);
        near(mcnemar_mid_p(case[0] as u64, case[1] as u64), case[2], &format!("{case:?}"));
    }
    // Tiny probabilities keep their size, not only their nearness to zero.
    assert!((mcnemar_mid_p(60, 0) / 0.5f64.powi(61) - 1.0).abs() < 1e-9);
}

#[test]
fn tango_agrees_with_the_restricted_likelihood() {
    for case in fixture("tango") {
        let case = numbers(&case);
        let (low, high) = tango(case[0], case[1], case[2], case[3]);
        near(low, case[4], &format!("lower of {case:?}"));
        near(high, case[5], &format!("upper of {case:?}"));
    }
    assert_eq!(tango(0.0, 0.0, 0.0, 0.05), (-1.0, 1.0));
}

#[test]
fn rankings_agree_with_scikit_learn() {
    for case in fixture("auroc") {
        let labels = numbers(&case["labels"]).into_iter().map(|label| label as u8).collect();
        let terms = Terms::Ranking { values: numbers(&case["values"]), labels };
        near(statistic(&terms, None).unwrap(), case["plain"].as_f64().unwrap(), "area");
        near(statistic(&terms, Some(&numbers(&case["weights"]))).unwrap(), case["weighted"].as_f64().unwrap(), "weighted area");
    }
}

#[test]
fn quantiles_agree_with_numpy() {
    for case in fixture("quantile") {
        let terms = Terms::Quantile { q: case["q"].as_f64().unwrap(), values: numbers(&case["values"]) };
        near(statistic(&terms, None).unwrap(), case["plain"].as_f64().unwrap(), "quantile");
        near(statistic(&terms, Some(&numbers(&case["weights"]))).unwrap(), case["weighted"].as_f64().unwrap(), "weighted quantile");
    }
}

/// F1 by class as an evaluator would give it.
fn f1_terms(labels: &[u32], predicted: &[u32], class_count: u32) -> Terms {
    let of_class = |class: u32| {
        let rows = || labels.iter().zip(predicted).map(move |(label, said)| (*label == class, *said == class));
        ClassTerms {
            class: class.to_string(),
            numerators: rows().map(|(is, said)| if is && said { 2.0 } else { 0.0 }).collect(),
            denominators: rows().map(|(is, said)| f64::from(u8::from(is) + u8::from(said))).collect(),
        }
    };
    Terms::ClassRatio { classes: (0..class_count).map(of_class).collect() }
}

#[test]
fn scores_agree_with_scikit_learn() {
    for case in fixture("scores") {
        let (labels, predicted) = (classes(&case["labels"]), classes(&case["predicted"]));
        let weights = numbers(&case["weights"]);
        let expected = |name: &str| case[name].as_f64().unwrap();
        near(accuracy(&labels, &predicted).unwrap(), expected("accuracy"), "accuracy");
        near(f1(&labels, &predicted, 1).unwrap(), expected("f1_of_1"), "f1");
        near(macro_f1(&labels, &predicted).unwrap(), expected("f1_macro"), "macro f1");
        let right = labels.iter().zip(&predicted).map(|(label, said)| if label == said { 1.0 } else { 0.0 }).collect();
        near(statistic(&Terms::Mean { values: right }, Some(&weights)).unwrap(), expected("accuracy_weighted"), "weighted accuracy");
        let terms = f1_terms(&labels, &predicted, 7);
        near(statistic(&terms, None).unwrap(), expected("f1_macro"), "macro f1 from terms");
        near(statistic(&terms, Some(&weights)).unwrap(), expected("f1_macro_weighted"), "weighted macro f1");
    }
    assert_eq!((accuracy(&[], &[]), f1(&[0], &[0], 1), macro_f1(&[], &[])), (None, None, None));
    assert_eq!((kappa_no_change(0.8, 0.6), kappa_no_change(1.0, 1.0)), (Some((0.8 - 0.6) / (1.0 - 0.6)), None));
}

#[test]
fn terms_that_do_not_determine_a_value() {
    let check = |terms: Terms, expected: Option<f64>| assert_eq!(statistic(&terms, None), expected, "{terms:?}");
    let nan = f64::NAN;
    check(Terms::Mean { values: vec![] }, None);
    check(Terms::Mean { values: vec![nan, nan] }, None);
    check(Terms::Mean { values: vec![nan, 1.0, 0.0] }, Some(0.5));
    check(Terms::Ratio { numerators: vec![1.0, 5.0], denominators: vec![0.0, 0.0] }, None);
    check(Terms::Ratio { numerators: vec![1.0, 5.0, nan], denominators: vec![2.0, 4.0, 1.0] }, Some(1.0));
    check(Terms::ClassRatio { classes: vec![] }, None);
    check(Terms::Quantile { q: 0.5, values: vec![nan] }, None);
    check(Terms::Quantile { q: 0.5, values: vec![nan, 3.0, 1.0] }, Some(2.0));
    check(Terms::Quantile { q: 1.0, values: vec![f64::INFINITY, f64::INFINITY] }, Some(f64::INFINITY));
    check(Terms::Ranking { values: vec![0.1, 0.2], labels: vec![1, 1] }, None);
    check(Terms::Ranking { values: vec![0.1, nan, 0.2], labels: vec![0, 0, 1] }, Some(1.0));
    check(Terms::Ranking { values: vec![0.0, -0.0], labels: vec![0, 1] }, Some(0.5));
    check(Terms::Opaque { value: nan, count: 3 }, None);
    check(Terms::Opaque { value: 0.7, count: 3 }, Some(0.7));
    // Lists of different lengths are as long as the shorter one, and missing weights are 0.
    check(Terms::Ratio { numerators: vec![1.0, 9.0], denominators: vec![2.0] }, Some(0.5));
    assert_eq!(statistic(&Terms::Mean { values: vec![1.0, 0.0] }, Some(&[1.0])), Some(1.0));
}

#[test]
fn percentiles_agree_with_numpy() {
    for case in fixture("percentile") {
        let (low, high) = percentile_bounds(&numbers(&case["values"]), case["alpha"].as_f64().unwrap()).unwrap();
        near(low, case["low"].as_f64().unwrap(), "low");
        near(high, case["high"].as_f64().unwrap(), "high");
    }
    assert_eq!(percentile_bounds(&[], 0.05), None);
}

#[test]
fn rows_for_power() {
    for case in fixture("power_rows") {
        let case = numbers(&case);
        assert_eq!(power_rows(case[0], case[1], case[2], case[3] as u32), case[4].ceil() as u64, "{case:?}");
    }
    assert_eq!(power_rows(0.0, 0.1, 0.95, 1), u64::MAX);
}

/// Weights of a resample: how many rows they draw, and that all rows are as likely.
#[test]
fn resamples_draw_whole_units() {
    let clusters: Vec<u32> = (0..100).map(|row| row / 7).collect();
    let by_cluster = Dependence::Cluster("station".into());
    for (dependence, units) in [(Dependence::Independent, 100), (Dependence::Time, 20), (by_cluster.clone(), 15)] {
        let resampling = Resampling::new(100, &dependence, &clusters, 300, Seed(7));
        assert_eq!(resampling.units(), units, "{dependence:?}");
        let all: Vec<Vec<f64>> = (0..300).map(|index| resampling.weights(index)).collect();
        let sums: Vec<f64> = all.iter().map(|weights| weights.iter().sum()).collect();
        if dependence == by_cluster {
            let whole = |weights: &[f64]| weights.chunks(7).all(|cluster| cluster.iter().all(|weight| *weight == cluster[0]));
            assert!(all.iter().all(|weights| whole(weights)));
        } else {
            assert!(sums.iter().all(|sum| *sum == 100.0), "{dependence:?}");
        }
        // Every row is as likely as the others: 300 draws on average, with a deviation of some 17 (blocks and clusters alike).
        let totals = all
            .iter()
            .fold(vec![0.0; 100], |totals: Vec<f64>, weights| totals.iter().zip(weights).map(|(total, weight)| total + weight).collect());
        assert!(totals.iter().all(|total| (200.0..400.0).contains(total)), "{dependence:?} {totals:?}");
    }
    assert!(Resampling::new(0, &Dependence::Time, &[], 200, Seed(1)).weights(3).is_empty());
}
