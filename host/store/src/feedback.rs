//! What was answered and what turned out to be true: the prediction log, and labels that come after their rows.

use std::collections::HashMap;

use async_trait::async_trait;
use tidegate_vocab::{LateLabel, LoggedPrediction, PipelineId, Timestamp};

use crate::{Fence, StoreError};

/// A label that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedLabel {
    /// Its number, rising, from 1; of all pipelines together.
    pub number: u64,
    /// The label.
    pub label: LateLabel,
    /// The number of the ingested row with its id, if there is one.
    pub row: Option<u64>,
}

/// What became of some labels. They are kept together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelsKept {
    /// They are kept.
    Kept {
        /// Labels that say something new.
        added: u64,
        /// Labels that were there already, with the same class.
        unchanged: u64,
    },
    /// None was kept: these ids were neither predicted nor ingested. In the order of the request.
    Unknown(Vec<String>),
}

/// Predictions and late labels of all pipelines.
#[async_trait]
pub trait Feedback: Send + Sync {
    /// Appends to the prediction log.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when `fence` is stale; nothing is written then.
    async fn log_predictions(&self, fence: Fence, pipeline: &PipelineId, predictions: &[LoggedPrediction]) -> Result<(), StoreError>;

    /// How many predictions the log holds.
    async fn prediction_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError>;

    /// At most `count` predictions with numbers above `after`, in order, with their numbers.
    async fn predictions(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<(u64, LoggedPrediction)>, StoreError>;

    /// The last prediction for each of `row_ids` that has one.
    async fn predictions_of(&self, pipeline: &PipelineId, row_ids: &[String]) -> Result<HashMap<String, LoggedPrediction>, StoreError>;

    /// Notes the ids of ingested rows, so that labels find them. A later row of the same id takes its place.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when `fence` is stale; nothing is written then.
    async fn name_rows(&self, fence: Fence, pipeline: &PipelineId, rows: &[(String, u64)]) -> Result<(), StoreError>;

    /// Keeps labels of rows that were predicted or ingested. One that differs from an earlier one for its row corrects it.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when `fence` is stale; nothing is written then.
    async fn add_labels(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        received_at: Timestamp,
        labels: &[LateLabel],
    ) -> Result<LabelsKept, StoreError>;

    /// At most `count` labels with numbers above `after`, in order.
    async fn labels(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<ArrivedLabel>, StoreError>;

    /// How many labels there are.
    async fn label_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError>;

    /// Of each ingested row from number `from_row` on, the last label known by `known_until`, in row order: number, class, and when
    /// it became known.
    async fn labels_of_rows(
        &self,
        pipeline: &PipelineId,
        from_row: u64,
        known_until: Timestamp,
    ) -> Result<Vec<(u64, String, Timestamp)>, StoreError>;
}
