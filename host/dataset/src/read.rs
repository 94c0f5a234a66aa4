//! Rows out of parts.
//!
//! Invariant: rows come in a stated order (by number; of a snapshot, by event time and number), whatever the order of reading, and
//! the row set of a snapshot is decided by the snapshot alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, TimestampMicrosecondArray, UInt32Array, new_empty_array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tidegate_store::Blobs;
use tidegate_vocab::{Batch, CleanPart, Contract, DType, Digest, Role, RowColumns, Snapshot, Timestamp};

use crate::{DatasetError, LateLabels, PartCache, PartReader, typed};

/// The rows numbered `from_row..to_row` of `parts`, which are in row order, as one batch in row order. With `known_until`, only rows
/// whose label was known by then. Parts outside the range are not fetched. `contract` gives the columns where no row is found.
///
/// # Errors
/// [`DatasetError::Fetch`] and those of reading a part; [`DatasetError::PartsDiffer`] for parts out of order or of two contracts.
pub async fn read_rows(
    reader: &PartReader<'_>,
    contract: &Contract,
    parts: &[CleanPart],
    from_row: u64,
    to_row: u64,
    known_until: Option<Timestamp>,
) -> Result<Batch, DatasetError> {
    let mut pieces = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 && part.first_row < parts[index - 1].first_row {
            return Err(DatasetError::PartsDiffer { part: part.digest, why: "its rows come before theirs".into() });
        }
        // Every number of a part is below the first of the next.
        let ends_by = parts.get(index + 1).map_or(u64::MAX, |next| next.first_row);
        if part.row_count == 0 || part.first_row >= to_row || ends_by <= from_row {
            continue;
        }
        let rows = reader.part(&part.digest).await?;
        let columns = RowValues::of(&rows)?;
        let (start, end) = (columns.position_of(from_row), columns.position_of(to_row));
        let piece = rows.slice(start, end.saturating_sub(start));
        pieces.push((
            part.digest,
            match known_until {
                None => piece,
                Some(cutoff) => keep(&piece, |columns, row| columns.known_by(row, cutoff))?,
            },
        ));
    }
    joined(contract, pieces)
}

/// The rows of `snapshot` in time order: by event time, then by number. Positions in it are those of its splits.
///
/// # Errors
/// As [`read_rows`]; [`DatasetError::PartsDiffer`] when a part does not hold the rows that the snapshot says.
pub async fn read_snapshot(blobs: &dyn Blobs, cache: &PartCache, snapshot: &Snapshot) -> Result<Batch, DatasetError> {
    let late = late_labels(blobs, snapshot).await?;
    let reader = PartReader { blobs, cache, late: &late };
    let mut pieces = Vec::with_capacity(snapshot.parts.len());
    for part in &snapshot.parts {
        let rows = reader.part(&part.digest).await?;
        let columns = RowValues::of(&rows)?;
        let (start, end) = (columns.position_of(part.first_row), columns.position_of(part.last_row.saturating_add(1)));
        let piece = keep(&rows.slice(start, end.saturating_sub(start)), |columns, row| {
            columns.known_by(row, snapshot.knowledge_cutoff) && columns.event.value(row) <= snapshot.event_cutoff.0
        })?;
        if piece.row_count() as u64 != part.row_count {
            let why = format!("the snapshot says {} rows, it has {}", part.row_count, piece.row_count());
            return Err(DatasetError::PartsDiffer { part: part.digest, why });
        }
        pieces.push((part.digest, piece));
    }
    in_time_order(joined(&snapshot.contract, pieces)?)
}

/// All rows that those of `snapshot` see something of, its own among them, in order of their numbers.
///
/// # Errors
/// As [`read_rows`].
pub async fn read_history(blobs: &dyn Blobs, cache: &PartCache, snapshot: &Snapshot) -> Result<Batch, DatasetError> {
    let late = late_labels(blobs, snapshot).await?;
    let reader = PartReader { blobs, cache, late: &late };
    let mut pieces = Vec::with_capacity(snapshot.history.len());
    for part in &snapshot.history {
        pieces.push((*part, reader.part(part).await?));
    }
    joined(&snapshot.contract, pieces)
}

/// Of the rows that [`read_history`] gave, which may have got columns more, those of `snapshot`: as [`read_snapshot`] orders them.
///
/// # Errors
/// [`DatasetError::PartsDiffer`] when they are not as many as the snapshot says.
pub fn rows_of(snapshot: &Snapshot, history: &Batch) -> Result<Batch, DatasetError> {
    let within = |number: u64| {
        let after = snapshot.parts.partition_point(|part| part.first_row <= number);
        after.checked_sub(1).is_some_and(|part| number <= snapshot.parts[part].last_row)
    };
    let rows = keep(history, |columns, row| {
        let number = u64::try_from(columns.number.value(row)).unwrap_or(u64::MAX);
        within(number) && columns.known_by(row, snapshot.knowledge_cutoff) && columns.event.value(row) <= snapshot.event_cutoff.0
    })?;
    match snapshot.parts.first() {
        Some(first) if rows.row_count() as u64 != snapshot.row_count => {
            let why = format!("the snapshot says {} rows in all, they have {}", snapshot.row_count, rows.row_count());
            Err(DatasetError::PartsDiffer { part: first.digest, why })
        }
        _ => in_time_order(rows),
    }
}

async fn late_labels(blobs: &dyn Blobs, snapshot: &Snapshot) -> Result<LateLabels, DatasetError> {
    let Some(digest) = &snapshot.late_labels else { return Ok(LateLabels::default()) };
    let bytes = blobs.get(digest).await.map_err(|source| DatasetError::Fetch { part: *digest, source: Box::new(source) })?;
    LateLabels::decode(&bytes)
}

/// The host's columns of a cleaned part.
pub(crate) struct RowValues<'a> {
    pub number: &'a Int64Array,
    pub event: &'a TimestampMicrosecondArray,
    pub known: &'a TimestampMicrosecondArray,
}

impl<'a> RowValues<'a> {
    pub fn of(rows: &'a Batch) -> Result<RowValues<'a>, DatasetError> {
        let lacks = |name: &str| DatasetError::NotAPart { why: format!("it has no column `{name}` of the type it should have") };
        let number = rows.column(RowColumns::ROW).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let instants = |name: &str| {
            rows.column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()).ok_or_else(|| lacks(name))
        };
        let number = number.filter(|number| number.null_count() == 0).ok_or_else(|| lacks(RowColumns::ROW))?;
        Ok(RowValues { number, event: instants(RowColumns::EVENT_TIME)?, known: instants(RowColumns::KNOWN_TIME)? })
    }

    /// How many rows have a smaller number than `number`.
    pub fn position_of(&self, number: u64) -> usize {
        self.number.values().partition_point(|row| u64::try_from(*row).unwrap_or(0) < number)
    }

    /// Whether the row's label was known by `cutoff`; never, where there is no label.
    pub fn known_by(&self, row: usize, cutoff: Timestamp) -> bool {
        self.known.is_valid(row) && self.known.value(row) <= cutoff.0
    }
}

fn keep(rows: &Batch, keeps: impl Fn(&RowValues<'_>, usize) -> bool) -> Result<Batch, DatasetError> {
    let columns = RowValues::of(rows)?;
    let mask: Vec<bool> = (0..rows.row_count()).map(|row| keeps(&columns, row)).collect();
    if mask.iter().all(|keep| *keep) {
        return Ok(rows.clone());
    }
    let kept = filter_record_batch(&rows.rows, &BooleanArray::from(mask)).map_err(|source| DatasetError::Rows { source })?;
    Ok(Batch { rows: kept, roles: rows.roles.clone() })
}

fn joined(contract: &Contract, pieces: Vec<(Digest, Batch)>) -> Result<Batch, DatasetError> {
    let Some((_, first)) = pieces.first() else { return empty(contract) };
    let (schema, roles) = (first.rows.schema(), first.roles.clone());
    for (part, piece) in &pieces {
        if piece.rows.schema() != schema || piece.roles != roles {
            return Err(DatasetError::PartsDiffer { part: *part, why: "its columns are others".into() });
        }
    }
    if let [(_, only)] = &pieces[..] {
        return Ok(only.clone());
    }
    let rows = concat_batches(&schema, pieces.iter().map(|(_, piece)| &piece.rows)).map_err(|source| DatasetError::Rows { source })?;
    Ok(Batch { rows, roles })
}

/// The columns of a cleaned part of `contract`, without rows.
fn empty(contract: &Contract) -> Result<Batch, DatasetError> {
    let row_column = |name: &str, role, dtype: DType| (name.to_owned(), role, new_empty_array(&dtype.arrow()));
    let mut columns: Vec<(String, Role, ArrayRef)> = vec![
        row_column(RowColumns::ROW, Role::Id, DType::I64),
        row_column(RowColumns::EVENT_TIME, Role::Time, DType::TimestampUs),
        row_column(RowColumns::KNOWN_TIME, Role::Time, DType::TimestampUs),
    ];
    let own = typed::empty(contract)?;
    columns.extend(own.columns().map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array))));
    Batch::new(columns).map_err(|source| DatasetError::Batch { source })
}

fn in_time_order(rows: Batch) -> Result<Batch, DatasetError> {
    let event = RowValues::of(&rows)?.event.values();
    if event.is_sorted() {
        return Ok(rows);
    }
    let mut order: Vec<u32> = (0..rows.row_count() as u32).collect();
    // Stable, and rows stand in order of their numbers.
    order.sort_by_key(|row| event[*row as usize]);
    let sorted = take_record_batch(&rows.rows, &UInt32Array::from(order)).map_err(|source| DatasetError::Rows { source })?;
    Ok(Batch { rows: sorted, roles: rows.roles.clone() })
}
