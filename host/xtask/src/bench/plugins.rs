//! What plugins cost, how soon a new one serves, and what a reload or a crash of one costs everybody else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::reload;
use super::row::Row;
use super::{sandbox, service};
use crate::command::{capture, run};
use crate::plugins;
use crate::repo::Repo;

/// Figures of the sandbox beside the same work done natively, and what they may be as a ratio: by the host's kernels, computed in the
/// guest, copied to it and back, text.
const BESIDE_NATIVE: [(&str, f64); 4] =
    [("clip by host kernel", 1.1), ("z-score in guest", 1.6), ("clip in guest", 2.5), ("text clean in guest", 1.2)];
/// What the cleaner `range` is written in, as names of components end.
const LANGUAGES: [(&str, &str); 3] = [("Rust", ""), ("JavaScript", "-javascript"), ("Python", "-python")];
/// The golden batches of `range` that tell where the time goes: the host's kernel does it all, the plugin looks at every value.
const GOLDEN: [(&str, &str); 2] = [("weather-clip", "clipped by the host's kernel"), ("weather-null", "every value looked at")];

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    plugins::all(repo)?;
    let examples = ["--example", "bench_sandbox", "--example", "bench_limits", "--example", "bench_deadline"];
    // Built together with the whole workspace's features, so that no dependency is built a second time for them.
    run(repo.cargo().args(["build", "--quiet", "--workspace", "--features", "tidegate-sandbox/bench"]).args(examples))?;
    let mut rows = beside_native(repo)?;
    rows.extend(told(sandbox::example(repo, "bench_limits"))?);
    rows.extend(languages(repo)?);
    rows.extend(reload::measure(repo)?);
    rows.extend(on_one_core(sandbox::example(repo, "bench_deadline"))?);
    Ok(rows)
}

fn told(mut example: Command) -> Result<Vec<Row>> {
    let text = capture(&mut example)?;
    serde_json::from_str(&text).with_context(|| format!("a bench of the sandbox wrote `{}`", text.trim()))
}

/// The rows of the group `sandbox` that have a bar here.
fn beside_native(repo: &Repo) -> Result<Vec<Row>> {
    let mut rows = sandbox::measure(repo)?;
    rows.retain_mut(|row| {
        let bar = BESIDE_NATIVE.iter().find(|(figure, _)| row.figure == *figure).map(|(_, bar)| *bar);
        row.bar = bar;
        bar.is_some()
    });
    Ok(rows)
}

/// Where the thread that stops guests waits behind them.
fn on_one_core(example: Command) -> Result<Vec<Row>> {
    let mut tied = Command::new("taskset");
    tied.args(["-c", "0"]).arg(example.get_program());
    if let Some(folder) = example.get_current_dir() {
        tied.current_dir(folder);
    }
    told(tied).context("`taskset` of util-linux ties the bench to one core")
}

/// Rows a second of the cleaner `range`, in every language that it is written in, and where the time goes.
fn languages(repo: &Repo) -> Result<Vec<Row>> {
    let (mut rows, mut ours) = (Vec::new(), Vec::new());
    for (language, ending) in LANGUAGES {
        let component = repo.plugin_folder().join(format!("range{ending}.wasm"));
        let bench = language_bench(repo, &component)?;
        let per_s: Vec<f64> = GOLDEN.iter().map(|(golden, _)| rows_per_s(&bench, golden)).collect::<Result<_>>()?;
        if ours.is_empty() {
            ours.clone_from(&per_s);
        }
        for (((_, what), per_s), rust) in GOLDEN.iter().zip(&per_s).zip(&ours) {
            rows.push(Row {
                figure: format!("`range` in {language}, {what}"),
                value: *per_s,
                unit: "rows/s".to_owned(),
                against: format!("Rust: {rust:.0} rows/s, over ours"),
                ratio: Some(rust / per_s),
                bar: None,
            });
        }
        let [clip, looked] = [per_s[0], per_s[1]].map(|per_s| 1e9 / per_s);
        let share = |figure: &str, value: f64, unit: &str| Row::shown(&format!("`range` in {language}, {figure}"), value, unit);
        rows.push(share("a row's crossing and the kernel", clip, "ns"));
        rows.push(share("a row's way through the language", looked - clip, "ns"));
        rows.push(share("to compile", bench["compile_ms"].as_f64().unwrap_or(f64::NAN), "ms"));
        rows.push(share("an instance starts", bench["start_ms"].as_f64().unwrap_or(f64::NAN), "ms"));
    }
    Ok(rows)
}

fn language_bench(repo: &Repo, component: &Path) -> Result<Value> {
    let mut bench = service::tidegate(repo, &repo.root);
    bench.args(["plugin", "bench", "plugins/range", "--json", "--component"]).arg(component);
    serde_json::from_str(&capture(&mut bench)?).context("`tidegate plugin bench` did not print JSON")
}

/// Rows a second of the largest call on one golden batch.
fn rows_per_s(bench: &Value, golden: &str) -> Result<f64> {
    let calls = bench["calls"].as_array().into_iter().flatten().filter(|call| call["batch"] == golden);
    let largest = calls.max_by_key(|call| call["rows"].as_u64()).with_context(|| format!("`{golden}` was not measured"))?;
    largest["rows_per_s"].as_f64().with_context(|| format!("`{golden}` has no rows a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_call_on_a_batch_counts() {
        let call = |batch: &str, rows: u64, rows_per_s: f64| serde_json::json!({ "batch": batch, "rows": rows, "rows_per_s": rows_per_s });
        let bench = serde_json::json!({ "calls": [call("a", 1, 5.0), call("a", 100, 50.0), call("b", 1000, 500.0)] });
        assert_eq!(rows_per_s(&bench, "a").unwrap(), 50.0);
        assert!(rows_per_s(&bench, "c").unwrap_err().to_string().contains("`c` was not measured"));
    }
}
