//! Slices: the rows that share a value of a column, judged apart.
//!
//! What holds of all rows may hide what does not of some. Where a gate names columns, its `non-inferior` and bound rules are judged
//! for each of their values too. All slices must pass, so passing needs no correction; the more there are, the likelier one fails by
//! chance, so that a failure must stand after Holm's correction over all slices of its rule. A slice that is missing, or has too few
//! rows, is inconclusive like anything else that cannot be judged.

use serde::{Deserialize, Serialize};
use tidegate_vocab::{RuleVerdict, Verdict};

use crate::sentence::count;

/// Values of a column that are judged apart, at most.
pub const SLICES_MAX: usize = 20;

/// Columns that are judged apart, at most.
pub const SLICE_COLUMNS_MAX: usize = 8;

/// A column whose values are judged apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceRule {
    /// The column.
    pub column: String,
    /// The values that must be there; without them those that are, up to [`SLICES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Rows that each of them needs.
    #[serde(default = "rows_min")]
    pub rows_min: u64,
}

/// Rows that a slice needs where the gate says nothing.
pub(crate) fn rows_min() -> u64 {
    100
}

/// The values of one column on the judged rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceRows {
    /// The distinct values, by first appearance.
    pub values: Vec<String>,
    /// The place in `values` of each row's; one that is not there for a row without.
    pub of_row: Vec<u32>,
}

impl SliceRows {
    /// Numbers the values of the rows.
    pub fn new<'a>(values: impl Iterator<Item = Option<&'a str>>) -> SliceRows {
        let mut places = std::collections::BTreeMap::new();
        let mut rows = SliceRows::default();
        for value in values {
            let place = value.map_or(u32::MAX, |value| {
                *places.entry(value.to_owned()).or_insert_with(|| {
                    rows.values.push(value.to_owned());
                    rows.values.len() as u32 - 1
                })
            });
            rows.of_row.push(place);
        }
        rows
    }

    fn mask(&self, value: &str) -> Vec<bool> {
        let place = self.values.iter().position(|found| found == value);
        self.of_row.iter().map(|of_row| Some(*of_row as usize) == place).collect()
    }
}

/// One slice that a rule is judged on, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slice {
    /// `column = value`, or the column.
    pub(crate) name: String,
    /// Rows that it needs.
    pub(crate) rows_min: u64,
    /// Which rows are in it, or why nobody knows.
    pub(crate) rows: Result<Vec<bool>, String>,
}

/// The slices that `rule` asks for of these rows.
pub(crate) fn slices_of(rule: &SliceRule, found: Option<&SliceRows>) -> Vec<Slice> {
    let SliceRule { column, values, rows_min } = rule;
    let slice = |name: String, rows| Slice { name, rows_min: *rows_min, rows };
    let Some(found) = found else {
        return vec![slice(column.clone(), Err(format!("the rows have no column `{column}`")))];
    };
    if values.is_empty() && found.values.len() > SLICES_MAX {
        let many = count(found.values.len() as u64);
        let why = format!("`{column}` has {many} values and {SLICES_MAX} at most are judged: name those that matter in `values`");
        return vec![slice(column.clone(), Err(why))];
    }
    if values.is_empty() && found.values.is_empty() {
        return vec![slice(column.clone(), Err(format!("no row has a value of `{column}`")))];
    }
    let wanted = if values.is_empty() { &found.values } else { values };
    let one = |value: &String| {
        let is_there = found.values.contains(value);
        let missing = || format!("no row has the value `{value}` in `{column}`");
        slice(format!("{column} = {value}"), is_there.then(|| found.mask(value)).ok_or_else(missing))
    };
    wanted.iter().map(one).collect()
}

/// Lets failures stand only where they do after Holm's correction (1979) over all slices of one rule. `fails_at` says whether slice
/// number so-and-so fails at that error, for those that fail at `alpha` alone.
pub(crate) fn correct_failures(verdicts: &mut [RuleVerdict], alpha: f64, fails_at: impl Fn(usize, f64) -> bool) {
    let count = verdicts.len();
    let failing: Vec<usize> = (0..count).filter(|index| verdicts[*index].verdict == Verdict::Fail).collect();
    let mut rejected: Vec<usize> = Vec::new();
    loop {
        // The smallest p-value that is left may be as large as this; all below it fall in turn.
        let level = alpha / (count - rejected.len()).max(1) as f64;
        let next: Vec<usize> = failing.iter().copied().filter(|index| !rejected.contains(index) && fails_at(*index, level)).collect();
        if next.is_empty() {
            break;
        }
        rejected.extend(next);
    }
    for index in failing {
        let verdict = &mut verdicts[index];
        let found = verdict.reason.strip_prefix("fails: ").unwrap_or(&verdict.reason).to_owned();
        if rejected.contains(&index) {
            verdict.reason = format!("fails: {found}; that stands among {count} slices (Holm)");
        } else {
            verdict.verdict = Verdict::Inconclusive;
            verdict.reason = format!("inconclusive: {found}; it would fail alone, but one of {count} slices may by chance (Holm)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holm;

    /// Rejections of the intervals, level by level, are those of Holm's p-values.
    #[test]
    fn levels_reject_as_adjusted_p_values_do() {
        let cases: [&[f64]; 6] =
            [&[0.001, 0.02, 0.04], &[0.03, 0.03, 0.04], &[0.01, 0.02, 0.03, 0.04], &[0.049], &[0.016, 0.024, 0.9], &[]];
        for p_values in cases {
            let verdict = |p: &f64| RuleVerdict {
                verdict: if *p < 0.05 { Verdict::Fail } else { Verdict::Pass },
                reason: "fails: it".into(),
                rule: String::new(),
                metric: String::new(),
                against: String::new(),
                method: String::new(),
                challenger: None,
                other: None,
                estimate: None,
                interval: None,
                threshold: 0.0,
                alpha: 0.05,
                rows: 1,
            };
            let mut verdicts: Vec<RuleVerdict> = p_values.iter().map(verdict).collect();
            correct_failures(&mut verdicts, 0.05, |index, level| p_values[index] < level);
            let failed: Vec<bool> = verdicts.iter().map(|verdict| verdict.verdict == Verdict::Fail).collect();
            let expected: Vec<bool> = holm(p_values).iter().map(|p| *p < 0.05).collect();
            assert_eq!(failed, expected, "{p_values:?}: {verdicts:?}");
        }
    }
}
