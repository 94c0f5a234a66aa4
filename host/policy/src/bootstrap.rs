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
use tidegate_vocab::Seed;

use crate::Dependence;

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
        let mut weights = vec![0.0; self.rows];
        if self.rows == 0 {
            return weights;
        }
        let mut generator = self.generator.clone();
        generator.set_stream(u64::from(index));
        let mut below = |n: usize| -> usize { ((u128::from(generator.next_u64()) * n as u128) >> 64) as usize };
        match &self.scheme {
            Scheme::Independent => {
                for _ in 0..self.rows {
                    weights[below(self.rows)] += 1.0;
                }
            }
            Scheme::Blocks { length } => {
                let mut drawn = 0;
                while drawn < self.rows {
                    let start = below(self.rows);
                    let count = (*length).min(self.rows - drawn);
                    for offset in 0..count {
                        weights[(start + offset) % self.rows] += 1.0;
                    }
                    drawn += count;
                }
            }
            Scheme::Clusters { members } => {
                for _ in 0..members.len() {
                    for row in &members[below(members.len())] {
                        weights[*row as usize] += 1.0;
                    }
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
    let mut sorted = estimates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |q: f64| {
        let position = (last as f64 * q).clamp(0.0, last as f64);
        let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        if low == high { low } else { low + position.fract() * (high - low) }
    };
    Some((at(alpha), at(1.0 - alpha)))
}
