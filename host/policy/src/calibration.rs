//! From scores to probabilities: isotonic regression, and how far probabilities are from what happens.

use serde::{Deserialize, Serialize};

/// A rising function fitted to pairs by least squares (pool adjacent violators; Barlow and others 1972). Between the fitted
/// points it is linear, beyond them constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Arguments, rising.
    xs: Vec<f64>,
    /// Values there, not falling.
    ys: Vec<f64>,
}

impl Isotonic {
    /// Fits `ys` over `xs`, each pair counted `weights` times (once when empty). Pairs that are not finite or have no positive weight
    /// are left out; `None` when nothing is left.
    pub fn fit(xs: &[f64], ys: &[f64], weights: &[f64]) -> Option<Isotonic> {
        let weight = |row: usize| if weights.is_empty() { 1.0 } else { weights.get(row).copied().unwrap_or(0.0) };
        let mut points: Vec<(f64, f64, f64)> = xs.iter().zip(ys).enumerate().map(|(row, (x, y))| (*x + 0.0, *y, weight(row))).collect();
        points.retain(|(x, y, weight)| x.is_finite() && y.is_finite() && *weight > 0.0 && weight.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Pairs with one argument become one pair with their mean.
        let mut blocks: Vec<Block> = Vec::new();
        for (x, y, weight) in points {
            match blocks.last_mut() {
                Some(last) if last.last == x => last.pool(&Block { first: x, last: x, sum: y * weight, weight }),
                _ => blocks.push(Block { first: x, last: x, sum: y * weight, weight }),
            }
        }
        let mut pooled: Vec<Block> = Vec::new();
        for mut block in blocks {
            while let Some(before) = pooled.last().filter(|before| before.mean() >= block.mean()) {
                let mut merged = *before;
                merged.pool(&block);
                block = merged;
                pooled.pop();
            }
            pooled.push(block);
        }
        let mut fitted = Isotonic { xs: Vec::new(), ys: Vec::new() };
        for block in &pooled {
            fitted.xs.push(block.first);
            fitted.ys.push(block.mean());
            if block.last > block.first {
                fitted.xs.push(block.last);
                fitted.ys.push(block.mean());
            }
        }
        (!fitted.xs.is_empty()).then_some(fitted)
    }

    /// The fitted value at `x`; NaN at NaN.
    pub fn value(&self, x: f64) -> f64 {
        if x.is_nan() {
            return f64::NAN;
        }
        let above = self.xs.partition_point(|fitted| *fitted < x);
        let (Some(high), Some(high_y)) = (self.xs.get(above), self.ys.get(above)) else {
            return self.ys.last().copied().unwrap_or(f64::NAN);
        };
        if above == 0 || *high == x {
            return *high_y;
        }
        let (low, low_y) = (self.xs[above - 1], self.ys[above - 1]);
        low_y + (high_y - low_y) * ((x - low) / (high - low))
    }
}

/// Neighbouring pairs with one fitted value.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: f64,
    last: f64,
    sum: f64,
    weight: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }

    fn pool(&mut self, next: &Block) {
        self.last = next.last;
        self.sum += next.sum;
        self.weight += next.weight;
    }
}

/// The expected calibration error (Naeini and others 2015): over `bins` bins of equal width from 0 to 1, each open below and closed
/// above (the first closed below too), the mean distance between mean probability and share of rows that are right, by rows.
/// `None` without rows or bins; a row with a probability outside of 0 to 1 is left out.
pub fn calibration_error(probabilities: &[f64], right: &[bool], bins: usize) -> Option<f64> {
    let mut sums = vec![(0.0, 0.0); bins];
    let mut rows = 0u64;
    for (probability, right) in probabilities.iter().zip(right).filter(|(probability, _)| (0.0..=1.0).contains(*probability)) {
        let upper = (probability * bins as f64).ceil() as usize;
        let bin = sums.get_mut(upper.saturating_sub(1))?;
        bin.0 += probability;
        bin.1 += f64::from(u8::from(*right));
        rows += 1;
    }
    (rows > 0).then(|| sums.iter().map(|(said, was)| (said - was).abs()).sum::<f64>() / rows as f64)
}
