//! Runs a plugin on a case, in the sandbox and under the limits that it has in production, and says what came of it as JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};
use tidegate_sandbox::{
    Alerter, Answer, CallError, Cleaner, Compiler, Egress, EgressError, Evaluator, Exchange, Grants, HttpGrant, Input, InputError, Inputs,
    LogLine, Plugin, PluginKind, PluginSettings, Pull, Sandbox, SandboxConfig, Source,
};
use tidegate_vocab::limits::{EPOCH_TICK_MS, POLL_BYTES_MAX, SharedLimits};
use tidegate_vocab::{Batch, PluginName, SimulatedClock, StateChanges, StateEntries, Timestamp};

use super::case::{Asked, Case};
use super::cells;
use crate::compose::COMPILE_COMMAND;
use crate::failure::Failure;

/// Pulls after which a source is not asked again.
const PULLS_MAX: usize = 1_000;

/// A sandbox without a cache: what an author compiles is new each time.
///
/// # Errors
/// A [`Failure`] when the engine cannot be set up.
pub fn sandbox() -> Result<Sandbox, Failure> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let config = SandboxConfig {
        limits: SharedLimits::DEFAULT,
        compiled: None,
        mac_key: [0; 32],
        compiler: Compiler::Child { program, args: vec![COMPILE_COMMAND.to_owned()] },
        epoch_tick_ms: EPOCH_TICK_MS,
    };
    Sandbox::new(config).map_err(|error| Failure::new(&error, None))
}

/// Loads a component into a sandbox of its own.
///
/// # Errors
/// A [`Failure`] when this host cannot run it.
pub fn load(name: &PluginName, component: &[u8]) -> Result<Plugin, Failure> {
    load_into(&sandbox()?, name, component)
}

/// Loads a component.
///
/// # Errors
/// A [`Failure`] when this host cannot run it.
pub fn load_into(sandbox: &Sandbox, name: &PluginName, component: &[u8]) -> Result<Plugin, Failure> {
    sandbox.load(name, component).map_err(|error| {
        let hint = error.hint();
        Failure::new(&error, hint)
    })
}

/// A plugin with the configuration of its tests.
pub struct Runner {
    /// The plugin.
    pub plugin: Plugin,
    config: Value,
    lines: Arc<Mutex<Vec<LogLine>>>,
}

/// A plugin in use.
pub enum Handle {
    /// Rows in.
    Source(Source),
    /// Rows to rows.
    Cleaner(Cleaner),
    /// Statistics.
    Evaluator(Evaluator),
    /// Alerts, and the requests that were sent.
    Alerter(Alerter, Arc<Recorder>),
}

impl Runner {
    /// A runner of `plugin`.
    pub fn new(plugin: Plugin, config: Value) -> Runner {
        Runner { plugin, config, lines: Arc::default() }
    }

    /// What the plugin has logged since this was asked last.
    pub fn log(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        lines.into_iter().map(|line| format!("{:?}: {}", line.level, line.message).to_lowercase()).collect()
    }

    /// A fresh instance with what `case` lends it.
    ///
    /// # Errors
    /// [`CallError`] when it does not accept its configuration or cannot be started.
    pub fn start(&self, case: Option<&Case>) -> Result<Handle, CallError> {
        let asked = case.map(|case| &case.asked);
        let status = if let Some(Asked::Alert { status, .. }) = asked { *status } else { 200 };
        let recorder = Arc::new(Recorder { status, sent: Mutex::default() });
        let mut settings = self.settings(case, &recorder);
        if let Some(Asked::Alert { hosts, .. }) = asked {
            let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).to_vec();
            let grant = |host: &String| HttpGrant { host: host.clone(), port: 443, methods: methods.clone(), path: "/".into() };
            settings.grants.http = hosts.iter().map(grant).collect();
        }
        Ok(match self.plugin.kind() {
            PluginKind::Source => Handle::Source(self.plugin.source(&settings)?),
            PluginKind::Cleaner => Handle::Cleaner(self.plugin.cleaner(&settings)?),
            PluginKind::Evaluator => Handle::Evaluator(self.plugin.evaluator(&settings)?),
            PluginKind::Alerter => Handle::Alerter(self.plugin.alerter(&settings)?, recorder),
        })
    }

    fn settings(&self, case: Option<&Case>, recorder: &Arc<Recorder>) -> PluginSettings {
        let lent = match case.map(|case| &case.asked) {
            Some(Asked::Inputs { inputs, .. }) => inputs.clone(),
            _ => BTreeMap::new(),
        };
        let lines = Arc::clone(&self.lines);
        PluginSettings {
            config: case.and_then(|case| case.config.clone()).unwrap_or_else(|| self.config.clone()),
            grants: Grants { inputs: lent.keys().cloned().collect(), clock: true, ..Grants::default() },
            limits: self.plugin.kind().default_limits(),
            inputs: Arc::new(Lent(lent)),
            egress: Arc::clone(recorder) as Arc<dyn Egress>,
            clock: Arc::new(SimulatedClock::new(Timestamp(0))),
            log: Arc::new(move |line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line)),
        }
    }
}

impl Handle {
    /// Asks; what came of it.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails.
    pub fn ask(&mut self, case: &Case) -> Result<Value, CallError> {
        match (self, &case.asked) {
            (Handle::Cleaner(cleaner), Asked::Rows(rows)) => {
                let (cleaned, _) = clean_keeping(cleaner, rows, &Arc::default())?;
                Ok(cleaned)
            }
            (Handle::Evaluator(evaluator), Asked::Rows(rows)) => Ok(json!({ "metrics": evaluator.evaluate(rows)? })),
            (Handle::Source(source), Asked::Inputs { rows_max, .. }) => {
                source.open(None)?;
                pull_all(source, *rows_max)
            }
            (Handle::Alerter(alerter, recorder), Asked::Alert { alert, .. }) => {
                let reference = alerter.notify(alert)?;
                Ok(json!({ "reference": reference, "requests": recorder.take() }))
            }
            // A case is read for the kind of the plugin.
            _ => Ok(Value::Null),
        }
    }

    /// Has a cleaner clean rows with what it has kept until now, and keeps what it keeps.
    ///
    /// # Errors
    /// [`CallError`] when the cleaner fails.
    pub fn ask_keeping(&mut self, rows: &Batch, kept: &mut Arc<StateEntries>) -> Result<Value, CallError> {
        let Handle::Cleaner(cleaner) = self else { return Ok(Value::Null) };
        let (value, changes) = clean_keeping(cleaner, rows, kept)?;
        Arc::make_mut(kept).apply(changes);
        Ok(value)
    }

    /// Reads what is behind `cursor`.
    ///
    /// # Errors
    /// [`CallError`] when the source fails.
    pub fn resume(&mut self, cursor: &[u8], rows_max: u32) -> Result<Value, CallError> {
        let Handle::Source(source) = self else { return Ok(Value::Null) };
        source.open(Some(cursor))?;
        pull_all(source, rows_max)
    }
}

/// What a cleaner made of rows, and of its state where it keeps one.
fn clean_keeping(cleaner: &mut Cleaner, rows: &Batch, kept: &Arc<StateEntries>) -> Result<(Value, StateChanges), CallError> {
    let (cleaned, changes) = cleaner.clean_keeping(rows, kept)?;
    let mut value = json!({ "columns": cells::columns(&cleaned.rows), "dropped": cleaned.dropped });
    if cleaner.keeps_state() {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let state = changes.0.iter().map(|(key, value)| (text(key), json!(value.as_deref().map(text))));
        value["state"] = state.collect::<serde_json::Map<_, _>>().into();
    }
    Ok((value, changes))
}

fn pull_all(source: &mut Source, rows_max: u32) -> Result<Value, CallError> {
    let mut pulls = Vec::new();
    let mut end = "still going";
    while pulls.len() < PULLS_MAX {
        match source.next(rows_max, POLL_BYTES_MAX)? {
            Pull::Rows { rows, cursor } => pulls.push(json!({ "columns": cells::columns(&rows), "cursor": cursor })),
            Pull::Idle { .. } => end = "idle",
            Pull::Finished => end = "finished",
        }
        if end != "still going" {
            break;
        }
    }
    Ok(json!({ "pulls": pulls, "end": end }))
}

/// Inputs that are texts of the case.
struct Lent(BTreeMap<String, String>);

impl Inputs for Lent {
    fn entries(&self, name: &str) -> Result<Vec<String>, InputError> {
        self.open(name).map(|_| vec![name.to_owned()])
    }

    fn open(&self, entry: &str) -> Result<Box<dyn Input>, InputError> {
        let none = || InputError { message: format!("the test lends no input `{entry}`"), retryable: false };
        Ok(Box::new(LentText(self.0.get(entry).ok_or_else(none)?.clone().into_bytes())))
    }
}

struct LentText(Vec<u8>);

impl Input for LentText {
    fn byte_count(&self) -> Result<u64, InputError> {
        Ok(self.0.len() as u64)
    }

    fn generation(&self) -> Result<String, InputError> {
        Ok("test".into())
    }

    fn read(&self, offset: u64, count: u32) -> Result<Vec<u8>, InputError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(count as usize).min(self.0.len());
        Ok(self.0[start..end].to_vec())
    }
}

/// Carries nothing: remembers requests and answers each with one status.
pub struct Recorder {
    status: u16,
    sent: Mutex<Vec<Value>>,
}

impl Recorder {
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Egress for Recorder {
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError> {
        let sent = json!({ "request": format!("{exchange:?}"), "body": String::from_utf8_lossy(&exchange.body) });
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        Ok(Answer { status: self.status, ..Answer::default() })
    }
}
