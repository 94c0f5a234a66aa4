//! `tidegate plugin test`: is this plugin one that a host can trust to do the same thing tomorrow, whatever it is given?

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use arrow::array::UInt32Array;
use serde_json::{Value, json};
use tidegate_sandbox::{CallError, PluginKind, Sandbox, StateKind};
use tidegate_vocab::{Batch, StateEntries};

use super::case::{Asked, Case};
use super::golden::{self, Golden};
use super::hostile;
use super::project::Project;
use super::runner::{self, Handle, Runner};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Rows that a cleaner is given one by one.
const SINGLE_ROWS_MAX: usize = 64;
const MIB: u64 = 1 << 20;
/// Log lines of a failed check that are shown.
const LOG_LINES_MAX: usize = 8;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Fail,
    /// Good to know; nothing to pass or fail.
    Note,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Fail => "FAIL",
            Verdict::Note => "note",
        }
    }
}

struct Check {
    name: String,
    verdict: Verdict,
    detail: String,
    log: Vec<String>,
}

struct Checks<'a> {
    runner: &'a Runner,
    sandbox: &'a Sandbox,
    /// The most linear memory that one instance was seen to hold after a call, in bytes.
    memory_bytes: u64,
    done: Vec<Check>,
}

/// Builds and tests a plugin.
///
/// # Errors
/// A [`Failure`] when it cannot be built or loaded, or a file of its tests cannot be used.
pub fn test(project: &Project, component: Option<&Path>, update: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let bytes = component_of(project, component)?;
    let sandbox = runner::sandbox()?;
    let start = Instant::now();
    let plugin = runner::load_into(&sandbox, &project.name, &bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    let runner = Runner::new(plugin, golden::config(project)?);
    let mut checks = Checks { runner: &runner, sandbox: &sandbox, memory_bytes: 0, done: Vec::new() };
    let (kib, kind) = (bytes.len().div_ceil(1024), runner.plugin.kind());
    // The golden batches are read for the kind in the folder's manifest; a component is of the kind in its own.
    let is_same = kind == project.manifest.kind;
    let interface = &runner.plugin.manifest().interface;
    let said = if is_same { String::new() } else { format!("; `plugin.toml` says {}", project.manifest.kind) };
    let verdict = if is_same { Verdict::Ok } else { Verdict::Fail };
    checks.add("loads", verdict, format!("{kind}, interface {interface}, {kib} KiB, compiled in {seconds:.1} s{said}"));
    let goldens = golden::all(project)?;
    if is_same && checks.starts() {
        checks.golden(&goldens, update)?;
        checks.rows(&goldens);
        checks.source(&goldens);
        let (held, most) = (checks.memory_bytes.div_ceil(MIB), kind.default_limits().memory_bytes_max / MIB);
        checks.add("memory", Verdict::Note, format!("an instance held {held} MiB at most, of {most} that it may"));
    }
    let failed = checks.done.iter().filter(|check| check.verdict == Verdict::Fail).count();
    terminal.result(|| text(&checks.done, failed), || value(project, &checks.done, failed));
    Ok(if failed == 0 { Exit::Ok } else { Exit::Error })
}

/// The bytes to test: of the named file, else built now.
///
/// # Errors
/// A [`Failure`] when it cannot be read or built.
pub fn component_of(project: &Project, component: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match component {
        None => super::build::component(project),
        Some(path) => Ok(std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?),
    }
}

fn text(checks: &[Check], failed: usize) -> String {
    let mut out = String::new();
    for check in checks {
        out.push_str(&format!("{:4}  {}: {}\n", check.verdict.word(), check.name, check.detail));
        check.log.iter().for_each(|line| out.push_str(&format!("      log {line}\n")));
    }
    let passed = checks.iter().filter(|check| check.verdict == Verdict::Ok).count();
    out.push_str(&format!("\n{passed} passed, {failed} failed\n"));
    out
}

fn value(project: &Project, checks: &[Check], failed: usize) -> Value {
    let check = |check: &Check| json!({ "check": check.name, "verdict": check.verdict.word().to_lowercase(), "detail": check.detail, "log": check.log });
    json!({ "plugin": project.name, "failed": failed, "checks": checks.iter().map(check).collect::<Vec<_>>() })
}

impl Checks<'_> {
    fn add(&mut self, name: impl Into<String>, verdict: Verdict, detail: impl Into<String>) {
        let mut log = self.runner.log();
        if verdict != Verdict::Fail {
            log.clear();
        }
        log.truncate(LOG_LINES_MAX);
        self.done.push(Check { name: name.into(), verdict, detail: detail.into(), log });
    }

    fn starts(&mut self) -> bool {
        let started = self.runner.start(None);
        self.memory_bytes = self.memory_bytes.max(self.sandbox.memory_bytes());
        match &started {
            Ok(_) => self.add("starts", Verdict::Ok, "takes `tests/config.json`, and its self-test passes"),
            Err(error) => self.add("starts", Verdict::Fail, error.to_string()),
        }
        started.is_ok()
    }

    fn golden(&mut self, goldens: &[Golden], update: bool) -> Result<(), Failure> {
        if goldens.is_empty() {
            self.add("golden batches", Verdict::Note, "none; write `tests/golden/NAME.input.json`, then run with `--update`");
        }
        for golden in goldens {
            let name = format!("golden `{}`", golden.case.name);
            match golden.check(self.runner, update)? {
                Ok(how) => self.add(name, Verdict::Ok, how),
                Err(why) => self.add(name, Verdict::Fail, why),
            }
        }
        Ok(())
    }

    /// What is asked of a plugin that takes rows.
    fn rows(&mut self, goldens: &[Golden]) {
        let mut batches = goldens.iter().filter_map(|golden| rows_of(&golden.case).map(|rows| (&golden.case, rows)));
        let Some((like, rows)) = batches.next() else { return };
        let hostile = hostile::all(rows);
        for hostile in &hostile {
            let case = Case { config: like.config.clone(), ..hostile.case.clone() };
            let name = format!("hostile: {}", case.name);
            let mut handle = self.runner.start(Some(&case));
            let asked = handle.as_mut().map_err(|error| error.clone()).and_then(|handle| handle.ask(&case));
            self.memory_bytes = self.memory_bytes.max(self.sandbox.memory_bytes());
            match asked {
                Ok(_) => self.add(name, Verdict::Ok, "taken"),
                Err(CallError::Refused { failure, .. }) if hostile.may_refuse => {
                    self.add(name, Verdict::Ok, format!("refused: {failure}"));
                }
                Err(error) => self.add(name, Verdict::Fail, error.to_string()),
            }
        }
        let cases: Vec<Case> = goldens.iter().map(|golden| golden.case.clone()).collect();
        let extremes = hostile.into_iter().map(|hostile| Case { config: like.config.clone(), ..hostile.case });
        self.pure(&cases.into_iter().chain(extremes).collect::<Vec<_>>());
        match (self.runner.plugin.kind(), self.runner.plugin.manifest().state) {
            (PluginKind::Cleaner, StateKind::Keyed) => self.state(goldens),
            (PluginKind::Cleaner, _) => self.row_wise(goldens),
            _ => {}
        }
    }

    /// The same batch gives the same, asked again and of a fresh instance.
    fn pure(&mut self, cases: &[Case]) {
        let ask = |handle: &mut Handle, case: &Case| handle.ask(case).map_err(|error| error.to_string());
        for case in cases {
            let (Ok(mut used), Ok(mut fresh)) = (self.runner.start(Some(case)), self.runner.start(Some(case))) else { continue };
            let (first, again, other) = (ask(&mut used, case), ask(&mut used, case), ask(&mut fresh, case));
            if first != again || first != other {
                let how = if first == again { "a fresh instance" } else { "a second call" };
                return self.add("pure", Verdict::Fail, format!("{how} gave something else for `{}`", case.name));
            }
        }
        self.add("pure", Verdict::Ok, format!("the same for {} batches, asked twice and of a fresh instance", cases.len()));
    }

    /// What a cleaner remembers from batch to batch lies in the state that the host lends it, and nowhere else: given the same state,
    /// an instance that has seen the batches before and one that has not make the same of the next one.
    fn state(&mut self, goldens: &[Golden]) {
        let (mut kept, mut kept_by_fresh, mut count) = (Arc::<StateEntries>::default(), Arc::<StateEntries>::default(), 0);
        let mut used: Option<Handle> = None;
        for golden in goldens.iter().chain(goldens) {
            let Some(rows) = rows_of(&golden.case) else { continue };
            let Ok(mut fresh) = self.runner.start(Some(&golden.case)) else { continue };
            let used = match &mut used {
                Some(used) => used,
                None => match self.runner.start(Some(&golden.case)) {
                    Ok(started) => used.insert(started),
                    Err(_) => continue,
                },
            };
            let ask = |handle: &mut Handle, kept| handle.ask_keeping(rows, kept).map_err(|error| error.to_string());
            if ask(used, &mut kept) != ask(&mut fresh, &mut kept_by_fresh) {
                let text =
                    "an instance that had seen the batches before made something else of `NAME` than a fresh one with the same state";
                return self.add("state", Verdict::Fail, text.replace("NAME", &golden.case.name));
            }
            count += 1;
        }
        let (entries, bytes) = (kept.entry_count(), kept.byte_count());
        let text =
            format!("{count} batches in a row, by one instance and by fresh ones: the same; {entries} entries, {bytes} bytes are kept");
        self.add("state", Verdict::Ok, text);
        self.add("row-wise", Verdict::Note, "no: it keeps state; do not write `serving = true`");
    }

    /// Whether each row is cleaned as it is among others, which serving needs.
    fn row_wise(&mut self, goldens: &[Golden]) {
        for golden in goldens {
            let Some(rows) = rows_of(&golden.case) else { continue };
            let together = self.clean(&golden.case, rows.clone());
            let alone = (0..rows.row_count().min(SINGLE_ROWS_MAX)).map(|row| self.clean(&golden.case, one_row(rows, row)));
            let differs = alone.enumerate().find(|(row, alone)| !agrees(&together, alone, *row));
            if let Some((row, _)) = differs {
                let text =
                    format!("no: row {row} of `{}` is cleaned otherwise when it is alone; do not write `serving = true`", golden.case.name);
                return self.add("row-wise", Verdict::Note, text);
            }
        }
        self.add("row-wise", Verdict::Note, "yes: may be used with `serving = true`");
    }

    fn clean(&self, like: &Case, rows: Batch) -> Option<tidegate_sandbox::Cleaned> {
        match self.runner.start(Some(like)) {
            Ok(Handle::Cleaner(mut cleaner)) => cleaner.clean(&rows).ok(),
            _ => None,
        }
    }

    /// A source goes on after its cursor with the rows behind it.
    fn source(&mut self, goldens: &[Golden]) {
        for golden in goldens {
            let Asked::Inputs { rows_max, .. } = &golden.case.asked else { continue };
            let name = format!("resumes `{}`", golden.case.name);
            let resumed = self.runner.start(Some(&golden.case)).and_then(|mut handle| {
                let whole = handle.ask(&golden.case)?;
                let pulls = whole["pulls"].as_array().cloned().unwrap_or_default();
                let Some(first) = pulls.first() else { return Ok(true) };
                let cursor: Vec<u8> = serde_json::from_value(first["cursor"].clone()).unwrap_or_default();
                let rest = handle.resume(&cursor, *rows_max)?;
                Ok(rest["pulls"].as_array().map(Vec::as_slice) == pulls.get(1..))
            });
            match resumed {
                Ok(true) => self.add(name, Verdict::Ok, "the rows behind its first cursor come again, and no others"),
                Ok(false) => self.add(name, Verdict::Fail, "opened at its first cursor, it gave other rows than those behind it"),
                Err(error) => self.add(name, Verdict::Fail, error.to_string()),
            }
        }
    }
}

fn rows_of(case: &Case) -> Option<&Batch> {
    match &case.asked {
        Asked::Rows(rows) => Some(rows),
        _ => None,
    }
}

fn one_row(rows: &Batch, row: usize) -> Batch {
    Batch { rows: rows.rows.slice(row, 1), roles: rows.roles.clone() }
}

/// Whether what became of `row` alone is what became of it among others.
fn agrees(together: &Option<tidegate_sandbox::Cleaned>, alone: &Option<tidegate_sandbox::Cleaned>, row: usize) -> bool {
    let (Some(together), Some(alone)) = (together, alone) else { return together.is_none() && alone.is_none() };
    let row = row as u32;
    let Some(place) = together.kept.iter().position(|kept| kept == row) else {
        let reason = together.dropped.iter().find(|(dropped, _)| *dropped == row).map(|(_, reason)| reason);
        return alone.dropped.first().map(|(_, reason)| reason) == reason && alone.kept.is_empty();
    };
    let indices = UInt32Array::from(vec![place as u32]);
    let kept = arrow::compute::take_record_batch(&together.rows.rows, &indices);
    let same = |kept: arrow::array::RecordBatch| super::cells::columns(&Batch { rows: kept, roles: together.rows.roles.clone() });
    alone.kept.len() == 1 && kept.is_ok_and(|kept| same(kept) == super::cells::columns(&alone.rows))
}
