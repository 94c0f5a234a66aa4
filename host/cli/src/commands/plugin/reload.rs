//! `tidegate plugin reload` and `rollback`: what a running host is asked to do about its plugins.

use serde_json::Value;

use super::named;
use crate::args::Global;
use crate::compose;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::Attempt;
use crate::up::control::{self, Answer, Command};

/// Asks the running host to look at its plugin folder.
///
/// # Errors
/// A [`Failure`] when no host runs.
pub fn reload(config: &Config, plugins: &[String], accept: bool, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let plugins = plugins.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let attempts = ask(config, global, Command::Reload { plugins, accept })?;
    told(&attempts, terminal);
    Ok(if attempts.iter().all(|attempt| attempt.end.why().is_none()) { Exit::Ok } else { Exit::Error })
}

/// Asks the running host to take a plugin back to the build before.
///
/// # Errors
/// A [`Failure`] when no host runs, or there is no such build.
pub fn roll_back(config: &Config, plugin: &str, reason: &str, global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let (plugin, reason, operator) = (named(plugin)?, reason.to_owned(), crate::commands::operator());
    told(&ask(config, global, Command::TakeBack { plugin, reason, operator })?, terminal);
    Ok(Exit::Ok)
}

fn ask(config: &Config, global: &Global, command: Command) -> Result<Vec<Attempt>, Failure> {
    let first = config.pipelines.first().map(|pipeline| pipeline.id.to_string());
    let chosen = config.pipeline(global.pipeline.as_deref().or(first.as_deref()))?;
    match compose::block_on(control::ask(config, &chosen.id, command))? {
        Some(Answer::Reloaded { attempts }) => Ok(attempts),
        Some(_) => Err(control::misunderstood()),
        None => Err(Failure::usage(
            "no host runs on this state folder",
            "`tidegate up` starts one; the other commands load plugins anew each time",
        )),
    }
}

fn told(attempts: &[Attempt], terminal: &Terminal) {
    let text = || {
        if attempts.is_empty() {
            return "no plugin has changed\n".to_owned();
        }
        let lines = attempts.iter().flat_map(|attempt| {
            let differences = attempt.differences.iter().map(|difference| format!("  {}\n", difference.sentence()));
            std::iter::once(attempt.line() + "\n").chain(differences)
        });
        lines.collect()
    };
    let value = |attempt: &Attempt| {
        let mut value = attempt.body();
        value["replaced"] = attempt.end.why().is_none().into();
        value
    };
    terminal.result(text, || attempts.iter().map(value).collect::<Vec<Value>>().into());
}
