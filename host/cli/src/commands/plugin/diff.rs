//! `tidegate plugin diff`: two builds on the newest real batches of every pipeline that uses the plugin.

use std::sync::Arc;

use serde_json::json;
use tidegate_pipeline::{Pipeline, SampleSize, Silent};
use tidegate_policy::GateRows;
use tidegate_sandbox::Sandbox;
use tidegate_store::StateFolder;
use tidegate_vocab::Clock;

use super::found;
use crate::args::Global;
use crate::compose::clock::SystemClock;
use crate::compose::{self, Loaded};
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::shadow::{self, Difference, Side, Spot};
use crate::terminal::Terminal;

/// What is tried.
const SIZE: SampleSize = SampleSize { parts_max: 16, rows_max: 200_000 };

/// Shows what comes out differently.
///
/// # Errors
/// A [`Failure`] when a build does not load, or the new one fails on a batch.
pub fn diff(config: &Config, old: &str, new: &str, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    compose::with_state_to_read(config, async |state| {
        let sandbox = compose::sandbox(config, state)?;
        let old = found(config, &sandbox, old)?;
        // The new build is asked in the name of the old one: with its settings, and what it was lent.
        let new = compose::load_component(&sandbox, old.plugin.name(), found(config, &sandbox, new)?.component)?;
        let mut differences = Vec::new();
        let chosen = global.pipeline.as_deref();
        for pipeline in config.pipelines.iter().filter(|pipeline| chosen.is_none_or(|chosen| pipeline.id.as_str() == chosen)) {
            if pipeline.plugins().any(|(_, used)| used.plugin == *old.plugin.name()) {
                differences.extend(of_pipeline(config, pipeline, state, &sandbox, &old, &new).await?);
            }
        }
        if differences.is_empty() {
            let text =
                format!("there is nothing to try `{}` on: no pipeline uses it as a cleaner or evaluator and has rows", old.plugin.name());
            return Err(Failure::usage(text, "ingest some rows first"));
        }
        let text = || differences.iter().map(|difference| difference.sentence() + "\n").collect();
        terminal.result(text, || json!(differences));
        Ok(Exit::Ok)
    })
}

async fn of_pipeline(
    config: &Config,
    pipeline: &PipelineConfig,
    state: &StateFolder,
    sandbox: &Sandbox,
    old: &Loaded,
    new: &Loaded,
) -> Result<Vec<Difference>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let plugins = compose::plugins(config, pipeline, sandbox, &clock)?;
    let settings = compose::settings(pipeline, GateRows::Arriving, config.plugins.failures);
    let mut open = Pipeline::open(settings, plugins, compose::stores(state, Arc::clone(&clock)), Box::new(Silent)).await?;
    let mut differences = Vec::new();
    for spot in Spot::of(pipeline, old.plugin.name()).into_iter().filter(|spot| *spot != Spot::Source) {
        let samples = shadow::samples(&mut open, spot, SIZE).await?;
        let sides = [old, new].map(|loaded| Side { config, loaded });
        differences.extend(shadow::tried(pipeline, spot, sides, &clock, &samples)?);
    }
    Ok(differences)
}
