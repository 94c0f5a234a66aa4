//! What the author of a plugin does: begin one, build it, test it, measure it, pack it. None of it needs a settings file.
//!
//! Invariant: everything that a plugin is built from, but the tools of its language, is in this binary: the interface, the SDKs and the
//! templates. A plugin is therefore built for the interface that this host serves. Read [`Project`] first.
#![expect(clippy::disallowed_methods, reason = "an author's files are read and written, and plugins timed, by the command line")]

mod bench;
mod build;
mod case;
mod cells;
mod golden;
mod hostile;
mod new;
mod project;
mod runner;
mod sdk;
mod test;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub use project::{Language, Project};

/// `tidegate plugin new`, `build`, `test`, `bench` and `pack`.
#[derive(Debug, Subcommand)]
pub enum AuthorCommand {
    /// Write the beginnings of a plugin into a new folder, with a test
    New {
        /// Its name, which is the name of the folder too
        #[arg(value_name = "NAME")]
        plugin: String,
        /// What it does
        #[arg(long, value_enum)]
        kind: KindWord,
        /// What it is written in
        #[arg(long, value_enum)]
        lang: Language,
    },
    /// Build the plugin of a folder into one component that describes itself
    Build {
        /// Folder of `plugin.toml`
        #[arg(value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Where to write it; `target/NAME.wasm` in the folder, when left out
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Build, then try the plugin in the sandbox: conformance, golden batches, hostile batches, purity
    #[command(after_help = "Exit codes: 0 every check passed, 1 one failed, 2 usage")]
    Test {
        /// Folder of `plugin.toml`
        #[arg(value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Test this component instead of building one
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Write what the plugin does now as what is expected of it
        #[arg(long)]
        update: bool,
    },
    /// Build, then measure the plugin on its golden batches, made large
    Bench {
        /// Folder of `plugin.toml`
        #[arg(value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Measure this component instead of building one
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Rows of a batch
        #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
        rows: u32,
    },
    /// Put a manifest into a component that other tools built, and check that this host can run it
    Pack {
        /// The component; it is replaced
        #[arg(value_name = "FILE")]
        component: PathBuf,
        /// Its `plugin.toml`
        #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
        manifest: PathBuf,
    },
}

/// What a plugin does, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindWord {
    /// Rows in
    Source,
    /// Rows to rows
    Cleaner,
    /// Predictions and labels to statistics
    Evaluator,
    /// An alert out
    Alerter,
}

impl KindWord {
    fn word(self) -> &'static str {
        match self {
            KindWord::Source => "source",
            KindWord::Cleaner => "cleaner",
            KindWord::Evaluator => "evaluator",
            KindWord::Alerter => "alerter",
        }
    }
}

/// Does what an author asked.
///
/// # Errors
/// A [`Failure`] that names the file or the tool, and the way out.
pub fn author(command: &AuthorCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        AuthorCommand::New { plugin, kind, lang } => new::new(plugin, *kind, *lang, terminal),
        AuthorCommand::Build { folder, output } => build::build(&Project::open(folder)?, output.as_deref(), terminal),
        AuthorCommand::Test { folder, component, update } => test::test(&Project::open(folder)?, component.as_deref(), *update, terminal),
        AuthorCommand::Bench { folder, component, rows } => {
            bench::bench(&Project::open(folder)?, component.as_deref(), *rows as usize, terminal)
        }
        AuthorCommand::Pack { component, manifest } => build::pack(component, manifest, terminal),
    }
}
