//! Source `jsonl`: rows of a file of JSON objects, one a line.
//!
//! Every value crosses as the text it was written as: what a column means is the contract's word. The cursor names the byte behind
//! the last row, so a restart goes on exactly there. What it never does is guess: a replaced file, a new key, a nested value and a
//! line that is no object are failures that name the line.

mod cursor;
mod lines;
mod reader;

use serde::Deserialize;
use tidegate_plugin::{Failure, Issues, Source};

use reader::JsonlReader;

/// Bytes of the longest line unless the configuration says otherwise.
const LINE_BYTES_MAX: u32 = 16 << 20;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lent input to read.
    pub input: String,
    /// The keys to read; without it all keys of the first row.
    pub columns: Option<Vec<String>>,
    /// Whether the file may grow.
    #[serde(default = "yes")]
    pub follow: bool,
    /// What happens to a line that is no row.
    #[serde(default)]
    pub bad_line: BadLine,
    /// Bytes of the longest line.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: u32,
}

/// What happens to a line that is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadLine {
    /// The call fails.
    #[default]
    Refuse,
    /// It is left out, counted and logged.
    Skip,
}

fn yes() -> bool {
    true
}

fn line_bytes_max() -> u32 {
    LINE_BYTES_MAX
}

/// What is wrong; the number is the failure's code and does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Fault {
    /// The input is not the one that was read before.
    Replaced = 1,
    /// A line is no row.
    Row = 2,
    /// A line is longer than the limit.
    Long = 3,
    /// The cursor cannot be read.
    Cursor = 4,
}

fn failure(fault: Fault, message: impl Into<String>) -> Failure {
    Failure::with_code(fault as u16, message)
}

/// The plugin: a configuration that has been checked.
#[derive(Debug, Clone)]
pub struct Jsonl {
    config: Config,
}

tidegate_plugin::export!(Jsonl, source);

impl Source for Jsonl {
    type Config = Config;
    type Reader = JsonlReader;

    fn configure(config: Config) -> Result<Jsonl, Issues> {
        let mut issues = Issues::default();
        if let Some(why) = config.columns.as_deref().and_then(json_rows::check_names) {
            issues.push("/columns", why);
        }
        if config.line_bytes_max == 0 {
            issues.push("/line_bytes_max", "it is 0; expected at least 1");
        }
        issues.or(Jsonl { config })
    }

    fn open(&self, cursor: Option<&[u8]>) -> Result<JsonlReader, Failure> {
        JsonlReader::open(self.config.clone(), cursor)
    }
}

#[cfg(test)]
mod tests;
