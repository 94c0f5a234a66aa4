//! One file a command, and the one place that chooses.

mod backtest;
mod backup;
mod check;
mod check_version;
mod contract;
mod dead_letter;
mod drift;
mod gate;
mod gc;
mod ingest;
mod init;
mod journal;
mod labels;
mod plugin;
mod plugin_failures;
mod predict;
mod quality;
mod quarantine;
mod reload;
mod replay;
mod restore;
mod run;
mod token;
pub mod tune;
mod up;
mod versions;

use crate::args::{Arguments, Command};
use crate::config::{Config, File, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Does what was asked.
///
/// # Errors
/// A [`Failure`] with its exit code.
pub fn dispatch(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Init { folder } => init::init(folder, terminal),
        Command::Check => check::check(global, terminal),
        Command::Reload { accept } => reload::reload(global, *accept, terminal),
        Command::Up(options) => up::up(global, options, terminal),
        Command::Predict(options) => predict::predict(global, options, terminal),
        Command::Labels { file } => labels::labels(global, file, terminal),
        Command::Import { folder, reason } => versions::import(global, folder, reason.as_deref(), terminal),
        Command::Export { version, folder } => versions::export(global, *version, folder, terminal),
        Command::Token(command) => token::token(global, command, terminal),
        Command::Drift => drift::drift(global, terminal),
        Command::Quality => quality::quality(global, terminal),
        Command::Run { force } => run::run(global, *force, terminal),
        Command::Backtest(options) => replay::replay(global, options, terminal),
        Command::Ingest => ingest::ingest(global, terminal),
        Command::Contract(command) => contract::contract(global, command, terminal),
        Command::Models => versions::models(global, terminal),
        Command::Promote { version, reason } => versions::promote(global, *version, reason.as_deref(), terminal),
        Command::Rollback { version, reason } => versions::rollback(global, *version, reason.as_deref(), terminal),
        Command::Explain { version } => versions::explain(global, *version, terminal),
        Command::Gate(command) => gate::gate(global, command, terminal),
        Command::Journal(command) => journal::journal(global, command, terminal),
        Command::Plugin(command) => plugin::plugin(global, command, terminal),
        Command::DeadLetter(command) => dead_letter::dead_letter(global, command, terminal),
        Command::Quarantine(command) => quarantine::quarantine(global, command, terminal),
        Command::Gc { dry_run } => gc::gc(global, *dry_run, terminal),
        Command::Backup { file } => backup::backup(global, file, terminal),
        Command::Restore { file } => restore::restore(global, file, terminal),
        Command::CheckVersion { version } => check_version::check_version(global, *version, terminal),
        Command::CompilePlugin => {
            let exit = tidegate_sandbox::compile_child_main(std::io::stdin().lock(), std::io::stdout().lock(), std::io::stderr().lock());
            Ok(if exit == 0 { Exit::Ok } else { Exit::Error })
        }
    }
}

/// The settings file that `init` writes.
#[cfg(test)]
pub fn example() -> &'static str {
    init::EXAMPLE
}

pub use check_version::Checked;
pub use labels::label_failure;
pub use versions::model_files;

/// Opens a file that an operator named.
///
/// # Errors
/// A [`Failure`] that names it.
#[expect(clippy::disallowed_methods, reason = "files that operators name are read by the command line")]
fn open(path: &std::path::Path) -> Result<std::fs::File, Failure> {
    std::fs::File::open(path).map_err(|error| {
        let text = format!("could not open `{}`", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })
}

/// Makes a file that an operator named.
///
/// # Errors
/// A [`Failure`] that names it.
#[expect(clippy::disallowed_methods, reason = "files that operators name are written by the command line")]
fn create(path: &std::path::Path) -> Result<std::fs::File, Failure> {
    std::fs::File::create(path).map_err(|error| {
        let text = format!("could not write `{}`", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })
}

/// The settings of every command but `backtest`, which takes several.
///
/// # Errors
/// A [`Failure`] when there is not exactly one settings file, or it cannot be read or is wrong.
fn config(arguments: &crate::args::Global) -> Result<Config, Failure> {
    match arguments.settings.as_slice() {
        [path] => Ok(File::read(path)?.check()?),
        _ => Err(Failure::usage("this command takes one settings file", "only `backtest` puts several side by side")),
    }
}

/// The name under which a person's decisions are journalled.
fn operator() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "someone".to_owned())
}

/// The pipeline that a command is about: the one that was named, or the only one.
///
/// # Errors
/// A [`Failure`] that lists the pipelines.
fn chosen<'a>(config: &'a Config, global: &crate::args::Global) -> Result<&'a PipelineConfig, Failure> {
    Ok(config.pipeline(global.pipeline.as_deref())?)
}
