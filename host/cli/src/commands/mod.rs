//! One file a command, and the one place that chooses.

mod backtest;
mod check;
mod init;

use crate::args::{Arguments, Command};
use crate::config::{Config, File};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Does what was asked.
///
/// # Errors
/// A [`Failure`] with its exit code.
pub fn dispatch(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Init { folder } => init::init(folder, terminal),
        Command::Check => check::check(&arguments.global, terminal),
        _ => Err(Failure::usage("this command is not wired yet", "use `check`")),
    }
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
