//! Rows in constant memory: how many of them, and their sum, in each bin of a reference.
//!
//! Bins are frozen from the reference, with bins of their own for what lies below and above it, what it has never seen, and what is
//! missing. Two sketches over the same bins add up to that of all their rows.

use serde::{Deserialize, Serialize};

/// Categories that have a bin of their own; a column with more is taken as text.
const CATEGORIES_MAX: usize = 200;
/// Bins of a column of numbers between its smallest and its largest.
const NUMBER_BINS: usize = 64;
/// Bins that the trigrams of texts are hashed into.
const TEXT_BINS: usize = 256;

/// One column of rows, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DriftColumn<'a> {
    /// Numbers; NaN where there is none.
    Numbers(&'a [f64]),
    /// Words; `None` where there is none.
    Words(&'a [Option<&'a str>]),
}

impl<'a> DriftColumn<'a> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            DriftColumn::Numbers(values) => values.len(),
            DriftColumn::Words(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows `from..to`.
    pub fn slice(&self, from: usize, to: usize) -> DriftColumn<'a> {
        match self {
            DriftColumn::Numbers(values) => DriftColumn::Numbers(&values[from..to]),
            DriftColumn::Words(values) => DriftColumn::Words(&values[from..to]),
        }
    }
}

/// What the bins of a column are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bins {
    /// Rising edges: a bin below the first, one above the last, one between each two.
    Numbers(Vec<f64>),
    /// A bin a word, and one for all others.
    Words(Vec<String>),
    /// Trigrams of letters by hash.
    Text,
}

/// How many rows, and their sum, fell into each bin; the last bin is of missing ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Sketch {
    pub counts: Vec<f64>,
    pub sums: Vec<f64>,
    /// Rows, missing ones among them. A text has many trigrams and is one row.
    pub rows: f64,
}

impl Bins {
    /// The bins of reference rows.
    pub fn of(column: DriftColumn<'_>) -> Bins {
        match column {
            DriftColumn::Numbers(values) => {
                let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
                sorted.sort_by(f64::total_cmp);
                let at = |bin: usize| sorted[bin * (sorted.len() - 1) / NUMBER_BINS];
                let mut edges: Vec<f64> = if sorted.is_empty() { Vec::new() } else { (0..=NUMBER_BINS).map(at).collect() };
                edges.dedup();
                Bins::Numbers(edges)
            }
            DriftColumn::Words(values) => {
                let mut words: Vec<&str> = values.iter().flatten().copied().collect();
                words.sort_unstable();
                words.dedup();
                if words.len() > CATEGORIES_MAX {
                    return Bins::Text;
                }
                Bins::Words(words.into_iter().map(str::to_owned).collect())
            }
        }
    }

    /// The number of bins, that of missing rows among them.
    pub fn len(&self) -> usize {
        match self {
            Bins::Numbers(edges) => edges.len() + 2,
            Bins::Words(words) => words.len() + 2,
            Bins::Text => TEXT_BINS + 1,
        }
    }

    /// Rows as counts; a column of another kind than the reference's has only missing rows.
    pub fn sketch(&self, column: DriftColumn<'_>) -> Sketch {
        let mut sketch = Sketch { counts: vec![0.0; self.len()], sums: vec![0.0; self.len()], rows: column.len() as f64 };
        let missing = self.len() - 1;
        let mut add = |bin: usize, value: f64| {
            sketch.counts[bin] += 1.0;
            sketch.sums[bin] += value;
        };
        match (self, column) {
            (Bins::Numbers(edges), DriftColumn::Numbers(values)) => {
                for value in values {
                    match value.is_finite() && !edges.is_empty() {
                        true => add(bin_of(edges, *value), *value),
                        false => add(missing, 0.0),
                    }
                }
            }
            (Bins::Words(words), DriftColumn::Words(values)) => {
                for value in values {
                    let bin = value.map_or(missing, |word| words.binary_search_by(|known| known.as_str().cmp(word)).unwrap_or(words.len()));
                    add(bin, 0.0);
                }
            }
            (Bins::Text, DriftColumn::Words(values)) => {
                for value in values {
                    match value {
                        Some(text) => trigrams(text).for_each(|bin| add(bin, 0.0)),
                        None => add(missing, 0.0),
                    }
                }
            }
            (_, column) => (0..column.len()).for_each(|_| add(missing, 0.0)),
        }
        sketch
    }
}

/// The bin of a number: 0 below all edges, the last above all; the largest value of the reference is not above it.
fn bin_of(edges: &[f64], value: f64) -> usize {
    let last = edges.len() - 1;
    if value == edges[last] { last.max(1) } else { edges.partition_point(|edge| *edge <= value) }
}

/// The bins of a text's trigrams of letters, with its ends marked; FNV-1a (Fowler, Noll and Vo 1991).
fn trigrams(text: &str) -> impl Iterator<Item = usize> {
    let letters: Vec<char> = std::iter::once('\u{2}').chain(text.chars().flat_map(char::to_lowercase)).chain(['\u{3}']).collect();
    let bin = |window: &[char]| {
        let mut buffer = [0; 4];
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for letter in window {
            for byte in letter.encode_utf8(&mut buffer).bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        (hash % TEXT_BINS as u64) as usize
    };
    letters.windows(3).map(bin).collect::<Vec<_>>().into_iter()
}

impl Sketch {
    /// Adds the rows of another sketch over the same bins.
    pub fn merge(&mut self, other: &Sketch) {
        self.rows += other.rows;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
    }

    /// The same without the rows of another sketch that is part of it.
    pub fn without(&self, part: &Sketch) -> Sketch {
        let less = |all: &[f64], part: &[f64]| all.iter().zip(part).map(|(all, part)| all - part).collect();
        Sketch { counts: less(&self.counts, &part.counts), sums: less(&self.sums, &part.sums), rows: self.rows - part.rows }
    }

    /// The share of rows that are missing.
    pub fn missing(&self) -> f64 {
        let missing = self.counts.last().copied().unwrap_or(0.0);
        if self.rows > 0.0 { missing / self.rows } else { 0.0 }
    }

    /// The counts without that of missing rows.
    pub fn present(&self) -> &[f64] {
        &self.counts[..self.counts.len().saturating_sub(1)]
    }
}
