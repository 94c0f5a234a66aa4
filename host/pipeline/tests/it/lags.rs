//! What a model sees of earlier rows, through the whole loop: what was known helps, what was not known yet does not reach it.

use std::sync::Arc;

use rand::RngExt as _;
use tidegate_model::{Lags, TrainError};
use tidegate_pipeline::{Backtest, BacktestSettings, Pipeline, PipelineError, Silent, backtest, import, ingest_all, run_once};
use tidegate_policy::GateRows;
use tidegate_store::{Blobs as _, MetaStore as _};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Seed, SimulatedClock, TimeUnit, Timestamp, VersionNo};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

const ROWS: usize = 1_200;
const HOW: BacktestSettings = BacktestSettings { step_rows: 50, warmup_share: 0.5 };

/// Rows of noise, and labels that `closed` makes of the first feature's values and the row's position.
fn history(label: impl Fn(&[f64], usize) -> bool) -> Arc<History> {
    let mut rng = Seed(11).rng("lags");
    let a: Vec<f64> = (0..=ROWS).map(|_| rng.random_range(-0.8..0.8)).collect();
    let row = |row: usize| {
        let label = u8::from(label(&a, row)).to_string();
        [row.to_string(), format!("{:.6}", a[row]), format!("{:.6}", (row as f64 * 0.7).sin()), label]
    };
    Arc::new(History { rows: (0..ROWS).map(row).collect() })
}

async fn replay(history: &Arc<History>, lags: Lags, delay_days: i64) -> Result<Backtest, PipelineError> {
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let mut settings = settings(1, GateRows::Arriving);
    (settings.ungated, settings.model.lags) = (true, lags);
    settings.contract.label.delay_us = delay_days * TimeUnit::D.micros();
    backtest(settings, plugins(history), stores, clock, HOW, Box::new(Silent)).await
}

fn lags(rows: &[u32], labels: &[u32]) -> Lags {
    Lags { rows: rows.to_vec(), columns: None, labels: labels.to_vec() }
}

/// The share of the later half that is answered rightly.
async fn check(history: &Arc<History>, lags: Lags, delay_days: i64, expected: std::ops::Range<f64>) {
    let found = replay(history, lags.clone(), delay_days).await.unwrap();
    let accuracy = found.model.accuracy.unwrap();
    assert!(expected.contains(&accuracy), "{lags:?} with labels after {delay_days} days: {accuracy}, expected {expected:?}");
}

const KNOWS: std::ops::Range<f64> = 0.97..1.01;
const GUESSES: std::ops::Range<f64> = 0.40..0.60;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn values_of_earlier_rows_are_seen_and_those_of_later_ones_are_not() {
    let yesterday = history(|a, row| row > 0 && a[row - 1] > 0.0);
    check(&yesterday, Lags::default(), 1, GUESSES).await;
    check(&yesterday, lags(&[1], &[]), 1, KNOWS).await;
    check(&yesterday, lags(&[2, 3], &[]), 1, GUESSES).await;
    // A label that only tomorrow explains: rows of one poll come together, and do not see each other's future.
    let tomorrow = history(|a, row| a[row + 1] > 0.0);
    check(&tomorrow, lags(&[1, 2, 3], &[1, 2]), 1, GUESSES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn labels_are_seen_from_when_they_are_known() {
    // Every label is the opposite of the one two days before, and nothing else tells it: the one a day before says nothing.
    let turning = history(|_, row| row % 4 >= 2);
    check(&turning, lags(&[], &[1]), 2, KNOWS).await;
    check(&turning, lags(&[], &[1]), 1, GUESSES).await;
    check(&turning, lags(&[], &[2]), 1, KNOWS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lags_of_a_column_that_is_no_feature_end_the_run() {
    let unknown = Lags { columns: Some(vec!["c".into()]), ..lags(&[1], &[]) };
    let failed = replay(&history(|a, row| a[row] > 0.0), unknown, 1).await.unwrap_err();
    let PipelineError::Train { source: TrainError::Spec { issues } } = &failed else { panic!("{failed}") };
    assert_eq!(issues[0].to_string(), "`lags.columns` is `c`; expected features of the contract (a, b)");
}

/// What a version sees of earlier rows is in no contract, and needs not be there when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_version_that_sees_earlier_rows_makes_the_round_trip() {
    let history = history(|a, row| row > 0 && a[row - 1] > 0.0);
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimulatedClock::new(Timestamp(i64::MAX / 4)));
    let stores = stores(&store, Arc::clone(&clock) as _).await;
    let mut settings = settings(1, GateRows::Arriving);
    (settings.ungated, settings.model.lags) = (true, lags(&[1], &[]));
    let mut pipeline = Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap();
    ingest_all(&mut pipeline).await.unwrap();
    run_once(&mut pipeline, Some("ada")).await.unwrap();
    let id = "test".parse().unwrap();
    let first = store.versions(&id).await.unwrap().remove(0);
    let blob = async |digest| store.get(digest).await.unwrap();
    let (weights, manifest) = (blob(&first.weights).await, blob(&first.manifest).await);
    let decision = import(&mut pipeline, weights, manifest, "ada", "there and back").await.unwrap();
    assert_eq!((decision.version, decision.parent), (VersionNo(2), Some(VersionNo(1))));
}
