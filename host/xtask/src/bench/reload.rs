//! Reloads and crashes of plugins in a running host: how soon the new build serves, and that nobody else notices.
//!
//! The demo's pipeline on some of its rows, with one more cleaner in front, of which builds are made that crash at one value. Builds of
//! the plugin that is replaced differ in a custom section only: another digest, the same plugin.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::load::{Load, load};
use super::row::{Row, median};
use super::service::{CONNECTIONS, Host, IDLE, answer, one_row, tidegate};
use crate::command::run;
use crate::repo::Repo;

/// Rows of the pipeline: enough for one training.
const ROWS: usize = 4_500;
/// Reloads whose time is taken.
const TIMED: usize = 15;
/// Reloads while one connection asks, and the time between two.
const WATCHED: usize = 20;
const WATCHED_EVERY: Duration = Duration::from_millis(500);
/// Reloads under full load, every third of a broken file.
const RELOADS: usize = 1_000;
/// Builds that take turns in them.
const BUILDS: usize = 5;
/// Requests that crash a plugin.
const TRAPS: u64 = 10_000;
/// Reloads and crashes before the memory is read for the first time, so that every pool has what it needs.
const WARM_UP_RELOADS: usize = 60;
const WARM_UP_TRAPS: u64 = 1_000;
const LOOK: Duration = Duration::from_millis(5);

const COLD_MS_MAX: f64 = 500.0;
const KEPT_MS_MAX: f64 = 50.0;
const PAUSE_MS_MAX: f64 = 1.0;
const MEMORY_RATIO_MAX: f64 = 1.05;

/// Where requests go.
const PATH: &str = "/v2/models/rain/infer";
/// The plugin that is replaced.
const PLUGIN: &str = "range";
/// The cleaner that crashes, the word that makes it, and a value at which it does.
const CRASHING: &str = "turncoat-cleaner";
const MARK: &[u8] = b"turncoat-behaviour:";
const CRASHES_AT: f64 = 95.0;
/// Rows with a larger value are left out.
const CALM_MAX: f64 = 80.0;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    let bench = Bench::prepare(repo)?;
    // A champion, whose rows went through the cleaner that crashes.
    run(tidegate(repo, &bench.folder).args(["run", "--no-progress", "--json"]).stdout(Stdio::null()))?;
    let mut rows = bench.times()?;
    rows.extend(bench.pauses()?);
    rows.extend(bench.endurance()?);
    Ok(rows)
}

struct Bench<'a> {
    repo: &'a Repo,
    folder: PathBuf,
    component: Vec<u8>,
}

impl<'a> Bench<'a> {
    /// A folder with settings, rows and plugins, and no state.
    fn prepare(repo: &'a Repo) -> Result<Bench<'a>> {
        let folder = repo.target.join("bench/plugins");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(folder.join("plugins"))?;
        let demo = repo.root.join("host/xtask/demo");
        let text = std::fs::read_to_string(demo.join("weather.csv"))?;
        let calm = text.split_inclusive('\n').filter(|line| !is_wild(line)).take(ROWS + 1);
        std::fs::write(folder.join("weather.csv"), calm.collect::<String>())?;
        let settings = std::fs::read_to_string(demo.join("tidegate.toml"))?;
        std::fs::write(folder.join("tidegate.toml"), with_cleaner(&settings)?)?;
        for name in ["csv", "missing", PLUGIN, "classification", "log"] {
            let file = format!("{name}.wasm");
            std::fs::copy(repo.plugin_folder().join(&file), folder.join("plugins").join(&file)).with_context(|| format!("no `{file}`"))?;
        }
        let crashing = format!("{CRASHING}.wasm");
        let plain = std::fs::read(repo.test_guest_folder().join(&crashing)).with_context(|| format!("no `{crashing}`"))?;
        std::fs::write(folder.join("plugins").join(crashing), brittle(plain)?)?;
        let component = std::fs::read(repo.plugin_folder().join(format!("{PLUGIN}.wasm")))?;
        Ok(Bench { repo, folder, component })
    }

    /// Puts a component in the place of the plugin's.
    fn install(&self, component: &[u8]) -> Result<()> {
        std::fs::write(self.folder.join("new.wasm"), component)?;
        Ok(std::fs::rename(self.folder.join("new.wasm"), self.folder.join(format!("plugins/{PLUGIN}.wasm")))?)
    }

    /// Has the host look at the plugin, and returns the attempts; none where the watcher of the folder was first.
    fn reload(&self) -> Result<Vec<Value>> {
        let mut command = tidegate(self.repo, &self.folder);
        let output = command.args(["plugin", "reload", PLUGIN, "--json"]).stderr(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout).context("`tidegate plugin reload` did not print JSON")
    }

    /// Replaces the plugin by `component` and returns the milliseconds of the whole attempt and of each step.
    fn timed(&self, component: &[u8]) -> Result<Option<(f64, String)>> {
        self.install(component)?;
        let attempts = self.reload()?;
        let Some(attempt) = attempts.first() else { return Ok(None) };
        if attempt["result"] != "replaced" {
            bail!("a build that should be used was {}: {}", attempt["result"], attempt["why"]);
        }
        let steps = attempt["seconds"].as_object().context("an attempt has no times")?;
        let ms = |seconds: &Value| seconds.as_f64().unwrap_or(f64::NAN) * 1e3;
        let said: Vec<String> = steps.iter().map(|(step, seconds)| format!("{step} {:.1}", ms(seconds))).collect();
        Ok(Some((steps.values().map(ms).sum(), said.join(", "))))
    }

    /// Milliseconds from the end of the debounce until a new build serves.
    fn times(&self) -> Result<Vec<Row>> {
        let _host = Host::start(self.repo, &self.folder)?;
        let (mut cold, mut kept) = (Vec::new(), Vec::new());
        for index in 0..TIMED {
            cold.extend(self.timed(&variant(&self.component, &format!("cold{index}")))?);
        }
        for index in 0..TIMED {
            kept.extend(self.timed(&variant(&self.component, &format!("cold{}", index % 2)))?);
        }
        let python = std::fs::read(self.repo.plugin_folder().join(format!("{PLUGIN}-python.wasm")))?;
        let python = self.timed(&python)?;
        self.timed(&self.component)?;
        let mut rows = Vec::new();
        for (what, times, bound) in [("Rust, cold", cold, COLD_MS_MAX), ("Rust, compiled before", kept, KEPT_MS_MAX)] {
            let said = times.last().map(|(_, said)| said.clone()).unwrap_or_default();
            let middle = median(times.into_iter().map(|(ms, _)| ms).collect());
            let row = Row::bounded(&format!("end of debounce to new version in use, {what}"), middle, "ms", bound);
            rows.push(Row { against: format!("{}; ms: {said}", row.against), ..row });
        }
        let (ms, said) = python.context("the watcher was before the command")?;
        let row = Row::shown("end of debounce to new version in use, Python, cold", ms, "ms");
        rows.push(Row { against: format!("ms: {said}"), ..row });
        Ok(rows)
    }

    /// The longest that a call took while the plugin was replaced again and again, beside a time without.
    fn pauses(&self) -> Result<Vec<Row>> {
        let host = Host::start(self.repo, &self.folder)?;
        let ask = |meanwhile: &dyn Fn() -> Result<()>| load(host.address, 1, PATH, &one_row(0.5), |_| meanwhile()).map(|(load, ())| load);
        let rest = || {
            std::thread::sleep(WATCHED_EVERY * WATCHED as u32);
            Ok(())
        };
        ask(&|| {
            std::thread::sleep(WATCHED_EVERY);
            Ok(())
        })?;
        let steady = ask(&rest)?;
        // The folder's watcher sees them: no command runs beside the host.
        let reloaded = ask(&|| {
            for index in 0..WATCHED {
                self.install(&variant(&self.component, &format!("watched{}", index % 2)))?;
                std::thread::sleep(WATCHED_EVERY);
            }
            Ok(())
        })?;
        let (p99, calm, longest) = (steady.quantile_ms(0.99), steady.quantile_ms(1.0), reloaded.quantile_ms(1.0));
        let row = Row::bounded("longest pause of a call by a reload, over steady p99", longest - p99, "ms", PAUSE_MS_MAX);
        let against = format!("{}; p99 {p99:.2} ms steady, {:.2} with reloads", row.against, reloaded.quantile_ms(0.99));
        Ok(vec![Row { against, ..row }, Row::shown("the same without a reload", calm - p99, "ms")])
    }

    /// Many reloads and crashes under full load: no request fails that should not, and the memory comes back.
    fn endurance(&self) -> Result<Vec<Row>> {
        let host = Host::start(self.repo, &self.folder)?;
        let at_full_load = |reloads: usize| -> Result<Load> {
            let work = |_: &AtomicU64| (0..reloads).try_for_each(|index| self.turn(index));
            load(host.address, CONNECTIONS, PATH, &one_row(0.5), work).map(|(load, ())| load)
        };
        let warm_up = at_full_load(WARM_UP_RELOADS)?;
        crash(&host, WARM_UP_TRAPS)?;
        let before = self.reloads_told()?;
        std::thread::sleep(IDLE);
        let memory = host.resident_bytes()?;
        let under_load = at_full_load(RELOADS)?;
        let told = self.reloads_told()?;
        let traps = crash(&host, TRAPS)?;
        std::thread::sleep(IDLE);
        let after = host.resident_bytes()?;
        let failed = (under_load.failed + warm_up.failed) as f64;
        let none = |figure: &str, value: f64| Row {
            figure: figure.to_owned(),
            value,
            unit: "requests".to_owned(),
            against: "none".to_owned(),
            ratio: Some(value),
            bar: Some(0.0),
        };
        Ok(vec![
            Row::shown("reloads under full load, replaced", (told.0 - before.0) as f64, "reloads"),
            Row::shown("reloads under full load, refused", (told.1 - before.1) as f64, "reloads"),
            Row::shown("requests under that load", under_load.answered as f64, "requests"),
            none("of these, failed", failed),
            Row::shown("requests that crashed a plugin", traps as f64, "requests"),
            Row::beside("memory after both", after / 1e6, "MB", "MB before", memory / 1e6, MEMORY_RATIO_MAX),
        ])
    }

    /// One reload: every third of a broken file, the others of builds that take turns.
    fn turn(&self, index: usize) -> Result<()> {
        let component = &self.component;
        let bytes = match index % 6 {
            // Cut off, at another place each time.
            2 => variant(&component[..component.len() / 2 + index % 1000], "cut"),
            // Whole, and of no world.
            5 => variant(b"\0asm\x0d\0\x01\0", &format!("empty{index}")),
            _ => variant(component, &format!("turn{}", index % BUILDS)),
        };
        self.install(&bytes)?;
        self.reload().map(drop)
    }

    /// How many attempts of the journal replaced the plugin, and how many were refused.
    fn reloads_told(&self) -> Result<(usize, usize)> {
        let mut command = tidegate(self.repo, &self.folder);
        let output = command.args(["journal", "show", "--json"]).stderr(Stdio::null()).output()?;
        let entries: Vec<Value> = serde_json::from_slice(&output.stdout).context("`tidegate journal show` did not print JSON")?;
        let with = |result: &str| entries.iter().filter(|entry| entry["kind"] == "plugin" && entry["body"]["result"] == result).count();
        Ok((with("replaced"), with("refused")))
    }
}

/// Sends requests that crash a plugin, at least so many; how many did.
fn crash(host: &Host, requests: u64) -> Result<u64> {
    let before = crashes(host)?;
    load(host.address, CONNECTIONS, PATH, &one_row(CRASHES_AT), |sent| {
        while sent.load(Ordering::Relaxed) < requests {
            std::thread::sleep(LOOK);
        }
        Ok(())
    })?;
    let crashed = crashes(host)? - before;
    if crashed < requests {
        bail!("of {requests} requests that should crash `{CRASHING}`, {crashed} did");
    }
    Ok(crashed)
}

/// Calls of the crashing plugin that crashed, as the host counts them.
fn crashes(host: &Host) -> Result<u64> {
    let metrics = answer(host.address, "/metrics")?;
    let of = |line: &&str| line.starts_with("tidegate_plugin_calls_total") && line.contains(CRASHING) && line.contains("\"trapped\"");
    let Some(line) = metrics.lines().find(of) else { return Ok(0) };
    let count: f64 = line.rsplit(' ').next().unwrap_or_default().parse().context("a counter that is no number")?;
    Ok(count as u64)
}

/// Whether a row has a value, besides its day, that the crashing cleaner does not take.
fn is_wild(line: &str) -> bool {
    line.trim_end().split(',').skip(1).any(|cell| cell.parse().is_ok_and(|value: f64| value > CALM_MAX))
}

/// `component` with a custom section more that is named `name` and holds nothing.
fn variant(component: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let length = u8::try_from(name.len()).expect("names are short");
    bytes.extend([0, length + 1, length]);
    bytes.extend(name.as_bytes());
    bytes
}

/// The demo's settings with the crashing cleaner before the others.
fn with_cleaner(settings: &str) -> Result<String> {
    let cleaners = "cleaners = [";
    if settings.matches(cleaners).count() != 1 {
        bail!("the demo's settings list cleaners in another way");
    }
    Ok(settings.replace(cleaners, &format!("{cleaners}\n  {{ plugin = \"{CRASHING}\", config = {{}}, serving = true }},")))
}

/// The build of the crashing cleaner that crashes at large values.
fn brittle(mut component: Vec<u8>) -> Result<Vec<u8>> {
    let at = component.windows(MARK.len()).position(|window| window == MARK).context("the crashing cleaner has no word to change")?;
    let word = component.get_mut(at + MARK.len()..at + MARK.len() + b"brittle".len()).context("its word is cut off")?;
    word.copy_from_slice(b"brittle");
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_has_one_more_section() {
        assert_eq!(variant(b"\0asm", "ab"), b"\0asm\0\x03\x02ab");
    }

    #[test]
    fn rows_that_would_crash_are_told() {
        assert!(is_wild("0,-1.0,99.9,0\n"));
        assert!(!is_wild("100,-1.0,2.0,0\n") && !is_wild("day,temperature,rain\n"));
    }

    #[test]
    fn a_brittle_build_differs_in_its_word() {
        let brittle = brittle(b"...turncoat-behaviour:plain........;".to_vec()).unwrap();
        assert_eq!(brittle, b"...turncoat-behaviour:brittle......;");
        assert!(super::brittle(b"turncoat".to_vec()).is_err());
    }

    #[test]
    fn the_demo_has_a_place_for_one_more_cleaner() {
        let settings = include_str!("../../demo/tidegate.toml");
        assert!(with_cleaner(settings).unwrap().contains("cleaners = [\n  { plugin = \"turncoat-cleaner\""));
        assert!(with_cleaner("").is_err());
    }
}
