//! Watching the champion: what was answered is compared with labels as they become known, each label once.
//!
//! Labels come in two ways. Those that came *with their rows* are looked at in row order, up to the first that is not known yet.
//! Those that came *by id* are looked at in the order in which they came. A row is scored by what was answered for its id over HTTP;
//! where nothing was, by what the version that served when it arrived would have answered, which was trained on earlier rows only.
//!
//! Nothing of this is stored: which version served from which row on, which rows and labels have been looked at, and the counts are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tidegate_dataset::{LateLabels, PartReader, read_rows};
use tidegate_policy::{Moment, TriggerKind, due};
use tidegate_store::{ArrivedLabel, Write};
use tidegate_vocab::{Alias, Batch, LoggedPrediction, RowColumns, Timestamp, TrafficArm, VersionNo};

use crate::drift::DriftNews;
use crate::judge::label_classes;
use crate::{DriftBook, DriftReferences, DriftedWindow, Estimates, GuardBook, LoopState, Outcome, Pipeline, PipelineError, RolloutBook};

/// Rows scored in one step, so that memory stays flat after a long backlog.
const SCORE_ROWS_MAX: u64 = 65_536;
/// Labels by id that are looked at in one step.
const SCORE_LABELS_MAX: u32 = 4_096;

/// One row whose label has become known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoredRow {
    /// Its number; `None` for one that was predicted and never ingested.
    pub row: Option<u64>,
    /// Its event time; of one that was never ingested, when it was answered.
    pub event_time: Timestamp,
    /// The class it has; `None` when its label never came.
    pub truth: Option<u32>,
    /// The class it was given; `None` when no version served yet.
    pub predicted: Option<u32>,
    /// Which version answered.
    pub version: Option<VersionNo>,
    /// Whether it was answered over HTTP.
    pub served: bool,
    /// The arm of the canary under way that it counts in.
    pub arm: Option<TrafficArm>,
}

/// What a look at rows and labels may change, besides the loop's own memory.
struct Seen {
    rollouts: Arc<RolloutBook>,
    estimates: Arc<Estimates>,
    drift: Arc<DriftBook>,
    guard: Arc<GuardBook>,
}

/// What of it did change.
struct Changed {
    rollouts: Option<Arc<RolloutBook>>,
    estimates: Option<Arc<Estimates>>,
    drift: Option<Arc<DriftBook>>,
    guard: Option<Arc<GuardBook>>,
    references: Option<Arc<DriftReferences>>,
}

impl Pipeline {
    /// Scores what has become known, and starts a run if a trigger is due and none is open.
    pub(crate) async fn observe(&mut self) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        state.triggers.rows_committed(self.rows_cleaned.saturating_sub(state.counted_row));
        if let Some(event_time) = self.last_event_time {
            state.triggers.event_time_reached(event_time);
        }
        // Rows that are cleaned again behind a new cleaner have been counted already.
        state.counted_row = state.counted_row.max(self.rows_cleaned);
        // Whether anything was ever answered is all that matters, and counting a long log takes long.
        if self.served == 0 {
            self.served = self.stores.feedback.prediction_count(&self.settings.id).await?;
        }
        let mut seen = Seen {
            rollouts: self.rollouts.draft(),
            estimates: self.estimates.draft(),
            drift: self.drift.draft(),
            guard: self.guard.draft(),
        };
        self.begin_guard(&mut seen.guard).await?;
        // Before the labels of the same rows are looked at, or they would be known before anything was expected of them.
        self.estimate(&mut seen.estimates, &mut state.triggers).await?;
        let DriftNews { references, turned } = self.watch_drift(&mut seen.drift, &mut state.triggers).await?;
        let mut writes: Vec<Write> = turned.iter().map(DriftedWindow::line).collect();
        loop {
            let (scored, next_row) = self.score_matured(state.observed_row).await?;
            if next_row == state.observed_row {
                break;
            }
            state.observed_row = next_row;
            self.guard_rows(&mut seen.guard, &scored).await?;
            self.take_in(&mut state, &mut seen, &scored);
        }
        if self.settings.contract.label.by_id {
            writes.extend(self.score_arrived(&mut state, &mut seen).await?);
        }
        writes.extend(self.settle_guard(&mut seen.guard));
        let busy = self.stores.meta.open_run(&self.settings.id).await?.is_some() || seen.rollouts.open.is_some();
        let moment = self.moment().await?;
        let due = due(&self.settings.triggers, &mut state.triggers, &moment).filter(|_| !busy);
        let changed = self.changed(seen, references);
        self.write_changed(&changed, &mut writes)?;
        let outcome = match due {
            Some(due) => {
                self.start_run(state, due.reason, false, writes).await?;
                Outcome::Moved
            }
            None => {
                if state != self.state || !writes.is_empty() {
                    self.commit(state, writes).await?;
                }
                Outcome::Nothing
            }
        };
        self.took_in(changed);
        let taken_back = self.take_back_champion().await?;
        if !turned.is_empty() {
            turned.iter().for_each(|window| self.alert_drift(window));
            self.send_alerts().await;
        }
        Ok(if taken_back.is_some() { Outcome::Moved } else { outcome })
    }

    fn changed(&self, seen: Seen, references: Option<Arc<DriftReferences>>) -> Changed {
        let Seen { rollouts, estimates, drift, guard } = seen;
        Changed {
            rollouts: self.rollouts.changed(rollouts),
            estimates: self.estimates.changed(estimates),
            drift: self.drift.changed(drift),
            guard: self.guard.changed(guard),
            references,
        }
    }

    fn write_changed(&self, changed: &Changed, writes: &mut Vec<Write>) -> Result<(), PipelineError> {
        let Changed { rollouts, estimates, drift, guard, references } = changed;
        writes.extend(rollouts.as_ref().map(|book| self.rollouts.write(book)).transpose()?);
        writes.extend(estimates.as_ref().map(|book| self.estimates.write(book)).transpose()?);
        writes.extend(drift.as_ref().map(|book| self.drift.write(book)).transpose()?);
        writes.extend(guard.as_ref().map(|book| self.guard.write(book)).transpose()?);
        writes.extend(references.as_ref().map(|book| self.drift_references.write(book)).transpose()?);
        Ok(())
    }

    /// The commit with what changed holds.
    fn took_in(&mut self, changed: Changed) {
        let Changed { rollouts, estimates, drift, guard, references } = changed;
        rollouts.into_iter().for_each(|book| self.rollouts.committed(book));
        estimates.into_iter().for_each(|book| self.estimates.committed(book));
        drift.into_iter().for_each(|book| self.drift.committed(book));
        guard.into_iter().for_each(|book| self.guard.committed(book));
        references.into_iter().for_each(|book| self.drift_references.committed(book));
    }

    /// What triggers ask about besides what they have seen.
    pub async fn moment(&self) -> Result<Moment, PipelineError> {
        let needs_champion = self.settings.triggers.iter().any(|rule| matches!(rule.kind, TriggerKind::Staleness { .. }));
        let champion_since = match needs_champion {
            true => self.stores.meta.alias_history(&self.settings.id, Alias::Champion).await?.last().map(|step| step.at),
            false => None,
        };
        Ok(Moment { now: self.now(), champion_since, code: Some(self.chain) })
    }

    fn take_in(&mut self, state: &mut LoopState, seen: &mut Seen, scored: &[ScoredRow]) {
        self.quality_known(&mut seen.rollouts, scored);
        if self.settings.estimate_rows > 0 && !scored.is_empty() {
            Arc::make_mut(&mut seen.estimates).matured(scored, self.settings.estimate_rows);
        }
        let known = scored.iter().filter_map(|row| Some((row.truth?, row.predicted?)));
        let wrong: Vec<bool> = known.map(|(truth, predicted)| truth != predicted).collect();
        state.triggers.labels_matured(scored.iter().filter(|row| row.truth.is_some()).count() as u64);
        state.triggers.errors_matured(&self.settings.triggers, &wrong);
        state.quality.add(scored, self.now());
        self.observer.scored(scored);
    }

    /// The rows from `from` on whose own labels are known by now, up to the first that is not yet; and the row to go on from, which
    /// lies beyond quarantined rows too.
    async fn score_matured(&mut self, from: u64) -> Result<(Vec<ScoredRow>, u64), PipelineError> {
        let to = self.rows_cleaned.min(from.saturating_add(SCORE_ROWS_MAX)).max(from);
        let rows = self.own_rows(from, to).await?;
        let now = self.now().0;
        // A row whose label never came has no such instant. It is passed over, not waited for.
        let known = instants(&rows, RowColumns::KNOWN_TIME);
        let unripe = known.iter().position(|known| known.is_some_and(|known| known > now));
        let next_row = unripe.and_then(|position| row_numbers(&rows).get(position).copied()).unwrap_or(to);
        let ripe = rows.slice(0, unripe.unwrap_or(known.len()));
        let truths = label_classes(&ripe, &self.settings.contract.label.classes);
        let scored = self.score(&ripe, &truths).await?;
        Ok((scored, next_row))
    }

    /// The rows numbered `from..to` as they came, without late labels.
    pub(crate) async fn own_rows(&self, from: u64, to: u64) -> Result<Batch, PipelineError> {
        let parts = self.stores.meta.clean_parts(&self.settings.id, &self.chain, from).await?;
        let reader = PartReader { blobs: &*self.stores.blobs, cache: &self.parts, late: &LateLabels::default() };
        let rows = read_rows(&reader, &self.settings.contract, &parts, from, to, None).await;
        rows.map_err(|source| PipelineError::Dataset { first_row: from, last_row: to, source })
    }

    /// Labels that came by id since the last time, in the order in which they came; and the journal's line about them.
    async fn score_arrived(&mut self, state: &mut LoopState, seen: &mut Seen) -> Result<Option<Write>, PipelineError> {
        let first = state.observed_label;
        let mut count = 0;
        loop {
            let labels = self.stores.feedback.labels(&self.settings.id, state.observed_label, SCORE_LABELS_MAX).await?;
            let Some(last) = labels.last() else { break };
            state.observed_label = last.number;
            count += labels.len();
            self.late.extend(labels.iter().filter_map(|label| Some((label.row?, label.label.class.clone(), label.label.known_at))));
            let scored = self.score_labels(&labels).await?;
            self.guard_rows(&mut seen.guard, &scored).await?;
            self.take_in(state, seen, &scored);
        }
        let body = serde_json::json!({ "count": count, "after": first, "to": state.observed_label });
        Ok((count > 0).then(|| Write::Journal { kind: "labels".to_owned(), body }))
    }

    async fn score_labels(&mut self, labels: &[ArrivedLabel]) -> Result<Vec<ScoredRow>, PipelineError> {
        let classes = self.settings.contract.label.classes.clone();
        let class_of = |class: &str| classes.iter().position(|own| own == class).map(|position| position as u32);
        let ids: Vec<String> = labels.iter().map(|label| label.label.row_id.clone()).collect();
        let answered = self.answered(&ids).await?;
        let mut scored = Vec::with_capacity(labels.len());
        for label in labels {
            let truth = class_of(&label.label.class);
            if let Some(answer) = answered.get(&label.label.row_id) {
                let (predicted, version) = (class_of(&answer.predicted), Some(answer.version));
                let arm = self.counted_arm(answer);
                scored.push(ScoredRow { row: label.row, event_time: answer.at, truth, predicted, version, served: true, arm });
            } else if let Some(row) = label.row {
                let rows = self.own_rows(row, row + 1).await?;
                scored.extend(self.score(&rows, &vec![truth; rows.row_count()]).await?);
            }
        }
        Ok(scored)
    }

    /// What was answered over HTTP for rows with these ids.
    async fn answered(&self, ids: &[String]) -> Result<HashMap<String, LoggedPrediction>, PipelineError> {
        // Asking costs a query; where nothing was ever served, as in a backtest, there is nothing to find.
        if self.served == 0 {
            return Ok(HashMap::new());
        }
        Ok(self.stores.feedback.predictions_of(&self.settings.id, ids).await?)
    }

    /// Scores cleaned rows, whose classes are `truths`.
    async fn score(&mut self, rows: &Batch, truths: &[Option<u32>]) -> Result<Vec<ScoredRow>, PipelineError> {
        let numbers = row_numbers(rows);
        let event_times = instants(rows, RowColumns::EVENT_TIME);
        let ids = if self.served > 0 { row_ids(rows, self.settings.contract.id.as_deref()) } else { Vec::new() };
        let answered = self.answered(&ids).await?;
        let classes = self.settings.contract.label.classes.clone();
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
                let recomputed =
                    ScoredRow { row: Some(numbers[index]), event_time, truth: truths[index], predicted, version, served: false, arm: None };
                scored.push(match ids.get(index).and_then(|id| answered.get(id)) {
                    Some(answer) => ScoredRow {
                        predicted: classes.iter().position(|class| *class == answer.predicted).map(|position| position as u32),
                        version: Some(answer.version),
                        served: true,
                        arm: self.counted_arm(answer),
                        ..recomputed
                    },
                    None => recomputed,
                });
            }
            start = end;
        }
        Ok(scored)
    }
}

/// The ids of rows as text, in order; empty where there is no id column.
pub(crate) fn row_ids(rows: &Batch, id: Option<&str>) -> Vec<String> {
    let Some(column) = id.and_then(|id| rows.column(id)) else { return Vec::new() };
    let Ok(text) = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8) else { return Vec::new() };
    let text = text.as_string::<i32>();
    (0..text.len()).map(|row| if text.is_valid(row) { text.value(row).to_owned() } else { String::new() }).collect()
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

/// The instants of a column of cleaned rows, in microseconds.
pub(crate) fn instants(rows: &Batch, name: &str) -> Vec<Option<i64>> {
    let column = rows.column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    column.map(|column| column.iter().collect()).unwrap_or_default()
}
