//! Loading the plugins of a pipeline: the file, the kind, the grants, the limits, the configuration.

use std::sync::Arc;

use tidegate_pipeline::{PluginStep, Plugins};
use tidegate_sandbox::{CallError, Grants, LogLevel, LogLine, Plugin, PluginSettings, Sandbox};
use tidegate_vocab::{Clock, PluginName};

use super::egress::{NetEgress, SystemResolver};
use crate::config::section::list;
use crate::config::{Config, PipelineConfig, PluginUse};
use crate::failure::{Exit, Failure};

/// The plugins of `pipeline`, configured and probed, with evaluators for all that its gate judges.
///
/// # Errors
/// A [`Failure`] that names the plugin and points at where the settings name it.
pub fn plugins(config: &Config, pipeline: &PipelineConfig, sandbox: &Sandbox, clock: &Arc<dyn Clock>) -> Result<Plugins, Failure> {
    let ready = |used: &PluginUse| -> Result<(Plugin, PluginSettings), Failure> {
        let plugin = load_used(config, sandbox, used)?;
        let settings = settings(config, &plugin, used, clock)?;
        Ok((plugin, settings))
    };
    let mut plugins = Plugins {
        source: {
            let (plugin, settings) = ready(&pipeline.source)?;
            let port = plugin.source(&settings).map_err(|error| misfit(config, &pipeline.source, &error))?;
            step(&pipeline.source, &plugin, Box::new(port))
        },
        cleaners: each(&pipeline.cleaners, |used| {
            let (plugin, settings) = ready(used)?;
            let port = plugin.cleaner(&settings).map_err(|error| misfit(config, used, &error))?;
            Ok(step(used, &plugin, Box::new(port) as _))
        })?,
        evaluators: each(&pipeline.evaluators, |used| {
            let (plugin, settings) = ready(used)?;
            let port = plugin.evaluator(&settings).map_err(|error| misfit(config, used, &error))?;
            Ok(step(used, &plugin, Box::new(port) as _))
        })?,
        alerters: each(&pipeline.alerters, |used| {
            let (plugin, settings) = ready(used)?;
            let port = plugin.alerter(&settings).map_err(|error| misfit(config, used, &error))?;
            Ok(step(used, &plugin, Box::new(port) as _))
        })?,
    };
    check_metrics(config, pipeline, &mut plugins)?;
    Ok(plugins)
}

/// Every metric that the gate names is one that an evaluator reports.
fn check_metrics(config: &Config, pipeline: &PipelineConfig, plugins: &mut Plugins) -> Result<(), Failure> {
    let mut known = Vec::new();
    for port in plugins.evaluators.iter_mut().filter_map(|step| step.port.as_mut()) {
        let metrics = port.metrics().map_err(|error| Failure::new(&error, error.hint()))?;
        known.extend(metrics.into_iter().map(|metric| metric.name));
    }
    let Some(rule) = pipeline.gate.rules.iter().find(|rule| !known.contains(&rule.metric)) else { return Ok(()) };
    let text = format!("gate rule `{}` judges `{}`, which no evaluator of pipeline `{}` reports", rule.id, rule.metric, pipeline.id);
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = format!("the evaluators report {}", if names.is_empty() { "nothing".to_owned() } else { list(&names) });
    Err(Failure::usage(text, hint).at(&config.file, pipeline.span.clone(), "its gate"))
}

/// Loads the component `NAME.wasm` of the plugin folder.
///
/// # Errors
/// A [`Failure`] when it is not there or does not load.
pub fn load_plugin(config: &Config, sandbox: &Sandbox, name: &PluginName) -> Result<Plugin, Failure> {
    load_file(sandbox, name, &config.plugin_file(name))
}

/// Loads a component from a file.
///
/// # Errors
/// A [`Failure`] when it is not there or does not load.
#[expect(clippy::disallowed_methods, reason = "the sandbox is handed bytes; this is where they are read")]
pub fn load_file(sandbox: &Sandbox, name: &PluginName, path: &std::path::Path) -> Result<Plugin, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        let text = format!("could not read plugin `{name}` from `{}`", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })?;
    sandbox.load(name, &bytes).map_err(|error| {
        let hint = error.hint();
        Failure::new(&error, hint)
    })
}

fn load_used(config: &Config, sandbox: &Sandbox, used: &PluginUse) -> Result<Plugin, Failure> {
    load_plugin(config, sandbox, &used.plugin).map_err(|failure| failure.at(&config.file, used.span.clone(), "named here"))
}

fn each<T>(used: &[PluginUse], make: impl FnMut(&PluginUse) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    used.iter().map(make).collect()
}

fn step<P: ?Sized>(used: &PluginUse, plugin: &Plugin, port: Box<P>) -> PluginStep<P> {
    PluginStep { name: used.plugin.clone(), digest: plugin.digest(), config: used.config.clone(), port: Some(port) }
}

/// A plugin that refuses its configuration points at it; one that is of another kind, at its name.
fn misfit(config: &Config, used: &PluginUse, error: &CallError) -> Failure {
    let failure = Failure::new(error, error.hint());
    let (span, label) = match error {
        CallError::Refused { .. } if !used.config_span.is_empty() => (used.config_span.clone(), "its configuration"),
        _ => (used.span.clone(), "named here"),
    };
    let mut failure = failure.at(&config.file, span, label);
    failure.exit = Exit::Usage;
    failure
}

fn settings(config: &Config, plugin: &Plugin, used: &PluginUse, clock: &Arc<dyn Clock>) -> Result<PluginSettings, Failure> {
    let own = config.plugin(&used.plugin);
    let secrets = super::secrets::secrets(&used.plugin, &own.grants.secrets)?;
    Ok(PluginSettings {
        config: used.config.clone(),
        grants: Grants { inputs: own.grants.inputs.clone(), clock: own.grants.clock, http: own.grants.http.clone(), secrets },
        limits: own.limits(plugin.kind().default_limits()),
        inputs: Arc::new(super::inputs(config)),
        egress: Arc::new(NetEgress::new(Arc::new(SystemResolver))),
        clock: Arc::clone(clock),
        log: Arc::new(log),
    })
}

/// A plugin's log line under the plugin's name.
fn log(line: LogLine) {
    let (plugin, message) = (line.plugin.as_str(), line.message.as_str());
    match line.level {
        LogLevel::Error => tracing::error!(plugin, "{message}"),
        LogLevel::Warn => tracing::warn!(plugin, "{message}"),
        LogLevel::Info => tracing::info!(plugin, "{message}"),
        LogLevel::Debug => tracing::debug!(plugin, "{message}"),
        LogLevel::Trace => tracing::trace!(plugin, "{message}"),
    }
}
