//! Cleaners that keep state: it moves with the parts, and neither a crash, a failure, a reload nor a second cleaning loses or doubles it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Float64Type;
use proptest::prelude::*;
use tidegate_dataset::decode_clean;
use tidegate_pipeline::{
    Bundle, CleanPort, Collected, Collection, DamageBounds, Event, Pipeline, PluginStep, Replacement, Retention, Silent, Subject,
    clean_again, collect, dead_letters, ingest_all, readmit, retry_dead_letters,
};
use tidegate_policy::GateRows;
use tidegate_sandbox::{CallError, Cleaned};
use tidegate_store::{Blobs as _, MetaStore as _, Upkeep as _, Write};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Batch, CleanerState, Digest, PipelineId, SimulatedClock, StateChanges, StateEntries, Timestamp};

use crate::crashes::Mortal;
use crate::scripted::{ClipFirst, History, crashed, plugins, settings, step, stores};

const ROWS: usize = 400;

/// A history in which one row in three has the second feature of a row before it.
fn history() -> Arc<History> {
    let mut history = History::new(5, ROWS);
    for row in (30..ROWS).step_by(3) {
        history.rows[row][2] = history.rows[row * 7 % row.min(211)][2].clone();
    }
    Arc::new(history)
}

/// Numbers of the rows whose second feature a row before them has.
fn repeated(history: &History) -> BTreeSet<u64> {
    let mut seen = HashSet::new();
    (0..).zip(&history.rows).filter(|(_, row)| !seen.insert(row[2].clone())).map(|(number, _)| number).collect()
}

/// Drops rows whose second feature came before, in this batch or in one before it. What it is told to do comes first.
#[derive(Default)]
struct Seen {
    /// How the calls to come end, the next one last; they end well when there is none.
    endings: Arc<Mutex<Vec<Option<CallError>>>>,
    /// The first of each batch that it was given.
    given: Arc<Mutex<Vec<u64>>>,
    keys: Vec<Box<[u8]>>,
}

impl CleanPort for Seen {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        self.clean_keeping(rows, &Arc::default()).map(|(cleaned, _)| cleaned)
    }

    fn keeps_state(&self) -> bool {
        true
    }

    fn clean_keeping(&mut self, rows: &Batch, kept: &Arc<StateEntries>) -> Result<(Cleaned, StateChanges), CallError> {
        let values = rows.column("b").unwrap().as_primitive::<Float64Type>();
        self.keys = values.values().iter().map(|value| Box::from(value.to_bits().to_le_bytes())).collect();
        self.given.lock().unwrap().push(self.keys.first().map_or(0, |key| u64::from_le_bytes((**key).try_into().unwrap())));
        if let Some(Some(error)) = self.endings.lock().unwrap().pop() {
            return Err(error);
        }
        let mut changes = StateChanges::default();
        let is_new = |key: &[u8]| kept.get(key).is_none() && changes.0.insert(Box::from(key), Some(Box::default())).is_none();
        let keeps: Vec<bool> = self.keys.iter().map(|key| &**key).map(is_new).collect();
        let of = |wanted: bool| (0u32..).zip(&keeps).filter(move |(_, keep)| **keep == wanted).map(|(row, _)| row);
        let dropped = of(false).map(|row| (row, "seen".to_owned())).collect();
        let left = arrow::compute::filter_record_batch(&rows.rows, &BooleanArray::from(keeps.clone())).unwrap();
        let rows = Batch { rows: left, roles: rows.roles.clone() };
        Ok((Cleaned { rows, dropped, kept: of(true).collect(), damage: Default::default() }, changes))
    }

    fn state_keys(&self) -> Vec<Box<[u8]>> {
        self.keys.clone()
    }
}

fn id() -> PipelineId {
    "test".parse().unwrap()
}

/// A store with a history behind a cleaner that keeps state, opened anew as often as a test wants.
struct Life {
    history: Arc<History>,
    store: Arc<MemoryStore>,
    clock: Arc<SimulatedClock>,
    endings: Arc<Mutex<Vec<Option<CallError>>>>,
    given: Arc<Mutex<Vec<u64>>>,
    window_rows: u64,
}

impl Life {
    fn new() -> Life {
        Life {
            history: history(),
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(SimulatedClock::new(Timestamp(i64::MAX / 4))),
            endings: Arc::default(),
            given: Arc::default(),
            window_rows: 600,
        }
    }

    fn seen(&self, build: &str) -> PluginStep<dyn CleanPort> {
        let port = Seen { endings: Arc::clone(&self.endings), given: Arc::clone(&self.given), keys: Vec::new() };
        PluginStep { digest: Digest::of(build), ..step("seen", Box::new(port) as Box<dyn CleanPort>) }
    }

    /// The process dies at a commit; `i64::MAX` of them are as good as none.
    async fn open_mortal(&self, commits_left: i64, dies_after: bool) -> Result<Pipeline, tidegate_pipeline::PipelineError> {
        let mut plugins = plugins(&self.history);
        plugins.cleaners.insert(0, self.seen("first"));
        let meta = Mortal { store: Arc::clone(&self.store), commits_left: AtomicI64::new(commits_left), dies_after };
        let stores = tidegate_pipeline::Stores { meta: Arc::new(meta), ..stores(&self.store, Arc::clone(&self.clock) as _).await };
        let mut settings = settings(5, GateRows::HeldOut);
        settings.window_rows = self.window_rows;
        // Strikes are another matter.
        settings.failures.strikes_max = 100;
        Pipeline::open(settings, plugins, stores, Box::new(Silent)).await
    }

    async fn open(&self) -> Pipeline {
        self.open_mortal(i64::MAX, false).await.unwrap()
    }

    /// Numbers of the rows that the cleaner keeps out behind the pipeline's chain.
    async fn kept_out(&self, pipeline: &Pipeline) -> BTreeSet<u64> {
        let groups = self.store.quarantined(&id(), &pipeline.chain()).await.unwrap();
        groups.into_iter().filter(|(_, group)| group.by == "seen").flat_map(|(_, group)| group.rows).collect()
    }

    async fn collect(&self, pipeline: &Pipeline, retention: Retention) -> Collected {
        let stores = stores(&self.store, Arc::clone(&self.clock) as _).await;
        let subjects = [Subject { id: id(), chain: pipeline.chain(), window_rows: self.window_rows }];
        let (upkeep, feedback, now) = (&*self.store, &*self.store, stores.clock.now());
        let about = Collection { stores: &stores, upkeep, feedback, subjects: &subjects, retention, bytes_beside: 0, now, dry_run: false };
        collect(&about).await.unwrap()
    }

    async fn outcome(&self, pipeline: &Pipeline) -> Outcome {
        let parts = self.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap();
        let state = self.store.chain_state(&id(), &pipeline.chain()).await.unwrap();
        Outcome { parts: parts.into_iter().map(|part| (part.digest, part.state)).collect(), state }
    }
}

/// What must be the same whatever happened meanwhile.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    parts: Vec<(Digest, Vec<CleanerState>)>,
    state: Option<(u64, Vec<CleanerState>)>,
}

async fn unbroken() -> Outcome {
    let life = Life::new();
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.kept_out(&pipeline).await, repeated(&life.history), "exactly the rows that repeat one before them");
    assert!(repeated(&life.history).len() > 100);
    let outcome = life.outcome(&pipeline).await;
    assert_eq!((outcome.parts.len(), outcome.state.as_ref().unwrap().0), (8, 8), "a part, a step of the state");
    outcome
}

/// Ingests through deaths at commits and calls that end badly once.
async fn through(deaths: &[(i64, bool)], endings: &[bool]) -> Outcome {
    let life = Life::new();
    *life.endings.lock().unwrap() = endings.iter().map(|fails| fails.then(crashed)).collect();
    for (commits_left, dies_after) in deaths {
        if let Ok(mut pipeline) = life.open_mortal(*commits_left, *dies_after).await {
            _ = ingest_all(&mut pipeline).await;
        }
    }
    life.endings.lock().unwrap().clear();
    let mut pipeline = life.open().await;
    for _ in 0..3 {
        ingest_all(&mut pipeline).await.unwrap();
        retry_dead_letters(&mut pipeline, None).await.unwrap();
    }
    life.outcome(&pipeline).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_neither_lose_nor_double_state(
        deaths in prop::collection::vec((0..12_i64, any::<bool>()), 0..5),
        // Never two in a row: a call that is made again ends well, so that no batch is set aside.
        fails in prop::collection::vec(any::<bool>(), 0..6),
    ) {
        let endings: Vec<bool> = fails.into_iter().flat_map(|fails| [fails, false]).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (found, expected) = runtime.block_on(async { (through(&deaths, &endings).await, unbroken().await) });
        prop_assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_witness_leaves_no_trace_and_is_given_what_it_had() {
    let life = Life::new();
    // The fourth batch crashes twice; then the witness has its turn, and passes.
    *life.endings.lock().unwrap() = vec![Some(crashed()), Some(crashed()), None, None, None];
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let letters = dead_letters(&*life.store, &id()).await.unwrap();
    assert_eq!(letters.waiting.iter().map(|letter| letter.first_row).collect::<Vec<_>>(), [150]);
    let given = life.given.lock().unwrap().clone();
    assert_eq!(given[5], given[2], "the witness is the batch before");
    // The state went on without the batch: a row of it is none that came before.
    let lost: HashSet<String> = life.history.rows[150..200].iter().map(|row| row[2].clone()).collect();
    let mut seen = HashSet::new();
    let is_repeated = |(number, row): &(u64, &[String; 4])| !(150..200).contains(number) && !seen.insert(row[2].clone());
    let expected: BTreeSet<u64> = (0..).zip(&life.history.rows).filter(is_repeated).map(|(number, _)| number).collect();
    assert_eq!(life.kept_out(&pipeline).await, expected);

    // It comes back in its place, with the state of today: what later batches gave already is not let in a second time.
    let retried = retry_dead_letters(&mut pipeline, None).await.unwrap();
    assert_eq!(retried[0].error, None);
    let out = life.kept_out(&pipeline).await;
    let kept: Vec<&String> = (0..).zip(&life.history.rows).filter(|(number, _)| !out.contains(number)).map(|(_, row)| &row[2]).collect();
    assert_eq!(kept.iter().collect::<HashSet<_>>().len(), kept.len(), "no value is let in twice");
    assert_eq!(kept.len() + repeated(&life.history).len(), ROWS, "and none is lost");
    assert!(kept.iter().any(|value| lost.contains(*value)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_build_begins_anew_and_the_old_one_goes_on_where_it_was() {
    let life = Life { window_rows: 100, ..Life::new() };
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let (first, before) = (pipeline.chain(), life.outcome(&pipeline).await);
    let calls = life.given.lock().unwrap().len();
    pipeline.replace(vec![Replacement::Cleaner(0, life.seen("second"))]).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    // Not only the parts of a window: what it makes of them depends on those before.
    let given = life.given.lock().unwrap().clone();
    assert_eq!(given[calls..], given[..calls], "every batch, in the order of its rows");
    assert_eq!(life.kept_out(&pipeline).await, repeated(&life.history));
    assert_ne!(pipeline.chain(), first);
    assert_eq!(life.store.chain_state(&id(), &first).await.unwrap(), before.state, "the old chain's state is untouched");

    pipeline.replace(vec![Replacement::Cleaner(0, life.seen("first"))]).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.given.lock().unwrap().len(), 2 * calls, "nothing is cleaned a second time");
    assert_eq!(life.outcome(&pipeline).await, before);

    // With a cleaner that keeps nothing in its place there is no state to write.
    let plain = PluginStep { digest: Digest::of("plain"), ..step("seen", Box::new(ClipFirst) as Box<dyn CleanPort>) };
    pipeline.replace(vec![Replacement::Cleaner(0, plain)]).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.store.chain_state(&id(), &pipeline.chain()).await.unwrap(), None);
    assert_eq!(life.store.chain_state(&id(), &first).await.unwrap(), before.state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_part_that_is_cleaned_again_is_what_it_was() {
    let life = Life::new();
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let before = life.outcome(&pipeline).await;
    let again = clean_again(&mut pipeline, &*life.store).await.unwrap();
    assert_eq!((again.parts, again.changed), (8, 0));
    assert_eq!(life.outcome(&pipeline).await, before);

    let out = repeated(&life.history);
    let row = *out.iter().find(|row| !life.history.rows[**row as usize][1].is_empty()).unwrap();
    let again = readmit(&mut pipeline, &[row], "ada", "it is another one").await.unwrap();
    assert_eq!(again.rows_in, [row]);
    let after = life.outcome(&pipeline).await;
    assert_eq!(after.state, before.state, "the state does not move");
    let differ: Vec<usize> = (0..8).filter(|part| after.parts[*part] != before.parts[*part]).collect();
    assert_eq!(differ, [row as usize / 50]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn state_outlives_the_rows_it_came_from() {
    let life = Life { window_rows: 100, ..Life::new() };
    let whole = Arc::clone(&life.history);
    let half = Arc::new(History { rows: whole.rows[..300].to_vec() });
    let life = Life { history: half, ..life };
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    pipeline.handle(Event::Observe).await.unwrap();
    let collected = life.collect(&pipeline, Retention { retention_days: None, disk_bytes_max: Some(1) }).await;
    assert!(collected.rows >= 100, "{collected:?}");
    drop(pipeline);

    let life = Life { history: whole, ..life };
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let later = |rows: BTreeSet<u64>| rows.into_iter().filter(|row| *row >= 300).collect::<BTreeSet<u64>>();
    assert_eq!(later(life.kept_out(&pipeline).await), later(repeated(&life.history)), "rows that went are still remembered");

    // When its chain goes, so does its state, with its files.
    let (chain, at) = (pipeline.chain(), Timestamp(0));
    let layers = life.outcome(&pipeline).await.state.unwrap().1[0].layers.clone();
    let fence = life.store.take_fence("test").await.unwrap();
    life.store.commit(fence, &id(), at, vec![Write::DropCleanParts { chain }]).await.unwrap();
    assert!(life.store.chains(&id()).await.unwrap().is_empty());
    life.collect(&pipeline, Retention::default()).await;
    for layer in layers {
        assert!(!life.store.has(&layer.digest).await.unwrap(), "{layer:?} is kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bundle_holds_what_the_call_saw_of_the_state() {
    let life = Life::new();
    *life.endings.lock().unwrap() = vec![Some(crashed()), Some(crashed()), None, None, None];
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let letter = dead_letters(&*life.store, &id()).await.unwrap().waiting.remove(0);
    let bundle = Bundle::decode(&life.store.get(&letter.bundle).await.unwrap()).unwrap();
    let kept = Arc::new(bundle.kept().unwrap().unwrap());
    let (cleaned, _) = Seen::default().clean_keeping(&bundle.batch().unwrap(), &kept).unwrap();
    let dropped: BTreeSet<u64> = cleaned.dropped.iter().map(|(row, _)| 150 + u64::from(*row)).collect();
    let expected = repeated(&life.history).into_iter().filter(|row| (150..200).contains(row)).collect();
    assert_eq!(dropped, expected, "as it would have been in its place");
    assert_eq!(kept.entry_count(), 150 - repeated(&life.history).range(..150).count() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_state_that_has_grown_too_large_is_no_batchs_fault() {
    let life = Life::new();
    let over = || {
        let (plugin, at) = ("seen".parse().unwrap(), "its state would have grown".to_owned());
        Some(CallError::OverLimit { plugin, step: "clean", limit: "state_entries_max", at })
    };
    *life.endings.lock().unwrap() = vec![over(), over(), None, None];
    let mut pipeline = life.open().await;
    let error = ingest_all(&mut pipeline).await.unwrap_err();
    assert!(error.is_fault(), "{error}");
    assert!(dead_letters(&*life.store, &id()).await.unwrap().waiting.is_empty(), "no batch is set aside");
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.outcome(&pipeline).await, unbroken().await);
}

/// Two of them in one chain have a state each, and one that does too much to a batch moves neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_cleaner_of_a_chain_has_its_own_state() {
    let life = Life::new();
    let mut plugins = plugins(&life.history);
    plugins.cleaners.insert(0, life.seen("first"));
    let bounds = DamageBounds { rows_dropped_share_max: Some(0.0), ..DamageBounds::default() };
    plugins.cleaners.push(PluginStep { damage: bounds, ..step("again", Box::new(Seen::default()) as Box<dyn CleanPort>) });
    let stores = stores(&life.store, Arc::clone(&life.clock) as _).await;
    let mut pipeline = Pipeline::open(settings(5, GateRows::HeldOut), plugins, stores, Box::new(Silent)).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    pipeline.handle(Event::Clean).await.unwrap();
    // The first lets each value through once, so that the second, lent a state of its own, never drops any.
    let (revision, state) = life.store.chain_state(&id(), &pipeline.chain()).await.unwrap().unwrap();
    assert_eq!((revision, state.iter().map(|state| state.cleaner).collect::<Vec<_>>()), (8, vec![0, 2]));
    assert_eq!(state[0].layers, state[1].layers, "the same changes, the same files");
    let parts = life.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap();
    assert_eq!(parts.len(), 8);
    let file = life.store.get(&parts[7].digest).await.unwrap();
    assert!(decode_clean(&file).unwrap().row_count() > 0);
    assert_eq!(life.endings.lock().unwrap().len(), 0);
}
