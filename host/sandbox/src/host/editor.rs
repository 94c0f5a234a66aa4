//! `rows.editor`: edits to one batch, copy on write.
//!
//! Invariant: the input batch never changes, a column that was not touched is the input's own, and nothing of an edit is seen
//! outside before the call has returned ok. A cleaner reaches feature columns and no others, so that label, time and id are
//! untouched by construction.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Float64Type;
use tidegate_vocab::{Batch, DType, Role};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use crate::bindings::shared::rows::{Column, DataError, TextValues};

use super::builder::{checked_column, text_array};
use super::kernels;
use super::rows::{HostBatch, INTERFACE, integers, window_of, wrong_type};
use super::{
    BAD_VALUE, Fault, HostState, NO_SUCH_COLUMN, NOT_DECLARED, NOT_GRANTED, OVER_LIMIT, Reply, WRONG_LENGTH, WRONG_TYPE, data_error, reply,
};

/// An editor in the resource table.
pub struct HostEditor {
    input: Batch,
    /// The columns the plugin sees, in its numbering, then the ones it added.
    columns: Vec<EditedColumn>,
    /// For each row 0, or one more than the number of the reason it was dropped for; empty while no row was.
    dropped_by: Vec<u16>,
    reasons: Arc<[String]>,
}

struct EditedColumn {
    name: String,
    role: Role,
    dtype: DType,
    /// The number of the column in the input; `None` for one that was added.
    source: Option<usize>,
    values: Values,
    is_dropped: bool,
}

/// The values of a column under edit.
enum Values {
    /// As they were, or replaced whole.
    Shared(ArrayRef),
    F64(Vec<f64>, Option<NullBuffer>),
    I64(Vec<i64>, Option<NullBuffer>),
    /// Windows over `base`, in rising order and without overlap.
    Text {
        base: ArrayRef,
        windows: Vec<(usize, StringArray)>,
    },
}

/// What an editor did.
pub(crate) struct Edited {
    pub(crate) rows: Batch,
    pub(crate) dropped: Vec<(u32, String)>,
    pub(crate) kept: Vec<u32>,
    pub(crate) cells_changed: u64,
}

impl HostEditor {
    pub(crate) fn new(view: &HostBatch, reasons: Arc<[String]>) -> HostEditor {
        let schema = view.batch.rows.schema_ref();
        let edited = |index: &usize| {
            let array = view.batch.rows.column(*index);
            EditedColumn {
                name: schema.field(*index).name().clone(),
                role: view.batch.roles[*index].clone(),
                dtype: DType::of(array.data_type()).unwrap_or(DType::Utf8),
                source: Some(*index),
                values: Values::Shared(Arc::clone(array)),
                is_dropped: false,
            }
        };
        HostEditor { columns: view.granted.iter().map(edited).collect(), input: view.batch.clone(), dropped_by: Vec::new(), reasons }
    }

    fn rows(&self) -> usize {
        self.input.row_count()
    }

    fn column(&mut self, column: u32) -> Result<&mut EditedColumn, DataError> {
        let count = self.columns.len();
        match self.columns.get_mut(column as usize) {
            Some(column) if column.is_dropped => Err(data_error(NO_SUCH_COLUMN, format!("the column `{}` was dropped", column.name))),
            Some(column) => Ok(column),
            None => Err(data_error(NO_SUCH_COLUMN, format!("there is no column {column}: the batch has {count}"))),
        }
    }

    fn reason(&self, reason: &str) -> Result<u16, DataError> {
        let index = self.reasons.iter().position(|listed| listed == reason);
        let number = index.and_then(|index| u16::try_from(index + 1).ok());
        number.ok_or_else(|| data_error(NOT_DECLARED, "the manifest does not list this quarantine reason"))
    }

    /// Drops the rows that `out` names, for `reason`, from `start`; the first reason of a row stays.
    fn drop_rows(&mut self, start: usize, out: impl Iterator<Item = bool>, reason: u16) {
        let rows = self.rows();
        if self.dropped_by.is_empty() {
            self.dropped_by = vec![0; rows];
        }
        for (dropped_by, is_out) in self.dropped_by[start..].iter_mut().zip(out) {
            if is_out && *dropped_by == 0 {
                *dropped_by = reason;
            }
        }
    }

    fn keep(&mut self, start: u32, mask: &[u8], reason: &str) -> Result<(), DataError> {
        let reason = self.reason(reason)?;
        let (start, _) = window_of(start, u32::try_from(mask.len()).unwrap_or(u32::MAX), self.rows())?;
        if mask.contains(&0) {
            self.drop_rows(start, mask.iter().map(|byte| *byte == 0), reason);
        }
        Ok(())
    }

    fn keep_present(&mut self, column: u32, reason: &str) -> Result<(), DataError> {
        let reason = self.reason(reason)?;
        let out = self.column(column)?.missing();
        if let Some(out) = out {
            self.drop_rows(0, out.iter(), reason);
        }
        Ok(())
    }

    fn keep_between(&mut self, column: u32, low: f64, high: f64, reason: &str) -> Result<(), DataError> {
        check_bounds(low, high)?;
        let reason = self.reason(reason)?;
        let out = self.column(column)?.outside(low, high)?;
        if let Some(out) = out {
            self.drop_rows(0, out.iter(), reason);
        }
        Ok(())
    }

    fn add_column(&mut self, column: &Column, limits: &tidegate_vocab::limits::PluginLimits) -> Result<u32, DataError> {
        if self.columns.len() >= limits.metadata_entries_max as usize {
            return Err(data_error(OVER_LIMIT, format!("a batch has at most {} columns", limits.metadata_entries_max)));
        }
        let (dtype, role) = checked_column(column, limits)?;
        if role != Role::Feature {
            return Err(data_error(NOT_GRANTED, "a cleaner adds columns of the role `feature` and no others"));
        }
        let taken = self.input.index_of(&column.name).is_some() || self.columns.iter().any(|other| other.name == column.name);
        if taken {
            return Err(data_error(BAD_VALUE, "there is a column of this name already"));
        }
        let values = Values::Shared(new_null_array(&dtype.arrow(), self.rows()));
        self.columns.push(EditedColumn { name: column.name.clone(), role, dtype, source: None, values, is_dropped: false });
        Ok((self.columns.len() - 1) as u32)
    }

    /// Applies the edits.
    pub(crate) fn finish(self) -> Result<Edited, arrow::error::ArrowError> {
        let mut cells_changed = 0;
        let mut replaced: Vec<Option<(ArrayRef, bool)>> = vec![None; self.input.roles.len()];
        let mut added = Vec::new();
        for column in self.columns {
            let array = column.values.array(column.dtype)?;
            match column.source {
                Some(source) => {
                    if !column.is_dropped {
                        cells_changed += changed_cells(self.input.rows.column(source), &array);
                    }
                    replaced[source] = Some((array, column.is_dropped));
                }
                None if column.is_dropped => {}
                None => added.push((column.name, column.role, array)),
            }
        }
        let mut columns = Vec::with_capacity(self.input.roles.len() + added.len());
        for ((name, role, array), replaced) in self.input.columns().zip(replaced) {
            match replaced {
                None => columns.push((name.to_owned(), role.clone(), Arc::clone(array))),
                Some((_, true)) => {}
                Some((array, false)) => columns.push((name.to_owned(), role.clone(), array)),
            }
        }
        columns.extend(added);
        let batch = Batch::new(columns).map_err(|error| arrow::error::ArrowError::InvalidArgumentError(error.to_string()))?;
        without_dropped(batch, &self.dropped_by, &self.reasons, cells_changed)
    }
}

/// Leaves out the rows that were dropped, and says which.
fn without_dropped(rows: Batch, dropped_by: &[u16], reasons: &[String], cells_changed: u64) -> Result<Edited, arrow::error::ArrowError> {
    let row_count = rows.row_count() as u32;
    if dropped_by.iter().all(|reason| *reason == 0) {
        return Ok(Edited { rows, dropped: Vec::new(), kept: (0..row_count).collect(), cells_changed });
    }
    let (mut dropped, mut kept) = (Vec::new(), Vec::new());
    for (row, reason) in (0..row_count).zip(dropped_by) {
        match usize::from(*reason).checked_sub(1).and_then(|index| reasons.get(index)) {
            Some(reason) => dropped.push((row, reason.clone())),
            None => kept.push(row),
        }
    }
    let mask = BooleanArray::new(BooleanBuffer::collect_bool(dropped_by.len(), |row| dropped_by[row] == 0), None);
    let filtered = arrow::compute::filter_record_batch(&rows.rows, &mask)?;
    Ok(Edited { rows: Batch { rows: filtered, roles: rows.roles }, dropped, kept, cells_changed })
}

fn changed_cells(old: &ArrayRef, new: &ArrayRef) -> u64 {
    if Arc::ptr_eq(old, new) {
        return 0;
    }
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

fn check_bounds(low: f64, high: f64) -> Result<(), DataError> {
    if low <= high { Ok(()) } else { Err(data_error(BAD_VALUE, format!("the bounds {low} and {high} are not a range"))) }
}

fn check_valid(valid: &[u8], count: usize) -> Result<(), DataError> {
    if valid.is_empty() || valid.len() == count {
        return Ok(());
    }
    Err(data_error(WRONG_LENGTH, format!("`valid` has {} entries for {count} values", valid.len())))
}

impl EditedColumn {
    fn missing(&self) -> Option<BooleanBuffer> {
        let by_nulls = |nulls: Option<&NullBuffer>| nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| !nulls.inner());
        match &self.values {
            Values::F64(values, nulls) => kernels::missing_f64(values, nulls.as_ref()),
            Values::I64(_, nulls) => by_nulls(nulls.as_ref()),
            Values::Shared(array) => match array.as_primitive_opt::<Float64Type>() {
                Some(values) => kernels::missing_f64(values.values(), array.nulls()),
                None => by_nulls(array.nulls()),
            },
            Values::Text { .. } => {
                let array = self.values.snapshot(self.dtype)?;
                by_nulls(array.nulls())
            }
        }
    }

    fn outside(&self, low: f64, high: f64) -> Result<Option<BooleanBuffer>, DataError> {
        match &self.values {
            Values::F64(values, nulls) => Ok(kernels::outside_f64(values, nulls.as_ref(), low, high)),
            Values::I64(values, nulls) => Ok(Some(kernels::outside_i64(values, nulls.as_ref(), low, high))),
            Values::Shared(array) => match (array.as_primitive_opt::<Float64Type>(), integers(array)) {
                (Some(values), _) => Ok(kernels::outside_f64(values.values(), array.nulls(), low, high)),
                (None, Some(values)) => Ok(Some(kernels::outside_i64(values, array.nulls(), low, high))),
                (None, None) => Err(wrong_type(array, "f64 or i64")),
            },
            Values::Text { base, .. } => Err(wrong_type(base, "f64 or i64")),
        }
    }

    fn clip(&mut self, low: f64, high: f64) -> Result<(), DataError> {
        match &mut self.values {
            Values::F64(values, nulls) => {
                kernels::clip_f64_in_place(values, nulls.as_ref(), low, high);
            }
            Values::I64(values, nulls) => *values = kernels::clip_i64(values, nulls.as_ref(), low, high).0,
            Values::Text { base, .. } => return Err(wrong_type(base, "f64 or i64")),
            Values::Shared(array) => {
                let nulls = array.nulls().cloned();
                self.values = match (array.as_primitive_opt::<Float64Type>(), integers(array)) {
                    (Some(values), _) => Values::F64(kernels::clip_f64(values.values(), nulls.as_ref(), low, high).0, nulls),
                    (None, Some(values)) => Values::I64(kernels::clip_i64(values, nulls.as_ref(), low, high).0, nulls),
                    (None, None) => return Err(wrong_type(array, "f64 or i64")),
                };
            }
        }
        Ok(())
    }

    fn fill_missing(&mut self, with: f64) -> Result<(), DataError> {
        let whole = || {
            let is_whole = with.fract() == 0.0 && with.abs() < 9.0e15;
            is_whole.then_some(with as i64).ok_or_else(|| data_error(BAD_VALUE, format!("{with} is not a whole number, the column is")))
        };
        let filled = match &self.values {
            Values::F64(values, nulls) => kernels::fill_f64(values, nulls.as_ref(), with).map(|(values, _)| Values::F64(values, None)),
            Values::I64(values, nulls) => kernels::fill_i64(values, nulls.as_ref(), whole()?).map(|(values, _)| Values::I64(values, None)),
            Values::Text { base, .. } => return Err(wrong_type(base, "f64 or i64")),
            Values::Shared(array) => match (array.as_primitive_opt::<Float64Type>(), integers(array)) {
                (Some(values), _) => kernels::fill_f64(values.values(), array.nulls(), with).map(|(values, _)| Values::F64(values, None)),
                (None, Some(values)) => kernels::fill_i64(values, array.nulls(), whole()?).map(|(values, _)| Values::I64(values, None)),
                (None, None) => return Err(wrong_type(array, "f64 or i64")),
            },
        };
        if let Some(filled) = filled {
            self.values = filled;
        }
        Ok(())
    }

    fn write_f64(&mut self, start: u32, new: Vec<f64>, valid: &[u8], rows: usize) -> Result<(), DataError> {
        let (start, count) = window_of(start, u32::try_from(new.len()).unwrap_or(u32::MAX), rows)?;
        check_valid(valid, count)?;
        if let Values::Shared(array) = &self.values {
            let old = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(array, "f64"))?;
            let nulls = array.nulls().cloned();
            // A whole column needs no copy of what was there.
            let old = if count == rows { Vec::new() } else { old.values().to_vec() };
            self.values = Values::F64(old, nulls);
        }
        let Values::F64(values, nulls) = &mut self.values else {
            return Err(data_error(WRONG_TYPE, format!("the column is {}, not f64", self.dtype.word())));
        };
        *nulls = kernels::patch_nulls(nulls.as_ref(), rows, start, count, valid);
        if count == rows {
            *values = new;
        } else {
            values[start..start + count].copy_from_slice(&new);
        }
        Ok(())
    }

    fn write_i64(&mut self, start: u32, new: Vec<i64>, valid: &[u8], rows: usize) -> Result<(), DataError> {
        let (start, count) = window_of(start, u32::try_from(new.len()).unwrap_or(u32::MAX), rows)?;
        check_valid(valid, count)?;
        if let Values::Shared(array) = &self.values {
            let old = integers(array).ok_or_else(|| wrong_type(array, "i64"))?;
            let old = if count == rows { Vec::new() } else { old.to_vec() };
            self.values = Values::I64(old, array.nulls().cloned());
        }
        let Values::I64(values, nulls) = &mut self.values else {
            return Err(data_error(WRONG_TYPE, format!("the column is {}, not i64", self.dtype.word())));
        };
        *nulls = kernels::patch_nulls(nulls.as_ref(), rows, start, count, valid);
        if count == rows {
            *values = new;
        } else {
            values[start..start + count].copy_from_slice(&new);
        }
        Ok(())
    }

    fn write_text(&mut self, start: u32, text: TextValues, valid: &[u8], rows: usize) -> Result<(), DataError> {
        if self.dtype != DType::Utf8 {
            return Err(data_error(WRONG_TYPE, format!("the column is {}, not utf8", self.dtype.word())));
        }
        let new = text_array(text, valid)?;
        let (start, count) = window_of(start, u32::try_from(new.len()).unwrap_or(u32::MAX), rows)?;
        if count == rows {
            self.values = Values::Shared(Arc::new(new));
            return Ok(());
        }
        let ends_at = |windows: &[(usize, StringArray)]| windows.last().map_or(0, |(start, text)| start + text.len());
        match &mut self.values {
            Values::Text { windows, .. } if ends_at(windows) <= start => windows.push((start, new)),
            _ => {
                let base =
                    self.values.snapshot(self.dtype).ok_or_else(|| data_error(BAD_VALUE, "the text is larger than a column can be"))?;
                self.values = Values::Text { base, windows: vec![(start, new)] };
            }
        }
        Ok(())
    }

    fn write_raw(&mut self, start: u32, bytes: &[u8], valid: &[u8], rows: usize) -> Result<(), DataError> {
        if self.dtype != DType::Bool {
            let (chunks, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(data_error(WRONG_LENGTH, format!("{} bytes are not whole values of 8 bytes", bytes.len())));
            }
            return match self.dtype {
                DType::F64 => self.write_f64(start, chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect(), valid, rows),
                DType::I64 | DType::TimestampUs => {
                    self.write_i64(start, chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect(), valid, rows)
                }
                _ => Err(data_error(WRONG_TYPE, "the column is utf8, not of a fixed width")),
            };
        }
        let (start, count) = window_of(start, u32::try_from(bytes.len()).unwrap_or(u32::MAX), rows)?;
        check_valid(valid, count)?;
        let Values::Shared(array) = &self.values else { return Err(data_error(WRONG_TYPE, "the column is not bool")) };
        let old = array.as_boolean_opt().ok_or_else(|| wrong_type(array, "bool"))?;
        let window = start..start + count;
        let pick = |row| if window.contains(&row) { bytes[row - start] != 0 } else { old.values().value(row) };
        let values = BooleanBuffer::collect_bool(rows, pick);
        let nulls = kernels::patch_nulls(array.nulls(), rows, start, count, valid);
        self.values = Values::Shared(Arc::new(BooleanArray::new(values, nulls)));
        Ok(())
    }
}

impl Values {
    /// The values as they now stand.
    fn snapshot(&self, dtype: DType) -> Option<ArrayRef> {
        match self {
            Values::Shared(array) => Some(Arc::clone(array)),
            Values::F64(values, nulls) => Some(Arc::new(Float64Array::new(values.clone().into(), nulls.clone()))),
            Values::I64(values, nulls) => Some(i64_array(values.clone(), nulls.clone(), dtype)),
            Values::Text { base, windows } => spliced(base, windows).ok(),
        }
    }

    fn array(self, dtype: DType) -> Result<ArrayRef, arrow::error::ArrowError> {
        match self {
            Values::Shared(array) => Ok(array),
            Values::F64(values, nulls) => Ok(Arc::new(Float64Array::new(values.into(), nulls))),
            Values::I64(values, nulls) => Ok(i64_array(values, nulls, dtype)),
            Values::Text { base, windows } => spliced(&base, &windows),
        }
    }
}

pub(crate) fn i64_array(values: Vec<i64>, nulls: Option<NullBuffer>, dtype: DType) -> ArrayRef {
    if dtype == DType::TimestampUs {
        Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
    } else {
        Arc::new(Int64Array::new(values.into(), nulls))
    }
}

/// `base` with the windows laid over it.
fn spliced(base: &ArrayRef, windows: &[(usize, StringArray)]) -> Result<ArrayRef, arrow::error::ArrowError> {
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

type This = Resource<HostEditor>;

fn edit<T>(mut store: StoreContextMut<'_, HostState>, this: &This, with: impl FnOnce(&mut HostEditor) -> Result<T, DataError>) -> Reply<T> {
    let editor = store.data_mut().table.get_mut(this).map_err(Fault::from);
    reply(editor.and_then(|editor| with(editor).map_err(Fault::from)))
}

/// Links `editor`.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut rows = linker.instance(INTERFACE)?;
    rows.resource("editor", ResourceType::host::<HostEditor>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<HostEditor>::new_own(rep))?;
        Ok(())
    })?;
    rows.func_wrap("[method]editor.keep", |store, (this, start, mask, reason): (This, u32, Vec<u8>, String)| {
        edit(store, &this, |editor| editor.keep(start, &mask, &reason))
    })?;
    rows.func_wrap("[method]editor.keep-present", |store, (this, column, reason): (This, u32, String)| {
        edit(store, &this, |editor| editor.keep_present(column, &reason))
    })?;
    rows.func_wrap("[method]editor.keep-between", |store, (this, column, low, high, reason): (This, u32, f64, f64, String)| {
        edit(store, &this, |editor| editor.keep_between(column, low, high, &reason))
    })?;
    rows.func_wrap("[method]editor.fill-missing", |store, (this, column, value): (This, u32, f64)| {
        edit(store, &this, |editor| editor.column(column)?.fill_missing(value))
    })?;
    rows.func_wrap("[method]editor.clip", |store, (this, column, low, high): (This, u32, f64, f64)| {
        edit(store, &this, |editor| {
            check_bounds(low, high)?;
            editor.column(column)?.clip(low, high)
        })
    })?;
    add_writes(&mut rows)?;
    rows.func_wrap("[method]editor.add-column", |store: StoreContextMut<'_, HostState>, (this, column): (This, Column)| {
        let limits = store.data().limits;
        edit(store, &this, |editor| editor.add_column(&column, &limits))
    })?;
    rows.func_wrap("[method]editor.drop-column", |store, (this, column): (This, u32)| {
        edit(store, &this, |editor| {
            editor.column(column)?.is_dropped = true;
            Ok(())
        })
    })
}

type Write<T> = (This, u32, u32, T, Vec<u8>);

fn add_writes(rows: &mut wasmtime::component::LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    rows.func_wrap("[method]editor.write-f64", |store, (this, column, start, values, valid): Write<Vec<f64>>| {
        edit(store, &this, |editor| {
            let rows = editor.rows();
            editor.column(column)?.write_f64(start, values, &valid, rows)
        })
    })?;
    rows.func_wrap("[method]editor.write-i64", |store, (this, column, start, values, valid): Write<Vec<i64>>| {
        edit(store, &this, |editor| {
            let rows = editor.rows();
            editor.column(column)?.write_i64(start, values, &valid, rows)
        })
    })?;
    rows.func_wrap("[method]editor.write-text", |store, (this, column, start, values, valid): Write<TextValues>| {
        edit(store, &this, |editor| {
            let rows = editor.rows();
            editor.column(column)?.write_text(start, values, &valid, rows)
        })
    })?;
    rows.func_wrap("[method]editor.write-raw", |store, (this, column, start, values, valid): Write<Vec<u8>>| {
        edit(store, &this, |editor| {
            let rows = editor.rows();
            editor.column(column)?.write_raw(start, &values, &valid, rows)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(columns: Vec<(&str, ArrayRef)>) -> HostEditor {
        let columns = columns.into_iter().map(|(name, array)| (name.to_owned(), Role::Feature, array)).collect();
        let view = HostBatch::new(Batch::new(columns).unwrap(), |_| true);
        HostEditor::new(&view, Arc::from(["bad".to_owned(), "worse".to_owned()]))
    }

    fn floats(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Float64Array>())
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn text_values(values: &[&str]) -> TextValues {
        let ends = values.iter().scan(0, |end, value| {
            *end += value.len() as u32;
            Some(*end)
        });
        TextValues { offsets: std::iter::once(0).chain(ends).collect(), bytes: values.concat().into_bytes() }
    }

    fn write_text(editor: &mut HostEditor, start: u32, values: &[&str]) -> Result<(), DataError> {
        let rows = editor.rows();
        editor.column(0)?.write_text(start, text_values(values), &[], rows)
    }

    #[test]
    fn masks_are_intersected_and_the_first_reason_stays() {
        let mut editor = editor(vec![("x", floats(&[Some(1.0), None, Some(3.0), Some(9.0)]))]);
        editor.keep(1, &[1, 0], "worse").unwrap();
        editor.keep_between(0, 0.0, 5.0, "bad").unwrap();
        editor.keep(0, &[1, 1, 0, 1], "bad").unwrap();
        let edited = editor.finish().unwrap();
        assert_eq!(edited.dropped, [(2, "worse".to_owned()), (3, "bad".to_owned())]);
        assert_eq!(edited.kept, [0, 1]);
        assert_eq!(edited.rows.rows.column(0).as_ref(), floats(&[Some(1.0), None]).as_ref());
    }

    #[test]
    fn windows_of_text_are_laid_over_the_column_in_any_order() {
        let mut editor = editor(vec![("x", texts(&["a", "b", "c", "d", "e"]))]);
        write_text(&mut editor, 1, &["BB"]).unwrap();
        write_text(&mut editor, 3, &["", "E"]).unwrap();
        write_text(&mut editor, 0, &["A", "b2"]).unwrap();
        let edited = editor.finish().unwrap();
        assert_eq!(edited.rows.rows.column(0).as_ref(), texts(&["A", "b2", "c", "", "E"]).as_ref());
        assert_eq!(edited.cells_changed, 4);
    }

    #[test]
    fn numbers_are_written_by_window_with_their_validity() {
        let mut editor = editor(vec![("x", floats(&[Some(1.0), None, Some(3.0)])), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
        let rows = editor.rows();
        editor.column(0).unwrap().write_f64(1, vec![2.0, 4.0], &[1, 0], rows).unwrap();
        editor.column(1).unwrap().write_raw(0, &7_i64.to_le_bytes(), &[], rows).unwrap();
        editor.column(1).unwrap().clip(2.5, 6.5).unwrap();
        let edited = editor.finish().unwrap();
        assert_eq!(edited.rows.rows.column(0).as_ref(), floats(&[Some(1.0), Some(2.0), None]).as_ref());
        assert_eq!(edited.rows.rows.column(1).as_ref(), &Int64Array::from(vec![6, 3, 3]) as &dyn Array);
        assert_eq!(edited.cells_changed, 4);
    }

    #[test]
    fn columns_come_and_go() {
        let mut editor = editor(vec![("x", floats(&[None, Some(1.0)])), ("y", texts(&["a", "b"]))]);
        let limits = tidegate_vocab::limits::PluginLimits::CLEANER;
        let column = |name: &str, role: &str| Column { name: name.into(), dtype: "bool".into(), role: role.into(), nullable: true };
        assert_eq!(editor.add_column(&column("label", "label"), &limits).unwrap_err().code, NOT_GRANTED);
        assert_eq!(editor.add_column(&column("x", "feature"), &limits).unwrap_err().code, BAD_VALUE);
        let added = editor.add_column(&column("z", "feature"), &limits).unwrap();
        let rows = editor.rows();
        editor.column(added).unwrap().write_raw(0, &[1, 0], &[1, 0], rows).unwrap();
        editor.column(1).unwrap().is_dropped = true;
        assert_eq!(editor.column(1).err().map(|error| error.code), Some(NO_SUCH_COLUMN));
        editor.column(0).unwrap().fill_missing(5.0).unwrap();
        let edited = editor.finish().unwrap();
        let names: Vec<&str> = edited.rows.columns().map(|(name, ..)| name).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(edited.rows.rows.column(1).as_ref(), &BooleanArray::from(vec![Some(true), None]) as &dyn Array);
        assert_eq!(edited.cells_changed, 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_code() {
        let mut editor = editor(vec![("x", texts(&["a", "b"]))]);
        assert_eq!(write_text(&mut editor, 1, &["a", "b"]).unwrap_err().code, super::super::OUTSIDE_ROWS);
        assert_eq!(editor.keep(0, &[0], "unknown").unwrap_err().code, NOT_DECLARED);
        assert_eq!(editor.keep_between(0, 2.0, 1.0, "bad").unwrap_err().code, BAD_VALUE);
        let column = editor.column(0).unwrap();
        assert_eq!(column.clip(0.0, 1.0).unwrap_err().code, WRONG_TYPE);
        assert_eq!(column.write_f64(0, vec![1.0], &[], 2).unwrap_err().code, WRONG_TYPE);
        let broken = |offsets: &[u32], bytes: &[u8]| TextValues { offsets: offsets.to_vec(), bytes: bytes.to_vec() };
        for (text, code) in [
            (broken(&[0, 3], b"ab"), WRONG_LENGTH),
            (broken(&[0, 2, 1, 2], b"ab"), WRONG_LENGTH),
            (broken(&[], b""), WRONG_LENGTH),
            (broken(&[0, 1], &[0xff]), super::super::NOT_UTF8),
            (broken(&[0, 1, 2], "é".as_bytes()), super::super::NOT_UTF8),
        ] {
            assert_eq!(column.write_text(0, text, &[], 2).unwrap_err().code, code);
        }
    }
}
