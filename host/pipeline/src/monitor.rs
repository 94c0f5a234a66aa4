//! Watching the champion: what it answered is compared with labels as they become known, in row order, each row once.
//!
//! Invariant: a row is scored by the version that served when the row arrived, and that version was trained only on rows before it.
//! Nothing of this is stored: which version served from which row on, and which rows have been looked at, is.

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tidegate_dataset::read_rows;
use tidegate_policy::due;
use tidegate_vocab::{Batch, RowColumns, Timestamp, VersionNo};

use crate::judge::label_classes;
use crate::{Outcome, Pipeline, PipelineError};

/// Rows scored in one step, so that memory stays flat after a long backlog.
const SCORE_ROWS_MAX: u64 = 65_536;

/// One row whose label has become known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoredRow {
    /// Its number.
    pub row: u64,
    /// Its event time.
    pub event_time: Timestamp,
    /// The class it has; `None` when its label never came.
    pub truth: Option<u32>,
    /// The class it was given; `None` when no version served yet.
    pub predicted: Option<u32>,
    /// Which version answered.
    pub version: Option<VersionNo>,
}

impl Pipeline {
    /// Scores what has matured, and starts a run if a trigger is due and none is open.
    pub(crate) async fn observe(&mut self) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        state.triggers.rows_committed(self.rows_cleaned.saturating_sub(state.counted_row));
        state.counted_row = self.rows_cleaned;
        loop {
            let (scored, next_row) = self.score_matured(state.observed_row).await?;
            if next_row == state.observed_row {
                break;
            }
            state.observed_row = next_row;
            let known = scored.iter().filter_map(|row| Some((row.truth?, row.predicted?)));
            let wrong: Vec<bool> = known.map(|(truth, predicted)| truth != predicted).collect();
            state.triggers.errors_matured(&self.settings.triggers, &wrong);
            self.observer.scored(&scored);
        }
        let open = self.stores.meta.open_run(&self.settings.id).await?.is_some();
        let now = self.now();
        if let Some(due) = due(&self.settings.triggers, &mut state.triggers, now).filter(|_| !open) {
            self.start_run(state, due.reason).await?;
            return Ok(Outcome::Moved);
        }
        if state == self.state {
            return Ok(Outcome::Nothing);
        }
        self.commit(state, Vec::new()).await?;
        Ok(Outcome::Nothing)
    }

    /// The rows from `from` on whose labels are known by now, up to the first that is not yet; and the row to go on from, which
    /// lies beyond quarantined rows too.
    async fn score_matured(&mut self, from: u64) -> Result<(Vec<ScoredRow>, u64), PipelineError> {
        let parts = self.stores.meta.clean_parts(&self.settings.id, &self.chain, from).await?;
        let to = self.rows_cleaned.min(from.saturating_add(SCORE_ROWS_MAX)).max(from);
        let in_rows = |source| PipelineError::Dataset { first_row: from, last_row: to, source };
        let rows = read_rows(&*self.stores.blobs, &self.parts, &self.settings.contract, &parts, from, to, None).await.map_err(in_rows)?;
        let now = self.now().0;
        // A row whose label never came has no such instant. It is passed over, not waited for.
        let known = instants(&rows, RowColumns::KNOWN_TIME);
        let unripe = known.iter().position(|known| known.is_some_and(|known| known > now));
        let next_row = unripe.and_then(|position| row_numbers(&rows).get(position).copied()).unwrap_or(to);
        let scored = self.score(&rows.slice(0, unripe.unwrap_or(known.len()))).await?;
        Ok((scored, next_row))
    }

    async fn score(&mut self, rows: &Batch) -> Result<Vec<ScoredRow>, PipelineError> {
        let numbers = row_numbers(rows);
        let event_times = instants(rows, RowColumns::EVENT_TIME);
        let truths = label_classes(rows, &self.settings.contract.label.classes);
        let mut scored = Vec::with_capacity(numbers.len());
        let mut start = 0;
        while start < numbers.len() {
            let (version, until) = self.state.serving_at(numbers[start]);
            let end = numbers.partition_point(|row| *row < until);
            let predicted = match version {
                Some(version) => self.answers(version, &rows.slice(start, end - start)).await?.predicted.into_iter().map(Some).collect(),
                None => vec![None; end - start],
            };
            for (index, predicted) in (start..end).zip(predicted) {
                let event_time = Timestamp(event_times[index].unwrap_or_default());
                scored.push(ScoredRow { row: numbers[index], event_time, truth: truths[index], predicted, version });
            }
            start = end;
        }
        Ok(scored)
    }
}

/// The numbers of cleaned rows, rising.
pub(crate) fn row_numbers(rows: &Batch) -> Vec<u64> {
    let column = rows.column(RowColumns::ROW).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.map(|column| column.values().iter().map(|row| *row as u64).collect()).unwrap_or_default()
}

/// The first and the last number of cleaned rows.
pub(crate) fn row_range(rows: &Batch) -> (u64, u64) {
    let numbers = row_numbers(rows);
    (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0))
}

fn instants(rows: &Batch, name: &str) -> Vec<Option<i64>> {
    let column = rows.column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    column.map(|column| column.iter().collect()).unwrap_or_default()
}
