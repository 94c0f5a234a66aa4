//! Batches as JSON: one object a column. Numbers that JSON has not are the texts `NaN`, `Infinity` and `-Infinity`.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_vocab::{Batch, DType, Role};

/// A column as it stands in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnText {
    /// Its name.
    pub name: String,
    /// `f64`, `i64`, `bool`, `utf8` or `timestamp-us`.
    pub dtype: String,
    /// `feature`, when left out.
    #[serde(default = "feature")]
    pub role: String,
    /// One a row; null for a missing one.
    pub values: Vec<Value>,
}

fn feature() -> String {
    "feature".into()
}

/// A batch of columns.
///
/// # Errors
/// Which column or value does not fit, and what was expected.
pub fn batch(columns: &[ColumnText]) -> Result<Batch, String> {
    let column = |column: &ColumnText| {
        let name = &column.name;
        let dtype = DType::from_word(&column.dtype)
            .ok_or_else(|| format!("column `{name}` has the dtype `{}`; expected {}", column.dtype, words(DType::ALL.map(DType::word))))?;
        let role = Role::from_word(&column.role)
            .ok_or_else(|| format!("column `{name}` has the role `{}`; expected `feature`, `label` or another", column.role))?;
        Ok((name.clone(), role, array(name, dtype, &column.values)?))
    };
    let columns = columns.iter().map(column).collect::<Result<Vec<_>, String>>()?;
    Batch::new(columns).map_err(|error| error.to_string())
}

fn words<const N: usize>(words: [&str; N]) -> String {
    words.map(|word| format!("`{word}`")).join(", ")
}

fn array(name: &str, dtype: DType, values: &[Value]) -> Result<ArrayRef, String> {
    let wrong = |row: usize, expected: &str| format!("row {row} of column `{name}` holds {}; expected {expected}", values[row]);
    fn each<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>, wrong: impl Fn(usize) -> String) -> Result<Vec<Option<T>>, String> {
        let cell = |(row, value): (usize, &Value)| match value {
            Value::Null => Ok(None),
            value => read(value).map(Some).ok_or_else(|| wrong(row)),
        };
        values.iter().enumerate().map(cell).collect()
    }
    Ok(match dtype {
        DType::F64 => Arc::new(Float64Array::from(each(values, number, |row| wrong(row, "a number, `NaN` or `Infinity`"))?)),
        DType::I64 => Arc::new(Int64Array::from(each(values, Value::as_i64, |row| wrong(row, "a whole number of 64 bits"))?)),
        DType::Bool => Arc::new(BooleanArray::from(each(values, Value::as_bool, |row| wrong(row, "true or false"))?)),
        DType::Utf8 => Arc::new(StringArray::from(each(values, |value| value.as_str().map(str::to_owned), |row| wrong(row, "a text"))?)),
        DType::TimestampUs => {
            let micros = each(values, Value::as_i64, |row| wrong(row, "microseconds since 1970"))?;
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
        }
    })
}

fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// The columns of a batch as JSON.
pub fn columns(batch: &Batch) -> Value {
    let column = |(name, role, array): (&str, &Role, &ArrayRef)| {
        let dtype = DType::of(array.data_type()).map_or("unknown", DType::word);
        let values: Vec<Value> = (0..array.len()).map(|row| cell(array, row)).collect();
        json!({ "name": name, "dtype": dtype, "role": role.word(), "values": values })
    };
    batch.columns().map(column).collect()
}

fn cell(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match DType::of(array.data_type()) {
        Some(DType::F64) => {
            let value = array.as_primitive::<Float64Type>().value(row);
            if value.is_finite() { json!(value) } else { json!(infinite(value)) }
        }
        Some(DType::I64) => json!(array.as_primitive::<Int64Type>().value(row)),
        Some(DType::Bool) => json!(array.as_boolean().value(row)),
        Some(DType::Utf8) => json!(array.as_string::<i32>().value(row)),
        Some(DType::TimestampUs) => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        None => Value::Null,
    }
}

fn infinite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_survives_json() {
        let text = json!([
            { "name": "x", "dtype": "f64", "role": "feature", "values": [1.5, null, "NaN", "Infinity", "-Infinity", -0.0] },
            { "name": "n", "dtype": "i64", "role": "id", "values": [9_007_199_254_740_993_i64, null, i64::MIN, i64::MAX, 0, -1] },
            { "name": "b", "dtype": "bool", "role": "slice", "values": [true, false, null, true, true, true] },
            { "name": "s", "dtype": "utf8", "role": "label", "values": ["", "é\u{0}", null, "🌊", "a", "b"] },
            { "name": "t", "dtype": "timestamp-us", "role": "time", "values": [0, 1, null, 3, 4, 5] },
        ]);
        let read: Vec<ColumnText> = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(columns(&batch(&read).unwrap()), text);
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        let refused = |dtype: &str, role: &str, value: Value| {
            let column = ColumnText { name: "x".into(), dtype: dtype.into(), role: role.into(), values: vec![value] };
            batch(&[column]).unwrap_err()
        };
        assert!(refused("i64", "feature", json!(1.5)).contains("row 0 of column `x` holds 1.5; expected a whole number"));
        assert!(refused("f64", "feature", json!("inf")).contains("holds \"inf\""));
        assert!(refused("f32", "feature", json!(1)).contains("`f32`; expected `f64`, `i64`"));
        assert!(refused("f64", "target", json!(1)).contains("role `target`"));
    }
}
