//! Agreement with scipy and statsmodels to 1e-9; `tests/fixtures/make_two_sample.py` made the numbers.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse should fail its test")]

use serde_json::Value;
use tidegate_policy::{
    TestResult, benjamini_hochberg, chi_squared, holm, jensen_shannon, ks, ks_p, psi, psi_p, psi_threshold, wasserstein,
};

fn fixture(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../fixtures/two_sample.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn near(found: f64, expected: f64, what: &str) {
    let close = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    assert!(close, "{what}: found {found}, expected {expected}");
}

fn near_test(found: Option<TestResult>, expected: &Value, what: &str) {
    let (found, expected) = (found.unwrap(), numbers(expected));
    near(found.statistic, expected[0], &format!("statistic of {what}"));
    near(found.p, expected[1], &format!("p of {what}"));
    // Small p-values keep their size, not only their nearness to zero.
    if expected[1] < 1e-6 && expected[1] > 1e-200 {
        assert!((found.p / expected[1] - 1.0).abs() < 1e-6, "p of {what}: found {}, expected {}", found.p, expected[1]);
    }
}

#[test]
fn samples_agree_with_scipy() {
    for (position, case) in fixture("pairs").iter().enumerate() {
        let (mut first, second) = (numbers(&case["first"]), numbers(&case["second"]));
        near_test(ks(&first, &second), &case["ks"], &format!("pair {position}"));
        near_test(ks(&second, &first), &case["ks"], &format!("pair {position} the other way"));
        near(wasserstein(&first, &second).unwrap(), case["wasserstein"].as_f64().unwrap(), &format!("pair {position}"));
        first.insert(0, f64::NAN);
        near_test(ks(&first, &second), &case["ks"], &format!("pair {position} with NaN"));
        near(wasserstein(&second, &first).unwrap(), case["wasserstein"].as_f64().unwrap(), &format!("pair {position} with NaN"));
    }
}

#[test]
fn long_samples_agree_with_scipy() {
    let recipe = |size: u64, step: u64, shift: f64| -> Vec<f64> {
        (0..size).map(|index| (index * step % size) as f64 / size as f64 + shift).collect()
    };
    for case in fixture("long_pairs") {
        let first = recipe(case["n"].as_u64().unwrap(), 7919, 0.0);
        let second = recipe(case["m"].as_u64().unwrap(), 104_729, case["shift"].as_f64().unwrap());
        let what = format!("{} and {} values, shift {}", case["n"], case["m"], case["shift"]);
        near_test(ks(&first, &second), &case["ks"], &what);
        near(wasserstein(&first, &second).unwrap(), case["wasserstein"].as_f64().unwrap(), &what);
    }
}

#[test]
fn the_limit_law_agrees_with_scipy() {
    for case in fixture("laws") {
        let case = numbers(&case);
        // Two samples of 2n values are worth one of n.
        near(ks_p(case[1], 2.0 * case[0], 2.0 * case[0]), case[2], &format!("{case:?}"));
    }
    assert_eq!((ks_p(0.5, 0.0, 0.0), ks_p(f64::NAN, 9.0, 9.0), ks_p(2.0, 9.0, 9.0), ks_p(0.0, 9.0, 9.0)), (1.0, 1.0, 0.0, 1.0));
}

#[test]
fn counts_agree_with_scipy() {
    for case in fixture("counts") {
        let (first, second) = (numbers(&case["first"]), numbers(&case["second"]));
        let what = format!("{first:?} and {second:?}");
        near(jensen_shannon(&first, &second).unwrap(), case["jensen_shannon"].as_f64().unwrap(), &what);
        match case.get("chi_squared") {
            Some(expected) => near_test(chi_squared(&first, &second), expected, &what),
            None => assert_eq!(chi_squared(&first, &second), None, "{what}"),
        }
        if let Some(expected) = case.get("psi") {
            let (expected, bins) = (numbers(expected), first.len());
            let (n, m) = (first.iter().sum(), second.iter().sum());
            near(psi(&first, &second).unwrap(), expected[0], &what);
            near(psi_p(expected[0], bins, n, m), expected[1], &what);
            near(psi_threshold(0.01, bins, n, m).unwrap(), expected[2], &what);
            near(psi_threshold(1e-6, bins, n, m).unwrap(), expected[3], &what);
        }
    }
}

#[test]
fn corrections_agree_with_statsmodels() {
    for case in fixture("corrections") {
        let p = numbers(&case["p"]);
        for (found, expected) in benjamini_hochberg(&p).into_iter().zip(numbers(&case["bh"])) {
            near(found, expected, &format!("Benjamini-Hochberg of {p:?}"));
        }
        for (found, expected) in holm(&p).into_iter().zip(numbers(&case["holm"])) {
            near(found, expected, &format!("Holm of {p:?}"));
        }
    }
    assert!(benjamini_hochberg(&[]).is_empty() && holm(&[]).is_empty());
    assert_eq!((benjamini_hochberg(&[f64::NAN, 0.01]), holm(&[f64::NAN, 0.01])), (vec![1.0, 0.02], vec![1.0, 0.02]));
}

#[test]
fn samples_that_decide_nothing() {
    let nan = f64::NAN;
    assert_eq!((ks(&[], &[1.0]), ks(&[nan], &[1.0]), wasserstein(&[1.0], &[]), wasserstein(&[nan], &[1.0])), (None, None, None, None));
    assert_eq!(wasserstein(&[f64::INFINITY, 1.0], &[3.0]), Some(2.0));
    assert_eq!(ks(&[f64::NEG_INFINITY, 1.0], &[1.0, f64::INFINITY]).map(|test| test.statistic), Some(0.5));
    for (first, second) in
        [(vec![], vec![]), (vec![0.0, 0.0], vec![1.0, 2.0]), (vec![1.0], vec![1.0, 2.0]), (vec![nan, 1.0], vec![1.0, 1.0])]
    {
        assert_eq!((chi_squared(&first, &second), jensen_shannon(&first, &second), psi(&first, &second)), (None, None, None), "{first:?}");
    }
    assert!(psi(&[10.0, 0.0], &[5.0, 5.0]).is_some_and(f64::is_finite));
    assert_eq!((psi_p(0.1, 1, 10.0, 10.0), psi_p(0.1, 5, 0.0, 10.0), psi_p(0.0, 5, 10.0, 10.0)), (1.0, 1.0, 1.0));
    assert_eq!(
        (psi_threshold(0.01, 1, 10.0, 10.0), psi_threshold(0.0, 5, 10.0, 10.0), psi_threshold(0.5, 5, 0.0, 1.0)),
        (None, None, None)
    );
}
