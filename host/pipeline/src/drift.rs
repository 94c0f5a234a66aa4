//! Watching for drift: windows of the rows that arrive, held against the rows that the champion learned from.
//!
//! A reference is made once a champion serves and stays as it is until another does. What arrives is counted into the window that is
//! filling, so that memory stays flat and a restart goes on in the middle of one. The same is done for what the champion answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataset::read_snapshot;
use tidegate_policy::{DriftColumn, DriftLook, DriftReference, DriftSettings, DriftState, DriftWindow, TriggerState};
use tidegate_store::Write;
use tidegate_vocab::{Batch, DType, Role, Timestamp, VersionNo};

use crate::monitor::row_numbers;
use crate::run::chain_text;
use crate::{Pipeline, PipelineError};

/// The names of the books in the store. References are large and change seldom.
pub(crate) const KEY: &str = "drift";
pub(crate) const REFERENCE_KEY: &str = "drift-reference";
/// Windows that are remembered; of more, the oldest go.
const WINDOWS_MAX: usize = 50;

/// The rows that a champion learned from, and what it answers to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftReferences {
    version: Option<VersionNo>,
    features: Option<DriftReference>,
    predictions: Option<DriftReference>,
}

/// What a pipeline remembers of drift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftBook {
    /// Whose rows windows are held against.
    pub version: Option<VersionNo>,
    /// Rows below this number have been counted.
    pub next_row: u64,
    /// What cannot be measured and why; the columns of the champion's rows.
    pub refused: BTreeMap<String, String>,
    /// Whole windows, oldest first.
    pub windows: Vec<DriftedWindow>,
    filling: Filling,
    states: (DriftState, DriftState),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Filling {
    first_row: Option<u64>,
    features: DriftWindow,
    predictions: DriftWindow,
}

/// What came of a look, to be committed and told.
#[derive(Default)]
pub(crate) struct DriftNews {
    /// Another champion's rows.
    pub references: Option<Arc<DriftReferences>>,
    /// Windows with which drift began or ended.
    pub turned: Vec<DriftedWindow>,
}

/// What was found of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftedWindow {
    /// Against whose rows.
    pub version: VersionNo,
    /// The first row's number, and the one behind the last.
    pub rows: (u64, u64),
    /// When it was looked at, on the pipeline's clock.
    pub at: Timestamp,
    /// The features.
    pub features: DriftLook,
    /// The probabilities of the classes that the champion answered.
    pub predictions: Option<DriftLook>,
}

impl Pipeline {
    /// Counts rows that have come, and looks at each window that is whole.
    pub(crate) async fn watch_drift(&mut self, book: &mut Arc<DriftBook>, triggers: &mut TriggerState) -> Result<DriftNews, PipelineError> {
        let mut news = DriftNews::default();
        let Some(settings) = self.settings.drift else { return Ok(news) };
        let Some((_, champion)) = self.state.serving_from.last().copied() else { return Ok(news) };
        if book.version == Some(champion) && book.next_row >= self.rows_cleaned {
            return Ok(news);
        }
        let book = Arc::make_mut(book);
        if book.version != Some(champion) {
            let (references, fresh) = self.references(champion, settings).await?;
            *book = DriftBook { windows: std::mem::take(&mut book.windows), ..fresh };
            news.references = Some(Arc::new(references));
        }
        let references = news.references.clone().unwrap_or_else(|| self.drift_references.draft());
        if references.features.is_none() {
            book.next_row = self.rows_cleaned;
        }
        while book.next_row < self.rows_cleaned {
            let room = settings.window_rows.saturating_sub(book.filling.features.rows()).max(1);
            let to = self.rows_cleaned.min(book.next_row.saturating_add(room));
            let rows = self.own_rows(book.next_row, to).await?;
            book.next_row = to;
            if rows.row_count() > 0 {
                self.count_in(book, &references, champion, &rows).await?;
            }
            if book.filling.features.rows() >= settings.window_rows {
                news.turned.extend(self.look_at(book, &references, champion, triggers));
            }
        }
        Ok(news)
    }

    /// The reference of a champion: the rows of its snapshot. One whose rows are gone has none.
    async fn references(&mut self, version: VersionNo, settings: DriftSettings) -> Result<(DriftReferences, DriftBook), PipelineError> {
        let fresh = DriftBook { version: Some(version), next_row: self.rows_cleaned, ..DriftBook::default() };
        let none = DriftReferences { version: Some(version), ..DriftReferences::default() };
        let Some(record) = self.stores.meta.version(&self.settings.id, version).await? else { return Ok((none, fresh)) };
        let snapshot = self.stores.meta.snapshot(&record.snapshot).await?;
        let rows = match &snapshot {
            Some(snapshot) => read_snapshot(&*self.stores.blobs, &self.parts, snapshot).await.ok(),
            None => None,
        };
        let Some(rows) = rows.filter(|rows| rows.row_count() > 0) else {
            let refused =
                BTreeMap::from([("all".to_owned(), format!("needs the rows that {version} learned from, and they are not there"))]);
            return Ok((none, DriftBook { refused, ..fresh }));
        };
        let owned = columns(&rows);
        let features = reference(&owned, settings);
        let mut refused: BTreeMap<String, String> = features.refused.iter().cloned().collect();
        // A version that sees earlier rows, which are gone, cannot be asked about these; its features are watched all the same.
        let predictions = match self.answers(version, &rows).await {
            Ok(answers) => {
                let predictions = reference(&self.probabilities(&answers.probabilities), settings);
                refused.extend(predictions.refused.iter().cloned());
                Some(predictions)
            }
            Err(error) => {
                refused.insert(
                    "predictions".to_owned(),
                    format!("needs what {version} answers to the rows that it learned from: {}", chain_text(&error)),
                );
                None
            }
        };
        let next_row = record.trained_until_row.min(self.rows_cleaned);
        Ok((DriftReferences { version: Some(version), features: Some(features), predictions }, DriftBook { refused, next_row, ..fresh }))
    }

    async fn count_in(
        &mut self,
        book: &mut DriftBook,
        references: &DriftReferences,
        champion: VersionNo,
        rows: &Batch,
    ) -> Result<(), PipelineError> {
        let Some(features) = &references.features else { return Ok(()) };
        book.filling.first_row = book.filling.first_row.or(row_numbers(rows).first().copied());
        add(features, &mut book.filling.features, &columns(rows), rows.row_count());
        if let Some(predictions) = &references.predictions {
            let answers = self.answers(champion, rows).await?;
            add(predictions, &mut book.filling.predictions, &self.probabilities(&answers.probabilities), rows.row_count());
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        book: &mut DriftBook,
        references: &DriftReferences,
        version: VersionNo,
        triggers: &mut TriggerState,
    ) -> Option<DriftedWindow> {
        let filled = std::mem::take(&mut book.filling);
        let features = references.features.as_ref().and_then(|of| of.look(&filled.features, &mut book.states.0))?;
        let predictions = references.predictions.as_ref().and_then(|of| of.look(&filled.predictions, &mut book.states.1));
        let drifted = |look: &DriftLook| look.drifts().then(|| look.reason.clone());
        triggers.drifted(drifted(&features), predictions.as_ref().and_then(drifted));
        let rows = (filled.first_row.unwrap_or(book.next_row), book.next_row);
        let before = book.windows.last().filter(|last| last.version == version).is_some_and(DriftedWindow::drifts);
        let window = DriftedWindow { version, rows, at: self.now(), features, predictions };
        let turned = (window.drifts() != before).then(|| window.clone());
        book.keep(window);
        turned
    }

    /// The champion's probabilities as columns, one a class.
    fn probabilities(&self, probabilities: &[f64]) -> Vec<(String, Values)> {
        let classes = &self.settings.contract.label.classes;
        let of = |class: usize| probabilities.iter().skip(class).step_by(classes.len().max(1)).copied().collect();
        classes.iter().enumerate().map(|(index, class)| (format!("probability:{class}"), Values::Numbers(of(index)))).collect()
    }

    /// What is known of drift.
    pub fn drift(&self) -> &DriftBook {
        &self.drift
    }
}

impl DriftBook {
    /// Adds a window. Every feature is told of the newest alone, and of those before it only what moved: the book is written whenever
    /// rows come.
    fn keep(&mut self, window: DriftedWindow) {
        if let Some(last) = self.windows.last_mut() {
            let looks = std::iter::once(&mut last.features).chain(&mut last.predictions);
            looks.for_each(|look| look.features.retain(|feature| feature.moved));
        }
        self.windows.push(window);
        let over = self.windows.len().saturating_sub(WINDOWS_MAX);
        self.windows.drain(..over);
    }
}

impl DriftedWindow {
    /// Whether a feature or an answer drifts.
    pub fn drifts(&self) -> bool {
        self.features.drifts() || self.predictions.as_ref().is_some_and(DriftLook::drifts)
    }

    /// The journal's line about it.
    pub(crate) fn line(&self) -> Write {
        let body = json!({ "version": self.version, "rows": self.rows, "drifts": self.drifts(), "reason": self.reason() });
        Write::Journal { kind: "drift".to_owned(), body }
    }

    /// What was found, as a sentence.
    pub fn reason(&self) -> String {
        match &self.predictions {
            Some(predictions) if predictions.drifts() => format!("{}; of the answers, {}", self.features.reason, predictions.reason),
            _ => self.features.reason.clone(),
        }
    }
}

/// A column of a batch, as drift takes it.
enum Values {
    Numbers(Vec<f64>),
    Words(ArrayRef),
}

/// The features of rows. Instants only ever grow, which is no drift.
fn columns(rows: &Batch) -> Vec<(String, Values)> {
    let feature = |(name, role, array): (&str, &Role, &ArrayRef)| -> Option<(String, Values)> {
        let instant = arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        if *role != Role::Feature || *array.data_type() == instant || *array.data_type() == DType::TimestampUs.arrow() {
            return None;
        }
        if *array.data_type() == DataType::Utf8 {
            return Some((name.to_owned(), Values::Words(array.clone())));
        }
        let numbers = arrow::compute::cast(array, &DataType::Float64).ok()?;
        let numbers = numbers.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        Some((name.to_owned(), Values::Numbers(numbers)))
    };
    rows.columns().filter_map(|(name, role, array)| feature((name, role, array))).collect()
}

/// Calls `with` with borrowed columns.
fn borrowed<T>(columns: &[(String, Values)], with: impl FnOnce(&[(&str, DriftColumn<'_>)]) -> T) -> T {
    let words: Vec<Option<Vec<Option<&str>>>> = columns
        .iter()
        .map(|(_, values)| match values {
            Values::Words(array) => Some(array.as_string::<i32>().iter().collect()),
            Values::Numbers(_) => None,
        })
        .collect();
    let borrowed: Vec<(&str, DriftColumn<'_>)> = columns
        .iter()
        .zip(&words)
        .filter_map(|((name, values), words)| match (values, words) {
            (Values::Numbers(values), _) => Some((name.as_str(), DriftColumn::Numbers(values))),
            (Values::Words(_), Some(words)) => Some((name.as_str(), DriftColumn::Words(words))),
            (Values::Words(_), None) => None,
        })
        .collect();
    with(&borrowed)
}

fn reference(columns: &[(String, Values)], settings: DriftSettings) -> DriftReference {
    borrowed(columns, |columns| DriftReference::of(columns, settings))
}

/// Adds the columns that the reference has; one that is not there any more counts as missing in every row.
fn add(reference: &DriftReference, window: &mut DriftWindow, columns: &[(String, Values)], row_count: usize) {
    let missing = vec![f64::NAN; row_count];
    borrowed(columns, |columns| {
        let column =
            |name: &str| columns.iter().find(|(known, _)| *known == name).map_or(DriftColumn::Numbers(&missing), |(_, column)| *column);
        reference.add(window, &reference.columns().map(column).collect::<Vec<_>>());
    });
}
