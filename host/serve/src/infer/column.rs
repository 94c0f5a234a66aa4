//! From the values of a tensor to a column of the contract.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use tidegate_vocab::DType;

use super::request::Cell;

/// Datatypes of the protocol that hold integers.
const INTEGERS: [&str; 8] = ["INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"];
/// Datatypes of the protocol that hold other numbers.
const FLOATS: [&str; 4] = ["FP64", "FP32", "FP16", "BF16"];

/// The datatype under which a column is announced.
pub(crate) fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "FP64",
        DType::I64 | DType::TimestampUs => "INT64",
        DType::Bool => "BOOL",
        DType::Utf8 => "BYTES",
    }
}

/// The datatypes that a tensor of such a column may have, for messages; `None` when `found` is one of them.
pub(crate) fn expected_instead_of(found: &str, dtype: DType) -> Option<&'static str> {
    let (is_accepted, expected) = match dtype {
        DType::F64 => (FLOATS.contains(&found) || INTEGERS.contains(&found), "`FP64`, another `FP` type or an integer type"),
        DType::I64 => (INTEGERS.contains(&found), "`INT64` or another integer type"),
        DType::Bool => (found == "BOOL", "`BOOL`"),
        DType::Utf8 => (found == "BYTES", "`BYTES`"),
        DType::TimestampUs => (found == "INT64" || found == "BYTES", "`INT64` (microseconds since 1970) or `BYTES` (ISO 8601)"),
    };
    (!is_accepted).then_some(expected)
}

/// A value that does not fit its column: where, and what the column holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The row, from 0.
    pub row: usize,
    /// What a value must be.
    pub expected: &'static str,
}

/// The column of `cells`. Numbers are taken as written: `0.1` of an `FP32` tensor is the same double as of an `FP64` one, because
/// the model was trained on doubles.
pub(crate) fn array(cells: &[Cell<'_>], dtype: DType) -> Result<ArrayRef, Misfit> {
    Ok(match dtype {
        DType::F64 => Arc::new(numbers(cells)?),
        DType::I64 => Arc::new(collect::<Int64Array, i64>(cells, "an integer", |cell| match cell {
            Cell::Integer(value) => Some(*value),
            _ => None,
        })?),
        DType::Bool => Arc::new(collect::<BooleanArray, bool>(cells, "true or false", |cell| match cell {
            Cell::Bool(value) => Some(*value),
            _ => None,
        })?),
        DType::Utf8 => Arc::new(texts(cells)?),
        DType::TimestampUs => {
            let expected = "microseconds since 1970 or an ISO 8601 instant";
            Arc::new(collect::<TimestampMicrosecondArray, i64>(cells, expected, micros)?.with_timezone("UTC"))
        }
    })
}

fn numbers(cells: &[Cell<'_>]) -> Result<Float64Array, Misfit> {
    let number = |cell: &Cell<'_>| match cell {
        Cell::Number(value) => Some(*value),
        Cell::Integer(value) => Some(*value as f64),
        _ => None,
    };
    if cells.contains(&Cell::Null) {
        return collect::<Float64Array, f64>(cells, "a number", number);
    }
    let mut values = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        values.push(number(cell).ok_or(Misfit { row, expected: "a number" })?);
    }
    Ok(Float64Array::from(values))
}

fn texts(cells: &[Cell<'_>]) -> Result<StringArray, Misfit> {
    let text = |(row, cell)| match cell {
        &Cell::Null => Ok(None),
        Cell::Text(text) => Ok(Some(text.as_ref())),
        _ => Err(Misfit { row, expected: "a text" }),
    };
    cells.iter().enumerate().map(text).collect()
}

fn collect<A: FromIterator<Option<T>>, T>(
    cells: &[Cell<'_>],
    expected: &'static str,
    value: impl Fn(&Cell<'_>) -> Option<T>,
) -> Result<A, Misfit> {
    let value = |(row, cell): (usize, &Cell<'_>)| match cell {
        Cell::Null => Ok(None),
        cell => value(cell).map(Some).ok_or(Misfit { row, expected }),
    };
    cells.iter().enumerate().map(value).collect()
}

fn micros(cell: &Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Integer(micros) => Some(*micros),
        Cell::Text(text) => text.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond()),
        _ => None,
    }
}
