//! What a rule tests, computed from the sums of a resample.
//!
//! Everything but a quantile is a function of sums. A quantile is found by its rank: one sum says how many rows were drawn below
//! the place where it lies in the rows as they are, and from there it is a short walk.

use std::borrow::Cow;

use crate::delong::Placements;
use crate::statistic::Prepared;
use crate::sums::{Columns, Place};

/// How one rule's estimate follows from sums.
pub(crate) struct Estimator<'a> {
    own: Side<'a>,
    other: Option<Side<'a>>,
    combine: Combine,
}

/// What is made of the two values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Combine {
    /// The challenger's value less the other's, times 1 or -1.
    Difference { sign: f64 },
    /// The challenger's value by the other's.
    Ratio,
}

impl Combine {
    /// The estimate; `None` where it is no number. A ratio to nothing is no ratio, and one to a negative number turns the rule round.
    pub(crate) fn of(self, own: f64, other: f64) -> Option<f64> {
        let estimate = match self {
            Combine::Ratio if other <= 0.0 => return None,
            Combine::Ratio => own / other,
            Combine::Difference { sign } => sign * (own - other),
        };
        (!estimate.is_nan()).then_some(estimate)
    }
}

/// One value.
enum Side<'a> {
    /// The mean over classes of numerators by denominators.
    Fractions(Vec<(Place, Place)>),
    /// The quantile, with the rows that count by rising value, how many lie below its rank, and the sums of those and of all.
    Quantile { q: f64, sorted: &'a [(u32, f64)], rank: usize, below: Place, all: Place },
    /// The area under the ROC curve, to first order: the means of both placements, less the area itself (each mean is an area, so
    /// that their sum is too much by one; Hájek 1968).
    Area { area: f64, positives: (Place, Place), negatives: (Place, Place) },
}

impl<'a> Estimator<'a> {
    /// The estimator of a difference that is known row by row: its values, and 1 where a row counts.
    pub(crate) fn paired(values: &'a [f64], counted: &'a [f64], columns: &mut Columns<'a>) -> Estimator<'a> {
        let place = (columns.place(Cow::Borrowed(values)), columns.place(Cow::Borrowed(counted)));
        Estimator { own: Side::Fractions(vec![place]), other: None, combine: Combine::Ratio }
    }

    /// The estimator of a value, or of two and what is made of them; `None` where no rows stand behind them.
    pub(crate) fn new(
        own: (&'a Prepared, Option<&Placements>),
        other: Option<(&'a Prepared, Option<&Placements>)>,
        combine: Combine,
        rows: usize,
        columns: &mut Columns<'a>,
    ) -> Option<Estimator<'a>> {
        let own = Side::new(own.0, own.1, rows, columns)?;
        let other = match other {
            Some((prepared, placements)) => Some(Side::new(prepared, placements, rows, columns)?),
            None => None,
        };
        Some(Estimator { own, other, combine })
    }

    /// Whether it needs to know how often each row was drawn.
    pub(crate) fn needs_counts(&self) -> bool {
        [Some(&self.own), self.other.as_ref()].into_iter().flatten().any(|side| matches!(side, Side::Quantile { .. }))
    }

    /// The estimate of one resample.
    pub(crate) fn estimate(&self, sums: &[f64], counts: &[u32]) -> Option<f64> {
        let own = self.own.value(sums, counts)?;
        match &self.other {
            Some(other) => self.combine.of(own, other.value(sums, counts)?),
            None => Some(own),
        }
    }
}

impl<'a> Side<'a> {
    fn new(prepared: &'a Prepared, placements: Option<&Placements>, rows: usize, columns: &mut Columns<'a>) -> Option<Side<'a>> {
        match prepared {
            Prepared::Fractions(classes) => {
                let mut place = |column: &'a [f64]| columns.place(Cow::Borrowed(column));
                let places = classes.iter().map(|(numerators, denominators)| (place(numerators), place(denominators)));
                Some(Side::Fractions(places.collect()))
            }
            Prepared::Quantile { q, sorted } => {
                let rank = (sorted.len().saturating_sub(1) as f64 * q.clamp(0.0, 1.0)) as usize;
                let mut mark = |sorted: &[(u32, f64)]| {
                    let mut column = vec![0.0; rows];
                    sorted.iter().for_each(|(row, _)| column[*row as usize] = 1.0);
                    columns.place(Cow::Owned(column))
                };
                let (below, all) = (mark(&sorted[..rank.min(sorted.len())]), mark(sorted));
                Some(Side::Quantile { q: *q, sorted, rank, below, all })
            }
            Prepared::Ranking { sorted } => {
                let placements = placements?;
                let mut by_row = sorted.clone();
                by_row.sort_unstable_by_key(|(row, _, _)| *row);
                let mut side = |positive: bool, values: &[f64]| {
                    let (mut value_of_row, mut is_one) = (vec![0.0; rows], vec![0.0; rows]);
                    let mut values = values.iter();
                    for (row, _, _) in by_row.iter().filter(|(_, label, _)| *label == positive) {
                        value_of_row[*row as usize] = values.next().copied().unwrap_or(0.0);
                        is_one[*row as usize] = 1.0;
                    }
                    (columns.place(Cow::Owned(value_of_row)), columns.place(Cow::Owned(is_one)))
                };
                let (positives, negatives) = (side(true, &placements.positives), side(false, &placements.negatives));
                Some(Side::Area { area: placements.area(), positives, negatives })
            }
            Prepared::Opaque(_) => None,
        }
    }

    fn value(&self, sums: &[f64], counts: &[u32]) -> Option<f64> {
        let mean = |(values, rows): (Place, Place)| (sums[rows] != 0.0).then(|| sums[values] / sums[rows]);
        let value = match self {
            Side::Fractions(classes) => {
                let (sum, count) = classes.iter().filter_map(|class| mean(*class)).fold((0.0, 0u32), |(sum, n), one| (sum + one, n + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
            Side::Quantile { q, sorted, rank, below, all } => {
                let walk = Walk { sorted, counts, rank: *rank, below: sums[*below] as u64, all: sums[*all] as u64 };
                walk.quantile(*q)
            }
            Side::Area { area, positives, negatives } => mean(*positives).zip(mean(*negatives)).map(|(one, other)| one + other - area),
        };
        value.filter(|value| !value.is_nan())
    }
}

/// Rows by rising value, how often each was drawn, and where to begin: of `all` that were drawn, `below` come before `rank`.
struct Walk<'w> {
    sorted: &'w [(u32, f64)],
    counts: &'w [u32],
    rank: usize,
    below: u64,
    all: u64,
}

impl Walk<'_> {
    /// As of [`crate::statistic`], which goes through all rows.
    fn quantile(&self, q: f64) -> Option<f64> {
        if self.all == 0 || q.is_nan() {
            return None;
        }
        let position = (self.all - 1) as f64 * q.clamp(0.0, 1.0);
        let (low, high) = (self.at(position.floor() as u64)?, self.at(position.ceil() as u64)?);
        Some(if low == high { low } else { low + position.fract() * (high - low) })
    }

    /// The value of the drawn row number `position`, from 0.
    fn at(&self, position: u64) -> Option<f64> {
        let count = |row: u32| u64::from(self.counts.get(row as usize).copied().unwrap_or(0));
        let mut before = self.below;
        if position >= before {
            for (row, value) in self.sorted.get(self.rank..)? {
                before += count(*row);
                if before > position {
                    return Some(*value);
                }
            }
            return None;
        }
        for (row, value) in self.sorted.get(..self.rank)?.iter().rev() {
            before -= count(*row);
            if before <= position {
                return Some(*value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_vocab::{Seed, Terms};

    use super::*;
    use crate::bootstrap::Resampling;
    use crate::{Dependence, rows_counted, statistic};

    fn check(terms: &Terms, dependence: &Dependence, clusters: &[u32]) {
        let counted = rows_counted(terms);
        let prepared = Prepared::of(terms, &counted);
        let mut columns = Columns::default();
        let estimator = Estimator::new((&prepared, None), None, Combine::Ratio, counted.len(), &mut columns).expect("it has rows");
        let resampling = Resampling::new(counted.len(), dependence, clusters, 40, Seed(3));
        let found = columns.map(&resampling, estimator.needs_counts(), |sums, counts| estimator.estimate(sums, counts));
        for (index, found) in found.into_iter().enumerate() {
            let expected = statistic(terms, Some(&resampling.weights(index as u32)));
            let near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                (found, expected) => found == expected,
            };
            assert!(near, "{dependence:?} {index}: {found:?} {expected:?} of {terms:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Sums and walks give what the statistic of the repeated rows is.
        #[test]
        fn estimates_are_statistics_of_the_repeated_rows(
            values in proptest::collection::vec(prop_oneof![4 => -2.0..3.0f64, 1 => Just(1.0), 1 => Just(f64::NAN)], 1..150),
            q in 0.0..=1.0f64,
            groups in 1u32..20,
        ) {
            let clusters: Vec<u32> = (0..values.len() as u32).map(|row| row % groups).collect();
            for dependence in [Dependence::Independent, Dependence::Time, Dependence::Cluster("station".into())] {
                check(&Terms::Mean { values: values.clone() }, &dependence, &clusters);
                check(&Terms::Quantile { q, values: values.clone() }, &dependence, &clusters);
                let denominators = values.iter().map(|value| 1.0 + value * value).collect();
                check(&Terms::Ratio { numerators: values.clone(), denominators }, &dependence, &clusters);
            }
        }
    }
}
