//! `tidegate plugin bench`: how fast, and where the time goes.

use std::path::Path;
use std::time::Instant;

use arrow::array::UInt32Array;
use serde_json::{Value, json};
use tidegate_sandbox::CallError;
use tidegate_vocab::Batch;

use super::case::{Asked, Case};
use super::golden;
use super::project::Project;
use super::runner::{self, Handle, Runner};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Calls that a figure is the median of.
const CALLS: usize = 15;

/// Measures a plugin on each golden batch that it takes, repeated to `rows` rows, and on one row.
///
/// # Errors
/// A [`Failure`] when it cannot be built or loaded, fails, or has no golden batch.
pub fn bench(project: &Project, component: Option<&Path>, rows: usize, terminal: &Terminal) -> Result<Exit, Failure> {
    let bytes = super::test::component_of(project, component)?;
    let sandbox = runner::sandbox()?;
    let start = Instant::now();
    let plugin = runner::load_into(&sandbox, &project.name, &bytes)?;
    let compile_s = start.elapsed().as_secs_f64();
    let runner = Runner::new(plugin, golden::config(project)?);
    let failed = |error: CallError| {
        let hint = error.hint();
        Failure::new(&error, hint)
    };
    let start_s = median(|| runner.start(None).map(drop)).map_err(failed)?;
    let mut figures = Vec::new();
    for golden in golden::all(project)? {
        let Asked::Rows(batch) = &golden.case.asked else { continue };
        for count in [rows, 1] {
            let case = Case { asked: Asked::Rows(repeated(batch, count)?), ..golden.case.clone() };
            let mut handle = match runner.start(Some(&case)) {
                // Golden batches that a plugin refuses say nothing about its speed.
                Err(CallError::Refused { .. }) => continue,
                started => started.map_err(failed)?,
            };
            if let Err(CallError::Refused { .. }) = call(&mut handle, &case) {
                continue;
            }
            let call_s = median(|| call(&mut handle, &case)).map_err(failed)?;
            figures.push(json!({
                "batch": golden.case.name, "rows": count, "call_ms": call_s * 1e3, "rows_per_s": (count as f64 / call_s).round(),
                "memory_bytes": sandbox.memory_bytes(),
            }));
        }
    }
    if figures.is_empty() {
        return Err(Failure::usage(
            "there is no golden batch to measure with",
            "write `tests/golden/NAME.input.json`; only cleaners and evaluators are measured",
        ));
    }
    let whole =
        json!({ "plugin": project.name, "bytes": bytes.len(), "compile_ms": compile_s * 1e3, "start_ms": start_s * 1e3, "calls": figures });
    terminal.result(|| text(&whole), || whole.clone());
    Ok(Exit::Ok)
}

fn text(whole: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let row = |figure: &Value| {
        vec![
            figure["batch"].as_str().unwrap_or_default().to_owned(),
            figure["rows"].to_string(),
            format!("{:.3}", number(&figure["call_ms"])),
            format!("{:.0}", number(&figure["rows_per_s"])),
            format!("{:.1}", number(&figure["memory_bytes"]) / f64::from(1 << 20)),
        ]
    };
    let rows = whole["calls"].as_array().into_iter().flatten().map(row).collect();
    format!(
        "{}: {:.1} MiB, compiled in {:.0} ms, an instance starts in {:.2} ms\n\n{}",
        whole["plugin"].as_str().unwrap_or_default(),
        number(&whole["bytes"]) / f64::from(1 << 20),
        number(&whole["compile_ms"]),
        number(&whole["start_ms"]),
        table(&["batch", "rows", "ms a call", "rows a second", "MiB"], rows, 1)
    )
}

/// One call, without the JSON that a test makes of it.
fn call(handle: &mut Handle, case: &Case) -> Result<(), CallError> {
    match (handle, &case.asked) {
        (Handle::Cleaner(cleaner), Asked::Rows(rows)) => cleaner.clean(rows).map(drop),
        (Handle::Evaluator(evaluator), Asked::Rows(rows)) => evaluator.evaluate(rows).map(drop),
        (handle, _) => handle.ask(case).map(drop),
    }
}

/// Median seconds of a call.
fn median(mut run: impl FnMut() -> Result<(), CallError>) -> Result<f64, CallError> {
    run()?;
    let mut seconds = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[CALLS / 2])
}

/// The rows of `batch` again and again.
fn repeated(batch: &Batch, rows: usize) -> Result<Batch, Failure> {
    let count = batch.row_count().max(1);
    let indices: UInt32Array = (0..rows).map(|row| (row % count) as u32).collect();
    if batch.row_count() == 0 {
        return Ok(batch.clone());
    }
    let repeated = arrow::compute::take_record_batch(&batch.rows, &indices);
    let repeated = repeated.map_err(|error| Failure::from(anyhow::Error::new(error).context("could not repeat the golden batch")))?;
    Ok(Batch { rows: repeated, roles: batch.roles.clone() })
}
