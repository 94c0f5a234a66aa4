//! Drift through the loop: rows that move away are noticed, those that stay are not, and a restart in the middle of a window changes
//! nothing.

use std::sync::Arc;

use tidegate_pipeline::{DriftBook, Event, Outcome, Pipeline, Silent, import, ingest_some};
use tidegate_policy::{Brakes, DriftSettings, GateRows, TriggerKind, TriggerRule};
use tidegate_store::{Blobs as _, MetaStore as _};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{SimulatedClock, Timestamp};

use crate::scripted::{History, ORIGIN_US, alerter, plugins, settings, stores};

const DAY_US: i64 = 86_400_000_000;
/// The first row whose feature has moved.
const TURN: usize = 3_000;

struct Watched {
    book: DriftBook,
    store: Arc<MemoryStore>,
    alerts: u32,
}

/// The loop over 4,500 rows, of which `moved` is added to the first feature from [`TURN`] on; one training, and `trigger` beside it.
async fn watched(moved: f64, drift: Option<DriftSettings>, trigger: TriggerKind, restart_every: usize) -> Watched {
    let mut history = History::new(9, 7_200);
    for row in &mut history.rows[TURN..] {
        if let Ok(value) = row[1].parse::<f64>() {
            row[1] = format!("{:.6}", value + moved);
        }
    }
    let (history, store) = (Arc::new(history), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let open = async || {
        let mut settings = settings(9, GateRows::Arriving);
        (settings.drift, settings.window_rows, settings.gate.rules[0].test) =
            (drift, 2_400, tidegate_policy::Test::NonInferior { margin: 0.9 });
        settings.triggers[0].kind = TriggerKind::Volume { new_rows: 2_500 };
        settings.triggers[0].brakes.cooldown_rows = Some(1_000_000);
        settings.triggers.push(TriggerRule { kind: trigger.clone(), brakes: Brakes { cooldown_rows: Some(200), ..Brakes::default() } });
        let mut plugins = plugins(&history);
        plugins.alerters.push(alerter(&count));
        let stores = stores(&store, Arc::clone(&clock) as _).await;
        Pipeline::open(settings, plugins, stores, Box::new(Silent)).await.unwrap()
    };
    let mut pipeline = open().await;
    for tick in 1..=90 {
        ingest_some(&mut pipeline, 1).await.unwrap();
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
        if tick % restart_every == 0 {
            pipeline = open().await;
        }
    }
    let alerts = count.load(std::sync::atomic::Ordering::SeqCst);
    Watched { book: pipeline.drift().clone(), store, alerts }
}

fn usual() -> Option<DriftSettings> {
    Some(DriftSettings { window_rows: 300, ..DriftSettings::usual() })
}

async fn lines(store: &MemoryStore) -> Vec<bool> {
    let journal = store.journal(Some(&"test".parse().unwrap()), 0).await.unwrap();
    journal.into_iter().filter(|entry| entry.kind == "drift").map(|entry| entry.body["drifts"].as_bool().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_move_are_noticed_and_told_once() {
    let moved = watched(0.5, usual(), TriggerKind::Manual, usize::MAX).await;
    let newest = moved.book.windows.last().unwrap();
    let drifting: Vec<&str> = newest.features.drifting().map(|feature| feature.name.as_str()).collect();
    assert_eq!(drifting, ["a"], "{}", newest.reason());
    let before = moved.book.windows.iter().take_while(|window| window.rows.1 <= TURN as u64).filter(|window| window.drifts()).count();
    assert_eq!(before, 0, "nothing had moved yet");
    assert!(newest.predictions.as_ref().is_some_and(|of| of.drifts()), "what is answered moves with it: {}", newest.reason());
    assert_eq!(lines(&moved.store).await, [true]);
    let stays = watched(0.0, usual(), TriggerKind::Manual, usize::MAX).await;
    assert!(stays.book.windows.len() > 5 && stays.book.windows.iter().all(|window| !window.drifts()));
    assert_eq!(lines(&stays.store).await, [] as [bool; 0]);
    assert_eq!(moved.alerts, stays.alerts + 1, "one alert when it begins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_in_the_middle_of_a_window_changes_nothing() {
    let unbroken = watched(0.5, usual(), TriggerKind::Manual, usize::MAX).await;
    let broken = watched(0.5, usual(), TriggerKind::Manual, 1).await;
    assert_eq!(unbroken.book, broken.book);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn drift_starts_a_run_where_a_trigger_waits_for_it() {
    for (trigger, reason) in
        [(TriggerKind::Drift, "the rows drift: 1 of 2 features"), (TriggerKind::PredictionDrift, "the answers drift: 2 of 2 features")]
    {
        let moved = watched(0.5, usual(), trigger.clone(), usize::MAX).await;
        let runs = moved.store.runs(&"test".parse().unwrap()).await.unwrap();
        assert!(runs.len() >= 2 && runs[1].trigger.starts_with(reason), "{:?}", runs.iter().map(|run| &run.trigger).collect::<Vec<_>>());
        let stays = watched(0.0, usual(), trigger, usize::MAX).await;
        assert_eq!(stays.store.runs(&"test".parse().unwrap()).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_watched_where_nobody_asks() {
    let unwatched = watched(0.5, None, TriggerKind::Manual, usize::MAX).await;
    assert_eq!(unwatched.book, DriftBook::default());
    assert_eq!(unwatched.store.state(&"test".parse().unwrap(), "drift").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn windows_that_are_over_keep_what_moved() {
    let moved = watched(0.5, usual(), TriggerKind::Manual, usize::MAX).await;
    let (newest, before) = moved.book.windows.split_last().unwrap();
    assert_eq!((newest.features.features.len(), newest.predictions.as_ref().unwrap().features.len()), (2, 2));
    let kept: Vec<_> = before.iter().flat_map(|window| &window.features.features).collect();
    assert!(!kept.is_empty() && kept.iter().all(|feature| feature.moved), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_champion_without_rows_is_not_compared_and_says_so() {
    let (history, store) = (Arc::new(History::new(9, 3_000)), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let mut settings = settings(9, GateRows::Arriving);
    (settings.drift, settings.ungated) = (usual(), true);
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let mut pipeline = Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap();
    let tick = async |pipeline: &mut Pipeline| {
        ingest_some(pipeline, 1).await.unwrap();
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
    };
    for _ in 0..8 {
        tick(&mut pipeline).await;
    }
    let first = store.versions(&"test".parse().unwrap()).await.unwrap().remove(0);
    let blob = async |digest| store.get(digest).await.unwrap();
    let (weights, manifest) = (blob(&first.weights).await, blob(&first.manifest).await);
    let version = import(&mut pipeline, weights, manifest, "ada", "from elsewhere").await.unwrap().version;
    tick(&mut pipeline).await;
    let book = pipeline.drift();
    assert_eq!((book.version, book.next_row), (Some(version), pipeline.rows_cleaned()), "its rows are passed over, not read");
    let why = format!("needs the rows that {version} learned from, and they are not there");
    assert_eq!(book.refused.clone().into_iter().collect::<Vec<_>>(), [("all".to_owned(), why)]);
}
