//! The host kernels: what every cleaner does, at native speed and without moving a column into the guest.
//!
//! Pure functions over slices. A missing value (null or NaN) is left to `fill`, and compares as inside every range.

use arrow::buffer::{BooleanBuffer, NullBuffer};

/// Values below `low` become `low`, above `high` become `high`; NaN stays.
pub(crate) fn clip_f64(values: &[f64], low: f64, high: f64) -> Vec<f64> {
    values.iter().map(|&value| clip_one(value, low, high)).collect()
}

/// [`clip_f64`] on values that are already a copy.
pub(crate) fn clip_f64_in_place(values: &mut [f64], low: f64, high: f64) {
    for value in values {
        *value = clip_one(*value, low, high);
    }
}

/// The same for integers; the bounds are rounded inwards.
pub(crate) fn clip_i64(values: &[i64], low: f64, high: f64) -> Vec<i64> {
    // `as` saturates: a bound beyond the integers clips nothing on that side.
    let (low, high) = (low.ceil() as i64, high.floor() as i64);
    values.iter().map(|&value| value.max(low).min(high)).collect()
}

#[inline]
fn clip_one(value: f64, low: f64, high: f64) -> f64 {
    let raised = if value < low { low } else { value };
    if raised > high { high } else { raised }
}

#[inline]
fn outside(value: f64, low: f64, high: f64) -> bool {
    (value < low) | (value > high)
}

/// Makes the bits of every NaN those of [`f64::NAN`]: which NaN an operation gives differs between processors.
pub(crate) fn canonical_nans(values: &mut [f64]) {
    // Looking is vectorised and writes nothing; most columns have none.
    if count(values.iter().map(|value| value.is_nan())) > 0 {
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = f64::NAN);
    }
}

/// The value, with the one pattern of bits that stands for all that are not a number.
#[inline]
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// How many hold. The sum wraps, because a check for overflow in it would keep the loop from being vectorised; no slice is that long.
#[inline]
fn count(flags: impl Iterator<Item = bool>) -> u64 {
    flags.fold(0_u64, |count, flag| count.wrapping_add(u64::from(flag)))
}

/// Nulls and NaNs become `with`; `None` when there are none.
pub(crate) fn fill_f64(values: &[f64], nulls: Option<&NullBuffer>, with: f64) -> Option<Vec<f64>> {
    if count_missing(values, nulls) == 0 {
        return None;
    }
    let mut filled: Vec<f64> = values.iter().map(|&value| if value.is_nan() { with } else { value }).collect();
    if let Some(nulls) = nulls {
        for (value, valid) in filled.iter_mut().zip(nulls.iter()) {
            if !valid {
                *value = with;
            }
        }
    }
    Some(filled)
}

/// How many values are null or NaN.
fn count_missing(values: &[f64], nulls: Option<&NullBuffer>) -> u64 {
    match nulls {
        None => count(values.iter().map(|value| value.is_nan())),
        Some(nulls) => count(values.iter().zip(nulls.iter()).map(|(value, valid)| !valid || value.is_nan())),
    }
}

/// Nulls become `with`; `None` when there are none.
pub(crate) fn fill_i64(values: &[i64], nulls: Option<&NullBuffer>, with: i64) -> Option<Vec<i64>> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    Some(values.iter().zip(nulls.iter()).map(|(value, valid)| if valid { *value } else { with }).collect())
}

/// Which rows are to go because the value is missing; `None` when none is.
pub(crate) fn missing_f64(values: &[f64], nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    (count_missing(values, nulls) > 0).then(|| match nulls {
        None => BooleanBuffer::collect_bool(values.len(), |row| values[row].is_nan()),
        Some(nulls) => BooleanBuffer::collect_bool(values.len(), |row| nulls.is_null(row) || values[row].is_nan()),
    })
}

/// Which rows are to go because the value is outside `low..=high`; `None` when none is.
pub(crate) fn outside_f64(values: &[f64], nulls: Option<&NullBuffer>, low: f64, high: f64) -> Option<BooleanBuffer> {
    (count(values.iter().map(|&value| outside(value, low, high))) > 0).then(|| {
        let out = BooleanBuffer::collect_bool(values.len(), |row| outside(values[row], low, high));
        nulls.map_or(out.clone(), |nulls| &out & nulls.inner())
    })
}

/// The same for integers.
pub(crate) fn outside_i64(values: &[i64], nulls: Option<&NullBuffer>, low: f64, high: f64) -> BooleanBuffer {
    let out = BooleanBuffer::collect_bool(values.len(), |row| outside(values[row] as f64, low, high));
    nulls.map_or(out.clone(), |nulls| &out & nulls.inner())
}

/// How many cells differ, bit by bit; a cell that is null on both sides does not.
pub(crate) fn count_changed<T: Copy>(
    old: &[T],
    old_nulls: Option<&NullBuffer>,
    new: &[T],
    new_nulls: Option<&NullBuffer>,
    bits: impl Fn(T) -> u64,
) -> u64 {
    if old_nulls.is_none() && new_nulls.is_none() {
        return count(old.iter().zip(new).map(|(old, new)| bits(*old) != bits(*new)));
    }
    let valid = |nulls: Option<&NullBuffer>, row| nulls.is_none_or(|nulls: &NullBuffer| nulls.is_valid(row));
    let differs = |row: &usize| match (valid(old_nulls, *row), valid(new_nulls, *row)) {
        (true, true) => bits(old[*row]) != bits(new[*row]),
        (old, new) => old != new,
    };
    (0..old.len()).filter(differs).count() as u64
}

/// The validity of `rows` rows after the window from `start` was overwritten; `valid` is empty when all of it is present.
pub(crate) fn patch_nulls(nulls: Option<&NullBuffer>, rows: usize, start: usize, count: usize, valid: &[u8]) -> Option<NullBuffer> {
    let all_present = valid.iter().all(|byte| *byte != 0);
    if all_present && nulls.is_none() {
        return None;
    }
    let patched = BooleanBuffer::collect_bool(rows, |row| {
        if (start..start + count).contains(&row) {
            valid.is_empty() || valid[row - start] != 0
        } else {
            nulls.is_none_or(|nulls| nulls.is_valid(row))
        }
    });
    Some(NullBuffer::new(patched)).filter(|nulls| nulls.null_count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nulls_of(valid: &[bool]) -> Option<NullBuffer> {
        Some(NullBuffer::from(valid.to_vec())).filter(|nulls| nulls.null_count() > 0)
    }

    #[test]
    fn clip_leaves_missing_values() {
        let values = [-9.0, 0.5, f64::NAN, 9.0];
        let clipped = clip_f64(&values, -1.0, 1.0);
        assert_eq!((clipped[0], clipped[1], clipped[3]), (-1.0, 0.5, 1.0));
        assert!(clipped[2].is_nan());
    }

    #[test]
    fn a_cell_that_is_null_on_both_sides_did_not_change() {
        let (old, new) = (nulls_of(&[true, false, false]), nulls_of(&[true, false, true]));
        assert_eq!(count_changed(&[1.0, 2.0, 3.0], old.as_ref(), &[1.5, 9.0, 3.0], new.as_ref(), f64::to_bits), 2);
        assert_eq!(count_changed(&[f64::NAN, 0.0], None, &[f64::NAN, -0.0], None, f64::to_bits), 1);
    }

    #[test]
    fn integers_are_clipped_to_the_integers_within_the_bounds() {
        assert_eq!(clip_i64(&[-5, 0, 5], -1.5, 1.5), [-1, 0, 1]);
        assert_eq!(clip_i64(&[i64::MIN, i64::MAX], f64::NEG_INFINITY, f64::INFINITY), [i64::MIN, i64::MAX]);
    }

    #[test]
    fn fill_takes_nulls_and_nans() {
        let nulls = nulls_of(&[true, false, true]);
        assert_eq!(fill_f64(&[1.0, 2.0, f64::NAN], nulls.as_ref(), 7.0), Some(vec![1.0, 7.0, 7.0]));
        assert_eq!(fill_f64(&[1.0], None, 7.0), None);
        assert_eq!(fill_i64(&[1, 2, 3], nulls.as_ref(), 7), Some(vec![1, 7, 3]));
    }

    #[test]
    fn a_missing_value_is_inside_every_range() {
        let nulls = nulls_of(&[true, false, true, true]);
        let out = outside_f64(&[f64::NAN, 99.0, 99.0, 0.0], nulls.as_ref(), -1.0, 1.0);
        assert_eq!(out.map(|out| out.iter().collect::<Vec<_>>()), Some(vec![false, false, true, false]));
    }

    #[test]
    fn a_patched_window_keeps_the_rest() {
        let nulls = nulls_of(&[false, true, true, false]);
        let patched = patch_nulls(nulls.as_ref(), 4, 1, 2, &[0, 1]).map(|nulls| nulls.iter().collect::<Vec<_>>());
        assert_eq!(patched, Some(vec![false, false, true, false]));
        assert_eq!(patch_nulls(None, 4, 1, 2, &[]), None);
        assert_eq!(patch_nulls(nulls.as_ref(), 4, 0, 4, &[]), None);
    }

    proptest::proptest! {
        #[test]
        fn clip_is_the_naive_clip(values in proptest::collection::vec(-10.0..10.0f64, 0..9000), low in -5.0..0.0f64, high in 0.0..5.0f64) {
            let naive: Vec<f64> = values.iter().map(|value| value.clamp(low, high)).collect();
            let mut copy = values.clone();
            clip_f64_in_place(&mut copy, low, high);
            proptest::prop_assert_eq!(&copy, &naive);
            proptest::prop_assert_eq!(clip_f64(&values, low, high), naive);
        }
    }
}
