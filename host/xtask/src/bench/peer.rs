//! The Python peers: pinned packages in an environment of their own under the target folder, made once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::measure::measure;
use crate::command::run;
use crate::repo::Repo;

/// The interpreter with the packages, and the folder of the scripts.
pub struct Peers {
    python: PathBuf,
    scripts: PathBuf,
}

impl Peers {
    /// Makes the environment unless it is there with the same packages.
    pub fn prepare(repo: &Repo) -> Result<Peers> {
        let scripts = repo.root.join("host/xtask/peers");
        let environment = repo.target.join("bench/python");
        let python = environment.join("bin/python");
        let wanted = std::fs::read_to_string(scripts.join("requirements.txt")).context("could not read the peers' packages")?;
        let stamp = environment.join("requirements.txt");
        if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
            eprintln!("bench: installing the Python peers in {}, about 300 MB; to undo, delete it", environment.display());
            run(Command::new("python3").args(["-m", "venv"]).arg(&environment)).context("the peers need Python 3 with `venv`")?;
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
            run(install.arg(scripts.join("requirements.txt")))?;
            std::fs::write(&stamp, wanted)?;
        }
        Ok(Peers { python, scripts })
    }

    /// Runs a script and reads the JSON that it prints.
    pub fn run<T: DeserializeOwned>(&self, script: &str, arguments: &[&Path]) -> Result<T> {
        let sample = measure(Command::new(&self.python).arg(self.scripts.join(script)).args(arguments))?;
        serde_json::from_str(&sample.output).with_context(|| format!("`{script}` wrote `{}`", sample.output.trim()))
    }
}
