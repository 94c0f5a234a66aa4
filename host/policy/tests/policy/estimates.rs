//! Agreement with numpy, scipy, scikit-learn and nannyml to 1e-9 on intervals, resamples, calibration and estimates without labels;
//! `tests/fixtures/make_intervals.py` and `make_cbpe.py` made the numbers; those of label maturity are of statsmodels, by
//! `make_maturity.py`.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse should fail its test")]

use serde_json::Value;
use tidegate_policy::{
    Calibrate, Cbpe, CbpeEstimate, DeLong, Dependence, EstimateScore, Estimated, Isotonic, LabelAge, Maturity, Resampling, ScoredRows,
    bca_bounds, calibration_error, harm_likelihood_ratio, mixture_likelihood_ratio, statistic,
};
use tidegate_vocab::{Seed, Terms};

use crate::statistics::near;

fn fixture(name: &str) -> Vec<Value> {
    let file = if name == "cbpe" { include_str!("../fixtures/cbpe.json") } else { include_str!("../fixtures/intervals.json") };
    let all: Value = serde_json::from_str(file).unwrap();
    all[name].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn whole(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|number| number as u32).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn label_maturity_agrees_with_statsmodels() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/maturity.json")).unwrap();
    for case in cases {
        let known = case["known"].as_array().unwrap().iter().map(|known| known.as_bool().unwrap());
        let ages: Vec<LabelAge> =
            numbers(&case["ages"]).into_iter().zip(known).map(|(age_s, is_known)| LabelAge { age_s, is_known }).collect();
        let found = Maturity::of(&ages);
        let (steps, shares, errors) = (numbers(&case["steps"]), numbers(&case["shares"]), numbers(&case["errors"]));
        assert_eq!(found.steps.iter().map(|step| step.age_s).collect::<Vec<_>>(), steps);
        for (step, (share, error)) in found.steps.iter().zip(shares.into_iter().zip(errors)) {
            near(step.share, share, "share");
            near(step.error, error, "error");
        }
    }
}

#[test]
fn delong_agrees_with_its_kernel() {
    for case in fixture("delong") {
        let labels: Vec<u8> = whole(&case["labels"]).into_iter().map(|label| label as u8).collect();
        let found = DeLong::new(&labels, &numbers(&case["own"]), &numbers(&case["other"])).unwrap();
        for model in 0..2 {
            near(found.areas[model], number(&case["areas"][model]), "area");
            (0..2).for_each(|with| near(found.covariance[model][with], number(&case["covariance"][model][with]), "covariance"));
        }
        for bounds in case["bounds"].as_array().unwrap() {
            let bounds = numbers(bounds);
            let ((low, high), (own_low, own_high)) = (found.difference_bounds(bounds[0]), found.area_bounds(bounds[0]));
            [(low, 1), (high, 2), (own_low, 3), (own_high, 4)].iter().for_each(|(found, at)| near(*found, bounds[*at], "bound"));
        }
        let same = DeLong::new(&labels, &numbers(&case["own"]), &numbers(&case["own"])).unwrap();
        assert!(same.variance() < 1e-15 && same.difference() == 0.0, "{same:?}");
    }
    let none = |labels: &[u8], values: &[f64]| assert_eq!(DeLong::new(labels, values, values), None);
    none(&[], &[]);
    none(&[1, 1, 1], &[0.1, 0.2, 0.3]);
    none(&[1, 1, 0], &[0.1, 0.2, 0.3]);
    none(&[1, 1, 0, 0], &[0.1, 0.2, f64::NAN, 0.3]);
    none(&[1, 1, 0, 0], &[0.1, 0.2, 0.3]);
}

#[test]
fn bca_agrees_with_scipy() {
    for case in fixture("bca") {
        let (estimates, jackknife) = (numbers(&case["estimates"]), numbers(&case["jackknife"]));
        let (low, high) = bca_bounds(&estimates, number(&case["observed"]), &jackknife, number(&case["alpha"])).unwrap();
        near(low, number(&case["low"]), "low");
        near(high, number(&case["high"]), "high");
    }
    assert_eq!(bca_bounds(&[], 0.0, &[], 0.05), None);
    assert_eq!(bca_bounds(&[1.0, 2.0], 0.0, &[], 0.05), None, "every estimate above the observed one");
    // Without a jackknife there is no acceleration, and without bias the percentiles are left as they are.
    let symmetric: Vec<f64> = (-50..=50).map(f64::from).collect();
    let (low, high) = bca_bounds(&symmetric, 0.0, &[], 0.05).unwrap();
    near(low, -45.0, "low");
    near(high, 45.0, "high");
}

#[test]
fn resamples_of_units_agree_with_numpy() {
    for case in fixture("units") {
        let (values, clusters) = (numbers(&case["values"]), whole(&case["clusters"]));
        let dependence = if case["kind"] == "blocks" { Dependence::Time } else { Dependence::Cluster("station".into()) };
        let units: Vec<usize> = whole(&case["units"]).into_iter().map(|unit| unit as usize).collect();
        let weights = Resampling::new(values.len(), &dependence, &clusters, 200, Seed(1)).weights_of_units(&units);
        assert_eq!(weights, numbers(&case["counts"]), "{}", case["kind"]);
        let median = Terms::Quantile { q: 0.5, values: values.clone() };
        near(statistic(&Terms::Mean { values }, Some(&weights)).unwrap(), number(&case["mean"]), "mean");
        near(statistic(&median, Some(&weights)).unwrap(), number(&case["median"]), "median");
    }
}

#[test]
fn isotonic_fits_agree_with_scikit_learn() {
    for case in fixture("isotonic") {
        let fitted = Isotonic::fit(&numbers(&case["x"]), &numbers(&case["y"]), &numbers(&case["weights"])).unwrap();
        for (asked, expected) in numbers(&case["asked"]).into_iter().zip(numbers(&case["values"])) {
            near(fitted.value(asked), expected, &format!("at {asked}"));
        }
    }
    assert_eq!(Isotonic::fit(&[], &[], &[]), None);
    assert_eq!(Isotonic::fit(&[f64::NAN, 1.0], &[1.0, f64::INFINITY], &[]), None);
    assert_eq!(Isotonic::fit(&[1.0], &[1.0], &[0.0]), None);
    let one = Isotonic::fit(&[0.5], &[0.7], &[]).unwrap();
    assert_eq!((one.value(-1.0), one.value(0.5), one.value(f64::INFINITY)), (0.7, 0.7, 0.7));
    assert!(one.value(f64::NAN).is_nan());
}

#[test]
fn calibration_errors_agree_with_their_definition() {
    for case in fixture("calibration") {
        let right: Vec<bool> = case["right"].as_array().unwrap().iter().map(|right| right.as_bool().unwrap()).collect();
        let bins = case["bins"].as_u64().unwrap() as usize;
        near(calibration_error(&numbers(&case["probabilities"]), &right, bins).unwrap(), number(&case["error"]), "error");
    }
    assert_eq!(calibration_error(&[], &[], 10), None);
    assert_eq!(calibration_error(&[0.5], &[true], 0), None);
    assert_eq!(calibration_error(&[f64::NAN, 1.0], &[true, true], 10), Some(0.0));
}

#[test]
fn mixtures_agree_with_numerical_integrals() {
    for case in fixture("mixture") {
        let case = numbers(&case);
        near(mixture_likelihood_ratio(case[0], case[1], case[2]), case[3], "all effects");
        near(harm_likelihood_ratio(case[0], case[1], case[2]), case[4], "harm alone");
    }
}

/// The model and the rows of a case.
fn estimated(case: &Value, calibrate: Calibrate) -> Option<CbpeEstimate> {
    let class_count = case["classes"].as_u64().unwrap() as usize;
    let (reference, predicted) = (numbers(&case["reference"]), whole(&case["reference_predicted"]));
    let reference = ScoredRows { probabilities: &reference, predicted: &predicted, class_count };
    let cbpe = Cbpe::fit(reference, &whole(&case["labels"]), (class_count == 2).then_some(1), calibrate)?;
    let stored: Cbpe = serde_json::from_str(&serde_json::to_string(&cbpe).unwrap()).unwrap();
    assert_eq!(stored, cbpe);
    let (rows, predicted) = (numbers(&case["rows"]), whole(&case["predicted"]));
    cbpe.estimate(ScoredRows { probabilities: &rows, predicted: &predicted, class_count })
}

#[test]
fn estimates_agree_with_nannyml() {
    for case in fixture("cbpe") {
        let calibrate = if case["calibrate"] == true { Calibrate::Always } else { Calibrate::Never };
        let found = estimated(&case, calibrate).unwrap();
        for (name, found) in [("accuracy", found.accuracy), ("f1", found.f1), ("auroc", found.auroc)] {
            let (found, expected) = (found.unwrap(), numbers(&case[name]));
            near(found.value, expected[0], name);
            near(found.band.0, expected[0] - 3.0 * expected[1], &format!("{name}, lower end"));
            near(found.band.1, (expected[0] + 3.0 * expected[1]).min(1.0), &format!("{name}, upper end"));
        }
        // nannyml rounds counts to five digits on the way.
        assert!((found.auroc.unwrap().value - number(&case["auroc_rounded"])).abs() < 1e-6);
    }
}

#[test]
fn calibration_is_used_where_it_helps() {
    // Scores that claim too much: what they say is right in two of three rows.
    let probabilities: Vec<f64> = (0..3_000).flat_map(|row| if row % 2 == 0 { [0.01, 0.99] } else { [0.99, 0.01] }).collect();
    let predicted: Vec<u32> = (0..3_000).map(|row| u32::from(row % 2 == 0)).collect();
    let labels: Vec<u32> = predicted.iter().enumerate().map(|(row, said)| if row % 3 == 0 { 1 - said } else { *said }).collect();
    let rows = ScoredRows { probabilities: &probabilities, predicted: &predicted, class_count: 2 };
    let accuracy = |calibrate: Calibrate| {
        let cbpe = Cbpe::fit(rows, &labels, Some(1), calibrate).unwrap();
        cbpe.estimate(rows).unwrap().accuracy.unwrap().value
    };
    near(accuracy(Calibrate::Never), 0.99, "as claimed");
    near(accuracy(Calibrate::WhereItHelps), 2.0 / 3.0, "as it was");
    // Probabilities that are right as they are stay as they are.
    let fair: Vec<f64> = (0..3_000).flat_map(|row| if row % 2 == 0 { [1.0 / 3.0, 2.0 / 3.0] } else { [2.0 / 3.0, 1.0 / 3.0] }).collect();
    let rows = ScoredRows { probabilities: &fair, ..rows };
    let cbpe = Cbpe::fit(rows, &labels, Some(1), Calibrate::WhereItHelps).unwrap();
    near(cbpe.estimate(rows).unwrap().accuracy.unwrap().value, 2.0 / 3.0, "as claimed");
}

#[test]
fn rows_that_do_not_determine_an_estimate() {
    let rows = |probabilities, predicted| ScoredRows { probabilities, predicted, class_count: 2 };
    let reference: &[f64] = &[0.9, 0.1, 0.2, 0.8];
    let fit = |labels: &[u32], positive| Cbpe::fit(rows(reference, &[0, 1]), labels, positive, Calibrate::Always);
    assert_eq!((fit(&[0], None), fit(&[0, 1], Some(2)), Cbpe::fit(rows(&[], &[]), &[], None, Calibrate::Never)), (None, None, None));
    // One row of each class gives no spread of the area, one class alone neither that nor F1.
    let one_class = fit(&[0, 0], Some(1)).unwrap().estimate(rows(reference, &[0, 1])).unwrap();
    assert_eq!((one_class.auroc, one_class.accuracy.is_some()), (None, true));
    let cbpe = fit(&[0, 1], Some(1)).unwrap();
    assert_eq!(cbpe.estimate(rows(reference, &[0])), None);
    let nothing = cbpe.estimate(rows(&[], &[])).unwrap();
    assert_eq!((nothing.rows, nothing.accuracy, nothing.f1), (0, None, None));
    assert_eq!(cbpe.estimate(rows(&[f64::NAN; 4], &[0, 1])).unwrap().accuracy, None);
}

#[test]
fn estimates_are_scored_once_labels_arrive() {
    let mut score = EstimateScore::default();
    let estimated = Estimated { value: 0.80, band: (0.75, 0.85) };
    [0.82, 0.70, f64::NAN].iter().for_each(|realised| score.record(&estimated, *realised));
    assert_eq!((score.error.count, score.within), (2, 1));
    near(score.error.mean, 0.04, "bias");
    near(score.distance.mean, 0.06, "distance");
}
