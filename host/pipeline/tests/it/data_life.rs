//! Quarantine, contract, a chain that has just come to be, and letting go of what is old.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use tidegate_pipeline::{
    CleanPort, CleanedAgain, Collected, Collection, Pipeline, PipelineError, PluginStep, Plugins, Retention, Settings, Silent, Subject,
    accept_contract, accepted_contract, clean_again, collect, ingest_all, make_room, promote, readmit, readmitted_rows, run_once,
};
use tidegate_policy::GateRows;
use tidegate_sandbox::{CallError, Cleaned};
use tidegate_store::{Blobs, ListedBlob, MetaStore as _, StoreError, Upkeep as _, named_blobs};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Alias, Batch, Clock as _, Digest, SimulatedClock, Timestamp, VersionNo, VersionState};

use crate::scripted::{History, ORIGIN_US, plugins, settings, step, stores};

const DAY_US: i64 = 86_400_000_000;

/// Drops rows whose second feature is above a bound, and counts the rows it was given.
struct DropHigh {
    above: f64,
    given: Arc<std::sync::atomic::AtomicU64>,
}

impl CleanPort for DropHigh {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        self.given.fetch_add(rows.row_count() as u64, std::sync::atomic::Ordering::SeqCst);
        let values = rows.column("b").unwrap().as_primitive::<Float64Type>();
        let keeps: Vec<bool> = values.iter().map(|value| value.is_none_or(|value| value <= self.above)).collect();
        let of = |wanted: bool| (0u32..).zip(&keeps).filter(move |(_, keep)| **keep == wanted).map(|(row, _)| row);
        let dropped = of(false).map(|row| (row, "high".to_owned())).collect();
        let left = arrow::compute::filter_record_batch(&rows.rows, &BooleanArray::from(keeps.clone())).unwrap();
        let rows = Batch { rows: left, roles: rows.roles.clone() };
        Ok(Cleaned { rows, dropped, kept: of(true).collect(), damage: Default::default() })
    }
}

/// A store with a history behind a cleaner, opened anew as often as a test wants.
struct Life {
    history: Arc<History>,
    store: Arc<MemoryStore>,
    clock: Arc<SimulatedClock>,
    /// Rows that the cleaner was given since the life began.
    given: Arc<std::sync::atomic::AtomicU64>,
}

impl Life {
    fn new(rows: usize) -> Life {
        let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US + 10_000 * DAY_US)));
        Life { history: Arc::new(History::new(3, rows)), store: Arc::new(MemoryStore::new()), clock, given: Arc::default() }
    }

    fn plugins(&self, above: f64) -> Plugins {
        let mut plugins = plugins(&self.history);
        let port: Box<dyn CleanPort> = Box::new(DropHigh { above, given: Arc::clone(&self.given) });
        let config = serde_json::json!({ "above": above });
        plugins.cleaners.insert(0, PluginStep { config, ..step("high", port) });
        plugins
    }

    async fn open_with(&self, settings: Settings, above: f64) -> Pipeline {
        let stores = stores(&self.store, Arc::clone(&self.clock) as _).await;
        Pipeline::open(settings, self.plugins(above), stores, Box::new(Silent)).await.unwrap()
    }

    async fn open(&self, above: f64) -> Pipeline {
        self.open_with(settings(3, GateRows::HeldOut), above).await
    }

    /// Numbers of the rows that are kept out behind the pipeline's chain.
    async fn kept_out(&self, pipeline: &Pipeline, by: &str) -> BTreeSet<u64> {
        let groups = self.store.quarantined(&id(), &pipeline.chain()).await.unwrap();
        groups.into_iter().filter(|(_, group)| group.by == by).flat_map(|(_, group)| group.rows).collect()
    }

    fn taken_given(&self) -> u64 {
        self.given.swap(0, std::sync::atomic::Ordering::SeqCst)
    }

    async fn collect(&self, pipeline: &Pipeline, retention: Retention, dry_run: bool) -> Collected {
        let stores = stores(&self.store, Arc::clone(&self.clock) as _).await;
        let subjects = [Subject { id: id(), chain: pipeline.chain(), window_rows: pipeline.settings().window_rows }];
        let (upkeep, feedback, now) = (&*self.store, &*self.store, stores.clock.now());
        let collection = Collection { stores: &stores, upkeep, feedback, subjects: &subjects, retention, bytes_beside: 0, now, dry_run };
        collect(&collection).await.unwrap()
    }
}

fn id() -> tidegate_vocab::PipelineId {
    "test".parse().unwrap()
}

fn why<T: std::fmt::Debug>(result: Result<T, PipelineError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_row_comes_in_again_under_a_persons_name_and_stays_in_behind_a_new_chain() {
    let life = Life::new(400);
    let mut pipeline = life.open(0.95).await;
    ingest_all(&mut pipeline).await.unwrap();
    let (out, broken) = (life.kept_out(&pipeline, "high").await, life.kept_out(&pipeline, "contract").await);
    assert!(out.len() > 3 && broken.contains(&7), "the history should give both kinds: {out:?} {broken:?}");
    let parts_before = life.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap();
    let wanted: Vec<u64> = out.iter().copied().take(3).collect();

    assert_eq!(why(readmit(&mut pipeline, &[7], "ada", "no").await), "row 7 cannot be let in again: the contract refuses it: `null:a`");
    assert_eq!(why(readmit(&mut pipeline, &[wanted[0], 0], "ada", "no").await), "row 0 cannot be let in again: it is not kept out");
    assert_eq!(
        why(readmit(&mut pipeline, &[400], "ada", "no").await),
        "row 400 cannot be let in again: there are 400 rows, numbered from 0"
    );
    assert_eq!(life.kept_out(&pipeline, "high").await, out, "what was refused changed nothing");

    let again = readmit(&mut pipeline, &wanted, "ada", "the gauge was right").await.unwrap();
    assert_eq!(again.rows_in, wanted);
    let left: BTreeSet<u64> = out.iter().copied().skip(3).collect();
    assert_eq!(life.kept_out(&pipeline, "high").await, left);
    assert_eq!(life.kept_out(&pipeline, "contract").await, broken, "what the contract refuses stays out");
    // Saying it again changes nothing; the old parts' files are there for the snapshots that name them.
    let entries = life.store.journal(None, 1).await.unwrap().len();
    assert_eq!(readmit(&mut pipeline, &wanted, "ada", "again").await.unwrap(), CleanedAgain::default());
    assert_eq!(life.store.journal(None, 1).await.unwrap().len(), entries);
    for part in parts_before {
        assert!(life.store.has(&part.digest).await.unwrap());
    }

    // Another process, another configuration: a chain of its own, under which the person's word still counts.
    let mut pipeline = life.open(0.9).await;
    ingest_all(&mut pipeline).await.unwrap();
    let out = life.kept_out(&pipeline, "high").await;
    assert!(out.is_superset(&left) && wanted.iter().all(|row| !out.contains(row)), "{out:?}");
    let said = readmitted_rows(&*life.store, &id()).await.unwrap();
    assert_eq!(said.rows.keys().copied().collect::<Vec<_>>(), wanted);
    assert_eq!((said.rows[&wanted[0]][0].by.as_str(), said.rows[&wanted[0]][0].cleaner.as_str()), ("ada", "high"));
    life.store.verify_journal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_chain_cleans_what_the_loop_needs_and_no_more() {
    let life = Life::new(3_000);
    let mut pipeline = life.open(0.95).await;
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, None).await.unwrap();
    assert_eq!(life.taken_given(), 3_000 - 60 + 60, "everything is cleaned once as it comes");

    // The window is 600 rows; with room for those that are kept out it is 750, in parts of 50.
    let mut pipeline = life.open(0.9).await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.taken_given(), 750);
    assert_eq!(life.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap()[0].first_row, 2_250);

    // A chain that drops most of them has to go further back for its window: it finds the rows it would have found anyway.
    let mut pipeline = life.open(-0.5).await;
    ingest_all(&mut pipeline).await.unwrap();
    life.taken_given();
    run_once(&mut pipeline, Some("test")).await.unwrap();
    let older = life.taken_given();
    assert!((1_000..2_250).contains(&older), "{older} older rows were cleaned");
    let run = life.store.runs(&id()).await.unwrap().pop().unwrap();
    let snapshot = life.store.snapshot(&run.snapshot.unwrap()).await.unwrap().unwrap();
    assert_eq!(snapshot.row_count, 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kept_out_rows_are_cleaned_again_behind_a_new_chain() {
    let life = Life::new(3_000);
    let mut pipeline = life.open(0.5).await;
    ingest_all(&mut pipeline).await.unwrap();
    let out = life.kept_out(&pipeline, "high").await;
    // The same cleaner says the same: nothing is replaced.
    let same = clean_again(&mut pipeline, &*life.store).await.unwrap();
    assert_eq!((same.changed, same.rows_in.len()), (0, 0));
    assert!(same.parts > 0 && same.rows_out.len() > out.len());

    let mut mended = life.open(0.99).await;
    let again = clean_again(&mut mended, &*life.store).await.unwrap();
    let still = life.kept_out(&mended, "high").await;
    assert!(again.rows_in.iter().all(|row| out.contains(row) && !still.contains(row)));
    // Of the rows in the parts that had been cleaned already, all that the mended cleaner keeps came back.
    assert!(again.rows_in.len() > 300, "{} of {} rows came back", again.rows_in.len(), out.len());
    life.store.verify_journal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_contract_holds_the_loop_until_somebody_accepts_it() {
    let life = Life::new(1_000);
    let mut pipeline = life.open(2.0).await;
    assert_eq!(accepted_contract(&*life.store, &id()).await.unwrap(), None);
    ingest_all(&mut pipeline).await.unwrap();
    let first = accepted_contract(&*life.store, &id()).await.unwrap().unwrap();
    assert_eq!(first, pipeline.settings().contract, "the first is accepted by itself");
    assert_eq!(
        accept_contract(&stores(&life.store, Arc::clone(&life.clock) as _).await, &id(), &first, "ada", "").await.unwrap().lines,
        [""; 0]
    );

    let mut changed = settings(3, GateRows::HeldOut);
    changed.contract.columns[0].high = Some(0.5);
    changed.contract.columns.pop();
    let mut pipeline = life.open_with(changed.clone(), 2.0).await;
    for held in [why(ingest_all(&mut pipeline).await), why(run_once(&mut pipeline, None).await)] {
        let expected = "the contract in the settings is not the one that was accepted\n  \
            ~ column `a`: \"f64\" -> { dtype = \"f64\", high = 0.5 }\n  - column `b`: \"f64\"";
        assert_eq!(held, expected);
    }
    assert_eq!(accepted_contract(&*life.store, &id()).await.unwrap().as_ref(), Some(&first));

    let stores = stores(&life.store, Arc::clone(&life.clock) as _).await;
    let difference = accept_contract(&stores, &id(), &changed.contract, "ada", "the gauge is gone").await.unwrap();
    assert_eq!(difference.unanswerable.as_deref(), Some("it needs feature `b`, which is gone"));
    let entry = life.store.journal(None, 1).await.unwrap().pop().unwrap();
    assert_eq!((entry.kind.as_str(), &entry.body["by"], &entry.body["reason"]), ("contract", &"ada".into(), &"the gauge is gone".into()));
    // The scripted cleaner needs the column that is gone, so only what comes before it is looked at.
    assert_eq!(accepted_contract(&*life.store, &id()).await.unwrap(), Some(changed.contract));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_old_goes_and_what_is_needed_stays() {
    let life = Life::new(3_000);
    let mut pipeline = life.open(0.95).await;
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, None).await.unwrap();
    for _ in 0..5 {
        run_once(&mut pipeline, Some("test")).await.unwrap();
    }
    life.store.put(Bytes::from_static(b"nobody names this")).await.unwrap();
    let history = life.store.alias_history(&id(), Alias::Champion).await.unwrap();
    let (now, previous) = (history.last().unwrap().to, history.last().unwrap().from);
    let champion = life.store.version(&id(), now).await.unwrap().unwrap();
    let previous = life.store.version(&id(), previous.unwrap()).await.unwrap().unwrap();
    assert_eq!((champion.state, previous.state), (VersionState::Serving, VersionState::Retired));
    let anchor = life.store.alias(&id(), Alias::Anchor).await.unwrap();
    life.clock.advance_to(life.clock.now().plus_micros(40 * DAY_US));

    // Without a limit only garbage goes.
    let unlimited = life.collect(&pipeline, Retention::default(), false).await;
    assert_eq!((unlimited.rows, unlimited.blobs, unlimited.bytes, unlimited.over_budget), (0, 1, 17, false));

    let retention = Retention { retention_days: Some(30), disk_bytes_max: None };
    let before = (life.store.list().await.unwrap(), life.store.journal(None, 1).await.unwrap().len());
    let would = life.collect(&pipeline, retention, true).await;
    let after = (life.store.list().await.unwrap(), life.store.journal(None, 1).await.unwrap().len());
    assert_eq!(before, after, "a dry run lets nothing go");
    let metadata = life.store.metadata_bytes().await.unwrap();
    let done = life.collect(&pipeline, retention, false).await;
    assert_eq!(done, would, "a dry run says what happens");
    assert!(done.rows >= 2_000 && done.parts == done.rows / 50, "{done:?}");
    assert_eq!(done.bytes_kept - metadata, life.file_bytes().await);

    // What is left is enough for everything: scoring, the next run, a snapshot of the champion, going back.
    let first_left = life.store.raw_parts(&id(), 0).await.unwrap()[0].first_row;
    assert_eq!(first_left, done.rows);
    let snapshot = life.store.snapshot(&champion.snapshot).await.unwrap().unwrap();
    let files = [champion.weights, champion.manifest, previous.weights, previous.manifest];
    for part in snapshot.parts.iter().map(|part| part.digest).chain(files) {
        assert!(life.store.has(&part).await.unwrap());
    }
    let again = life.collect(&pipeline, retention, false).await;
    assert_eq!((again.rows, again.blobs, again.versions.len()), (0, 0, 0), "the same again finds nothing: {again:?}");
    let gone: Vec<VersionNo> = done.versions.iter().map(|(_, number)| *number).collect();
    let stays = [Some(champion.number), Some(previous.number), anchor];
    assert!(!gone.is_empty() && gone.iter().all(|number| !stays.contains(&Some(*number))), "{gone:?} {stays:?}");
    let mut pipeline = life.open(0.95).await;
    run_once(&mut pipeline, Some("test")).await.unwrap();
    let run = life.store.runs(&id()).await.unwrap().pop().unwrap();
    let snapshot = life.store.snapshot(&run.snapshot.unwrap()).await.unwrap().unwrap();
    assert_eq!(snapshot.row_count, 600);
    life.store.verify_journal().await.unwrap();
    // A version without its weights must not serve.
    let without = life.store.version(&id(), gone[0]).await.unwrap().unwrap();
    life.store.remove(&without.weights).await.unwrap();
    let refused = why(promote(&mut pipeline, gone[0], "ada", "").await);
    assert!(refused.contains("its weights are gone"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn over_budget_the_oldest_goes_and_then_nothing_more_comes_in() {
    let life = Life::new(3_000);
    let mut pipeline = life.open(0.95).await;
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, None).await.unwrap();
    let full = life.bytes().await;
    let limited = |bytes| Retention { retention_days: None, disk_bytes_max: Some(bytes) };
    let less = life.collect(&pipeline, limited(full - full / 10), true).await;
    assert!(!less.over_budget && (50..2_000).contains(&less.rows) && less.bytes_kept <= full - full / 10, "{less:?}");
    // As little as may stay: exactly what a collection with no room at all leaves.
    let least = life.collect(&pipeline, limited(1), true).await;
    assert!(least.over_budget && least.rows > less.rows, "{least:?}");

    let stores = stores(&life.store, Arc::clone(&life.clock) as _).await;
    let subjects = [Subject { id: id(), chain: pipeline.chain(), window_rows: 600 }];
    let (upkeep, feedback, now) = (&*life.store, &*life.store, stores.clock.now());
    let room = async |bytes, bytes_beside| {
        let retention = limited(bytes);
        let collection =
            Collection { stores: &stores, upkeep, feedback, subjects: &subjects, retention, bytes_beside, now, dry_run: false };
        make_room(&collection).await
    };
    assert_eq!(room(full, 0).await.unwrap(), None, "within the budget nothing is looked at");
    assert_eq!(
        why(room(1_000, 0).await),
        format!("the state takes {} bytes, `disk_bytes_max` is 1000, and nothing that is left may go", least.bytes_kept)
    );
    // What went is gone for good; with the room that is needed things go on.
    assert!(room(full, full).await.is_err());
    assert_eq!(room(full, 0).await.unwrap(), None);
    assert_eq!(life.store.raw_parts(&id(), 0).await.unwrap()[0].first_row, least.rows);
    // A pipeline that the settings do not describe keeps all it has, and its bytes count.
    let nobody: [Subject; 0] = [];
    let collection = Collection {
        stores: &stores,
        upkeep,
        feedback,
        subjects: &nobody,
        retention: Retention { retention_days: Some(1), disk_bytes_max: Some(1) },
        bytes_beside: 0,
        now,
        dry_run: false,
    };
    let kept = collect(&collection).await.unwrap();
    assert_eq!((kept.rows, kept.blobs, kept.over_budget), (0, 0, true));
}

impl Life {
    async fn file_bytes(&self) -> u64 {
        self.store.list().await.unwrap().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of everything that is kept.
    async fn bytes(&self) -> u64 {
        self.file_bytes().await + self.store.metadata_bytes().await.unwrap()
    }
}

/// A store of files whose process dies before it removes any.
struct Dying(Arc<MemoryStore>);

#[async_trait::async_trait]
impl Blobs for Dying {
    async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        self.0.put(bytes).await
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        self.0.get(digest).await
    }

    async fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.0.has(digest).await
    }

    async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        Err(StoreError::BlobMissing { digest: *digest })
    }

    async fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        self.0.list().await
    }

    async fn list_aged(&self) -> Result<Vec<ListedBlob>, StoreError> {
        self.0.list_aged().await
    }

    async fn remove_older(&self, digest: &Digest, _before: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::BlobMissing { digest: *digest })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collection_that_dies_after_its_commit_leaves_garbage_and_nothing_else() {
    let life = Life::new(3_000);
    let mut pipeline = life.open(0.95).await;
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, None).await.unwrap();
    let retention = Retention { retention_days: Some(30), disk_bytes_max: None };
    let would = life.collect(&pipeline, retention, true).await;

    let mut stores = stores(&life.store, Arc::clone(&life.clock) as _).await;
    stores.blobs = Arc::new(Dying(Arc::clone(&life.store)));
    let subjects = [Subject { id: id(), chain: pipeline.chain(), window_rows: 600 }];
    let (upkeep, feedback, now) = (&*life.store, &*life.store, stores.clock.now());
    let collection = Collection { stores: &stores, upkeep, feedback, subjects: &subjects, retention, bytes_beside: 0, now, dry_run: false };
    collect(&collection).await.unwrap_err();
    assert_eq!(life.store.raw_parts(&id(), 0).await.unwrap()[0].first_row, would.rows);

    let next = life.collect(&pipeline, retention, false).await;
    assert_eq!((next.rows, next.blobs, next.bytes), (0, would.blobs, would.bytes));
    let named = named_blobs(&*life.store, &*life.store, &id()).await.unwrap();
    let left: BTreeSet<Digest> = life.store.list().await.unwrap().into_iter().map(|(digest, _)| digest).collect();
    assert!(left.is_subset(&named), "garbage is left");
    life.store.verify_journal().await.unwrap();
}
