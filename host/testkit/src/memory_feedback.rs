//! The model of the prediction log and of late labels: lists in order of arrival.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use tidegate_store::{ArrivedLabel, Feedback, Fence, LabelsKept, StoreError};
use tidegate_vocab::{LateLabel, LoggedPrediction, PipelineId, Timestamp};

use crate::MemoryStore;

/// All predictions, row ids and labels. Numbers are given out once, over all pipelines.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answers {
    predictions_made: u64,
    predictions: Vec<(u64, PipelineId, LoggedPrediction)>,
    rows: BTreeMap<(PipelineId, String), u64>,
    labels_made: u64,
    labels: Vec<Label>,
}

#[derive(Debug, Clone)]
struct Label {
    number: u64,
    pipeline: PipelineId,
    label: LateLabel,
    received_at: Timestamp,
}

impl Answers {
    fn row(&self, pipeline: &PipelineId, id: &str) -> Option<u64> {
        self.rows.get(&(pipeline.clone(), id.to_owned())).copied()
    }

    fn is_known(&self, pipeline: &PipelineId, id: &str) -> bool {
        let predicted = self.predictions.iter().any(|(_, of, row)| of == pipeline && row.row_id == id);
        predicted || self.row(pipeline, id).is_some()
    }

    fn class(&self, pipeline: &PipelineId, id: &str) -> Option<&str> {
        let mut labels = self.labels.iter().rev().filter(|label| label.pipeline == *pipeline);
        labels.find(|label| label.label.row_id == id).map(|label| label.label.class.as_str())
    }

    /// Forgets ids and labels of rows below a number.
    pub fn drop_rows(&mut self, pipeline: &PipelineId, below: u64) {
        let gone = |answers: &Answers, id: &str| answers.row(pipeline, id).is_some_and(|row| row < below);
        let before = self.clone();
        self.labels.retain(|label| label.pipeline != *pipeline || !gone(&before, &label.label.row_id));
        self.rows.retain(|(of, _), row| of != pipeline || *row >= below);
    }

    /// Forgets what was answered before an instant, and labels from before it that no ingested row has.
    pub fn drop_before(&mut self, pipeline: &PipelineId, before: Timestamp) {
        let rows = self.rows.clone();
        let has_row = |id: &str| rows.contains_key(&(pipeline.clone(), id.to_owned()));
        self.labels.retain(|label| label.pipeline != *pipeline || label.received_at >= before || has_row(&label.label.row_id));
        self.predictions.retain(|(_, of, row)| of != pipeline || row.at >= before);
    }
}

#[async_trait]
impl Feedback for MemoryStore {
    async fn log_predictions(&self, fence: Fence, pipeline: &PipelineId, predictions: &[LoggedPrediction]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        let answers = &mut kept.answers;
        for row in predictions {
            answers.predictions_made += 1;
            answers.predictions.push((answers.predictions_made, pipeline.clone(), row.clone()));
        }
        Ok(())
    }

    async fn prediction_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        Ok(self.kept().answers.predictions.iter().filter(|(_, of, _)| of == pipeline).count() as u64)
    }

    async fn predictions(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<(u64, LoggedPrediction)>, StoreError> {
        let kept = self.kept();
        let wanted = kept.answers.predictions.iter().filter(|(number, of, _)| of == pipeline && *number > after);
        Ok(wanted.take(count as usize).map(|(number, _, row)| (*number, row.clone())).collect())
    }

    async fn predictions_of(&self, pipeline: &PipelineId, row_ids: &[String]) -> Result<HashMap<String, LoggedPrediction>, StoreError> {
        let kept = self.kept();
        let wanted = kept.answers.predictions.iter().filter(|(_, of, row)| of == pipeline && row_ids.contains(&row.row_id));
        Ok(wanted.map(|(_, _, row)| (row.row_id.clone(), row.clone())).collect())
    }

    async fn name_rows(&self, fence: Fence, pipeline: &PipelineId, rows: &[(String, u64)]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        kept.answers.rows.extend(rows.iter().map(|(id, row)| ((pipeline.clone(), id.clone()), *row)));
        Ok(())
    }

    async fn add_labels(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        received_at: Timestamp,
        labels: &[LateLabel],
    ) -> Result<LabelsKept, StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        let answers = &mut kept.answers;
        let unknown: Vec<String> =
            labels.iter().filter(|label| !answers.is_known(pipeline, &label.row_id)).map(|label| label.row_id.clone()).collect();
        if !unknown.is_empty() {
            return Ok(LabelsKept::Unknown(unknown));
        }
        let (mut added, mut unchanged) = (0, 0);
        for label in labels {
            if answers.class(pipeline, &label.row_id) == Some(&label.class) {
                unchanged += 1;
                continue;
            }
            added += 1;
            answers.labels_made += 1;
            let number = answers.labels_made;
            answers.labels.push(Label { number, pipeline: pipeline.clone(), label: label.clone(), received_at });
        }
        Ok(LabelsKept::Kept { added, unchanged })
    }

    async fn labels(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<ArrivedLabel>, StoreError> {
        let kept = self.kept();
        let answers = &kept.answers;
        let wanted = answers.labels.iter().filter(|label| label.pipeline == *pipeline && label.number > after);
        let arrived = |label: &Label| {
            let row = answers.row(pipeline, &label.label.row_id);
            ArrivedLabel { number: label.number, label: label.label.clone(), row }
        };
        Ok(wanted.take(count as usize).map(arrived).collect())
    }

    async fn label_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        Ok(self.kept().answers.labels.iter().filter(|label| label.pipeline == *pipeline).count() as u64)
    }

    async fn labels_of_rows(
        &self,
        pipeline: &PipelineId,
        from_row: u64,
        known_until: Timestamp,
    ) -> Result<Vec<(u64, String, Timestamp)>, StoreError> {
        let kept = self.kept();
        let answers = &kept.answers;
        let mut found = BTreeMap::new();
        for label in answers.labels.iter().filter(|label| label.pipeline == *pipeline && label.label.known_at <= known_until) {
            if let Some(row) = answers.row(pipeline, &label.label.row_id).filter(|row| *row >= from_row) {
                found.insert(row, (label.label.class.clone(), label.label.known_at));
            }
        }
        Ok(found.into_iter().map(|(row, (class, known_at))| (row, class, known_at)).collect())
    }
}
