//! Softmax and cross entropy, one row after the other, in double precision.

use super::math::{exp, ln};

/// Turns a row of scores into probabilities, in place; they sum to 1.
pub(crate) fn softmax(row: &mut [f64]) {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = exp(*value - top);
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

/// `Σ weight × -ln p(class)` over the rows, and `Σ weight`; `targets` holds the class and the weight of each row.
pub(crate) fn cross_entropy(scores: &[f32], targets: &[f32], classes: usize) -> (f64, f64) {
    let (mut loss, mut total) = (0.0, 0.0);
    for (row, target) in scores.chunks_exact(classes).zip(targets.chunks_exact(2)) {
        let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|score| exp(f64::from(*score) - top)).sum();
        let weight = f64::from(target[1]);
        loss += weight * (ln(sum) + top - f64::from(row[target[0] as usize]));
        total += weight;
    }
    (loss, total)
}

/// The gradient by the scores of `scale × Σ weight × -ln p(class)`.
pub(crate) fn cross_entropy_backward(scores: &[f32], targets: &[f32], classes: usize, scale: f64) -> Vec<f32> {
    let mut gradient = Vec::with_capacity(scores.len());
    let mut row = vec![0.0; classes];
    for (scores, target) in scores.chunks_exact(classes).zip(targets.chunks_exact(2)) {
        for (value, score) in row.iter_mut().zip(scores) {
            *value = f64::from(*score);
        }
        softmax(&mut row);
        row[target[0] as usize] -= 1.0;
        gradient.extend(row.iter().map(|value| (value * f64::from(target[1]) * scale) as f32));
    }
    gradient
}
