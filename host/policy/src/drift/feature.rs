//! One column of a reference: how far a window of rows has moved from it, and how far windows usually move.
//!
//! Rows in time are alike their neighbours, so that laws for independent rows call every window a drift. What is usual is therefore taken
//! from the reference itself: the effects between its contiguous windows and the rest of it. Their logarithms are taken as normal with
//! unknown mean and spread, and a new window is held against their predictive law (Student's t), which knows how few windows there were.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::sketch::{Bins, DriftColumn, Sketch};
use crate::{chi_squared, jensen_shannon, ks_p, psi, psi_threshold};

/// Windows of the reference that the null is taken from: fewer say nothing of a spread.
const NULL_WINDOWS_MIN: usize = 4;
/// What an interquartile range is worth in standard deviations of a normal law.
const NORMAL_IQR: f64 = 1.349;
/// Effects below this are as good as none; a logarithm needs a floor.
const EFFECT_FLOOR: f64 = 1e-3;
/// The share of usual windows that stay below the threshold.
const NULL_QUANTILE: f64 = 0.99;
/// The chance of a false alarm at which the stability index is shown.
const PSI_ALPHA: f64 = 0.01;

/// One column of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeatureReference {
    pub name: String,
    bins: Bins,
    rows: Sketch,
    /// What distances of numbers are divided by.
    spread: f64,
    null: Null,
}

/// Logarithms of the effects of the reference's own windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Null {
    mean: f64,
    deviation: f64,
    /// Windows that do not overlap.
    windows: f64,
}

/// How far a window has moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Distance {
    pub effect: f64,
    pub threshold: f64,
    pub p: f64,
    pub psi: Option<(f64, f64)>,
}

impl FeatureReference {
    /// The reference of one column, for windows of so many rows.
    ///
    /// # Errors
    /// Why drift of this column cannot be measured, as the end of a sentence.
    pub fn of(name: &str, column: DriftColumn<'_>, window_rows: usize) -> Result<FeatureReference, String> {
        let windows = column.len() / window_rows.max(1);
        if windows < NULL_WINDOWS_MIN {
            return Err(format!("has {} reference rows, and {NULL_WINDOWS_MIN} windows of {window_rows} are needed", column.len()));
        }
        let bins = Bins::of(column);
        let rows = bins.sketch(column);
        let spread = match (&bins, column) {
            (Bins::Numbers(_), DriftColumn::Numbers(values)) => spread(values).ok_or("does not vary in the reference")?,
            _ => 1.0,
        };
        let mut feature =
            FeatureReference { name: name.to_owned(), bins, rows, spread, null: Null { mean: 0.0, deviation: 0.0, windows: 0.0 } };
        feature.null = feature.null(column, window_rows, windows);
        Ok(feature)
    }

    /// The bins that windows are counted in.
    pub fn sketch(&self, column: DriftColumn<'_>) -> Sketch {
        self.bins.sketch(column)
    }

    /// How far the rows of `window` have moved. With `independent`, p is that of a test for independent rows, on the bins.
    pub fn distance(&self, window: &Sketch, independent: bool) -> Distance {
        let effect = self.effect(&self.rows, window);
        let p = if independent { self.independent_p(window) } else { self.null.p(effect) };
        let (own, other) = (self.rows.present(), window.present());
        let bins = own.iter().zip(other).filter(|(a, b)| **a + **b > 0.0).count();
        let index = psi(own, other).zip(psi_threshold(PSI_ALPHA, bins, own.iter().sum(), other.iter().sum()));
        Distance { effect, threshold: self.null.quantile(), p, psi: index }
    }

    /// Between rows: for numbers the first Wasserstein distance in spreads, for words the Jensen-Shannon distance of base 2; and for
    /// either, where it is more, by how much the share of missing rows differs.
    fn effect(&self, one: &Sketch, other: &Sketch) -> f64 {
        let missing = (one.missing() - other.missing()).abs();
        let moved = match self.bins {
            Bins::Numbers(_) => binned_wasserstein(one, other) / self.spread,
            _ => jensen_shannon(one.present(), other.present()).unwrap_or(0.0),
        };
        moved.max(missing)
    }

    fn null(&self, column: DriftColumn<'_>, window_rows: usize, windows: usize) -> Null {
        // Half-overlapping windows say more of the spread than disjoint ones, and no more than the disjoint ones of its certainty.
        let starts = (0..2 * windows - 1).map(|index| index * window_rows / 2);
        let effect = |start: usize| {
            let window = self.bins.sketch(column.slice(start, start + window_rows));
            self.effect(&self.rows.without(&window), &window).max(EFFECT_FLOOR).ln()
        };
        let logs: Vec<f64> = starts.map(effect).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let square: f64 = logs.iter().map(|log| (log - mean) * (log - mean)).sum();
        Null { mean, deviation: (square / (logs.len() - 1) as f64).sqrt(), windows: windows as f64 }
    }

    fn independent_p(&self, window: &Sketch) -> f64 {
        let (own, other) = (self.rows.present(), window.present());
        match self.bins {
            Bins::Numbers(_) => {
                let (n, m): (f64, f64) = (own.iter().sum(), other.iter().sum());
                if !(n > 0.0 && m > 0.0) {
                    return 1.0;
                }
                let (mut a, mut b, mut most) = (0.0, 0.0, 0.0f64);
                for (own, other) in own.iter().zip(other) {
                    (a, b) = (a + own / n, b + other / m);
                    most = most.max((a - b).abs());
                }
                ks_p(most, n, m)
            }
            _ => chi_squared(own, other).map_or(1.0, |found| found.p),
        }
    }
}

impl Null {
    /// The chance of an effect as large as this, or larger, in a window like those of the reference.
    fn p(&self, effect: f64) -> f64 {
        let Some((law, scale)) = self.law() else { return 1.0 };
        law.sf((effect.max(EFFECT_FLOOR).ln() - self.mean) / scale)
    }

    /// The effect that so many of the usual windows stay below.
    fn quantile(&self) -> f64 {
        self.law().map_or(f64::INFINITY, |(law, scale)| (self.mean + law.inverse_cdf(NULL_QUANTILE) * scale).exp())
    }

    fn law(&self) -> Option<(StudentsT, f64)> {
        let law = StudentsT::new(0.0, 1.0, (self.windows - 1.0).max(1.0)).ok()?;
        // Where all windows moved alike, a little more is still nothing new.
        Some((law, self.deviation.max(0.1) * (1.0 + 1.0 / self.windows.max(1.0)).sqrt()))
    }
}

/// The interquartile range in standard deviations; where it is 0 the standard deviation; `None` where that is 0 too.
fn spread(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let iqr = (sorted[last * 3 / 4] - sorted[last / 4]) / NORMAL_IQR;
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let deviation = (sorted.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / sorted.len() as f64).sqrt();
    [iqr, deviation].into_iter().find(|spread| *spread > 0.0 && spread.is_finite())
}

/// The first Wasserstein distance between rows that lie at the means of their bins, in the unit of the values.
fn binned_wasserstein(one: &Sketch, other: &Sketch) -> f64 {
    let (n, m): (f64, f64) = (one.present().iter().sum(), other.present().iter().sum());
    if !(n > 0.0 && m > 0.0) {
        return 0.0;
    }
    let points = |sketch: &Sketch, total: f64, sign: f64| -> Vec<(f64, f64)> {
        let bins = sketch.present().iter().zip(&sketch.sums).filter(|(count, _)| **count > 0.0);
        bins.map(|(count, sum)| (sum / count, sign * count / total)).collect()
    };
    let mut steps = points(one, n, 1.0);
    steps.extend(points(other, m, -1.0));
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut area, mut height) = (0.0, 0.0);
    for pair in steps.windows(2) {
        height += pair[0].1;
        area += f64::abs(height) * (pair[1].0 - pair[0].0);
    }
    area
}
