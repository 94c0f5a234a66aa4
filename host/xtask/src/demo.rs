//! `cargo xtask demo`: fifty years of weather through the loop, from a fresh clone to a report and a running host.
//!
//! Everything the demo writes lies in one folder of the build, `demo/`, with its own copy of the settings, the data and the
//! plugins: a place to try things in, thrown away by deleting it. Its state begins anew each time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;
use crate::repo::Repo;
use crate::{plugins, setup};

/// Seeds of the full demo; `--once` takes the one in the settings.
const SEEDS: &str = "0,1,2";
/// How fast the running host is given the history.
const ROWS_PER_SECOND: &str = "600";
const ONCE_ROWS_PER_SECOND: &str = "100000";

#[derive(clap::Args)]
pub struct Options {
    /// One replay with the seed of the settings instead of three, and the host stops when the history has ended
    #[arg(long)]
    once: bool,
    /// Print only the figures, as a JSON list
    #[arg(long)]
    json: bool,
}

/// Builds what the demo needs, replays the weather, says where the report is, and plays it again through a running host.
pub fn demo(repo: &Repo, options: &Options) -> Result<()> {
    eprintln!("demo: the WebAssembly target, the plugins, the host, then the replay, which takes seconds; the dependencies, built");
    eprintln!("demo: once, took 16 minutes on two cores; the build goes to {}", repo.target.display());
    let folder = prepare(repo)?;
    let report = folder.join("report.html");
    let mut replay = Command::new(repo.tidegate());
    replay.current_dir(&folder).arg("backtest").arg("--report").arg(&report);
    if !options.once {
        replay.args(["--seeds", SEEDS]);
    }
    if options.json {
        replay.arg("--json");
    }
    eprintln!("demo: replaying 18,159 days of weather");
    run(&mut replay)?;
    eprintln!("demo: the picture is in {}", report.display());
    live(repo, options, &folder)
}

/// The same history, row by row through `tidegate up`, at a pace that a person can follow on the page; then it serves on.
fn live(repo: &Repo, options: &Options, folder: &Path) -> Result<()> {
    let state = folder.join("state");
    if state.exists() {
        std::fs::remove_dir_all(&state).with_context(|| format!("could not remove `{}`", state.display()))?;
    }
    let mut up = Command::new(repo.tidegate());
    up.current_dir(folder).args(["up", "--replay", if options.once { ONCE_ROWS_PER_SECOND } else { ROWS_PER_SECOND }]);
    if options.once {
        up.args(["--once", "--listen", "127.0.0.1:0"]);
    }
    eprintln!(
        "demo: now through a running host, {} days a second; open its page",
        if options.once { ONCE_ROWS_PER_SECOND } else { ROWS_PER_SECOND }
    );
    run(&mut up)
}

/// Builds the target, the plugins and the host, and lays out the demo folder; returns it.
pub fn prepare(repo: &Repo) -> Result<PathBuf> {
    setup::setup(repo)?;
    let built = plugins::plugins(repo)?;
    build_host(repo)?;
    let folder = repo.target.join("demo");
    let plugin_folder = folder.join("plugins");
    std::fs::create_dir_all(&plugin_folder).with_context(|| format!("could not create `{}`", plugin_folder.display()))?;
    for file in ["tidegate.toml", "weather.csv"] {
        copy(&repo.root.join("host/xtask/demo").join(file), &folder.join(file))?;
    }
    for plugin in &built {
        copy(&plugin.path, &plugin_folder.join(format!("{}.wasm", plugin.name)))?;
    }
    Ok(folder)
}

/// Builds the binary; cargo shows its own progress. The whole workspace is named, so that the dependencies have the features that
/// the tests build them with, and are built once.
pub fn build_host(repo: &Repo) -> Result<()> {
    eprintln!("host: building `tidegate`");
    run(repo.cargo().args(["build", "--workspace", "--bin", "tidegate"]))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("could not copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}
