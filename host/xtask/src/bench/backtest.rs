//! The whole weather replay, one settings, one seed, beside scikit-learn doing the same trainings without a gate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::ingest::forget_rows;
use super::measure::measure as run_measured;
use super::peer::Peers;
use super::row::{Row, median};
use crate::repo::Repo;

const ROUNDS: usize = 3;
const REPLAY_S_MAX: f64 = 10.0;

/// The keys of `tidegate backtest --json` that are shown here; the peer prints the same.
#[derive(Deserialize)]
struct Replay {
    settings: String,
    accuracy: f64,
    trainings: u64,
    seconds: f64,
}

pub fn measure(repo: &Repo, demo: &Path) -> Result<Vec<Row>> {
    let peers = Peers::prepare(repo)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut replays, mut peer): (Vec<Replay>, Vec<Replay>) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("bench: the weather, round {round} of {ROUNDS}");
        forget_rows(&demo.join("state"))?;
        let sample = run_measured(Command::new(repo.tidegate()).current_dir(demo).args(["backtest", "--json"]))?;
        ours.push(sample.seconds);
        replays = serde_json::from_str(&sample.output).with_context(|| format!("`tidegate backtest` wrote `{}`", sample.output.trim()))?;
        peer = peers.run("weather_sklearn.py", &[&demo.join("weather.csv")])?;
        theirs.push(peer.iter().map(|replay| replay.seconds).sum());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let mut beside = Row::beside("weather replay", ours, "s", "scikit-learn, no gate", theirs, 0.0);
    beside.bar = None;
    let mut rows = vec![Row::bounded("weather replay", ours, "s", REPLAY_S_MAX), beside];
    for replay in replays.iter().chain(&peer) {
        rows.push(Row::shown(&format!("weather, {}, accuracy", replay.settings), replay.accuracy, "share"));
        rows.push(Row::shown(&format!("weather, {}, trainings", replay.settings), replay.trainings as f64, "trainings"));
    }
    Ok(rows)
}
