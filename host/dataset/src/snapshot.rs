//! Which rows a run trains on, fixed once.
//!
//! Invariant: no row of a snapshot has a later event time or a later known label than its cut-offs; its splits are disjoint, in time
//! order, and together all of it. Planning reads committed parts only and decides by their content: the same parts and request give
//! the same id on any machine.

use tidegate_vocab::{CleanPart, Contract, Digest, Snapshot, SnapshotPart, Split, Timestamp};

use crate::read::RowValues;
use crate::{DatasetError, PartReader};

/// What a snapshot shall hold.
#[derive(Debug, Clone)]
pub struct SnapshotRequest<'a> {
    /// The cleaner chain; parts of another are refused.
    pub chain: Digest,
    /// Digests of the cleaner components, in order.
    pub cleaners: Vec<Digest>,
    /// What the columns are.
    pub contract: &'a Contract,
    /// The newest this many of the rows within the cut-offs, in order of ingest; all when absent.
    pub window_rows: Option<u64>,
    /// Rows with a later event time are left out.
    pub event_cutoff: Timestamp,
    /// Rows whose label was learned later, or is not known, are left out.
    pub knowledge_cutoff: Timestamp,
    /// The share of the rows before the gate's that is for validation, 0 to below 1; the latest ones.
    pub validation_share: f64,
    /// This many rows, the very latest, are held out for the gate; 0 for none.
    pub gate_rows: u64,
    /// How many rows before its own a row may see something of; 0 where rows see no others.
    pub lookback_rows: u64,
}

/// Plans a snapshot of `parts`, which are in row order. Reads from the newest part back, only as far as the window needs.
///
/// # Errors
/// [`DatasetError::SnapshotEmpty`] when no row is within the cut-offs; [`DatasetError::PartsDiffer`] for a part of another chain or
/// out of order; those of reading a part, and [`DatasetError::Keep`] when its late labels could not be kept.
pub async fn plan_snapshot(reader: &PartReader<'_>, parts: &[CleanPart], request: &SnapshotRequest<'_>) -> Result<Snapshot, DatasetError> {
    for (index, part) in parts.iter().enumerate() {
        let refused = |why: &str| Err(DatasetError::PartsDiffer { part: part.digest, why: why.into() });
        if part.chain != request.chain {
            return refused("it is of another cleaner chain");
        }
        if index > 0 && part.first_row < parts[index - 1].first_row {
            return refused("its rows come before theirs");
        }
    }
    let mut wanted = request.window_rows.unwrap_or(u64::MAX);
    let mut chosen: Vec<SnapshotPart> = Vec::new();
    for part in parts.iter().rev() {
        if wanted == 0 {
            break;
        }
        let begins_late = part.event_time.is_some_and(|(earliest, _)| earliest > request.event_cutoff);
        if part.row_count == 0 || begins_late {
            continue;
        }
        let rows = reader.part(&part.digest).await?;
        if let Some(piece) = newest_within(&RowValues::of(&rows)?, part.digest, request, wanted) {
            wanted -= piece.row_count;
            chosen.push(piece);
        }
    }
    chosen.reverse();
    let row_count = chosen.iter().map(|part| part.row_count).sum();
    if row_count == 0 {
        return Err(DatasetError::SnapshotEmpty { row_count: parts.iter().map(|part| part.row_count).sum() });
    }
    let (mut late_labels, mut history) = (None, Vec::new());
    if let (Some(first), Some(last)) = (chosen.first(), chosen.last()) {
        let from = first.first_row.saturating_sub(request.lookback_rows);
        late_labels = keep_labels(reader, from, last.last_row).await?;
        if request.lookback_rows > 0 {
            history = parts_within(parts, from, last.last_row);
        }
    }
    Ok(Snapshot {
        chain: request.chain,
        cleaners: request.cleaners.clone(),
        contract: request.contract.clone(),
        parts: chosen,
        event_cutoff: request.event_cutoff,
        knowledge_cutoff: request.knowledge_cutoff,
        row_count,
        splits: splits(row_count, request.validation_share, request.gate_rows),
        late_labels,
        history,
    })
}

/// The parts that have rows from `first_row` to `last_row`.
fn parts_within(parts: &[CleanPart], first_row: u64, last_row: u64) -> Vec<Digest> {
    // A part's rows end before those of the next begin.
    let ends_by = |index: usize| parts.get(index + 1).map_or(u64::MAX, |next| next.first_row);
    let within =
        parts.iter().enumerate().filter(|(index, part)| part.row_count > 0 && part.first_row <= last_row && ends_by(*index) > first_row);
    within.map(|(_, part)| part.digest).collect()
}

/// Keeps the late labels of the rows of a snapshot beside it; `None` when they have none.
async fn keep_labels(reader: &PartReader<'_>, first_row: u64, last_row: u64) -> Result<Option<Digest>, DatasetError> {
    let late = reader.late.within(first_row, last_row);
    if late.is_empty() {
        return Ok(None);
    }
    let bytes = late.encode();
    let digest = Digest::of(&bytes);
    reader.blobs.put(bytes).await.map_err(|source| DatasetError::Keep { labels: digest, source: Box::new(source) })?;
    Ok(Some(digest))
}

/// The newest `wanted` rows of one part that are within the cut-offs; `None` when there are none.
fn newest_within(rows: &RowValues<'_>, digest: Digest, request: &SnapshotRequest<'_>, wanted: u64) -> Option<SnapshotPart> {
    let within = |row: &usize| rows.known_by(*row, request.knowledge_cutoff) && rows.event.value(*row) <= request.event_cutoff.0;
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let (mut first, mut last, mut row_count) = (None, None, 0);
    for row in (0..rows.number.values().len()).rev().filter(within).take(wanted) {
        let number = u64::try_from(rows.number.value(row)).ok()?;
        first = Some(number);
        last = last.or(Some(number));
        row_count += 1;
    }
    Some(SnapshotPart { digest, first_row: first?, last_row: last?, row_count })
}

/// Train, validation and gate in time order. Every use but training gives way when rows are few: training keeps at least one.
fn splits(row_count: u64, validation_share: f64, gate_rows: u64) -> Vec<Split> {
    let gate = gate_rows.min(row_count.saturating_sub(1));
    let before_gate = row_count - gate;
    let share = if validation_share.is_finite() { validation_share.clamp(0.0, 1.0) } else { 0.0 };
    let mut validation = (before_gate as f64 * share).round() as u64;
    if share > 0.0 {
        validation = validation.max(1);
    }
    let train = before_gate - validation.min(before_gate - 1);
    let bounds = [("train", 0, train), ("validation", train, before_gate), ("gate", before_gate, row_count)];
    let splits = bounds.into_iter().filter(|(_, start, end)| start < end);
    splits.map(|(name, start, end)| Split { name: name.into(), start, end }).collect()
}

#[cfg(test)]
mod tests;
