//! Rows to read: a view of a batch that the host owns.

use std::ops::Deref;
use std::rc::Rc;

use crate::Failure;
use crate::host::rows;

/// Rows of one window of [`Batch::windows`].
pub const WINDOW_ROWS: u32 = 65_536;

/// Rows that the host lends for one call. Only the columns that are asked for are copied into the plugin.
///
/// ```
/// # use tidegate_plugin::{Batch, Failure};
/// fn mean(rows: &Batch, name: &str) -> Result<f64, Failure> {
///     let values = rows.column(name)?.f64()?;
///     let present: Vec<f64> = values.iter().flatten().collect();
///     Ok(present.iter().sum::<f64>() / present.len() as f64)
/// }
/// ```
pub struct Batch<'host> {
    rows: &'host rows::Batch,
    columns: Rc<[rows::Column]>,
    start: u32,
    count: u32,
}

impl<'host> Batch<'host> {
    pub(crate) fn new(rows: &'host rows::Batch) -> Batch<'host> {
        Batch { columns: rows.columns().into(), start: 0, count: rows.row_count(), rows }
    }

    /// Number of rows.
    pub fn row_count(&self) -> u32 {
        self.count
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        (0u32..).zip(self.columns.iter()).map(|(index, info)| self.at(index, info))
    }

    /// The column named `name`.
    ///
    /// # Errors
    /// A failure that names the columns there are.
    pub fn column(&self, name: &str) -> Result<Column<'_>, Failure> {
        self.columns().find(|column| column.name() == name).ok_or_else(|| {
            let names: Vec<String> = self.columns.iter().map(|column| format!("`{}`", column.name)).collect();
            Failure::new(format!("there is no column `{name}`; the batch has {}", names.join(", ")))
        })
    }

    /// The first column whose role is `role`.
    ///
    /// # Errors
    /// A failure that names the role.
    pub fn with_role(&self, role: &str) -> Result<Column<'_>, Failure> {
        let found = self.columns().find(|column| column.role() == role);
        found.ok_or_else(|| Failure::new(format!("the batch has no column with the role `{role}`")))
    }

    /// The same columns in windows of at most [`WINDOW_ROWS`] rows: reading a window at a time bounds the plugin's memory.
    pub fn windows(&self) -> impl Iterator<Item = Batch<'host>> + use<'host> {
        let (rows, columns, end) = (self.rows, self.columns.clone(), self.start + self.count);
        (self.start..end).step_by(WINDOW_ROWS as usize).map(move |start| Batch {
            rows,
            columns: columns.clone(),
            start,
            count: WINDOW_ROWS.min(end - start),
        })
    }

    /// The number of the first row in the batch that was lent; 0 but in a window.
    pub fn first_row(&self) -> u32 {
        self.start
    }

    fn at<'a>(&'a self, index: u32, info: &'a rows::Column) -> Column<'a> {
        Column { rows: self.rows, info, index, start: self.start, count: self.count }
    }
}

/// One column of a batch or of a window of it.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    rows: &'a rows::Batch,
    info: &'a rows::Column,
    pub(crate) index: u32,
    pub(crate) start: u32,
    count: u32,
}

impl<'a> Column<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.info.name
    }

    /// Its type: `f64`, `i64`, `bool`, `utf8`, `timestamp-us`, or a word of a later host.
    pub fn dtype(&self) -> &'a str {
        &self.info.dtype
    }

    /// Its role: `id`, `time`, `label`, `feature`, `weight`, `slice`, `prediction`, `probability:<class>`, …
    pub fn role(&self) -> &'a str {
        &self.info.role
    }

    /// Its values as f64. A missing one reads as 0 in the slice and as `None` from `get` and `iter`.
    ///
    /// # Errors
    /// When the column is of another type.
    pub fn f64(&self) -> Result<Values<f64>, Failure> {
        let values = self.rows.read_f64(self.index, self.start, self.count).map_err(Failure::refused)?;
        Ok(Values { values, valid: self.valid()? })
    }

    /// Its values as i64: of an `i64` or a `timestamp-us` column.
    ///
    /// # Errors
    /// When the column is of another type.
    pub fn i64(&self) -> Result<Values<i64>, Failure> {
        let values = self.rows.read_i64(self.index, self.start, self.count).map_err(Failure::refused)?;
        Ok(Values { values, valid: self.valid()? })
    }

    /// Its values as true or false.
    ///
    /// # Errors
    /// When the column is of another type.
    pub fn bool(&self) -> Result<Values<bool>, Failure> {
        if self.dtype() != "bool" {
            return Err(Failure::new(format!("column `{}` is `{}`; expected `bool`", self.name(), self.dtype())));
        }
        let bytes = self.rows.read_raw(self.index, self.start, self.count).map_err(Failure::refused)?;
        Ok(Values { values: bytes.into_iter().map(|byte| byte != 0).collect(), valid: self.valid()? })
    }

    /// Its values as text.
    ///
    /// # Errors
    /// When the column is of another type.
    pub fn text(&self) -> Result<Text, Failure> {
        let rows::TextValues { offsets, bytes } = self.rows.read_text(self.index, self.start, self.count).map_err(Failure::refused)?;
        Ok(Text { offsets, text: String::from_utf8(bytes)?, valid: self.valid()? })
    }

    fn valid(&self) -> Result<Vec<u8>, Failure> {
        self.rows.read_valid(self.index, self.start, self.count).map_err(Failure::refused)
    }
}

/// Values of one column, some of which may be missing. Derefs to the slice of values, in which a missing one is a default value.
#[derive(Debug, Clone, PartialEq)]
pub struct Values<T> {
    pub(crate) values: Vec<T>,
    /// One byte a row, 1 = present; empty when none is missing.
    pub(crate) valid: Vec<u8>,
}

impl<T: Copy> Values<T> {
    /// The value of `row`; `None` when it is missing or outside.
    pub fn get(&self, row: usize) -> Option<T> {
        if self.is_present(row) { self.values.get(row).copied() } else { None }
    }

    /// Whether `row` has a value.
    pub fn is_present(&self, row: usize) -> bool {
        row < self.values.len() && self.valid.get(row).is_none_or(|byte| *byte != 0)
    }

    /// Number of rows without a value.
    pub fn missing_count(&self) -> usize {
        self.valid.iter().filter(|byte| **byte == 0).count()
    }

    /// Every row's value, `None` for a missing one.
    pub fn iter(&self) -> impl Iterator<Item = Option<T>> + '_ {
        (0..self.values.len()).map(|row| self.get(row))
    }

    /// Replaces the value of `row`.
    ///
    /// # Panics
    /// When `row` is outside.
    pub fn set(&mut self, row: usize, value: Option<T>) {
        match value {
            Some(value) => {
                self.values[row] = value;
                if let Some(byte) = self.valid.get_mut(row) {
                    *byte = 1;
                }
            }
            None => {
                if self.valid.is_empty() {
                    self.valid = vec![1; self.values.len()];
                }
                self.valid[row] = 0;
            }
        }
    }
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> From<Vec<T>> for Values<T> {
    fn from(values: Vec<T>) -> Values<T> {
        Values { values, valid: Vec::new() }
    }
}

impl<T: Default> FromIterator<Option<T>> for Values<T> {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(rows: I) -> Values<T> {
        let (mut values, mut valid) = (Vec::new(), Vec::new());
        for row in rows {
            valid.push(u8::from(row.is_some()));
            values.push(row.unwrap_or_default());
        }
        if valid.iter().all(|byte| *byte == 1) {
            valid.clear();
        }
        Values { values, valid }
    }
}

/// Text of one column, some of which may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    offsets: Vec<u32>,
    text: String,
    valid: Vec<u8>,
}

impl Text {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of `row`; `None` when it is missing or outside.
    pub fn get(&self, row: usize) -> Option<&str> {
        if self.valid.get(row).is_some_and(|byte| *byte == 0) {
            return None;
        }
        let (start, end) = (*self.offsets.get(row)?, *self.offsets.get(row + 1)?);
        self.text.get(start as usize..end as usize)
    }

    /// Every row's text, `None` for a missing one.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }
}
