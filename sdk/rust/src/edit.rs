//! Changes to a batch: asked for by a cleaner, made by the host when the call has succeeded.

use crate::Failure;
use crate::batch::{Batch, Column, Values};
use crate::builder::{NewColumn, TextBuilder};
use crate::host::rows;

/// The edits of one batch. They apply together when the call returns `Ok` and are dropped when it does not.
///
/// `clip`, `fill_missing`, `keep_present` and `keep_between` run in the host at full speed and touch the *whole* column, also when it was
/// taken from a window; `write` and `keep` act on the window's rows.
pub struct Edit<'host> {
    editor: &'host rows::Editor,
}

impl<'host> Edit<'host> {
    pub(crate) fn new(editor: &'host rows::Editor) -> Edit<'host> {
        Edit { editor }
    }

    /// Values below `low` become `low`, above `high` become `high`; a missing value stays. A bound may be infinite.
    ///
    /// # Errors
    /// When the column is not numeric.
    pub fn clip(&self, column: &Column, low: f64, high: f64) -> Result<(), Failure> {
        self.editor.clip(column.index, low, high).map_err(Failure::refused)
    }

    /// Nulls and NaNs become `value`.
    ///
    /// # Errors
    /// When the column is not numeric.
    pub fn fill_missing(&self, column: &Column, value: f64) -> Result<(), Failure> {
        self.editor.fill_missing(column.index, value).map_err(Failure::refused)
    }

    /// Rows in which the column is null or NaN are quarantined under `reason`, one that the manifest lists.
    ///
    /// # Errors
    /// When the manifest does not list the reason.
    pub fn keep_present(&self, column: &Column, reason: &str) -> Result<(), Failure> {
        self.editor.keep_present(column.index, reason).map_err(Failure::refused)
    }

    /// Rows in which the column is below `low` or above `high` are quarantined under `reason`; a missing value stays.
    ///
    /// # Errors
    /// When the column is not numeric, or the manifest does not list the reason.
    pub fn keep_between(&self, column: &Column, low: f64, high: f64, reason: &str) -> Result<(), Failure> {
        self.editor.keep_between(column.index, low, high, reason).map_err(Failure::refused)
    }

    /// Rows of `rows` whose entry in `mask` is false are quarantined under `reason`; masks of several calls are intersected.
    ///
    /// # Errors
    /// When the mask has not one entry a row, or the manifest does not list the reason.
    pub fn keep(&self, rows: &Batch, mask: &[bool], reason: &str) -> Result<(), Failure> {
        if mask.len() != rows.row_count() as usize {
            return Err(Failure::new(format!("the mask has {} entries for {} rows", mask.len(), rows.row_count())));
        }
        let bytes: Vec<u8> = mask.iter().map(|keep| u8::from(*keep)).collect();
        self.editor.keep(rows.first_row(), &bytes, reason).map_err(Failure::refused)
    }

    /// Overwrites the rows of `column` with floating-point values.
    ///
    /// # Errors
    /// When the column is not `f64`, or there are more values than rows.
    pub fn write_f64(&self, column: &Column, values: &Values<f64>) -> Result<(), Failure> {
        self.editor.write_f64(column.index, column.start, values, &values.valid).map_err(Failure::refused)
    }

    /// Overwrites the rows of `column` with integers.
    ///
    /// # Errors
    /// When the column is not `i64` or `timestamp-us`, or there are more values than rows.
    pub fn write_i64(&self, column: &Column, values: &Values<i64>) -> Result<(), Failure> {
        self.editor.write_i64(column.index, column.start, values, &values.valid).map_err(Failure::refused)
    }

    /// Overwrites the rows of `column` with text.
    ///
    /// # Errors
    /// When the column is not `utf8`, or there are more values than rows.
    pub fn write_text(&self, column: &Column, values: &TextBuilder) -> Result<(), Failure> {
        self.editor.write_text(column.index, column.start, &values.values, values.valid()).map_err(Failure::refused)
    }

    /// Adds a column of floating-point values, one a row of the whole batch.
    ///
    /// # Errors
    /// When the name is taken, the host does not let this plugin add columns, or the number of values is wrong.
    pub fn add_f64(&self, column: NewColumn, values: &Values<f64>) -> Result<(), Failure> {
        let index = self.editor.add_column(&column.0).map_err(Failure::refused)?;
        self.editor.write_f64(index, 0, values, &values.valid).map_err(Failure::refused)
    }

    /// Takes the column away.
    ///
    /// # Errors
    /// When the host does not let this plugin drop it.
    pub fn drop_column(&self, column: &Column) -> Result<(), Failure> {
        self.editor.drop_column(column.index).map_err(Failure::refused)
    }
}
