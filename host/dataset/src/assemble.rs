//! What the cleaners left of a raw part becomes a cleaned part.
//!
//! Invariant: every row of the raw part is either in the cleaned part or quarantined once, under its number in the pipeline. A
//! cleaner that loses or doubles a row fails the part; its word is not taken for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use tidegate_store::Blob;
use tidegate_vocab::{Batch, CleanPart, Contract, Digest, KeptRows, Quarantined, RawPart, Role, RowColumns, Timestamp};

use crate::{DatasetError, Typed, check, encode_clean};

/// Who is named for rows that the contract kept out.
pub const BY_CONTRACT: &str = "contract";

/// What one cleaner did to the rows it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanerStep {
    /// The plugin's name.
    pub cleaner: String,
    /// Which of the rows it was given it kept.
    pub kept: KeptRows,
    /// Positions, in the rows it was given, of the others, each with the plugin's reason.
    pub dropped: Vec<(u32, String)>,
}

/// When a row's label counts as known. A row without a label has no such time, and is in no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownTime {
    /// At its event time plus the label's delay; where the contract has no time column, when it was polled. For histories, in which
    /// everything was polled long after it was known.
    AfterDelay,
    /// When it was polled.
    WhenPolled,
}

/// The rows of one raw part, sorted into kept and not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// The kept rows: [`RowColumns`], then the columns of [`Typed`].
    pub rows: Batch,
    /// The rows that were not kept: first those of the contract, then those of each cleaner; by reason.
    pub quarantined: Vec<Quarantined>,
    /// Earliest and latest event time of the kept rows.
    pub event_time: Option<(Timestamp, Timestamp)>,
}

/// Checks `cleaned`, the result of the last of `steps`, and encodes it: the part for the store's records, its file for the blobs
/// (whose digest the part carries), and the rows it holds.
///
/// # Errors
/// As [`assemble`], and [`DatasetError::WriteClean`].
pub fn clean_part(
    raw: &RawPart,
    chain: &Digest,
    known: KnownTime,
    contract: &Contract,
    typed: &Typed,
    steps: &[CleanerStep],
    cleaned: &Batch,
) -> Result<(CleanPart, Blob, Batch), DatasetError> {
    let Assembled { rows, quarantined, event_time } = assemble(raw, known, contract, typed, steps, cleaned)?;
    let file = Blob::new(encode_clean(&rows, contract)?);
    let part = CleanPart {
        chain: *chain,
        raw: raw.digest,
        digest: file.digest(),
        first_row: raw.first_row,
        row_count: rows.row_count() as u64,
        byte_count: file.bytes().len() as u64,
        event_time,
        quarantined,
        state: Vec::new(),
    };
    Ok((part, file, rows))
}

/// Checks `cleaned`, the result of the last of `steps` (of none: `typed.rows`), against `contract` and numbers its rows.
///
/// # Errors
/// [`DatasetError::RawRows`] when `typed` is not of this raw part, [`DatasetError::CleanerRows`] and
/// [`DatasetError::CleanedColumn`] when a cleaner broke its word.
pub fn assemble(
    raw: &RawPart,
    known: KnownTime,
    contract: &Contract,
    typed: &Typed,
    steps: &[CleanerStep],
    cleaned: &Batch,
) -> Result<Assembled, DatasetError> {
    let accounted = (typed.row_index.len() + typed.quarantined.len()) as u64;
    if accounted != raw.row_count {
        return Err(DatasetError::RawRows { expected: raw.row_count, found: accounted });
    }
    let mut out = KeptOut { first_row: raw.first_row, rows: BTreeMap::new() };
    for (row, reason) in &typed.quarantined {
        out.add(0, reason, *row);
    }
    // Positions in `typed.rows` of the rows that are still there.
    let mut alive: Vec<u32> = (0..typed.row_index.len() as u32).collect();
    for (number, step) in steps.iter().enumerate() {
        account_for(step, alive.len())?;
        for (row, reason) in &step.dropped {
            out.add(number + 1, reason, typed.row_index[alive[*row as usize] as usize]);
        }
        if !step.dropped.is_empty() {
            alive = step.kept.iter().map(|row| alive[row as usize]).collect();
        }
    }
    let columns = columns_of(typed, cleaned, alive.len(), steps)?;
    let broken = check(cleaned, contract)?;
    for (row, reason) in &broken {
        out.add(0, reason, typed.row_index[alive[*row as usize] as usize]);
    }
    let keep = keep(&broken, alive.len());
    if keep.is_some() {
        let mut broken = broken.iter().map(|(row, _)| *row).peekable();
        let mut position = 0u32..;
        alive.retain(|_| {
            let position = position.next();
            broken.next_if(|row| Some(*row) == position).is_none()
        });
    }
    let columns = columns
        .into_iter()
        .map(|(name, role, array)| match &keep {
            Some(keep) => Ok((name, role, arrow::compute::filter(&array, keep).map_err(|source| DatasetError::Rows { source })?)),
            None => Ok((name, role, array)),
        })
        .collect::<Result<Vec<_>, DatasetError>>()?;
    let (event_time, row_columns) = row_columns(raw, known, contract, typed, &alive, &columns);
    let rows = Batch::new(row_columns.into_iter().chain(columns).collect()).map_err(|source| DatasetError::Batch { source })?;
    let names: Vec<&str> = std::iter::once(BY_CONTRACT).chain(steps.iter().map(|step| step.cleaner.as_str())).collect();
    Ok(Assembled { rows, quarantined: out.listed(&names), event_time })
}

/// Name, role and values of columns on their way into a batch.
type Columns = Vec<(String, Role, ArrayRef)>;

/// Rows that were kept out, by step (0: the contract) and reason.
struct KeptOut {
    first_row: u64,
    rows: BTreeMap<(usize, String), Vec<u64>>,
}

impl KeptOut {
    fn add(&mut self, step: usize, reason: &str, raw_row: u32) {
        self.rows.entry((step, reason.to_owned())).or_default().push(self.first_row + u64::from(raw_row));
    }

    fn listed(self, names: &[&str]) -> Vec<Quarantined> {
        let listed = self.rows.into_iter().map(|((step, reason), mut rows)| {
            rows.sort_unstable();
            Quarantined { by: names[step].to_owned(), reason, rows }
        });
        listed.collect()
    }
}

/// Refuses a step that does not account for each of `given` rows exactly once, or that changes their order.
fn account_for(step: &CleanerStep, given: usize) -> Result<(), DatasetError> {
    let refused = |why: String| Err(DatasetError::CleanerRows { cleaner: step.cleaner.clone(), given, why });
    if step.kept.len() + step.dropped.len() != given {
        return refused(format!("kept {} and dropped {}", step.kept.len(), step.dropped.len()));
    }
    if matches!(step.kept, KeptRows::All(_)) && step.dropped.is_empty() {
        return Ok(());
    }
    if !step.kept.iter().is_sorted_by(|row, next| row < next) {
        return refused("it kept them in another order, or one twice".into());
    }
    let mut seen = vec![false; given];
    for row in step.kept.iter().chain(step.dropped.iter().map(|(row, _)| *row)) {
        match seen.get_mut(row as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return refused(format!("it kept or dropped row {row} twice")),
            None => return refused(format!("it speaks of row {row}")),
        }
    }
    Ok(())
}

/// The columns of `typed`, with the values of `cleaned`.
fn columns_of(typed: &Typed, cleaned: &Batch, alive: usize, steps: &[CleanerStep]) -> Result<Columns, DatasetError> {
    if cleaned.row_count() != alive {
        let cleaner = steps.last().map_or("none", |step| step.cleaner.as_str()).to_owned();
        let why = format!("{} came out where {alive} were kept", cleaned.row_count());
        return Err(DatasetError::CleanerRows { cleaner, given: alive, why });
    }
    let columns = typed.rows.columns().map(|(name, role, before)| {
        let expected = tidegate_vocab::DType::of(before.data_type()).map_or("another type", |dtype| dtype.word());
        let broken = |found: String| DatasetError::CleanedColumn { column: name.to_owned(), expected, found };
        match cleaned.column(name) {
            Some(after) if after.data_type() == before.data_type() => Ok((name.to_owned(), role.clone(), Arc::clone(after))),
            Some(after) => Err(broken(after.data_type().to_string())),
            None => Err(broken("nothing: it is gone".into())),
        }
    });
    columns.collect()
}

/// Which of `row_count` rows are not among `broken`; `None` when all are kept.
fn keep(broken: &[(u32, String)], row_count: usize) -> Option<BooleanArray> {
    if broken.is_empty() {
        return None;
    }
    let mut keep = vec![true; row_count];
    for (row, _) in broken {
        keep[*row as usize] = false;
    }
    Some(BooleanArray::from(keep))
}

/// The earliest and latest event time, and the host's own columns of the rows `alive`, whose other columns are `columns`.
fn row_columns(
    raw: &RawPart,
    known: KnownTime,
    contract: &Contract,
    typed: &Typed,
    alive: &[u32],
    columns: &Columns,
) -> (Option<(Timestamp, Timestamp)>, Columns) {
    let numbers: Vec<i64> = alive.iter().map(|row| (raw.first_row + u64::from(typed.row_index[*row as usize])) as i64).collect();
    let event: Vec<i64> = alive.iter().map(|row| typed.event_time[*row as usize]).collect();
    let range = event.iter().min().copied().zip(event.iter().max().copied());
    let delay = contract.label.delay_us;
    let known: Vec<i64> = match (known, &contract.time) {
        (KnownTime::AfterDelay, Some(_)) => event.iter().map(|event| event.saturating_add(delay)).collect(),
        (KnownTime::AfterDelay, None) | (KnownTime::WhenPolled, _) => vec![raw.polled_at.0; alive.len()],
    };
    let labels = columns.iter().find(|(name, ..)| *name == contract.label.column);
    let labelled: Option<NullBuffer> = labels.and_then(|(_, _, labels)| labels.nulls().cloned());
    let instants =
        |values: Vec<i64>, nulls| -> ArrayRef { Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC")) };
    let columns = vec![
        (RowColumns::ROW.to_owned(), Role::Id, Arc::new(Int64Array::from(numbers)) as ArrayRef),
        (RowColumns::EVENT_TIME.to_owned(), Role::Time, instants(event, None)),
        (RowColumns::KNOWN_TIME.to_owned(), Role::Time, instants(known, labelled)),
    ];
    (range.map(|(first, last)| (Timestamp(first), Timestamp(last))), columns)
}

#[cfg(test)]
mod tests;
