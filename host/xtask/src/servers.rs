//! Servers that tests talk to: found on the machine, or fetched from its package registry into the build's folder. Nothing is
//! installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::repo::Repo;

/// Prometheus and its linter.
pub struct Prometheus {
    /// The server.
    pub server: PathBuf,
    /// `promtool`.
    pub promtool: PathBuf,
}

/// Finds Prometheus, or fetches Debian's package of it.
pub fn prometheus(repo: &Repo) -> Result<Prometheus> {
    let folder = repo.target.join("servers/prometheus");
    let fetched = |name: &str| folder.join("usr/bin").join(name);
    if let (Some(server), Some(promtool)) = (on_path("prometheus"), on_path("promtool")) {
        return Ok(Prometheus { server, promtool });
    }
    if !fetched("promtool").is_file() {
        let by_hand = "install Prometheus 2.40 or later so that `prometheus` and `promtool` are on the PATH";
        if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
            bail!("the tests need Prometheus and its linter, and this machine has no Debian packages; {by_hand}");
        }
        eprintln!("setup: fetching Debian's `prometheus` into {}; to undo: delete it", folder.display());
        fetch(&folder).with_context(|| format!("could not fetch Prometheus; {by_hand}"))?;
    }
    Ok(Prometheus { server: fetched("prometheus"), promtool: fetched("promtool") })
}

/// Downloads and unpacks the package beside the folder, and moves it in when it is whole.
fn fetch(folder: &Path) -> Result<()> {
    let parts = folder.with_extension("part");
    if parts.exists() {
        std::fs::remove_dir_all(&parts)?;
    }
    std::fs::create_dir_all(&parts)?;
    run(Command::new("apt-get").current_dir(&parts).args(["download", "prometheus"]))?;
    let packages = parts.read_dir()?.collect::<std::io::Result<Vec<_>>>()?;
    let package = packages.iter().map(std::fs::DirEntry::path).find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.context("`apt-get download` left no package")?;
    let whole = parts.join("whole");
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&whole))?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(&whole, folder)?;
    std::fs::remove_dir_all(&parts)?;
    Ok(())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|place| place.is_file())
}
