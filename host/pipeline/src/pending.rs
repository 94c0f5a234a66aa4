//! Which raw parts are cleaned behind a chain that has just come to be.
//!
//! A changed cleaner, configuration or contract makes a new chain, behind which nothing is cleaned yet. Rule: the parts from the
//! first row on that the loop still needs are cleaned at once, older ones only when a snapshot finds fewer rows than its window.
//! The loop needs: as many of the newest rows as a window has, with a quarter more for those that cleaners and the contract will
//! keep out; the rows that have not been scored; the rows that judge the open run's version.

use std::collections::HashSet;

use tidegate_store::MetaStore;
use tidegate_vocab::RawPart;

use crate::blame::Cleaning;
use crate::dead_letters::DeadLetters;
use crate::{LoopState, Pipeline, PipelineError, Settings};

/// One over the share of a window that is taken on top of it.
const ROOM_DIVISOR: u64 = 4;

/// A window with room.
pub(crate) fn window_with_room(window_rows: u64) -> u64 {
    window_rows.saturating_add(window_rows / ROOM_DIVISOR)
}

/// The first row of the newest parts that hold `wanted` rows together; 0 when all of them do not. `parts` gives the first row and
/// the rows of each, oldest first.
pub(crate) fn newest(parts: impl DoubleEndedIterator<Item = (u64, u64)>, wanted: u64) -> u64 {
    let mut rows = 0u64;
    for (first_row, row_count) in parts.rev() {
        rows = rows.saturating_add(row_count);
        if rows >= wanted {
            return first_row;
        }
    }
    0
}

/// The first row that the loop needs whatever the window is: not scored yet, or a judge of the open run's version.
pub(crate) async fn unfinished_from(
    meta: &dyn MetaStore,
    settings_id: &tidegate_vocab::PipelineId,
    state: &LoopState,
) -> Result<u64, PipelineError> {
    let mut from = state.observed_row;
    if let Some(run) = meta.open_run(settings_id).await?
        && let Some(number) = run.version
        && let Some(version) = meta.version(settings_id, number).await?
    {
        from = from.min(version.trained_until_row);
    }
    Ok(from)
}

/// Of `raw`, the parts that are not among `cleaned` (first rows) and that the loop needs now.
pub(crate) async fn pending_of(
    meta: &dyn MetaStore,
    settings: &Settings,
    state: &LoopState,
    raw: Vec<RawPart>,
    cleaned: &HashSet<u64>,
) -> Result<Vec<RawPart>, PipelineError> {
    let window = newest(raw.iter().map(|part| (part.first_row, part.row_count)), window_with_room(settings.window_rows));
    let from = window.min(unfinished_from(meta, &settings.id, state).await?);
    let needed = raw.into_iter().filter(|part| part.first_row + part.row_count > from && !cleaned.contains(&part.first_row));
    Ok(needed.collect())
}

impl Pipeline {
    /// Cleans the newest of the parts that were left out, about a quarter of a window; `false` when there are none.
    pub(crate) async fn clean_older(&mut self) -> Result<bool, PipelineError> {
        let raw = self.stores.meta.raw_parts(&self.settings.id, 0).await?;
        let cleaned = self.stores.meta.clean_parts(&self.settings.id, &self.chain, 0).await?;
        let cleaned: HashSet<u64> = cleaned.into_iter().map(|part| part.first_row).collect();
        let mut rows = 0;
        let letters = DeadLetters::clone(&self.letters);
        let is_left = |part: &&RawPart| !cleaned.contains(&part.first_row) && !letters.holds(part.first_row, &self.chain);
        let left: Vec<RawPart> = raw.iter().rev().filter(is_left).cloned().collect();
        for part in &left {
            if rows > self.settings.window_rows / ROOM_DIVISOR {
                break;
            }
            rows += part.row_count;
            let made = Cleaning::of(self).clean(part, None).await;
            self.send_alerts().await;
            made?;
        }
        Ok(rows > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_parts_with_enough_rows_begin_where_they_should() {
        let check = |rows: &[u64], wanted: u64, expected: u64| {
            let parts = rows.iter().scan(0, |next, rows| {
                let first = *next;
                *next += rows;
                Some((first, *rows))
            });
            assert_eq!(newest(parts.collect::<Vec<_>>().into_iter(), wanted), expected, "{wanted} of {rows:?}");
        };
        check(&[], 5, 0);
        check(&[10, 10, 10], 1, 20);
        check(&[10, 10, 10], 10, 20);
        check(&[10, 10, 10], 11, 10);
        check(&[10, 10, 10], 31, 0);
        check(&[10, 10, 10], u64::MAX, 0);
        assert_eq!((window_with_room(1_000), window_with_room(3), window_with_room(u64::MAX)), (1_250, 3, u64::MAX));
    }
}
