//! A piece of the loop's memory in the store: its value and the revision that a commit has to name.

use serde::{Serialize, de::DeserializeOwned};
use tidegate_store::{MetaStore, Write};
use tidegate_vocab::PipelineId;

use crate::PipelineError;

/// What a store holds of a pipeline under one key.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    key: &'static str,
    revision: Option<u64>,
    value: T,
}

impl<T: Serialize + DeserializeOwned + Default> Kept<T> {
    /// What is there; the default before the first commit.
    pub(crate) async fn of(meta: &dyn MetaStore, pipeline: &PipelineId, key: &'static str) -> Result<Kept<T>, PipelineError> {
        let Some((revision, bytes)) = meta.state(pipeline, key).await? else {
            return Ok(Kept { key, revision: None, value: T::default() });
        };
        let value = serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?;
        Ok(Kept { key, revision: Some(revision), value })
    }

    /// The value alone, for whoever only reads.
    pub(crate) fn into_value(self) -> T {
        self.value
    }

    /// The write that puts `value` in the place of what is there.
    pub(crate) fn write(&self, value: &T) -> Result<Write, PipelineError> {
        let value = serde_json::to_vec(value).map_err(|source| PipelineError::ReadState { source })?;
        Ok(Write::State { key: self.key.to_owned(), expected: self.revision, value })
    }

    /// Notes that the commit with that write holds.
    pub(crate) fn committed(&mut self, value: T) {
        self.revision = Some(self.revision.map_or(1, |revision| revision + 1));
        self.value = value;
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
