//! `tidegate quarantine`: the rows that were kept out, and what a person does about them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_dataset::{ShownRow, decode_raw, shown_rows};
use tidegate_pipeline::{CleanedAgain, Pipeline, PipelineError, Silent, clean_again, readmit as readmit_rows, readmitted_rows};
use tidegate_policy::GateRows;
use tidegate_store::{Blobs as _, MetaStore as _, StateFolder};
use tidegate_vocab::RawPart;

use super::{chosen, config, operator};
use crate::args::{Global, QuarantineCommand};
use crate::compose;
use crate::config::section::{grouped, shown};
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// Rows that `readmit` and `clean` name in what they print.
const ROWS_NAMED_MAX: usize = 20;
/// Rows of all ranges that `readmit` takes.
const ROWS_ASKED_MAX: u64 = 10_000;

/// Lists, shows, lets in or cleans again.
///
/// # Errors
/// A [`Failure`] that names the row and says why it stays out.
pub fn quarantine(global: &Global, command: &QuarantineCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    match command {
        QuarantineCommand::List { by, reason, limit } => {
            let wanted = |row: &KeptOut| by.as_ref().is_none_or(|by| *by == row.by) && reason.as_ref().is_none_or(|why| *why == row.reason);
            compose::with_state_to_read(&config, async |state| list(&config, chosen, state, wanted, *limit as usize, terminal).await)
        }
        QuarantineCommand::Show { row } => {
            compose::with_state_to_read(&config, async |state| show(&config, chosen, state, *row, terminal).await)
        }
        QuarantineCommand::Readmit { rows, reason } => {
            let asked = rows.iter().fold(0u64, |sum, range| sum.saturating_add(range.end() - range.start()).saturating_add(1));
            if asked > ROWS_ASKED_MAX {
                let text = format!("{} rows were named, at most {} go at once", grouped(asked), grouped(ROWS_ASKED_MAX));
                return Err(Failure::usage(text, "mend the cleaner's configuration, then `tidegate quarantine clean`"));
            }
            let rows: Vec<u64> = rows.iter().cloned().flatten().collect();
            let order = Order::Readmit { rows: rows.clone(), reason: reason.clone(), operator: operator() };
            cleaned(&config, chosen, order, terminal, async |pipeline, _| readmit_rows(pipeline, &rows, &operator(), reason).await)
        }
        QuarantineCommand::Clean => {
            let here = async |pipeline: &mut Pipeline, state: &StateFolder| clean_again(pipeline, &*state.meta).await;
            cleaned(&config, chosen, Order::CleanAgain, terminal, here)
        }
    }
}

/// Has rows cleaned again: by the running host if there is one, else here.
fn cleaned(
    config: &Config,
    chosen: &PipelineConfig,
    order: Order,
    terminal: &Terminal,
    here: impl AsyncFnOnce(&mut Pipeline, &StateFolder) -> Result<CleanedAgain, PipelineError>,
) -> Result<Exit, Failure> {
    let again = match compose::block_on(control::ask(config, &chosen.id, order))? {
        Some(Answer::CleanedAgain { again }) => again,
        Some(_) => return Err(control::misunderstood()),
        None => compose::with_state(config, async |state| {
            let mut pipeline = compose::pipeline(config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
            Ok(here(&mut pipeline, state).await?)
        })?,
    };
    show_again(&again, terminal);
    Ok(Exit::Ok)
}

/// A row that is kept out.
struct KeptOut {
    row: u64,
    by: String,
    reason: String,
}

/// The rows that the present chain keeps out, rising.
async fn kept_out(config: &Config, chosen: &PipelineConfig, state: &StateFolder) -> Result<Vec<KeptOut>, Failure> {
    let groups = state.meta.quarantined(&chosen.id, &compose::chain(config, chosen)?).await?;
    let rows = groups.into_iter().flat_map(|(_, group)| {
        let (by, reason) = (group.by, group.reason);
        group.rows.into_iter().map(move |row| KeptOut { row, by: by.clone(), reason: reason.clone() })
    });
    let mut rows: Vec<KeptOut> = rows.collect();
    rows.sort_by_key(|kept_out| kept_out.row);
    Ok(rows)
}

async fn list(
    config: &Config,
    chosen: &PipelineConfig,
    state: &StateFolder,
    wanted: impl Fn(&KeptOut) -> bool,
    limit: usize,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let rows: Vec<KeptOut> = kept_out(config, chosen, state).await?.into_iter().filter(|row| wanted(row)).collect();
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for row in &rows {
        *counts.entry((&row.by, &row.reason)).or_default() += 1;
    }
    let listed = &rows[..rows.len().min(limit)];
    let numbers: Vec<u64> = listed.iter().map(|row| row.row).collect();
    let seen: BTreeMap<u64, ShownRow> = shown_of(chosen, state, &numbers).await?.into_iter().map(|(row, (_, seen))| (row, seen)).collect();
    let text = || {
        if rows.is_empty() {
            return "no row is kept out\n".to_owned();
        }
        let counted = counts.iter().map(|((by, reason), count)| vec![(*by).to_owned(), (*reason).to_owned(), grouped(*count)]);
        let mut out = format!("{} rows are kept out\n", grouped(rows.len() as u64));
        out.push_str(&table(&["by", "reason", "rows"], counted.collect(), 2));
        let cells = listed.iter().map(|row| {
            let seen = seen.get(&row.row);
            let time = seen.and_then(|seen| seen.event_time).map_or_else(String::new, |time| time.to_string());
            let id = seen.and_then(|seen| seen.id.clone()).unwrap_or_default();
            let values = seen.map_or_else(String::new, |seen| values_text(&offending(chosen, row, seen)));
            vec![grouped(row.row), row.by.clone(), row.reason.clone(), time, id, values]
        });
        if !listed.is_empty() {
            out.push('\n');
            out.push_str(&table(&["row", "by", "reason", "time", "id", "values"], cells.collect(), 9));
        }
        if listed.len() < rows.len() {
            out.push_str(&format!("and {} more; `--limit`, `--by` and `--reason` choose\n", grouped((rows.len() - listed.len()) as u64)));
        }
        out
    };
    let value = || {
        let reasons: Vec<Value> = counts.iter().map(|((by, reason), count)| json!({ "by": by, "reason": reason, "rows": count })).collect();
        let rows_listed = listed.iter().map(|row| {
            let seen = seen.get(&row.row);
            let values: BTreeMap<String, Option<String>> =
                seen.map(|seen| offending(chosen, row, seen).into_iter().collect()).unwrap_or_default();
            let time = seen.and_then(|seen| seen.event_time).map(|time| time.to_string());
            let id = seen.and_then(|seen| seen.id.clone());
            json!({ "row": row.row, "by": row.by, "reason": row.reason, "time": time, "id": id, "values": values })
        });
        json!({ "quarantined": rows.len(), "reasons": reasons, "rows": rows_listed.collect::<Vec<_>>() })
    };
    terminal.result(text, value);
    Ok(Exit::Ok)
}

/// The cells that a reason is about: the column that it names, else the features.
fn offending(chosen: &PipelineConfig, row: &KeptOut, seen: &ShownRow) -> Vec<(String, Option<String>)> {
    let named = row.reason.split_once(':').map(|(_, column)| column);
    let is_named = |name: &String| named == Some(name.as_str());
    let by_name: Vec<_> = seen.cells.iter().filter(|(name, _)| is_named(name)).cloned().collect();
    if !by_name.is_empty() {
        return by_name;
    }
    let features: Vec<&str> = chosen.contract.features().collect();
    seen.cells.iter().filter(|(name, _)| features.contains(&name.as_str())).cloned().collect()
}

fn values_text(values: &[(String, Option<String>)]) -> String {
    let cell = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={}", shown(value)),
        None => format!("{name} is empty"),
    };
    values.iter().map(cell).collect::<Vec<_>>().join(", ")
}

/// Rows as their source gave them, by number. Rows that retention has let go of are not among them.
async fn shown_of(chosen: &PipelineConfig, state: &StateFolder, rows: &[u64]) -> Result<BTreeMap<u64, (RawPart, ShownRow)>, Failure> {
    let mut found = BTreeMap::new();
    let Some(first) = rows.iter().min() else { return Ok(found) };
    for part in state.meta.raw_parts(&chosen.id, *first).await? {
        let end = part.first_row + part.row_count;
        let own = rows.iter().filter(|row| (part.first_row..end).contains(row));
        let positions: Vec<u32> = own.filter_map(|row| u32::try_from(row - part.first_row).ok()).collect();
        if positions.is_empty() {
            continue;
        }
        let failed = |error: tidegate_dataset::DatasetError| Failure::new(&error, error.hint());
        let raw = decode_raw(&state.blobs.get(&part.digest).await?).map_err(failed)?;
        for row in shown_rows(&raw, &chosen.contract, part.polled_at, &positions).map_err(failed)? {
            found.insert(part.first_row + u64::from(row.position), (part.clone(), row));
        }
    }
    Ok(found)
}

async fn show(config: &Config, chosen: &PipelineConfig, state: &StateFolder, row: u64, terminal: &Terminal) -> Result<Exit, Failure> {
    let found = shown_of(chosen, state, &[row]).await?.remove(&row);
    let Some((part, seen)) = found else {
        let first = state.meta.raw_parts(&chosen.id, 0).await?.first().map_or(0, |part| part.first_row);
        let text = if row < first { format!("retention has let go of row {row}") } else { format!("there is no row {row}") };
        return Err(Failure::usage(text, "rows are numbered from 0 in order of ingest; `tidegate quarantine list` lists those kept out"));
    };
    let out = kept_out(config, chosen, state).await?.into_iter().find(|kept_out| kept_out.row == row);
    let said = readmitted_rows(&*state.meta, &chosen.id).await?.rows.remove(&row).unwrap_or_default();
    let fate = out.as_ref().map_or_else(|| "it is not kept out".to_owned(), |out| format!("kept out by {}: {}", out.by, out.reason));
    let text = || {
        let mut text = format!("row {row}: {fate}\n\n");
        let mut fact = |key: &str, value: String| text.push_str(&format!("  {key:10}  {value}\n"));
        fact("time", seen.event_time.map_or_else(|| "cannot be read".to_owned(), |time| time.to_string()));
        fact("id", seen.id.clone().unwrap_or_else(|| "none".to_owned()));
        fact("polled", part.polled_at.to_string());
        fact("part", format!("rows {} to {}, {}", part.first_row, part.first_row + part.row_count - 1, part.digest));
        for said in &said {
            fact("let in", format!("by {} at {}, against {}: {}", said.by, said.at, said.cleaner, said.reason));
        }
        text.push('\n');
        for (name, value) in &seen.cells {
            text.push_str(&format!("  {name:10}  {}\n", value.as_deref().map_or_else(|| "(empty)".to_owned(), shown)));
        }
        text
    };
    let value = || {
        let cells: serde_json::Map<String, Value> = seen.cells.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "row": row, "kept_out": out.as_ref().map(|out| json!({ "by": out.by, "reason": out.reason })),
            "time": seen.event_time.map(|time| time.to_string()), "id": seen.id, "polled_at": part.polled_at.to_string(),
            "part": part.digest, "let_in": said, "values": cells,
        })
    };
    terminal.result(text, value);
    Ok(Exit::Ok)
}

fn show_again(again: &CleanedAgain, terminal: &Terminal) {
    let named = |rows: &[u64]| {
        let some: Vec<String> = rows.iter().take(ROWS_NAMED_MAX).map(u64::to_string).collect();
        let more = if rows.len() > ROWS_NAMED_MAX {
            format!(" and {} more", grouped((rows.len() - ROWS_NAMED_MAX) as u64))
        } else {
            String::new()
        };
        format!("{}{more}", some.join(", "))
    };
    let text = || {
        let mut text = format!("{} parts were cleaned again, {} came out otherwise\n", grouped(again.parts), grouped(again.changed));
        if !again.rows_in.is_empty() {
            text.push_str(&format!("{} rows are in now: {}\n", grouped(again.rows_in.len() as u64), named(&again.rows_in)));
        }
        if !again.rows_out.is_empty() {
            let rows: Vec<u64> = again.rows_out.iter().map(|(row, ..)| *row).collect();
            text.push_str(&format!("{} rows of these parts stay out: {}\n", grouped(rows.len() as u64), named(&rows)));
        }
        text
    };
    let value = || {
        let out: Vec<Value> = again.rows_out.iter().map(|(row, by, reason)| json!({ "row": row, "by": by, "reason": reason })).collect();
        json!({ "parts": again.parts, "changed": again.changed, "rows_in": again.rows_in, "rows_out": out })
    };
    terminal.result(text, value);
}
