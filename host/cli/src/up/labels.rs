//! Labels by id: from a request to the store, and a word to the pipeline that they have come.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_pipeline::Stores;
use tidegate_serve::{LabelError, LabelSink, LabelsAdded};
use tidegate_store::LabelsKept;
use tidegate_vocab::{Clock as _, Contract, LateLabel, PipelineId};
use tokio::sync::mpsc;

use super::actor::Message;
use super::prediction_log::PredictionLog;
use crate::compose::clock::SystemClock;

/// What labels need to know of a pipeline: its contract, and where to say that they have come.
pub type LabelPlace = (Arc<Contract>, mpsc::Sender<Message>);

/// Where the server and the control socket put labels.
#[derive(Clone)]
pub struct Labels {
    /// Where they are kept.
    pub stores: Stores,
    /// What was answered a moment ago may not be in the store yet.
    pub log: PredictionLog,
    /// Every pipeline.
    pub pipelines: Arc<BTreeMap<PipelineId, LabelPlace>>,
}

#[async_trait]
impl LabelSink for Labels {
    async fn add(&self, pipeline: &PipelineId, labels: Vec<LateLabel>) -> Result<LabelsAdded, LabelError> {
        let Some((contract, inbox)) = self.pipelines.get(pipeline) else {
            return Err(LabelError::Failed(format!("there is no pipeline `{pipeline}`")));
        };
        if !contract.label.by_id {
            return Err(LabelError::NotById);
        }
        let mut kept = self.keep(pipeline, &labels).await?;
        if matches!(kept, LabelsKept::Unknown(_)) {
            // They may be of rows that were answered within the last moment.
            self.log.flush().await;
            kept = self.keep(pipeline, &labels).await?;
        }
        match kept {
            LabelsKept::Unknown(ids) => Err(LabelError::Unknown(ids)),
            LabelsKept::Kept { added, unchanged } => {
                // A full inbox is one that will be looked at anyway.
                let _ = inbox.try_send(Message::Wake);
                Ok(LabelsAdded { added, unchanged })
            }
        }
    }
}

impl Labels {
    async fn keep(&self, pipeline: &PipelineId, labels: &[LateLabel]) -> Result<LabelsKept, LabelError> {
        let kept = self.stores.feedback.add_labels(self.stores.fence, pipeline, SystemClock.now(), labels).await;
        kept.map_err(|error| LabelError::Failed(error.to_string()))
    }
}
