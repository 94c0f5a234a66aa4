//! What must hold for the rows that come out of the cleaners.
//!
//! A row has one reason, the first that applies: columns in the contract's order, and of one column `null:<column>` (no value, or
//! NaN, where the contract asks for one), `infinite:<column>`, `range:<column>`, `category:<column>`; last `class:<label>`. A row
//! without a label is let through: labels come late.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType};

use crate::DatasetError;

/// The rows of `rows` that break `contract`: positions, rising, each with its reason.
///
/// # Errors
/// [`DatasetError::CleanedColumn`] when a column is missing or has another type than the contract's: a cleaner is at fault, no row.
pub fn check(rows: &Batch, contract: &Contract) -> Result<Vec<(u32, String)>, DatasetError> {
    let mut broken = Broken { reason_of_row: Vec::new(), row_count: rows.row_count(), reasons: Vec::new() };
    for column in &contract.columns {
        let array = column_of(rows, &column.name, column.dtype)?;
        check_missing(&mut broken, column, array);
        match column.dtype {
            DType::F64 => check_f64(&mut broken, column, array, array.as_primitive::<Float64Type>().values()),
            DType::I64 => check_i64(&mut broken, column, array, array.as_primitive::<Int64Type>().values()),
            DType::TimestampUs => check_i64(&mut broken, column, array, array.as_primitive::<TimestampMicrosecondType>().values()),
            DType::Utf8 => check_category(&mut broken, column, array),
            DType::Bool => {}
        }
    }
    let label = &contract.label;
    let texts = column_of(rows, &label.column, DType::Utf8)?.as_string::<i32>();
    broken.mark("class", &label.column, texts.iter().map(|text| text.is_some_and(|text| !label.classes.iter().any(|class| class == text))));
    Ok(broken.listed())
}

fn column_of<'a>(rows: &'a Batch, name: &str, dtype: DType) -> Result<&'a ArrayRef, DatasetError> {
    let broken = |found: String| DatasetError::CleanedColumn { column: name.to_owned(), expected: dtype.word(), found };
    let array = rows.column(name).ok_or_else(|| broken("nothing: it is gone".into()))?;
    match DType::of(array.data_type()) {
        Some(found) if found == dtype => Ok(array),
        Some(found) => Err(broken(found.word().into())),
        None => Err(broken(array.data_type().to_string())),
    }
}

/// The reason of each row so far. Nothing is allocated until a row breaks.
struct Broken {
    /// 0: none; n + 1: `reasons[n]`.
    reason_of_row: Vec<u32>,
    row_count: usize,
    reasons: Vec<String>,
}

impl Broken {
    fn mark(&mut self, rule: &str, column: &str, breaks: impl Iterator<Item = bool>) {
        let mut code = None;
        for row in breaks.enumerate().filter(|(_, breaks)| *breaks).map(|(row, _)| row) {
            let code = *code.get_or_insert_with(|| {
                self.reason_of_row.resize(self.row_count, 0);
                self.reasons.push(format!("{rule}:{column}"));
                self.reasons.len() as u32
            });
            if self.reason_of_row[row] == 0 {
                self.reason_of_row[row] = code;
            }
        }
    }

    fn listed(self) -> Vec<(u32, String)> {
        let broken = (0u32..).zip(&self.reason_of_row).filter(|(_, code)| **code > 0);
        broken.map(|(row, code)| (row, self.reasons[*code as usize - 1].clone())).collect()
    }
}

fn check_missing(broken: &mut Broken, column: &ContractColumn, array: &ArrayRef) {
    if column.nullable {
        return;
    }
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let numbers = array.as_primitive_opt::<Float64Type>().map(|numbers| numbers.values());
    let any_nan = numbers.is_some_and(|numbers| numbers.iter().any(|value| value.is_nan()));
    if nulls.is_none() && !any_nan {
        return;
    }
    let missing = |row| nulls.is_some_and(|nulls| nulls.is_null(row)) || numbers.is_some_and(|numbers| numbers[row].is_nan());
    broken.mark("null", &column.name, (0..array.len()).map(missing));
}

/// What stands under a null is not a value and is not looked at.
fn check_f64(broken: &mut Broken, column: &ContractColumn, array: &ArrayRef, values: &[f64]) {
    let (low, high) = (column.low.unwrap_or(f64::NEG_INFINITY), column.high.unwrap_or(f64::INFINITY));
    // One branch-free pass finds out whether anything is wrong at all; nearly always nothing is.
    let fine = values.iter().fold(true, |fine, value| fine & (value.abs() < f64::INFINITY) & (*value >= low) & (*value <= high));
    if fine {
        return;
    }
    let valid = |row: usize| array.is_valid(row);
    broken.mark("infinite", &column.name, values.iter().enumerate().map(|(row, value)| value.is_infinite() && valid(row)));
    broken.mark("range", &column.name, values.iter().enumerate().map(|(row, value)| (*value < low || *value > high) && valid(row)));
}

fn check_i64(broken: &mut Broken, column: &ContractColumn, array: &ArrayRef, values: &[i64]) {
    if column.low.is_none() && column.high.is_none() {
        return;
    }
    let outside = |value: f64| column.low.is_some_and(|low| value < low) || column.high.is_some_and(|high| value > high);
    broken.mark("range", &column.name, values.iter().enumerate().map(|(row, value)| array.is_valid(row) && outside(*value as f64)));
}

fn check_category(broken: &mut Broken, column: &ContractColumn, array: &ArrayRef) {
    let Some(categories) = &column.categories else { return };
    let categories: std::collections::HashSet<&str> = categories.iter().map(String::as_str).collect();
    let texts = array.as_string::<i32>();
    broken.mark("category", &column.name, texts.iter().map(|text| text.is_some_and(|text| !categories.contains(text))));
}
