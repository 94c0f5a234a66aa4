//! Are two samples from one law: tests and distances.
//!
//! All take samples in any order and none panics: values that are NaN are passed over, and a sample without values gives `None`.

use statrs::distribution::{ChiSquared as ChiSquaredLaw, ContinuousCDF as _};

use crate::kolmogorov::{gcd, one_sample, two_sample_exact};

/// Samples of more values than this get the limit law, as in scipy.
const EXACT_VALUES_MAX: usize = 10_000;

/// A test statistic and its p-value: the chance of one as large or larger when both samples are from one law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestResult {
    /// The statistic, in its own unit.
    pub statistic: f64,
    /// Between 0 and 1.
    pub p: f64,
}

/// The two-sided Kolmogorov-Smirnov test (Smirnov 1939): the largest distance between two empirical distributions. The p-value
/// is exact up to 10,000 values a sample, and from the limit law above.
pub fn ks(first: &[f64], second: &[f64]) -> Option<TestResult> {
    let (first, second) = (rising(first), rising(second));
    let (n, m) = (first.len(), second.len());
    if n == 0 || m == 0 {
        return None;
    }
    // In whole steps of 1/lcm(n, m), so that ties of the two distributions cancel exactly.
    let divisor = gcd(n, m);
    let (first_step, second_step) = ((m / divisor) as i64, (n / divisor) as i64);
    let (mut i, mut j, mut height, mut steps) = (0, 0, 0i64, 0u64);
    while i < n && j < m {
        let value = if first[i] <= second[j] { first[i] } else { second[j] };
        while i < n && first[i] <= value {
            i += 1;
            height += first_step;
        }
        while j < m && second[j] <= value {
            j += 1;
            height -= second_step;
        }
        steps = steps.max(height.unsigned_abs());
    }
    let statistic = steps as f64 / (n as f64 * first_step as f64);
    let p = if n.max(m) <= EXACT_VALUES_MAX { two_sample_exact(n, m, steps) } else { ks_p(statistic, n as f64, m as f64) };
    Some(TestResult { statistic, p })
}

/// The p-value of a Kolmogorov-Smirnov distance between samples of `n` and `m` values by the limit law; samples that hold less
/// than their number of rows tells can be given at their effective size.
pub fn ks_p(distance: f64, n: f64, m: f64) -> f64 {
    let size = n * m / (n + m);
    if size.is_finite() { one_sample(size.round_ties_even() as u64, distance) } else { 1.0 }
}

/// The two-sample χ² test of homogeneity (Pearson 1900) on counts by category, without continuity correction. Categories that
/// neither sample has are left out; `None` when fewer than two are left, a sample is empty, or the lists differ in length.
pub fn chi_squared(first: &[f64], second: &[f64]) -> Option<TestResult> {
    let (n, m): (f64, f64) = (first.iter().sum(), second.iter().sum());
    if first.len() != second.len() || !(n > 0.0 && m > 0.0) {
        return None;
    }
    let (mut statistic, mut categories) = (0.0, 0u32);
    for (a, b) in first.iter().zip(second).filter(|(a, b)| *a + *b > 0.0) {
        let (expected_a, expected_b) = ((a + b) * n / (n + m), (a + b) * m / (n + m));
        statistic += (a - expected_a).powi(2) / expected_a + (b - expected_b).powi(2) / expected_b;
        categories += 1;
    }
    (categories > 1).then(|| TestResult { statistic, p: chi_squared_p(statistic, f64::from(categories - 1)) })
}

/// The chance of `statistic` or more under χ² with so many degrees of freedom; 1 where that is no law.
pub(crate) fn chi_squared_p(statistic: f64, degrees: f64) -> f64 {
    match ChiSquaredLaw::new(degrees) {
        Ok(law) if statistic > 0.0 => law.sf(statistic),
        _ => 1.0,
    }
}

/// The first Wasserstein distance: the area between two empirical distributions, in the unit of the values. Infinite values are
/// passed over like NaN.
pub fn wasserstein(first: &[f64], second: &[f64]) -> Option<f64> {
    let finite = |values: &[f64]| -> Vec<f64> { rising(values).into_iter().filter(|value| value.is_finite()).collect() };
    let (first, second) = (finite(first), finite(second));
    let (n, m) = (first.len(), second.len());
    if n == 0 || m == 0 {
        return None;
    }
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut before = first[0].min(second[0]);
    while i < n || j < m {
        let value = match (first.get(i), second.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(a), None) => *a,
            (None, b) => b.copied().unwrap_or(before),
        };
        area += (i as f64 / n as f64 - j as f64 / m as f64).abs() * (value - before);
        before = value;
        while first.get(i).is_some_and(|a| *a <= value) {
            i += 1;
        }
        while second.get(j).is_some_and(|b| *b <= value) {
            j += 1;
        }
    }
    Some(area)
}

/// The Jensen-Shannon distance, base 2, between two lists of counts or shares by category: 0 when they are proportional, 1 when
/// no category is in both. `None` when a list has nothing in it, or they differ in length.
pub fn jensen_shannon(first: &[f64], second: &[f64]) -> Option<f64> {
    let (n, m): (f64, f64) = (first.iter().sum(), second.iter().sum());
    if first.len() != second.len() || !(n > 0.0 && m > 0.0) || !(n + m).is_finite() {
        return None;
    }
    let entropy = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let divergence: f64 = first
        .iter()
        .zip(second)
        .map(|(a, b)| {
            let (a, b) = (a / n, b / m);
            let middle = 0.5 * (a + b);
            entropy(a, middle) + entropy(b, middle)
        })
        .sum();
    Some((0.5 * divergence).clamp(0.0, 1.0).sqrt())
}

/// The population stability index between two lists of counts by bin: `Σ (a - b)·ln(a / b)` over shares. A bin that only one
/// sample has counts as half a row in the other; `None` as for [`jensen_shannon`].
pub fn psi(first: &[f64], second: &[f64]) -> Option<f64> {
    let (n, m): (f64, f64) = (first.iter().sum(), second.iter().sum());
    if first.len() != second.len() || !(n > 0.0 && m > 0.0) || !(n + m).is_finite() {
        return None;
    }
    let occupied = first.iter().zip(second).filter(|(a, b)| **a + **b > 0.0);
    Some(
        occupied
            .map(|(a, b)| {
                let (a, b) = (a.max(0.5) / n, b.max(0.5) / m);
                (a - b) * (a / b).ln()
            })
            .sum(),
    )
}

/// The chance of a [`psi`] of `value` or more between samples of `n` and `m` independent rows of one law in so many bins: it is
/// spread as (1/n + 1/m)·χ² with `bins - 1` degrees of freedom, so no fixed threshold is right for all sizes.
pub fn psi_p(value: f64, bins: usize, n: f64, m: f64) -> f64 {
    let scale = 1.0 / n + 1.0 / m;
    if bins > 1 && scale > 0.0 && scale.is_finite() { chi_squared_p(value / scale, (bins - 1) as f64) } else { 1.0 }
}

/// The [`psi`] that samples of one law pass with the chance `alpha`; `None` where there is no law to take it from.
pub fn psi_threshold(alpha: f64, bins: usize, n: f64, m: f64) -> Option<f64> {
    let scale = 1.0 / n + 1.0 / m;
    if bins < 2 || !(scale > 0.0 && scale.is_finite()) || !(alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    let degrees = (bins - 1) as f64;
    let (mut low, mut high) = (0.0, degrees + 10.0);
    while chi_squared_p(high, degrees) > alpha && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if chi_squared_p(middle, degrees) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(0.5 * (low + high) * scale)
}

/// The values that are not NaN, from the smallest.
pub(crate) fn rising(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}
