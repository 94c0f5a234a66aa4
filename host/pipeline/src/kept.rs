//! A piece of the loop's memory in the store: its value and the revision that a commit has to name.
//!
//! Whoever may change it works on a draft, which costs nothing until it is written to ([`Arc::make_mut`]): most looks change nothing.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tidegate_store::{MetaStore, Write};
use tidegate_vocab::PipelineId;

use crate::PipelineError;

/// What a store holds of a pipeline under one key.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    key: &'static str,
    revision: Option<u64>,
    value: Arc<T>,
}

impl<T: Serialize + DeserializeOwned + Default + PartialEq> Kept<T> {
    /// What is there; the default before the first commit.
    pub(crate) async fn of(meta: &dyn MetaStore, pipeline: &PipelineId, key: &'static str) -> Result<Kept<T>, PipelineError> {
        let Some((revision, bytes)) = meta.state(pipeline, key).await? else {
            return Ok(Kept { key, revision: None, value: Arc::default() });
        };
        let value: T = serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?;
        Ok(Kept { key, revision: Some(revision), value: Arc::new(value) })
    }

    /// The value alone, for whoever only reads.
    pub(crate) fn into_value(self) -> T
    where
        T: Clone,
    {
        Arc::unwrap_or_clone(self.value)
    }

    /// A draft of what may take its place.
    pub(crate) fn draft(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }

    /// The draft, if it differs from what is there.
    pub(crate) fn changed(&self, draft: Arc<T>) -> Option<Arc<T>> {
        (!Arc::ptr_eq(&self.value, &draft) && self.value != draft).then_some(draft)
    }

    /// The write that puts `value` in the place of what is there.
    pub(crate) fn write(&self, value: &T) -> Result<Write, PipelineError> {
        let value = serde_json::to_vec(value).map_err(|source| PipelineError::ReadState { source })?;
        Ok(Write::State { key: self.key.to_owned(), expected: self.revision, value })
    }

    /// Notes that the commit with that write holds.
    pub(crate) fn committed(&mut self, value: impl Into<Arc<T>>) {
        self.revision = Some(self.revision.map_or(1, |revision| revision + 1));
        self.value = value.into();
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
