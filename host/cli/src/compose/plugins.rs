//! Loading the plugins of a pipeline: the file, the kind, the grants, the limits, the configuration.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_dataset::chain_digest;
use tidegate_pipeline::{AlertPort, CleanPort, EvaluatePort, PluginStep, Plugins, SourcePort, cleaner_settings};
use tidegate_sandbox::{CallError, Grants, LogLevel, LogLine, Plugin, PluginSettings, Sandbox, StateKind};
use tidegate_vocab::{Clock, Digest, PluginName};

use super::egress::{NetEgress, SystemResolver};
use super::stands::Registry;
use super::trust::signature_beside;
use crate::config::section::list;
use crate::config::{Config, PipelineConfig, PluginConfig, PluginUse};
use crate::failure::{Exit, Failure};
use crate::plain_file;

/// Bytes of a component's file, whatever the settings say of it: no more can be written there.
const COMPONENT_BYTES_MAX: u64 = 1 << 30;

/// The plugins of `pipeline`, configured and probed, with evaluators for all that its gate judges.
///
/// # Errors
/// A [`Failure`] that names the plugin and points at where the settings name it.
pub fn plugins(config: &Config, pipeline: &PipelineConfig, sandbox: &Sandbox, clock: &Arc<dyn Clock>) -> Result<Plugins, Failure> {
    let make = Maker { config, clock };
    let load = |used: &PluginUse| load_used(config, sandbox, used);
    let mut plugins = Plugins {
        source: make.source(&pipeline.source, &load(&pipeline.source)?)?,
        cleaners: each(&pipeline.cleaners, |used| make.cleaner(used, &load(used)?))?,
        evaluators: each(&pipeline.evaluators, |used| make.evaluator(used, &load(used)?))?,
        alerters: each(&pipeline.alerters, |used| make.alerter(used, &load(used)?))?,
    };
    check_metrics(config, pipeline, &mut plugins.evaluators)?;
    Ok(plugins)
}

/// Makes configured steps of loaded plugins.
pub struct Maker<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The time that plugins see.
    pub clock: &'a Arc<dyn Clock>,
}

impl Maker<'_> {
    /// A source, configured and probed.
    ///
    /// # Errors
    /// A [`Failure`] that points at where the settings name it; so for all kinds.
    pub fn source(&self, used: &PluginUse, loaded: &Loaded) -> Result<PluginStep<dyn SourcePort>, Failure> {
        let port = loaded.plugin.source(&self.settings(used, loaded)?).map_err(|error| misfit(self.config, used, &error))?;
        Ok(self.step(used, loaded, Box::new(port)))
    }

    /// A cleaner, configured and probed.
    pub fn cleaner(&self, used: &PluginUse, loaded: &Loaded) -> Result<PluginStep<dyn CleanPort>, Failure> {
        if used.serving && loaded.plugin.manifest().state == StateKind::Keyed {
            let text =
                format!("`{}` keeps state from batch to batch (`state = \"keyed\"`), and requests are no batch in a row", used.plugin);
            let hint = "take `serving = true` away: training rows pass through it, requests do not";
            return Err(Failure::usage(text, hint).at(&self.config.file, used.span.clone(), "named here"));
        }
        let port = loaded.plugin.cleaner(&self.settings(used, loaded)?).map_err(|error| misfit(self.config, used, &error))?;
        Ok(self.step(used, loaded, Box::new(port)))
    }

    /// An evaluator, configured and probed.
    pub fn evaluator(&self, used: &PluginUse, loaded: &Loaded) -> Result<PluginStep<dyn EvaluatePort>, Failure> {
        let port = loaded.plugin.evaluator(&self.settings(used, loaded)?).map_err(|error| misfit(self.config, used, &error))?;
        Ok(self.step(used, loaded, Box::new(port)))
    }

    /// An alerter, configured and probed.
    pub fn alerter(&self, used: &PluginUse, loaded: &Loaded) -> Result<PluginStep<dyn AlertPort>, Failure> {
        let port = loaded.plugin.alerter(&self.settings(used, loaded)?).map_err(|error| misfit(self.config, used, &error))?;
        Ok(self.step(used, loaded, Box::new(port)))
    }

    fn step<P: ?Sized>(&self, used: &PluginUse, loaded: &Loaded, port: Box<P>) -> PluginStep<P> {
        PluginStep {
            name: used.plugin.clone(),
            digest: loaded.plugin.digest(),
            config: used.config.clone(),
            component: loaded.component.clone(),
            columns: columns_of(&self.config.plugin(&used.plugin)),
            serving: used.serving,
            circumstances: circumstances(self.config, &loaded.plugin),
            damage: used.damage,
            port: Some(port),
        }
    }

    /// How a plugin is used.
    ///
    /// # Errors
    /// A [`Failure`] when a secret that it was granted is not there.
    pub fn settings(&self, used: &PluginUse, loaded: &Loaded) -> Result<PluginSettings, Failure> {
        settings(self.config, &loaded.plugin, used, self.clock)
    }
}

/// A plugin and the component it came from.
pub struct Loaded {
    /// The plugin.
    pub plugin: Plugin,
    /// Its component.
    pub component: Bytes,
    /// The signature that came with it, if one did.
    pub signature: Option<String>,
}

/// Every metric that the gate names is one that an evaluator reports.
///
/// # Errors
/// A [`Failure`] that names the rule, and what the evaluators report.
pub fn check_metrics(config: &Config, pipeline: &PipelineConfig, evaluators: &mut [PluginStep<dyn EvaluatePort>]) -> Result<(), Failure> {
    let mut known = Vec::new();
    for port in evaluators.iter_mut().filter_map(|step| step.port.as_mut()) {
        let metrics = port.metrics().map_err(|error| Failure::new(&error, error.hint()))?;
        known.extend(metrics.into_iter().map(|metric| metric.name));
    }
    let Some(rule) = pipeline.gate.rules.iter().find(|rule| !known.contains(&rule.metric)) else { return Ok(()) };
    let text = format!("gate rule `{}` judges `{}`, which no evaluator of pipeline `{}` reports", rule.id, rule.metric, pipeline.id);
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = format!("the evaluators report {}", if names.is_empty() { "nothing".to_owned() } else { list(&names) });
    Err(Failure::usage(text, hint).at(&config.file, pipeline.span.clone(), "its gate"))
}

/// An evaluator that replaces another reports what the gate judges by, as far as no other evaluator does.
///
/// # Errors
/// A [`Failure`] that names the metric.
pub fn check_evaluator(pipeline: &PipelineConfig, step: &mut PluginStep<dyn EvaluatePort>) -> Result<(), Failure> {
    let Some(port) = step.port.as_mut() else { return Ok(()) };
    let reported = port.metrics().map_err(|error| Failure::new(&error, error.hint()))?;
    let judged = pipeline.gate.rules.iter().find(|rule| !reported.iter().any(|metric| metric.name == rule.metric));
    match judged {
        Some(rule) if pipeline.evaluators.len() == 1 => {
            let text = format!("the new `{}` does not report `{}`, which gate rule `{}` judges", step.name, rule.metric, rule.id);
            Err(Failure::usage(text, "build it so that it does, or change the rule and restart"))
        }
        _ => Ok(()),
    }
}

/// Loads the component that a plugin's name stands for.
///
/// # Errors
/// A [`Failure`] when it is not there, is not the one it must be, or does not load.
pub fn load_plugin(config: &Config, sandbox: &Sandbox, name: &PluginName) -> Result<Loaded, Failure> {
    let stands = Registry::read(config)?.stands(config, name)?;
    if let Some(why) = &stands.instead {
        tracing::warn!(plugin = %name, digest = %stands.digest.short(), "{why}");
    }
    Ok(Loaded { signature: stands.signature, ..load_component(sandbox, name, stands.component)? })
}

/// The bytes of a component's file.
///
/// # Errors
/// A [`Failure`] when it cannot be read.
pub fn component(name: &PluginName, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    plain_file::read(path, COMPONENT_BYTES_MAX).map_err(|error| {
        let text = format!("could not read plugin `{name}` from `{}`", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })
}

/// The cleaner chain of `pipeline` as its settings and the plugin folder are now; nothing is compiled.
///
/// # Errors
/// A [`Failure`] when a cleaner's file cannot be read.
pub fn chain(config: &Config, pipeline: &PipelineConfig) -> Result<Digest, Failure> {
    let registry = Registry::read(config)?;
    let cleaner = |used: &PluginUse| {
        let stands = registry.stands(config, &used.plugin).map_err(|failure| failure.at(&config.file, used.span.clone(), "named here"))?;
        let columns = columns_of(&config.plugin(&used.plugin));
        Ok((stands.digest, cleaner_settings(&used.config, columns.as_ref())))
    };
    Ok(chain_digest(&each(&pipeline.cleaners, cleaner)?, &pipeline.contract))
}

/// Loads a component from a file, with the signature beside it, which is not checked.
///
/// # Errors
/// A [`Failure`] when it is not there or does not load.
pub fn load_file(sandbox: &Sandbox, name: &PluginName, path: &std::path::Path) -> Result<Loaded, Failure> {
    let loaded = load_component(sandbox, name, component(name, path)?.into())?;
    Ok(Loaded { signature: signature_beside(path)?, ..loaded })
}

/// Loads a component, as far as is known here without a signature.
///
/// # Errors
/// A [`Failure`] when it does not load.
pub fn load_component(sandbox: &Sandbox, name: &PluginName, component: Bytes) -> Result<Loaded, Failure> {
    let plugin = sandbox.load(name, &component).map_err(|error| {
        let hint = error.hint();
        Failure::new(&error, hint)
    })?;
    Ok(Loaded { plugin, component, signature: None })
}

fn load_used(config: &Config, sandbox: &Sandbox, used: &PluginUse) -> Result<Loaded, Failure> {
    load_plugin(config, sandbox, &used.plugin).map_err(|failure| failure.at(&config.file, used.span.clone(), "named here"))
}

fn each<T>(used: &[PluginUse], make: impl FnMut(&PluginUse) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    used.iter().map(make).collect()
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

/// What a plugin was granted of the columns, where anything is said.
fn columns_of(plugin: &PluginConfig) -> Option<serde_json::Value> {
    plugin.grants.columns.as_ref().map(|columns| serde_json::json!({ "read": columns.read, "write": columns.write }))
}

/// Under which limits and with which grants a plugin runs. Secrets are in it by name only: it goes into replay bundles.
fn circumstances(config: &Config, plugin: &Plugin) -> serde_json::Value {
    let own = config.plugin(plugin.name());
    let http: Vec<String> = own.grants.http.iter().map(|place| format!("{}:{}{}", place.host, place.port, place.path)).collect();
    let secrets: Vec<&str> = own.grants.secrets.iter().map(|secret| secret.name.as_str()).collect();
    let columns = columns_of(&own);
    serde_json::json!({
        "limits": own.limits(plugin.kind().default_limits()),
        "grants": { "inputs": own.grants.inputs, "clock": own.grants.clock, "http": http, "secrets": secrets, "columns": columns },
    })
}

fn settings(config: &Config, plugin: &Plugin, used: &PluginUse, clock: &Arc<dyn Clock>) -> Result<PluginSettings, Failure> {
    let own = config.plugin(&used.plugin);
    let secrets = super::secrets::secrets(&used.plugin, &own.grants.secrets, config.folder())?;
    Ok(PluginSettings {
        config: used.config.clone(),
        grants: Grants {
            inputs: own.grants.inputs.clone(),
            clock: own.grants.clock,
            http: own.grants.http.clone(),
            secrets,
            columns: own.grants.columns.clone(),
        },
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
