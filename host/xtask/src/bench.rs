//! `cargo xtask bench`: figures held against their bars, each as a ratio to a peer or a bound measured in the same run.
//!
//! Ours and the peer take turns, so that a busy machine slows both; a figure is the median. Reached means `ratio` ≤ `bar`.

mod backtest;
mod decisions;
mod ingest;
mod load;
mod measure;
mod peer;
mod plugins;
mod reload;
mod row;
mod sandbox;
mod serve;
mod service;
mod start;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::row::Row;
use crate::repo::Repo;
use crate::{demo, setup};

#[derive(clap::Args)]
pub struct Options {
    /// The group to measure; all of them without it
    group: Option<Group>,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
}

/// What is measured together.
#[derive(Clone, Copy, ValueEnum)]
enum Group {
    /// Calls into plugins beside the same work done natively
    Sandbox,
    /// What plugins, their limits and their languages cost, and what a reload or a crash of one costs everybody else
    Plugins,
    /// Inference over HTTP beside a bare echo of the same body
    Serve,
    /// CSV to checked Parquet beside pandas, and how it grows with the rows
    Ingest,
    /// From the start of the process to the first row committed
    Start,
    /// The whole weather replay beside scikit-learn
    Backtest,
    /// How often gates and canaries are wrong
    Decisions,
}

/// Builds what is measured, measures, prints; an unreached bar is an error after everything was printed.
pub fn bench(repo: &Repo, options: &Options) -> Result<()> {
    setup::setup(repo)?;
    let folder = demo::prepare(repo)?;
    let groups = options.group.map_or_else(|| Group::value_variants().to_vec(), |group| vec![group]);
    let mut rows = Vec::new();
    for group in groups {
        rows.extend(match group {
            Group::Sandbox => sandbox::measure(repo)?,
            Group::Plugins => plugins::measure(repo)?,
            Group::Serve => serve::measure(repo)?.into_iter().chain(service::measure(repo)?).collect(),
            Group::Ingest => ingest::measure(repo)?,
            Group::Start => start::measure(repo)?,
            Group::Backtest => backtest::measure(repo, &folder)?,
            Group::Decisions => decisions::measure(repo)?,
        });
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        row::print(&rows);
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_reached()).map(|row: &Row| row.figure.as_str()).collect();
    if !missed.is_empty() {
        bail!("{} of {} figures miss their bar: {}", missed.len(), rows.len(), missed.join("; "));
    }
    Ok(())
}
