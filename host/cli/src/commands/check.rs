//! `tidegate check`: everything that can be wrong with the settings, and nothing else.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_model::Family;
use tidegate_policy::{TriggerKind, TriggerRule};
use tidegate_store::StateFolder;
use tidegate_vocab::{Clock, Digest};

use super::config;
use crate::args::Global;
use crate::compose::{self, clock::SystemClock};
use crate::config::live::When;
use crate::config::section::grouped;
use crate::config::typed::Change;
use crate::config::value::{show_bytes, show_duration_us};
use crate::config::{Config, PipelineConfig, lint};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::control::{self, Answer, Command};

/// Checks the settings file, the plugin files and the inputs, and says what the settings mean.
///
/// # Errors
/// A [`Failure`] that points at everything that is wrong.
pub fn check(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    config.check_files()?;
    try_plugins(&config)?;
    for pipeline in &config.pipelines {
        for advice in lint(&pipeline.gate) {
            terminal.note(&format!("pipeline `{}`: {advice}", pipeline.id));
        }
    }
    let running = running(&config).unwrap_or_else(|failure| {
        // The file is fine all the same.
        terminal.note(&format!("a host runs here, and did not say which settings are in force: {}", failure.line()));
        None
    });
    terminal.result(|| text(&config, running.as_ref()), || value(&config, running.as_ref()));
    Ok(Exit::Ok)
}

/// A host that runs by these settings, or by what they were.
struct Running {
    /// What is in force there.
    digest: Digest,
    /// What the file says otherwise.
    differ: Vec<Change>,
    /// Why that was not taken up, where it was tried.
    refused: Option<String>,
}

fn running(config: &Config) -> Result<Option<Running>, Failure> {
    Ok(match super::reload::ask(config, Command::ShowSettings)? {
        Some(Answer::Settings { digest, differ, refused }) => Some(Running { digest, differ, refused }),
        Some(_) => return Err(control::misunderstood()),
        None => None,
    })
}

impl Running {
    fn text(&self) -> String {
        let mut out = format!("\na host runs here, by settings {}\n", self.digest.short());
        if let Some(why) = &self.refused {
            out.push_str(&format!("it did not take the file up: {why}\n"));
        }
        for (when, said) in [
            (When::Live, "it takes these up without a restart"),
            (When::NextRun, "its next run takes these up"),
            (When::Restart, "these need a restart"),
        ] {
            let changes: Vec<Change> = self.differ.iter().filter(|change| change.when == when).cloned().collect();
            if !changes.is_empty() {
                out.push_str(&format!("{said}\n{}", super::reload::lines(&changes)));
            }
        }
        out
    }
}

/// Loads, configures and probes every plugin. Compiled plugins of an existing state folder are used where nobody else has it open; no
/// folder is made.
fn try_plugins(config: &Config) -> Result<(), Failure> {
    compose::block_on(async {
        let kept = if config.store.folder.exists() { compose::open_state(config).await.ok() } else { None };
        let state = match kept {
            Some(state) => state,
            None => StateFolder::scratch().await?,
        };
        let sandbox = compose::sandbox(config, &state)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        for pipeline in &config.pipelines {
            compose::plugins(config, pipeline, &sandbox, &clock)?;
        }
        Ok(())
    })
}

fn text(config: &Config, running: Option<&Running>) -> String {
    let mut out = format!("`{}` is fine\n", config.file.path.display());
    for pipeline in &config.pipelines {
        out.push_str(&format!("\npipeline {}\n", pipeline.id));
        let rows = facts(config, pipeline);
        let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, fact) in rows {
            out.push_str(&format!("  {key:width$}  {fact}\n"));
        }
    }
    out.push_str(&running.map(Running::text).unwrap_or_default());
    out
}

fn facts(config: &Config, pipeline: &PipelineConfig) -> Vec<(&'static str, String)> {
    let contract = &pipeline.contract;
    let names = |plugins: &[crate::config::PluginUse]| {
        let names: Vec<&str> = plugins.iter().map(|plugin| plugin.plugin.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let classes = contract.label.classes.len();
    let time = contract.time.as_ref().map_or_else(|| "none; rows count in the order of arrival".to_owned(), |time| time.column.clone());
    let window = format!("the newest {} rows", grouped(pipeline.model.window_rows));
    let rules: Vec<&str> = pipeline.gate.rules.iter().map(|rule| rule.id.as_str()).collect();
    let triggers: Vec<String> = pipeline.triggers.iter().map(trigger).collect();
    vec![
        ("source", names(std::slice::from_ref(&pipeline.source))),
        ("cleaners", names(&pipeline.cleaners)),
        ("evaluators", names(&pipeline.evaluators)),
        ("alerters", names(&pipeline.alerters)),
        ("label", format!("{}, {classes} classes, known after {}", contract.label.column, show_duration_us(contract.label.delay_us))),
        ("time", time),
        ("columns", contract.columns.len().to_string()),
        ("model", format!("{}, on {window}", family(pipeline))),
        ("triggers", if triggers.is_empty() { "by hand only".to_owned() } else { triggers.join("; ") }),
        ("gate", format!("{} at confidence {}", rules.join(", "), pipeline.gate.confidence)),
        ("state", config.store.folder.display().to_string()),
        (
            "plugins",
            format!("{}, {} of memory together", config.plugins.folder.display(), show_bytes(config.plugins.limits.memory_bytes_max)),
        ),
    ]
}

fn family(pipeline: &PipelineConfig) -> String {
    match pipeline.model.spec.family {
        Family::Linear => "linear".to_owned(),
        Family::Mlp => {
            let widths: Vec<String> = pipeline.model.spec.hidden.iter().map(ToString::to_string).collect();
            format!("mlp ({})", widths.join("-"))
        }
    }
}

fn trigger(trigger: &TriggerRule) -> String {
    let what = match &trigger.kind {
        TriggerKind::Schedule { cron } => format!("schedule `{cron}`"),
        TriggerKind::Volume { new_rows } => format!("every {} new rows", grouped(*new_rows)),
        TriggerKind::Growth { new_percent } => format!("every {new_percent} % more rows"),
        TriggerKind::Watermark { advance } => format!("every {advance} of event time"),
        TriggerKind::Labels { new_labels } => format!("every {} labels", grouped(*new_labels)),
        TriggerKind::Error { detector } => format!("errors change ({})", detector.word()),
        TriggerKind::Quality { drop, .. } => format!("accuracy falls by more than {drop}"),
        TriggerKind::Estimate { drop } => format!("estimated accuracy falls by more than {drop}"),
        TriggerKind::Drift => "rows drift".to_owned(),
        TriggerKind::PredictionDrift => "answers drift".to_owned(),
        TriggerKind::Staleness { age } => format!("the champion is {age} old"),
        TriggerKind::Code => "cleaners change".to_owned(),
        TriggerKind::Webhook { name } => format!("webhook `{name}`"),
        TriggerKind::Manual => "by hand".to_owned(),
    };
    match trigger.brakes.cooldown_rows {
        Some(rows) => format!("{what}, quiet for {} rows after a run", grouped(rows)),
        None => what,
    }
}

fn value(config: &Config, running: Option<&Running>) -> Value {
    let pipelines: Vec<Value> = config
        .pipelines
        .iter()
        .map(|pipeline| {
            let plugins: Vec<Value> =
                pipeline.plugins().map(|(kind, plugin)| json!({ "kind": kind, "plugin": plugin.plugin.as_str() })).collect();
            json!({
                "pipeline": pipeline.id.as_str(),
                "plugins": plugins,
                "label": pipeline.contract.label.column,
                "classes": pipeline.contract.label.classes,
                "columns": pipeline.contract.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
                "triggers": pipeline.triggers.len(),
                "rules": pipeline.gate.rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let running = running.map(|host| json!({ "digest": host.digest, "differ": host.differ, "refused": host.refused }));
    json!({ "settings": config.file.path.display().to_string(), "pipelines": pipelines, "running": running })
}
