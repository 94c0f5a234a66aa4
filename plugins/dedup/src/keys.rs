//! The keys of all rows of a batch, one after the other in one piece of memory: an allocation a row costs more than the rest.

use std::ops::Range;

use tidegate_plugin::{Batch, Column, Failure, Text, Values};

/// The key of each row.
pub struct Keys {
    bytes: Vec<u8>,
    /// Where each row's key lies; `None` for a row of which a value of the key is missing.
    rows: Vec<Option<Range<usize>>>,
}

impl Keys {
    /// The values of the columns named `key`, row by row.
    pub fn of(rows: &Batch, key: &[String]) -> Result<Keys, Failure> {
        let count = rows.row_count() as usize;
        let mut keys = Keys { bytes: Vec::with_capacity(count * key.len() * size_of::<u64>()), rows: Vec::with_capacity(count) };
        for window in rows.windows() {
            let columns = key.iter().map(|name| Cells::of(&window.column(name)?)).collect::<Result<Vec<_>, _>>()?;
            (0..window.row_count() as usize).for_each(|row| keys.push(&columns, row));
        }
        Ok(keys)
    }

    /// Each row's key, in the order of the rows.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Option<&[u8]>> {
        self.rows.iter().map(|row| row.clone().map(|range| &self.bytes[range]))
    }

    fn push(&mut self, columns: &[Cells], row: usize) {
        let start = self.bytes.len();
        let is_whole = columns.iter().all(|column| column.append(row, &mut self.bytes));
        self.rows.push(is_whole.then_some(start..self.bytes.len()));
    }
}

/// The values of one column of the key.
enum Cells {
    Text(Text),
    F64(Values<f64>),
    I64(Values<i64>),
    Bool(Values<bool>),
}

impl Cells {
    fn of(column: &Column) -> Result<Cells, Failure> {
        Ok(match column.dtype() {
            "utf8" => Cells::Text(column.text()?),
            "f64" => Cells::F64(column.f64()?),
            "i64" | "timestamp-us" => Cells::I64(column.i64()?),
            "bool" => Cells::Bool(column.bool()?),
            dtype => return Err(Failure::new(format!("column `{}` is `{dtype}`, which cannot be part of a key", column.name()))),
        })
    }

    /// Appends the value of `row`, so that no two different rows get one key; false for a missing one.
    fn append(&self, row: usize, key: &mut Vec<u8>) -> bool {
        match self {
            Cells::Text(text) => text.get(row).map(|cell| {
                // With its length in front, so that `ab` and `c` is another key than `a` and `bc`.
                key.extend_from_slice(&(cell.len() as u64).to_le_bytes());
                key.extend_from_slice(cell.as_bytes());
            }),
            // Minus zero is zero, and a NaN is missing.
            Cells::F64(values) => {
                values.get(row).filter(|value| !value.is_nan()).map(|value| key.extend_from_slice(&(value + 0.0).to_bits().to_le_bytes()))
            }
            Cells::I64(values) => values.get(row).map(|value| key.extend_from_slice(&value.to_le_bytes())),
            Cells::Bool(values) => values.get(row).map(|value| key.push(u8::from(value))),
        }
        .is_some()
    }
}
