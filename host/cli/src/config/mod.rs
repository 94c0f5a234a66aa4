//! `tidegate.toml`: from what was typed ([`File`]) to what it means ([`Config`]).
//!
//! Invariant: a [`Config`] is whole. Every default is filled in, every number is within its bounds, every name that refers to
//! something refers to something that exists, and every path is joined to the folder of the file. Nothing reads the file later but a
//! running host whose file has changed: it makes another [`Config`] of it, and `live.rs` says what of that it takes up.
//! Problems are gathered and shown together, each at its place. What can only be known by opening plugins (their worlds,
//! their schemas, the metrics of evaluators) is checked where they are opened.
//!
//! Read [`Config`] first, then `pipeline.rs`; `section.rs` is how every table is read.

mod columns;
mod contract;
mod drift;
mod estimate;
mod files;
mod gate;
mod guard;
pub mod live;
#[cfg(test)]
mod live_tests;
mod model;
mod oci;
mod pipeline;
mod plugin;
mod rollout;
pub mod section;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod trigger;
pub mod typed;
pub mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_vocab::{PipelineId, PluginName};
use toml::de::DeTable;

use crate::plain_file;
pub use gate::lint;
pub use oci::{ALGORITHM, OciReference};
pub use pipeline::{PipelineConfig, PluginUse};
pub use plugin::{Grants, KeyOrigin, PluginConfig, PluginsConfig, SecretGrant, SecretOrigin};
pub use section::Problem;
use section::{Problems, Section};
pub use serve::ServeConfig;
pub use store::StoreConfig;
use typed::Typed;

/// The settings file when none is named.
pub const SETTINGS_FILE: &str = "tidegate.toml";
/// Size of a settings file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Pipelines of one file.
const PIPELINES_MAX: usize = 64;

/// A settings file as it was typed.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it was read from, as the user named it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Everything a settings file says, checked and with all defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, for messages that point into it.
    pub file: File,
    /// What it says, key by key.
    pub typed: Typed,
    /// `[store]`.
    pub store: StoreConfig,
    /// `[serve]`, when the file has it.
    pub serve: Option<ServeConfig>,
    /// `[plugins]`.
    pub plugins: PluginsConfig,
    /// `[plugin.NAME]`, by name; a plugin without a table has no entry.
    pub plugin: BTreeMap<PluginName, PluginConfig>,
    /// `[input.NAME]`, by name.
    pub inputs: BTreeMap<String, InputConfig>,
    /// `[pipeline.NAME]`, in the order of the file; at least one.
    pub pipelines: Vec<PipelineConfig>,
    /// `[backtest]`.
    pub backtest: BacktestConfig,
}

/// `[input.NAME]`: bytes that can be lent to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputConfig {
    /// The file, which may grow, or a folder of files.
    pub path: PathBuf,
    /// Where the file says so.
    pub span: std::ops::Range<usize>,
}

/// `[backtest]`: how a history is replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct BacktestConfig {
    /// Rows of one tick of the simulated clock; everything is judged after each.
    pub step_rows: u64,
    /// Share of the history that the first model is trained on and that is not counted.
    pub warmup_share: f64,
    /// One replay for each.
    pub seeds: Vec<u64>,
}

/// A file that is not a configuration, with every problem found in it.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.first().map_or("the file is not a configuration", |problem| problem.message.as_str()))]
pub struct ConfigError {
    /// The file.
    pub file: File,
    /// What is wrong, in the order of the file; at least one.
    pub problems: Vec<Problem>,
}

/// Why a settings file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none at the path.
    #[error("there is no settings file `{}`", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is not a settings file by its size.
    #[error("`{}` has {byte_count} bytes, more than a settings file may have ({FILE_BYTES_MAX})", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Its size.
        byte_count: u64,
    },
    /// The system would not read it.
    #[error("could not read the settings file `{}`", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ReadError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            ReadError::Missing { .. } => Some("`tidegate init` writes one into this folder, `--settings FILE` names another".to_owned()),
            ReadError::TooLarge { .. } => Some("name the settings file with `--settings FILE`, not the data".to_owned()),
            ReadError::Read { .. } => None,
        }
    }
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ReadError`] when it is missing, too large, not UTF-8 or unreadable.
    pub fn read(path: &Path) -> Result<File, ReadError> {
        let path_of = || path.to_owned();
        let read = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing { path: path_of() },
            _ => ReadError::Read { path: path_of(), source },
        };
        let byte_count = std::fs::metadata(path).map_err(read)?.len();
        if byte_count > FILE_BYTES_MAX {
            return Err(ReadError::TooLarge { path: path_of(), byte_count });
        }
        Ok(File { path: path_of(), text: plain_file::text(path, FILE_BYTES_MAX).map_err(read)? })
    }

    /// What the file means.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem in it.
    pub fn check(self) -> Result<Config, ConfigError> {
        let problems = Problems::default();
        let checked = self.checked(&problems);
        let problems = problems.into_sorted();
        match checked {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError { file: self, problems }),
        }
    }

    fn checked(&self, problems: &Problems) -> Option<Config> {
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let message = format!("this is not TOML: {}", error.message());
                problems.push(Problem { message, label: "here".to_owned(), span, hint: None });
            }
            return None;
        }
        let root = Section::new("", document.get_ref(), 0..0, problems);
        let folder = self.path.parent().map(Path::to_owned).unwrap_or_default();
        let inputs = inputs(&root, &folder);
        let store = store::store(&root, &folder);
        let serve = serve::serve(&root, &folder);
        let plugin = plugin::plugin_tables(&root, &folder, &inputs);
        let plugins = plugin::plugins(&root, &folder);
        let pipelines = pipelines(&root);
        columns::check(&plugin, pipelines.as_deref().unwrap_or_default(), problems);
        let backtest = backtest(&root);
        root.finish();
        let typed = Typed::of(document.get_ref());
        Some(Config { file: self.clone(), typed, store, serve, plugins, plugin, inputs, pipelines: pipelines?, backtest })
    }
}

impl Config {
    /// The folder of the file, which paths in it are relative to.
    pub fn folder(&self) -> &Path {
        self.file.path.parent().unwrap_or(Path::new(""))
    }

    /// The name that tables and reports give to these settings: the file's name without its extension.
    pub fn name(&self) -> String {
        self.file.path.file_stem().map_or_else(|| "settings".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }

    /// The pipeline called `name`, or the only one.
    ///
    /// # Errors
    /// A [`ConfigError`] when there is none of that name, or several and no name.
    pub fn pipeline(&self, name: Option<&str>) -> Result<&PipelineConfig, ConfigError> {
        let found = match name {
            Some(name) => self.pipelines.iter().find(|pipeline| pipeline.id.as_str() == name),
            None if self.pipelines.len() == 1 => self.pipelines.first(),
            None => None,
        };
        let names: Vec<&str> = self.pipelines.iter().map(|pipeline| pipeline.id.as_str()).collect();
        found.ok_or_else(|| {
            let (message, hint) = match name {
                Some(name) => (
                    format!("there is no pipeline `{}`", section::shown(name)),
                    section::nearest_hint(name, &names).unwrap_or_else(|| format!("the file has {}", section::list(&names))),
                ),
                None => (
                    format!("the file has {} pipelines", names.len()),
                    format!("choose one with `--pipeline`: {}", section::one_of(&names)),
                ),
            };
            let span = self.pipelines.first().map_or(0..0, |pipeline| pipeline.span.clone());
            let problem = Problem { message, label: "a pipeline".to_owned(), span, hint: Some(hint) };
            ConfigError { file: self.file.clone(), problems: vec![problem] }
        })
    }

    /// Whether `plugin` is loaded only as `plugins.lock` says.
    pub fn must_be_locked(&self, plugin: &PluginName) -> bool {
        let reaches_out = |plugin: &PluginConfig| !plugin.grants.http.is_empty() || !plugin.grants.secrets.is_empty();
        self.plugins.locked || self.plugin.get(plugin).is_some_and(reaches_out)
    }

    /// The settings of `plugin`, or those of a plugin without a table.
    pub fn plugin(&self, plugin: &PluginName) -> PluginConfig {
        self.plugin.get(plugin).cloned().unwrap_or_default()
    }

    /// Where `up` listens.
    pub fn serve_listen(&self) -> std::net::SocketAddr {
        self.serve.as_ref().map_or_else(serve::default_listen, |serve| serve.listen)
    }

    /// The file of tokens.
    pub fn tokens_file(&self) -> PathBuf {
        self.serve.as_ref().map_or_else(|| self.store.folder.join("tokens"), |serve| serve.tokens.clone())
    }

    /// Whether the file has sections that `command` has no use for, as one note; `None` where it uses all of them. Only `up` answers
    /// requests, which a rollout is made of: all other commands let a version serve that passed its gate.
    pub fn unserved(&self, command: &str) -> Option<String> {
        if command == "up" {
            return None;
        }
        let mut sections = Vec::new();
        for pipeline in self.pipelines.iter().filter(|pipeline| pipeline.rollout.is_some()) {
            sections.push(format!("[pipeline.{}.rollout]", pipeline.id));
        }
        let words: Vec<&str> = sections.iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| {
            let verb = if words.len() == 1 { "is" } else { "are" };
            format!("{} {verb} not served by `{command}`", section::list(&words))
        })
    }
}

fn inputs(root: &Section<'_>, folder: &Path) -> BTreeMap<String, InputConfig> {
    let mut inputs = BTreeMap::new();
    let Some(section) = root.section("input") else { return inputs };
    for name in section.keys() {
        let Some(input) = section.section(&name.value) else { continue };
        if !input.has("path") {
            input.missing("path", "the file or folder to lend", "path = \"rows.csv\"");
        }
        // An input without a path is kept, so that a grant of it is not reported as a second problem.
        let path = input.text("path");
        let span = path.as_ref().map_or(name.span, |path| path.span.clone());
        let path = path.map_or_else(PathBuf::new, |path| folder.join(path.value));
        inputs.insert(name.value, InputConfig { path, span });
        input.finish();
    }
    inputs
}

fn pipelines(root: &Section<'_>) -> Option<Vec<PipelineConfig>> {
    let Some(section) = root.section("pipeline") else {
        if !root.has("pipeline") {
            root.missing("pipeline", "a file describes at least one pipeline; `tidegate init` writes an example", "[pipeline.NAME]");
        }
        return None;
    };
    let names = section.keys();
    if names.is_empty() || names.len() > PIPELINES_MAX {
        let message = format!("a file describes 1 to {PIPELINES_MAX} pipelines, found {}", names.len());
        section.problem(section.span.clone(), message, "pipelines", None);
    }
    let mut pipelines = Vec::with_capacity(names.len());
    for name in names {
        let Some(table) = section.section(&name.value) else { continue };
        match PipelineId::try_from(name.value.clone()) {
            Ok(id) => pipelines.extend(pipeline::pipeline(id, table)),
            Err(error) => section.problem(name.span, error.to_string(), "not a pipeline id", None),
        }
    }
    Some(pipelines)
}

fn backtest(root: &Section<'_>) -> BacktestConfig {
    let mut config = BacktestConfig { step_rows: 50, warmup_share: 0.1, seeds: vec![0] };
    let Some(section) = root.section("backtest") else { return config };
    config.step_rows = section.integer("step_rows", 1..=1_000_000).unwrap_or(config.step_rows);
    config.warmup_share = section.number("warmup_share", 0.001..=0.9).unwrap_or(config.warmup_share);
    if let Some(seeds) = section.integers("seeds", 0..=u64::from(u32::MAX)) {
        if seeds.is_empty() || seeds.len() > 100 {
            section.problem(section.place("seeds"), "`[backtest] seeds` must list 1 to 100 seeds", "seeds", None);
        }
        config.seeds = seeds.into_iter().map(|seed| seed.value).collect();
    }
    section.finish();
    config
}
