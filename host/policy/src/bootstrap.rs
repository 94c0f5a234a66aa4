//! The paired bootstrap: one set of row weights per decision, shared by all rules and both models.
//!
//! Resample `r` draws its weights from stream `r` of one seeded generator, so any number of threads gives the same numbers, and
//! weights never have to be kept: 2,000 resamples of a million rows need the memory of one.
//!
//! How rows are drawn follows the declared dependence. Independent rows: one by one, with replacement (Efron 1979). In time:
//! blocks of ⌈n^⅓⌉ neighbours; the rows form a ring, so that the first and the last are drawn as often as the others and the
//! resampled mean is centred on the observed one (Politis and Romano 1992). Clusters: whole clusters, with replacement.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF as _, Normal};
use tidegate_vocab::Seed;

use crate::Dependence;
use crate::interval::normal_quantile;

/// How the rows of one decision are resampled.
#[derive(Debug, Clone)]
pub struct Resampling {
    rows: usize,
    resamples: u32,
    scheme: Scheme,
    generator: ChaCha8Rng,
}

#[derive(Debug, Clone)]
enum Scheme {
    Independent,
    Blocks { length: usize },
    Clusters { members: Vec<Vec<u32>> },
}

impl Resampling {
    /// A resampling of `rows` rows. `clusters` gives the cluster number of each row, and is used when the dependence is by
    /// cluster; a row beyond it forms a cluster of its own.
    pub fn new(rows: usize, dependence: &Dependence, clusters: &[u32], resamples: u32, seed: Seed) -> Resampling {
        let scheme = match dependence {
            Dependence::Independent => Scheme::Independent,
            Dependence::Time => Scheme::Blocks { length: block_rows(rows) },
            Dependence::Cluster(_) => Scheme::Clusters { members: members(rows, clusters) },
        };
        Resampling { rows, resamples, scheme, generator: seed.rng("bootstrap") }
    }

    /// How many units are drawn from: rows, blocks' worth of rows, or clusters.
    pub fn units(&self) -> usize {
        match &self.scheme {
            Scheme::Independent => self.rows,
            Scheme::Blocks { length } => self.rows.checked_div(*length).unwrap_or(0),
            Scheme::Clusters { members } => members.len(),
        }
    }

    /// How often each row is drawn in resample `index`.
    pub fn weights(&self, index: u32) -> Vec<f64> {
        let mut generator = self.generator.clone();
        generator.set_stream(u64::from(index));
        self.weights_of(std::iter::repeat_with(|| generator.next_u64()))
    }

    /// How often each row is drawn where `units` names the first rows of the blocks, the clusters by their first appearance, or
    /// the rows; as many are taken as a resample needs, and one that does not exist counts from the front again.
    pub fn weights_of_units(&self, units: &[usize]) -> Vec<f64> {
        let below = match &self.scheme {
            Scheme::Clusters { members } => members.len(),
            _ => self.rows,
        };
        // The smallest draw that is mapped to the unit.
        let draw = |unit: &usize| ((((unit % below.max(1)) as u128) << 64).div_ceil(below.max(1) as u128)) as u64;
        self.weights_of(units.iter().map(draw))
    }

    fn weights_of(&self, mut draws: impl Iterator<Item = u64>) -> Vec<f64> {
        let mut weights = vec![0.0; self.rows];
        let mut below = |n: usize| draws.next().map(|draw| ((u128::from(draw) * n as u128) >> 64) as usize);
        match &self.scheme {
            Scheme::Independent => {
                for _ in 0..self.rows {
                    below(self.rows).into_iter().for_each(|row| weights[row] += 1.0);
                }
            }
            Scheme::Blocks { length } => {
                let mut drawn = 0;
                while drawn < self.rows {
                    let Some(start) = below(self.rows) else { break };
                    let count = (*length).min(self.rows - drawn);
                    for offset in 0..count {
                        weights[(start + offset) % self.rows] += 1.0;
                    }
                    drawn += count;
                }
            }
            Scheme::Clusters { members } => {
                for _ in 0..members.len() {
                    let Some(cluster) = below(members.len()) else { break };
                    members[cluster].iter().for_each(|row| weights[*row as usize] += 1.0);
                }
            }
        }
        weights
    }

    /// What `estimate` makes of each resample's weights, in order.
    pub fn map<T: Send>(&self, estimate: impl Fn(&[f64]) -> T + Sync) -> Vec<T> {
        (0..self.resamples).into_par_iter().map(|index| estimate(&self.weights(index))).collect()
    }
}

/// The block length for `rows` neighbours: ⌈rows^⅓⌉, exactly.
fn block_rows(rows: usize) -> usize {
    let mut length = (rows as f64).cbrt() as usize;
    while length > 0 && (length - 1).pow(3) >= rows {
        length -= 1;
    }
    while length.pow(3) < rows {
        length += 1;
    }
    length.max(1)
}

/// The rows of each cluster, clusters in the order of their first row, so that renumbering clusters changes nothing.
fn members(rows: usize, clusters: &[u32]) -> Vec<Vec<u32>> {
    let mut position = std::collections::BTreeMap::new();
    let mut members: Vec<Vec<u32>> = Vec::new();
    for row in 0..rows {
        let index = match clusters.get(row) {
            Some(cluster) => *position.entry(*cluster).or_insert(members.len()),
            None => members.len(),
        };
        if index == members.len() {
            members.push(Vec::new());
        }
        members[index].push(row as u32);
    }
    members
}

/// One-sided percentile bounds, each at error `alpha`: the `alpha` and `1 - alpha` quantiles of the resampled estimates, with
/// linear interpolation; `None` without estimates.
pub fn percentile_bounds(estimates: &[f64], alpha: f64) -> Option<(f64, f64)> {
    quantiles(estimates, alpha, 1.0 - alpha)
}

/// One-sided bounds, each at error `alpha`, corrected for bias and for a spread that changes with the estimate (BCa; Efron 1987).
/// `observed` is the estimate itself, `jackknife` the estimates without one unit (or group of units) at a time. `None` without
/// estimates, and where all of them lie on one side of the observed one, which leaves the bias open.
pub fn bca_bounds(estimates: &[f64], observed: f64, jackknife: &[f64], alpha: f64) -> Option<(f64, f64)> {
    let below = estimates.iter().filter(|estimate| **estimate < observed).count();
    let not_above = estimates.iter().filter(|estimate| **estimate <= observed).count();
    let bias = normal_quantile((below + not_above) as f64 / (2 * estimates.len()) as f64);
    if !bias.is_finite() {
        return None;
    }
    let mean = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
    let powers = |power: i32| jackknife.iter().map(|value| (mean - value).powi(power)).sum::<f64>();
    let spread = powers(2);
    let acceleration = if spread > 0.0 { powers(3) / (6.0 * spread.powf(1.5)) } else { 0.0 };
    let at = |z: f64| Normal::standard().cdf(bias + (bias + z) / (1.0 - acceleration * (bias + z)));
    let z = normal_quantile(alpha);
    quantiles(estimates, at(z), at(-z))
}

/// Two quantiles with linear interpolation.
fn quantiles(estimates: &[f64], low: f64, high: f64) -> Option<(f64, f64)> {
    let mut sorted = estimates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |q: f64| {
        let position = (last as f64 * q).clamp(0.0, last as f64);
        let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        if low == high { low } else { low + position.fract() * (high - low) }
    };
    Some((at(low), at(high)))
}
