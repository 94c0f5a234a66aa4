//! The folder of a plugin: its manifest, and the language that its files tell.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use tidegate_sandbox::{Manifest, read_manifest};
use tidegate_vocab::PluginName;

use crate::failure::Failure;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Built by cargo for `wasm32-wasip2`
    Rust,
    /// Built by componentize-js, which needs Node
    Javascript,
    /// Built by componentize-py, which needs Python
    Python,
}

impl Language {
    const ALL: [Language; 3] = [Language::Rust, Language::Javascript, Language::Python];

    /// The file that tells that a plugin is written in it.
    pub fn main_file(self) -> &'static str {
        match self {
            Language::Rust => "Cargo.toml",
            Language::Javascript => "plugin.js",
            Language::Python => "plugin.py",
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Javascript => "javascript",
            Language::Python => "python",
        }
    }
}

/// A plugin's folder.
pub struct Project {
    /// The folder.
    pub folder: PathBuf,
    /// The text of its `plugin.toml`.
    pub manifest_text: String,
    /// What that says.
    pub manifest: Manifest,
    /// Its name, checked.
    pub name: PluginName,
    /// What it is written in.
    pub language: Language,
}

impl Project {
    /// Reads the folder.
    ///
    /// # Errors
    /// A [`Failure`] when it has no usable `plugin.toml` or no sources.
    pub fn open(folder: &Path) -> Result<Project, Failure> {
        let path = folder.join("plugin.toml");
        if !path.is_file() {
            let text = format!("there is no plugin in `{}`: it has no `plugin.toml`", folder.display());
            return Err(Failure::usage(text, "name its folder, or begin one: `tidegate plugin new NAME --kind KIND --lang LANGUAGE`"));
        }
        let (manifest_text, manifest) = manifest(&path)?;
        let wrong = |error: tidegate_vocab::IdError| Failure::usage(error.to_string(), format!("change `name` in `{}`", path.display()));
        let name = manifest.name.parse().map_err(wrong)?;
        let language = Language::ALL.into_iter().find(|language| folder.join(language.main_file()).is_file()).ok_or_else(|| {
            let text = format!("`{}` has no sources that can be built", folder.display());
            Failure::usage(text, "write `Cargo.toml`, `plugin.js` or `plugin.py` beside `plugin.toml`")
        })?;
        let folder = std::path::absolute(folder).with_context(|| format!("could not find `{}`", folder.display()))?;
        Ok(Project { folder, manifest_text, manifest, name, language })
    }

    /// The build folder.
    pub fn target(&self) -> PathBuf {
        self.folder.join("target")
    }
}

/// Reads a `plugin.toml`.
///
/// # Errors
/// A [`Failure`] that says what is wrong with it.
pub fn manifest(path: &Path) -> Result<(String, Manifest), Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let wrong = |error: tidegate_sandbox::PackError| {
        Failure::usage(format!("`{}`: {error}", path.display()), "`sdk/README.md` lists its keys; correct it")
    };
    let manifest = read_manifest(&text).map_err(wrong)?;
    Ok((text, manifest))
}
