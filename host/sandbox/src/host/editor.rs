//! `rows.editor`: edits to one batch, copy on write.
//!
//! Invariant: the input batch never changes, a column that was not touched is the input's own, and nothing of an edit is seen
//! outside before the call has returned ok. A cleaner reaches feature columns and no others, so that label, time and id are
//! untouched by construction.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use tidegate_vocab::{Batch, KeptRows, Role};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use crate::bindings::shared::rows::{Column, DataError, TextValues};

use super::builder::checked_column;
use super::column::EditedColumn;
use super::list::Numbers;
use super::rows::{HostBatch, INTERFACE, window_of};
use super::{BAD_VALUE, Fault, HostState, NO_SUCH_COLUMN, NOT_DECLARED, NOT_GRANTED, OVER_LIMIT, Reply, data_error, reply};

/// An editor in the resource table.
pub struct HostEditor {
    input: Batch,
    /// The columns the plugin sees, in its numbering, then the ones it added.
    columns: Vec<EditedColumn>,
    /// The numbers, rising, of the columns that it sees and must not edit; next to always none.
    read_only: Vec<u32>,
    /// For each row 0, or one more than the number of the reason it was dropped for; empty while no row was.
    dropped_by: Vec<u16>,
    reasons: Arc<[String]>,
    /// What the host keeps for it on the guest's account: added columns and written text.
    pub(crate) kept_bytes: u64,
}

/// What an editor did.
pub(crate) struct Edited {
    pub(crate) rows: Batch,
    pub(crate) dropped: Vec<(u32, String)>,
    pub(crate) kept: KeptRows,
    /// Columns before and after, of those that were edited and kept.
    pub(crate) edited: Vec<(ArrayRef, ArrayRef)>,
}

impl HostEditor {
    pub(crate) fn new(view: &HostBatch, reasons: Arc<[String]>, may_edit: impl Fn(&str, &Role) -> bool) -> HostEditor {
        let schema = view.batch.rows.schema_ref();
        let edited = |index: &usize| {
            let array = view.batch.rows.column(*index);
            EditedColumn::new(schema.field(*index).name(), view.batch.roles[*index].clone(), Some(*index), array)
        };
        let is_read_only = |index: &usize| !may_edit(schema.field(*index).name(), &view.batch.roles[*index]);
        HostEditor {
            columns: view.granted.iter().map(edited).collect(),
            read_only: (0..).zip(&view.granted).filter(|(_, index)| is_read_only(index)).map(|(column, _)| column).collect(),
            input: view.batch.clone(),
            dropped_by: Vec::new(),
            reasons,
            kept_bytes: 0,
        }
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

    /// Name and role of a column that is there to be read only.
    fn read_only(&self, column: u32) -> Option<(&str, &Role)> {
        self.read_only.binary_search(&column).ok()?;
        self.columns.get(column as usize).map(|column| (column.name.as_str(), &column.role))
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
        let nulls = new_null_array(&dtype.arrow(), self.rows());
        self.columns.push(EditedColumn::new(&column.name, role, None, &nulls));
        Ok((self.columns.len() - 1) as u32)
    }

    /// Applies the edits.
    pub(crate) fn finish(self) -> Result<Edited, arrow::error::ArrowError> {
        let mut edited = Vec::new();
        let mut replaced: Vec<Option<Option<ArrayRef>>> = vec![None; self.input.roles.len()];
        let mut added = Vec::new();
        for column in self.columns {
            match (column.source, column.is_dropped) {
                (Some(source), true) => replaced[source] = Some(None),
                (Some(source), false) => {
                    let before = self.input.rows.column(source);
                    let array = column.finish()?;
                    if !Arc::ptr_eq(before, &array) {
                        edited.push((Arc::clone(before), Arc::clone(&array)));
                        replaced[source] = Some(Some(array));
                    }
                }
                (None, true) => {}
                (None, false) => added.push((column.name.clone(), column.role.clone(), column.finish()?)),
            }
        }
        if added.is_empty() && replaced.iter().all(Option::is_none) {
            // Making a batch of the same columns costs as much as a small call.
            return without_dropped(self.input, &self.dropped_by, &self.reasons, edited);
        }
        let mut columns = Vec::with_capacity(self.input.roles.len() + added.len());
        for ((name, role, array), replaced) in self.input.columns().zip(replaced) {
            match replaced {
                None => columns.push((name.to_owned(), role.clone(), Arc::clone(array))),
                Some(None) => {}
                Some(Some(array)) => columns.push((name.to_owned(), role.clone(), array)),
            }
        }
        columns.extend(added);
        let batch = Batch::new(columns).map_err(|error| arrow::error::ArrowError::InvalidArgumentError(error.to_string()))?;
        without_dropped(batch, &self.dropped_by, &self.reasons, edited)
    }
}

/// Leaves out the rows that were dropped, and says which.
fn without_dropped(
    rows: Batch,
    dropped_by: &[u16],
    reasons: &[String],
    edited: Vec<(ArrayRef, ArrayRef)>,
) -> Result<Edited, arrow::error::ArrowError> {
    let row_count = rows.row_count() as u32;
    if dropped_by.iter().all(|reason| *reason == 0) {
        return Ok(Edited { rows, dropped: Vec::new(), kept: KeptRows::All(row_count), edited });
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
    Ok(Edited { rows: Batch { rows: filtered, roles: rows.roles }, dropped, kept: KeptRows::These(kept), edited })
}

fn check_bounds(low: f64, high: f64) -> Result<(), DataError> {
    if low <= high { Ok(()) } else { Err(data_error(BAD_VALUE, format!("the bounds {low} and {high} are not a range"))) }
}

/// A cell of an added column that holds no text, with its validity.
const CELL_BYTES_MAX: usize = 9;
/// What a window of text takes besides its text, so that many small ones are not free.
const WINDOW_BYTES: usize = 256;

type This = Resource<HostEditor>;

fn edit<T>(mut store: StoreContextMut<'_, HostState>, this: &This, with: impl FnOnce(&mut HostEditor) -> Result<T, DataError>) -> Reply<T> {
    let state = store.data_mut();
    state.count_call()?;
    let editor = state.table.get_mut(this).map_err(Fault::from);
    reply(editor.and_then(|editor| with(editor).map_err(Fault::from)))
}

/// [`edit`] for what makes the host keep `bytes` more until the call has ended.
fn edit_keeping<T>(
    mut store: StoreContextMut<'_, HostState>,
    this: &This,
    bytes: usize,
    with: impl FnOnce(&mut HostEditor) -> Result<T, DataError>,
) -> Reply<T> {
    let state = store.data_mut();
    let bytes = bytes as u64;
    if let Err(hit) = state.limiter.keep(bytes) {
        state.limiter.reached(hit.limit, || hit.at.clone());
        return reply(Err(data_error(OVER_LIMIT, hit.to_string()).into()));
    }
    match state.table.get_mut(this) {
        Ok(editor) => editor.kept_bytes += bytes,
        Err(error) => return reply(Err(error.into())),
    }
    edit(store, this, with)
}

/// Why a column must not be edited, if so: the line that would grant it goes to the operator and to the guest.
fn refusal(state: &mut HostState, this: &This, column: u32) -> wasmtime::Result<Option<DataError>> {
    let Some((name, role)) = state.table.get(this)?.read_only(column).map(|(name, role)| (name.to_owned(), role.clone())) else {
        return Ok(None);
    };
    state.count_call()?;
    if role != Role::Feature {
        let message = format!("the column `{name}` has the role `{}`; a cleaner edits features and nothing else", role.word());
        return Ok(Some(data_error(NOT_GRANTED, message)));
    }
    Ok(Some(state.deny_edit(&name)))
}

/// [`edit`] for what changes one column.
fn edit_column(
    mut store: StoreContextMut<'_, HostState>,
    this: &This,
    column: u32,
    with: impl FnOnce(&mut EditedColumn) -> Result<(), DataError>,
) -> Reply<()> {
    if let Some(denied) = refusal(store.data_mut(), this, column)? {
        return reply(Err(denied.into()));
    }
    edit(store, this, |editor| with(editor.column(column)?))
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
        edit_column(store, &this, column, |column| column.fill_missing(value))
    })?;
    rows.func_wrap("[method]editor.clip", |store, (this, column, low, high): (This, u32, f64, f64)| {
        edit_column(store, &this, column, |column| {
            check_bounds(low, high)?;
            column.clip(low, high)
        })
    })?;
    add_writes(&mut rows)?;
    rows.func_wrap("[method]editor.add-column", |mut store: StoreContextMut<'_, HostState>, (this, column): (This, Column)| {
        // Asked first, so that nobody learns by adding a column whether one of this name is withheld.
        if let Some(denied) = store.data_mut().refuse_added(&column.name)? {
            return reply(Err(denied.into()));
        }
        let limits = store.data().limits;
        let rows = store.data().table.get(&this)?.rows();
        let bytes = rows * CELL_BYTES_MAX + column.name.len();
        edit_keeping(store, &this, bytes, |editor| editor.add_column(&column, &limits))
    })?;
    rows.func_wrap("[method]editor.drop-column", |store, (this, column): (This, u32)| {
        edit_column(store, &this, column, |column| {
            column.is_dropped = true;
            Ok(())
        })
    })
}

type Write<T> = (This, u32, u32, T, Vec<u8>);

fn add_writes(rows: &mut wasmtime::component::LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    rows.func_wrap("[method]editor.write-f64", |store, (this, column, start, values, valid): Write<Numbers>| {
        let values = values.copied(&store);
        edit_column(store, &this, column, |column| column.write_f64(start, values, &valid))
    })?;
    rows.func_wrap("[method]editor.write-i64", |store, (this, column, start, values, valid): Write<Vec<i64>>| {
        edit_column(store, &this, column, |column| column.write_i64(start, values, &valid))
    })?;
    rows.func_wrap("[method]editor.write-text", |mut store, (this, column, start, values, valid): Write<TextValues>| {
        if let Some(denied) = refusal(store.data_mut(), &this, column)? {
            return reply(Err(denied.into()));
        }
        let bytes = values.bytes.len() + values.offsets.len() * size_of::<u32>() + WINDOW_BYTES;
        edit_keeping(store, &this, bytes, |editor| editor.column(column)?.write_text(start, values, &valid))
    })?;
    rows.func_wrap("[method]editor.write-raw", |store, (this, column, start, values, valid): Write<Vec<u8>>| {
        edit_column(store, &this, column, |column| column.write_raw(start, &values, &valid))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Float64Array, Int64Array, StringArray};

    use super::super::column::changed_cells;
    use super::super::{NOT_UTF8, OUTSIDE_ROWS, WRONG_LENGTH, WRONG_TYPE};
    use super::*;

    fn editor(columns: Vec<(&str, ArrayRef)>) -> HostEditor {
        let columns = columns.into_iter().map(|(name, array)| (name.to_owned(), Role::Feature, array)).collect();
        let view = HostBatch::new(Batch::new(columns).unwrap(), |_, _| true);
        HostEditor::new(&view, Arc::from(["bad".to_owned(), "worse".to_owned()]), |_, _| true)
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

    fn cells_changed(edited: &Edited) -> u64 {
        edited.edited.iter().map(|(before, after)| changed_cells(before, after)).sum()
    }

    fn write_text(editor: &mut HostEditor, start: u32, values: &[&str]) -> Result<(), DataError> {
        editor.column(0)?.write_text(start, text_values(values), &[])
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
        assert_eq!(cells_changed(&edited), 4);
    }

    #[test]
    fn numbers_are_written_by_window_with_their_validity() {
        let mut editor = editor(vec![("x", floats(&[Some(1.0), None, Some(3.0)])), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
        editor.column(0).unwrap().write_f64(1, vec![2.0, 4.0], &[1, 0]).unwrap();
        editor.column(1).unwrap().write_raw(0, &7_i64.to_le_bytes(), &[]).unwrap();
        editor.column(1).unwrap().clip(2.5, 6.5).unwrap();
        let edited = editor.finish().unwrap();
        assert_eq!(edited.rows.rows.column(0).as_ref(), floats(&[Some(1.0), Some(2.0), None]).as_ref());
        assert_eq!(edited.rows.rows.column(1).as_ref(), &Int64Array::from(vec![6, 3, 3]) as &dyn Array);
        assert_eq!(cells_changed(&edited), 4);
    }

    #[test]
    fn columns_come_and_go() {
        let mut editor = editor(vec![("x", floats(&[None, Some(1.0)])), ("y", texts(&["a", "b"]))]);
        let limits = tidegate_vocab::limits::PluginLimits::CLEANER;
        let column = |name: &str, role: &str| Column { name: name.into(), dtype: "bool".into(), role: role.into(), nullable: true };
        assert_eq!(editor.add_column(&column("label", "label"), &limits).unwrap_err().code, NOT_GRANTED);
        assert_eq!(editor.add_column(&column("x", "feature"), &limits).unwrap_err().code, BAD_VALUE);
        let added = editor.add_column(&column("z", "feature"), &limits).unwrap();
        editor.column(added).unwrap().write_raw(0, &[1, 0], &[1, 0]).unwrap();
        editor.column(1).unwrap().is_dropped = true;
        assert_eq!(editor.column(1).err().map(|error| error.code), Some(NO_SUCH_COLUMN));
        editor.column(0).unwrap().fill_missing(5.0).unwrap();
        let edited = editor.finish().unwrap();
        let names: Vec<&str> = edited.rows.columns().map(|(name, ..)| name).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(edited.rows.rows.column(1).as_ref(), &BooleanArray::from(vec![Some(true), None]) as &dyn Array);
        assert_eq!(cells_changed(&edited), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_code() {
        let mut editor = editor(vec![("x", texts(&["a", "b"]))]);
        assert_eq!(write_text(&mut editor, 1, &["a", "b"]).unwrap_err().code, OUTSIDE_ROWS);
        assert_eq!(editor.keep(0, &[0], "unknown").unwrap_err().code, NOT_DECLARED);
        assert_eq!(editor.keep_between(0, 2.0, 1.0, "bad").unwrap_err().code, BAD_VALUE);
        let column = editor.column(0).unwrap();
        assert_eq!(column.clip(0.0, 1.0).unwrap_err().code, WRONG_TYPE);
        assert_eq!(column.write_f64(0, vec![1.0], &[]).unwrap_err().code, WRONG_TYPE);
        let broken = |offsets: &[u32], bytes: &[u8]| TextValues { offsets: offsets.to_vec(), bytes: bytes.to_vec() };
        for (text, code) in [
            (broken(&[0, 3], b"ab"), WRONG_LENGTH),
            (broken(&[0, 2, 1, 2], b"ab"), WRONG_LENGTH),
            (broken(&[], b""), WRONG_LENGTH),
            (broken(&[0, 1], &[0xff]), NOT_UTF8),
            (broken(&[0, 1, 2], "é".as_bytes()), NOT_UTF8),
        ] {
            assert_eq!(column.write_text(0, text, &[]).unwrap_err().code, code);
        }
    }
}
