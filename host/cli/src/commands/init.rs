//! `tidegate init`: an example that works, and the next steps.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::config::SETTINGS_FILE;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// The example; a test loads it.
pub(super) const EXAMPLE: &str = include_str!("init.toml");

/// Writes the example into `folder`; never over a file that is there.
///
/// # Errors
/// A [`Failure`] when there is a settings file already, or the folder cannot be written to.
pub fn init(folder: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let path = folder.join(SETTINGS_FILE);
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins).with_context(|| format!("could not make the folder `{}`", plugins.display()))?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("there is a settings file `{}` already", path.display());
            return Err(Failure::usage(message, "name another folder: `tidegate init FOLDER`"));
        }
        other => other.with_context(|| format!("could not write `{}`", path.display()))?,
    };
    file.write_all(EXAMPLE.as_bytes()).with_context(|| format!("could not write `{}`", path.display()))?;
    terminal.result(|| next_steps(&path, folder), || json!({ "written": path.display().to_string() }));
    Ok(Exit::Ok)
}

fn next_steps(path: &Path, folder: &Path) -> String {
    let enter = if folder == Path::new(".") { String::new() } else { format!("  cd {}\n", folder.display()) };
    format!(
        "wrote {}\n\nnext:\n{enter}  put plugins (*.wasm) into plugins/ and your rows into rows.csv\n  \
         tidegate contract infer --label LABEL   # what the columns are, for [pipeline.example.contract]\n  \
         tidegate check                          # is everything in place?\n  \
         tidegate backtest                       # what would these settings have done?\n  \
         tidegate run                            # pull, train, judge\n",
        path.display()
    )
}
