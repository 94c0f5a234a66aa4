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
use statrs::distribution::{ContinuousCDF as _, Normal};
use tidegate_vocab::Seed;

use crate::Dependence;
use crate::interval::normal_quantile;

/// Groups that the jackknife leaves out in turn: enough for a skewness, and few passes over the rows.
const JACKKNIFE_GROUPS_MAX: usize = 200;

/// How the rows of one decision are resampled.
#[derive(Debug, Clone)]
pub struct Resampling {
    pub(crate) rows: usize,
    resamples: u32,
    pub(crate) scheme: Scheme,
    generator: ChaCha8Rng,
}

#[derive(Debug, Clone)]
pub(crate) enum Scheme {
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

    /// How many resamples a decision has.
    pub(crate) fn resamples(&self) -> u32 {
        self.resamples
    }

    /// How often each row is drawn in resample `index`.
    pub fn weights(&self, index: u32) -> Vec<f64> {
        self.as_weights(&self.drawn(index))
    }

    /// How often each row is drawn where `units` names the first rows of the blocks, the clusters by their first appearance, or
    /// the rows; as many are taken as a resample needs, and one that does not exist counts from the front again.
    pub fn weights_of_units(&self, units: &[usize]) -> Vec<f64> {
        let below = self.units_to_draw_from().max(1);
        self.as_weights(&units.iter().take(self.draws()).map(|unit| (unit % below) as u32).collect::<Vec<_>>())
    }

    /// The units of resample `index`, in the order in which they are drawn: first rows of blocks, clusters, or rows.
    pub(crate) fn drawn(&self, index: u32) -> Vec<u32> {
        let mut generator = self.generator.clone();
        generator.set_stream(u64::from(index));
        let below = self.units_to_draw_from() as u128;
        (0..self.draws()).map(|_| ((u128::from(generator.next_u64()) * below) >> 64) as u32).collect()
    }

    /// How often each row is drawn with these units.
    pub(crate) fn row_counts(&self, drawn: &[u32]) -> Vec<u32> {
        let mut counts = vec![0; self.rows];
        match &self.scheme {
            Scheme::Independent => drawn.iter().for_each(|row| counts[*row as usize] += 1),
            Scheme::Blocks { length } => {
                for (number, start) in drawn.iter().enumerate() {
                    // The last block is cut where the resample is full.
                    let end = *start as usize + (*length).min(self.rows - number * length);
                    counts[*start as usize..end.min(self.rows)].iter_mut().for_each(|count| *count += 1);
                    counts[..end.saturating_sub(self.rows)].iter_mut().for_each(|count| *count += 1);
                }
            }
            Scheme::Clusters { members } => {
                for cluster in drawn {
                    members[*cluster as usize].iter().for_each(|row| counts[*row as usize] += 1);
                }
            }
        }
        counts
    }

    /// The rows of [`JACKKNIFE_GROUPS_MAX`] groups of units at most: neighbours, or clusters. Each is left out once by the jackknife.
    pub(crate) fn groups(&self) -> Vec<Vec<u32>> {
        let groups_of = |units: usize| units.clamp(1, JACKKNIFE_GROUPS_MAX);
        let mut groups = vec![Vec::new(); groups_of(self.units())];
        let count = groups.len();
        match &self.scheme {
            Scheme::Clusters { members } => {
                members.iter().enumerate().for_each(|(cluster, rows)| groups[cluster * count / members.len()].extend(rows));
            }
            _ => (0..self.rows).for_each(|row| groups[row * count / self.rows].push(row as u32)),
        }
        groups
    }

    fn as_weights(&self, drawn: &[u32]) -> Vec<f64> {
        self.row_counts(drawn).into_iter().map(f64::from).collect()
    }

    /// How many units one resample draws.
    fn draws(&self) -> usize {
        match &self.scheme {
            Scheme::Independent => self.rows,
            Scheme::Blocks { length } => self.rows.div_ceil(*length),
            Scheme::Clusters { members } => members.len(),
        }
    }

    fn units_to_draw_from(&self) -> usize {
        match &self.scheme {
            Scheme::Clusters { members } => members.len(),
            _ => self.rows,
        }
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
