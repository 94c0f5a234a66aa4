//! The command line, as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_vocab::VersionNo;

use crate::commands::tune::Varied;

/// Keeps machine-learning models in season: pulls rows, retrains when they say so, promotes only through a gate
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 110)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Settings file; `backtest` takes several and puts them side by side
    #[arg(short, long, value_name = "FILE", global = true, env = "TIDEGATE_SETTINGS", value_delimiter = ',', default_value = crate::config::SETTINGS_FILE)]
    pub settings: Vec<PathBuf>,
    /// Pipeline of the settings file; needed only where it has several
    #[arg(short, long, value_name = "NAME", global = true)]
    pub pipeline: Option<String>,
    /// Print JSON to stdout; errors, progress and log lines become JSON on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Least serious log lines to print on stderr
    #[arg(long, value_name = "LEVEL", global = true, env = "TIDEGATE_LOG", default_value = "warn")]
    pub log: LogLevel,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// When to use colour
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    pub color: ColorWhen,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// A person must act
    Error,
    /// Odd, carried on
    Warn,
    /// State changed
    Info,
    /// Why
    Debug,
    /// Every batch
    Trace,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What `tidegate` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an example settings file and say what to do next
    Init {
        /// Folder to write into; made when it is missing
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Check the settings file and everything it refers to; run nothing
    Check,
    /// Follow the sources, serve the champion, take labels, retrain and judge, until told to stop
    Up(Up),
    /// Have the running host take up what the settings file says now, as far as it can without a restart; it follows the file by itself,
    /// and looks again at SIGHUP
    Reload {
        /// Take up what is held for you to accept: more that is lent to a plugin, rows that come out otherwise
        #[arg(long)]
        accept: bool,
    },
    /// Answer the rows of a file with the champion
    Predict(Predict),
    /// Take in labels that come by id, after their rows
    Labels {
        /// CSV with a header, columns `id`, `label` and, if the labels became known earlier than now, `known_at`; `-` reads stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show what has moved away from the rows that the champion learned from
    Drift,
    /// Show how good the answers were, how good they seem before labels come, and how late labels come
    Quality,
    /// Pull new rows, retrain if a trigger is due, judge, decide
    #[command(after_help = "Exit codes: 0 promoted or nothing to do, 1 error, 2 usage or settings, 3 rejected, 4 held")]
    Run {
        /// Train and judge even if no trigger is due
        #[arg(long)]
        force: bool,
    },
    /// Replay a history on a simulated clock through the same loop
    Backtest(Backtest),
    /// Pull, clean and commit new rows; train nothing
    Ingest,
    /// What the columns of the dataset must be
    #[command(subcommand)]
    Contract(ContractCommand),
    /// List model versions
    Models,
    /// Make a version champion by hand
    Promote {
        /// The version, such as `v3`
        #[arg(id = "number", value_name = "VERSION")]
        version: VersionNo,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Make the previous champion, or VERSION, champion again
    Rollback {
        /// The version, such as `v2`; the one that served before, when left out
        #[arg(id = "number", value_name = "VERSION")]
        version: Option<VersionNo>,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Make a model that was trained elsewhere champion
    Import {
        /// Folder of `model.safetensors` and `model.json`, as `export` writes them
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Write a version's two files into a folder
    Export {
        /// The version, such as `v3`
        #[arg(id = "number", value_name = "VERSION")]
        version: VersionNo,
        /// Folder to write into; made when it is missing
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Tell the story of a version: data, training, measurements, verdicts, who decided
    Explain {
        /// The version, such as `v3`; the champion, when left out
        #[arg(id = "number", value_name = "VERSION")]
        version: Option<VersionNo>,
    },
    /// Look at the gate before and after it decides: what it can show, and what it would have said
    #[command(subcommand)]
    Gate(GateCommand),
    /// Read the journal
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Look at rows that were kept out, and let them in again
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Batches that were set aside because a cleaner fails on them
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Let go of what is older than `retention_days` or over `disk_bytes_max`, and of files that nothing names
    Gc {
        /// Say what would go, and let nothing go
        #[arg(long)]
        dry_run: bool,
    },
    /// Write everything that is kept into one file, beside a running host too
    Backup {
        /// The file to write; there may be none of that name
        file: PathBuf,
    },
    /// Read a state folder back from a backup, where none is
    Restore {
        /// The file that `backup` wrote
        file: PathBuf,
    },
    /// Write, build, try, lock, replace and look at plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Who may call the server from outside
    #[command(subcommand)]
    Token(TokenCommand),
    /// Load a version in this process and ask it rows that are on record; a running host starts itself with it
    #[command(name = "check-version", hide = true)]
    CheckVersion {
        /// The version, such as `v3`
        #[arg(id = "number", value_name = "VERSION")]
        version: VersionNo,
    },
    /// Compile a component from stdin to stdout; the binary starts itself with it
    #[command(name = "compile-plugin", hide = true)]
    CompilePlugin,
}

/// `tidegate up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Address and port to listen on; those of `[serve]`, when left out
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// Replay the sources at so many rows a second, on a clock that follows the rows
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub replay: Option<u32>,
    /// Stop when the replayed history has ended
    #[arg(long, requires = "replay")]
    pub once: bool,
}

/// `tidegate predict`.
#[derive(Debug, Args)]
pub struct Predict {
    /// CSV with a header and the contract's columns
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write the answers; stdout, when left out
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The version that answers; the champion, when left out
    #[arg(long = "by", value_name = "VERSION")]
    pub number: Option<VersionNo>,
}

/// `tidegate token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print its secret, which is kept nowhere
    Create {
        /// Its name
        name: String,
        /// What it allows
        #[arg(long, value_enum)]
        role: TokenRole,
    },
    /// List names and roles
    List,
    /// Take a token back
    Revoke {
        /// Its name
        name: String,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenRole {
    /// See the status and the metrics
    Read,
    /// Ask for predictions
    Predict,
    /// Send labels
    Label,
    /// Everything
    Operate,
}

/// `tidegate backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// Seeds, one replay each; those of `[backtest] seeds`, when left out
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub seeds: Vec<u64>,
    /// Let every trained version serve at once, to see what the gate is worth
    #[arg(long)]
    pub no_gate: bool,
    /// Try every combination of these values and show which settings are worth their trainings; half, the same and double of the
    /// window and of the rows that start a run, when KEY is left out. KEY is below `[pipeline.NAME]`: `gate.rule.not-worse.margin`
    #[arg(long, value_name = "KEY=VALUE,…", num_args = 0.., conflicts_with = "no_gate")]
    pub tune: Option<Vec<Varied>>,
    /// Where to write the HTML report
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Rows of one window of the accuracy chart
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    pub window: u64,
}

/// `tidegate gate`.
#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// Say what is legal and unwise about the rules; exits with 3 where there is something
    Lint,
    /// Rows that each rule needs, and the chance of versions that are as good, better and worse to pass it
    Power {
        /// Share of rows on which challenger and champion disagree; that of the last decision, when left out
        #[arg(long, value_name = "SHARE")]
        disagreement: Option<f64>,
        /// By how much a version is better or worse, in units of the metric
        #[arg(long, value_name = "DIFFERENCE", default_value_t = 0.01)]
        difference: f64,
    },
    /// Say in words how the gate judges, and how its newest decision came about
    Explain {
        /// About this version instead
        #[arg(id = "number", value_name = "VERSION")]
        version: Option<VersionNo>,
    },
    /// Ask what the gate would say of a version today, on rows that nobody has learned from; nothing is decided
    Run {
        /// The version; the newest that does not serve, when left out
        #[arg(id = "number", value_name = "VERSION")]
        version: Option<VersionNo>,
        /// The version that it is compared with; the champion, when left out
        #[arg(long, value_name = "VERSION")]
        against: Option<VersionNo>,
    },
    /// Train a judged version again with other seeds, and show how often the gate would have decided otherwise
    Aa {
        /// The version; the newest that a gate judged, when left out
        #[arg(id = "number", value_name = "VERSION")]
        version: Option<VersionNo>,
        /// How many seeds
        #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        seeds: u32,
    },
    /// Judge every version again, on the rows that it was judged on, by the rules in the settings
    Replay,
    /// Print rules that say what the thresholds of another tool say, and what has no counterpart
    Import {
        /// Whose thresholds they are
        #[arg(long)]
        from: ThresholdsOf,
        /// The file, as JSON
        file: PathBuf,
    },
}

/// Whose thresholds are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ThresholdsOf {
    /// The `EvalConfig` of TensorFlow Model Analysis
    Tfma,
    /// The thresholds of MLflow's `validate_evaluation_results`
    Mlflow,
}

/// `tidegate contract`.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// Look at the first rows of the source and print the contract they suggest
    Infer {
        /// Column of ground truth
        #[arg(long, value_name = "COLUMN")]
        label: String,
        /// Column of event time
        #[arg(long, value_name = "COLUMN")]
        time: Option<String>,
        /// Column that names rows
        #[arg(long, value_name = "COLUMN")]
        id: Option<String>,
        /// Rows to look at
        #[arg(long, value_name = "ROWS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        rows: u64,
    },
    /// Print the contract that was accepted
    Show,
    /// Show what the settings change about the accepted contract, and what that means for the champion
    Diff,
    /// Accept the contract in the settings
    Accept {
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `tidegate quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Count the rows that are kept out, and list them
    List {
        /// Only those that this cleaner, or `contract`, keeps out
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// Only those of this reason
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Rows to list; all are counted
        #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100_000))]
        limit: u64,
    },
    /// Show one row as its source gave it, and what became of it
    Show {
        /// Its number
        row: u64,
    },
    /// Let rows in again that a cleaner dropped
    Readmit {
        /// Numbers, and ranges such as `5-9`
        #[arg(required = true, value_name = "ROWS", value_parser = rows)]
        rows: Vec<std::ops::RangeInclusive<u64>>,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Clean the parts again that rows are kept out of, with the cleaners as they are now
    Clean,
}

/// `tidegate dead-letter`.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List the batches that wait, and the rows that were given up
    List,
    /// Show one: what failed, what the plugin said, where it stopped
    Show {
        /// Its number
        number: u64,
        /// Write its replay bundle to a file, for whoever mends the plugin
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
    /// Clean one again, or all of them; rows that come through are where they would have been
    Retry {
        /// Its number
        number: Option<u64>,
    },
    /// Give the rows of one up for good
    Drop {
        /// Its number
        number: u64,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// A row number, or a range of them.
fn rows(text: &str) -> Result<std::ops::RangeInclusive<u64>, String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match text.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first <= last),
        None => number(text).map(|row| (row, row)),
    };
    range.map(|(first, last)| first..=last).ok_or_else(|| "expected a row number such as `17`, or a range such as `5-9`".to_owned())
}

/// `tidegate journal`.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Print entries, oldest first
    Show {
        /// First entry
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        from: u64,
    },
    /// Walk the chain of digests and name the first entry that does not fit
    Verify,
}

/// `tidegate plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins in the plugin folder
    List,
    /// Let a running host look at its plugin folder now
    Reload {
        /// Only these plugins; several are replaced together or not at all
        #[arg(value_name = "NAME")]
        plugins: Vec<String>,
        /// Let through what waits for an operator: another output, or a capability that the old build did not ask for
        #[arg(long)]
        accept: bool,
    },
    /// Take a plugin of a running host back to the build before
    Rollback {
        /// The plugin's name
        #[arg(value_name = "NAME")]
        plugin: String,
        /// Why, for the journal
        #[arg(long, default_value = "no reason given")]
        reason: String,
    },
    /// Write what plugins are and were lent into `plugins.lock`
    Lock {
        /// Only these plugins
        #[arg(value_name = "NAME")]
        plugins: Vec<String>,
    },
    /// Fetch plugins from registries of containers into the plugin folder and `plugins.lock`
    Pull {
        /// Only these plugins; all that have a `from` in the settings where none is named
        #[arg(value_name = "NAME")]
        plugins: Vec<String>,
        /// Where the one plugin is: `oci://HOST/REPOSITORY@sha256:…`, or `:TAG`, which is looked up once
        #[arg(long, value_name = "REFERENCE")]
        from: Option<String>,
    },
    /// Hold a plugin at one build, whatever lies in the plugin folder
    Pin {
        /// The plugin's name
        #[arg(value_name = "NAME")]
        plugin: String,
        /// The first characters of the build's digest; the one in use where it is not given
        #[arg(value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// Remove a plugin's entry from `plugins.lock`
    Unpin {
        /// The plugin's name
        #[arg(value_name = "NAME")]
        plugin: String,
    },
    /// Make a key pair that signs plugins: NAME.pub, for `trusted_keys`, and NAME.key, which signs
    Keygen {
        /// Path of the two files, without their endings
        #[arg(value_name = "NAME")]
        name: PathBuf,
    },
    /// Write a signature beside each plugin's component
    Sign {
        /// Names of plugins, or paths of components
        #[arg(value_name = "NAME", required = true)]
        plugins: Vec<String>,
        /// The secret key, without a password
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Say which trusted key has signed what plugins stand for
    Verify {
        /// Only these plugins; all that are used where none is named
        #[arg(value_name = "NAME")]
        plugins: Vec<String>,
    },
    /// Run two builds of a plugin on the newest real batches and show what comes out differently
    Diff {
        /// The plugin's name, or the path of a component
        old: String,
        /// The path of the other component
        new: String,
    },
    /// Show the plugins that have failed, and those that are quarantined
    Strikes,
    /// Forgive a plugin its strikes, so that it is called again
    #[command(alias = "resume")]
    Release {
        /// The plugin's name
        plugin: String,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Make the failed call of a dead letter again: exit code 0 when it fails as it did, 3 when it passes, 1 when it fails otherwise
    Replay {
        /// The number of a dead letter, or the path of a replay bundle
        bundle: String,
        /// Run this component instead, to see whether it is mended
        #[arg(long, value_name = "FILE")]
        plugin: Option<PathBuf>,
    },
    /// Show one plugin's manifest, imports, limits and grants
    Inspect {
        /// The plugin's name, or the path of a component
        plugin: String,
    },
    /// What the author of a plugin does.
    #[command(flatten)]
    Author(crate::author::AuthorCommand),
}
