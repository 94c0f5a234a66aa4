//! One raw column to one type: text is parsed, numbers are converted where nothing is lost.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, NullBufferBuilder, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use tidegate_vocab::{DType, TimeColumn, Timestamp};

use crate::cell::{self, Cell};
use crate::decimal::decimal_within;

/// What a column shall become.
#[derive(Debug, Clone)]
pub enum Target {
    /// 64-bit floating point.
    F64,
    /// 64-bit integer.
    I64,
    /// True or false.
    Bool,
    /// Text as it came.
    Text,
    /// Text without the blanks around it: classes are compared.
    TrimmedText,
    /// Instants of a feature; may be missing.
    Timestamp,
    /// Instants of the time column; a missing one is a failure.
    Instant(TimeColumn),
}

impl Target {
    /// The type of the converted column.
    pub fn dtype(&self) -> DType {
        match self {
            Target::F64 => DType::F64,
            Target::I64 => DType::I64,
            Target::Bool => DType::Bool,
            Target::Text | Target::TrimmedText => DType::Utf8,
            Target::Timestamp | Target::Instant(_) => DType::TimestampUs,
        }
    }

    /// The type in words.
    pub fn describe(&self) -> String {
        match self {
            Target::F64 => "f64".into(),
            Target::I64 => "i64".into(),
            Target::Bool => "bool".into(),
            Target::Text | Target::TrimmedText => "utf8".into(),
            Target::Timestamp => "timestamp-us".into(),
            Target::Instant(TimeColumn { unit: None, .. }) => "instants (ISO 8601 text, or microseconds since 1970)".into(),
            Target::Instant(TimeColumn { unit: Some(_), .. }) => "numbers that count time from `origin`".into(),
        }
    }
}

/// A column in its new type.
#[derive(Debug)]
pub struct Converted {
    /// The values; whatever stands at a failed row is not to be used.
    pub array: ArrayRef,
    /// Rows that could not be converted, rising.
    pub failed: Vec<u32>,
}

impl Converted {
    /// The values of a column of instants.
    pub fn instants(&self) -> Option<&[i64]> {
        self.array.as_primitive_opt::<TimestampMicrosecondType>().map(|array| array.values().as_ref())
    }
}

/// Converts a column; `None` when its Arrow type cannot become the target's.
pub fn convert(source: &ArrayRef, target: &Target) -> Option<Converted> {
    match (DType::of(source.data_type())?, target) {
        (DType::Utf8, _) => Some(parse(source.as_string::<i32>(), target)),
        (_, Target::Text | Target::TrimmedText) => Some(to_text(source)),
        (DType::F64, Target::F64) | (DType::I64, Target::I64) | (DType::Bool, Target::Bool) | (DType::TimestampUs, Target::Timestamp) => {
            Some(Converted { array: Arc::clone(source), failed: Vec::new() })
        }
        (DType::I64, _) => from_i64(source.as_primitive::<Int64Type>(), target),
        (DType::F64, _) => from_f64(source.as_primitive::<Float64Type>(), target),
        (DType::TimestampUs, Target::Instant(_)) => {
            let instants = source.as_primitive::<TimestampMicrosecondType>();
            Some(cells(instants.len(), instants.nulls(), |row| Cell::Value(instants.value(row))).instants(target))
        }
        (DType::TimestampUs | DType::Bool, _) => None,
    }
}

fn parse(text: &StringArray, target: &Target) -> Converted {
    match target {
        Target::F64 => numbers(text).array(Float64Array::new),
        Target::I64 => parsed(text, cell::i64_of).array(Int64Array::new),
        Target::Timestamp => parsed(text, cell::instant_of).instants(target),
        Target::Instant(TimeColumn { unit: None, .. }) => parsed(text, cell::instant_of).instants(target),
        Target::Instant(TimeColumn { unit: Some(unit), origin_us, .. }) => {
            parsed(text, |cell| cell::instant_of_number(cell, *unit, *origin_us)).instants(target)
        }
        Target::Bool => parsed(text, cell::bool_of).booleans(),
        Target::Text => Converted { array: Arc::new(without_empty(text)), failed: Vec::new() },
        Target::TrimmedText => Converted { array: Arc::new(without_empty(&trimmed(text))), failed: Vec::new() },
    }
}

fn from_i64(values: &Int64Array, target: &Target) -> Option<Converted> {
    let (length, nulls) = (values.len(), values.nulls());
    Some(match target {
        Target::F64 => cells(length, nulls, |row| Cell::Value(values.value(row) as f64)).array(Float64Array::new),
        Target::Bool => cells(length, nulls, |row| match values.value(row) {
            0 => Cell::Value(false),
            1 => Cell::Value(true),
            _ => Cell::Uncastable,
        })
        .booleans(),
        Target::Timestamp => cells(length, nulls, |row| Cell::Value(values.value(row))).instants(target),
        Target::Instant(time) => {
            let instant = |value| time.unit.map_or(Some(value), |unit| cell::instant_of_i64(value, unit, time.origin_us));
            cells(length, nulls, |row| instant(values.value(row)).map_or(Cell::Uncastable, Cell::Value)).instants(target)
        }
        Target::I64 | Target::Text | Target::TrimmedText => return None,
    })
}

fn from_f64(values: &Float64Array, target: &Target) -> Option<Converted> {
    let (length, nulls) = (values.len(), values.nulls());
    // Whole numbers up to 2^53 are exact; a larger f64 may stand for another integer than was meant.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let whole = |value: f64| match value {
        value if value.is_nan() => Cell::Missing,
        value if value.fract() == 0.0 && value.abs() <= EXACT_MAX => Cell::Value(value as i64),
        _ => Cell::Uncastable,
    };
    Some(match target {
        Target::I64 => cells(length, nulls, |row| whole(values.value(row))).array(Int64Array::new),
        Target::Bool => cells(length, nulls, |row| match whole(values.value(row)) {
            Cell::Missing => Cell::Missing,
            Cell::Value(0) => Cell::Value(false),
            Cell::Value(1) => Cell::Value(true),
            _ => Cell::Uncastable,
        })
        .booleans(),
        Target::Instant(TimeColumn { unit: Some(unit), origin_us, .. }) => {
            cells(length, nulls, |row| cell::instant_of_f64(values.value(row), *unit, *origin_us).map_or(Cell::Uncastable, Cell::Value))
                .instants(target)
        }
        Target::Instant(TimeColumn { unit: None, .. }) => cells(length, nulls, |row| whole(values.value(row))).instants(target),
        Target::F64 | Target::Timestamp | Target::Text | Target::TrimmedText => return None,
    })
}

/// The cells of any column as text; of a text column, the column itself.
pub fn text_of(source: &ArrayRef) -> StringArray {
    let text = source.as_string_opt::<i32>().cloned();
    text.unwrap_or_else(|| to_text(source).array.as_string::<i32>().clone())
}

/// Any type to text: numbers without a needless point, NaN as missing, instants in ISO 8601.
fn to_text(source: &ArrayRef) -> Converted {
    let text = |row: usize| -> Option<String> {
        if source.is_null(row) {
            return None;
        }
        match DType::of(source.data_type())? {
            DType::F64 => Some(source.as_primitive::<Float64Type>().value(row)).filter(|value| !value.is_nan()).map(cell::text_of_f64),
            DType::I64 => Some(source.as_primitive::<Int64Type>().value(row).to_string()),
            DType::Bool => Some(source.as_boolean().value(row).to_string()),
            DType::TimestampUs => Some(Timestamp(source.as_primitive::<TimestampMicrosecondType>().value(row)).to_string()),
            DType::Utf8 => Some(source.as_string::<i32>().value(row).to_owned()),
        }
    };
    Converted { array: Arc::new(StringArray::from_iter((0..source.len()).map(text))), failed: Vec::new() }
}

/// The same text with null in place of empty cells; shares the bytes.
fn without_empty(text: &StringArray) -> StringArray {
    let offsets = text.value_offsets();
    if offsets.windows(2).all(|pair| pair[0] < pair[1]) {
        return text.clone();
    }
    let mut valid = NullBufferBuilder::new(text.len());
    for (row, pair) in offsets.windows(2).enumerate() {
        valid.append(text.is_valid(row) && pair[0] < pair[1]);
    }
    StringArray::new(text.offsets().clone(), text.values().clone(), valid.finish())
}

fn trimmed(text: &StringArray) -> StringArray {
    let padded = |cell: &str| {
        cell.as_bytes().first().is_some_and(u8::is_ascii_whitespace) || cell.as_bytes().last().is_some_and(u8::is_ascii_whitespace)
    };
    if !text.iter().flatten().any(padded) {
        return text.clone();
    }
    text.iter().map(|cell| cell.map(str::trim_ascii)).collect()
}

/// Cells read one by one, before they become an array.
struct Cells<T> {
    values: Vec<T>,
    missing: Vec<u32>,
    failed: Vec<u32>,
}

fn parsed<T: Copy + Default>(text: &StringArray, read: impl Fn(&[u8]) -> Cell<T>) -> Cells<T> {
    let (offsets, bytes) = (text.value_offsets(), text.value_data());
    cells(text.len(), text.nulls(), |row| read(&bytes[offsets[row] as usize..offsets[row + 1] as usize]))
}

/// As [`parsed`] with [`cell::f64_of`], faster for plain decimals, which nearly all numbers are.
fn numbers(text: &StringArray) -> Cells<f64> {
    let (offsets, bytes) = (text.value_offsets(), text.value_data());
    cells(text.len(), text.nulls(), |row| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        decimal_within(bytes, start, end).map_or_else(|| cell::f64_of(&bytes[start..end]), Cell::Value)
    })
}

/// Missing and failing rows are listed apart, because in nearly all columns there are none: no bitmap is touched for them.
fn cells<T: Copy + Default>(length: usize, nulls: Option<&NullBuffer>, read: impl Fn(usize) -> Cell<T>) -> Cells<T> {
    let mut cells = Cells { values: Vec::with_capacity(length), missing: Vec::new(), failed: Vec::new() };
    for row in 0..length {
        let cell = if nulls.is_some_and(|nulls| nulls.is_null(row)) { Cell::Missing } else { read(row) };
        cells.values.push(match cell {
            Cell::Value(value) => value,
            Cell::Missing => {
                cells.missing.push(row as u32);
                T::default()
            }
            Cell::Uncastable => {
                cells.failed.push(row as u32);
                T::default()
            }
        });
    }
    cells
}

impl<T> Cells<T> {
    fn nulls(&self) -> Option<NullBuffer> {
        if self.missing.is_empty() {
            return None;
        }
        let mut valid = vec![true; self.values.len()];
        for row in &self.missing {
            valid[*row as usize] = false;
        }
        Some(NullBuffer::from(valid))
    }

    fn array<A: Array + 'static, B: From<Vec<T>>>(self, new: impl Fn(B, Option<NullBuffer>) -> A) -> Converted {
        let nulls = self.nulls();
        Converted { array: Arc::new(new(B::from(self.values), nulls)), failed: self.failed }
    }
}

impl Cells<bool> {
    fn booleans(self) -> Converted {
        self.array(|values: arrow::buffer::BooleanBuffer, nulls| BooleanArray::new(values, nulls))
    }
}

impl Cells<i64> {
    fn instants(mut self, target: &Target) -> Converted {
        if matches!(target, Target::Instant(_)) && !self.missing.is_empty() {
            self.failed.append(&mut self.missing);
            self.failed.sort_unstable();
        }
        self.array(|values: arrow::buffer::ScalarBuffer<i64>, nulls| TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
    }
}

/// The name of an Arrow type in the contract's words.
pub fn type_name(data_type: &DataType) -> String {
    DType::of(data_type).map_or_else(|| data_type.to_string(), |dtype| dtype.word().to_owned())
}

/// Up to three different cells of a column, for a message; cut short, because they come from outside.
pub fn examples(source: &ArrayRef) -> Vec<String> {
    const EXAMPLES_MAX: usize = 3;
    let mut examples: Vec<String> = Vec::new();
    for cell in &text_of(source) {
        let cell = cell.filter(|cell| !cell.is_empty()).map_or("empty cells".to_owned(), cell::quoted);
        if !examples.contains(&cell) {
            examples.push(cell);
        }
        if examples.len() == EXAMPLES_MAX {
            break;
        }
    }
    examples
}
