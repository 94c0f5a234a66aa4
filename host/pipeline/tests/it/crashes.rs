//! A process that dies at any commit goes on to the outcome of one that did not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tidegate_pipeline::{CleanPort, Pipeline, RunEnd, Silent, ingest_all, run_once};
use tidegate_policy::GateRows;
use tidegate_sandbox::{CallError, Cleaned};
use tidegate_store::{AliasMove, Fence, JournalEntry, JournalHead, MetaStore, StoreError, Write};
use tidegate_testkit::{MemoryStore, seeded_rng};
use tidegate_vocab::{
    Alias, Batch, CleanPart, CleanerState, Decision, Digest, ModelVersion, PipelineId, Quarantined, RawPart, Run, RunId, SimulatedClock,
    Snapshot, Timestamp, VersionNo,
};

use rand::RngExt as _;

use crate::scripted::{ClipFirst, History, plugins, refused, settings, stores};

/// A store whose process dies before or after one of its commits.
pub struct Mortal {
    pub store: Arc<MemoryStore>,
    pub commits_left: AtomicI64,
    pub dies_after: bool,
}

impl Mortal {
    fn died(&self) -> StoreError {
        StoreError::BlobMissing { digest: Digest::of("the process died here") }
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl MetaStore for Mortal {
            async fn commit(&self, fence: Fence, pipeline: &PipelineId, at: Timestamp, writes: Vec<Write>) -> Result<(), StoreError> {
                let left = self.commits_left.fetch_sub(1, Ordering::SeqCst);
                if left < 0 || (left == 0 && !self.dies_after) {
                    return Err(self.died());
                }
                self.store.commit(fence, pipeline, at, writes).await?;
                if left == 0 { Err(self.died()) } else { Ok(()) }
            }
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out, StoreError> { self.store.$name($($arg),*).await })*
        }
    };
}

forward! {
    take_fence(owner: &str) -> Fence;
    pipelines() -> Vec<PipelineId>;
    cursor(pipeline: &PipelineId) -> Option<Vec<u8>>;
    raw_parts(pipeline: &PipelineId, from_row: u64) -> Vec<RawPart>;
    clean_parts(pipeline: &PipelineId, chain: &Digest, from_row: u64) -> Vec<CleanPart>;
    quarantined(pipeline: &PipelineId, chain: &Digest) -> Vec<(Digest, Quarantined)>;
    chain_state(pipeline: &PipelineId, chain: &Digest) -> Option<(u64, Vec<CleanerState>)>;
    run(pipeline: &PipelineId, id: RunId) -> Option<Run>;
    runs(pipeline: &PipelineId) -> Vec<Run>;
    open_run(pipeline: &PipelineId) -> Option<Run>;
    version(pipeline: &PipelineId, number: VersionNo) -> Option<ModelVersion>;
    versions(pipeline: &PipelineId) -> Vec<ModelVersion>;
    alias(pipeline: &PipelineId, alias: Alias) -> Option<VersionNo>;
    alias_history(pipeline: &PipelineId, alias: Alias) -> Vec<AliasMove>;
    decisions(pipeline: &PipelineId, about: Option<VersionNo>) -> Vec<(u64, Decision)>;
    snapshot(id: &Digest) -> Option<Snapshot>;
    state(pipeline: &PipelineId, key: &str) -> Option<(u64, Vec<u8>)>;
    journal(pipeline: Option<&PipelineId>, from: u64) -> Vec<JournalEntry>;
    verify_journal() -> JournalHead;
}

/// What must be the same however often the process died.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    parts: Vec<Digest>,
    weights: Vec<Digest>,
    champion: Option<VersionNo>,
    decisions: Vec<(tidegate_vocab::DecisionKind, VersionNo, Option<VersionNo>, String)>,
    rows: u64,
}

async fn outcome(store: &MemoryStore, pipeline: &Pipeline) -> Outcome {
    let id = "test".parse().unwrap();
    store.verify_journal().await.unwrap();
    Outcome {
        parts: store.clean_parts(&id, &pipeline.chain(), 0).await.unwrap().iter().map(|part| part.digest).collect(),
        weights: store.versions(&id).await.unwrap().iter().map(|version| version.weights).collect(),
        champion: store.alias(&id, Alias::Champion).await.unwrap(),
        decisions: store
            .decisions(&id, None)
            .await
            .unwrap()
            .into_iter()
            .map(|(_, decision)| (decision.kind, decision.version, decision.parent, decision.reason))
            .collect(),
        rows: pipeline.rows_total(),
    }
}

/// Ingests and runs, dying at each of `deaths` (commits of one life, and whether the last of them still takes place).
async fn live(history: &Arc<History>, deaths: &[(i64, bool)]) -> Outcome {
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(i64::MAX / 4)));
    let immortal = (i64::MAX, false);
    for (commits_left, dies_after) in deaths.iter().copied().chain([immortal]) {
        let fence = store.take_fence("test").await.unwrap();
        let meta = Arc::new(Mortal { store: Arc::clone(&store), commits_left: AtomicI64::new(commits_left), dies_after });
        let (blobs, queue, feedback) = (Arc::clone(&store) as _, Arc::clone(&store) as _, Arc::clone(&store) as _);
        let stores = tidegate_pipeline::Stores { meta, blobs, queue, feedback, fence, clock: Arc::clone(&clock) as _ };
        let settings = settings(7, GateRows::HeldOut);
        let Ok(mut pipeline) = Pipeline::open(settings, plugins(history), stores, Box::new(Silent)).await else { continue };
        if ingest_all(&mut pipeline).await.is_err() {
            continue;
        }
        match run_once(&mut pipeline, None).await {
            Ok(RunEnd::Decided { .. } | RunEnd::NothingDue | RunEnd::Waiting { .. }) => return outcome(&store, &pipeline).await,
            Err(_) => continue,
        }
    }
    panic!("the last life is immortal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dying_at_any_commit_changes_nothing() {
    let history = Arc::new(History::new(7, 1_000));
    let unbroken = live(&history, &[]).await;
    assert_eq!(unbroken.decisions.len(), 1, "the run should come to one decision");
    assert_eq!(unbroken.rows, 1_000);
    let mut rng = seeded_rng(7);
    for case in 0..60 {
        let deaths: Vec<(i64, bool)> = (0..3).map(|_| (rng.random_range(0..30), rng.random_bool(0.5))).collect();
        assert_eq!(live(&history, &deaths).await, unbroken, "case {case}: deaths {deaths:?}");
    }
}

/// The source is ahead of what is committed when a commit fails: the same pipeline has to take it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_pulled_ahead_of_a_failed_commit_come_again() {
    let history = Arc::new(History::new(7, 1_000));
    let mut unbroken: Option<Outcome> = None;
    for commits_left in [i64::MAX, 0, 1, 2, 3, 4, 5] {
        let store = Arc::new(MemoryStore::new());
        let fence = store.take_fence("test").await.unwrap();
        let meta = Arc::new(Mortal { store: Arc::clone(&store), commits_left: AtomicI64::new(commits_left), dies_after: false });
        let (blobs, queue, clock) = (Arc::clone(&store) as _, Arc::clone(&store) as _, Arc::new(SimulatedClock::new(Timestamp(0))));
        let feedback = Arc::clone(&store) as _;
        let stores = tidegate_pipeline::Stores { meta: Arc::clone(&meta) as _, blobs, queue, feedback, fence, clock };
        let settings = settings(7, GateRows::HeldOut);
        let mut pipeline = Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap();
        let first = ingest_all(&mut pipeline).await;
        assert_eq!(first.is_err(), commits_left < i64::MAX, "commit {commits_left}");
        meta.commits_left.store(i64::MAX, Ordering::SeqCst);
        ingest_all(&mut pipeline).await.unwrap();
        let outcome = outcome(&store, &pipeline).await;
        assert_eq!(outcome.rows, 1_000);
        assert_eq!(&outcome, unbroken.get_or_insert_with(|| outcome.clone()), "commit {commits_left}");
    }
}

/// A cleaner that asks for time at its first call.
struct NotYet {
    was_asked: bool,
}

impl CleanPort for NotYet {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        if std::mem::replace(&mut self.was_asked, true) { ClipFirst.clean(rows) } else { Err(refused(true, None)) }
    }
}

/// Every commit holds here, but nobody takes the rows any more: what the source has beyond them is not committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_pulled_ahead_of_a_failed_cleaning_come_again() {
    let history = Arc::new(History::new(7, 1_000));
    let store = Arc::new(MemoryStore::new());
    let mut plugins = plugins(&history);
    plugins.cleaners[0].port = Some(Box::new(NotYet { was_asked: false }));
    let stores = stores(&store, Arc::new(SimulatedClock::new(Timestamp(0)))).await;
    let mut pipeline = Pipeline::open(settings(7, GateRows::HeldOut), plugins, stores, Box::new(Silent)).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap_err();
    assert!(pipeline.rows_total() < 1_000, "the source should not have been read to its end");
    ingest_all(&mut pipeline).await.unwrap();
    let id = "test".parse().unwrap();
    let raw = store.raw_parts(&id, 0).await.unwrap();
    let cleaned = store.clean_parts(&id, &pipeline.chain(), 0).await.unwrap();
    assert_eq!(raw.iter().map(|part| part.row_count).sum::<u64>(), 1_000, "rows are lost");
    assert!(cleaned.iter().map(|part| part.first_row).eq(raw.iter().map(|part| part.first_row)), "parts are not cleaned");
}
