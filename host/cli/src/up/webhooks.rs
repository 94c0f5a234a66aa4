//! Posts to triggers: from a request to the pipeline that has such a trigger.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_policy::TriggerKind;
use tidegate_serve::{TriggerError, TriggerSink};
use tidegate_vocab::PipelineId;
use tokio::sync::watch;

use super::actor::Message;
use super::labels::LabelPlace;
use crate::config::Config;

/// Where the server puts posts.
pub struct Webhooks {
    /// Which triggers there are now.
    pub settings: watch::Receiver<Arc<Config>>,
    /// Every pipeline.
    pub pipelines: Arc<BTreeMap<PipelineId, LabelPlace>>,
}

#[async_trait]
impl TriggerSink for Webhooks {
    async fn post(&self, pipeline: &PipelineId, name: &str) -> Result<(), TriggerError> {
        let config = Arc::clone(&self.settings.borrow());
        let rules = config.pipelines.iter().filter(|one| one.id == *pipeline).flat_map(|one| &one.triggers);
        let names: Vec<String> = rules
            .filter_map(|rule| match &rule.kind {
                TriggerKind::Webhook { name } => Some(name.clone()),
                _ => None,
            })
            .collect();
        if !names.iter().any(|known| known == name) {
            return Err(TriggerError::Unknown(names));
        }
        let Some((_, inbox)) = self.pipelines.get(pipeline) else { return Err(TriggerError::Unknown(names)) };
        inbox.try_send(Message::Posted(name.to_owned())).map_err(|_| TriggerError::Busy)
    }
}
