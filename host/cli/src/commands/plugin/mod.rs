//! `tidegate plugin`: what is in the plugin folder, what one plugin asks, imports and was lent, and which build is used.

mod capabilities;
mod diff;
mod inspect;
mod lock;
mod pull;
mod reload;
mod sign;

use std::path::Path;

use serde_json::json;
use tidegate_sandbox::{Plugin, Sandbox};
use tidegate_vocab::PluginName;

use super::{config, plugin_failures};
use crate::args::{Global, PluginCommand};
use crate::compose;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Carries out a command about plugins.
///
/// # Errors
/// A [`Failure`] when a plugin does not load, or what was asked cannot be done.
pub fn plugin(global: &Global, command: &PluginCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    if let PluginCommand::Author(command) = command {
        return crate::author::author(command, terminal);
    }
    if let PluginCommand::Keygen { name } = command {
        return sign::keygen(name, terminal);
    }
    let config = config(global)?;
    match command {
        // These need no settings, and have returned.
        PluginCommand::Author(_) | PluginCommand::Keygen { .. } => Ok(Exit::Ok),
        PluginCommand::Sign { plugins, key } => sign::sign(&config, plugins, key, terminal),
        PluginCommand::Verify { plugins } => sign::verify(&config, plugins, terminal),
        PluginCommand::Pull { plugins, from } => pull::pull(&config, plugins, from.as_deref(), terminal),
        PluginCommand::List => with_sandbox(&config, |sandbox| list(&config, sandbox, terminal)),
        PluginCommand::Inspect { plugin } => with_sandbox(&config, |sandbox| inspect::inspect(&config, sandbox, plugin, terminal)),
        PluginCommand::Reload { plugins, accept } => reload::reload(&config, plugins, *accept, global, terminal),
        PluginCommand::Rollback { plugin, reason } => reload::roll_back(&config, plugin, reason, global, terminal),
        PluginCommand::Lock { plugins } => with_sandbox(&config, |sandbox| lock::lock(&config, sandbox, plugins, terminal)),
        PluginCommand::Pin { plugin, digest } => {
            with_sandbox(&config, |sandbox| lock::pin(&config, sandbox, plugin, digest.as_deref(), terminal))
        }
        PluginCommand::Strikes => plugin_failures::strikes(&config, terminal),
        PluginCommand::Release { plugin, reason } => plugin_failures::release(&config, global, plugin, reason.as_deref(), terminal),
        PluginCommand::Replay { bundle, plugin } => plugin_failures::replay(&config, global, bundle, plugin.as_deref(), terminal),
        PluginCommand::Unpin { plugin } => lock::unpin(&config, plugin, terminal),
        PluginCommand::Diff { old, new } => diff::diff(&config, old, new, global, terminal),
    }
}

/// The plugins that were named, or else all that the pipelines use, each once.
fn named_or_used(config: &Config, plugins: &[String]) -> Result<Vec<PluginName>, Failure> {
    let mut names = plugins.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        let uses = config.pipelines.iter().flat_map(|pipeline| pipeline.plugins());
        names = uses.map(|(_, used)| used.plugin.clone()).collect();
        names.sort();
        names.dedup();
    }
    Ok(names)
}

fn with_sandbox(config: &Config, work: impl FnOnce(&Sandbox) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    compose::with_state_to_read(config, async |state| work(&compose::sandbox(config, state)?))
}

/// The name of a plugin that somebody typed.
fn named(name: &str) -> Result<PluginName, Failure> {
    name.parse().map_err(|error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "name a plugin of the folder"))
}

/// The component that lies in the plugin folder, whatever the lock says of it; or the one at a path that ends in `.wasm`.
fn found(config: &Config, sandbox: &Sandbox, name: &str) -> Result<compose::Loaded, Failure> {
    if !name.ends_with(".wasm") {
        let name = named(name)?;
        return compose::load_file(sandbox, &name, &config.plugin_file(&name));
    }
    let path = Path::new(name);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    compose::load_file(sandbox, &named(stem)?, path)
}

fn list(config: &Config, sandbox: &Sandbox, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut names: Vec<PluginName> = config.plugins_found().iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    let loaded: Vec<(PluginName, Result<Plugin, Failure>)> =
        names.into_iter().map(|name| (name.clone(), found(config, sandbox, name.as_str()).map(|loaded| loaded.plugin))).collect();
    let row = |(name, plugin): &(PluginName, Result<Plugin, Failure>)| match plugin {
        Ok(plugin) => {
            let manifest = plugin.manifest();
            vec![name.to_string(), plugin.kind().word().into(), manifest.version.clone(), plugin.digest().short(), manifest.summary.clone()]
        }
        Err(failure) => vec![name.to_string(), "does not load".into(), String::new(), String::new(), failure.message().to_owned()],
    };
    let text = || table(&["plugin", "kind", "version", "digest", "summary"], loaded.iter().map(row).collect(), 9);
    let value = |(name, plugin): &(PluginName, Result<Plugin, Failure>)| match plugin {
        Ok(plugin) => inspect::facts(config, plugin),
        Err(failure) => json!({ "plugin": name, "error": failure.message() }),
    };
    terminal.result(text, || loaded.iter().map(value).collect());
    Ok(if loaded.iter().all(|(_, plugin)| plugin.is_ok()) { Exit::Ok } else { Exit::Error })
}
