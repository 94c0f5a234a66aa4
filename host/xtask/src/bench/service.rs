//! A running host from outside: how soon it answers, what it holds when nothing happens, how soon a trigger becomes a decision.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::load::{Load, load};
use super::row::{Row, median};
use crate::command::run;
use crate::demo;
use crate::repo::Repo;

const ROUNDS: usize = 5;
const READY_MS_MAX: f64 = 300.0;
const IDLE_MB_MAX: f64 = 100.0;
const DECISION_S_MAX: f64 = 1.0;
/// Connections of the load.
pub const CONNECTIONS: usize = 8;
/// Times that the champion is moved back and forth under load.
const SWITCHES: usize = 5;
/// Rollbacks under load whose time is taken.
const ROLLBACKS: usize = 15;
const ROLLBACK_MS_MAX: f64 = 100.0;
/// How long a host is left alone before its memory is read.
pub const IDLE: Duration = Duration::from_secs(2);
/// Nothing healthy takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    let folder = demo::prepare(repo)?;
    let state = folder.join("state");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    // A champion on the demo's rows, and every plugin compiled.
    run(tidegate(repo, &folder).args(["run", "--no-progress", "--json"]).stdout(Stdio::null()))?;
    let mut ready = Vec::new();
    let mut idle = Vec::new();
    for _ in 0..ROUNDS {
        let host = Host::start(repo, &folder)?;
        ready.push(host.ready_after.as_secs_f64() * 1e3);
        std::thread::sleep(IDLE);
        idle.push(host.resident_bytes()? / 1e6);
    }
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        seconds.push(run_seconds(repo, &folder)?);
    }
    // Last: an imported champion leaves no rows that may judge another one.
    let switched = under_load(repo, &folder)?;
    Ok(vec![
        Row::bounded("start to ready, plugins compiled", median(ready), "ms", READY_MS_MAX),
        Row::bounded("resident memory of an idle host", median(idle), "MB", IDLE_MB_MAX),
        Row::bounded("trigger to decision, window of 4,000 rows", median(seconds), "s", DECISION_S_MAX),
        Row::shown("requests while the champion moved and a plugin was replaced", switched.answered as f64, "requests"),
        Row {
            figure: "of these, failed".to_owned(),
            value: switched.failed as f64,
            unit: "requests".to_owned(),
            against: "none".to_owned(),
            ratio: Some(switched.failed as f64),
            bar: Some(0.0),
        },
    ])
}

/// A host that is asked over [`CONNECTIONS`] connections without a pause while an operator moves the champion to and fro, and a
/// cleaner's file is replaced.
fn under_load(repo: &Repo, folder: &Path) -> Result<Load> {
    let host = Host::start(repo, folder)?;
    let copy = folder.join("exported");
    let quietly = |arguments: &[&str]| run(tidegate(repo, folder).args(arguments).arg("--json").stdout(Stdio::null()));
    let (load, ()) = load(host.address, CONNECTIONS, "/v2/models/rain/infer", &one_row(0.5), |_| {
        quietly(&["export", "v1", &copy.to_string_lossy()])?;
        quietly(&["import", &copy.to_string_lossy(), "--reason", "to have two versions"])?;
        for _ in 0..SWITCHES {
            quietly(&["rollback", "v1", "--reason", "to measure"])?;
            quietly(&["promote", "v2", "--reason", "to measure"])?;
        }
        let plugin = folder.join("plugins/missing.wasm");
        let mut component = std::fs::read(&plugin)?;
        // A custom section named `n` with nothing in it: another digest, the same plugin.
        component.extend([0, 2, 1, b'n']);
        std::fs::write(folder.join("missing.new"), component)?;
        std::fs::rename(folder.join("missing.new"), &plugin)?;
        // Whether the watcher was first or this command is, the new file is in use when it returns.
        run(tidegate(repo, folder).args(["plugin", "reload", "--json"]).stdout(Stdio::null()))
    })?;
    Ok(load)
}

/// How long it takes under load from an operator's word until the version before answers everybody, and what that costs those who ask.
pub fn rollbacks(repo: &Repo) -> Result<Vec<Row>> {
    let folder = demo::prepare(repo)?;
    let state = folder.join("state");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    run(tidegate(repo, &folder).args(["run", "--no-progress", "--json"]).stdout(Stdio::null()))?;
    let host = Host::start(repo, &folder)?;
    let copy = folder.join("exported");
    let quietly = |arguments: &[&str]| run(tidegate(repo, &folder).args(arguments).arg("--json").stdout(Stdio::null()));
    quietly(&["export", "v1", &copy.to_string_lossy()])?;
    quietly(&["import", &copy.to_string_lossy(), "--reason", "to have two versions"])?;
    let (load, taken) = load(host.address, CONNECTIONS, "/v2/models/rain/infer", &one_row(0.5), |_| {
        let mut taken = Vec::with_capacity(ROLLBACKS);
        for _ in 0..ROLLBACKS {
            // The command returns when requests go to the version before.
            let began = Instant::now();
            quietly(&["rollback", "v1", "--reason", "to measure"])?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
            quietly(&["promote", "v2", "--reason", "to measure"])?;
        }
        Ok(taken)
    })?;
    let slowest = taken.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Row::bounded("rollback under load, command to switched requests", median(taken), "ms", ROLLBACK_MS_MAX),
        Row::shown("the same, slowest", slowest, "ms"),
        Row::shown("requests meanwhile", load.answered as f64, "requests"),
        Row {
            figure: "of these, failed".to_owned(),
            value: load.failed as f64,
            unit: "requests".to_owned(),
            against: "none".to_owned(),
            ratio: Some(load.failed as f64),
            bar: Some(0.0),
        },
    ])
}

/// A request for one row of the demo's contract, all of whose features are `value`.
pub fn one_row(value: f64) -> String {
    let columns = [
        "temperature",
        "dew_point",
        "sea_level_pressure",
        "visibility",
        "wind_speed_mean",
        "wind_speed_max",
        "temperature_min",
        "temperature_max",
    ];
    let tensor = |name: &str| serde_json::json!({ "name": name, "shape": [1], "datatype": "FP64", "data": [value] });
    serde_json::json!({ "inputs": columns.map(tensor) }).to_string()
}

/// The built binary in `folder`.
pub fn tidegate(repo: &Repo, folder: &Path) -> Command {
    let mut command = Command::new(repo.tidegate());
    command.current_dir(folder);
    command
}

/// Seconds from the trigger of a run to its decision, whatever that is.
fn run_seconds(repo: &Repo, folder: &Path) -> Result<f64> {
    let mut command = tidegate(repo, folder);
    let output = command.args(["run", "--force", "--no-progress", "--json"]).stderr(Stdio::null()).output()?;
    let told: Value = serde_json::from_slice(&output.stdout).context("`tidegate run` did not print JSON")?;
    let at = |value: &Value| value.as_i64().context("`tidegate run` told no time");
    Ok((at(&told["decision"]["at"])? - at(&told["run"]["started_at"])?) as f64 / 1e6)
}

/// A host that is killed when dropped.
pub struct Host {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    ready_after: Duration,
}

impl Host {
    /// A host on the settings in `folder`, ready to answer.
    pub fn start(repo: &Repo, folder: &Path) -> Result<Host> {
        let start = Instant::now();
        let mut command = tidegate(repo, folder);
        command.args(["up", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().context("could not start the host")?;
        let mut host = Host { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), ready_after: Duration::ZERO };
        let stderr = host.child.stderr.take().context("the host has no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let address = loop {
            let line = lines.next().context("the host ended by itself")??;
            let said: Option<Value> = serde_json::from_str(&line).ok();
            if let Some(address) = said.and_then(|said| said["listening"].as_str()?.parse().ok()) {
                break address;
            }
        };
        // Read on, so that the host never waits for somebody to read what it says.
        std::thread::spawn(move || lines.map_while(std::io::Result::ok).for_each(drop));
        while !is_ready(address)? {
            if start.elapsed() > PATIENCE {
                bail!("the host was not ready after {} s", PATIENCE.as_secs());
            }
        }
        (host.address, host.ready_after) = (address, start.elapsed());
        Ok(host)
    }

    /// Memory that it holds.
    pub fn resident_bytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel does not tell the memory")?;
        let kib: f64 = line.trim().strip_suffix(" kB").context("the kernel tells the memory in another unit")?.trim().parse()?;
        Ok(kib * 1024.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(address: SocketAddr) -> Result<bool> {
    Ok(answer(address, "/readyz")?.starts_with("HTTP/1.1 200"))
}

/// The whole answer to a GET, its head and its body.
pub fn answer(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
