//! One column under edit, copy on write.
//!
//! Invariant: the column it began as is never written to; what is overwritten from the top, window by window, is copied once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use tidegate_vocab::{DType, Role};

use crate::bindings::shared::rows::{DataError, TextValues};

use super::builder::text_array;
use super::kernels;
use super::rows::{integers, window_of};
use super::{BAD_VALUE, WRONG_LENGTH, WRONG_TYPE, data_error};

/// A column of a batch, or one that was added, with the edits to it.
pub(crate) struct EditedColumn {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The number of the column in the input; `None` for one that was added.
    pub(crate) source: Option<usize>,
    pub(crate) is_dropped: bool,
    before: ArrayRef,
    is_edited: bool,
    values: Values,
}

enum Values {
    F64(Cells<f64>, Option<NullBuffer>),
    /// `i64` and `timestamp-us`.
    I64(Cells<i64>, Option<NullBuffer>),
    Bool(ArrayRef),
    /// Windows over `base`, in rising order and without overlap.
    Text {
        base: ArrayRef,
        windows: Vec<(usize, StringArray)>,
    },
}

/// Values that are being overwritten: the first rows are new, the rest are still those of the base.
struct Cells<T: ArrowNativeType> {
    new: Vec<T>,
    base: ScalarBuffer<T>,
}

impl<T: ArrowNativeType> Cells<T> {
    fn of(base: &ScalarBuffer<T>) -> Cells<T> {
        Cells { new: Vec::new(), base: base.clone() }
    }

    /// The values as they now stand.
    fn now(&mut self) -> &[T] {
        if self.new.is_empty() { &self.base } else { self.complete() }
    }

    /// Copies what was not overwritten.
    fn complete(&mut self) -> &mut Vec<T> {
        let written = self.new.len();
        self.new.extend_from_slice(&self.base[written..]);
        &mut self.new
    }

    fn write(&mut self, start: usize, window: Vec<T>) {
        if window.len() == self.base.len() {
            self.new = window;
            return;
        }
        let (written, end) = (self.new.len(), start + window.len());
        if end <= written {
            self.new[start..end].copy_from_slice(&window);
            return;
        }
        self.new.reserve_exact(self.base.len() - written);
        self.new.truncate(start);
        if start > written {
            self.new.extend_from_slice(&self.base[written..start]);
        }
        self.new.extend_from_slice(&window);
    }

    fn finish(mut self) -> ScalarBuffer<T> {
        if self.new.is_empty() {
            return self.base;
        }
        self.complete();
        ScalarBuffer::from(self.new)
    }
}

impl EditedColumn {
    pub(crate) fn new(name: &str, role: Role, source: Option<usize>, before: &ArrayRef) -> EditedColumn {
        let values = match before.data_type() {
            DataType::Float64 => Values::F64(Cells::of(before.as_primitive::<Float64Type>().values()), before.nulls().cloned()),
            DataType::Int64 => Values::I64(Cells::of(before.as_primitive::<Int64Type>().values()), before.nulls().cloned()),
            DataType::Timestamp(..) => {
                Values::I64(Cells::of(before.as_primitive::<TimestampMicrosecondType>().values()), before.nulls().cloned())
            }
            DataType::Boolean => Values::Bool(Arc::clone(before)),
            _ => Values::Text { base: Arc::clone(before), windows: Vec::new() },
        };
        EditedColumn { name: name.to_owned(), role, source, is_dropped: false, before: Arc::clone(before), is_edited: false, values }
    }

    fn dtype(&self) -> DType {
        DType::of(self.before.data_type()).unwrap_or(DType::Utf8)
    }

    fn wrong(&self, wanted: &str) -> DataError {
        data_error(WRONG_TYPE, format!("the column is {}, not {wanted}", self.dtype().word()))
    }

    /// The values with their edits; the very array it began as when there are none.
    pub(crate) fn finish(self) -> Result<ArrayRef, ArrowError> {
        if !self.is_edited {
            return Ok(self.before);
        }
        let dtype = self.dtype();
        Ok(match self.values {
            Values::F64(cells, nulls) => Arc::new(Float64Array::new(cells.finish(), nulls)),
            Values::I64(cells, nulls) => i64_array(cells.finish(), nulls, dtype),
            Values::Bool(array) => array,
            Values::Text { base, windows } => spliced(&base, &windows)?,
        })
    }

    /// Which rows are null or NaN; `None` when none is.
    pub(crate) fn missing(&mut self) -> Option<BooleanBuffer> {
        let by_nulls = |nulls: Option<&NullBuffer>| nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| !nulls.inner());
        match &mut self.values {
            Values::F64(cells, nulls) => kernels::missing_f64(cells.now(), nulls.as_ref()),
            Values::I64(_, nulls) => by_nulls(nulls.as_ref()),
            Values::Bool(array) => by_nulls(array.nulls()),
            Values::Text { base, windows } => by_nulls(spliced(base, windows).ok()?.nulls()),
        }
    }

    /// Which rows are outside `low..=high`; `None` when none is.
    pub(crate) fn outside(&mut self, low: f64, high: f64) -> Result<Option<BooleanBuffer>, DataError> {
        match &mut self.values {
            Values::F64(cells, nulls) => Ok(kernels::outside_f64(cells.now(), nulls.as_ref(), low, high)),
            Values::I64(cells, nulls) => Ok(Some(kernels::outside_i64(cells.now(), nulls.as_ref(), low, high))),
            _ => Err(self.wrong("f64 or i64")),
        }
    }

    pub(crate) fn clip(&mut self, low: f64, high: f64) -> Result<(), DataError> {
        match &mut self.values {
            Values::F64(cells, _) if cells.new.is_empty() => cells.new = kernels::clip_f64(&cells.base, low, high),
            Values::F64(cells, _) => kernels::clip_f64_in_place(cells.complete(), low, high),
            Values::I64(cells, _) => cells.new = kernels::clip_i64(cells.now(), low, high),
            _ => return Err(self.wrong("f64 or i64")),
        }
        self.is_edited = true;
        Ok(())
    }

    pub(crate) fn fill_missing(&mut self, with: f64) -> Result<(), DataError> {
        match &mut self.values {
            Values::F64(cells, nulls) => {
                let Some(filled) = kernels::fill_f64(cells.now(), nulls.as_ref(), with) else { return Ok(()) };
                (cells.new, *nulls) = (filled, None);
            }
            Values::I64(cells, nulls) => {
                if with.fract() != 0.0 || with.abs() > WHOLE_MAX {
                    return Err(data_error(BAD_VALUE, format!("{with} is not a whole number, the column is of whole numbers")));
                }
                let Some(filled) = kernels::fill_i64(cells.now(), nulls.as_ref(), with as i64) else { return Ok(()) };
                (cells.new, *nulls) = (filled, None);
            }
            _ => return Err(self.wrong("f64 or i64")),
        }
        self.is_edited = true;
        Ok(())
    }

    /// Writes values whose NaNs are canonical.
    pub(crate) fn write_f64(&mut self, start: u32, new: Vec<f64>, valid: &[u8]) -> Result<(), DataError> {
        let (start, count) = self.window(start, new.len(), valid)?;
        let rows = self.before.len();
        let Values::F64(cells, nulls) = &mut self.values else { return Err(self.wrong("f64")) };
        *nulls = kernels::patch_nulls(nulls.as_ref(), rows, start, count, valid);
        cells.write(start, new);
        self.is_edited = true;
        Ok(())
    }

    pub(crate) fn write_i64(&mut self, start: u32, new: Vec<i64>, valid: &[u8]) -> Result<(), DataError> {
        let (start, count) = self.window(start, new.len(), valid)?;
        let rows = self.before.len();
        let Values::I64(cells, nulls) = &mut self.values else { return Err(self.wrong("i64")) };
        *nulls = kernels::patch_nulls(nulls.as_ref(), rows, start, count, valid);
        cells.write(start, new);
        self.is_edited = true;
        Ok(())
    }

    pub(crate) fn write_text(&mut self, start: u32, text: TextValues, valid: &[u8]) -> Result<(), DataError> {
        let Values::Text { base, windows } = &mut self.values else { return Err(self.wrong("utf8")) };
        let new = text_array(text, valid)?;
        let (start, count) = window_of(start, u32::try_from(new.len()).unwrap_or(u32::MAX), base.len())?;
        if count == base.len() {
            (*base, *windows) = (Arc::new(new), Vec::new());
        } else {
            if windows.last().is_some_and(|(last, text)| last + text.len() > start) {
                *base = spliced(base, windows).map_err(|_| data_error(BAD_VALUE, "the text is larger than a column can be"))?;
                windows.clear();
            }
            windows.push((start, new));
        }
        self.is_edited = true;
        Ok(())
    }

    pub(crate) fn write_raw(&mut self, start: u32, bytes: &[u8], valid: &[u8]) -> Result<(), DataError> {
        if let Values::Bool(array) = &self.values {
            let (start, count) = self.window(start, bytes.len(), valid)?;
            let (old, window) = (array.as_boolean(), start..start + count);
            let pick = |row| if window.contains(&row) { bytes[row - start] != 0 } else { old.values().value(row) };
            let values = BooleanBuffer::collect_bool(old.len(), pick);
            let nulls = kernels::patch_nulls(old.nulls(), old.len(), start, count, valid);
            self.values = Values::Bool(Arc::new(BooleanArray::new(values, nulls)));
            self.is_edited = true;
            return Ok(());
        }
        let (chunks, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(data_error(WRONG_LENGTH, format!("{} bytes are not whole values of 8 bytes", bytes.len())));
        }
        match self.values {
            Values::F64(..) => {
                let values = chunks.iter().map(|chunk| kernels::canonical(f64::from_le_bytes(*chunk)));
                self.write_f64(start, values.collect(), valid)
            }
            Values::I64(..) => self.write_i64(start, chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect(), valid),
            _ => Err(self.wrong("of a fixed width")),
        }
    }

    /// Checks the place of `count` values and their validity.
    fn window(&self, start: u32, count: usize, valid: &[u8]) -> Result<(usize, usize), DataError> {
        if !valid.is_empty() && valid.len() != count {
            return Err(data_error(WRONG_LENGTH, format!("`valid` has {} entries for {count} values", valid.len())));
        }
        window_of(start, u32::try_from(count).unwrap_or(u32::MAX), self.before.len())
    }
}

/// The largest number that fills a column of whole numbers: up to here, every whole number is a float.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

pub(crate) fn i64_array(values: ScalarBuffer<i64>, nulls: Option<NullBuffer>, dtype: DType) -> ArrayRef {
    if dtype == DType::TimestampUs {
        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
    } else {
        Arc::new(Int64Array::new(values, nulls))
    }
}

/// `base` with the windows laid over it.
fn spliced(base: &ArrayRef, windows: &[(usize, StringArray)]) -> Result<ArrayRef, ArrowError> {
    if windows.is_empty() {
        return Ok(Arc::clone(base));
    }
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(windows.len() * 2 + 1);
    let mut row = 0;
    for (start, text) in windows {
        parts.push(base.slice(row, start - row));
        parts.push(Arc::new(text.clone()));
        row = start + text.len();
    }
    parts.push(base.slice(row, base.len() - row));
    arrow::compute::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())
}

/// How many cells of a column differ.
pub(crate) fn changed_cells(old: &ArrayRef, new: &ArrayRef) -> u64 {
    if let (Some(a), Some(b)) = (old.as_primitive_opt::<Float64Type>(), new.as_primitive_opt::<Float64Type>()) {
        return kernels::count_changed(a.values(), old.nulls(), b.values(), new.nulls(), f64::to_bits);
    }
    if let (Some(a), Some(b)) = (integers(old), integers(new)) {
        return kernels::count_changed(a, old.nulls(), b, new.nulls(), |value: i64| value as u64);
    }
    let differs = |row: &usize| old.slice(*row, 1).to_data() != new.slice(*row, 1).to_data();
    if let (Some(a), Some(b)) = (old.as_string_opt::<i32>(), new.as_string_opt::<i32>()) {
        return a.iter().zip(b).filter(|(a, b)| a != b).count() as u64;
    }
    (0..old.len().min(new.len())).filter(differs).count() as u64
}
