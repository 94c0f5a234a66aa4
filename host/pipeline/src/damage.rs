//! What a cleaner did to a batch, in figures, and the bounds that break the circuit.
//!
//! A cleaner that crashes is noticed at once; one that quietly drops half of the rows or halves a column is noticed by the model's
//! users. So every batch is measured before and after each cleaner, and one over a bound is not committed.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde::{Deserialize, Serialize};
use tidegate_sandbox::Cleaned;
use tidegate_vocab::{Batch, PipelineId, PluginName, Role};

/// Rows below which a batch is too small to say anything by its shares.
pub const DAMAGE_ROWS_MIN: u64 = 100;

/// How much a cleaner may do to one batch of at least [`DAMAGE_ROWS_MIN`] rows; what is absent is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DamageBounds {
    /// Share of the rows that it may drop, 0 to 1.
    pub rows_dropped_share_max: Option<f64>,
    /// Share of the cells of features that it may change, 0 to 1.
    pub cells_changed_share_max: Option<f64>,
    /// How far it may move the mean of a feature, in standard deviations before it.
    pub mean_shift_max: Option<f64>,
    /// By what factor, up or down, it may change the standard deviation of a feature.
    pub spread_factor_max: Option<f64>,
}

/// What a cleaner did to one batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DamageDone {
    /// Rows before.
    pub rows_in: u64,
    /// Rows that it dropped.
    pub rows_dropped: u64,
    /// Cells of features before.
    pub cells: u64,
    /// Of these, cells with another value.
    pub cells_changed: u64,
    /// The feature whose mean moved most, and how far, in standard deviations before.
    pub mean_shift: Option<(String, f64)>,
    /// The feature whose standard deviation changed most, and by what factor, at least 1.
    pub spread_factor: Option<(String, f64)>,
}

/// A bound that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageBreach {
    /// The key of the bound.
    pub key: &'static str,
    /// What was found, and the bound.
    pub found: String,
}

impl DamageDone {
    /// Compares a batch with what a cleaner left of it.
    pub fn of(before: &Batch, cleaned: &Cleaned) -> DamageDone {
        let rows_in = before.row_count() as u64;
        let rows_dropped = rows_in - (cleaned.rows.row_count() as u64).min(rows_in);
        let mut done = DamageDone { rows_in, rows_dropped, cells_changed: cleaned.damage.cells_changed(), ..DamageDone::default() };
        for (name, _, old) in before.columns().filter(|(_, role, _)| **role == Role::Feature) {
            done.cells += rows_in;
            let Some(new) = cleaned.rows.column(name).filter(|new| rows_dropped > 0 || !new.to_data().ptr_eq(&old.to_data())) else {
                continue;
            };
            if let (Some(old), Some(new)) = (Moments::of(old), Moments::of(new)) {
                raise(&mut done.mean_shift, name, old.mean_shift(&new));
                raise(&mut done.spread_factor, name, old.spread_factor(&new));
            }
        }
        done
    }
}

impl DamageDone {
    /// Adds it to the counters.
    pub(crate) fn count(&self, pipeline: &PipelineId, plugin: &PluginName) {
        let counters = [
            ("tidegate_plugin_rows_in_total", self.rows_in),
            ("tidegate_plugin_rows_out_total", self.rows_in - self.rows_dropped),
            ("tidegate_plugin_rows_dropped_total", self.rows_dropped),
            ("tidegate_plugin_cells_changed_total", self.cells_changed),
        ];
        for (name, count) in counters {
            metrics::counter!(name, "pipeline" => pipeline.to_string(), "plugin" => plugin.to_string()).increment(count);
        }
        let of_batch = [
            ("tidegate_plugin_mean_shift", self.mean_shift.as_ref().map_or(0.0, |(_, shift)| *shift)),
            ("tidegate_plugin_spread_factor", self.spread_factor.as_ref().map_or(1.0, |(_, factor)| *factor)),
        ];
        for (name, value) in of_batch {
            metrics::gauge!(name, "pipeline" => pipeline.to_string(), "plugin" => plugin.to_string()).set(value);
        }
    }
}

impl DamageBounds {
    /// The first bound that `done` passes.
    pub fn breach(&self, done: &DamageDone) -> Option<DamageBreach> {
        if done.rows_in < DAMAGE_ROWS_MIN {
            return None;
        }
        let over = |found: f64, max: Option<f64>| max.filter(|max| found > *max);
        let share = |key: &'static str, did: &str, (part, of): (u64, u64), what: &str, max: Option<f64>| {
            let found = part as f64 / of.max(1) as f64;
            let max = over(found, max)?;
            Some(DamageBreach { key, found: format!("it {did} {part} of {of} {what} ({:.1} %), `{key}` is {max}", found * 100.0) })
        };
        let column = |key: &'static str, found: &Option<(String, f64)>, max: Option<f64>, told: &dyn Fn(&str, f64) -> String| {
            let (name, found) = found.as_ref()?;
            let max = over(*found, max)?;
            Some(DamageBreach { key, found: format!("it {}, `{key}` is {max}", told(name, *found)) })
        };
        let moved = |name: &str, found: f64| format!("moved the mean of `{name}` by {found:.2} standard deviations");
        let spread = |name: &str, found: f64| format!("changed the spread of `{name}` by a factor of {found:.2}");
        share("rows_dropped_share_max", "dropped", (done.rows_dropped, done.rows_in), "rows", self.rows_dropped_share_max)
            .or_else(|| {
                share("cells_changed_share_max", "changed", (done.cells_changed, done.cells), "cells", self.cells_changed_share_max)
            })
            .or_else(|| column("mean_shift_max", &done.mean_shift, self.mean_shift_max, &moved))
            .or_else(|| column("spread_factor_max", &done.spread_factor, self.spread_factor_max, &spread))
    }
}

/// Keeps the larger of two.
fn raise(most: &mut Option<(String, f64)>, name: &str, value: f64) {
    if most.as_ref().is_none_or(|(_, most)| value > *most) {
        *most = Some((name.to_owned(), value));
    }
}

/// Mean and standard deviation of the values that are there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    /// Those of a column of numbers; `None` of any other, and of one without a value.
    fn of(column: &ArrayRef) -> Option<Moments> {
        match column.data_type() {
            DataType::Float64 => moments(column.as_primitive::<Float64Type>()),
            DataType::Int64 => moments(&column.as_primitive::<Int64Type>().unary(|value| value as f64)),
            _ => None,
        }
    }

    fn mean_shift(&self, after: &Moments) -> f64 {
        let moved = (after.mean - self.mean).abs();
        if moved == 0.0 { 0.0 } else { moved / self.deviation }
    }

    fn spread_factor(&self, after: &Moments) -> f64 {
        let (low, high) = (self.deviation.min(after.deviation), self.deviation.max(after.deviation));
        if low == high { 1.0 } else { high / low }
    }
}

/// Sums from the first value on, so that large values that lie close together keep their spread.
fn moments(column: &Float64Array) -> Option<Moments> {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    let is_there = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row)) && !column.value(row).is_nan();
    let mut sums = Sums { pivot: column.value((0..column.len()).find(|row| is_there(*row))?), ..Sums::default() };
    match nulls {
        None => {
            let (whole, rest) = column.values().as_chunks::<LANES>();
            whole.iter().for_each(|values| sums.add(values));
            let mut last = [f64::NAN; LANES];
            last[..rest.len()].copy_from_slice(rest);
            sums.add(&last);
        }
        Some(nulls) => {
            // A word of the mask is 64 rows, which are eight chunks; what is left of both is the same rows.
            let words = nulls.inner().bit_chunks();
            let masks = words.iter_padded().flat_map(u64::to_le_bytes);
            let (whole, rest) = column.values().as_chunks::<LANES>();
            let mut last = [f64::NAN; LANES];
            last[..rest.len()].copy_from_slice(rest);
            for (values, mask) in whole.iter().chain([&last]).zip(masks) {
                sums.add(&std::array::from_fn(|lane| if mask & (1 << lane) == 0 { f64::NAN } else { values[lane] }));
            }
        }
    }
    Some(sums.moments())
}

/// Values that are summed side by side: one sum after the other would wait for each addition.
const LANES: usize = 8;

#[derive(Default)]
struct Sums {
    pivot: f64,
    count: [f64; LANES],
    sum: [f64; LANES],
    squares: [f64; LANES],
}

impl Sums {
    /// Adds values; NaN is none. Without branches, so that the lanes are added at once.
    fn add(&mut self, values: &[f64; LANES]) {
        for (lane, value) in values.iter().enumerate() {
            let is_there = !value.is_nan();
            let off = if is_there { value - self.pivot } else { 0.0 };
            self.count[lane] += if is_there { 1.0 } else { 0.0 };
            self.sum[lane] += off;
            self.squares[lane] += off * off;
        }
    }

    fn moments(&self) -> Moments {
        let count: f64 = self.count.iter().sum();
        let off = self.sum.iter().sum::<f64>() / count;
        let variance = (self.squares.iter().sum::<f64>() / count - off * off).max(0.0);
        Moments { mean: self.pivot + off, deviation: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tidegate_vocab::KeptRows;

    use super::*;

    const BOUNDS: DamageBounds = DamageBounds {
        rows_dropped_share_max: Some(0.5),
        cells_changed_share_max: Some(0.25),
        mean_shift_max: Some(2.0),
        spread_factor_max: Some(3.0),
    };

    fn check(done: DamageDone, expected: Option<(&str, &str)>) {
        let breach = BOUNDS.breach(&done);
        assert_eq!(breach.as_ref().map(|breach| (breach.key, breach.found.as_str())), expected, "{done:?}");
    }

    #[test]
    fn the_first_bound_that_is_passed_is_told_with_its_figures() {
        let done = DamageDone { rows_in: 1_000, cells: 4_000, ..DamageDone::default() };
        check(done.clone(), None);
        check(DamageDone { rows_dropped: 500, cells_changed: 1_000, ..done.clone() }, None);
        let dropped = "it dropped 501 of 1000 rows (50.1 %), `rows_dropped_share_max` is 0.5";
        check(DamageDone { rows_dropped: 501, ..done.clone() }, Some(("rows_dropped_share_max", dropped)));
        let changed = "it changed 1001 of 4000 cells (25.0 %), `cells_changed_share_max` is 0.25";
        check(DamageDone { cells_changed: 1_001, ..done.clone() }, Some(("cells_changed_share_max", changed)));
        let moved = "it moved the mean of `a` by 2.50 standard deviations, `mean_shift_max` is 2";
        check(DamageDone { mean_shift: Some(("a".into(), 2.5)), ..done.clone() }, Some(("mean_shift_max", moved)));
        let spread = "it changed the spread of `b` by a factor of inf, `spread_factor_max` is 3";
        check(DamageDone { spread_factor: Some(("b".into(), f64::INFINITY)), ..done.clone() }, Some(("spread_factor_max", spread)));
        check(DamageDone { rows_in: 99, rows_dropped: 99, ..done }, None);
    }

    #[test]
    fn a_batch_is_compared_with_what_is_left_of_it() {
        let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let batch = |a: ArrayRef, b: ArrayRef| Batch::new(vec![("a".into(), Role::Feature, a), ("b".into(), Role::Label, b)]).unwrap();
        let label = column(vec![Some(1.0); 4]);
        let before = batch(column(vec![Some(1.0), None, Some(3.0), Some(f64::NAN)]), Arc::clone(&label));
        let cleaned =
            |rows: Batch| Cleaned { dropped: Vec::new(), kept: KeptRows::All(rows.row_count() as u32), rows, damage: Default::default() };
        let same = DamageDone::of(&before, &cleaned(before.clone()));
        assert_eq!(same, DamageDone { rows_in: 4, cells: 4, ..DamageDone::default() }, "labels are not features");
        let doubled = batch(column(vec![Some(2.0), None, Some(6.0), None]), label);
        let done = DamageDone::of(&before, &cleaned(doubled));
        assert_eq!((done.mean_shift, done.spread_factor), (Some(("a".into(), 2.0)), Some(("a".into(), 2.0))));
        let done = DamageDone::of(&before, &cleaned(before.slice(0, 1)));
        assert_eq!((done.rows_dropped, done.spread_factor), (3, Some(("a".into(), f64::INFINITY))));
    }

    proptest! {
        #[test]
        fn sums_in_lanes_are_the_moments(values in proptest::collection::vec(proptest::option::of(-1e3f64..1e3), 1..70), far in 0f64..1e9) {
            let there: Vec<f64> = values.iter().flatten().map(|value| value + far).collect();
            let array: Float64Array = values.iter().map(|value| value.map(|value| value + far)).collect();
            let found = moments(&array);
            prop_assert_eq!(found.is_some(), !there.is_empty());
            if let Some(found) = found {
                let mean = there.iter().sum::<f64>() / there.len() as f64;
                let variance = there.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / there.len() as f64;
                prop_assert!((found.mean - mean).abs() < 1e-4, "{} {}", found.mean, mean);
                prop_assert!((found.deviation - variance.sqrt()).abs() < 1e-3, "{} {}", found.deviation, variance.sqrt());
            }
        }
    }
}
