//! `tidegate plugin strikes`, `release` and `replay`: plugins that fail.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_pipeline::{Bundle, DamageDone, FailedCall, Ledger, PipelineError, Standing, plugin_standings, release_plugin_at_rest};
use tidegate_sandbox::{ColumnGrant, Grants, LastWords, NoEgress, NoInputs, Plugin, PluginSettings};
use tidegate_store::StateFolder;
use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{Digest, PipelineId, PluginName};

use super::dead_letter::{bundle_of, last_words_text};
use super::{chosen, operator};
use crate::args::Global;
use crate::compose;
use crate::compose::clock::SystemClock;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// Bytes of a bundle that an operator names; as many as a component and a poll can have, with room.
const BUNDLE_BYTES_MAX: u64 = 512 << 20;

/// Lists the plugins with strikes, of every pipeline.
///
/// # Errors
/// A [`Failure`] when the state cannot be read.
pub fn strikes(config: &Config, terminal: &Terminal) -> Result<Exit, Failure> {
    let ledgers = compose::with_state_to_read(config, async |state| {
        let mut ledgers: Vec<(PipelineId, Ledger)> = Vec::new();
        for pipeline in &config.pipelines {
            ledgers.push((pipeline.id.clone(), plugin_standings(&*state.meta, &pipeline.id).await?));
        }
        Ok(ledgers)
    })?;
    let all: Vec<(&PipelineId, &PluginName, &Standing)> = ledgers
        .iter()
        .flat_map(|(pipeline, ledger)| ledger.plugins.iter().map(move |(plugin, standing)| (pipeline, plugin, standing)))
        .collect();
    let row = |(pipeline, plugin, standing): &(&PipelineId, &PluginName, &Standing)| {
        let last = standing.strikes.last();
        let (at, why) = last.map_or_else(Default::default, |strike| (strike.at.to_string(), strike.why.clone()));
        let (state, why) = match &standing.quarantined {
            Some(quarantine) => ("quarantined", quarantine.why.clone()),
            None => ("called", why),
        };
        vec![plugin.to_string(), pipeline.to_string(), state.to_owned(), standing.strikes.len().to_string(), at, why]
    };
    let text = || match all.is_empty() {
        true => "no plugin has strikes\n".to_owned(),
        false => table(&["plugin", "pipeline", "state", "strikes", "last", "why"], all.iter().map(row).collect(), 9),
    };
    let value = |(pipeline, plugin, standing): &(&PipelineId, &PluginName, &Standing)| {
        let strikes = standing.strikes.iter();
        let strikes =
            strikes.map(|strike| json!({ "at": strike.at.to_string(), "step": strike.step, "outcome": strike.outcome, "why": strike.why }));
        let quarantined = standing.quarantined.as_ref().map(|held| json!({ "at": held.at.to_string(), "why": held.why }));
        json!({ "plugin": plugin, "pipeline": pipeline, "strikes": strikes.collect::<Vec<_>>(), "quarantined": quarantined })
    };
    terminal.result(text, || all.iter().map(value).collect());
    Ok(Exit::Ok)
}

/// Forgives a plugin its strikes in every pipeline that uses it, or in the one that was named.
///
/// # Errors
/// A [`Failure`] when it has none.
pub fn release(config: &Config, global: &Global, named: &str, reason: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let plugin: PluginName =
        named.parse().map_err(|error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "name a plugin of the settings"))?;
    let wanted = match global.pipeline.as_deref() {
        Some(named) => vec![config.pipeline(Some(named))?.id.clone()],
        None => config.pipelines.iter().map(|pipeline| pipeline.id.clone()).collect(),
    };
    let reason = reason.unwrap_or("released by hand").to_owned();
    let mut released = Vec::new();
    for pipeline in wanted {
        let order = Order::Release { plugin: plugin.clone(), reason: reason.clone(), operator: operator() };
        let has_strikes = compose::with_state_to_read(config, async |state| {
            Ok(plugin_standings(&*state.meta, &pipeline).await?.plugins.contains_key(&plugin))
        })?;
        if !has_strikes {
            continue;
        }
        let strikes = match compose::block_on(control::ask(config, &pipeline, order))? {
            Some(Answer::Released { strikes }) => strikes,
            Some(_) => return Err(control::misunderstood()),
            None => compose::with_state(config, async |state| {
                let stores = compose::stores(state, Arc::new(SystemClock));
                let standing = release_plugin_at_rest(&stores, &pipeline, &plugin, &operator(), &reason).await?;
                Ok(standing.strikes.len() as u32)
            })?,
        };
        released.push((pipeline, strikes));
    }
    if released.is_empty() {
        return Err(PipelineError::NoStrikes { plugin }.into());
    }
    let line = |(pipeline, strikes): &(PipelineId, u32)| {
        let what = if *strikes == 1 { "1 strike is".to_owned() } else { format!("{strikes} strikes are") };
        format!("{plugin}: {what} forgiven in `{pipeline}`\n")
    };
    let value = |(pipeline, strikes): &(PipelineId, u32)| json!({ "plugin": plugin, "pipeline": pipeline, "strikes": strikes });
    terminal.result(|| released.iter().map(line).collect(), || released.iter().map(value).collect());
    Ok(Exit::Ok)
}

/// Makes a failed call again.
///
/// # Errors
/// A [`Failure`] when there is no such bundle, or its component does not load.
pub fn replay(config: &Config, global: &Global, named: &str, other: Option<&Path>, terminal: &Terminal) -> Result<Exit, Failure> {
    compose::with_state_to_read(config, async |state| {
        let bundle = match named.parse() {
            Ok(number) => bundle_of(chosen(config, global)?, state, number).await?,
            Err(_) => bundle_in(Path::new(named))?,
        };
        let plugin = component(config, state, &bundle, other)?;
        let ended = tokio::task::block_in_place(|| call_again(&bundle, &plugin))?;
        let verdict = Verdict::of(&bundle.call, &ended);
        let digest = plugin.digest();
        terminal.result(|| text(&bundle, digest, &ended, verdict), || value(&bundle, digest, &ended, verdict));
        Ok(verdict.exit())
    })
}

fn bundle_in(path: &Path) -> Result<Bundle, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = super::open(path)?.take(BUNDLE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| Failure::from(anyhow::Error::new(error).context(format!("could not read `{}`", path.display()))))?;
    let hint = "`tidegate dead-letter show NUMBER --bundle FILE` writes one";
    Bundle::decode(&bytes.into()).map_err(|error| Failure::new(&error, Some(hint.to_owned())))
}

fn component(config: &Config, state: &StateFolder, bundle: &Bundle, other: Option<&Path>) -> Result<Plugin, Failure> {
    let sandbox = compose::sandbox(config, state)?;
    let loaded = match other {
        Some(path) => compose::load_file(&sandbox, &bundle.call.plugin, path)?,
        None if bundle.component.is_empty() => {
            return Err(Failure::usage("the bundle has no component in it", "name one with `--plugin FILE`"));
        }
        None => compose::load_component(&sandbox, &bundle.call.plugin, bundle.component.clone())?,
    };
    Ok(loaded.plugin)
}

/// The columns that a cleaner was granted when it was called.
fn columns_of(circumstances: &serde_json::Value) -> Option<ColumnGrant> {
    let columns = circumstances.pointer("/grants/columns").filter(|columns| !columns.is_null())?;
    let names = |list: &str| {
        let list = columns.get(list).and_then(|list| list.as_array());
        list.into_iter().flatten().filter_map(|name| name.as_str()).map(str::to_owned).collect()
    };
    Some(ColumnGrant { read: names("read"), write: names("write") })
}

/// How a call that was made again ended.
struct Ended {
    /// Rows that came out, or the outcome and the error.
    result: Result<usize, (String, String)>,
    last_words: LastWords,
}

/// Calls a cleaner with the bundle's rows and state, under its configuration and limits, and with the columns that it was granted; it can
/// be granted nothing else.
fn call_again(bundle: &Bundle, plugin: &Plugin) -> Result<Ended, Failure> {
    let call = &bundle.call;
    let rows = bundle.batch().map_err(|error| Failure::new(&error, error.hint()))?;
    let limits = limits_of(call, plugin.kind().default_limits());
    let settings = PluginSettings {
        config: call.config.clone(),
        grants: Grants { columns: columns_of(&call.circumstances), ..Grants::default() },
        limits,
        inputs: Arc::new(NoInputs),
        egress: Arc::new(NoEgress),
        clock: Arc::new(SystemClock),
        log: Arc::new(|_| {}),
    };
    let failed = |error: &tidegate_sandbox::CallError| (error.word().to_owned(), error.to_string());
    let mut cleaner = match plugin.cleaner(&settings) {
        Ok(cleaner) => cleaner,
        Err(error) => return Ok(Ended { result: Err(failed(&error)), last_words: LastWords::default() }),
    };
    let kept = bundle.kept().map_err(|error| Failure::new(&error, error.hint()))?;
    let result = match cleaner.clean_keeping(&rows, &Arc::new(kept.unwrap_or_default())) {
        Err(error) => Err(failed(&error)),
        Ok((cleaned, _)) => match call.damage.breach(&DamageDone::of(&rows, &cleaned)) {
            None => Ok(cleaned.rows.row_count()),
            Some(breach) => {
                let (first_row, last_row) = (call.first_row, call.first_row + call.row_count - 1);
                let error = PipelineError::Damage { plugin: call.plugin.clone(), first_row, last_row, breach };
                Err((error.outcome().to_owned(), error.own_words()))
            }
        },
    };
    let last_words = if result.is_err() { cleaner.last_words().clone() } else { LastWords::default() };
    Ok(Ended { result, last_words })
}

/// The limits that a call was made under; those that a host of that time did not have are the defaults.
fn limits_of(call: &FailedCall, mut limits: PluginLimits) -> PluginLimits {
    for (key, value) in call.circumstances["limits"].as_object().into_iter().flatten() {
        if let Some(value) = value.as_u64() {
            limits.set(key, value);
        }
    }
    limits
}

/// Whether the failure came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Passed,
    Otherwise,
}

impl Verdict {
    fn of(call: &FailedCall, ended: &Ended) -> Verdict {
        match &ended.result {
            Ok(_) => Verdict::Passed,
            Err((outcome, error)) if *outcome == call.outcome && *error == call.error => Verdict::Same,
            Err(_) => Verdict::Otherwise,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Same => "the failure came back as it was",
            Verdict::Passed => "the failure did not come back",
            Verdict::Otherwise => "it failed, but otherwise than before",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Verdict::Same => Exit::Ok,
            Verdict::Passed => Exit::Rejected,
            Verdict::Otherwise => Exit::Error,
        }
    }
}

fn log_of(ended: &Ended) -> Vec<(String, String)> {
    ended.last_words.log.iter().map(|line| (line.level.word().to_owned(), line.message.clone())).collect()
}

fn text(bundle: &Bundle, digest: Digest, ended: &Ended, verdict: Verdict) -> String {
    let call = &bundle.call;
    let now = match &ended.result {
        Ok(rows) => format!("passed: {rows} rows came out"),
        Err((outcome, error)) => format!("{outcome}: {error}"),
    };
    let mut out = format!("then ({}): {}: {}\nnow  ({}): {now}\n", call.digest.short(), call.outcome, call.error, digest.short());
    out.push_str(&last_words_text(&log_of(ended), &ended.last_words.backtrace));
    out.push_str(&format!("\n{}\n", verdict.word()));
    out
}

fn value(bundle: &Bundle, digest: Digest, ended: &Ended, verdict: Verdict) -> Value {
    let call = &bundle.call;
    let (outcome, error, rows) = match &ended.result {
        Ok(rows) => ("passed", None, Some(*rows)),
        Err((outcome, error)) => (outcome.as_str(), Some(error), None),
    };
    json!({
        "plugin": call.plugin,
        "then": { "digest": call.digest, "outcome": call.outcome, "error": call.error },
        "now": {
            "digest": digest, "outcome": outcome, "error": error, "rows": rows, "log": log_of(ended),
            "backtrace": ended.last_words.backtrace,
        },
        "reproduced": verdict == Verdict::Same,
        "verdict": verdict.word(),
    })
}
