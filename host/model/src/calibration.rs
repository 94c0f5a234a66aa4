//! Temperature scaling (Guo et al. 2017), and how well calibrated probabilities are.

use crate::kernel::{exp, ln, softmax};

/// The coldest temperature that is tried.
const TEMPERATURE_MIN: f64 = 0.05;
/// The hottest temperature that is tried.
const TEMPERATURE_MAX: f64 = 20.0;
/// Bins of the expected calibration error.
const BINS: usize = 10;
/// A probability of 0 counts as this much, so that losses stay finite.
const PROBABILITY_MIN: f64 = 1e-300;

/// Sharpens (below 1) or softens (above 1) rows of probabilities, in place.
pub(crate) fn apply(probabilities: &mut [f64], classes: usize, temperature: f64) {
    for row in probabilities.chunks_exact_mut(classes) {
        for value in row.iter_mut() {
            *value = ln(value.max(PROBABILITY_MIN)) / temperature;
        }
        softmax(row);
    }
}

/// The temperature with the smallest log loss, by golden sections over its logarithm: the loss has one minimum there.
pub(crate) fn fit(probabilities: &[f64], labels: &[u32], classes: usize) -> f64 {
    let loss = |position: f64| {
        let mut scaled = probabilities.to_vec();
        apply(&mut scaled, classes, exp(position));
        log_loss(&scaled, labels, classes)
    };
    let share = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (ln(TEMPERATURE_MIN), ln(TEMPERATURE_MAX));
    let (mut left, mut right) = (high - share * (high - low), low + share * (high - low));
    let (mut loss_left, mut loss_right) = (loss(left), loss(right));
    for _ in 0..40 {
        if loss_left <= loss_right {
            (high, right, loss_right) = (right, left, loss_left);
            left = high - share * (high - low);
            loss_left = loss(left);
        } else {
            (low, left, loss_left) = (left, right, loss_right);
            right = low + share * (high - low);
            loss_right = loss(right);
        }
    }
    exp((low + high) / 2.0)
}

/// The mean of `-ln p(class)`.
pub(crate) fn log_loss(probabilities: &[f64], labels: &[u32], classes: usize) -> f64 {
    let rows = probabilities.chunks_exact(classes).zip(labels);
    let sum: f64 = rows.map(|(row, label)| -ln(row[*label as usize].max(PROBABILITY_MIN))).sum();
    sum / labels.len().max(1) as f64
}

/// The share of rows whose most probable class is the label.
pub(crate) fn accuracy(probabilities: &[f64], labels: &[u32], classes: usize) -> f64 {
    let rows = probabilities.chunks_exact(classes).zip(labels);
    rows.filter(|(row, label)| most_probable(row) == **label).count() as f64 / labels.len().max(1) as f64
}

/// The mean distance between how sure a model is and how often it is right, over bins of sureness weighted by their rows.
pub(crate) fn expected_calibration_error(probabilities: &[f64], labels: &[u32], classes: usize) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for (row, label) in probabilities.chunks_exact(classes).zip(labels) {
        let top = most_probable(row);
        let sure = row[top as usize];
        let bin = &mut bins[((sure * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += sure;
        bin.1 += f64::from(u8::from(top == *label));
    }
    bins.iter().map(|(sure, right)| (sure - right).abs()).sum::<f64>() / labels.len().max(1) as f64
}

/// The class with the largest probability; the first of equals.
pub(crate) fn most_probable(row: &[f64]) -> u32 {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = class;
        }
    }
    best as u32
}
