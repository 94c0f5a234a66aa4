//! The plugins that are written in JavaScript and Python: the tools that build them, fetched from npm and PyPI into the build's folder,
//! and the components, built by `tidegate plugin build` as an author would.
//!
//! Both are kept under a digest of what they are made from, so that a run in which nothing changed fetches and builds nothing.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{capture, run};
use crate::plugins::Built;
use crate::repo::Repo;

/// A language whose plugins other tools than cargo build.
struct Language {
    name: &'static str,
    /// The file that tells that a plugin is written in it.
    main_file: &'static str,
    /// The folder of its SDK, which pins its tools.
    sdk: &'static str,
    /// The files that pin them.
    pins: &'static [&'static str],
    /// Where its tools are in the folder they were fetched into.
    binaries: &'static str,
    fetch: fn(&Path) -> Result<()>,
}

const LANGUAGES: [Language; 2] = [
    Language {
        name: "javascript",
        main_file: "plugin.js",
        sdk: "sdk/javascript",
        pins: &["package.json", "package-lock.json"],
        binaries: "node_modules/.bin",
        fetch: fetch_javascript,
    },
    Language {
        name: "python",
        main_file: "plugin.py",
        sdk: "sdk/python",
        pins: &["requirements.txt"],
        binaries: "venv/bin",
        fetch: fetch_python,
    },
];

/// What builds a plugin, besides its sources and its SDK.
const BUILDER: &str = "host/cli/src/author/build.rs";

/// Whether a folder holds a plugin of one of these languages.
pub fn is_script(folder: &Path) -> bool {
    LANGUAGES.iter().any(|language| folder.join(language.main_file).is_file())
}

/// Fetches the tools where they are not there.
pub fn setup(repo: &Repo) -> Result<()> {
    LANGUAGES.iter().try_for_each(|language| language.tools(repo).map(drop))
}

/// Builds what changed, with the binary that is there, and returns all.
pub fn build(repo: &Repo) -> Result<Vec<Built>> {
    let mut folders: Vec<PathBuf> =
        repo.root.join("plugins").read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    folders.sort();
    let mut built = Vec::new();
    for language in &LANGUAGES {
        let own = folders.iter().filter(|folder| folder.join(language.main_file).is_file());
        for folder in own {
            built.push(language.component(repo, folder)?);
        }
    }
    Ok(built)
}

impl Language {
    /// The folder of its tools, fetched if it is not there.
    fn tools(&self, repo: &Repo) -> Result<PathBuf> {
        let pins: Vec<PathBuf> = self.pins.iter().map(|file| repo.root.join(self.sdk).join(file)).collect();
        let folder = repo.target.join("tools").join(format!("{}-{}", self.name, digest(&pins)?));
        let place = folder.join(self.binaries);
        // Launchers name the folder that they were installed in, so it cannot be moved into place when it is whole.
        let whole = folder.join("whole");
        if whole.is_file() {
            return Ok(place);
        }
        eprintln!("setup: fetching what builds {} plugins into {}; to undo: delete it", self.name, folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        for pin in &pins {
            std::fs::copy(pin, folder.join(pin.file_name().context("a file has a name")?))?;
        }
        (self.fetch)(&folder).with_context(|| format!("could not fetch what builds {} plugins", self.name))?;
        std::fs::write(whole, "")?;
        Ok(place)
    }

    /// The component of one plugin, built if what it is made from changed.
    fn component(&self, repo: &Repo, folder: &Path) -> Result<Built> {
        let tools = self.tools(repo)?;
        let name = folder.file_name().context("a plugin has a name")?.to_string_lossy().into_owned();
        let path = repo.plugin_folder().join(format!("{name}.wasm"));
        let mut inputs = sources(folder)?;
        inputs.extend(sources(&repo.root.join(self.sdk))?);
        inputs.extend(sources(&repo.root.join("wit"))?);
        inputs.push(repo.root.join(BUILDER));
        let (digest, note) = (digest(&inputs)?, repo.target.join("scripts").join(format!("{name}.digest")));
        if !path.is_file() || std::fs::read_to_string(&note).ok().as_ref() != Some(&digest) {
            eprintln!("plugins: building {}", repo.short(folder));
            let mut build = Command::new(repo.tidegate());
            build.args(["plugin", "build"]).arg(folder).arg("--output").arg(&path).env("PATH", before_path(&tools)?);
            capture(&mut build)?;
            std::fs::create_dir_all(repo.target.join("scripts"))?;
            std::fs::write(&note, digest)?;
        }
        let bytes = path.metadata()?.len();
        Ok(Built { name, path, bytes })
    }
}

/// The search path with a folder before it.
fn before_path(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("the build folder's path has a `:` in it")
}

/// The files of a folder that git would keep, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut list = Command::new("git");
    list.current_dir(folder).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = capture(&mut list)?;
    let files = listed.split_terminator('\0').map(|file| folder.join(file)).filter(|file| file.is_file());
    Ok(files.collect())
}

/// A digest of names and contents. It is compared on this machine only, with one of the same toolchain.
fn digest(files: &[PathBuf]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(file).with_context(|| format!("could not read `{}`", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn fetch_javascript(folder: &Path) -> Result<()> {
    let told = "JavaScript plugins are built with Node 20 or newer: install it so that `node` and `npm` are on the PATH";
    if capture(Command::new("node").arg("--version")).is_err() {
        bail!(told);
    }
    run(Command::new("npm").current_dir(folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]))
        .context(told)
}

fn fetch_python(folder: &Path) -> Result<()> {
    let told = "Python plugins are built with Python 3.10 or newer and its module `venv`: install them so that `python3` is on the PATH";
    if capture(Command::new("python3").arg("--version")).is_err() {
        bail!(told);
    }

    run(Command::new("python3").current_dir(folder).args(["-m", "venv", "venv"])).context(told)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"];
    run(Command::new(folder.join("venv/bin/python3")).current_dir(folder).args(pip))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_a_name_and_with_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let first = digest(&[file("a", "1")]).unwrap();
        assert_eq!(digest(&[file("a", "1")]).unwrap(), first);
        assert_ne!(digest(&[file("b", "1")]).unwrap(), first);
        assert_ne!(digest(&[file("a", "2")]).unwrap(), first);
    }

    #[test]
    fn a_folder_is_a_script_by_its_main_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_script(folder.path()));
        std::fs::write(folder.path().join("plugin.py"), "").unwrap();
        assert!(is_script(folder.path()));
    }
}
