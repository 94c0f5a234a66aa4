//! `tidegate plugin`: what is in the plugin folder, and what one plugin asks, imports and was lent.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_sandbox::{Plugin, Sandbox};
use tidegate_vocab::PluginName;

use super::config;
use crate::args::{Global, PluginCommand};
use crate::compose;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// Lists or inspects plugins.
///
/// # Errors
/// A [`Failure`] when a plugin does not load.
pub fn plugin(global: &Global, command: &PluginCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    if let PluginCommand::Author(command) = command {
        return crate::author::author(command, terminal);
    }
    let config = config(global)?;
    if let PluginCommand::Reload { plugin } = command {
        return reload(&config, plugin.as_deref(), global, terminal);
    }
    compose::with_state_to_read(&config, async |state| {
        let sandbox = compose::sandbox(&config, state)?;
        match command {
            PluginCommand::List => list(&config, &sandbox, terminal),
            PluginCommand::Inspect { plugin } => inspect(&config, &sandbox, plugin, terminal),
            PluginCommand::Reload { .. } | PluginCommand::Author(_) => Ok(Exit::Ok),
        }
    })
}

/// Asks the running host to look at its plugin folder.
fn reload(config: &Config, named: Option<&str>, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let wrong = |error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "name a plugin of the folder");
    let plugin: Option<PluginName> = named.map(str::parse).transpose().map_err(wrong)?;
    let first = config.pipelines.first().map(|pipeline| pipeline.id.to_string());
    let chosen = config.pipeline(global.pipeline.as_deref().or(first.as_deref()))?;
    let plugins = match compose::block_on(control::ask(config, &chosen.id, Order::Reload { plugin }))? {
        Some(Answer::Reloaded { plugins }) => plugins,
        Some(_) => return Err(control::misunderstood()),
        None => {
            return Err(Failure::usage(
                "no host runs on this state folder",
                "`tidegate up` starts one; the other commands load plugins anew each time",
            ));
        }
    };
    let line = |(name, refused): &(PluginName, Option<String>)| match refused {
        None => format!("{name}: replaced\n"),
        Some(why) => format!("{name}: the old one stays: {why}\n"),
    };
    let text = || if plugins.is_empty() { "no plugin has changed\n".to_owned() } else { plugins.iter().map(line).collect() };
    let value = |(name, refused): &(PluginName, Option<String>)| json!({ "plugin": name, "replaced": refused.is_none(), "why": refused });
    terminal.result(text, || plugins.iter().map(value).collect());
    Ok(if plugins.iter().all(|(_, refused)| refused.is_none()) { Exit::Ok } else { Exit::Error })
}

fn list(config: &Config, sandbox: &Sandbox, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut names: Vec<PluginName> = config.plugins_found().iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    let loaded: Vec<(PluginName, Result<Plugin, Failure>)> =
        names.into_iter().map(|name| (name.clone(), compose::load_plugin(config, sandbox, &name).map(|loaded| loaded.plugin))).collect();
    let row = |(name, plugin): &(PluginName, Result<Plugin, Failure>)| match plugin {
        Ok(plugin) => {
            let manifest = plugin.manifest();
            vec![name.to_string(), plugin.kind().word().into(), manifest.version.clone(), plugin.digest().short(), manifest.summary.clone()]
        }
        Err(failure) => vec![name.to_string(), "does not load".into(), String::new(), String::new(), failure.message().to_owned()],
    };
    let text = || table(&["plugin", "kind", "version", "digest", "summary"], loaded.iter().map(row).collect(), 9);
    let value = |(name, plugin): &(PluginName, Result<Plugin, Failure>)| match plugin {
        Ok(plugin) => facts(config, plugin),
        Err(failure) => json!({ "plugin": name, "error": failure.message() }),
    };
    terminal.result(text, || loaded.iter().map(value).collect());
    Ok(if loaded.iter().all(|(_, plugin)| plugin.is_ok()) { Exit::Ok } else { Exit::Error })
}

fn inspect(config: &Config, sandbox: &Sandbox, named: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let wrong =
        |error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "name a plugin of the folder, or the path of a `.wasm` file");
    let plugin = if named.ends_with(".wasm") {
        let path = Path::new(named);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        compose::load_file(sandbox, &stem.parse().map_err(wrong)?, path)?
    } else {
        compose::load_plugin(config, sandbox, &named.parse().map_err(wrong)?)?
    };
    let plugin = &plugin.plugin;
    terminal.result(|| text(config, plugin), || facts(config, plugin));
    Ok(Exit::Ok)
}

fn text(config: &Config, plugin: &Plugin) -> String {
    let manifest = plugin.manifest();
    let mut out = format!("{} {}, {} {}\n{}\n\n", manifest.name, manifest.version, plugin.kind().word(), plugin.digest(), manifest.summary);
    let granted = config.plugin(plugin.name()).grants;
    // What is asked, imported and lent, side by side in the same words.
    let rows = ["inputs", "clock", "http"].map(|capability| {
        let asked = manifest.capabilities.iter().any(|asked| asked == capability);
        let imported = plugin.imports().iter().any(|import| import.contains(&format!("/{capability}@")));
        let lent = match capability {
            "inputs" => granted.inputs.iter().cloned().collect::<Vec<_>>().join(", "),
            "clock" => {
                if granted.clock {
                    "yes".to_owned()
                } else {
                    String::new()
                }
            }
            _ => granted.http.iter().map(|place| format!("{}:{}", place.host, place.port)).collect::<Vec<_>>().join(", "),
        };
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![capability.to_owned(), yes(asked), yes(imported), if lent.is_empty() { "no".to_owned() } else { lent }]
    });
    out.push_str(&table(&["capability", "asked", "imported", "granted"], rows.to_vec(), 9));
    out.push_str("\nlimits\n");
    for (limit, value) in limits(config, plugin).as_object().into_iter().flatten() {
        out.push_str(&format!("  {limit:22} {value}\n"));
    }
    out.push_str(&format!(
        "\nreasons for quarantine: {}\n",
        if manifest.reasons.is_empty() { "none".to_owned() } else { manifest.reasons.join(", ") }
    ));
    out.push_str(&format!("\nconfiguration\n{:#}\n", manifest.config_schema));
    out
}

fn limits(config: &Config, plugin: &Plugin) -> Value {
    let own = config.plugin(plugin.name());
    json!(own.limits(plugin.kind().default_limits()))
}

fn facts(config: &Config, plugin: &Plugin) -> Value {
    let manifest = plugin.manifest();
    let granted = config.plugin(plugin.name()).grants;
    let http: Vec<String> = granted.http.iter().map(|place| format!("{}:{}", place.host, place.port)).collect();
    json!({
        "plugin": plugin.name(),
        "kind": plugin.kind().word(),
        "version": manifest.version,
        "interface": manifest.interface,
        "summary": manifest.summary,
        "digest": plugin.digest(),
        "asked": manifest.capabilities,
        "imported": plugin.imports(),
        "granted": { "inputs": granted.inputs, "clock": granted.clock, "http": http },
        "limits": limits(config, plugin),
        "reasons": manifest.reasons,
        "config_schema": manifest.config_schema,
    })
}
