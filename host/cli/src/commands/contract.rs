//! `tidegate contract infer`: what the columns of a source seem to be.

use std::sync::Arc;

use serde_json::json;
use tidegate_dataset::{InferOptions, infer as infer_contract, to_toml};
use tidegate_sandbox::Pull;
use tidegate_vocab::{Batch, Clock};

use super::{chosen, config};
use crate::args::{ContractCommand, Global};
use crate::compose::{self, clock::SystemClock};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Bytes that one pull of the sample asks for.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;

/// Reads the first rows of the source and prints the contract they suggest. Commits nothing.
///
/// # Errors
/// A [`Failure`] when the source fails or the rows do not suggest a contract.
pub fn contract(global: &Global, command: &ContractCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let ContractCommand::Infer { label, time, id, rows } = command;
    let config = config(global)?;
    config.check_files()?;
    let chosen = chosen(&config, global)?;
    compose::with_state(&config, async |state| {
        let sandbox = compose::sandbox(&config, state)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut plugins = compose::plugins(&config, chosen, &sandbox, &clock)?;
        let sample = sample(&mut plugins.source, *rows)?;
        let options = InferOptions { label: Some(label.clone()), id: id.clone(), time: time.clone() };
        let inferred = infer_contract(&sample, &options).map_err(|error| Failure::new(&error, error.hint()))?;
        for note in &inferred.notes {
            terminal.note(note);
        }
        let toml = to_toml(&inferred.contract, &chosen.id);
        terminal.result(|| toml.clone(), || json!({ "contract": inferred.contract, "toml": toml, "notes": inferred.notes }));
        Ok(Exit::Ok)
    })
}

/// The first `rows` rows of the source.
fn sample(source: &mut tidegate_pipeline::PluginStep<dyn tidegate_pipeline::SourcePort>, rows: u64) -> Result<Batch, Failure> {
    let failed = |error: tidegate_sandbox::CallError| Failure::new(&error, error.hint());
    let port = source.port.as_mut().ok_or_else(|| Failure::usage("the source is in use", "try again"))?;
    port.open(None).map_err(failed)?;
    let mut batches: Vec<Batch> = Vec::new();
    let mut have = 0;
    while have < rows {
        let wanted = u32::try_from(rows - have).unwrap_or(u32::MAX).min(65_536);
        match port.next(wanted, SAMPLE_BYTES_MAX).map_err(failed)? {
            Pull::Rows { rows, .. } => {
                have += rows.row_count() as u64;
                batches.push(rows);
            }
            Pull::Idle { .. } | Pull::Finished => break,
        }
    }
    let Some(first) = batches.first() else {
        return Err(Failure::usage("the source has no rows to infer a contract from", "the file is empty, or holds a header only"));
    };
    let schema = first.rows.schema();
    let joined = arrow::compute::concat_batches(&schema, batches.iter().map(|batch| &batch.rows));
    let joined = joined.map_err(|error| anyhow::Error::new(error).context("the source changed its columns between two pulls"))?;
    Ok(Batch { rows: joined, roles: first.roles.clone() })
}
