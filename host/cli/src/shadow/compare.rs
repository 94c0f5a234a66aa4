//! Two results for the same batch, cell by cell.

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take;
use arrow::datatypes::{Float64Type, Int64Type};
use tidegate_policy::statistic;
use tidegate_sandbox::Cleaned;
use tidegate_vocab::MetricTerms;

use super::{ColumnDifference, Difference, MetricDifference, Pair};

/// What both builds made of one batch.
pub struct ShadowedBatch<'a> {
    /// Rows of the batch.
    pub rows: usize,
    /// Of the old build.
    pub old: &'a Cleaned,
    /// Of the new one.
    pub new: &'a Cleaned,
}

/// Count, sum and sum of squares of a column's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, array: &ArrayRef) {
        let mut one = |value: f64| {
            if value.is_finite() {
                (self.count, self.sum, self.squares) = (self.count + 1.0, self.sum + value, self.squares + value * value);
            }
        };
        if let Some(values) = array.as_primitive_opt::<Float64Type>() {
            values.iter().flatten().for_each(&mut one);
        } else if let Some(values) = array.as_primitive_opt::<Int64Type>() {
            values.iter().flatten().for_each(|value| one(value as f64));
        }
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    fn spread(self) -> Option<f64> {
        let mean = self.mean()?;
        // Rounding may leave a little less than nothing.
        Some((self.squares / self.count - mean * mean).max(0.0).sqrt())
    }
}

/// A column over all batches.
struct Column {
    name: String,
    cells: u64,
    moments: Pair<Moments>,
}

/// Sums up batches of one place.
#[derive(Default)]
pub struct Comparison {
    difference: Difference,
    columns: Vec<Column>,
}

impl Comparison {
    /// Takes in one batch.
    pub fn add(&mut self, batch: &ShadowedBatch<'_>) {
        let (old, new) = (batch.old, batch.new);
        let sum = &mut self.difference;
        sum.batches += 1;
        sum.rows += batch.rows as u64;
        sum.rows_kept.old += old.kept.len() as u64;
        sum.rows_kept.new += new.kept.len() as u64;
        let (at_old, at_new) = positions_of_both(old.kept.positions(), new.kept.positions());
        let both = at_old.len() as u64;
        sum.rows_differ += old.kept.len() as u64 + new.kept.len() as u64 - 2 * both;
        let (at_old, at_new) = (UInt32Array::from(at_old), UInt32Array::from(at_new));
        for (name, _, before) in old.rows.columns() {
            let after = new.rows.column(name);
            let same = after.is_some_and(|after| std::sync::Arc::ptr_eq(before, after)) && old.kept == new.kept;
            self.difference.cells += both;
            if same {
                self.column(name, 0, Some(before), after);
                continue;
            }
            let differ = match after {
                Some(after) => cells_that_differ(before, &at_old, after, &at_new),
                None => both,
            };
            self.difference.cells_differ += differ;
            self.column(name, differ, Some(before), after);
        }
        for (name, _, after) in new.rows.columns().filter(|(name, ..)| old.rows.column(name).is_none()) {
            self.difference.cells += both;
            self.difference.cells_differ += both;
            self.column(name, both, None, Some(after));
        }
    }

    fn column(&mut self, name: &str, cells: u64, before: Option<&ArrayRef>, after: Option<&ArrayRef>) {
        let index = self.columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
            self.columns.push(Column { name: name.to_owned(), cells: 0, moments: Pair::default() });
            self.columns.len() - 1
        });
        let column = &mut self.columns[index];
        column.cells += cells;
        before.into_iter().for_each(|array| column.moments.old.add(array));
        after.into_iter().for_each(|array| column.moments.new.add(array));
    }

    /// What differs.
    pub fn difference(self) -> Difference {
        let columns = self.columns.into_iter().filter(|column| column.cells > 0).map(|column| ColumnDifference {
            name: column.name,
            cells: column.cells,
            mean: Pair { old: column.moments.old.mean(), new: column.moments.new.mean() },
            spread: Pair { old: column.moments.old.spread(), new: column.moments.new.spread() },
        });
        Difference { columns: columns.collect(), ..self.difference }
    }
}

/// Where the rows that both kept stand in each. Both are pairs of where a row stands and which it is, rising.
fn positions_of_both(old: impl Iterator<Item = (u32, u32)>, new: impl Iterator<Item = (u32, u32)>) -> (Vec<u32>, Vec<u32>) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let mut positions = (Vec::new(), Vec::new());
    while let (Some((left, a)), Some((right, b))) = (old.peek().copied(), new.peek().copied()) {
        if a == b {
            positions.0.push(left);
            positions.1.push(right);
        }
        old.next_if(|_| a <= b);
        new.next_if(|_| b <= a);
    }
    positions
}

/// How many cells differ; two that are missing, or not a number, do not.
fn cells_that_differ(before: &ArrayRef, at_old: &UInt32Array, after: &ArrayRef, at_new: &UInt32Array) -> u64 {
    let all = at_old.len() as u64;
    let (Ok(before), Ok(after)) = (take(before, at_old, None), take(after, at_new, None)) else { return all };
    // Of two types nothing is equal.
    distinct(&before, &after).map_or(all, |differ| differ.true_count() as u64)
}

/// The metrics whose terms differ.
pub fn metrics(old: &[MetricTerms], new: &[MetricTerms]) -> Vec<MetricDifference> {
    let find = |all: &[MetricTerms], name: &str| all.iter().find(|terms| terms.metric.name == name).cloned();
    let mut names: Vec<&str> = old.iter().chain(new).map(|terms| terms.metric.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &str| {
        let (before, after) = (find(old, name), find(new, name));
        // As text, because a NaN says that a row does not count and equals another.
        let text = |terms: &Option<MetricTerms>| serde_json::to_string(terms).unwrap_or_default();
        let value = |terms: Option<MetricTerms>| terms.and_then(|terms| statistic(&terms.terms, None));
        (text(&before) != text(&after))
            .then(|| MetricDifference { name: name.to_owned(), value: Pair { old: value(before), new: value(after) } })
    };
    names.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};
    use tidegate_sandbox::Damage;
    use tidegate_vocab::{Batch, Role};

    use super::*;

    fn cleaned(kept: &[u32], columns: &[(&str, &[Option<f64>])], text: &[&str]) -> Cleaned {
        let numbers = columns.iter().map(|(name, values)| {
            let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
            ((*name).to_owned(), Role::Feature, array)
        });
        let text: ArrayRef = Arc::new(StringArray::from(text.to_vec()));
        let rows = Batch::new(numbers.chain([("t".to_owned(), Role::Feature, text)]).collect()).unwrap();
        Cleaned { rows, dropped: Vec::new(), kept: kept.iter().copied().collect(), damage: Damage::default() }
    }

    fn compared(old: &Cleaned, new: &Cleaned) -> Difference {
        let mut comparison = Comparison::default();
        comparison.add(&ShadowedBatch { rows: 5, old, new });
        comparison.difference()
    }

    #[test]
    fn equal_results_do_not_differ() {
        let result = || cleaned(&[0, 2, 3], &[("x", &[Some(1.0), None, Some(f64::NAN)])], &["a", "b", "c"]);
        let difference = compared(&result(), &result());
        assert_eq!((difference.rows, difference.rows_differ, difference.cells, difference.cells_differ), (5, 0, 6, 0));
        assert_eq!((difference.columns.len(), difference.share()), (0, 0.0));
        assert!((difference.dropped_share() - 0.4).abs() < 1e-12);
        assert!(difference.sentence().contains("nothing differs"), "{}", difference.sentence());
    }

    #[test]
    fn rows_are_compared_by_their_number() {
        let old = cleaned(&[0, 1, 2], &[("x", &[Some(1.0), Some(2.0), Some(3.0)])], &["a", "b", "c"]);
        let new = cleaned(&[1, 2, 4], &[("x", &[Some(2.0), Some(5.0), Some(9.0)])], &["b", "c", "e"]);
        let difference = compared(&old, &new);
        assert_eq!((difference.rows_differ, difference.cells, difference.cells_differ), (2, 4, 1));
        let [x] = difference.columns.as_slice() else { panic!("{difference:?}") };
        assert_eq!((x.name.as_str(), x.cells), ("x", 1));
        assert!((x.mean.old.unwrap() - 2.0).abs() < 1e-12 && (x.mean.new.unwrap() - 16.0 / 3.0).abs() < 1e-12);
        assert!((x.spread.old.unwrap() - (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((difference.share() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn columns_of_one_side_differ_in_every_cell() {
        let old = cleaned(&[0, 1], &[("x", &[Some(1.0), Some(2.0)])], &["a", "b"]);
        let new = cleaned(&[0, 1], &[("y", &[Some(1.0), Some(2.0)])], &["a", "b"]);
        let difference = compared(&old, &new);
        assert_eq!((difference.cells, difference.cells_differ), (6, 4));
        assert_eq!(difference.columns.iter().map(|column| (column.name.as_str(), column.cells)).collect::<Vec<_>>(), [("x", 2), ("y", 2)]);
    }
}
