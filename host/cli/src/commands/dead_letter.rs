//! `tidegate dead-letter`: the batches that were set aside, and what a person does about them.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_pipeline::{
    Bundle, DeadLetter, DeadLetters, DroppedRows, PipelineError, Retried, Silent, dead_letters, drop_dead_letter, retry_dead_letters,
};
use tidegate_policy::GateRows;
use tidegate_store::{Blobs as _, StateFolder};

use super::{chosen, config, operator};
use crate::args::{DeadLetterCommand, Global};
use crate::compose;
use crate::config::section::grouped;
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// Characters of an error that a table shows.
const ERROR_CHARS_MAX: usize = 80;

/// Lists, shows, retries or gives up.
///
/// # Errors
/// A [`Failure`] that says what is not there.
pub fn dead_letter(global: &Global, command: &DeadLetterCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    match command {
        DeadLetterCommand::List => compose::with_state_to_read(&config, async |state| list(chosen, state, terminal).await),
        DeadLetterCommand::Show { number, bundle } => {
            compose::with_state_to_read(&config, async |state| show(chosen, state, *number, bundle.as_deref(), terminal).await)
        }
        DeadLetterCommand::Retry { number } => retry(&config, chosen, *number, terminal),
        DeadLetterCommand::Drop { number, reason } => drop_rows(&config, chosen, *number, reason, terminal),
    }
}

async fn list(chosen: &PipelineConfig, state: &StateFolder, terminal: &Terminal) -> Result<Exit, Failure> {
    let letters = dead_letters(&*state.meta, &chosen.id).await?;
    terminal.result(|| list_text(&letters), || list_value(&letters));
    Ok(Exit::Ok)
}

fn list_text(letters: &DeadLetters) -> String {
    let row = |letter: &DeadLetter| {
        let error: String = letter.error.chars().take(ERROR_CHARS_MAX).collect();
        let rows = rows_text(letter.first_row, letter.row_count);
        vec![letter.number.to_string(), rows, letter.plugin.to_string(), letter.digest.short(), letter.outcome.clone(), error]
    };
    let mut out = match letters.waiting.is_empty() {
        true => "no batch was set aside\n".to_owned(),
        false => table(&["number", "rows", "cleaner", "digest", "outcome", "error"], letters.waiting.iter().map(row).collect(), 9),
    };
    for dropped in &letters.dropped {
        let rows = rows_text(dropped.first_row, dropped.row_count);
        out.push_str(&format!("rows {rows} were given up by {}: {}\n", dropped.by, dropped.reason));
    }
    out
}

fn list_value(letters: &DeadLetters) -> Value {
    json!({
        "waiting": letters.waiting.iter().map(value_of).collect::<Vec<_>>(),
        "dropped": letters.dropped.iter().map(dropped_value).collect::<Vec<_>>(),
    })
}

fn value_of(letter: &DeadLetter) -> Value {
    json!({
        "number": letter.number, "first_row": letter.first_row, "rows": letter.row_count, "plugin": letter.plugin,
        "digest": letter.digest, "at": letter.at.to_string(), "outcome": letter.outcome, "error": letter.error,
    })
}

fn dropped_value(dropped: &DroppedRows) -> Value {
    json!({
        "first_row": dropped.first_row, "rows": dropped.row_count, "by": dropped.by, "reason": dropped.reason,
        "at": dropped.at.to_string(),
    })
}

fn rows_text(first_row: u64, row_count: u64) -> String {
    format!("{} to {}", grouped(first_row), grouped(first_row + row_count - 1))
}

/// The replay bundle of a dead letter, whole.
///
/// # Errors
/// A [`Failure`] when there is no such letter, or its files are gone.
pub async fn bundle_of(chosen: &PipelineConfig, state: &StateFolder, number: u64) -> Result<Bundle, Failure> {
    let letters = dead_letters(&*state.meta, &chosen.id).await?;
    let letter = letters.waiting.into_iter().find(|letter| letter.number == number);
    let letter = letter.ok_or_else(|| Failure::from(PipelineError::NoDeadLetter { number }))?;
    let kept = Bundle::decode(&state.blobs.get(&letter.bundle).await?).map_err(|error| Failure::new(&error, None))?;
    Ok(Bundle { component: state.blobs.get(&letter.component).await?, ..kept })
}

async fn show(
    chosen: &PipelineConfig,
    state: &StateFolder,
    number: u64,
    file: Option<&Path>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let bundle = bundle_of(chosen, state, number).await?;
    if let Some(path) = file {
        let failed = |error: std::io::Error| {
            Failure::from(anyhow::Error::new(error).context(format!("could not write the bundle to `{}`", path.display())))
        };
        let mut out = super::create(path)?;
        out.write_all(&bundle.encode()).and_then(|()| out.sync_all()).map_err(failed)?;
    }
    let call = &bundle.call;
    let written = file.map(|path| path.display().to_string());
    let text = || {
        let mut out = format!(
            "rows {} of `{}`, in cleaner `{}` ({}) at {}\n{}: {}\n",
            rows_text(call.first_row, call.row_count),
            call.pipeline,
            call.plugin,
            call.digest.short(),
            call.at,
            call.outcome,
            call.error,
        );
        out.push_str(&last_words_text(&call.log, &call.backtrace));
        match &written {
            Some(path) => out.push_str(&format!("\nits replay bundle is in `{path}`\n")),
            None => out.push_str(&format!("\n`tidegate plugin replay {number}` makes the call again\n")),
        }
        out
    };
    terminal.result(text, || json!({ "number": number, "call": call, "bundle": written }));
    Ok(Exit::Ok)
}

/// The log and the backtrace of a failed call.
pub fn last_words_text(log: &[(String, String)], backtrace: &[String]) -> String {
    let mut out = String::new();
    if !log.is_empty() {
        out.push_str("\nits log\n");
        log.iter().for_each(|(level, message)| out.push_str(&format!("  {level:5} {message}\n")));
    }
    if !backtrace.is_empty() {
        out.push_str("\nwhere it stopped, innermost first\n");
        backtrace.iter().for_each(|frame| out.push_str(&format!("  {frame}\n")));
    }
    out
}

fn retry(config: &Config, chosen: &PipelineConfig, number: Option<u64>, terminal: &Terminal) -> Result<Exit, Failure> {
    let letters = match compose::block_on(control::ask(config, &chosen.id, Order::RetryDeadLetters { number }))? {
        Some(Answer::Retried { letters }) => letters,
        Some(_) => return Err(control::misunderstood()),
        None => compose::with_state(config, async |state| {
            let mut pipeline = compose::pipeline(config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
            Ok(retry_dead_letters(&mut pipeline, number).await?)
        })?,
    };
    let line = |letter: &Retried| {
        let rows = rows_text(letter.first_row, letter.row_count);
        match &letter.error {
            None => format!("{}: rows {rows} are in their place\n", letter.number),
            Some(why) => format!("{}: rows {rows} stay aside: {why}\n", letter.number),
        }
    };
    let text = || if letters.is_empty() { "no batch was set aside\n".to_owned() } else { letters.iter().map(line).collect() };
    terminal.result(text, || json!(letters));
    Ok(if letters.iter().all(|letter| letter.error.is_none()) { Exit::Ok } else { Exit::Error })
}

fn drop_rows(config: &Config, chosen: &PipelineConfig, number: u64, reason: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let order = Order::DropDeadLetter { number, reason: reason.to_owned(), operator: operator() };
    let dropped = match compose::block_on(control::ask(config, &chosen.id, order))? {
        Some(Answer::Dropped { dropped }) => dropped,
        Some(_) => return Err(control::misunderstood()),
        None => compose::with_state(config, async |state| {
            let mut pipeline = compose::pipeline(config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
            Ok(drop_dead_letter(&mut pipeline, number, &operator(), reason).await?)
        })?,
    };
    let text = || format!("rows {} are given up\n", rows_text(dropped.first_row, dropped.row_count));
    terminal.result(text, || dropped_value(&dropped));
    Ok(Exit::Ok)
}
