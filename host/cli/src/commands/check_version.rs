//! `tidegate check-version`: loads a version in a process that has never seen it, and asks it rows that are on record.
//!
//! A running host starts itself with this before a version is rolled out: what does not load, or does not answer, fails here and not
//! in front of users.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_dataset::{LateLabels, PartCache, PartReader};
use tidegate_model::Lags;
use tidegate_pipeline::{CleanRows, Stores, chain_of};
use tidegate_serve::Arm;
use tidegate_vocab::{Batch, Clock, Contract, Role, VersionNo};
use tokio::time::Instant;

use super::predict::earlier_rows;
use super::{chosen, config};
use crate::args::Global;
use crate::compose::{self, clock::SystemClock};
use crate::config::PipelineConfig;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::load_arm;

/// Rows that a version is asked, one by one.
const ROWS_MAX: usize = 64;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Rows answered.
    pub rows: usize,
    /// Milliseconds from nothing to a version that can be asked.
    pub load_ms: f64,
    /// Milliseconds that the slowest row took.
    pub slowest_ms: f64,
}

/// Loads a version and asks it.
///
/// # Errors
/// A [`Failure`] when it does not load, or does not answer a row.
pub fn check_version(global: &Global, number: VersionNo, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let began = Instant::now();
        let sandbox = compose::sandbox(&config, state)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stores = compose::stores(state, Arc::clone(&clock));
        let past = tokio::sync::watch::Sender::new(Arc::new(Batch::new(Vec::new()).map_err(|error| Failure::new(&error, None))?));
        let arm = load_arm(&Arc::new(config.clone()), &chosen.id, &stores, &sandbox, number, past.subscribe()).await?;
        let load_ms = millis(began);
        let plugins = compose::plugins(&config, chosen, &sandbox, &clock)?;
        let chain = chain_of(&plugins, &chosen.contract);
        past.send_replace(Arc::new(earlier_rows(chosen, &stores, chain, &arm).await?));
        let rows = on_record(chosen, &stores, chain, &arm.model.manifest().contract).await?;
        let slowest_ms = tokio::task::block_in_place(|| ask(&arm, &rows, &*clock))?;
        let found = Checked { rows: rows.row_count(), load_ms, slowest_ms };
        let text = || format!("{number} answers {} rows, loaded in {load_ms:.0} ms, the slowest row in {slowest_ms:.1} ms\n", found.rows);
        terminal.result(text, || serde_json::json!(found));
        Ok(Exit::Ok)
    })
}

/// The newest cleaned rows, with the columns that a request has.
async fn on_record(chosen: &PipelineConfig, stores: &Stores, chain: tidegate_vocab::Digest, learned: &Contract) -> Result<Batch, Failure> {
    let (cache, late) = (PartCache::new(0), LateLabels::default());
    let reader = PartReader { blobs: &*stores.blobs, cache: &cache, late: &late };
    let parts = stores.meta.raw_parts(&chosen.id, 0).await?;
    let end = parts.last().map_or(0, |part| part.first_row + part.row_count);
    let rows = CleanRows { pipeline: &chosen.id, chain, contract: &chosen.contract, meta: &*stores.meta, reader };
    let rows = rows.recent(&Lags::default(), end, stores.clock.now()).await?;
    let rows = rows.slice(rows.row_count().saturating_sub(ROWS_MAX), rows.row_count().min(ROWS_MAX));
    let features: Vec<&str> = learned.features().collect();
    let seen = rows.columns().filter(|(name, ..)| features.contains(name));
    let columns = seen.map(|(name, _, array)| (name.to_owned(), Role::Feature, Arc::clone(array))).collect();
    Batch::new(columns).map_err(|error| Failure::new(&error, None))
}

/// The milliseconds that the slowest row took.
fn ask(arm: &Arm, rows: &Batch, clock: &dyn Clock) -> Result<f64, Failure> {
    let mut slowest: f64 = 0.0;
    for row in 0..rows.row_count() {
        let began = Instant::now();
        let mut asked = rows.slice(row, 1);
        for cleaner in &arm.cleaners {
            asked = cleaner.clean(&asked).map_err(|why| unanswered(row, &format!("cleaner `{}` failed: {why}", cleaner.name())))?.rows;
        }
        let lagged = arm.lagged(&asked, clock.now()).map_err(|why| unanswered(row, &why))?;
        let predicted = arm.model.predict(lagged.as_ref().unwrap_or(&asked)).map_err(|error| Failure::new(&error, None))?;
        if predicted.probabilities.iter().any(|share| !share.is_finite()) {
            return Err(unanswered(row, "a probability is not a number"));
        }
        slowest = slowest.max(millis(began));
    }
    Ok(slowest)
}

fn unanswered(row: usize, why: &str) -> Failure {
    Failure::from(anyhow::anyhow!("row {row} of those on record could not be answered: {why}"))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
