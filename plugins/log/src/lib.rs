//! Alerter `log`: writes every alert to the log, one line each, at the level of its severity.

use serde::Deserialize;
use tidegate_plugin::log::{self, Level};
use tidegate_plugin::{Alert, Alerter, Failure, Issues};

/// The configuration: there is nothing to configure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The plugin.
pub struct Log;

tidegate_plugin::export!(Log, alerter);

impl Alerter for Log {
    type Config = Config;

    fn configure(Config {}: Config) -> Result<Log, Issues> {
        Ok(Log)
    }

    fn notify(&self, alert: &Alert) -> Result<Option<String>, Failure> {
        log::write(level(&alert.severity), &line(alert));
        Ok(None)
    }
}

/// A severity of a later host is at least worth a warning.
fn level(severity: &str) -> Level {
    match severity {
        "critical" => Level::Error,
        "info" => Level::Info,
        _ => Level::Warn,
    }
}

/// The alert as one line; whatever it is made of, it stays one.
fn line(alert: &Alert) -> String {
    let Alert { key, severity, title, cause, model, link, fired_at_us, resolved } = alert;
    let state = if *resolved { "resolved" } else { "fired" };
    let mut line = format!("{severity} {state}: {title} [{key}] cause: {cause}");
    for (name, value) in [("model", model), ("link", link)] {
        if !value.is_empty() {
            line.push_str(&format!(" {name}: {value}"));
        }
    }
    line.push_str(&format!(" fired at: {fired_at_us} us"));
    line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests;
