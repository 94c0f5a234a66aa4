//! Loaded versions: the few that a pipeline compares and scores with.

use std::sync::Arc;

use tidegate_model::Model;
use tidegate_vocab::{PipelineId, VersionNo};

use crate::{PipelineError, Stores};

/// Versions kept loaded: champion, challenger, anchor, and the one before the champion.
const LOADED_MAX: usize = 4;

/// The versions used last, newest first.
#[derive(Default)]
pub(crate) struct Models(Vec<(VersionNo, Arc<Model>)>);

impl Models {
    /// The model of `version`, loaded if it is not yet.
    pub(crate) async fn get(&mut self, stores: &Stores, pipeline: &PipelineId, version: VersionNo) -> Result<Arc<Model>, PipelineError> {
        if let Some(index) = self.0.iter().position(|(number, _)| *number == version) {
            let found = self.0.remove(index);
            self.0.insert(0, found);
            return Ok(Arc::clone(&self.0[0].1));
        }
        let record = stores.meta.version(pipeline, version).await?;
        let record = record.ok_or_else(|| PipelineError::Missing { what: format!("{version} of pipeline `{pipeline}`") })?;
        let weights = stores.blobs.get(&record.weights).await.map_err(|source| PipelineError::Blob { digest: record.weights, source })?;
        let manifest =
            stores.blobs.get(&record.manifest).await.map_err(|source| PipelineError::Blob { digest: record.manifest, source })?;
        let model = Model::load(&weights, &manifest).map_err(|source| PipelineError::Load { version, source })?;
        self.0.insert(0, (version, Arc::new(model)));
        self.0.truncate(LOADED_MAX);
        Ok(Arc::clone(&self.0[0].1))
    }
}
