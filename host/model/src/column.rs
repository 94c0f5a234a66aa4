//! Reads feature columns out of batches, by name and type.

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use tidegate_vocab::{Batch, DType};

/// A column that is not there, or not what a model needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// No column has the name.
    #[error("column `{column}` is missing; the rows have {}", list(found))]
    Missing {
        /// The column.
        column: String,
        /// The columns that there are.
        found: Vec<String>,
    },
    /// The column has another type.
    #[error("column `{column}` has type `{found}`; expected `{expected}`")]
    Type {
        /// The column.
        column: String,
        /// The type of the contract.
        expected: &'static str,
        /// The type that was found.
        found: String,
    },
    /// A value is infinite, or so large that it cannot be standardised.
    #[error("column `{column}` is infinite in row {row}")]
    Infinite {
        /// The column.
        column: String,
        /// The row in its batch, from 0.
        row: usize,
    },
}

impl ColumnError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ColumnError::Missing { column, .. } => format!("give the rows a column `{column}`, or take it out of `contract.columns`"),
            ColumnError::Type { column, expected, .. } => format!("make `contract.columns.{column}` and the rows agree on `{expected}`"),
            ColumnError::Infinite { column, .. } => {
                format!("bound `{column}` with `low` and `high` in the contract, or clip it with a cleaner")
            }
        })
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no columns".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The column `name` of type `dtype`.
pub(crate) fn find<'a>(batch: &'a Batch, name: &str, dtype: DType) -> Result<&'a ArrayRef, ColumnError> {
    let Some(array) = batch.column(name) else {
        let found = batch.columns().map(|(name, _, _)| name.to_owned()).collect();
        return Err(ColumnError::Missing { column: name.into(), found });
    };
    if *array.data_type() != dtype.arrow() {
        let found = DType::of(array.data_type()).map_or_else(|| array.data_type().to_string(), |found| found.word().into());
        return Err(ColumnError::Type { column: name.into(), expected: dtype.word(), found });
    }
    Ok(array)
}

/// The numbers of the column `name`; NaN where there is no value.
pub(crate) fn numbers(batch: &Batch, name: &str, dtype: DType) -> Result<Vec<f64>, ColumnError> {
    let array = find(batch, name, dtype)?;
    let or_nan = |value: Option<i64>| value.map_or(f64::NAN, |value| value as f64);
    let values: Vec<f64> = match dtype {
        DType::I64 => array.as_primitive::<Int64Type>().iter().map(or_nan).collect(),
        DType::TimestampUs => array.as_primitive::<TimestampMicrosecondType>().iter().map(or_nan).collect(),
        _ => array.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
    };
    match values.iter().position(|value| value.is_infinite()) {
        Some(row) => Err(ColumnError::Infinite { column: name.into(), row }),
        None => Ok(values),
    }
}

/// The words of the column `name`; `true` and `false` where it is of type `bool`.
pub(crate) fn words<'a>(batch: &'a Batch, name: &str, dtype: DType) -> Result<Vec<Option<&'a str>>, ColumnError> {
    let array = find(batch, name, dtype)?;
    Ok(match dtype {
        DType::Bool => array.as_boolean().iter().map(|value| value.map(|value| if value { "true" } else { "false" })).collect(),
        _ => array.as_string::<i32>().iter().collect(),
    })
}
