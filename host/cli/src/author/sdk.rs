//! The interface and the SDKs, as they are in the repository that this binary was built from.

use std::path::Path;

use anyhow::Context as _;

use crate::failure::Failure;

/// A file's path from the root of the repository, and its text.
pub type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(($path, include_str!(concat!("../../../../", $path)))),*] };
}

/// The interface.
pub const WIT: &[File] = files![
    "wit/alerter.wit",
    "wit/cleaner.wit",
    "wit/evaluator.wit",
    "wit/failures.wit",
    "wit/host.wit",
    "wit/lifecycle.wit",
    "wit/rows.wit",
    "wit/source.wit",
    "wit/state.wit",
    "wit/world.wit",
];

/// The SDK for Rust, with the examples that its documentation includes.
pub const RUST: &[File] = files![
    "sdk/rust/Cargo.toml",
    "sdk/rust/examples/alerter.rs",
    "sdk/rust/examples/alerter.toml",
    "sdk/rust/examples/cleaner.rs",
    "sdk/rust/examples/cleaner.toml",
    "sdk/rust/examples/evaluator.rs",
    "sdk/rust/examples/evaluator.toml",
    "sdk/rust/examples/source.rs",
    "sdk/rust/examples/source.toml",
    "sdk/rust/src/alerter.rs",
    "sdk/rust/src/batch.rs",
    "sdk/rust/src/bindings.rs",
    "sdk/rust/src/builder.rs",
    "sdk/rust/src/cleaner.rs",
    "sdk/rust/src/clock.rs",
    "sdk/rust/src/config.rs",
    "sdk/rust/src/edit.rs",
    "sdk/rust/src/evaluator.rs",
    "sdk/rust/src/export.rs",
    "sdk/rust/src/failure.rs",
    "sdk/rust/src/http.rs",
    "sdk/rust/src/input.rs",
    "sdk/rust/src/lib.rs",
    "sdk/rust/src/log.rs",
    "sdk/rust/src/memory.rs",
    "sdk/rust/src/memory/rows.rs",
    "sdk/rust/src/memory/state.rs",
    "sdk/rust/src/report.rs",
    "sdk/rust/src/source.rs",
    "sdk/rust/src/state.rs",
    "sdk/rust/src/testing.rs",
];

/// The SDK for JavaScript.
pub const JAVASCRIPT: &[File] = files![
    "sdk/javascript/tidegate.js",
    "sdk/javascript/tidegate/alerter.js",
    "sdk/javascript/tidegate/as-alerter.js",
    "sdk/javascript/tidegate/as-cleaner.js",
    "sdk/javascript/tidegate/as-evaluator.js",
    "sdk/javascript/tidegate/as-source.js",
    "sdk/javascript/tidegate/batch.js",
    "sdk/javascript/tidegate/edit.js",
    "sdk/javascript/tidegate/failure.js",
    "sdk/javascript/tidegate/lifecycle.js",
    "sdk/javascript/tidegate/log.js",
    "sdk/javascript/tidegate/pull.js",
    "sdk/javascript/tidegate/report.js",
    "sdk/javascript/tidegate/source.js",
    "sdk/javascript/tidegate/state.js",
    "sdk/javascript/tidegate/text.js",
];

/// The SDK for Python.
pub const PYTHON: &[File] = files![
    "sdk/python/tidegate/__init__.py",
    "sdk/python/tidegate/alerter.py",
    "sdk/python/tidegate/as_alerter.py",
    "sdk/python/tidegate/as_cleaner.py",
    "sdk/python/tidegate/as_evaluator.py",
    "sdk/python/tidegate/as_source.py",
    "sdk/python/tidegate/batch.py",
    "sdk/python/tidegate/edit.py",
    "sdk/python/tidegate/failure.py",
    "sdk/python/tidegate/lifecycle.py",
    "sdk/python/tidegate/log.py",
    "sdk/python/tidegate/report.py",
    "sdk/python/tidegate/source.py",
    "sdk/python/tidegate/state.py",
    "sdk/python/tidegate/text.py",
];

/// Writes `files` beneath `folder`, each under its path behind `prefix`.
///
/// # Errors
/// A [`Failure`] that names the file.
pub fn write(files: &[File], prefix: &str, folder: &Path) -> Result<(), Failure> {
    files.iter().try_for_each(|(path, text)| write_file(&folder.join(path.strip_prefix(prefix).unwrap_or(path)), text))
}

/// Writes one file, and the folder that it lies in.
///
/// # Errors
/// A [`Failure`] that names the file.
pub fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let failed = || format!("could not write `{}`", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    std::fs::write(path, text).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    /// Files of a folder of the repository and below, as paths from its root.
    fn on_disk(folder: &str, found: &mut BTreeSet<String>) {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        for entry in root.join(folder).read_dir().unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                on_disk(&path, found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_interface_and_the_sdks_is_embedded() {
        for (files, folders) in [
            (WIT, &["wit"][..]),
            (RUST, &["sdk/rust/src", "sdk/rust/examples"]),
            (JAVASCRIPT, &["sdk/javascript/tidegate"]),
            (PYTHON, &["sdk/python/tidegate"]),
        ] {
            let mut found = BTreeSet::new();
            folders.iter().for_each(|folder| on_disk(folder, &mut found));
            found.retain(|path| !path.contains("__pycache__"));
            let embedded: BTreeSet<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
            let missing: Vec<_> = found.difference(&embedded).collect();
            assert!(missing.is_empty(), "name these in `sdk.rs`: {missing:?}");
        }
    }
}
