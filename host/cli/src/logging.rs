//! Log lines: stderr, text for people and JSON for machines.

use tracing_subscriber::EnvFilter;

use crate::args::{Global, LogLevel};
use crate::terminal::Terminal;

/// Starts logging for the life of the process. Lines of our own crates begin at the chosen level, those of others at `warn`.
pub fn start(global: &Global, terminal: &Terminal) {
    let level = match global.log {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let crates = ["tidegate", "tidegate_store", "tidegate_sandbox", "tidegate_dataset", "tidegate_model", "tidegate_pipeline"];
    let ours: String = crates.iter().map(|name| format!(",{name}={level}")).collect();
    let others = if global.log == LogLevel::Off { "off" } else { "warn" };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{others}{ours}")))
        .with_writer(std::io::stderr)
        .with_ansi(terminal.color_err);
    // A second start would be a mistake of ours that costs log lines, not the command.
    let _ = if global.json { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
}
