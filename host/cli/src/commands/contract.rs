//! `tidegate contract`: what the columns of a source seem to be, and what they were accepted to be.

use std::sync::Arc;

use serde_json::json;
use tidegate_dataset::{ContractDifference, InferOptions, contract_difference, infer as infer_contract, to_toml};
use tidegate_pipeline::{accept_contract, accepted_contract};
use tidegate_sandbox::Pull;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{Alias, Batch, Clock, VersionNo};

use super::{chosen, config, operator};
use crate::args::{ContractCommand, Global};
use crate::compose::{self, clock::SystemClock};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::control::{self, Answer, Command as Order};

/// Bytes that one pull of the sample asks for.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;
const NONE_YET: &str = "no contract has been accepted yet; the first `tidegate ingest` accepts the one in the settings\n";

/// Infers, shows, compares or accepts a contract.
///
/// # Errors
/// A [`Failure`] that says what went wrong.
pub fn contract(global: &Global, command: &ContractCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    match command {
        ContractCommand::Infer { label, time, id, rows } => {
            let options = InferOptions { label: Some(label.clone()), id: id.clone(), time: time.clone() };
            infer(&config, global, &options, *rows, terminal)
        }
        ContractCommand::Show => show(&config, global, terminal),
        ContractCommand::Diff => diff(&config, global, terminal),
        ContractCommand::Accept { reason } => accept(&config, global, reason.as_deref().unwrap_or("accepted by hand"), terminal),
    }
}

/// Reads the first rows of the source and prints the contract they suggest. Commits nothing.
fn infer(config: &Config, global: &Global, options: &InferOptions, rows: u64, terminal: &Terminal) -> Result<Exit, Failure> {
    config.check_files()?;
    let chosen = chosen(config, global)?;
    compose::with_state_to_read(config, async |state| {
        let sandbox = compose::sandbox(config, state)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut plugins = compose::plugins(config, chosen, &sandbox, &clock)?;
        let sample = sample(&mut plugins.source, rows)?;
        let inferred = infer_contract(&sample, options).map_err(|error| Failure::new(&error, error.hint()))?;
        for note in &inferred.notes {
            terminal.note(note);
        }
        let toml = to_toml(&inferred.contract, &chosen.id);
        terminal.result(|| toml.clone(), || json!({ "contract": inferred.contract, "toml": toml, "notes": inferred.notes }));
        Ok(Exit::Ok)
    })
}

fn show(config: &Config, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let chosen = chosen(config, global)?;
    compose::with_state_to_read(config, async |state| {
        let accepted = accepted_contract(&*state.meta, &chosen.id).await?;
        let text = || match &accepted {
            Some(contract) => to_toml(contract, &chosen.id),
            None => NONE_YET.to_owned(),
        };
        terminal.result(text, || json!({ "contract": accepted }));
        Ok(Exit::Ok)
    })
}

/// What the settings change about the accepted contract; exits with 0 when nothing.
fn diff(config: &Config, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let chosen = chosen(config, global)?;
    compose::with_state_to_read(config, async |state| {
        let accepted = accepted_contract(&*state.meta, &chosen.id).await?;
        let Some(accepted) = accepted else {
            terminal.result(|| NONE_YET.to_owned(), || json!({ "changed": null, "champion": null, "champion_answers": null }));
            return Ok(Exit::Ok);
        };
        let difference = contract_difference(&accepted, &chosen.contract);
        let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
        terminal.result(|| text(&difference, champion), || value(&difference, champion));
        Ok(Exit::Ok)
    })
}

fn accept(config: &Config, global: &Global, reason: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let chosen = chosen(config, global)?;
    let order = Order::AcceptContract { reason: reason.to_owned(), operator: operator() };
    let told = match compose::block_on(control::ask(config, &chosen.id, order))? {
        Some(Answer::Accepted { difference }) => Some(difference),
        Some(_) => return Err(control::misunderstood()),
        None => None,
    };
    let by_host = told.is_some();
    let show = async |state: &StateFolder| {
        let difference = match told {
            // The host accepts the contract that it was started with, which may not be what the settings say by now.
            Some(_) if accepted_contract(&*state.meta, &chosen.id).await?.as_ref() != Some(&chosen.contract) => {
                let text = "the contract in the settings was changed after the host was started, so the host cannot accept it";
                return Err(Failure::usage(text, "stop the host, run this again, and start the host"));
            }
            Some(difference) => difference,
            None => {
                let stores = compose::stores(state, Arc::new(SystemClock));
                accept_contract(&stores, &chosen.id, &chosen.contract, &operator(), reason).await?
            }
        };
        let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
        let is_new = !difference.is_empty();
        let verb = if is_new { "accepted" } else { "the contract in the settings is the accepted one" };
        terminal.result(
            || if is_new { format!("{verb}\n{}", text(&difference, champion)) } else { format!("{verb}\n") },
            || value(&difference, champion),
        );
        Ok(Exit::Ok)
    };
    if by_host { compose::with_state_to_read(config, show) } else { compose::with_state(config, show) }
}

fn text(difference: &ContractDifference, champion: Option<VersionNo>) -> String {
    if difference.is_empty() {
        return "the contract in the settings is the accepted one\n".to_owned();
    }
    let mut text: String = difference.lines.iter().map(|line| format!("{line}\n")).collect();
    match (champion, &difference.unanswerable) {
        (Some(champion), Some(why)) => text.push_str(&format!("the champion, {champion}, cannot answer such rows: {why}\n")),
        (Some(champion), None) => text.push_str(&format!("the champion, {champion}, answers such rows as before\n")),
        (None, _) => text.push_str("there is no champion yet\n"),
    }
    text
}

fn value(difference: &ContractDifference, champion: Option<VersionNo>) -> serde_json::Value {
    let answers = champion.map(|_| difference.unanswerable.is_none());
    json!({ "changed": difference.lines, "champion": champion, "champion_answers": answers, "why_not": difference.unanswerable })
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
