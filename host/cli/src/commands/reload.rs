//! `tidegate reload`: the running host is asked to take up what the settings file says now.

use serde_json::{Value, json};

use super::config;
use crate::args::Global;
use crate::compose;
use crate::config::Config;
use crate::config::typed::Change;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::SettingsAttempt;
use crate::up::control::{self, Answer, Command};

/// Asks the running host to look at its settings file.
///
/// # Errors
/// A [`Failure`] when the file is wrong, at its place, or no host runs.
pub fn reload(global: &Global, accept: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    config.check_files()?;
    match ask(&config, Command::ReloadSettings { accept })? {
        Some(Answer::SettingsReloaded { attempt }) => {
            let is_refused = attempt.as_ref().is_some_and(|attempt| attempt.end.why().is_some());
            terminal.result(|| text(attempt.as_deref()), || value(attempt.as_deref()));
            Ok(if is_refused { Exit::Error } else { Exit::Ok })
        }
        Some(_) => Err(control::misunderstood()),
        None => {
            let hint = "`tidegate up` starts one; a host that was started with another `[store] folder` does not listen in this one";
            Err(Failure::usage("no host runs on this state folder", hint))
        }
    }
}

/// Asks the host on the state folder of `config` about its settings; `None` when none runs.
pub fn ask(config: &Config, command: Command) -> Result<Option<Answer>, Failure> {
    // Any pipeline will do: the answer is about all of them.
    let any = config.pipelines.first().map(|pipeline| pipeline.id.to_string());
    let pipeline = config.pipeline(any.as_deref())?;
    compose::block_on(control::ask(config, &pipeline.id, command))
}

/// Changes, a line each.
pub fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("  {change}\n")).collect()
}

fn text(attempt: Option<&SettingsAttempt>) -> String {
    let Some(attempt) = attempt else { return "the settings in force are those of the file\n".to_owned() };
    let head = match attempt.end.why() {
        None if attempt.changes.is_empty() => String::new(),
        None => "settings: taken up\n".to_owned(),
        Some(_) => format!("{}\n", attempt.head()),
    };
    let differences: String = attempt.differences.iter().map(|difference| format!("  {}\n", difference.sentence())).collect();
    let waiting = if attempt.waiting.is_empty() { String::new() } else { format!("needs a restart\n{}", lines(&attempt.waiting)) };
    format!("{head}{}{differences}{waiting}", lines(&attempt.changes))
}

fn value(attempt: Option<&SettingsAttempt>) -> Value {
    attempt.map_or_else(|| json!({ "result": "unchanged" }), SettingsAttempt::body)
}
