//! `rows.batch`: an immutable view of the columns that a plugin was granted.
//!
//! A read costs one copy, from the column into the guest, and no allocation in the host. Where the guest sees something else than the
//! column holds (a 0 for a missing value, offsets that start at 0), it is gathered first in a vector that the store keeps. See `host/decisions/001-batches-cross-as-host-owned-resources.md`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowNativeType, DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use tidegate_vocab::{Batch, DType, Role};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType};

use crate::bindings::shared::rows::{Column, DataError};

use super::list::List;
use super::{Fault, HostState, NO_SUCH_COLUMN, OUTSIDE_ROWS, WRONG_TYPE, data_error, reply};

pub(crate) const INTERFACE: &str = "tidegate:plugin/rows@0.1.0";

/// A batch in the resource table.
pub struct HostBatch {
    pub(crate) batch: Batch,
    /// The numbers, in `batch`, of the columns that the plugin sees.
    pub(crate) granted: Vec<usize>,
    /// What the host keeps for it on the guest's account; 0 for one of the host's own.
    pub(crate) kept_bytes: u64,
}

impl HostBatch {
    /// A view of the columns whose name and role are granted; as far as the plugin can tell there are no others.
    pub(crate) fn new(batch: Batch, is_granted: impl Fn(&str, &Role) -> bool) -> HostBatch {
        let granted = batch.columns().enumerate().filter(|(_, (name, role, _))| is_granted(name, role)).map(|(index, _)| index).collect();
        HostBatch { batch, granted, kept_bytes: 0 }
    }

    /// What the plugin is told about the columns it sees.
    fn columns(&self) -> Vec<Column> {
        let schema = self.batch.rows.schema_ref();
        let describe = |index: &usize| {
            let array = self.batch.rows.column(*index);
            Column {
                name: schema.field(*index).name().clone(),
                dtype: DType::of(array.data_type()).map(DType::word).unwrap_or("unknown").to_owned(),
                role: self.batch.roles[*index].word(),
                nullable: array.null_count() > 0,
            }
        };
        self.granted.iter().map(describe).collect()
    }

    /// The window `start..start + count` of a column, sharing memory.
    fn window(&self, column: u32, start: u32, count: u32) -> Result<ArrayRef, DataError> {
        let index = usize::try_from(column).ok().and_then(|column| self.granted.get(column));
        let Some(index) = index else {
            return Err(data_error(NO_SUCH_COLUMN, format!("there is no column {column}: the batch has {}", self.granted.len())));
        };
        let (start, count) = window_of(start, count, self.batch.row_count())?;
        Ok(self.batch.rows.column(*index).slice(start, count))
    }
}

/// Checks a window against the number of rows.
pub(crate) fn window_of(start: u32, count: u32, rows: usize) -> Result<(usize, usize), DataError> {
    let fits = u64::from(start) + u64::from(count) <= rows as u64;
    if fits {
        Ok((start as usize, count as usize))
    } else {
        Err(data_error(OUTSIDE_ROWS, format!("rows {start}..{start}+{count} are outside the batch, which has {rows}")))
    }
}

pub(crate) fn wrong_type(array: &dyn Array, wanted: &str) -> DataError {
    let found = DType::of(array.data_type()).map_or("unknown", DType::word);
    data_error(WRONG_TYPE, format!("the column is {found}, not {wanted}"))
}

/// Vectors that windows are gathered in, kept from one read to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    f64: Arc<Vec<f64>>,
    i64: Arc<Vec<i64>>,
    u32: Arc<Vec<u32>>,
    u8: Arc<Vec<u8>>,
}

/// Text on its way into a guest.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct TextWindow {
    offsets: List<u32>,
    bytes: List<u8>,
}

/// Empties the vector, fills it and hands out a share of it, which is back when the guest has its copy.
fn gather<T: ArrowNativeType>(kept: &mut Arc<Vec<T>>, fill: impl FnOnce(&mut Vec<T>)) -> List<T> {
    if Arc::get_mut(kept).is_none() {
        *kept = Arc::new(Vec::new());
    }
    if let Some(values) = Arc::get_mut(kept) {
        values.clear();
        fill(values);
    }
    List::Gathered(Arc::clone(kept))
}

/// The values of a column, with 0 wherever one is missing.
fn zeroed<T: ArrowNativeType>(array: &dyn Array, values: &ScalarBuffer<T>, kept: &mut Arc<Vec<T>>) -> List<T> {
    if array.null_count() == 0 {
        return List::Column(values.clone());
    }
    gather(kept, |window| {
        window.extend_from_slice(values);
        zero_missing(array, window, 1);
    })
}

/// Writes 0 wherever a value is missing.
fn zero_missing<T: Default>(array: &dyn Array, values: &mut [T], width: usize) {
    if array.null_count() > 0 {
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            values[row * width..][..width].fill_with(T::default);
        }
    }
}

fn read_f64(array: &ArrayRef, scratch: &mut Scratch) -> Result<List<f64>, Fault> {
    let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(array, "f64"))?;
    Ok(zeroed(array, values.values(), &mut scratch.f64))
}

fn read_i64(array: &ArrayRef, scratch: &mut Scratch) -> Result<List<i64>, Fault> {
    let values = integer_buffer(array).ok_or_else(|| wrong_type(array, "i64"))?;
    Ok(zeroed(array, values, &mut scratch.i64))
}

/// The values of an `i64` or `timestamp-us` column.
pub(crate) fn integers(array: &ArrayRef) -> Option<&[i64]> {
    integer_buffer(array).map(|values| values.as_ref())
}

fn integer_buffer(array: &ArrayRef) -> Option<&ScalarBuffer<i64>> {
    match array.data_type() {
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|array| array.values()),
        DataType::Timestamp(..) => array.as_primitive_opt::<TimestampMicrosecondType>().map(|array| array.values()),
        _ => None,
    }
}

fn read_text(array: &ArrayRef, scratch: &mut Scratch) -> Result<TextWindow, Fault> {
    let text = array.as_string_opt::<i32>().ok_or_else(|| wrong_type(array, "utf8"))?;
    let offsets = text.offsets();
    // Arrow's offsets rise from 0 or more, so that neither they nor their differences are negative.
    let first = offsets.first().copied().unwrap_or(0).max(0);
    let last = offsets.last().copied().unwrap_or(0).max(first);
    let offsets = if first == 0 {
        List::of_buffer(offsets.inner().inner(), 0, offsets.len())
    } else {
        gather(&mut scratch.u32, |window| window.extend(offsets.iter().map(|offset| offset.wrapping_sub(first) as u32)))
    };
    Ok(TextWindow { offsets, bytes: List::of_buffer(text.values(), first as usize, (last - first) as usize) })
}

fn read_raw(array: &ArrayRef, scratch: &mut Scratch) -> Result<List<u8>, Fault> {
    if let Some(flags) = array.as_boolean_opt() {
        return Ok(gather(&mut scratch.u8, |window| raw_flags(flags, window)));
    }
    let floats = array.as_primitive_opt::<Float64Type>().map(|values| values.values().inner());
    let buffer = floats.or_else(|| integer_buffer(array).map(ScalarBuffer::inner));
    let buffer = buffer.ok_or_else(|| wrong_type(array, "of a fixed width"))?;
    if array.null_count() == 0 {
        return Ok(List::of_buffer(buffer, 0, buffer.len()));
    }
    Ok(gather(&mut scratch.u8, |window| {
        window.extend_from_slice(buffer.as_slice());
        zero_missing(array, window, 8);
    }))
}

fn raw_flags(flags: &BooleanArray, window: &mut Vec<u8>) {
    window.extend(flags.values().iter().map(u8::from));
    zero_missing(flags, window, 1);
}

fn read_valid(array: &ArrayRef, scratch: &mut Scratch) -> List<u8> {
    gather(&mut scratch.u8, |window| {
        if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
            window.extend(nulls.iter().map(u8::from));
        }
    })
}

type Window = (Resource<HostBatch>, u32, u32, u32);

/// Runs one read: finds the window, and lends the scratch vectors.
fn read<T>(
    mut store: StoreContextMut<'_, HostState>,
    (batch, column, start, count): Window,
    with: impl FnOnce(&ArrayRef, &mut Scratch) -> Result<T, Fault>,
) -> super::Reply<T> {
    let state = store.data_mut();
    state.count_call()?;
    let run = || {
        let window = state.table.get(&batch)?.window(column, start, count)?;
        with(&window, &mut state.scratch)
    };
    reply(run())
}

/// Links `batch`, by hand: generated code would take and give vectors of its own.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut rows = linker.instance(INTERFACE)?;
    rows.resource("batch", ResourceType::host::<HostBatch>(), |mut store, rep| {
        let state: &mut HostState = store.data_mut();
        let batch = state.table.delete(Resource::<HostBatch>::new_own(rep))?;
        state.limiter.let_go(batch.kept_bytes);
        Ok(())
    })?;
    rows.func_wrap("[method]batch.row-count", |mut store, (batch,): (Resource<HostBatch>,)| {
        store.data_mut().count_call()?;
        let rows = store.data().table.get(&batch)?.batch.row_count();
        Ok((u32::try_from(rows).unwrap_or(u32::MAX),))
    })?;
    rows.func_wrap("[method]batch.columns", |mut store, (batch,): (Resource<HostBatch>,)| {
        store.data_mut().count_call()?;
        Ok((store.data().table.get(&batch)?.columns(),))
    })?;
    rows.func_wrap("[method]batch.read-f64", |store, window: Window| read(store, window, read_f64))?;
    rows.func_wrap("[method]batch.read-i64", |store, window: Window| read(store, window, read_i64))?;
    rows.func_wrap("[method]batch.read-text", |store, window: Window| read(store, window, read_text))?;
    rows.func_wrap("[method]batch.read-raw", |store, window: Window| read(store, window, read_raw))?;
    rows.func_wrap("[method]batch.read-valid", |store, window: Window| read(store, window, |array, scratch| Ok(read_valid(array, scratch))))
}
