//! `cargo xtask plugins`: the guests as components, where the host and the tests look for them.
//!
//! A component is named after the folder of its package (`plugins/csv` becomes `csv.wasm`), because that is the plugin's name.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, Message};

use crate::command::shown;
use crate::repo::{GUEST_TARGET, Repo};
use crate::{demo, scripts};

/// A component that was built and put in its place.
pub struct Built {
    /// The name without `.wasm`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Builds the shipped plugins and, where they are, the guests of the tests; returns the shipped ones.
pub fn plugins(repo: &Repo) -> Result<Vec<Built>> {
    let guests = repo.root.join("tests/guests");
    if guests.join("Cargo.toml").exists() {
        build(repo, &guests, &repo.test_guest_folder())?;
    }
    build(repo, &repo.root.join("plugins"), &repo.plugin_folder())
}

/// Builds those and, with the binary, which is built for that, those in other languages than Rust.
pub fn all(repo: &Repo) -> Result<Vec<Built>> {
    let mut built = plugins(repo)?;
    demo::build_host(repo)?;
    built.extend(scripts::build(repo)?);
    Ok(built)
}

/// Lists name and size.
pub fn print(built: &[Built]) {
    for plugin in built {
        println!("{:20} {:>6} KiB  {}", plugin.name, plugin.bytes.div_ceil(1024), plugin.path.display());
    }
}

fn build(repo: &Repo, workspace: &Path, place: &Path) -> Result<Vec<Built>> {
    eprintln!("plugins: building {} for {GUEST_TARGET}", repo.short(workspace));
    let mut command = repo.guest_cargo(workspace);
    command.args(["build", "--release", "--target", GUEST_TARGET, "--message-format", "json-render-diagnostics"]);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start `{}`", shown(&command)))?;
    let messages = std::io::BufReader::new(child.stdout.take().context("the build has no output")?);
    std::fs::create_dir_all(place)?;
    let mut built = Vec::new();
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artefact) = message.context("could not read what cargo built")?
            && artefact.target.crate_types.iter().any(|kind| matches!(kind, CrateType::CDyLib | CrateType::Bin))
        {
            for file in artefact.filenames.iter().filter(|file| file.extension() == Some("wasm")) {
                let folder = artefact.manifest_path.parent().and_then(|folder| folder.file_name());
                // A package may hold several components as examples or binaries; those bear their own names.
                let name = if artefact.target.is_cdylib() && !artefact.target.is_example() { folder } else { Some(&*artefact.target.name) };
                let name = name.with_context(|| format!("`{file}` has no name"))?;
                built.push(put(name, file.as_std_path(), place)?);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` in `{}` ended with {status}", shown(&command), repo.short(workspace));
    }
    built.sort_by(|left, right| left.name.cmp(&right.name));
    remove_stale(&built, place, |name| scripts::is_script(&workspace.join(name)))?;
    Ok(built)
}

/// Copies a component, unless the same bytes are there: the folder may be watched.
fn put(name: &str, file: &Path, place: &Path) -> Result<Built> {
    let path = place.join(format!("{name}.wasm"));
    let bytes = std::fs::read(file).with_context(|| format!("could not read `{}`", file.display()))?;
    if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
        let beside = place.join(format!("{name}.wasm.new"));
        std::fs::write(&beside, &bytes)?;
        std::fs::rename(&beside, &path).with_context(|| format!("could not write `{}`", path.display()))?;
    }
    Ok(Built { name: name.to_owned(), path, bytes: bytes.len() as u64 })
}

/// Removes components that are no longer built, so that a renamed plugin does not live on under its old name; those that are built in
/// another way stay.
fn remove_stale(built: &[Built], place: &Path, is_built_otherwise: impl Fn(&str) -> bool) -> Result<()> {
    for entry in place.read_dir()? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_built = built.iter().any(|plugin| plugin.path == path) || is_built_otherwise(&name);
        if path.extension().is_some_and(|extension| extension == "wasm") && !is_built {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_replaces_its_predecessor_and_a_renamed_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, place) = (folder.path().join("plugin.wasm"), folder.path().join("plugins"));
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&file, "one").unwrap();
        put("old", &file, &place).unwrap();
        put("csv", &file, &place).unwrap();
        std::fs::write(&file, "three").unwrap();
        let built = vec![put("csv", &file, &place).unwrap()];
        assert_eq!(built[0].bytes, 5);
        put("python", &file, &place).unwrap();
        remove_stale(&built, &place, |name| name == "python").unwrap();
        let mut left: Vec<_> = place.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["csv.wasm", "python.wasm"]);
        assert_eq!(std::fs::read(place.join("csv.wasm")).unwrap(), b"three");
    }
}
