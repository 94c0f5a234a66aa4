//! When a gate looks, what each look may spend, and how many rows a look needs.

use statrs::distribution::{ContinuousCDF as _, Normal};

use crate::interval::normal_quantile;
use crate::{Gate, RowsMin, Test};

/// Share of rows on which two versions disagree that `rows_min = "power"` assumes before any row has arrived.
/// On the weather it is 0.074.
pub const ASSUMED_DISAGREEMENT: f64 = 0.08;

const POWER: f64 = 0.8;

/// The one-sided error that one look may spend: `(1 - confidence) / looks_max`, so that all looks together spend `1 - confidence`.
pub fn alpha_per_look(gate: &Gate) -> f64 {
    (1.0 - gate.confidence) / f64::from(gate.looks_max.max(1))
}

/// Rows needed for the first look, with `rows_min = "power"` resolved for the narrowest `non-inferior` rule.
pub fn rows_min(gate: &Gate) -> u64 {
    match gate.rows_min {
        RowsMin::Rows(rows) => rows,
        RowsMin::Power => {
            let margins = gate.rules.iter().filter_map(|rule| match rule.test {
                Test::NonInferior { margin } => Some(margin),
                _ => None,
            });
            let narrowest = margins.min_by(f64::total_cmp);
            let rows = narrowest.map(|margin| power_rows(margin, ASSUMED_DISAGREEMENT, gate.confidence, gate.looks_max));
            rows.unwrap_or(300)
        }
    }
}

/// Rows at which look `look` (from 1) is due: the first at `rows_min`, later ones at its multiples.
pub fn rows_for_look(gate: &Gate, look: u32) -> u64 {
    rows_min(gate).saturating_mul(u64::from(look.max(1)))
}

/// Rows at which the next look is due after `looks_done` looks; `None` when the looks are used up.
pub fn next_look(gate: &Gate, looks_done: u32) -> Option<u64> {
    (looks_done < gate.looks_max).then(|| rows_for_look(gate, looks_done + 1))
}

/// The chance to pass a rule about a paired difference with `rows` rows, in one look that may spend `alpha`: the true difference is
/// `difference`, the bound must lie above `threshold`, and the two disagree on a share `disagreement` of the rows. By the normal
/// approximation, `Φ((difference − threshold)·√(rows/disagreement) − z_{1−α})`; 0 where that is no number.
pub fn chance_to_pass(difference: f64, threshold: f64, disagreement: f64, rows: u64, alpha: f64) -> f64 {
    let z = (difference - threshold) * (rows as f64 / disagreement).sqrt() - normal_quantile(1.0 - alpha);
    if z.is_nan() { 0.0 } else { Normal::standard().cdf(z) }
}

/// Rows with which an equal challenger passes a `non-inferior` rule with 80 % probability in one look:
/// `(z_{1-α/looks} + z_{0.8})² · disagreement / margin²`, which is `6.18 · d / m²` for α = 0.05 and one look.
pub fn power_rows(margin: f64, disagreement: f64, confidence: f64, looks: u32) -> u64 {
    let alpha = (1.0 - confidence) / f64::from(looks.max(1));
    let z = normal_quantile(1.0 - alpha) + normal_quantile(POWER);
    // A float above the range of `u64` saturates, and NaN becomes 0: an absurd margin asks for absurdly many rows, never a panic.
    (z * z * disagreement / (margin * margin)).ceil() as u64
}
