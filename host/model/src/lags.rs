//! Lag features: what was known of earlier rows at the moment when a row came.
//!
//! Invariant: of a moment (the number of a row and its event time), only rows with smaller numbers are seen; their values only where
//! their event time is not later, their labels only where these were known by then. Training, scoring, replaying and answering a
//! request go through the one search in this file, so they cannot differ, and nothing from after a moment reaches it.
//!
//! Rows further back than [`LOOKBACK_ROWS_MAX`] are never seen: what a row sees must not depend on how much was read for it.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, Role, RowColumns, Timestamp};

use crate::column::{self, ColumnError};
use crate::spec::SpecIssue;

/// How many rows before its own a row sees at most.
pub const LOOKBACK_ROWS_MAX: u64 = 10_000;
/// The furthest lag.
pub const LAG_MAX: u32 = 1_000;
/// Lags of one list at most.
pub const LAGS_MAX: usize = 16;

/// Which earlier rows and labels a model sees; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lags {
    /// How many rows back values are taken from; 1 is the row before.
    #[serde(default)]
    pub rows: Vec<u32>,
    /// Whose values; those of all features when absent.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// Which known labels are seen; 1 is that of the latest row whose label is known.
    #[serde(default)]
    pub labels: Vec<u32>,
}

/// Rows with their lag features.
#[derive(Debug, Clone, PartialEq)]
pub struct Lagged {
    /// The rows, each with a column more for every lag.
    pub rows: Batch,
    /// Of each row, whether every lag was found; a row near the beginning has no earlier ones.
    pub complete: Vec<bool>,
}

impl Lags {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.labels.is_empty()
    }

    /// The furthest lag that is asked for; 0 without one.
    pub fn reach(&self) -> u32 {
        self.rows.iter().chain(&self.labels).copied().max().unwrap_or(0)
    }

    /// Every value that is out of its bounds, whatever the contract.
    pub fn check(&self) -> Vec<SpecIssue> {
        let mut issues = Vec::new();
        for (key, lags) in [("lags.rows", &self.rows), ("lags.labels", &self.labels)] {
            let rising = lags.is_sorted_by(|a, b| a < b);
            if lags.len() > LAGS_MAX || !rising || lags.iter().any(|lag| !(1..=LAG_MAX).contains(lag)) {
                let expected = format!("at most {LAGS_MAX} rising numbers from 1 to {LAG_MAX}");
                issues.push(SpecIssue { key, expected, found: format!("{lags:?}") });
            }
        }
        if self.columns.is_some() && self.rows.is_empty() {
            let found = "given without `rows`".to_owned();
            issues.push(SpecIssue { key: "lags.columns", expected: "`rows` beside it, which say how far back".to_owned(), found });
        }
        issues
    }

    /// The first thing that is asked for and that `contract` does not have, or has already.
    pub fn issue_with(&self, contract: &Contract) -> Option<SpecIssue> {
        let features: Vec<&str> = contract.features().collect();
        let unknown = self.columns.iter().flatten().find(|name| !features.contains(&name.as_str()));
        if let Some(name) = unknown {
            let expected = format!("features of the contract ({})", features.join(", "));
            return Some(SpecIssue { key: "lags.columns", expected, found: format!("`{name}`") });
        }
        let taken = self.made(contract).into_iter().find(|made| contract.columns.iter().any(|column| column.name == made.name));
        taken.map(|made| SpecIssue {
            key: "lags.rows",
            expected: "lags whose columns are not in the contract".to_owned(),
            found: format!("`{}`", made.name),
        })
    }

    /// `contract` with a feature more for every lag: what a model with these lags learns from.
    pub fn extend(&self, contract: &Contract) -> Contract {
        let mut extended = contract.clone();
        extended.columns.extend(self.made(contract));
        extended
    }

    /// Gives every row of `history` its lags. The rows are cleaned ones in order of their numbers, with the host's columns, and with
    /// the labels that came later laid over them.
    ///
    /// # Errors
    /// [`ColumnError`] when one of these columns, or a feature of `contract`, is not there.
    pub fn attach(&self, contract: &Contract, history: &Batch) -> Result<Lagged, ColumnError> {
        let past = Past::of(history)?;
        let moments =
            (0..history.row_count()).map(|row| Moment { seen: row, number: past.numbers.value(row), time: past.events.value(row) });
        let found = Found::of(self, &past, moments);
        let columns = self.taken(contract, history, &found)?;
        Ok(Lagged { rows: with(history, columns), complete: found.complete })
    }

    /// Gives every row of `rows`, which are not committed, what is known at `now` of `history`: all get the same.
    ///
    /// # Errors
    /// As of [`Lags::attach`].
    pub fn attach_now(&self, contract: &Contract, history: &Batch, now: Timestamp, rows: &Batch) -> Result<Lagged, ColumnError> {
        let past = Past::of(history)?;
        let number = past.numbers.values().last().map_or(0, |last| last + 1);
        let moment = Moment { seen: history.row_count(), number, time: now.0 };
        let found = Found::of(self, &past, std::iter::repeat_n(moment, rows.row_count()));
        let columns = self.taken(contract, history, &found)?;
        Ok(Lagged { rows: with(rows, columns), complete: found.complete })
    }

    /// The columns that are made, as a contract describes them.
    fn made(&self, contract: &Contract) -> Vec<ContractColumn> {
        let feature = |name: String, dtype| ContractColumn {
            name,
            dtype,
            role: Role::Feature,
            nullable: true,
            low: None,
            high: None,
            categories: None,
        };
        let sources = self.sources(contract);
        let values = self.rows.iter().flat_map(|lag| sources.iter().map(move |(name, dtype)| feature(format!("{name}@{lag}"), *dtype)));
        let labels = self.labels.iter().map(|lag| feature(format!("{}@{lag}", contract.label.column), DType::Utf8));
        values.chain(labels).collect()
    }

    /// The features whose values are taken from earlier rows.
    fn sources<'a>(&self, contract: &'a Contract) -> Vec<(&'a str, DType)> {
        let features = contract.columns.iter().filter(|column| column.role == Role::Feature);
        let wanted = |name: &str| self.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name));
        features.filter(|column| wanted(&column.name)).map(|column| (column.name.as_str(), column.dtype)).collect()
    }

    /// The made columns' values, in the order of [`Lags::made`].
    fn taken(&self, contract: &Contract, history: &Batch, found: &Found) -> Result<Vec<(String, ArrayRef)>, ColumnError> {
        let take = |array: &ArrayRef, rows: &[Option<u32>]| {
            let rows = UInt32Array::from(rows.to_vec());
            arrow::compute::take(array, &rows, None).expect("what was found lies in the history")
        };
        let mut columns = Vec::new();
        for (lag, rows) in self.rows.iter().zip(&found.values) {
            for (name, dtype) in self.sources(contract) {
                columns.push((format!("{name}@{lag}"), take(column::find(history, name, dtype)?, rows)));
            }
        }
        for (lag, rows) in self.labels.iter().zip(&found.labels) {
            let label = &contract.label.column;
            columns.push((format!("{label}@{lag}"), take(column::find(history, label, DType::Utf8)?, rows)));
        }
        Ok(columns)
    }
}

/// `rows` with some columns more, as features.
fn with(rows: &Batch, columns: Vec<(String, ArrayRef)>) -> Batch {
    let own = rows.columns().map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array)));
    let made = columns.into_iter().map(|(name, array)| (name, Role::Feature, array));
    Batch::new(own.chain(made).collect()).expect("lags have a value for each row, and names that no other column has")
}

/// When a row comes.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// How many rows of the history come before it.
    seen: usize,
    number: i64,
    /// Microseconds since 1970.
    time: i64,
}

/// The host's columns of the rows that may be seen.
struct Past<'a> {
    numbers: &'a Int64Array,
    events: &'a TimestampMicrosecondArray,
    known: &'a TimestampMicrosecondArray,
}

impl<'a> Past<'a> {
    fn of(history: &'a Batch) -> Result<Past<'a>, ColumnError> {
        let instants = |name| column::find(history, name, DType::TimestampUs).map(|array| array.as_primitive::<TimestampMicrosecondType>());
        Ok(Past {
            numbers: column::find(history, RowColumns::ROW, DType::I64)?.as_primitive::<Int64Type>(),
            events: instants(RowColumns::EVENT_TIME)?,
            known: instants(RowColumns::KNOWN_TIME)?,
        })
    }
}

/// The positions in the history of what every moment sees, a list a lag.
struct Found {
    values: Vec<Vec<Option<u32>>>,
    labels: Vec<Vec<Option<u32>>>,
    complete: Vec<bool>,
}

impl Found {
    fn of(lags: &Lags, past: &Past<'_>, moments: impl Iterator<Item = Moment>) -> Found {
        let list = |lags: &[u32]| vec![Vec::new(); lags.len()];
        let mut found = Found { values: list(&lags.rows), labels: list(&lags.labels), complete: Vec::new() };
        for moment in moments {
            let value_seen = |row: usize| past.events.value(row) <= moment.time;
            let label_seen = |row: usize| past.known.is_valid(row) && past.known.value(row) <= moment.time;
            let values = nearest(past, moment, &lags.rows, value_seen, &mut found.values);
            let labels = nearest(past, moment, &lags.labels, label_seen, &mut found.labels);
            found.complete.push(values && labels);
        }
        found
    }
}

/// Adds to each list the row that is so many seen rows back, and says whether all were found. `lags` rise.
fn nearest(past: &Past<'_>, moment: Moment, lags: &[u32], is_seen: impl Fn(usize) -> bool, lists: &mut [Vec<Option<u32>>]) -> bool {
    let furthest = moment.number.saturating_sub(LOOKBACK_ROWS_MAX as i64);
    let within = (0..moment.seen).rev().take_while(|row| past.numbers.value(*row) >= furthest);
    let mut seen = within.filter(|row| is_seen(*row));
    let (mut taken, mut all) = (0, true);
    for (lag, list) in lags.iter().zip(lists) {
        let row = seen.nth((lag - taken - 1) as usize);
        taken = *lag;
        all &= row.is_some();
        list.push(row.and_then(|row| u32::try_from(row).ok()));
    }
    all
}

#[cfg(test)]
mod tests;
