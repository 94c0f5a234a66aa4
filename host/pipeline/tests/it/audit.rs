//! Asking the gate without deciding: what it says is what it said, and nothing of it is left in the store.

use std::sync::Arc;

use tidegate_pipeline::{Event, Outcome, Pipeline, PipelineError, Settings, Silent, StoredTerms, ingest_some};
use tidegate_policy::GateRows;
use tidegate_store::{Blobs as _, MetaStore as _};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Decision, DecisionKind, PipelineId, SimulatedClock, Timestamp, VersionNo};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

const DAY_US: i64 = 86_400_000_000;

fn id() -> PipelineId {
    "test".parse().unwrap()
}

/// The loop over 1,400 rows, and the pipeline opened again with settings that `change` has changed.
async fn lived(change: fn(&mut Settings)) -> (Pipeline, Arc<MemoryStore>) {
    let (history, store) = (Arc::new(History::new(8, 3_000)), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let open = async |settings| {
        let stores = stores(&store, Arc::clone(&clock) as _).await;
        Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap()
    };
    let mut pipeline = open(settings(8, GateRows::Arriving)).await;
    for _ in 1..=28 {
        ingest_some(&mut pipeline, 1).await.unwrap();
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
    }
    let mut changed = settings(8, GateRows::Arriving);
    change(&mut changed);
    (open(changed).await, store)
}

async fn decisions(store: &MemoryStore) -> Vec<Decision> {
    store.decisions(&id(), None).await.unwrap().into_iter().map(|(_, decision)| decision).collect()
}

async fn why(pipeline: &mut Pipeline, decision: Decision) -> String {
    match pipeline.recipe(decision).await {
        Err(PipelineError::NotJudgeable { why, .. }) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("there should be nothing to compare with"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn asking_changes_nothing_and_says_what_a_decision_would() {
    let (mut pipeline, store) = lived(|_| {}).await;
    let before = (store.journal(None, 0).await.unwrap().len(), store.versions(&id()).await.unwrap());
    let decided = decisions(&store).await;
    let promoted = decided.iter().rev().find(|decision| decision.kind == DecisionKind::Promote && decision.parent.is_some()).unwrap();
    let version = store.version(&id(), promoted.version).await.unwrap().unwrap();
    let tried = pipeline.try_gate(promoted.version, promoted.parent).await.unwrap();
    assert_eq!((tried.version, tried.champion, tried.verdict.kind), (promoted.version, promoted.parent, DecisionKind::Promote));
    assert!(tried.first_row >= version.trained_until_row, "its own rows do not judge it");

    let recipe = pipeline.recipe(promoted.clone()).await.unwrap();
    assert!(recipe.is_unchanged);
    let (first, second) = (pipeline.sibling(&recipe, 1).await.unwrap(), pipeline.sibling(&recipe, 2).await.unwrap());
    assert_ne!(first.seed, second.seed);
    assert_eq!(pipeline.sibling(&recipe, 1).await.unwrap(), first, "the same seed makes the same version");
    for sibling in [&first, &second] {
        let (own, other) = (&sibling.in_place.rules[0], &promoted.rules[0]);
        assert_eq!((own.other, own.rows), (other.other, other.rows), "judged on the same rows, against the same champion");
        assert_eq!(sibling.against.rules[0].other, other.challenger, "and against the version itself");
    }
    assert_eq!((store.journal(None, 0).await.unwrap().len(), store.versions(&id()).await.unwrap()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_gone_or_has_changed_is_not_compared() {
    let (mut pipeline, store) = lived(|settings| settings.window_rows += 1).await;
    let newest = decisions(&store).await.pop().unwrap();
    assert!(!pipeline.recipe(newest.clone()).await.unwrap().is_unchanged, "another window is another recipe");
    let by_hand = Decision { evidence: None, ..newest.clone() };
    assert_eq!(why(&mut pipeline, by_hand).await, "no gate decided about it");
    let mut other = newest.clone();
    other.evidence.as_mut().unwrap().evaluators.clear();
    assert_eq!(why(&mut pipeline, other).await, "other evaluators measured it than are in use now");
    let earlier = Decision { at: Timestamp(newest.at.0 - 100 * DAY_US), ..newest.clone() };
    assert_eq!(why(&mut pipeline, earlier).await, "the rows that it was judged on are not there any more as they were");
    let unknown = pipeline.try_gate(VersionNo(99), None).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the gate cannot be asked about v99: there is no such version");
    assert!(unknown.hint().is_some_and(|hint| hint.starts_with("`tidegate models`")));

    let (mut pipeline, _) = lived(|settings| settings.contract.columns[0].nullable = true).await;
    assert_eq!(why(&mut pipeline, newest).await, "the contract has changed since it was trained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_decision_knows_how_many_labels_were_missing() {
    let (_, store) = lived(|_| {}).await;
    let evidence = decisions(&store).await.pop().unwrap().evidence.unwrap();
    let terms = StoredTerms::decode(&store.get(&evidence.terms).await.unwrap()).unwrap();
    // One label in ninety-seven never comes.
    let share = terms.maturity.unwrap();
    assert!((0.97..1.0).contains(&share), "{share} of {} rows", terms.labels.len());
}
