//! What the loop remembers: cursors, parts, runs, versions, aliases, decisions and the journal.

use async_trait::async_trait;
use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Decision, Digest, ModelVersion, PipelineId, Quarantined, RawPart, Run, RunId, Snapshot, Timestamp,
    VersionNo,
};

use crate::{JournalEntry, JournalHead, StoreError, Write};

/// The right to write, taken when a process opens a state folder; a fence that was taken later makes it stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// One move of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AliasMove {
    /// When it moved.
    pub at: Timestamp,
    /// Where it pointed before; `None` for its first move.
    pub from: Option<VersionNo>,
    /// Where it points since.
    pub to: VersionNo,
    /// The number of the decision that moved it.
    pub decision: u64,
}

/// The only commit point. Every key holds the pipeline's id, so that many pipelines share one store.
#[async_trait]
pub trait MetaStore: Send + Sync {
    /// Takes a fence in the name of `owner` (shown to whoever is fenced off); all earlier fences become stale.
    async fn take_fence(&self, owner: &str) -> Result<Fence, StoreError>;

    /// Applies all of `writes`, in order, in one transaction; each sees what those before it did. Journal lines are added for
    /// every transition among them.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when `fence` is stale, [`StoreError::Conflict`] when an expectation does not hold,
    /// [`StoreError::Transition`] when a state may not follow another. Nothing is written then.
    async fn commit(&self, fence: Fence, pipeline: &PipelineId, at: Timestamp, writes: Vec<Write>) -> Result<(), StoreError>;

    /// All pipelines that ever committed, by name.
    async fn pipelines(&self) -> Result<Vec<PipelineId>, StoreError>;

    /// Where the source goes on.
    async fn cursor(&self, pipeline: &PipelineId) -> Result<Option<Vec<u8>>, StoreError>;

    /// The raw parts that hold rows from number `from_row` on, in order; the first may begin earlier.
    async fn raw_parts(&self, pipeline: &PipelineId, from_row: u64) -> Result<Vec<RawPart>, StoreError>;

    /// The cleaned parts of one cleaner chain whose raw part holds rows from number `from_row` on, in order.
    async fn clean_parts(&self, pipeline: &PipelineId, chain: &Digest, from_row: u64) -> Result<Vec<CleanPart>, StoreError>;

    /// What one cleaner chain kept out, in row order: the raw part and the rows.
    async fn quarantined(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Vec<(Digest, Quarantined)>, StoreError>;

    /// What the cleaners of a chain that keep state remember: its revision (from 1) and the state of each.
    async fn chain_state(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Option<(u64, Vec<CleanerState>)>, StoreError>;

    /// One run.
    async fn run(&self, pipeline: &PipelineId, id: RunId) -> Result<Option<Run>, StoreError>;

    /// All runs, oldest first.
    async fn runs(&self, pipeline: &PipelineId) -> Result<Vec<Run>, StoreError>;

    /// The run that has not ended; at most one a pipeline.
    async fn open_run(&self, pipeline: &PipelineId) -> Result<Option<Run>, StoreError>;

    /// One version.
    async fn version(&self, pipeline: &PipelineId, number: VersionNo) -> Result<Option<ModelVersion>, StoreError>;

    /// All versions, oldest first.
    async fn versions(&self, pipeline: &PipelineId) -> Result<Vec<ModelVersion>, StoreError>;

    /// Where an alias points.
    async fn alias(&self, pipeline: &PipelineId, alias: Alias) -> Result<Option<VersionNo>, StoreError>;

    /// Every move of an alias, oldest first; the last one's `to` is where it points.
    async fn alias_history(&self, pipeline: &PipelineId, alias: Alias) -> Result<Vec<AliasMove>, StoreError>;

    /// All decisions with their numbers (from 1), or those about one version; oldest first.
    async fn decisions(&self, pipeline: &PipelineId, about: Option<VersionNo>) -> Result<Vec<(u64, Decision)>, StoreError>;

    /// The snapshot with an id, whichever pipeline made it.
    async fn snapshot(&self, id: &Digest) -> Result<Option<Snapshot>, StoreError>;

    /// A small named piece of the loop's state: its revision (from 1) and its bytes.
    async fn state(&self, pipeline: &PipelineId, key: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// The journal from entry number `from` (the first is 1) on, of one pipeline or of all.
    async fn journal(&self, pipeline: Option<&PipelineId>, from: u64) -> Result<Vec<JournalEntry>, StoreError>;

    /// Walks the journal's hash chain from its first entry to its last.
    ///
    /// # Errors
    /// [`StoreError::Journal`] names the first entry that is missing, changed or out of order.
    async fn verify_journal(&self) -> Result<JournalHead, StoreError>;
}
