//! `tidegate plugin inspect`: what somebody has to know who decides whether to trust a plugin.

use serde_json::{Value, json};
use tidegate_sandbox::{Plugin, Sandbox};

use super::capabilities::{self, Capability};
use super::found;
use crate::compose::lock::grant_lines;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// What stands under the table.
const WASI: &str = "WASI is answered with nothing behind it: no environment, folders or sockets;\n\
    clocks stand still, and output goes to the plugin's log.";

/// Shows one plugin of the folder, or the component of a file.
///
/// # Errors
/// A [`Failure`] when it does not load.
pub fn inspect(config: &Config, sandbox: &Sandbox, named: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let plugin = &found(config, sandbox, named)?.plugin;
    terminal.result(|| text(config, plugin), || facts(config, plugin));
    Ok(Exit::Ok)
}

fn capabilities(config: &Config, plugin: &Plugin) -> Vec<Capability> {
    let granted = config.plugin(plugin.name()).grants;
    let inputs = config.inputs.keys().map(String::as_str).collect();
    let (name, manifest, imports) = (plugin.name(), plugin.manifest(), plugin.imports());
    capabilities::Plugin { name, manifest, imports, granted: &granted, inputs }.capabilities()
}

fn text(config: &Config, plugin: &Plugin) -> String {
    let manifest = plugin.manifest();
    let mut out = format!("{} {}, {} {}\n{}\n\n", manifest.name, manifest.version, plugin.kind().word(), plugin.digest(), manifest.summary);
    let capabilities = capabilities(config, plugin);
    let rows = capabilities.iter().map(Capability::row).collect();
    out.push_str(&table(&["capability", "asked", "imported", "granted", ""], rows, 9));
    out.push_str(&format!("\n{WASI}\n"));
    for capability in &capabilities {
        if let Some(differs) = &capability.differs {
            out.push_str(&format!("{} is {}: {}\n", capability.name, differs.what.replace(", not", " and not"), differs.way_out));
        }
    }
    out.push_str("\nlimits\n");
    for (limit, value) in limits(config, plugin).as_object().into_iter().flatten() {
        out.push_str(&format!("  {limit:24} {value}\n"));
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

/// What is known of a plugin, for `--json`.
pub fn facts(config: &Config, plugin: &Plugin) -> Value {
    let manifest = plugin.manifest();
    json!({
        "plugin": plugin.name(),
        "kind": plugin.kind().word(),
        "version": manifest.version,
        "interface": manifest.interface,
        "summary": manifest.summary,
        "digest": plugin.digest(),
        "asked": manifest.capabilities,
        "imported": plugin.imports(),
        "granted": grant_lines(&config.plugin(plugin.name())),
        "capabilities": capabilities(config, plugin).iter().map(Capability::value).collect::<Vec<_>>(),
        "limits": limits(config, plugin),
        "reasons": manifest.reasons,
        "config_schema": manifest.config_schema,
    })
}
