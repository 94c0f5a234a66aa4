//! Sums of columns under every resample: what all rules of a decision ask the bootstrap for, in one pass.
//!
//! A mean, a ratio, a class ratio and a linearised area are functions of weighted sums of columns. Rules put their columns here,
//! equal ones share a place, and the sums of each resample cost one product of its draws with a table that has a row for every
//! unit that can be drawn: in time the sum over the block that begins at each row, by cluster the sum over its rows. So a block
//! costs as much as a row would, whatever its length.
//!
//! The table lies in groups of [`LANES`] columns, so that a draw is one cache line. Chunks of resamples run on any number of
//! threads; each sum is added up in the order of its own draws, so their number changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::bootstrap::{Resampling, Scheme};

/// Columns beside each other in the table.
const LANES: usize = 8;

/// Resamples of one piece of work.
const CHUNK_RESAMPLES: u32 = 16;

/// Units whose values are multiplied with the counts of all resamples of a chunk before the next ones are touched.
const TILE_UNITS: usize = 512;

/// The place of a column, and of its sum.
pub(crate) type Place = usize;

/// Columns, one value a row, without repetition.
#[derive(Default)]
pub(crate) struct Columns<'a> {
    columns: Vec<Cow<'a, [f64]>>,
    by_checksum: BTreeMap<u64, Vec<Place>>,
}

impl<'a> Columns<'a> {
    /// The place of `column`, that of an equal one where there is one.
    pub(crate) fn place(&mut self, column: Cow<'a, [f64]>) -> Place {
        let checksum = column.iter().fold(0u64, |sum, value| (sum ^ value.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        let places = self.by_checksum.entry(checksum).or_default();
        let is_same = |place: &&Place| {
            let found = &self.columns[**place];
            found.len() == column.len() && found.iter().zip(column.iter()).all(|(one, other)| one.to_bits() == other.to_bits())
        };
        if let Some(place) = places.iter().find(is_same) {
            return *place;
        }
        places.push(self.columns.len());
        self.columns.push(column);
        self.columns.len() - 1
    }

    /// What `estimate` makes of each resample, in order: of the sums by place, and of how often each row was drawn, which is
    /// empty unless `with_counts`.
    pub(crate) fn map<T: Send>(&self, resampling: &Resampling, with_counts: bool, estimate: impl Fn(&[f64], &[u32]) -> T + Sync) -> Vec<T> {
        let table = self.table(resampling);
        let resamples = resampling.resamples();
        let of_chunk = |chunk: u32| -> Vec<T> {
            let first = chunk * CHUNK_RESAMPLES;
            let drawn: Vec<Vec<u32>> = (first..resamples.min(first + CHUNK_RESAMPLES)).map(|index| resampling.drawn(index)).collect();
            let sums = match &resampling.scheme {
                Scheme::Blocks { length } => drawn.iter().map(|drawn| self.of_blocks(resampling, *length, &table, drawn)).collect(),
                _ => dense(&table, &drawn),
            };
            let counts = |drawn: &[u32]| if with_counts { resampling.row_counts(drawn) } else { Vec::new() };
            sums.iter().zip(&drawn).map(|(sums, drawn): (&Vec<f64>, _)| estimate(sums, &counts(drawn))).collect()
        };
        let chunks: Vec<Vec<T>> = (0..resamples.div_ceil(CHUNK_RESAMPLES)).into_par_iter().map(of_chunk).collect();
        chunks.into_iter().flatten().collect()
    }

    /// What `estimate` makes of all rows but one group of neighbouring units at a time: sums and counts as in [`Columns::map`].
    pub(crate) fn without_each_group<T: Send>(&self, resampling: &Resampling, estimate: impl Fn(&[f64], &[u32]) -> T + Sync) -> Vec<T> {
        let totals: Vec<f64> = self.columns.iter().map(|column| column.iter().sum()).collect();
        let without = |rows: &Vec<u32>| {
            let mut counts = vec![1; resampling.rows];
            rows.iter().for_each(|row| counts[*row as usize] = 0);
            let left_out = |column: &[f64]| rows.iter().map(|row| column[*row as usize]).sum::<f64>();
            let sums: Vec<f64> = totals.iter().zip(&self.columns).map(|(total, column)| total - left_out(column)).collect();
            estimate(&sums, &counts)
        };
        resampling.groups().par_iter().map(without).collect()
    }

    /// The sums of `columns` over each unit, in groups of columns.
    fn table(&self, resampling: &Resampling) -> Vec<Vec<[f64; LANES]>> {
        let group = |columns: &[Cow<'_, [f64]>]| -> Vec<[f64; LANES]> {
            let mut rows = vec![[0.0; LANES]; resampling.rows];
            for (lane, column) in columns.iter().enumerate() {
                rows.iter_mut().zip(column.iter()).for_each(|(row, value)| row[lane] = *value);
            }
            match &resampling.scheme {
                Scheme::Independent => rows,
                Scheme::Blocks { length } => block_sums(rows, *length),
                Scheme::Clusters { members } => {
                    members.iter().map(|members| members.iter().fold([0.0; LANES], |sums, row| added(sums, &rows[*row as usize]))).collect()
                }
            }
        };
        self.columns.par_chunks(LANES).map(group).collect()
    }

    /// The sums over drawn blocks, of which the last one is cut where the resample is full.
    fn of_blocks(&self, resampling: &Resampling, length: usize, table: &[Vec<[f64; LANES]>], drawn: &[u32]) -> Vec<f64> {
        let Some((last, whole)) = drawn.split_last() else { return vec![0.0; table.len() * LANES] };
        let mut sums: Vec<f64> = Vec::with_capacity(table.len() * LANES);
        for group in table {
            sums.extend(whole.iter().fold([0.0; LANES], |sums, start| added(sums, &group[*start as usize])));
        }
        let rest = resampling.rows - whole.len() * length;
        for (sum, column) in sums.iter_mut().zip(&self.columns) {
            let rows = (*last as usize..*last as usize + rest).map(|row| row % resampling.rows);
            *sum += rows.map(|row| column[row]).sum::<f64>();
        }
        sums
    }
}

fn added(mut sums: [f64; LANES], values: &[f64; LANES]) -> [f64; LANES] {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    sums
}

/// The sums over the `length` rows from each row on, round the ring. Sums over powers of two are put together, so that nothing is
/// ever taken away again: differences of running totals would lose digits, and all of them to one infinite value.
fn block_sums(rows: Vec<[f64; LANES]>, length: usize) -> Vec<[f64; LANES]> {
    let count = rows.len();
    let plus = |own: &mut [[f64; LANES]], other: &[[f64; LANES]], offset: usize| {
        let (front, back) = other.split_at(offset % count.max(1));
        own.iter_mut().zip(back.iter().chain(front)).for_each(|(own, other)| *own = added(*own, other));
    };
    let mut sums = vec![[0.0; LANES]; count];
    let (mut of_power, mut power, mut covered) = (rows, 1, 0);
    loop {
        if length & power != 0 {
            plus(&mut sums, &of_power, covered);
            covered += power;
        }
        if covered >= length {
            return sums;
        }
        let shorter = of_power.clone();
        plus(&mut of_power, &shorter, power);
        power *= 2;
    }
}

/// The sums of several resamples that draw about as many units as there are: one product of counts and values.
fn dense(table: &[Vec<[f64; LANES]>], drawn: &[Vec<u32>]) -> Vec<Vec<f64>> {
    let units = table.first().map_or(0, Vec::len);
    let mut counts = vec![0.0f64; units * drawn.len()];
    for (drawn, counts) in drawn.iter().zip(counts.chunks_mut(units.max(1))) {
        drawn.iter().filter(|_| units > 0).for_each(|unit| counts[*unit as usize] += 1.0);
    }
    let mut sums = vec![vec![0.0; table.len() * LANES]; drawn.len()];
    for first in (0..units).step_by(TILE_UNITS) {
        let tile = first..units.min(first + TILE_UNITS);
        for (number, group) in table.iter().enumerate() {
            let values = &group[tile.clone()];
            for (resample, sums) in sums.iter_mut().enumerate() {
                let counts = &counts[resample * units..][tile.clone()];
                let product = weighed(counts, values);
                sums[number * LANES..][..LANES].iter_mut().zip(product).for_each(|(sum, part)| *sum += part);
            }
        }
    }
    sums
}

/// The sums of `values`, each counted so often; even and odd ones apart, so that one addition need not wait for another.
fn weighed(counts: &[f64], values: &[[f64; LANES]]) -> [f64; LANES] {
    let mut sums = [[0.0; LANES]; 2];
    let (count_pairs, count_rest) = counts.as_chunks::<2>();
    let (value_pairs, value_rest) = values.as_chunks::<2>();
    for (counts, values) in count_pairs.iter().zip(value_pairs) {
        for turn in 0..2 {
            for lane in 0..LANES {
                sums[turn][lane] += counts[turn] * values[turn][lane];
            }
        }
    }
    for (count, value) in count_rest.iter().zip(value_rest) {
        sums[0] = added(sums[0], &value.map(|value| count * value));
    }
    added(sums[0], &sums[1])
}
