//! Cleaner `range`: clips, drops or blanks values outside a range.
//!
//! Clipping and dropping are done by the host's kernels. Blanking reads a window of values at a time and writes only windows in
//! which something changed. A missing value is never outside.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Column, Edit, Failure, Issues};

/// The name that stands for every numeric feature.
const ALL: &str = "*";
/// The reason that the manifest lists.
const REASON: &str = "out-of-range";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column name, or `*`, to its range.
    pub columns: BTreeMap<String, Range>,
}

/// What a column's values may be, and what happens to the others.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value that stays.
    pub low: Option<f64>,
    /// Largest value that stays.
    pub high: Option<f64>,
    /// What happens to a value outside.
    pub outside: Outside,
}

/// What happens to a value outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outside {
    /// It becomes the nearest bound.
    Clip,
    /// Its row is quarantined.
    DropRow,
    /// It becomes missing.
    Null,
}

/// The plugin.
pub struct Ranges {
    columns: BTreeMap<String, Range>,
}

tidegate_plugin::export!(Ranges, cleaner);

impl Cleaner for Ranges {
    type Config = Config;

    fn configure(Config { columns }: Config) -> Result<Ranges, Issues> {
        let mut issues = Issues::default();
        if columns.is_empty() {
            issues.push("/columns", "no column is named; `*` stands for all numeric features");
        }
        for (name, range) in &columns {
            let pointer = Issues::pointer(["columns", name.as_str()]);
            match (range.low, range.high) {
                (None, None) => issues.push(pointer, "a range needs `low`, `high` or both"),
                (Some(low), Some(high)) if low > high => issues.push(pointer, format!("`low` is {low}, above `high`, {high}")),
                _ => {}
            }
        }
        issues.or(Ranges { columns })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        for (name, range) in self.columns.iter().filter(|(name, _)| *name != ALL) {
            let column = rows.column(name)?;
            if !matches!(column.dtype(), "f64" | "i64") {
                return Err(Failure::new(format!("column `{name}` is `{}`; expected `f64` or `i64`", column.dtype())));
            }
            range.apply(rows, &column, edit)?;
        }
        let Some(range) = self.columns.get(ALL) else { return Ok(()) };
        let numeric = |column: &Column| column.role() == "feature" && matches!(column.dtype(), "f64" | "i64");
        for column in rows.columns().filter(|column| numeric(column) && !self.columns.contains_key(column.name())) {
            range.apply(rows, &column, edit)?;
        }
        Ok(())
    }
}

impl Range {
    fn apply(&self, rows: &Batch, column: &Column, edit: &Edit) -> Result<(), Failure> {
        let (low, high) = (self.low.unwrap_or(f64::NEG_INFINITY), self.high.unwrap_or(f64::INFINITY));
        match self.outside {
            Outside::Clip => edit.clip(column, low, high),
            Outside::DropRow => edit.keep_between(column, low, high, REASON),
            Outside::Null => rows.windows().try_for_each(|window| blank(&window.column(column.name())?, low, high, edit)),
        }
    }
}

/// Makes every value of the window outside `low..=high` missing.
fn blank(column: &Column, low: f64, high: f64, edit: &Edit) -> Result<(), Failure> {
    let outside = |value: f64| value < low || value > high;
    if column.dtype() == "i64" {
        let mut values = column.i64()?;
        let rows: Vec<usize> = (0..values.len()).filter(|row| values.get(*row).is_some_and(|value| outside(value as f64))).collect();
        rows.iter().for_each(|row| values.set(*row, None));
        return if rows.is_empty() { Ok(()) } else { edit.write_i64(column, &values) };
    }
    let mut values = column.f64()?;
    let rows: Vec<usize> = (0..values.len()).filter(|row| values.get(*row).is_some_and(outside)).collect();
    rows.iter().for_each(|row| values.set(*row, None));
    if rows.is_empty() { Ok(()) } else { edit.write_f64(column, &values) }
}

#[cfg(test)]
mod tests;
