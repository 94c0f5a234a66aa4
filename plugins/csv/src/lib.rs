//! Source `csv`: rows of a delimited text file, RFC 4180 with the liberties that real files take.
//!
//! Every cell crosses as the text it is: what a column means is the contract's word, and a raw row is kept as it came. An empty cell is
//! a missing value, an empty *quoted* cell is empty text. The cursor names the byte behind the last row, so a restart goes on exactly
//! there. What it never does is guess: a replaced file, another header, a torn line, a bad byte and a line of the wrong width are
//! failures that name the line.

mod cursor;
mod fault;
mod marks;
mod reader;
mod window;

use serde::Deserialize;
use tidegate_plugin::{Failure, Issues, Source};

use reader::CsvReader;

/// Bytes of the longest line unless the configuration says otherwise.
const LINE_BYTES_MAX: u32 = 16 << 20;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lent input to read.
    pub input: String,
    /// One ASCII character between cells.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// One ASCII character around cells; empty when cells are never quoted.
    #[serde(default = "double_quote")]
    pub quote: String,
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Column names, instead of those in the header.
    pub columns: Option<Vec<String>>,
    /// Whether the file may grow.
    #[serde(default = "yes")]
    pub follow: bool,
    /// What happens to bytes that are not UTF-8.
    #[serde(default)]
    pub invalid_utf8: InvalidUtf8,
    /// What happens to a line with a wrong number of cells.
    #[serde(default)]
    pub wrong_width: WrongWidth,
    /// Bytes of the longest line.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: u32,
}

/// What happens to bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidUtf8 {
    /// The call fails.
    #[default]
    Refuse,
    /// They become U+FFFD.
    Replace,
}

/// What happens to a line with a wrong number of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrongWidth {
    /// The call fails.
    #[default]
    Refuse,
    /// It is left out, counted and logged.
    Skip,
}

fn comma() -> String {
    ",".into()
}

fn double_quote() -> String {
    "\"".into()
}

fn yes() -> bool {
    true
}

fn line_bytes_max() -> u32 {
    LINE_BYTES_MAX
}

/// The plugin: a configuration that has been checked.
#[derive(Debug, Clone)]
pub struct Csv {
    config: Config,
    delimiter: u8,
    quote: Option<u8>,
}

tidegate_plugin::export!(Csv, source);

impl Source for Csv {
    type Config = Config;
    type Reader = CsvReader;

    fn configure(config: Config) -> Result<Csv, Issues> {
        let mut issues = Issues::default();
        let delimiter = one_character(&config.delimiter);
        let quote = if config.quote.is_empty() { None } else { one_character(&config.quote) };
        if delimiter.is_none() {
            issues.push("/delimiter", format!("`{}` is not one ASCII character other than a line end", config.delimiter.escape_default()));
        }
        if quote.is_none() && !config.quote.is_empty() {
            issues.push("/quote", format!("`{}` is not one ASCII character other than a line end", config.quote.escape_default()));
        }
        if quote.is_some() && quote == delimiter {
            issues.push("/quote", "it is the delimiter too");
        }
        if config.line_bytes_max == 0 {
            issues.push("/line_bytes_max", "it is 0; expected at least 1");
        }
        match &config.columns {
            None if !config.header => issues.push("/columns", "without a header the columns must be named here"),
            Some(columns) => fault::check_names(columns).into_iter().for_each(|why| issues.push("/columns", why)),
            None => {}
        }
        issues.or(Csv { delimiter: delimiter.unwrap_or(b','), quote, config })
    }

    fn open(&self, cursor: Option<&[u8]>) -> Result<CsvReader, Failure> {
        CsvReader::open(self.clone(), cursor)
    }
}

fn one_character(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
