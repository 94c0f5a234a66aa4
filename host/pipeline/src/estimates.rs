//! Quality before labels come: what the champion's own probabilities say of its newest answers, and how right that turned out to be.
//!
//! A version is calibrated on the rows that judged it. From then on each window of rows has an estimate with a band as soon as its rows
//! are there, and beside it what came out as labels arrive. The estimate may start a run; it never decides about a version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_policy::{Calibrate, Cbpe, EstimateScore, Estimated, QualityEstimate, ScoredRows, TriggerState};
use tidegate_vocab::{Batch, Timestamp, VersionNo};

use crate::judge::Answers;
use crate::monitor::row_numbers;
use crate::{Pipeline, PipelineError, ScoredRow};

/// The name of the book in the store.
pub(crate) const KEY: &str = "estimates";
/// Windows that are remembered; of more, the oldest go.
const WINDOWS_MAX: usize = 240;
/// Versions whose calibration is remembered: the champion's, and those it may be rolled back to.
const FITTED_MAX: usize = 4;
/// Rows that calibrate at least.
const REFERENCE_ROWS_MIN: usize = 100;
/// Rows estimated in one step, so that memory stays flat after a long backlog.
const STEP_ROWS_MAX: u64 = 65_536;
/// The share of a window's labels after which its estimate is compared with what came out.
const MATURE_SHARE: f64 = 0.9;

/// What a pipeline remembers of estimates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Rows below this number have been estimated, or passed over because nobody served who could be.
    pub estimated_row: u64,
    /// The windows, oldest first; the last may still be filling.
    pub windows: Vec<EstimateWindow>,
    /// How far estimates were from what came out, over all windows whose labels have come.
    pub score: EstimateScore,
    fitted: Vec<Fitted>,
}

/// Consecutive rows that one version answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EstimateWindow {
    /// Who.
    pub version: VersionNo,
    /// The first row's number, and the one behind the last.
    pub rows: (u64, u64),
    /// When the last of them was estimated, on the pipeline's clock.
    pub at: Timestamp,
    /// Rows that were estimated.
    pub estimated: u64,
    /// The expected number of right answers.
    expected: f64,
    /// The estimated share of right answers.
    pub accuracy: Estimated,
    /// The share that was right on the rows that the version was judged on.
    pub reference: f64,
    /// Rows whose labels have become known.
    pub labelled: u64,
    /// Of these, rows that were answered rightly.
    pub right: u64,
    is_scored: bool,
}

impl EstimateWindow {
    /// The share of right answers among those whose label is known.
    pub fn realised(&self) -> Option<f64> {
        (self.labelled > 0).then(|| self.right as f64 / self.labelled as f64)
    }
}

/// A version's calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fitted {
    version: VersionNo,
    accuracy: f64,
    cbpe: Cbpe,
}

impl Fitted {
    /// What `answers` to labelled rows say of a version's probabilities; `None` of too few.
    pub(crate) fn of(version: VersionNo, answers: &Answers, labels: &[u32], class_count: usize) -> Option<Fitted> {
        if labels.len() < REFERENCE_ROWS_MIN {
            return None;
        }
        let rows = ScoredRows { probabilities: &answers.probabilities, predicted: &answers.predicted, class_count };
        let right = labels.iter().zip(&answers.predicted).filter(|(label, predicted)| label == predicted).count();
        let cbpe = Cbpe::fit(rows, labels, None, Calibrate::WhereItHelps)?;
        Some(Fitted { version, accuracy: right as f64 / labels.len() as f64, cbpe })
    }
}

impl Estimates {
    /// Notes what calibrates a version that may serve from here on. Of too many, the oldest goes that is not the champion's: versions
    /// that were taken back must not push out the one that serves.
    pub(crate) fn learn(&mut self, fitted: Fitted, champion: Option<VersionNo>) {
        self.fitted.retain(|known| known.version != fitted.version);
        self.fitted.push(fitted);
        while self.fitted.len() > FITTED_MAX {
            let oldest = self.fitted.iter().position(|known| Some(known.version) != champion);
            self.fitted.remove(oldest.unwrap_or(0));
        }
    }

    /// Adds a version's answers to rows that end before `end_row` to the window that is filling.
    fn add(&mut self, version: VersionNo, numbers: &[u64], answers: &Answers, class_count: usize, window_rows: u64, at: Timestamp) {
        let Some(fitted) = self.fitted.iter().find(|fitted| fitted.version == version) else { return };
        let (mut from, count) = (0, numbers.len());
        while from < count {
            let filling = self.windows.last().filter(|last| last.version == version && last.estimated < window_rows);
            let room = window_rows - filling.map_or(0, |last| last.estimated);
            let to = count.min(from.saturating_add(usize::try_from(room).unwrap_or(usize::MAX)));
            let probabilities = &answers.probabilities[from * class_count..to * class_count];
            let rows = ScoredRows { probabilities, predicted: &answers.predicted[from..to], class_count };
            let Some(expected) = fitted.cbpe.expected_right(rows) else { return };
            let begins = (numbers[from], numbers[from]);
            let before = filling.map_or((0, 0.0, begins), |last| (last.estimated, last.expected, last.rows));
            let (estimated, expected) = (before.0 + (to - from) as u64, before.1 + expected);
            let Some(accuracy) = fitted.cbpe.accuracy_of(expected, estimated) else { return };
            let (labelled, right) = filling.map_or((0, 0), |last| (last.labelled, last.right));
            let rows = (before.2.0, numbers[to - 1] + 1);
            let reference = fitted.accuracy;
            let window = EstimateWindow { version, rows, at, estimated, expected, accuracy, reference, labelled, right, is_scored: false };
            match filling.is_some() {
                true => *self.windows.last_mut().expect("it is filling") = window,
                false => self.windows.push(window),
            }
            from = to;
        }
        let over = self.windows.len().saturating_sub(WINDOWS_MAX);
        self.windows.drain(..over);
    }

    /// Notes what came out.
    pub(crate) fn matured(&mut self, scored: &[ScoredRow], window_rows: u64) {
        for row in scored {
            let (Some(number), Some(truth), Some(predicted)) = (row.row, row.truth, row.predicted) else { continue };
            let after = self.windows.partition_point(|window| window.rows.0 <= number);
            let Some(window) = after.checked_sub(1).map(|index| &mut self.windows[index]) else { continue };
            if number >= window.rows.1 || row.version != Some(window.version) {
                continue;
            }
            window.labelled += 1;
            window.right += u64::from(truth == predicted);
        }
        for window in &mut self.windows {
            let is_whole = window.estimated >= window_rows;
            let is_mature = window.labelled as f64 >= MATURE_SHARE * window.estimated as f64;
            if let Some(realised) = window.realised().filter(|_| is_whole && is_mature && !window.is_scored) {
                window.is_scored = true;
                self.score.record(&window.accuracy, realised);
            }
        }
    }
}

impl Pipeline {
    /// Estimates rows that have come since the last time.
    pub(crate) async fn estimate(&mut self, estimates: &mut Arc<Estimates>, triggers: &mut TriggerState) -> Result<(), PipelineError> {
        let window_rows = self.settings.estimate_rows;
        if window_rows == 0 || estimates.estimated_row >= self.rows_cleaned {
            return Ok(());
        }
        let estimates = Arc::make_mut(estimates);
        if estimates.fitted.is_empty() {
            estimates.estimated_row = self.rows_cleaned;
            return Ok(());
        }
        while estimates.estimated_row < self.rows_cleaned {
            let from = estimates.estimated_row;
            let to = self.rows_cleaned.min(from.saturating_add(STEP_ROWS_MAX));
            let rows = self.own_rows(from, to).await?;
            self.estimate_rows(estimates, &rows, window_rows).await?;
            estimates.estimated_row = to;
            if let Some(whole) = estimates.windows.iter().rev().find(|window| window.estimated >= window_rows && window.rows.1 > from) {
                let EstimateWindow { accuracy, reference, estimated: rows, .. } = *whole;
                triggers.estimated(QualityEstimate { accuracy, reference, rows });
            }
        }
        Ok(())
    }

    async fn estimate_rows(&mut self, estimates: &mut Estimates, rows: &Batch, window_rows: u64) -> Result<(), PipelineError> {
        let (numbers, at) = (row_numbers(rows), self.now());
        let class_count = self.settings.contract.label.classes.len();
        let mut start = 0;
        while start < numbers.len() {
            let (version, until) = self.state.serving_at(numbers[start]);
            let end = numbers.partition_point(|row| *row < until);
            let known = version.filter(|version| estimates.fitted.iter().any(|fitted| fitted.version == *version));
            if let Some(version) = known {
                let answers = self.answers(version, &rows.slice(start, end - start)).await?;
                estimates.add(version, &numbers[start..end], &answers, class_count, window_rows, at);
            }
            start = end;
        }
        Ok(())
    }

    /// What is known of quality without labels.
    pub fn estimates(&self) -> &Estimates {
        &self.estimates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of which the model is `sure`, to class 0.
    fn answers(rows: usize, sure: f64) -> Answers {
        let probabilities = (0..rows).flat_map(|_| [sure, 1.0 - sure]).collect();
        Answers { predicted: vec![0; rows], probabilities, latencies_ns: Vec::new() }
    }

    fn fitted(version: u32) -> Fitted {
        // Four of five are right, and the model says so: there is nothing to calibrate.
        let labels: Vec<u32> = (0..200).map(|row| u32::from(row % 5 == 0)).collect();
        Fitted::of(VersionNo(version), &answers(200, 0.8), &labels, 2).unwrap()
    }

    fn scored(rows: std::ops::Range<u64>, version: u32, right: bool) -> Vec<ScoredRow> {
        let row = |row| ScoredRow {
            row: Some(row),
            event_time: Timestamp(0),
            truth: Some(u32::from(!right)),
            predicted: Some(0),
            version: Some(VersionNo(version)),
            served: false,
            arm: None,
        };
        rows.map(row).collect()
    }

    fn numbers(rows: std::ops::Range<u64>) -> Vec<u64> {
        rows.collect()
    }

    #[test]
    fn windows_fill_across_steps_and_break_at_another_version() {
        let mut estimates = Estimates::default();
        (1..=2).for_each(|version| estimates.learn(fitted(version), None));
        let mut add = |version: u32, rows: std::ops::Range<u64>| {
            let count = (rows.end - rows.start) as usize;
            estimates.add(VersionNo(version), &numbers(rows), &answers(count, 0.8), 2, 100, Timestamp(7));
        };
        add(1, 0..60);
        add(1, 60..130);
        add(1, 130..150);
        add(2, 150..160);
        add(3, 160..170);
        let seen: Vec<_> = estimates.windows.iter().map(|window| (window.version.0, window.rows, window.estimated)).collect();
        assert_eq!(seen, [(1, (0, 100), 100), (1, (100, 150), 50), (2, (150, 160), 10)]);
        assert!(estimates.windows.iter().all(|window| (window.accuracy.value - 0.8).abs() < 1e-9 && window.reference == 0.8));
        let widths: Vec<f64> = estimates.windows.iter().map(|window| window.accuracy.value - window.accuracy.band.0).collect();
        assert!((widths[0] - 3.0 * 0.4 / 10.0).abs() < 1e-9 && widths[1] > widths[0], "three sampling errors: {widths:?}");
    }

    #[test]
    fn an_estimate_is_compared_once_its_labels_have_come() {
        let mut estimates = Estimates::default();
        estimates.learn(fitted(1), None);
        estimates.add(VersionNo(1), &numbers(0..150), &answers(150, 0.8), 2, 100, Timestamp(7));
        estimates.matured(&scored(0..89, 1, true), 100);
        assert_eq!((estimates.windows[0].realised(), estimates.score.error.count), (Some(1.0), 0), "too few of them");
        estimates.matured(&scored(89..95, 2, false), 100);
        assert_eq!(estimates.windows[0].labelled, 89, "somebody else answered those");
        estimates.matured(&scored(89..95, 1, false), 100);
        assert_eq!((estimates.score.error.count, estimates.score.within), (1, 0));
        assert!((estimates.score.error.mean - (0.8 - 89.0 / 95.0)).abs() < 1e-9);
        estimates.matured(&scored(95..150, 1, true), 100);
        assert_eq!(estimates.score.error.count, 1, "once; and the second window is not whole");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut estimates = Estimates::default();
        (1..=9).for_each(|version| estimates.learn(fitted(version), Some(VersionNo(2))));
        assert_eq!(estimates.fitted.iter().map(|fitted| fitted.version.0).collect::<Vec<_>>(), [2, 7, 8, 9], "the champion's stays");
        estimates.add(VersionNo(9), &numbers(0..1_000), &answers(1_000, 0.8), 2, 2, Timestamp(7));
        assert_eq!((estimates.windows.len(), estimates.windows[0].rows), (WINDOWS_MAX, (520, 522)));
        assert!(Fitted::of(VersionNo(1), &answers(99, 0.8), &[0; 99], 2).is_none());
    }
}
