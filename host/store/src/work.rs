//! Idempotent pieces of batch work under leases.

use async_trait::async_trait;
use tidegate_vocab::{Digest, PipelineId, Timestamp};

use crate::{Fence, StoreError};

/// A piece of batch work that gives the same result however often and wherever it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkUnit {
    /// The digest of its plan and input; the same work has the same key.
    pub key: Digest,
    /// What to do, as the engine understands it.
    pub plan: Vec<u8>,
}

/// A work unit that one worker holds for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The pipeline it belongs to.
    pub pipeline: PipelineId,
    /// What to do.
    pub unit: WorkUnit,
    /// The process's fence under which it was leased.
    pub fence: Fence,
    /// How often the unit was leased, this time included: the lease's own fence. A later lease makes it stale.
    pub lease: u64,
    /// Who holds it.
    pub owner: String,
    /// When it returns to the queue unless it was completed.
    pub until: Timestamp,
}

/// Work units of all pipelines, in the order in which they were enqueued.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Adds a unit; `false` when a unit with its key is there already, done or not.
    async fn enqueue(&self, fence: Fence, pipeline: &PipelineId, unit: WorkUnit) -> Result<bool, StoreError>;

    /// Leases the oldest unit of `pipeline` that is neither done nor held by a lease that still runs at `now`. A lease from under
    /// an older fence is over: its process has lost the right to write.
    async fn lease(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Leased>, StoreError>;

    /// Marks a unit done, with the digest of its result. An expired lease may still do so as long as nobody else took the unit;
    /// saying the same a second time changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the unit was leased again since, or is done with another result.
    async fn complete(&self, leased: &Leased, result: Digest) -> Result<(), StoreError>;

    /// Gives a unit back before its lease runs out; nothing happens when the lease is no longer the unit's.
    async fn release(&self, leased: &Leased) -> Result<(), StoreError>;

    /// The result of a unit, once it is done.
    async fn result(&self, pipeline: &PipelineId, key: &Digest) -> Result<Option<Digest>, StoreError>;

    /// How many units of `pipeline` are not done.
    async fn pending(&self, pipeline: &PipelineId) -> Result<u64, StoreError>;
}
