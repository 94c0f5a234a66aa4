//! What the loop promises on an unbroken history.

use std::sync::Arc;

use tidegate_pipeline::{BacktestSettings, MarkKind, Silent, backtest};
use tidegate_policy::GateRows;
use tidegate_store::MetaStore as _;
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Alias, DecisionKind, SimulatedClock, Timestamp};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

const HOW: BacktestSettings = BacktestSettings { step_rows: 50, warmup_share: 0.25 };

async fn replay(seed: u64, ungated: bool) -> (tidegate_pipeline::Backtest, Arc<MemoryStore>) {
    let history = Arc::new(History::new(seed, 3_000));
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let mut settings = settings(seed, GateRows::Arriving);
    settings.ungated = ungated;
    let found = backtest(settings, plugins(&history), stores, clock, HOW, Box::new(Silent)).await.unwrap();
    (found, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_row_is_answered_once_and_before_it_is_learned_from() {
    let (found, store) = replay(1, false).await;
    let pipeline = "test".parse().unwrap();
    // One row in fifty lacks a feature and is quarantined.
    assert_eq!(found.rows.len(), 3_000 - 60);
    assert!(found.rows.windows(2).all(|pair| pair[0].row < pair[1].row), "a row was scored twice or out of order");
    let versions = store.versions(&pipeline).await.unwrap();
    for scored in &found.rows {
        if let Some(version) = scored.version {
            let version = versions.iter().find(|candidate| candidate.number == version).unwrap();
            let row = scored.row.unwrap();
            assert!(version.trained_until_row <= row, "row {row} was answered by {} trained on it", version.number);
        }
    }
    // Of 31 rows without a label one lacks its feature as well.
    assert_eq!(found.rows.iter().filter(|row| row.truth.is_none()).count(), 30, "rows whose labels never came are passed over");
    assert!(found.model.accuracy.unwrap() > 0.75, "accuracy {:?}", found.model.accuracy);
    assert!(found.model.accuracy > found.no_change.accuracy && found.model.accuracy > found.majority.accuracy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_champion_always_is_a_version_that_a_decision_promoted() {
    let (found, store) = replay(2, false).await;
    let pipeline = "test".parse().unwrap();
    let decisions = store.decisions(&pipeline, None).await.unwrap();
    let history = store.alias_history(&pipeline, Alias::Champion).await.unwrap();
    assert!(!history.is_empty(), "nothing was promoted in 3,000 rows");
    for step in &history {
        let (_, decision) = decisions.iter().find(|(number, _)| *number == step.decision).unwrap();
        assert_eq!((decision.kind, decision.version, decision.parent), (DecisionKind::Promote, step.to, step.from));
    }
    let trainings = found.marks.iter().filter(|mark| mark.kind == MarkKind::Training).count();
    assert_eq!(trainings as u32, found.trainings);
    assert_eq!(found.promotions as usize, history.len());
    store.verify_journal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_seed_gives_the_same_backtest() {
    let (first, _) = replay(3, false).await;
    let (again, _) = replay(3, false).await;
    assert!(first == again, "two replays of one history differ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_a_gate_every_training_is_a_promotion() {
    let (found, _) = replay(4, true).await;
    assert_eq!((found.promotions, found.holds, found.rejections), (found.trainings, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_decision_but_a_hold_is_an_alert() {
    let history = Arc::new(History::new(5, 3_000));
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut plugins = plugins(&history);
    plugins.alerters.push(crate::scripted::alerter(&count));
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let settings = settings(5, GateRows::Arriving);
    let found = backtest(settings, plugins, stores, clock, HOW, Box::new(Silent)).await.unwrap();
    assert!(found.promotions > 0);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), found.promotions + found.rejections);
}

/// Rows keep coming while the world turns once: trials spare the trainings that would change nothing, and not those that do.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_trial_spares_trainings_that_would_change_nothing() {
    let with_trial = async |trial_rows: u64| {
        let history = Arc::new(History::new(6, 3_000));
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
        let stores = stores(&store, Arc::clone(&clock) as _).await;
        let mut settings = settings(6, GateRows::Arriving);
        (settings.ungated, settings.trial_rows) = (true, trial_rows);
        let found = backtest(settings, plugins(&history), stores, clock, HOW, Box::new(Silent)).await.unwrap();
        (found, store.runs(&"test".parse().unwrap()).await.unwrap())
    };
    let (full, _) = with_trial(0).await;
    let (spared, runs) = with_trial(150).await;
    let skipped: Vec<&str> = runs.iter().filter_map(|run| run.note.as_deref()).collect();
    assert!(spared.trainings < full.trainings, "{} trainings of {}", spared.trainings, full.trainings);
    assert_eq!(runs.len(), spared.trainings as usize + skipped.len());
    assert!(skipped.iter().all(|note| note.starts_with("not trained: a small fit answers ")), "{skipped:?}");
    assert!(runs.iter().filter(|run| run.note.is_some()).all(|run| run.version.is_none() && run.decision.is_none()));
    let (accuracy, spared_accuracy) = (full.model.accuracy.unwrap(), spared.model.accuracy.unwrap());
    assert!(spared_accuracy > accuracy - 0.03, "{spared_accuracy} with trials, {accuracy} without");
}
