//! Rows to make: what a source fills and hands over.

use crate::Failure;
use crate::batch::Values;
use crate::host::rows;

/// A column to be made.
#[derive(Debug, Clone)]
pub struct NewColumn(pub(crate) rows::Column);

impl NewColumn {
    fn new(name: impl Into<String>, dtype: &str) -> NewColumn {
        NewColumn(rows::Column { name: name.into(), dtype: dtype.into(), role: "feature".into(), nullable: true })
    }

    /// A feature of 64-bit floating-point values.
    pub fn f64(name: impl Into<String>) -> NewColumn {
        NewColumn::new(name, "f64")
    }

    /// A feature of 64-bit integers.
    pub fn i64(name: impl Into<String>) -> NewColumn {
        NewColumn::new(name, "i64")
    }

    /// A feature of text. The host casts it to what the contract says.
    pub fn text(name: impl Into<String>) -> NewColumn {
        NewColumn::new(name, "utf8")
    }

    /// A feature of microseconds since 1970, UTC.
    pub fn timestamp_us(name: impl Into<String>) -> NewColumn {
        NewColumn::new(name, "timestamp-us")
    }

    /// The same column in another role, such as `id`, `time` or `label`.
    pub fn role(mut self, role: impl Into<String>) -> NewColumn {
        self.0.role = role.into();
        self
    }
}

/// A batch in the making: values are appended column by column, and all columns must end with the same length.
pub struct BatchBuilder {
    builder: rows::Builder,
}

impl BatchBuilder {
    /// An empty batch of `columns`; they are numbered from 0.
    pub fn new(columns: impl IntoIterator<Item = NewColumn>) -> BatchBuilder {
        let columns: Vec<rows::Column> = columns.into_iter().map(|column| column.0).collect();
        BatchBuilder { builder: rows::Builder::new(&columns) }
    }

    /// Appends floating-point values to a column.
    ///
    /// # Errors
    /// When there is no such column or it is of another type.
    pub fn append_f64(&mut self, column: u32, values: &Values<f64>) -> Result<(), Failure> {
        self.builder.push_f64(column, values, &values.valid).map_err(Failure::refused)
    }

    /// Appends integers, or microseconds, to a column.
    ///
    /// # Errors
    /// When there is no such column or it is of another type.
    pub fn append_i64(&mut self, column: u32, values: &Values<i64>) -> Result<(), Failure> {
        self.builder.push_i64(column, values, &values.valid).map_err(Failure::refused)
    }

    /// Appends text to a column.
    ///
    /// # Errors
    /// When there is no such column, it is of another type, or the bytes are not UTF-8.
    pub fn append_text(&mut self, column: u32, values: &TextBuilder) -> Result<(), Failure> {
        self.builder.push_text(column, &values.values, values.valid()).map_err(Failure::refused)
    }

    pub(crate) fn finish(self) -> Result<rows::Batch, Failure> {
        rows::Builder::finish(self.builder).map_err(Failure::refused)
    }
}

/// Text of many rows in the making, in the layout in which it crosses to the host: no row is an allocation.
#[derive(Debug, Clone)]
pub struct TextBuilder {
    pub(crate) values: rows::TextValues,
    valid: Vec<u8>,
    missing_count: u32,
}

/// How many bytes [`TextBuilder::push_within`] copies at once.
const STRIDE: usize = 16;

impl TextBuilder {
    /// No rows yet.
    pub fn new() -> TextBuilder {
        TextBuilder { values: rows::TextValues { offsets: vec![0], bytes: Vec::new() }, valid: Vec::new(), missing_count: 0 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.valid.is_empty()
    }

    /// Bytes of text so far.
    pub fn byte_count(&self) -> usize {
        self.values.bytes.len()
    }

    /// Appends a row.
    pub fn push(&mut self, text: &str) {
        self.push_utf8(text.as_bytes());
    }

    /// Appends a row of bytes; the host refuses the column if they are not UTF-8.
    pub fn push_utf8(&mut self, text: &[u8]) {
        self.values.bytes.extend_from_slice(text);
        self.end_row();
    }

    /// Appends the row `bytes[start..end]`, fast when it is short and `bytes` goes on behind it.
    ///
    /// A copy of a fixed length is two instructions where one of any length is a call into the host's `memory.copy`.
    ///
    /// # Panics
    /// When the range is not within `bytes`.
    #[inline]
    pub fn push_within(&mut self, bytes: &[u8], start: usize, end: usize) {
        let length = end - start;
        match bytes.get(start..).and_then(<[u8]>::first_chunk::<STRIDE>) {
            Some(chunk) if length <= STRIDE => {
                let filled = self.values.bytes.len();
                self.values.bytes.extend_from_slice(chunk);
                self.values.bytes.truncate(filled + length);
            }
            _ => self.values.bytes.extend_from_slice(&bytes[start..end]),
        }
        self.end_row();
    }

    /// Appends a row without a value.
    #[inline]
    pub fn push_missing(&mut self) {
        self.values.offsets.push(self.values.bytes.len() as u32);
        self.valid.push(0);
        self.missing_count += 1;
    }

    /// Forgets the rows from `count` on.
    pub fn truncate(&mut self, count: usize) {
        if count >= self.len() {
            return;
        }
        self.missing_count -= self.valid[count..].iter().filter(|byte| **byte == 0).count() as u32;
        self.valid.truncate(count);
        self.values.offsets.truncate(count + 1);
        self.values.bytes.truncate(self.values.offsets.last().copied().unwrap_or(0) as usize);
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    #[inline]
    fn end_row(&mut self) {
        self.values.offsets.push(self.values.bytes.len() as u32);
        self.valid.push(1);
    }

    pub(crate) fn valid(&self) -> &[u8] {
        if self.missing_count == 0 { &[] } else { &self.valid }
    }
}

impl Default for TextBuilder {
    fn default() -> TextBuilder {
        TextBuilder::new()
    }
}

impl<'a> FromIterator<Option<&'a str>> for TextBuilder {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(rows: I) -> TextBuilder {
        let mut built = TextBuilder::new();
        for row in rows {
            match row {
                Some(text) => built.push(text),
                None => built.push_missing(),
            }
        }
        built
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_forgets_whole_rows() {
        let mut text: TextBuilder = [Some("ab"), None, Some("cde"), None].into_iter().collect();
        text.truncate(2);
        assert_eq!((text.len(), text.byte_count(), text.missing_count), (2, 2, 1));
        text.push_within(b"xyz,0123456789abcdef", 0, 3);
        text.push_within(b"xyz", 1, 3);
        assert_eq!(text.values.bytes, b"abxyzyz");
        assert_eq!(text.values.offsets, [0, 2, 2, 5, 7]);
        assert_eq!(text.valid(), [1, 0, 1, 1]);
    }
}
