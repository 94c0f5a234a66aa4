//! `tidegate gc`: lets go of what is old, over the budget, or garbage.

use serde_json::json;
use tidegate_pipeline::Collected;

use super::config;
use crate::args::Global;
use crate::compose::{self, Room};
use crate::config::section::grouped;
use crate::config::value::show_bytes;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::control::{self, Answer, Command as Order};

/// Collects, or says what a collection would do.
///
/// # Errors
/// A [`Failure`] when the state is over its budget afterwards, or cannot be read or written.
pub fn gc(global: &Global, dry_run: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let room = if dry_run {
        compose::with_state_to_read(&config, async |state| compose::collect(&config, state, true).await)?
    } else {
        let pipeline = config.pipelines.first().map(|pipeline| pipeline.id.clone());
        let asked = pipeline.map(|pipeline| compose::block_on(control::ask(&config, &pipeline, Order::Collect))).transpose()?.flatten();
        match asked {
            Some(Answer::Collected { room }) => *room,
            Some(_) => return Err(control::misunderstood()),
            None => compose::with_state(&config, async |state| compose::collect(&config, state, false).await)?,
        }
    };
    terminal.result(|| text(&room, dry_run), || value(&room, dry_run));
    if let Some(bytes_max) = config.store.disk_bytes_max.filter(|_| room.collected.over_budget) {
        return Err(tidegate_pipeline::PipelineError::OverBudget { bytes: room.collected.bytes_kept, bytes_max }.into());
    }
    Ok(Exit::Ok)
}

fn text(room: &Room, dry_run: bool) -> String {
    let Room { collected, compiled } = room;
    let Collected { rows, parts, chains, versions, blobs, bytes, bytes_young, bytes_kept, .. } = collected;
    let (would, go) = if dry_run { ("would let", "would go") } else { ("let", "went") };
    let mut out = format!("{would} go of {} rows in {} parts\n", grouped(*rows), grouped(*parts));
    if *chains > 0 {
        out.push_str(&format!("the cleaned parts of {} former cleaner chains {go}\n", grouped(*chains)));
    }
    if !versions.is_empty() {
        let names: Vec<String> = versions.iter().map(|(pipeline, number)| format!("{pipeline} {number}")).collect();
        out.push_str(&format!("the files of {} {go}; their story stays\n", names.join(", ")));
    }
    out.push_str(&format!("{} files {go}, {}\n", grouped(*blobs), show_bytes(*bytes)));
    if *bytes_young > 0 {
        out.push_str(&format!("{} more are too young to go, and go next time\n", show_bytes(*bytes_young)));
    }
    if compiled.entries > 0 {
        out.push_str(&format!("{} compiled plugins {go}, {}\n", grouped(compiled.entries), show_bytes(compiled.bytes)));
    }
    out.push_str(&format!("{} are needed\n", show_bytes(*bytes_kept)));
    out
}

fn value(room: &Room, dry_run: bool) -> serde_json::Value {
    let Room { collected, compiled } = room;
    let versions: Vec<_> = collected.versions.iter().map(|(pipeline, number)| json!({ "pipeline": pipeline, "version": number })).collect();
    json!({
        "dry_run": dry_run, "rows": collected.rows, "parts": collected.parts, "chains": collected.chains, "versions": versions,
        "files": collected.blobs, "bytes": collected.bytes, "bytes_young": collected.bytes_young, "bytes_kept": collected.bytes_kept,
        "over_budget": collected.over_budget, "compiled": compiled.entries, "compiled_bytes": compiled.bytes,
    })
}
