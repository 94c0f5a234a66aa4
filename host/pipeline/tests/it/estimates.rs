//! Quality before labels come, through the loop: what is expected of rows is said before their labels are looked at, and compared after.

use std::sync::Arc;

use tidegate_pipeline::{Estimates, Event, Outcome, Pipeline, Silent, ingest_some, promote};
use tidegate_policy::{Approval, GateRows};
use tidegate_store::MetaStore as _;
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{SimulatedClock, Timestamp, VersionState};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

const DAY_US: i64 = 86_400_000_000;

/// The loop over 1,400 rows before the world turns, opened again every `restart_every` ticks.
async fn estimated(estimate_rows: u64, restart_every: usize) -> (Estimates, Arc<MemoryStore>) {
    let history = Arc::new(History::new(8, 3_000));
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let open = async || {
        let mut settings = settings(8, GateRows::Arriving);
        settings.estimate_rows = estimate_rows;
        let stores = stores(&store, Arc::clone(&clock) as _).await;
        Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap()
    };
    let mut pipeline = open().await;
    for tick in 1..=28 {
        ingest_some(&mut pipeline, 1).await.unwrap();
        // A day ahead of the newest row, so that labels of all but it are known.
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
        if tick % restart_every == 0 {
            pipeline = open().await;
        }
    }
    let estimates = pipeline.estimates().clone();
    (estimates, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn estimates_come_before_labels_and_are_held_against_them() {
    let (estimates, store) = estimated(100, usize::MAX).await;
    assert!(estimates.windows.len() >= 5, "{} windows", estimates.windows.len());
    assert!(estimates.windows.windows(2).all(|pair| pair[0].rows.1 <= pair[1].rows.0), "windows overlap");
    for window in &estimates.windows {
        let whole = window.estimated == 100;
        assert!(!whole || window.labelled > 90, "labels of rows that were estimated are counted: {window:?}");
        assert!(window.accuracy.band.0 <= window.accuracy.value && window.accuracy.value <= window.accuracy.band.1);
        assert!((0.6..=1.0).contains(&window.accuracy.value), "the champion is sure of itself: {window:?}");
    }
    let whole = estimates.windows.iter().filter(|window| window.estimated == 100 && window.labelled >= 90).count() as u64;
    assert_eq!((estimates.score.error.count, estimates.score.within), (whole, whole), "nothing has turned yet, so that every band holds");
    assert!(estimates.score.distance.mean < 0.06, "off by {}", estimates.score.distance.mean);
    assert!(store.state(&"test".parse().unwrap(), "estimates").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_changes_no_estimate() {
    let (unbroken, _) = estimated(100, usize::MAX).await;
    let (broken, _) = estimated(100, 1).await;
    assert_eq!(unbroken, broken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_estimated_where_nobody_asks() {
    let (estimates, store) = estimated(0, usize::MAX).await;
    assert_eq!(estimates, Estimates::default());
    assert_eq!(store.state(&"test".parse().unwrap(), "estimates").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_version_that_a_person_approved_is_estimated_too() {
    let (history, store) = (Arc::new(History::new(8, 3_000)), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let mut settings = settings(8, GateRows::Arriving);
    (settings.estimate_rows, settings.gate.approval) = (100, Approval::Operator);
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let mut pipeline = Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap();
    let id = "test".parse().unwrap();
    for _ in 1..=28 {
        ingest_some(&mut pipeline, 1).await.unwrap();
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
        let versions = store.versions(&id).await.unwrap();
        if let Some(waits) = versions.iter().find(|version| version.state == VersionState::AwaitingApproval && version.number.0 == 1) {
            promote(&mut pipeline, waits.number, "ada", "it looks right").await.unwrap();
        }
    }
    let windows = &pipeline.estimates().windows;
    assert!(!windows.is_empty() && windows.iter().all(|window| window.version.0 == 1), "{windows:?}");
}
