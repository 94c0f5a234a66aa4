//! Rows with what a model sees of earlier ones: for training, for scoring, and for whoever answers requests.
//!
//! Invariant: how far is read back changes no lag. [`Lags`] say what a row sees; here is only read as much as that needs.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use tidegate_dataset::{PartReader, read_history, read_rows, rows_of};
use tidegate_model::{LOOKBACK_ROWS_MAX, Lagged, Lags, Model, PredictError};
use tidegate_store::MetaStore;
use tidegate_vocab::{Batch, Contract, Digest, PipelineId, Snapshot, Timestamp, VersionNo};

use crate::monitor::{row_numbers, row_range};
use crate::{Pipeline, PipelineError};

/// Rows that are read before those in question at first; most lags are short.
const FIRST_LOOK_ROWS: u64 = 64;

/// Where cleaned rows are read from.
pub struct CleanRows<'a> {
    /// The parts of which pipeline.
    pub pipeline: &'a PipelineId,
    /// Behind which cleaners.
    pub chain: Digest,
    /// What their columns are.
    pub contract: &'a Contract,
    /// The list of parts.
    pub meta: &'a dyn MetaStore,
    /// Their files, and the labels that came later.
    pub reader: PartReader<'a>,
}

impl CleanRows<'_> {
    /// The newest rows up to number `end`, as many as requests at `now` and later need for `lags`.
    ///
    /// # Errors
    /// What could not be read, or has not the columns of the contract.
    pub async fn recent(&self, lags: &Lags, end: u64, now: Timestamp) -> Result<Batch, PipelineError> {
        let fits = |rows: &Batch| {
            // What is known now stays known: whoever asks later finds the same or something newer.
            let lagged = lags.attach_now(self.contract, rows, now, &rows.slice(0, rows.row_count().min(1)))?;
            Ok(lagged.complete.iter().all(|complete| *complete))
        };
        self.reaching_back(lags, end, end, fits).await
    }

    /// The cleaned rows numbered `from..to`, with labels that came later.
    ///
    /// # Errors
    /// What could not be read, or has not the columns of the contract.
    pub async fn range(&self, from: u64, to: u64) -> Result<Batch, PipelineError> {
        let parts = self.meta.clean_parts(self.pipeline, &self.chain, from).await?;
        let read = read_rows(&self.reader, self.contract, &parts, from, to, None).await;
        read.map_err(|source| PipelineError::Dataset { first_row: from, last_row: to, source })
    }

    /// The rows numbered `from..to` with their lags, and some before them.
    async fn lagged(&self, lags: &Lags, from: u64, to: u64) -> Result<Lagged, PipelineError> {
        let is_complete = |rows: &Batch| {
            let (numbers, lagged) = (row_numbers(rows), lags.attach(self.contract, rows)?);
            Ok(numbers.iter().zip(&lagged.complete).all(|(number, complete)| *complete || *number < from))
        };
        let rows = self.reaching_back(lags, from, to, is_complete).await?;
        lags.attach(self.contract, &rows).map_err(|source| self.failed(from, to, source))
    }

    /// The rows numbered `from..to` and rows before them, until it `is_enough` or no row further back is seen by any.
    async fn reaching_back(
        &self,
        lags: &Lags,
        from: u64,
        to: u64,
        is_enough: impl Fn(&Batch) -> Result<bool, tidegate_model::ColumnError>,
    ) -> Result<Batch, PipelineError> {
        let mut back = FIRST_LOOK_ROWS.max(2 * u64::from(lags.reach())).min(LOOKBACK_ROWS_MAX);
        loop {
            let start = from.saturating_sub(back);
            let rows = self.range(start, to).await?;
            let all = start == 0 || back == LOOKBACK_ROWS_MAX;
            if all || is_enough(&rows).map_err(|source| self.failed(start, to, source))? {
                return Ok(rows);
            }
            back = back.saturating_mul(4).min(LOOKBACK_ROWS_MAX);
        }
    }

    fn failed(&self, first_row: u64, last_row: u64, source: tidegate_model::ColumnError) -> PipelineError {
        PipelineError::Lags { first_row, last_row, source }
    }
}

impl Pipeline {
    /// Its cleaned rows.
    pub fn clean_rows(&self) -> CleanRows<'_> {
        let (pipeline, contract) = (&self.settings.id, &self.settings.contract);
        CleanRows { pipeline, chain: self.chain, contract, meta: &*self.stores.meta, reader: self.reader() }
    }

    /// Cleaned rows of the pipeline with the lags of `model`.
    pub(crate) async fn lagged(&self, version: VersionNo, model: &Arc<Model>, rows: &Batch) -> Result<Batch, PipelineError> {
        let manifest = model.manifest();
        if manifest.spec.lags.is_empty() || rows.row_count() == 0 {
            return Ok(rows.clone());
        }
        let (numbers, contract) = (row_numbers(rows), &manifest.contract);
        let (from, to) = numbers.iter().fold((u64::MAX, 0), |(from, to), number| (from.min(*number), to.max(number + 1)));
        // The version's own contract says which columns its lags are made of.
        let lagged = CleanRows { contract, ..self.clean_rows() }.lagged(&manifest.spec.lags, from, to).await;
        let lagged = lagged.map_err(|error| match error {
            PipelineError::Lags { first_row, last_row, source } => {
                PipelineError::Predict { version, first_row, last_row, source: PredictError::Column(source) }
            }
            other => other,
        })?;
        picked(&lagged.rows, &numbers)
    }

    /// The rows of one split of a snapshot as the settings' model learns from them. To train on, only rows that see all their lags: a
    /// model does not meet others later.
    pub(crate) async fn lessons(&self, snapshot: &Snapshot, split: &str) -> Result<Batch, PipelineError> {
        let lags = &self.settings.model.lags;
        if lags.is_empty() {
            return self.split_of(snapshot, split).await;
        }
        let (first_row, last_row) = (0, self.rows_total);
        let unread = |source| PipelineError::Dataset { first_row, last_row, source };
        let history = read_history(&*self.stores.blobs, &self.parts, snapshot).await.map_err(unread)?;
        let lagged = lags.attach(&snapshot.contract, &history).map_err(|source| PipelineError::Lags { first_row, last_row, source })?;
        let rows = rows_of(snapshot, &lagged.rows).map_err(unread)?;
        let Some(range) = snapshot.split(split) else { return Ok(rows.slice(0, 0)) };
        let rows = rows.slice(range.start as usize, (range.end - range.start) as usize);
        if split != "train" {
            return Ok(rows);
        }
        let numbers = row_numbers(&lagged.rows).into_iter().zip(&lagged.complete);
        let lacking: HashSet<u64> = numbers.filter(|(_, complete)| !**complete).map(|(number, _)| number).collect();
        let mask: Vec<bool> = row_numbers(&rows).iter().map(|number| !lacking.contains(number)).collect();
        if mask.iter().all(|complete| *complete) || !mask.contains(&true) {
            return Ok(rows);
        }
        let kept = filter_record_batch(&rows.rows, &BooleanArray::from(mask)).expect("the mask has one entry a row");
        Ok(Batch { rows: kept, roles: rows.roles })
    }
}

/// Of rows in order of their numbers, those with these numbers, in their order.
fn picked(rows: &Batch, numbers: &[u64]) -> Result<Batch, PipelineError> {
    let (own, (first, last)) = (row_numbers(rows), row_range(rows));
    let position = |number: &u64| own.binary_search(number).ok().and_then(|position| u32::try_from(position).ok());
    let Some(positions) = numbers.iter().map(position).collect::<Option<Vec<u32>>>() else {
        return Err(PipelineError::Missing { what: format!("some of the rows {first} to {last} behind the cleaners in use") });
    };
    let taken = take_record_batch(&rows.rows, &UInt32Array::from(positions)).expect("the positions lie in the rows");
    Ok(Batch { rows: taken, roles: rows.roles.clone() })
}
