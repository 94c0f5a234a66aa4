//! From the start of the process to the first row committed, with the plugins compiled in an earlier run.
//!
//! The input grows by one row before every run, so each run has exactly one row to bring in.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result};

use super::ingest::settings;
use super::measure::measure as run_measured;
use super::row::{Row, median};
use crate::repo::Repo;

const ROUNDS: usize = 5;
const START_MS_MAX: f64 = 200.0;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    let folder = repo.target.join("bench/start");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create `{}`", folder.display()))?;
    let csv = folder.join("rows.csv");
    std::fs::write(&csv, "row,x0,x1,x2,x3,x4,x5,x6,x7,label\n")?;
    std::fs::write(folder.join("tidegate.toml"), settings(repo, &csv))?;
    let mut milliseconds = Vec::new();
    for round in 0..=ROUNDS {
        let mut file = OpenOptions::new().append(true).open(&csv)?;
        writeln!(file, "{round},0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,1")?;
        drop(file);
        let sample = run_measured(Command::new(repo.tidegate()).current_dir(&folder).args(["ingest", "--json"]))?;
        // The first run compiles the plugins.
        if round > 0 {
            milliseconds.push(sample.seconds * 1e3);
        }
    }
    Ok(vec![Row::bounded("start to first row, plugins compiled", median(milliseconds), "ms", START_MS_MAX)])
}
