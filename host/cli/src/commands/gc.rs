//! `tidegate gc`: lets go of what is old, over the budget, or garbage.

use serde_json::json;
use tidegate_pipeline::Collected;

use super::config;
use crate::args::Global;
use crate::compose::{self, Room};
use crate::config::section::grouped;
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
    out.push_str(&format!("{} files {go}, {}\n", grouped(*blobs), size(*bytes)));
    if *bytes_young > 0 {
        out.push_str(&format!("{} more are too young to go, and go next time\n", size(*bytes_young)));
    }
    if compiled.entries > 0 {
        out.push_str(&format!("{} compiled plugins {go}, {}\n", grouped(compiled.entries), size(compiled.bytes)));
    }
    out.push_str(&format!("{} are needed\n", size(*bytes_kept)));
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

/// Bytes as people read them: `287.1 kB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let check = |bytes: u64, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0.0 kB");
        check(287_084, "287.1 kB");
        check(999_949, "999.9 kB");
        check(999_950, "1.0 MB");
        check(20 << 30, "21.5 GB");
        check(u64::MAX, "18446.7 PB");
    }
}
