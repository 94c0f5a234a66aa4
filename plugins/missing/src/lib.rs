//! Cleaner `missing`: drops rows with missing values, or fills them with a number.
//!
//! A missing value is a null or a NaN. The work is done by the host's kernels, so no value crosses into the plugin. A row-wise rule:
//! what is filled in never depends on other rows, because serving cleans one row at a time.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Column, Edit, Failure, Issues};

/// The name that stands for every numeric feature.
const ALL: &str = "*";
/// The reason that the manifest lists.
const REASON: &str = "missing";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column name, or `*`, to what happens to a missing value.
    pub columns: BTreeMap<String, Action>,
}

/// What happens to a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its row is quarantined.
    DropRow,
    /// It stays.
    Keep,
    /// It becomes this number.
    Fill(f64),
}

/// The plugin.
pub struct Missing {
    columns: BTreeMap<String, Action>,
}

tidegate_plugin::export!(Missing, cleaner);

impl Cleaner for Missing {
    type Config = Config;

    fn configure(Config { columns }: Config) -> Result<Missing, Issues> {
        let mut issues = Issues::default();
        if columns.is_empty() {
            issues.push("/columns", "no column is named; use `\"*\" = \"drop-row\"` for all numeric features");
        }
        issues.or(Missing { columns })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        for (name, action) in self.columns.iter().filter(|(name, _)| *name != ALL) {
            apply(&rows.column(name)?, *action, edit)?;
        }
        let Some(action) = self.columns.get(ALL) else { return Ok(()) };
        let numeric = |column: &Column| column.role() == "feature" && matches!(column.dtype(), "f64" | "i64");
        for column in rows.columns().filter(|column| numeric(column) && !self.columns.contains_key(column.name())) {
            apply(&column, *action, edit)?;
        }
        Ok(())
    }
}

fn apply(column: &Column, action: Action, edit: &Edit) -> Result<(), Failure> {
    match action {
        Action::Keep => Ok(()),
        Action::DropRow => edit.keep_present(column, REASON),
        Action::Fill(value) => match column.dtype() {
            "f64" => edit.fill_missing(column, value),
            "i64" if value.fract() == 0.0 => edit.fill_missing(column, value),
            dtype => Err(Failure::new(format!("column `{}` is `{dtype}`; {value} cannot fill it", column.name()))),
        },
    }
}

#[cfg(test)]
mod tests;
