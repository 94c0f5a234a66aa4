//! Settings that change under a working pipeline: a run is judged by the gate that was written down when it started.

use std::sync::Arc;

use tidegate_pipeline::{Event, FailureRules, Pipeline, Settings, Silent, Terms, ingest_some};
use tidegate_policy::GateRows;
use tidegate_store::MetaStore as _;
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Decision, Digest, RunId, RunState, SimulatedClock, Timestamp};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

/// Twenty years after the first row: every label is known.
const LATER_US: i64 = 365 * 86_400_000_000 * 20;

fn terms(confidence: f64) -> Terms {
    let mut settings = settings(1, GateRows::Arriving);
    settings.gate.confidence = confidence;
    settings.into()
}

async fn pipeline() -> (Pipeline, Arc<MemoryStore>) {
    let (history, store) = (Arc::new(History::new(1, 3_000)), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US + LATER_US)));
    let stores = stores(&store, clock).await;
    (Pipeline::open(settings(1, GateRows::Arriving), plugins(&history), stores, Box::new(Silent)).await.unwrap(), store)
}

/// The gate that a decision of a gate names.
fn gate_of(decision: &Decision) -> Digest {
    decision.evidence.as_ref().unwrap().gate
}

/// Works until `done`, one batch and one transition at a time.
async fn work_until(pipeline: &mut Pipeline, done: impl AsyncFn(&Pipeline) -> bool) {
    for _ in 0..200 {
        if done(pipeline).await {
            return;
        }
        ingest_some(pipeline, 1).await.unwrap();
        pipeline.handle(Event::Observe).await.unwrap();
        pipeline.handle(Event::Advance).await.unwrap();
    }
    panic!("it does not come about: {:?}", pipeline.open_run().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_gate_waits_until_the_open_run_is_judged() {
    let (mut pipeline, store) = pipeline().await;
    let digest_of = |terms: Terms| Settings { gate: terms.gate, ..settings(1, GateRows::Arriving) }.gate_digest();
    let (first, second) = (digest_of(terms(0.9)), digest_of(terms(0.8)));
    // Nothing is judged: it holds at once.
    pipeline.adopt(terms(0.9), Vec::new()).await.unwrap();
    assert_eq!(pipeline.settings().gate_digest(), first);
    work_until(&mut pipeline, async |pipeline| pipeline.open_run().await.unwrap().is_some_and(|run| run.state == RunState::Gating)).await;
    pipeline.adopt(terms(0.8), Vec::new()).await.unwrap();
    assert_eq!(pipeline.settings().gate_digest(), first, "the open run was started under the other gate");
    let id = pipeline.settings().id.clone();
    let decisions = async || store.decisions(&id, None).await.unwrap();
    work_until(&mut pipeline, async |pipeline| pipeline.open_run().await.unwrap().is_some_and(|run| run.id == RunId(2))).await;
    let judged: Vec<_> = decisions().await.iter().map(|(_, decision)| gate_of(decision)).collect();
    assert!(!judged.is_empty() && judged.iter().all(|gate| *gate == first), "{judged:?}");
    assert_eq!(pipeline.settings().gate_digest(), second);
    let journal = store.journal(Some(&id), 0).await.unwrap();
    let told: Vec<_> = journal.iter().filter(|entry| entry.kind == "gate").map(|entry| entry.body["told"].clone()).collect();
    assert_eq!(told, ["run-2 is the first that is judged by the gate as the settings have it now"]);
    let before = judged.len();
    work_until(&mut pipeline, async |_| decisions().await.len() > before).await;
    assert_eq!(gate_of(&decisions().await[before].1), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_gate_that_is_taken_back_while_it_waits_leaves_nothing() {
    let (mut pipeline, store) = pipeline().await;
    work_until(&mut pipeline, async |pipeline| pipeline.open_run().await.unwrap().is_some()).await;
    let gate = pipeline.settings().gate_digest();
    pipeline.adopt(terms(0.8), Vec::new()).await.unwrap();
    pipeline.adopt(settings(1, GateRows::Arriving).into(), Vec::new()).await.unwrap();
    work_until(&mut pipeline, async |pipeline| pipeline.open_run().await.unwrap().is_some_and(|run| run.id == RunId(2))).await;
    assert_eq!(pipeline.settings().gate_digest(), gate);
    let journal = store.journal(None, 0).await.unwrap();
    assert!(journal.iter().all(|entry| entry.kind != "gate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn triggers_and_rules_for_failures_hold_at_once() {
    let (mut pipeline, _) = pipeline().await;
    let failures = FailureRules { strikes_max: 9, strike_window_ms: 1, dead_letters_max: 8 };
    let positive_class = "0".to_owned();
    pipeline.adopt(Terms { triggers: Vec::new(), failures, positive_class, ..terms(0.95) }, Vec::new()).await.unwrap();
    let now = pipeline.settings();
    assert_eq!((now.failures, now.positive_class.as_str()), (failures, "0"));
    for _ in 0..20 {
        ingest_some(&mut pipeline, 1).await.unwrap();
        pipeline.handle(Event::Observe).await.unwrap();
    }
    assert!(pipeline.open_run().await.unwrap().is_none(), "1,000 rows came, and no trigger is left");
}
