//! CSV through two cleaners and the contract to Parquet: beside pandas at two million rows, and from ten thousand rows to ten
//! million, where rows a second and memory should stay flat.
//!
//! Ours is the whole process, with start, journal and raw rows; the peer's clock starts after its imports.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::measure::{Sample, measure as run_measured};
use super::peer::Peers;
use super::row::{Row, median};
use crate::repo::Repo;

const ROWS: u64 = 2_000_000;
const GROWTH: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const ROUNDS: usize = 3;
const COLUMNS: u64 = 8;

#[derive(Deserialize)]
struct Peer {
    seconds: f64,
    rows: u64,
}

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    let peers = Peers::prepare(repo)?;
    // The first run compiles the plugins; none that is measured does.
    ingest(repo, &table(repo, 1)?)?;
    let mut rows = beside_pandas(repo, &peers)?;
    rows.extend(growth(repo)?);
    Ok(rows)
}

fn beside_pandas(repo: &Repo, peers: &Peers) -> Result<Vec<Row>> {
    let csv = table(repo, ROWS)?;
    let parquet = csv.with_extension("parquet");
    let (mut ours, mut plain, mut threaded, mut kept) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 1..=ROUNDS {
        eprintln!("bench: ingest beside pandas, round {round} of {ROUNDS}");
        ours.push(ingest(repo, &csv)?.seconds);
        let by_default: Peer = peers.run("ingest_pandas.py", &[&csv, &parquet, Path::new("c")])?;
        let by_arrow: Peer = peers.run("ingest_pandas.py", &[&csv, &parquet, Path::new("pyarrow")])?;
        plain.push(by_default.seconds);
        threaded.push(by_arrow.seconds);
        kept = by_default.rows;
    }
    let (ours, plain, threaded) = (median(ours), median(plain), median(threaded));
    let mut with_arrow = Row::beside("ingest, 2 million rows, its Arrow reader", ours, "s", "pandas, engine pyarrow", threaded, 0.0);
    with_arrow.bar = None;
    Ok(vec![
        Row::beside("ingest, 2 million rows", ours, "s", "pandas", plain, 1.0 / 3.0),
        with_arrow,
        Row::shown("ingest, rows kept by pandas", kept as f64, "rows"),
        Row::shown("ingest, 2 million rows", ROWS as f64 / ours, "rows/s"),
    ])
}

fn growth(repo: &Repo) -> Result<Vec<Row>> {
    let mut measured = Vec::new();
    // What a process costs before its first row; without it, a short file says nothing about rows a second.
    let start = median((0..ROUNDS).map(|_| Ok(ingest(repo, &table(repo, 1)?)?.seconds)).collect::<Result<_>>()?);
    for rows in GROWTH {
        eprintln!("bench: ingest of {rows} rows");
        let csv = table(repo, rows)?;
        let rounds = if rows < ROWS { ROUNDS } else { 1 };
        let samples = (0..rounds).map(|_| ingest(repo, &csv)).collect::<Result<Vec<_>>>()?;
        let seconds = median(samples.iter().map(|sample| sample.seconds).collect());
        let peak = samples.iter().filter_map(|sample| sample.peak_bytes).max().unwrap_or(0) as f64;
        measured.push((rows, (seconds - start).max(1e-3) / rows as f64 * 1e6, peak / f64::from(1 << 20)));
    }
    let (_, cost_at_million, peak_at_million) = measured[2];
    let mut lines = Vec::new();
    for (rows, cost, peak) in measured {
        let (figure, bar) = (format!("ingest, {rows} rows, each"), 1.25);
        // Below a million rows a fixed part of the work still shows; the promise is about what comes after.
        lines.push(match rows {
            10_000_000 => Row::beside(&figure, cost, "µs", "at 1000000 rows", cost_at_million, bar),
            _ => Row::shown(&figure, cost, "µs"),
        });
        let figure = format!("ingest, {rows} rows, memory");
        lines.push(match rows {
            10_000_000 => Row::beside(&figure, peak, "MiB", "at 1000000 rows", peak_at_million, bar),
            _ => Row::shown(&figure, peak, "MiB"),
        });
    }
    Ok(lines)
}

/// Ingests a table into an empty store; only what makes the start warm is kept from run to run.
fn ingest(repo: &Repo, csv: &Path) -> Result<Sample> {
    let folder = bench_folder(repo)?;
    let state = folder.join("state");
    forget_rows(&state)?;
    std::fs::write(folder.join("tidegate.toml"), settings(repo, csv))?;
    run_measured(Command::new(repo.tidegate()).current_dir(&folder).args(["ingest", "--json"]))
}

fn bench_folder(repo: &Repo) -> Result<PathBuf> {
    let folder = repo.target.join("bench/ingest");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create `{}`", folder.display()))?;
    Ok(folder)
}

/// Removes everything from a state folder but the compiled plugins and the key that vouches for them.
pub fn forget_rows(state: &Path) -> Result<()> {
    let Ok(entries) = state.read_dir() else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name() != "compiled" && entry.file_name() != "key" {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
                .with_context(|| format!("could not remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// A table of `rows` rows with eight numbers each, made once: one cell in a hundred is empty, one in forty out of range.
pub fn table(repo: &Repo, rows: u64) -> Result<PathBuf> {
    let path = bench_folder(repo)?.join(format!("rows-{rows}.csv"));
    if path.exists() {
        return Ok(path);
    }
    let beside = path.with_extension("new");
    let file = File::create(&beside).with_context(|| format!("could not create `{}`", beside.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write_table(&mut out, rows).with_context(|| format!("could not write `{}`", beside.display()))?;
    // On the disk before anything is measured, or what is measured would wait for it.
    out.get_ref().sync_all().with_context(|| format!("could not write `{}`", beside.display()))?;
    std::fs::rename(&beside, &path)?;
    Ok(path)
}

fn write_table(out: &mut impl Write, rows: u64) -> std::io::Result<()> {
    write!(out, "row")?;
    for column in 0..COLUMNS {
        write!(out, ",x{column}")?;
    }
    writeln!(out, ",label")?;
    let mut state = 0;
    for row in 0..rows {
        write!(out, "{row}")?;
        for _ in 0..COLUMNS {
            let draw = next(&mut state);
            if draw.is_multiple_of(100) {
                write!(out, ",")?;
            } else {
                // Uniform in (-8.2, 8.2), six decimals, like the weather.
                write!(out, ",{:.6}", ((draw >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 16.4)?;
            }
        }
        writeln!(out, ",{}", next(&mut state) & 1)?;
    }
    out.flush()
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same table on every machine.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Settings with the two cleaners and the contract that the peer has too.
pub fn settings(repo: &Repo, csv: &Path) -> String {
    let columns: Vec<String> = (0..COLUMNS).map(|column| format!("x{column} = \"f64\"")).collect();
    format!(
        r#"[store]
folder = "state"

[plugins]
folder = {plugins:?}

[plugin.csv.grant]
inputs = ["table"]

[input.table]
path = {csv:?}

[pipeline.bench]
source = {{ plugin = "csv", config = {{ input = "table" }} }}
cleaners = [
  {{ plugin = "missing", config = {{ columns = {{ "*" = "drop-row" }} }} }},
  {{ plugin = "range", config = {{ columns = {{ "*" = {{ low = -8.0, high = 8.0, outside = "clip" }} }} }} }},
]
evaluators = [{{ plugin = "classification", config = {{ positive = "1" }} }}]

[pipeline.bench.contract]
id = "row"
time = {{ column = "row", unit = "d", origin = "1970-01-01" }}
label = {{ column = "label", classes = ["0", "1"] }}
columns = {{ {columns} }}

[pipeline.bench.model]
family = "linear"

[pipeline.bench.gate]
dependence = "independent"
[[pipeline.bench.gate.rule]]
id = "floor"
metric = "accuracy"
test = "lower-bound"
bound = 0.5

[[pipeline.bench.trigger]]
kind = "manual"
"#,
        plugins = repo.plugin_folder(),
        columns = columns.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_same_every_time() {
        let mut text = Vec::new();
        write_table(&mut text, 400).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 401);
        assert_eq!(lines[0], "row,x0,x1,x2,x3,x4,x5,x6,x7,label");
        assert!(lines[1..].iter().all(|line| line.split(',').count() == 10));
        let empty = text.matches(",,").count();
        assert!((10..100).contains(&empty), "{empty} empty cells in 3,200");
        let mut again = Vec::new();
        write_table(&mut again, 400).unwrap();
        assert_eq!(text.as_bytes(), again);
    }

    #[test]
    fn the_settings_are_toml_whatever_the_paths_hold() {
        let repo = Repo { root: "/r".into(), target: "/t \"quoted\"".into() };
        let settings: toml::Table = settings(&repo, Path::new("rows.csv")).parse().unwrap();
        assert_eq!(settings["plugins"]["folder"].as_str(), Some("/t \"quoted\"/plugins"));
        assert_eq!(settings["pipeline"]["bench"]["contract"]["columns"].as_table().map(toml::Table::len), Some(8));
    }

    #[test]
    fn rows_are_forgotten_and_the_warm_start_is_kept() {
        let state = tempfile::tempdir().unwrap();
        for folder in ["compiled", "parts"] {
            std::fs::create_dir(state.path().join(folder)).unwrap();
        }
        for file in ["key", "tidegate.db", "parts/one"] {
            std::fs::write(state.path().join(file), "").unwrap();
        }
        forget_rows(state.path()).unwrap();
        let mut left: Vec<_> = state.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["compiled", "key"]);
        forget_rows(&state.path().join("absent")).unwrap();
    }
}
