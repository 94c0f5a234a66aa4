//! Raw columns to the types of the contract.
//!
//! A cell that cannot be read quarantines its row: `time:<column>` where the event time is missing or no instant, `type:<column>`
//! elsewhere. The time column is looked at first, then the columns in the contract's order; the first that fails names the reason.
//! An empty cell is missing, which is not a failure of type. When every row of a batch fails at one column, the column has changed
//! and not the rows: that is an error, and nothing is quarantined.
//!
//! Columns of the result: id (text, as it came), time (timestamp), label (text), then the contract's columns. A name occurs once: a
//! contract column stands before the label, the label before the id, the id before the time. So a column that is both id and time is
//! held once, as the id; its instants are in [`Typed::event_time`] and in the part's own event-time column.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use rayon::prelude::*;
use tidegate_vocab::{Batch, Contract, DType, Role, TimeColumn, Timestamp};

use crate::DatasetError;
pub(crate) use column::text_of;
use column::{Converted, Target};

mod column;

/// A batch of at least this many rows which all fail at one column has a column that changed, not rows that are wrong.
pub const TYPE_CHANGED_ROWS_MIN: usize = 20;

/// Rows of one raw batch in the contract's types.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed {
    /// The rows whose cells could all be read, in order; columns as the module says.
    pub rows: Batch,
    /// For each row of `rows`, its position in the raw batch; rising.
    pub row_index: Vec<u32>,
    /// For each row of `rows`, its event time in microseconds since 1970.
    pub event_time: Vec<i64>,
    /// Positions in the raw batch of the other rows, rising, each with its reason.
    pub quarantined: Vec<(u32, String)>,
}

/// Gives the columns of `raw` the types of `contract`. Columns that the contract does not name are left out. Where the contract has
/// no time column, `polled_at` is every row's event time. Columns are converted in parallel; the result does not depend on it.
///
/// # Errors
/// [`DatasetError::ContractBroken`] when a column vanished or changed its type, [`DatasetError::ContractAmbiguous`] when the label is
/// also a feature or the time.
pub fn typed(raw: &Batch, contract: &Contract, polled_at: Timestamp) -> Result<Typed, DatasetError> {
    let wanted = wanted(contract)?;
    let sources = wanted.iter().map(|wanted| source(raw, wanted, contract)).collect::<Result<Vec<_>, _>>()?;
    let converted: Vec<Option<Converted>> =
        wanted.par_iter().zip(&sources).map(|(wanted, source)| column::convert(source, &wanted.target)).collect();

    let row_count = raw.row_count();
    let mut columns = Vec::with_capacity(wanted.len());
    for ((wanted, source), converted) in wanted.iter().zip(&sources).zip(converted) {
        let converted = converted.ok_or_else(|| wanted.broken(vec![column::type_name(source.data_type())]))?;
        if converted.failed.len() == row_count && row_count >= TYPE_CHANGED_ROWS_MIN {
            return Err(wanted.broken(column::examples(source)));
        }
        columns.push(converted);
    }
    gather(row_count, &wanted, columns, polled_at)
}

/// The columns of [`Typed::rows`] for `contract`, without rows.
pub(crate) fn empty(contract: &Contract) -> Result<Batch, DatasetError> {
    let columns = wanted(contract)?.into_iter().filter_map(|wanted| {
        let array = arrow::array::new_empty_array(&wanted.target.dtype().arrow());
        Some((wanted.name, wanted.role?, array))
    });
    Batch::new(columns.collect()).map_err(|source| DatasetError::Batch { source })
}

/// One column to be made.
struct Wanted {
    name: String,
    /// `None`: the column is only read for its instants.
    role: Option<Role>,
    target: Target,
}

impl Wanted {
    fn broken(&self, found: Vec<String>) -> DatasetError {
        DatasetError::ContractBroken { column: self.name.clone(), expected: self.target.describe(), found }
    }

    fn reason(&self) -> String {
        match self.target {
            Target::Instant(_) => format!("time:{}", self.name),
            _ => format!("type:{}", self.name),
        }
    }
}

/// The columns to make, in the order of the result; the time column is looked at first wherever it stands.
fn wanted(contract: &Contract) -> Result<Vec<Wanted>, DatasetError> {
    let label = contract.label.column.as_str();
    let is_column = |name: &str| contract.columns.iter().any(|column| column.name == name);
    let ambiguous = |column: &str, first, second| DatasetError::ContractAmbiguous { column: column.to_owned(), first, second };
    if is_column(label) {
        return Err(ambiguous(label, "label", "a column that models see"));
    }
    for (index, column) in contract.columns.iter().enumerate() {
        if contract.columns[..index].iter().any(|earlier| earlier.name == column.name) {
            return Err(ambiguous(&column.name, "one column", "another column"));
        }
    }
    let mut wanted = Vec::with_capacity(contract.columns.len() + 3);
    if let Some(id) = contract.id.as_deref().filter(|id| *id != label && !is_column(id)) {
        wanted.push(Wanted { name: id.to_owned(), role: Some(Role::Id), target: Target::Text });
    }
    if let Some(time) = &contract.time {
        if time.column == label {
            return Err(ambiguous(label, "label", "time"));
        }
        let held_otherwise = contract.id.as_ref() == Some(&time.column) || is_column(&time.column);
        wanted.push(Wanted {
            name: time.column.clone(),
            role: (!held_otherwise).then_some(Role::Time),
            target: Target::Instant(TimeColumn::clone(time)),
        });
    }
    wanted.push(Wanted { name: label.to_owned(), role: Some(Role::Label), target: Target::TrimmedText });
    wanted.extend(contract.columns.iter().map(|column| Wanted {
        name: column.name.clone(),
        role: Some(column.role.clone()),
        target: match column.dtype {
            DType::F64 => Target::F64,
            DType::I64 => Target::I64,
            DType::Bool => Target::Bool,
            DType::Utf8 => Target::Text,
            DType::TimestampUs => Target::Timestamp,
        },
    }));
    Ok(wanted)
}

fn source(raw: &Batch, wanted: &Wanted, contract: &Contract) -> Result<ArrayRef, DatasetError> {
    // Labels that come by id need no column: until they come, they are missing.
    let labels_later = contract.label.by_id && wanted.role == Some(Role::Label);
    let absent = || labels_later.then(|| arrow::array::new_null_array(&DType::Utf8.arrow(), raw.row_count()));
    raw.column(&wanted.name).cloned().or_else(absent).ok_or_else(|| {
        let names = raw.rows.schema_ref().fields().iter().map(|field| format!("`{}`", field.name())).collect();
        let expected = format!("a column of {}", wanted.target.describe());
        DatasetError::ContractBroken { column: wanted.name.clone(), expected, found: names }
    })
}

/// Takes the rows out that failed anywhere.
fn gather(row_count: usize, wanted: &[Wanted], columns: Vec<Converted>, polled_at: Timestamp) -> Result<Typed, DatasetError> {
    // 0 is "kept", n + 1 is "failed at the column n"; written from the last column to the first, so that the first one stays.
    let mut failed_at: Vec<u32> = Vec::new();
    let is_time = |index: &usize| matches!(wanted[*index].target, Target::Instant(_));
    let (times, others): (Vec<usize>, Vec<usize>) = (0..wanted.len()).partition(is_time);
    for index in times.iter().chain(&others).rev() {
        for row in &columns[*index].failed {
            failed_at.resize(row_count, 0);
            failed_at[*row as usize] = *index as u32 + 1;
        }
    }
    let quarantined: Vec<(u32, String)> = (0u32..)
        .zip(&failed_at)
        .filter(|(_, failed)| **failed > 0)
        .map(|(row, failed)| (row, wanted[*failed as usize - 1].reason()))
        .collect();
    let row_index: Vec<u32> = if failed_at.is_empty() {
        (0..row_count as u32).collect()
    } else {
        (0u32..).zip(&failed_at).filter(|(_, failed)| **failed == 0).map(|(row, _)| row).collect()
    };
    let event_time = match times.first().and_then(|time| columns[*time].instants()) {
        Some(instants) if quarantined.is_empty() => instants.to_vec(),
        Some(instants) => row_index.iter().map(|row| instants[*row as usize]).collect(),
        None => vec![polled_at.0; row_index.len()],
    };
    let keep = (!quarantined.is_empty()).then(|| BooleanArray::from_iter(failed_at.iter().map(|failed| Some(*failed == 0))));
    let mut named = Vec::with_capacity(columns.len());
    for (wanted, converted) in wanted.iter().zip(columns) {
        let Some(role) = wanted.role.clone() else { continue };
        let array = match &keep {
            Some(keep) => arrow::compute::filter(&converted.array, keep).map_err(|source| DatasetError::Rows { source })?,
            None => Arc::clone(&converted.array),
        };
        named.push((wanted.name.clone(), role, array));
    }
    let rows = Batch::new(named).map_err(|source| DatasetError::Batch { source })?;
    Ok(Typed { rows, row_index, event_time, quarantined })
}

#[cfg(test)]
mod tests;
