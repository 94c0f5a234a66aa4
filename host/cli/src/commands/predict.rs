//! `tidegate predict`: a version answers the rows of a file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use serde_json::json;
use tidegate_dataset::{LateLabels, PartCache, PartReader, Typed, typed};
use tidegate_pipeline::{CleanRows, Stores, chain_of};
use tidegate_sandbox::Pull;
use tidegate_serve::Arm;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::limits::{POLL_BYTES_MAX, POLL_ROWS_MAX};
use tidegate_vocab::{Alias, Batch, Clock, Contract, Digest, Timestamp, VersionNo};

use super::{chosen, config};
use crate::args::{Global, Predict};
use crate::compose::{self, clock::SystemClock};
use crate::config::section::grouped;
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::load_arm;

/// Answers every row of a file, through the cleaners that requests pass through.
///
/// # Errors
/// A [`Failure`] when nobody can answer, the source does not read the file, or its columns are not the contract's.
pub fn predict(global: &Global, options: &Predict, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let number = version(state, chosen, options.number).await?;
        let sandbox = compose::sandbox(&config, state)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stores = compose::stores(state, Arc::clone(&clock));
        let file_config = reading(&config, chosen, &options.file)?;
        let mut plugins = compose::plugins(&file_config, chosen, &sandbox, &clock)?;
        let past = tokio::sync::watch::Sender::new(Arc::new(Batch::new(Vec::new()).map_err(|error| Failure::new(&error, None))?));
        let arm = load_arm(&Arc::new(config.clone()), &chosen.id, &stores, &sandbox, number, past.subscribe()).await?;
        past.send_replace(Arc::new(earlier_rows(chosen, &stores, chain_of(&plugins, &chosen.contract), &arm).await?));
        // A version answers by the contract that it learned, whatever the settings have come to since.
        let mut contract = arm.model.manifest().contract.clone();
        // A file that is to be answered need not know the truth.
        contract.label.by_id = true;
        let out = output(options.output.as_deref())?;
        let told = tokio::task::block_in_place(|| {
            let source = plugins.source.port.as_mut().ok_or_else(|| Failure::usage("the source is in use", "try again"))?;
            answer_all(&mut **source, &arm, &contract, clock.now(), out)
        })?;
        if options.output.is_some() {
            let text = || format!("{} rows answered by {number}, {} left out\n", grouped(told.answered), grouped(told.left_out));
            terminal.result(text, || json!({ "version": number, "answered": told.answered, "left_out": told.left_out }));
        }
        Ok(Exit::Ok)
    })
}

/// What the version sees of committed rows; none where it looks at none.
pub(super) async fn earlier_rows(chosen: &PipelineConfig, stores: &Stores, chain: Digest, arm: &Arm) -> Result<Batch, Failure> {
    let lags = &arm.model.manifest().spec.lags;
    if lags.is_empty() {
        return Batch::new(Vec::new()).map_err(|error| Failure::new(&error, None));
    }
    let late: LateLabels = stores.feedback.labels_of_rows(&chosen.id, 0, Timestamp(i64::MAX)).await?.into_iter().collect();
    let (cache, parts) = (PartCache::new(0), stores.meta.clean_parts(&chosen.id, &chain, 0).await?);
    // A cleaned part may have lost its last rows; the raw one has not.
    let newest = parts.last().map_or(0, |part| part.first_row);
    let end = stores.meta.raw_parts(&chosen.id, newest).await?.first().map_or(0, |part| part.first_row + part.row_count);
    let reader = PartReader { blobs: &*stores.blobs, cache: &cache, late: &late };
    let rows = CleanRows { pipeline: &chosen.id, chain, contract: &chosen.contract, meta: &*stores.meta, reader };
    Ok(rows.recent(lags, end, stores.clock.now()).await?)
}

async fn version(state: &StateFolder, chosen: &PipelineConfig, named: Option<VersionNo>) -> Result<VersionNo, Failure> {
    let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
    let none = || Failure::usage("there is no champion yet", "`tidegate run` trains one; `--by VERSION` asks another version");
    named.or(champion).ok_or_else(none)
}

/// The settings with `file` in place of what the pipeline's source reads.
fn reading(config: &Config, chosen: &PipelineConfig, file: &Path) -> Result<Config, Failure> {
    let mut config = config.clone();
    let input = chosen.source.config.get("input").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let Some(place) = config.inputs.get_mut(&input) else {
        let text = format!("the source `{}` reads no file, so it cannot read `{}`", chosen.source.plugin, file.display());
        return Err(Failure::usage(text, "send the rows over HTTP to a running host"));
    };
    drop(super::open(file)?);
    place.path = file.to_owned();
    Ok(config)
}

fn output(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        Some(path) => Box::new(super::create(path)?),
        None => Box::new(std::io::stdout().lock()),
    })
}

#[derive(Default)]
struct Told {
    answered: u64,
    left_out: u64,
}

fn answer_all(
    source: &mut dyn tidegate_pipeline::SourcePort,
    arm: &Arm,
    contract: &Contract,
    now: Timestamp,
    out: Box<dyn Write>,
) -> Result<Told, Failure> {
    let failed = |error: tidegate_sandbox::CallError| Failure::new(&error, error.hint());
    let written = |error: csv::Error| Failure::from(anyhow::Error::new(error).context("could not write the answers"));
    let mut out = csv::Writer::from_writer(out);
    let probabilities = contract.label.classes.iter().map(|class| format!("probability:{class}"));
    let header = ["row".to_owned(), "id".to_owned(), contract.label.column.clone()].into_iter();
    out.write_record(header.chain(probabilities).chain(["left_out".to_owned()])).map_err(written)?;
    source.open(None).map_err(failed)?;
    let (mut told, mut first) = (Told::default(), 0);
    loop {
        let rows = match source.next(POLL_ROWS_MAX, POLL_BYTES_MAX).map_err(failed)? {
            Pull::Rows { rows, .. } if rows.row_count() == 0 => continue,
            Pull::Rows { rows, .. } => rows,
            Pull::Idle { .. } | Pull::Finished => break,
        };
        let typed = typed(&rows, contract, now).map_err(|error| {
            let hint = error.hint();
            Failure::new(&error, hint)
        })?;
        for line in lines(&typed, arm, contract, rows.row_count(), now)? {
            told.answered += u64::from(line.left_out.is_none());
            told.left_out += u64::from(line.left_out.is_some());
            let number = (first + line.row).to_string();
            let cells = [number, line.id, line.class].into_iter().chain(line.probabilities).chain([line.left_out.unwrap_or_default()]);
            out.write_record(cells).map_err(written)?;
        }
        first += rows.row_count();
    }
    out.flush().map_err(|error| written(error.into()))?;
    Ok(told)
}

struct Line {
    row: usize,
    id: String,
    class: String,
    probabilities: Vec<String>,
    left_out: Option<String>,
}

/// One line a row of the file, in its order.
fn lines(typed: &Typed, arm: &Arm, contract: &Contract, row_count: usize, now: Timestamp) -> Result<Vec<Line>, Failure> {
    let mut left_out: BTreeMap<usize, String> = typed.quarantined.iter().map(|(row, why)| (*row as usize, why.clone())).collect();
    // The position in the file of each row that is still there.
    let mut places: Vec<usize> = typed.row_index.iter().map(|row| *row as usize).collect();
    let mut rows: Batch = typed.rows.clone();
    for cleaner in &arm.cleaners {
        let cleaned = cleaner.clean(&rows).map_err(|why| Failure::from(anyhow::anyhow!(why)))?;
        let dropped: BTreeMap<usize, String> = cleaned.dropped.into_iter().collect();
        left_out.extend(dropped.iter().map(|(at, why)| (places[*at], format!("{}: {why}", cleaner.name()))));
        places = places.iter().enumerate().filter(|(at, _)| !dropped.contains_key(at)).map(|(_, place)| *place).collect();
        rows = cleaned.rows;
    }
    let lagged = arm.lagged(&rows, now).map_err(|why| Failure::from(anyhow::anyhow!(why)))?;
    let predicted = arm.model.predict(lagged.as_ref().unwrap_or(&rows)).map_err(|error| Failure::new(&error, None))?;
    let classes = predicted.classes.len();
    let ids = contract
        .id
        .as_deref()
        .and_then(|id| typed.rows.column(id))
        .and_then(|ids| {
            let text = arrow::compute::cast(ids, &arrow::datatypes::DataType::Utf8).ok()?;
            let text = text.as_string::<i32>();
            Some(
                typed
                    .row_index
                    .iter()
                    .enumerate()
                    .map(|(at, row)| (*row as usize, if text.is_valid(at) { text.value(at).to_owned() } else { String::new() }))
                    .collect::<BTreeMap<usize, String>>(),
            )
        })
        .unwrap_or_default();
    let answered: BTreeMap<usize, usize> = places.iter().enumerate().map(|(at, place)| (*place, at)).collect();
    let line = |row: usize| {
        let id = ids.get(&row).cloned().unwrap_or_default();
        match answered.get(&row) {
            Some(at) => Line {
                row,
                id,
                class: predicted.classes[predicted.predicted[*at] as usize].clone(),
                probabilities: predicted.probabilities[at * classes..(at + 1) * classes].iter().map(f64::to_string).collect(),
                left_out: None,
            },
            None => {
                let why = left_out.get(&row).cloned().unwrap_or_else(|| "left out".to_owned());
                Line { row, id, class: String::new(), probabilities: vec![String::new(); classes], left_out: Some(why) }
            }
        }
    };
    Ok((0..row_count).map(line).collect())
}
