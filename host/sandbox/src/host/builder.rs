//! `rows.builder`: makes a batch, column by column.
//!
//! Invariant: a builder never holds more than `output_rows_max` rows, and all batches that one instance makes never more than
//! `output_bytes_max` bytes; names, types and roles are checked when it is made, text when it is pushed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{Batch, DType, Role};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use crate::bindings::shared::rows::{Column, DataError, TextValues};
use crate::call::quoted;

use super::column::i64_array;
use super::kernels::canonical;
use super::list::Numbers;
use super::rows::{HostBatch, INTERFACE};
use super::{BAD_VALUE, Fault, HostState, NO_SUCH_COLUMN, NOT_UTF8, OVER_LIMIT, Reply, WRONG_LENGTH, WRONG_TYPE, data_error, reply};

/// A builder in the resource table.
pub struct HostBuilder {
    columns: Vec<GrowingColumn>,
    /// What was wrong with the columns; every later call says so, because a constructor cannot.
    broken: Option<DataError>,
    /// What the host keeps for it on the guest's account.
    kept_bytes: u64,
}

struct GrowingColumn {
    name: String,
    role: Role,
    dtype: DType,
    values: Growing,
    /// One byte a row, or empty while all are present.
    valid: Vec<u8>,
}

enum Growing {
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<u8>),
    Text { offsets: Vec<i32>, bytes: Vec<u8> },
}

/// Checks what a plugin says of a column it makes.
pub(crate) fn checked_column(column: &Column, limits: &PluginLimits) -> Result<(DType, Role), DataError> {
    let name = quoted(&column.name, limits.metadata_bytes_max);
    if column.name.is_empty() || name != column.name {
        return Err(data_error(BAD_VALUE, "a column's name is 1 to `metadata_bytes_max` bytes without control characters"));
    }
    if quoted(&column.role, limits.metadata_bytes_max) != column.role {
        return Err(data_error(BAD_VALUE, "a column's role is at most `metadata_bytes_max` bytes without control characters"));
    }
    let dtype = DType::from_word(&column.dtype)
        .ok_or_else(|| data_error(WRONG_TYPE, format!("this host has no type of the name given for `{name}`")))?;
    let role = Role::from_word(&column.role)
        .ok_or_else(|| data_error(BAD_VALUE, format!("this host has no role of the name given for `{name}`")))?;
    Ok((dtype, role))
}

/// Text as an Arrow array; every way in which it can be wrong is checked.
pub(crate) fn text_array(text: TextValues, valid: &[u8]) -> Result<StringArray, DataError> {
    let rows = check_text(&text)?;
    if i32::try_from(text.bytes.len()).is_err() {
        return Err(data_error(OVER_LIMIT, "the text is larger than a column can be"));
    }
    // They rise to the number of bytes, which fits.
    let offsets: Vec<i32> = text.offsets.iter().map(|offset| *offset as i32).collect();
    let nulls = nulls_of(valid, rows)?;
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(text.bytes), nulls)
        .map_err(|_| data_error(NOT_UTF8, "the bytes are not UTF-8, or an offset lies inside a character"))
}

/// The number of rows of a text whose offsets rise from 0 to its length.
fn check_text(text: &TextValues) -> Result<usize, DataError> {
    // Without a way out of the loop, so that it is vectorised: almost every text is in order.
    let rises = text.offsets.windows(2).fold(true, |rises, pair| rises & (pair[0] <= pair[1]));
    let spans = text.offsets.first() == Some(&0) && text.offsets.last().is_some_and(|last| *last as usize == text.bytes.len());
    if rises && spans {
        return Ok(text.offsets.len() - 1);
    }
    Err(data_error(WRONG_LENGTH, "the offsets do not rise from 0 to the number of bytes"))
}

fn nulls_of(valid: &[u8], rows: usize) -> Result<Option<NullBuffer>, DataError> {
    if valid.is_empty() {
        return Ok(None);
    }
    if valid.len() != rows {
        return Err(data_error(WRONG_LENGTH, format!("`valid` has {} entries for {rows} values", valid.len())));
    }
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| valid[row] != 0));
    Ok(Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

impl HostBuilder {
    fn new(columns: &[Column], limits: &PluginLimits) -> HostBuilder {
        let mut builder = HostBuilder { columns: Vec::new(), broken: None, kept_bytes: 0 };
        if columns.len() > limits.metadata_entries_max as usize {
            builder.broken = Some(data_error(OVER_LIMIT, format!("a batch has at most {} columns", limits.metadata_entries_max)));
            return builder;
        }
        let mut names = std::collections::HashSet::new();
        for column in columns {
            let checked = checked_column(column, limits).and_then(|checked| match names.insert(column.name.as_str()) {
                true => Ok(checked),
                false => Err(data_error(BAD_VALUE, format!("two columns are named `{}`", column.name))),
            });
            match checked {
                Ok((dtype, role)) => {
                    let values = Growing::new(dtype);
                    builder.columns.push(GrowingColumn { name: column.name.clone(), role, dtype, values, valid: Vec::new() });
                }
                Err(error) => {
                    builder.broken = Some(error);
                    return builder;
                }
            }
        }
        builder
    }

    /// Makes room for `rows` more values in a column, or says why there is none.
    fn grow(&mut self, column: u32, rows: usize, valid: &[u8], limits: &PluginLimits) -> Result<&mut GrowingColumn, Fault> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone().into());
        }
        let count = self.columns.len();
        let Some(column) = self.columns.get_mut(column as usize) else {
            return Err(data_error(NO_SUCH_COLUMN, format!("there is no column {column}: the batch has {count}")).into());
        };
        if !valid.is_empty() && valid.len() != rows {
            return Err(data_error(WRONG_LENGTH, format!("`valid` has {} entries for {rows} values", valid.len())).into());
        }
        let total = column.values.len() + rows;
        if total as u64 > u64::from(limits.output_rows_max) {
            return Err(data_error(OVER_LIMIT, format!("`output_rows_max` is {}", limits.output_rows_max)).into());
        }
        Ok(column)
    }

    fn finish(self) -> Result<Batch, DataError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let rows = self.columns.first().map_or(0, |column| column.values.len());
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            if column.values.len() != rows {
                let found = column.values.len();
                return Err(data_error(WRONG_LENGTH, format!("the column `{}` has {found} rows, the first has {rows}", column.name)));
            }
            let nulls = nulls_of(&column.valid, rows)?;
            columns.push((column.name, column.role, column.values.array(nulls, column.dtype)?));
        }
        Batch::new(columns).map_err(|error| data_error(BAD_VALUE, error.to_string()))
    }
}

impl GrowingColumn {
    /// What it takes before it has a value.
    fn own_bytes(&self) -> u64 {
        let role = if let Role::Probability(class) = &self.role { class.len() } else { 0 };
        (size_of::<GrowingColumn>() + self.name.len() + role) as u64
    }

    /// Appends the validity of `rows` values that were just appended.
    fn push_valid(&mut self, valid: &[u8], rows: usize) {
        let before = self.values.len() - rows;
        if !self.valid.is_empty() || valid.contains(&0) {
            self.valid.resize(before, 1);
            if valid.is_empty() { self.valid.resize(before + rows, 1) } else { self.valid.extend_from_slice(valid) }
        }
    }

    fn wrong(&self, pushed: &str) -> Fault {
        data_error(WRONG_TYPE, format!("the column `{}` is {}, not {pushed}", self.name, self.dtype.word())).into()
    }

    /// Appends values whose NaNs are canonical.
    fn push_f64(&mut self, new: Vec<f64>, valid: &[u8]) -> Result<(), Fault> {
        let rows = new.len();
        match &mut self.values {
            Growing::F64(values) if values.is_empty() => *values = new,
            Growing::F64(values) => values.extend_from_slice(&new),
            _ => return Err(self.wrong("f64")),
        }
        self.push_valid(valid, rows);
        Ok(())
    }

    fn push_i64(&mut self, new: Vec<i64>, valid: &[u8]) -> Result<(), Fault> {
        let rows = new.len();
        match &mut self.values {
            Growing::I64(values) if values.is_empty() => *values = new,
            Growing::I64(values) => values.extend_from_slice(&new),
            _ => return Err(self.wrong("i64 or timestamp-us")),
        }
        self.push_valid(valid, rows);
        Ok(())
    }

    fn push_text(&mut self, text: &TextValues, valid: &[u8]) -> Result<(), Fault> {
        let rows = check_text(text)?;
        if std::str::from_utf8(&text.bytes).is_err() {
            return Err(data_error(NOT_UTF8, "the bytes are not UTF-8").into());
        }
        let Growing::Text { offsets, bytes } = &mut self.values else { return Err(self.wrong("utf8")) };
        let fits = bytes.len() + text.bytes.len() <= i32::MAX as usize;
        if !fits {
            return Err(data_error(OVER_LIMIT, "the text is larger than a column can be").into());
        }
        let base = bytes.len() as i32;
        offsets.extend(text.offsets[1..].iter().map(|offset| base + *offset as i32));
        bytes.extend_from_slice(&text.bytes);
        self.push_valid(valid, rows);
        Ok(())
    }

    fn push_raw(&mut self, raw: &[u8], valid: &[u8]) -> Result<(), Fault> {
        if let Growing::Bool(values) = &mut self.values {
            values.extend_from_slice(raw);
            self.push_valid(valid, raw.len());
            return Ok(());
        }
        let (chunks, rest) = raw.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(data_error(WRONG_LENGTH, format!("{} bytes are not whole values of 8 bytes", raw.len())).into());
        }
        match &mut self.values {
            Growing::F64(values) => values.extend(chunks.iter().map(|chunk| canonical(f64::from_le_bytes(*chunk)))),
            Growing::I64(values) => values.extend(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk))),
            _ => return Err(self.wrong("of a fixed width")),
        }
        self.push_valid(valid, chunks.len());
        Ok(())
    }
}

impl Growing {
    fn new(dtype: DType) -> Growing {
        match dtype {
            DType::F64 => Growing::F64(Vec::new()),
            DType::I64 | DType::TimestampUs => Growing::I64(Vec::new()),
            DType::Bool => Growing::Bool(Vec::new()),
            DType::Utf8 => Growing::Text { offsets: vec![0], bytes: Vec::new() },
        }
    }

    fn len(&self) -> usize {
        match self {
            Growing::F64(values) => values.len(),
            Growing::I64(values) => values.len(),
            Growing::Bool(values) => values.len(),
            Growing::Text { offsets, .. } => offsets.len() - 1,
        }
    }

    fn array(self, nulls: Option<NullBuffer>, dtype: DType) -> Result<ArrayRef, DataError> {
        Ok(match self {
            Growing::F64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Growing::I64(values) => i64_array(values.into(), nulls, dtype),
            Growing::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(values.len(), |row| values[row] != 0), nulls)),
            Growing::Text { offsets, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let array = StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls);
                Arc::new(array.map_err(|_| data_error(NOT_UTF8, "an offset lies inside a character"))?)
            }
        })
    }
}

type This = Resource<HostBuilder>;
type Push<T> = (This, u32, T, Vec<u8>);

fn push(
    mut store: StoreContextMut<'_, HostState>,
    this: &This,
    (column, rows, bytes): (u32, usize, usize),
    valid: &[u8],
    with: impl FnOnce(&mut GrowingColumn) -> Result<(), Fault>,
) -> Reply<()> {
    let state = store.data_mut();
    state.count_call()?;
    let limits = state.limits;
    // A value and a byte of its validity.
    let bytes = bytes as u64 + rows as u64;
    if let Err(hit) = state.limiter.keep(bytes) {
        state.limiter.reached(hit.limit, || hit.at.clone());
        return reply(Err(data_error(OVER_LIMIT, hit.to_string()).into()));
    }
    let result = state.table.get_mut(this).map_err(Fault::from);
    let result = result.and_then(|builder| {
        with(builder.grow(column, rows, valid, &limits)?)?;
        builder.kept_bytes += bytes;
        Ok(())
    });
    if result.is_err() {
        state.limiter.let_go(bytes);
    }
    if let Err(Fault::Data(error)) = &result
        && error.code == OVER_LIMIT
    {
        state.limiter.reached("output_rows_max", || format!("it made too large a batch: {}", error.message));
    }
    reply(result)
}

/// Links `builder`.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut rows = linker.instance(INTERFACE)?;
    rows.resource("builder", ResourceType::host::<HostBuilder>(), |mut store, rep| {
        let state: &mut HostState = store.data_mut();
        let builder = state.table.delete(Resource::<HostBuilder>::new_own(rep))?;
        state.limiter.let_go(builder.kept_bytes);
        Ok(())
    })?;
    rows.func_wrap("[constructor]builder", |mut store, (columns,): (Vec<Column>,)| {
        let state: &mut HostState = store.data_mut();
        state.count_call()?;
        let mut builder = HostBuilder::new(&columns, &state.limits);
        builder.kept_bytes = builder.columns.iter().map(GrowingColumn::own_bytes).sum();
        state.limiter.keep(builder.kept_bytes)?;
        if builder.broken.as_ref().is_some_and(|error| error.code == OVER_LIMIT) {
            state.limiter.reached("metadata_entries_max", || format!("it made a batch of {} columns", columns.len()));
        }
        Ok((state.table.push(builder)?,))
    })?;
    rows.func_wrap("[method]builder.push-f64", |store, (this, column, values, valid): Push<Numbers>| {
        let values = values.copied(&store);
        push(store, &this, (column, values.len(), values.len() * 8), &valid, |column| column.push_f64(values, &valid))
    })?;
    rows.func_wrap("[method]builder.push-i64", |store, (this, column, values, valid): Push<Vec<i64>>| {
        push(store, &this, (column, values.len(), values.len() * 8), &valid, |column| column.push_i64(values, &valid))
    })?;
    rows.func_wrap("[method]builder.push-text", |store, (this, column, text, valid): Push<TextValues>| {
        let rows = text.offsets.len().saturating_sub(1);
        push(store, &this, (column, rows, text.bytes.len() + rows * 4), &valid, |column| column.push_text(&text, &valid))
    })?;
    rows.func_wrap("[method]builder.push-raw", |store: StoreContextMut<'_, HostState>, (this, column, raw, valid): Push<Vec<u8>>| {
        let width = match store.data().table.get(&this)?.columns.get(column as usize).map(|column| column.dtype) {
            Some(DType::Bool) => 1,
            _ => 8,
        };
        push(store, &this, (column, raw.len() / width, raw.len()), &valid, |column| column.push_raw(&raw, &valid))
    })?;
    rows.func_wrap("[static]builder.finish", |mut store, (this,): (This,)| {
        let state: &mut HostState = store.data_mut();
        state.count_call()?;
        let builder = state.table.delete(this)?;
        let kept_bytes = builder.kept_bytes;
        match builder.finish() {
            Ok(batch) => {
                let batch = HostBatch { kept_bytes, ..HostBatch::new(batch, |_, _| true) };
                reply(state.table.push(batch).map_err(Fault::from))
            }
            Err(error) => {
                state.limiter.let_go(kept_bytes);
                reply(Err(error.into()))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(dtypes: &[&str]) -> HostBuilder {
        let column = |(index, dtype): (usize, &&str)| Column {
            name: format!("c{index}"),
            dtype: (*dtype).into(),
            role: "feature".into(),
            nullable: true,
        };
        HostBuilder::new(&dtypes.iter().enumerate().map(column).collect::<Vec<_>>(), &PluginLimits::SOURCE)
    }

    fn code<T>(result: Result<T, Fault>) -> u16 {
        match result {
            Err(Fault::Data(error)) => error.code,
            _ => 0,
        }
    }

    #[test]
    fn pushes_append_with_their_validity() {
        let mut builder = builder(&["f64", "utf8", "bool"]);
        for (values, valid) in [(vec![1.0], vec![]), (vec![2.0, 3.0], vec![1, 0])] {
            builder.columns[0].push_f64(values, &valid).ok().unwrap();
        }
        let text = TextValues { offsets: vec![0, 1, 1, 3], bytes: b"abc".to_vec() };
        builder.columns[1].push_text(&text, &[]).ok().unwrap();
        builder.columns[2].push_raw(&[1, 0, 2], &[1, 1, 1]).ok().unwrap();
        let batch = builder.finish().unwrap();
        assert_eq!(batch.rows.column(0).as_ref(), &Float64Array::from(vec![Some(1.0), Some(2.0), None]) as &dyn arrow::array::Array);
        assert_eq!(batch.rows.column(1).as_ref(), &StringArray::from(vec!["a", "", "bc"]) as &dyn arrow::array::Array);
        assert_eq!(batch.rows.column(2).as_ref(), &BooleanArray::from(vec![true, false, true]) as &dyn arrow::array::Array);
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        assert_eq!(builder(&["f32"]).finish().unwrap_err().code, WRONG_TYPE);
        let mut uneven = builder(&["f64", "f64"]);
        uneven.columns[0].push_f64(vec![1.0], &[]).ok().unwrap();
        assert_eq!(code(uneven.columns[0].push_i64(vec![1], &[])), WRONG_TYPE);
        assert_eq!(code(uneven.columns[0].push_raw(&[0; 7], &[])), WRONG_LENGTH);
        assert_eq!(code(uneven.grow(2, 1, &[], &PluginLimits::SOURCE)), NO_SUCH_COLUMN);
        assert_eq!(code(uneven.grow(1, 2, &[1], &PluginLimits::SOURCE)), WRONG_LENGTH);
        assert_eq!(uneven.finish().unwrap_err().code, WRONG_LENGTH);
        let mut twice = builder(&["f64", "f64"]);
        twice.broken = HostBuilder::new(&[twice_named(), twice_named()], &PluginLimits::SOURCE).broken;
        assert_eq!(twice.finish().unwrap_err().code, BAD_VALUE);
    }

    fn twice_named() -> Column {
        Column { name: "x".into(), dtype: "f64".into(), role: "feature".into(), nullable: true }
    }
}
