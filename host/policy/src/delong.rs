//! Areas under ROC curves with their variances, for one model and for two on the same rows (DeLong, DeLong and Clarke-Pearson
//! 1988), by mid-ranks in O(n log n) (Sun and Xu 2014).

use crate::interval::normal_quantile;

/// One or two areas under the ROC curve over the same rows, with the covariance of their estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeLong {
    /// The areas; of one model, both are its own.
    pub areas: [f64; 2],
    /// Variances and covariance of the areas.
    pub covariance: [[f64; 2]; 2],
}

impl DeLong {
    /// Compares the scores of two models on rows with these labels, 1 or other. `None` unless both labels occur twice at least and no score
    /// is NaN.
    pub fn new(labels: &[u8], own: &[f64], other: &[f64]) -> Option<DeLong> {
        Some(DeLong::of(&Placements::new(labels, own)?, &Placements::new(labels, other)?))
    }

    /// The same from placements over the same rows.
    pub(crate) fn of(own: &Placements, other: &Placements) -> DeLong {
        let covariance = |a: &Placements, b: &Placements| {
            covariance(&a.positives, &b.positives) / a.positives.len() as f64
                + covariance(&a.negatives, &b.negatives) / a.negatives.len() as f64
        };
        let both = covariance(own, other);
        DeLong { areas: [own.area(), other.area()], covariance: [[covariance(own, own), both], [both, covariance(other, other)]] }
    }

    /// The first area minus the second.
    pub fn difference(&self) -> f64 {
        self.areas[0] - self.areas[1]
    }

    /// The variance of that difference; 0 when the two rank all pairs alike.
    pub fn variance(&self) -> f64 {
        (self.covariance[0][0] + self.covariance[1][1] - 2.0 * self.covariance[0][1]).max(0.0)
    }

    /// The same with both variances `effect` times as large, as for rows that depend on each other.
    pub(crate) fn inflated(self, effect: f64) -> DeLong {
        DeLong { covariance: self.covariance.map(|row| row.map(|value| value * effect)), ..self }
    }

    /// One-sided lower and upper bounds of the difference, each at error `alpha`.
    pub fn difference_bounds(&self, alpha: f64) -> (f64, f64) {
        bounds(self.difference(), self.variance(), alpha)
    }

    /// One-sided lower and upper bounds of the first area, each at error `alpha`.
    pub fn area_bounds(&self, alpha: f64) -> (f64, f64) {
        bounds(self.areas[0], self.covariance[0][0], alpha)
    }
}

fn bounds(estimate: f64, variance: f64, alpha: f64) -> (f64, f64) {
    let half = normal_quantile(1.0 - alpha) * variance.sqrt();
    (estimate - half, estimate + half)
}

/// For each row of label 1 the share of the others that it outranks, for each of those the share that outranks it.
pub(crate) struct Placements {
    pub(crate) positives: Vec<f64>,
    pub(crate) negatives: Vec<f64>,
}

impl Placements {
    pub(crate) fn new(labels: &[u8], values: &[f64]) -> Option<Placements> {
        if labels.len() != values.len() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        let of = |positive: bool| -> Vec<f64> {
            labels.iter().zip(values).filter(|(label, _)| (**label == 1) == positive).map(|(_, value)| *value).collect()
        };
        let (positives, negatives) = (of(true), of(false));
        if positives.len() < 2 || negatives.len() < 2 {
            return None;
        }
        let among_all = mid_ranks(values);
        let share = |positive: bool, own: Vec<f64>, others: f64| -> Vec<f64> {
            let all = labels.iter().zip(&among_all).filter(|(label, _)| (**label == 1) == positive).map(|(_, rank)| *rank);
            all.zip(mid_ranks(&own)).map(|(all, own)| (all - own) / others).collect()
        };
        let (positive_count, negative_count) = (positives.len() as f64, negatives.len() as f64);
        let outranked = share(false, negatives, positive_count).into_iter().map(|share| 1.0 - share).collect();
        Some(Placements { positives: share(true, positives, negative_count), negatives: outranked })
    }

    pub(crate) fn area(&self) -> f64 {
        self.positives.iter().sum::<f64>() / self.positives.len() as f64
    }
}

/// Ranks from 1; equal values share the mean of theirs.
fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    // `+ 0.0` makes one zero of the two.
    order.sort_unstable_by(|a, b| (values[*a as usize] + 0.0).total_cmp(&(values[*b as usize] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| values[*a as usize] == values[*b as usize]) {
        let rank = before as f64 + 0.5 * (tied.len() + 1) as f64;
        tied.iter().for_each(|row| ranks[*row as usize] = rank);
        before += tied.len();
    }
    ranks
}

/// The sample covariance, divided by one less than the count.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f64>() / (count - 1.0)
}
