//! Plugins that fail: who is charged, what is set aside, what goes on, and how it comes back.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Float64Type;
use rand::RngExt as _;
use tidegate_pipeline::{
    AlertPort, Bundle, CleanPort, DamageBounds, EvaluatePort, Event, Pipeline, PipelineError, PluginStep, Plugins, Replacement, RunEnd,
    Silent, SourcePort, dead_letters, drop_dead_letter, ingest_all, plugin_standings, release_plugin, retry_dead_letters, run_once,
};
use tidegate_policy::GateRows;
use tidegate_sandbox::{Alert, CallError, Cleaned, LastWords, LogLevel, LogLine, Pull};
use tidegate_store::{Blobs as _, MetaStore as _};
use tidegate_testkit::{MemoryStore, seeded_rng};
use tidegate_vocab::{Batch, Clock as _, Digest, MetricInfo, MetricTerms, SimulatedClock, Timestamp};

use crate::crashes::Mortal;
use crate::scripted::{Accuracy, ClipFirst, History, crashed, plugins, refused, settings, step, stores};

/// How a cleaner ends on the batches with these rows of the history.
type Fault = fn(u64) -> Option<CallError>;

/// Clips, but fails on batches with certain rows, until it is mended.
struct Picky {
    history: Arc<History>,
    poison: Vec<usize>,
    /// What the n-th call on such a batch comes to.
    fault: Fault,
    met: u64,
    mended: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl CleanPort for Picky {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let values = rows.column("b").unwrap().as_primitive::<Float64Type>();
        let is_poison = |row: &usize| {
            let value: f64 = self.history.rows[*row][2].parse().unwrap();
            values.iter().any(|other| other == Some(value))
        };
        if !self.mended.load(Ordering::SeqCst) && self.poison.iter().any(is_poison) {
            self.met += 1;
            if let Some(error) = (self.fault)(self.met) {
                return Err(error);
            }
        }
        ClipFirst.clean(rows)
    }

    fn last_words(&self) -> LastWords {
        let log = vec![LogLine { plugin: "clip".parse().unwrap(), level: LogLevel::Warn, message: "odd row".into() }];
        LastWords { log, backtrace: vec!["0: clip!clean".into()] }
    }
}

/// Keeps the titles of alerts.
struct Titles(Arc<Mutex<Vec<String>>>);

impl AlertPort for Titles {
    fn notify(&mut self, alert: &Alert) -> Result<(), CallError> {
        self.0.lock().unwrap().push(alert.title.clone());
        Ok(())
    }
}

/// A store with a history of parts of 50 rows, opened anew as often as a test wants.
struct Life {
    history: Arc<History>,
    store: Arc<MemoryStore>,
    clock: Arc<SimulatedClock>,
    poison: Vec<usize>,
    fault: Fault,
    mended: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    titles: Arc<Mutex<Vec<String>>>,
}

impl Life {
    fn new(poison: &[usize], fault: Fault) -> Life {
        Life {
            history: Arc::new(History::new(11, 400)),
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(SimulatedClock::new(Timestamp(i64::MAX / 4))),
            poison: poison.to_vec(),
            fault,
            mended: Arc::default(),
            calls: Arc::default(),
            titles: Arc::default(),
        }
    }

    fn cleaner(&self) -> Box<dyn CleanPort> {
        let (history, poison, fault) = (Arc::clone(&self.history), self.poison.clone(), self.fault);
        Box::new(Picky { history, poison, fault, met: 0, mended: Arc::clone(&self.mended), calls: Arc::clone(&self.calls) })
    }

    fn plugins(&self) -> Plugins {
        let mut plugins = plugins(&self.history);
        plugins.cleaners[0].port = Some(self.cleaner());
        plugins.alerters = vec![step("titles", Box::new(Titles(Arc::clone(&self.titles))) as Box<dyn AlertPort>)];
        plugins
    }

    async fn open_with(&self, plugins: Plugins) -> Pipeline {
        let stores = stores(&self.store, Arc::clone(&self.clock) as _).await;
        Pipeline::open(settings(11, GateRows::HeldOut), plugins, stores, Box::new(Silent)).await.unwrap()
    }

    async fn open(&self) -> Pipeline {
        self.open_with(self.plugins()).await
    }

    /// The same with a process that dies at a commit.
    async fn open_mortal(&self, commits_left: i64, dies_after: bool) -> Result<Pipeline, PipelineError> {
        let stores = stores(&self.store, Arc::clone(&self.clock) as _).await;
        let meta = Mortal { store: Arc::clone(&self.store), commits_left: AtomicI64::new(commits_left), dies_after };
        let stores = tidegate_pipeline::Stores { meta: Arc::new(meta), ..stores };
        Pipeline::open(settings(11, GateRows::HeldOut), self.plugins(), stores, Box::new(Silent)).await
    }

    /// First rows of the cleaned parts.
    async fn cleaned(&self, pipeline: &Pipeline) -> Vec<u64> {
        self.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap().iter().map(|part| part.first_row).collect()
    }

    async fn digests(&self, pipeline: &Pipeline) -> Vec<Digest> {
        self.store.clean_parts(&id(), &pipeline.chain(), 0).await.unwrap().iter().map(|part| part.digest).collect()
    }

    /// What the journal tells of failures, a word an entry.
    async fn story(&self) -> Vec<String> {
        self.store.verify_journal().await.unwrap();
        let told = ["strike", "plugin-quarantined", "plugin-released", "dead-letter", "dead-letter-cleaned", "dead-letter-dropped"];
        let entries = self.store.journal(Some(&id()), 0).await.unwrap();
        entries.into_iter().map(|entry| entry.kind).filter(|kind| told.contains(&kind.as_str())).collect()
    }

    /// Ingests until it goes well or `times` are over; the last error.
    async fn ingest(&self, pipeline: &mut Pipeline, times: u32) -> Option<String> {
        let mut last = None;
        for _ in 0..times {
            match ingest_all(pipeline).await {
                Ok(_) => return None,
                Err(error) => last = Some(error.to_string()),
            }
        }
        last
    }
}

fn id() -> tidegate_vocab::PipelineId {
    "test".parse().unwrap()
}

fn all_parts() -> Vec<u64> {
    (0..8).map(|part| part * 50).collect()
}

async fn unbroken() -> Vec<Digest> {
    let life = Life::new(&[], |_| None);
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    life.digests(&pipeline).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_batch_that_alone_fails_is_set_aside_and_comes_back_in_its_place() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(pipeline.rows_total(), 400, "every row is committed raw");
    let without: Vec<u64> = all_parts().into_iter().filter(|first| *first != 100).collect();
    assert_eq!(life.cleaned(&pipeline).await, without);
    assert_eq!(life.story().await, ["dead-letter"], "no strike: the batch is to blame");
    assert_eq!(*life.titles.lock().unwrap(), ["rows 100 to 149 of `test` were set aside"]);

    // Neither a restart nor another pass tries it again by itself.
    let mut pipeline = life.open().await;
    let calls = life.calls.load(Ordering::SeqCst);
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.calls.load(Ordering::SeqCst), calls);
    let retried = retry_dead_letters(&mut pipeline, Some(1)).await.unwrap();
    assert!(retried[0].error.as_ref().is_some_and(|why| why.contains("it stopped itself")), "{retried:?}");
    assert_eq!(life.story().await, ["dead-letter"], "a person asked for it: nobody is charged");

    life.mended.store(true, Ordering::SeqCst);
    let retried = retry_dead_letters(&mut pipeline, None).await.unwrap();
    assert_eq!((retried[0].number, retried[0].first_row, retried[0].error.as_ref()), (1, 100, None));
    assert_eq!(life.digests(&pipeline).await, unbroken().await, "to the bit what there would have been");
    assert_eq!(life.story().await, ["dead-letter", "dead-letter-cleaned"]);
    assert!(dead_letters(&*life.store, &id()).await.unwrap().waiting.is_empty());
    let gone = retry_dead_letters(&mut pipeline, Some(1)).await.unwrap_err();
    assert!(matches!(gone, PipelineError::NoDeadLetter { number: 1 }), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bundle_holds_what_the_call_was_made_of() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let letter = dead_letters(&*life.store, &id()).await.unwrap().waiting.remove(0);
    let kept = Bundle::decode(&life.store.get(&letter.bundle).await.unwrap()).unwrap();
    let component = life.store.get(&letter.component).await.unwrap();
    let bundle = Bundle { component, ..kept };
    assert_eq!(Bundle::decode(&bundle.encode()).unwrap(), bundle);
    assert_eq!(bundle.call.digest, Digest::of(&bundle.component));
    assert_eq!((bundle.call.outcome.as_str(), bundle.call.first_row, bundle.call.row_count), ("trapped", 100, 50));
    assert_eq!(bundle.call.log, [("warn".to_owned(), "odd row".to_owned())]);
    assert_eq!(bundle.call.backtrace, ["0: clip!clean"]);
    let again = life.cleaner().clean(&bundle.batch().unwrap()).unwrap_err();
    assert_eq!(again.to_string(), bundle.call.error, "the same rows, the same failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_component_cleans_what_was_set_aside_by_itself() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let mended: PluginStep<dyn CleanPort> = PluginStep { digest: Digest::of("mended"), ..step("clip", Box::new(ClipFirst) as _) };
    pipeline.replace(vec![Replacement::Cleaner(0, mended)]).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.cleaned(&pipeline).await, all_parts());
    assert_eq!(life.story().await, ["dead-letter", "dead-letter-cleaned"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_were_given_up_stay_out_behind_every_chain() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let dropped = drop_dead_letter(&mut pipeline, 1, "ada", "a broken sensor").await.unwrap();
    assert_eq!((dropped.first_row, dropped.row_count), (100, 50));
    let mended: PluginStep<dyn CleanPort> = PluginStep { digest: Digest::of("mended"), ..step("clip", Box::new(ClipFirst) as _) };
    pipeline.replace(vec![Replacement::Cleaner(0, mended)]).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, None).await.unwrap();
    assert!(!life.cleaned(&pipeline).await.contains(&100));
    assert_eq!(life.story().await, ["dead-letter", "dead-letter-dropped"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plugin_that_fails_on_every_batch_is_quarantined_until_released() {
    let life = Life::new(&[0, 50, 100, 150, 200, 250, 300, 350], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    let why = life.ingest(&mut pipeline, 2).await.unwrap();
    assert!(why.contains("failed in step `cleaner`"), "{why}");
    // A restart forgives nothing.
    let mut pipeline = life.open().await;
    life.ingest(&mut pipeline, 1).await.unwrap();
    let calls = life.calls.load(Ordering::SeqCst);
    let why = life.ingest(&mut pipeline, 5).await.unwrap();
    assert!(why.contains("plugin `clip` is quarantined") && why.contains("3 strikes within 1 min"), "{why}");
    let mut pipeline = life.open().await;
    life.ingest(&mut pipeline, 5).await.unwrap();
    assert_eq!(life.calls.load(Ordering::SeqCst), calls, "a quarantined plugin is not called");
    assert_eq!(life.story().await, ["strike", "strike", "strike", "plugin-quarantined"]);
    assert_eq!(*life.titles.lock().unwrap(), ["cleaner `clip` of `test` is quarantined"]);
    assert!(life.cleaned(&pipeline).await.is_empty() && dead_letters(&*life.store, &id()).await.unwrap().waiting.is_empty());

    life.mended.store(true, Ordering::SeqCst);
    let name = "clip".parse().unwrap();
    let standing = release_plugin(&mut pipeline, &name, "ada", "the sensor was mended").await.unwrap();
    assert_eq!(standing.strikes.len(), 3);
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.digests(&pipeline).await, unbroken().await, "nothing is lost");
    let error = release_plugin(&mut pipeline, &name, "ada", "again").await.unwrap_err();
    assert!(matches!(error, PipelineError::NoStrikes { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_use_of_a_quarantined_plugin_is_another_plugin() {
    let life = Life::new(&[0, 50, 100, 150, 200, 250, 300, 350], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    life.ingest(&mut pipeline, 4).await.unwrap();
    life.mended.store(true, Ordering::SeqCst);
    let uses: [fn(&mut PluginStep<dyn CleanPort>); 3] = [
        |step| step.digest = Digest::of("mended"),
        |step| step.config = serde_json::json!({ "low": 0 }),
        |step| step.circumstances = serde_json::json!({ "limits": { "call_ms_max": 9 } }),
    ];
    for other in uses {
        let mut plugins = life.plugins();
        other(&mut plugins.cleaners[0]);
        ingest_all(&mut life.open_with(plugins).await).await.unwrap();
    }
    let held = ingest_all(&mut life.open().await).await;
    assert!(held.is_ok(), "its parts are there: it has nothing to be called for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_that_does_not_come_again_is_a_strike_and_costs_no_rows() {
    let life = Life::new(&[120], |met| (met == 1).then(crashed));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.digests(&pipeline).await, unbroken().await);
    assert_eq!(life.story().await, ["strike"]);
    let ledger = plugin_standings(&*life.store, &id()).await.unwrap();
    let strike = &ledger.plugins[&"clip".parse().unwrap()].strikes[0];
    assert_eq!((strike.step.as_str(), strike.outcome.as_str()), ("cleaner", "trapped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cleaner_that_sends_batch_after_batch_away_is_to_blame() {
    let life = Life::new(&[60, 160, 260, 360], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    let why = life.ingest(&mut pipeline, 2).await.unwrap();
    assert!(why.contains("3 batches went to the dead letters, at most 2 may"), "{why}");
    assert_eq!(life.story().await, ["dead-letter", "dead-letter", "dead-letter", "plugin-quarantined"]);
    assert_eq!(life.cleaned(&pipeline).await, [0, 100, 200], "what comes after waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refusal_is_not_a_strike() {
    // What it will never do goes to the dead letters, what it cannot do now waits.
    let life = Life::new(&[120], |_| Some(refused(false, None)));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.story().await, ["dead-letter"]);
    let life = Life::new(&[120], |_| Some(refused(true, Some(7_000))));
    let mut pipeline = life.open().await;
    let error = ingest_all(&mut pipeline).await.unwrap_err();
    assert_eq!(error.retry_after_ms(), Some(7_000));
    life.ingest(&mut pipeline, 9).await.unwrap();
    assert!(life.story().await.is_empty());
    assert_eq!(life.cleaned(&pipeline).await, [0, 50]);
}

/// Drops every row above a bound in the parts that begin with certain rows.
struct DropsMost {
    history: Arc<History>,
    in_parts: Vec<usize>,
}

impl CleanPort for DropsMost {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        let first = rows.column("b").unwrap().as_primitive::<Float64Type>().value(0);
        let is_named = self.in_parts.iter().any(|row| self.history.rows[*row][2].parse::<f64>().unwrap() == first);
        let keeps: Vec<bool> = (0..rows.row_count()).map(|row| !is_named || row < 10).collect();
        let left = arrow::compute::filter_record_batch(&rows.rows, &BooleanArray::from(keeps.clone())).unwrap();
        let of = |wanted: bool| (0u32..).zip(&keeps).filter(move |(_, keep)| **keep == wanted).map(|(row, _)| row);
        let dropped = of(false).map(|row| (row, "high".to_owned())).collect();
        Ok(Cleaned { rows: Batch { rows: left, roles: rows.roles.clone() }, dropped, kept: of(true).collect(), damage: Default::default() })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_batch_with_too_much_damage_is_not_committed() {
    for (in_parts, story) in [(vec![200], vec!["dead-letter"]), (vec![0, 100, 200, 300], vec!["strike"])] {
        let life = Life::new(&[], |_| None);
        let mut plugins = life.plugins();
        plugins.cleaners[0].port = Some(Box::new(DropsMost { history: Arc::clone(&life.history), in_parts: in_parts.clone() }));
        plugins.cleaners[0].damage = DamageBounds { rows_dropped_share_max: Some(0.5), ..DamageBounds::default() };
        let stores = stores(&life.store, Arc::clone(&life.clock) as _).await;
        let mut settings = settings(11, GateRows::HeldOut);
        settings.poll_rows_max = 100;
        let mut pipeline = Pipeline::open(settings, plugins, stores, Box::new(Silent)).await.unwrap();
        let ingested = ingest_all(&mut pipeline).await;
        assert_eq!(life.story().await, story, "{in_parts:?}");
        let told = match ingested {
            Ok(_) => dead_letters(&*life.store, &id()).await.unwrap().waiting[0].error.clone(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains("it dropped 90 of 100 rows (90.0 %), `rows_dropped_share_max` is 0.5"), "{told}");
        let expected: &[u64] = if in_parts.len() == 1 { &[0, 100, 300] } else { &[] };
        assert_eq!(life.cleaned(&pipeline).await, expected);
    }
}

/// A source, evaluator or alerter that fails in one way, until it is mended.
struct Broken<P> {
    inner: P,
    error: fn() -> CallError,
    mended: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl<P> Broken<P> {
    fn call(&mut self) -> Result<&mut P, CallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.mended.load(Ordering::SeqCst) { Ok(&mut self.inner) } else { Err((self.error)()) }
    }
}

impl SourcePort for Broken<Box<dyn SourcePort>> {
    fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError> {
        self.inner.open(cursor)
    }

    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, CallError> {
        self.call()?.next(rows_max, bytes_max)
    }
}

impl EvaluatePort for Broken<Accuracy> {
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        self.inner.metrics()
    }

    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        self.call()?.evaluate(scored)
    }
}

impl AlertPort for Broken<Titles> {
    fn notify(&mut self, alert: &Alert) -> Result<(), CallError> {
        self.call()?.notify(alert)
    }
}

impl Life {
    fn broken<P>(&self, inner: P, error: fn() -> CallError) -> Broken<P> {
        Broken { inner, error, mended: Arc::clone(&self.mended), calls: Arc::clone(&self.calls) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_source_that_crashes_is_quarantined_and_the_loop_goes_on_without_it() {
    let life = Life::new(&[], |_| None);
    let mut plugins = life.plugins();
    let inner = plugins.source.port.take().unwrap();
    plugins.source.port = Some(Box::new(life.broken(inner, crashed)));
    plugins.cleaners = vec![step("clip", Box::new(ClipFirst) as _)];
    let mut pipeline = life.open_with(plugins).await;
    let why = life.ingest(&mut pipeline, 10).await.unwrap();
    assert!(why.contains("plugin `script` is quarantined, and step `source` waits"), "{why}");
    assert_eq!(life.calls.load(Ordering::SeqCst), 3);
    assert_eq!(life.story().await, ["strike", "strike", "strike", "plugin-quarantined"]);
    pipeline.handle(Event::Observe).await.unwrap();
    life.mended.store(true, Ordering::SeqCst);
    release_plugin(&mut pipeline, &"script".parse().unwrap(), "ada", "mended").await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!(life.digests(&pipeline).await, unbroken().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_source_that_asks_for_time_is_never_charged() {
    let life = Life::new(&[], |_| None);
    let mut plugins = life.plugins();
    let inner = plugins.source.port.take().unwrap();
    plugins.source.port = Some(Box::new(life.broken(inner, || refused(true, Some(2_000)))));
    let mut pipeline = life.open_with(plugins).await;
    for _ in 0..10 {
        let error = ingest_all(&mut pipeline).await.unwrap_err();
        assert_eq!(error.retry_after_ms(), Some(2_000));
    }
    assert!(life.story().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_evaluator_that_fails_promotes_nobody_and_its_run_waits() {
    let life = Life::new(&[], |_| None);
    let mut plugins = life.plugins();
    plugins.cleaners = vec![step("clip", Box::new(ClipFirst) as _)];
    plugins.evaluators = vec![step("accuracy", Box::new(life.broken(Accuracy, crashed)) as _)];
    let mut pipeline = life.open_with(plugins).await;
    ingest_all(&mut pipeline).await.unwrap();
    for _ in 0..6 {
        run_once(&mut pipeline, None).await.unwrap_err();
    }
    assert_eq!(life.calls.load(Ordering::SeqCst), 3);
    assert_eq!(life.story().await, ["strike", "strike", "strike", "plugin-quarantined"]);
    assert!(life.store.decisions(&id(), None).await.unwrap().is_empty(), "nobody decides without a measurement");
    life.mended.store(true, Ordering::SeqCst);
    release_plugin(&mut pipeline, &"accuracy".parse().unwrap(), "ada", "mended").await.unwrap();
    let end = run_once(&mut pipeline, None).await.unwrap();
    assert!(matches!(end, RunEnd::Decided { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_alerter_that_fails_stops_nothing_and_is_asked_again() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut plugins = life.plugins();
    let titles = Titles(Arc::clone(&life.titles));
    let alerter_calls = Arc::new(AtomicU32::new(0));
    let alerter_mended = Arc::new(AtomicBool::new(false));
    let broken = Broken {
        inner: titles,
        error: || refused(true, Some(5_000)),
        mended: Arc::clone(&alerter_mended),
        calls: Arc::clone(&alerter_calls),
    };
    plugins.alerters = vec![step("titles", Box::new(broken) as _)];
    let mut pipeline = life.open_with(plugins).await;
    ingest_all(&mut pipeline).await.unwrap();
    assert_eq!((alerter_calls.load(Ordering::SeqCst), life.titles.lock().unwrap().len()), (1, 0));
    let wait = async |pipeline: &mut Pipeline, seconds: i64| {
        life.clock.advance_to(life.clock.now().plus_micros(seconds * 1_000_000));
        pipeline.handle(Event::Observe).await.unwrap();
    };
    wait(&mut pipeline, 4).await;
    assert_eq!(alerter_calls.load(Ordering::SeqCst), 1, "it asked for five seconds");
    alerter_mended.store(true, Ordering::SeqCst);
    wait(&mut pipeline, 2).await;
    assert_eq!(*life.titles.lock().unwrap(), ["rows 100 to 149 of `test` were set aside"]);
    wait(&mut pipeline, 60).await;
    assert_eq!(life.titles.lock().unwrap().len(), 1, "once is enough");
    assert_eq!(life.story().await, ["dead-letter"], "a refusal is not a strike");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_alerter_that_crashes_is_quarantined_and_the_log_takes_its_place() {
    let life = Life::new(&[60, 160], |_| Some(crashed()));
    let mut plugins = life.plugins();
    let (mended, calls) = (Arc::default(), Arc::new(AtomicU32::new(0)));
    let broken = Broken { inner: Titles(Arc::clone(&life.titles)), error: crashed, mended, calls: Arc::clone(&calls) };
    plugins.alerters = vec![step("titles", Box::new(broken) as _)];
    let mut pipeline = life.open_with(plugins).await;
    ingest_all(&mut pipeline).await.unwrap();
    for _ in 0..9 {
        life.clock.advance_to(life.clock.now().plus_micros(1_000_000));
        pipeline.handle(Event::Observe).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let story = life.story().await;
    assert_eq!(story.iter().filter(|kind| *kind == "strike").count(), 3, "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("plugin-quarantined"));
}

/// Whatever commit a process dies at, the batch is set aside once and the others are cleaned.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dying_at_any_commit_loses_no_dead_letter_and_doubles_none() {
    for commits_left in 0..24 {
        for dies_after in [false, true] {
            let life = Life::new(&[120], |_| Some(crashed()));
            let case = format!("died at commit {commits_left}, after it: {dies_after}");
            for (commits_left, is_last) in [(commits_left, false), (i64::MAX, true)] {
                let opened = life.open_mortal(commits_left, dies_after).await;
                let Ok(mut pipeline) = opened else { continue };
                if ingest_all(&mut pipeline).await.is_err() || !is_last {
                    continue;
                }
                let letters = dead_letters(&*life.store, &id()).await.unwrap();
                let rows: Vec<u64> = letters.waiting.iter().map(|letter| letter.first_row).collect();
                assert_eq!((rows, letters.last), (vec![100], 1), "{case}");
                assert_eq!(life.story().await, ["dead-letter"], "{case}");
                life.mended.store(true, Ordering::SeqCst);
                retry_dead_letters(&mut pipeline, None).await.unwrap();
                assert_eq!(life.digests(&pipeline).await, unbroken().await, "{case}");
            }
        }
    }
}

/// Random batches that fail, some of them once and some always, and a process that dies at random commits. Whatever happens, every raw
/// part is cleaned or set aside or waits, never two of these; and once all is mended there is what there would have been.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_order_of_failures_and_deaths_loses_or_doubles_a_row() {
    let expected = unbroken().await;
    let faults: [Fault; 3] = [|_| Some(crashed()), |met| (met % 2 == 1).then(crashed), |_| Some(refused(false, None))];
    for seed in 0..40 {
        let mut rng = seeded_rng(seed);
        let poison: Vec<usize> = (0..8).filter(|_| rng.random_bool(0.3)).map(|part| part * 50 + 7).collect();
        let life = Life::new(&poison, faults[rng.random_range(0..faults.len())]);
        for _ in 0..6 {
            let (commits_left, dies_after) = (rng.random_range(0..40), rng.random_bool(0.5));
            let Ok(mut pipeline) = life.open_mortal(commits_left, dies_after).await else { continue };
            let _ = ingest_all(&mut pipeline).await;
            let letters = dead_letters(&*life.store, &id()).await.unwrap();
            let cleaned = life.cleaned(&pipeline).await;
            assert!(cleaned.is_sorted() && letters.waiting.is_sorted_by_key(|letter| letter.first_row), "seed {seed}");
            assert!(letters.waiting.iter().all(|letter| !cleaned.contains(&letter.first_row)), "seed {seed}: both {cleaned:?} {letters:?}");
            life.store.verify_journal().await.unwrap();
        }
        life.mended.store(true, Ordering::SeqCst);
        let mut pipeline = life.open().await;
        // Whoever has no strikes needs no word.
        let _ = release_plugin(&mut pipeline, &"clip".parse().unwrap(), "ada", "mended").await;
        retry_dead_letters(&mut pipeline, None).await.unwrap();
        ingest_all(&mut pipeline).await.unwrap();
        assert_eq!(life.digests(&pipeline).await, expected, "seed {seed}: poison {poison:?}");
        assert!(dead_letters(&*life.store, &id()).await.unwrap().waiting.is_empty(), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn retention_takes_a_dead_letter_along() {
    let life = Life::new(&[120], |_| Some(crashed()));
    let mut pipeline = life.open().await;
    ingest_all(&mut pipeline).await.unwrap();
    let fence = life.store.take_fence("retention").await.unwrap();
    let below = vec![tidegate_store::Write::DropRows { below: 200 }];
    life.store.commit(fence, &id(), life.clock.now(), below).await.unwrap();
    let mut pipeline = life.open().await;
    let retried = retry_dead_letters(&mut pipeline, None).await.unwrap();
    assert_eq!(retried[0].error.as_deref(), Some("retention has let go of its rows"));
    assert!(dead_letters(&*life.store, &id()).await.unwrap().waiting.is_empty());
}
