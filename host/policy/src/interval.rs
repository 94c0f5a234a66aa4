//! Closed-form tests and intervals for proportions.
//!
//! All take real counts, so that a sample of dependent rows can be given at its effective size, and none panics: a sample
//! without rows gives the widest interval.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The `p`-quantile of the standard normal distribution; ±∞ at 1 and 0 and beyond.
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    Normal::standard().inverse_cdf(p)
}

/// One-sided lower and upper bounds, each at error `alpha`, of a proportion of `successes` in `rows` (Wilson 1927).
pub fn wilson(successes: f64, rows: f64, alpha: f64) -> (f64, f64) {
    if rows <= 0.0 {
        return (0.0, 1.0);
    }
    let z = normal_quantile(1.0 - alpha);
    let share = successes / rows;
    let z2 = z * z;
    let centre = (share + z2 / (2.0 * rows)) / (1.0 + z2 / rows);
    let half = z / (1.0 + z2 / rows) * (share * (1.0 - share) / rows + z2 / (4.0 * rows * rows)).max(0.0).sqrt();
    // At 0 and at `rows` successes the bound is exactly 0 or 1; rounding must not move it inside.
    let low = if successes <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if successes >= rows { 1.0 } else { (centre + half).min(1.0) };
    (low, high)
}

/// One-sided exact mid-p of McNemar's test: of `gains + losses` rows on which two models disagree, how likely `gains` or more
/// would favour the challenger if both were equally good, counting the observed number half (Fagerland, Lydersen and Laake 2013).
pub fn mcnemar_mid_p(gains: u64, losses: u64) -> f64 {
    let n = gains + losses;
    // Probabilities relative to the mode, by their ratio; far tails underflow to nothing, which is what they weigh.
    let mode = n / 2;
    let (mut total, mut above, mut at) = (0.0, 0.0, 0.0);
    let mut add = |k: u64, weight: f64| {
        total += weight;
        if k > gains {
            above += weight;
        } else if k == gains {
            at = weight;
        }
    };
    let mut weight = 1.0;
    for k in mode..=n {
        add(k, weight);
        weight *= (n - k) as f64 / (k + 1) as f64;
        if weight == 0.0 {
            break;
        }
    }
    let mut weight = 1.0;
    for k in (0..mode).rev() {
        weight *= (k + 1) as f64 / (n - k) as f64;
        if weight == 0.0 {
            break;
        }
        add(k, weight);
    }
    ((above + 0.5 * at) / total).clamp(0.0, 1.0)
}

/// One-sided lower and upper bounds, each at error `alpha`, of the difference of two paired proportions (Tango 1998):
/// of `rows`, `gains` are right for the challenger alone and `losses` for the other alone. Valid also without disagreement.
pub fn tango(gains: f64, losses: f64, rows: f64, alpha: f64) -> (f64, f64) {
    if rows <= 0.0 {
        return (-1.0, 1.0);
    }
    let z = normal_quantile(1.0 - alpha);
    (tango_lower(gains, losses, rows, z), -tango_lower(losses, gains, rows, z))
}

/// The smallest difference that the score test does not reject.
fn tango_lower(gains: f64, losses: f64, rows: f64, z: f64) -> f64 {
    let excess = |delta: f64| gains - losses - rows * delta - z * score_variance(gains, losses, rows, delta).sqrt();
    let (mut low, mut high) = (-1.0, (gains - losses) / rows);
    // Halving ends when the two ends are neighbours, which is long before 200 steps.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if excess(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Variance of `gains - losses` under a true difference `delta`, with the nuisance parameter at its restricted maximum likelihood.
fn score_variance(gains: f64, losses: f64, rows: f64, delta: f64) -> f64 {
    let a = 2.0 * rows;
    let b = -gains - losses + (2.0 * rows - gains + losses) * delta;
    let c = -losses * delta * (1.0 - delta);
    let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
    // The larger root, written so that nothing cancels.
    let loss_share = if b > 0.0 { if root + b > 0.0 { -2.0 * c / (root + b) } else { 0.0 } } else { (root - b) / (2.0 * a) };
    (rows * (2.0 * loss_share + delta * (1.0 - delta))).max(0.0)
}
