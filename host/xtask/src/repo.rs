//! The folders of the repository and of its build, and the `cargo` that works in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::capture;

/// The target that every plugin is built for.
pub const GUEST_TARGET: &str = "wasm32-wasip2";

/// Where the sources are and where the build goes; both paths are absolute.
pub struct Repo {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// `CARGO_TARGET_DIR`, else `target` in the root.
    pub target: PathBuf,
}

impl Repo {
    /// Finds the repository from the manifest folder that cargo names when it runs this binary.
    pub fn find() -> Result<Repo> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.join("../..").canonicalize().context("could not find the root of the repository")?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder).context("could not make `CARGO_TARGET_DIR` absolute")?,
            None => root.join("target"),
        };
        Ok(Repo { root, target })
    }

    /// The target folder of the guest workspaces: apart from the host's, so that neither waits for the other's lock.
    pub fn guest_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Where the components of the shipped plugins are put.
    pub fn plugin_folder(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Where the components that only tests load are put, hostile ones among them.
    pub fn test_guest_folder(&self) -> PathBuf {
        self.target.join("test-guests")
    }

    /// The built binary.
    pub fn tidegate(&self) -> PathBuf {
        self.target.join("debug").join(format!("tidegate{}", std::env::consts::EXE_SUFFIX))
    }

    /// A cargo command for the host workspace.
    pub fn cargo(&self) -> Command {
        cargo_in(&self.root, &self.target)
    }

    /// A cargo command for this automation, which is a workspace of its own.
    pub fn xtask_cargo(&self, command: &str) -> Command {
        let mut cargo = cargo_in(&self.root.join("host/xtask"), &self.target);
        cargo.arg(command);
        cargo
    }

    /// A cargo command for the guest workspace in `folder`. It runs inside it, because that is where cargo looks for the
    /// configuration that turns SIMD on.
    pub fn guest_cargo(&self, folder: &Path) -> Command {
        cargo_in(folder, &self.guest_target())
    }

    /// The roots of the workspaces that are built for WebAssembly and are there, each once. A package that belongs to the
    /// workspace of another folder is covered by that one.
    pub fn guest_workspaces(&self) -> Result<Vec<PathBuf>> {
        let mut roots = BTreeSet::new();
        for folder in ["sdk/rust", "plugins", "tests/guests"] {
            let manifest = self.root.join(folder).join("Cargo.toml");
            if manifest.exists() {
                let mut ask = self.guest_cargo(&self.root.join(folder));
                let located = capture(ask.args(["locate-project", "--workspace", "--message-format", "plain"]))?;
                let root = Path::new(located.trim()).parent().context("cargo named a manifest without a folder")?;
                roots.insert(root.canonicalize().with_context(|| format!("could not open `{}`", root.display()))?);
            }
        }
        Ok(roots.into_iter().collect())
    }

    /// `path` as one would write it from the root.
    pub fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

fn cargo_in(folder: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo said about this binary must not reach the crates that the inner cargo builds.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(key);
        }
    }
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    command
}
