//! Corrections for asking many questions at once, as adjusted p-values: reject where one is at most the error allowed.
//!
//! A p-value that is NaN counts as 1. The order of the results is the order of the arguments.

/// Benjamini and Hochberg (1995): of what is rejected, at most that share is expected to be false.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0f64;
    for (rank, (position, p)) in ranked(p_values).into_iter().enumerate().rev() {
        least = least.min(p / ((rank + 1) as f64 / count));
        adjusted[position] = least;
    }
    adjusted
}

/// Holm (1979): the chance that anything at all is rejected falsely is at most that much.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p_values.len()];
    let mut most = 0.0f64;
    for (rank, (position, p)) in ranked(p_values).into_iter().enumerate() {
        most = most.max(p * (p_values.len() - rank) as f64).min(1.0);
        adjusted[position] = most;
    }
    adjusted
}

/// Positions and p-values, from the smallest.
fn ranked(p_values: &[f64]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = p_values.iter().map(|p| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) }).enumerate().collect();
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    ranked
}
