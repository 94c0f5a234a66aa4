//! Tests and intervals that stay valid however often they are looked at (mSPRT).
//!
//! All take an estimated difference and the variance of that estimate, σ²/n for `n` pairs with differences of variance σ². The
//! mixture is over effects of scale τ, so that with growing `n` it finds effects near τ soonest.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The likelihood ratio of effects drawn from a normal distribution with deviation `tau` against no effect:
/// `√(V/(V+τ²)) · exp(τ²d²/(2V(V+τ²)))`. Without an effect it exceeds `1/α` at any look with probability `α` at most.
/// 1 when nothing varies or an argument is no number.
pub fn mixture_likelihood_ratio(difference: f64, variance: f64, tau: f64) -> f64 {
    log_mixture(difference, variance, tau).map_or(1.0, f64::exp)
}

/// The same against "no worse": effects above zero alone, so its test is one-sided. `2 · Φ(τd/√(V(V+τ²)))` times the two-sided
/// ratio; a benefit, however large, gives less than 1.
pub fn harm_likelihood_ratio(harm: f64, variance: f64, tau: f64) -> f64 {
    let Some(two_sided) = log_mixture(harm, variance, tau) else { return 1.0 };
    let z = tau * harm / (variance * (variance + tau * tau)).sqrt();
    let above = Normal::standard().cdf(z);
    // For a large benefit both factors leave the range of floats; their product is near σ/(τ·|z|), and below 1 in any case.
    if above <= 0.0 { 0.0 } else { (std::f64::consts::LN_2 + two_sided + above.ln()).exp() }
}

/// The interval that covers the true difference at all looks together with probability `1 - alpha`:
/// `d ± √(V(V+τ²)/τ² · ln((1+τ²/V)/α²))`. By symmetry each end alone errs with half of `alpha`. `None` when nothing varies.
pub fn always_valid_interval(difference: f64, variance: f64, tau: f64, alpha: f64) -> Option<(f64, f64)> {
    if !(variance > 0.0 && tau > 0.0 && alpha > 0.0 && difference.is_finite()) {
        return None;
    }
    let squared = tau * tau;
    let half = (variance * (variance + squared) / squared * ((1.0 + squared / variance) / (alpha * alpha)).ln()).max(0.0).sqrt();
    half.is_finite().then_some((difference - half, difference + half))
}

fn log_mixture(difference: f64, variance: f64, tau: f64) -> Option<f64> {
    if !(variance > 0.0 && tau > 0.0 && difference.is_finite()) {
        return None;
    }
    let squared = tau * tau;
    let both = variance + squared;
    let log = 0.5 * (variance / both).ln() + squared * difference * difference / (2.0 * variance * both);
    (!log.is_nan()).then_some(log)
}
