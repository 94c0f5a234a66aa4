//! Source `http`: the rows of a document, or of pages, behind an address.
//!
//! An address has no place to go on from, so the cursor says how many rows of a document were taken and what their digest is: one
//! that still begins with them has grown, any other was replaced. Nothing is asked for twice that the other side can say is
//! unchanged (`ETag`, `Last-Modified`). When to try again is the host's to decide; this plugin says whether that can help.

mod cursor;
mod delimited;
mod document;
mod exchange;
mod reader;

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::{Failure, Issues, Source};

use reader::HttpReader;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is asked for.
    pub url: String,
    /// How rows are written.
    pub format: Format,
    /// The keys or columns to read; without it all of the first row or of the header.
    pub columns: Option<Vec<String>>,
    /// JSON pointer to the list of objects in a `json` document.
    #[serde(default)]
    pub items: String,
    /// How a `json` document is one page of many.
    pub pages: Option<Pages>,
    /// The granted secret that the host adds on the way out.
    pub secret: Option<String>,
    /// More headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long to wait before asking again, in milliseconds.
    #[serde(default = "minute")]
    pub poll_ms: u32,
    /// Whether to ask again.
    #[serde(default = "yes")]
    pub follow: bool,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Objects, one a line.
    Jsonl,
    /// One document with a list of objects.
    Json,
    /// Delimited text with a header.
    Csv,
}

/// How one page leads to the next.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// Query parameter that names a page.
    pub parameter: String,
    /// JSON pointer to the name of the next page.
    pub next: String,
}

fn minute() -> u32 {
    60_000
}

fn yes() -> bool {
    true
}

/// What is wrong; the number is the failure's code and does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Fault {
    /// Rows that were taken of a page changed.
    Replaced = 1,
    /// A record is no row.
    Row = 2,
    /// The document is not what it should be.
    Document = 3,
    /// The cursor cannot be read.
    Cursor = 4,
}

fn failure(fault: Fault, message: impl Into<String>) -> Failure {
    Failure::with_code(fault as u16, message)
}

/// The plugin: a configuration that has been checked.
#[derive(Debug, Clone)]
pub struct Http {
    config: Config,
}

tidegate_plugin::export!(Http, source);

impl Source for Http {
    type Config = Config;
    type Reader = HttpReader;

    fn configure(config: Config) -> Result<Http, Issues> {
        let mut issues = Issues::default();
        if !["http://", "https://"].iter().any(|scheme| config.url.starts_with(scheme)) || config.url.contains('#') {
            issues.push("/url", format!("`{}` is not an address that begins with `https://` or `http://` and has no `#`", config.url));
        }
        if let Some(why) = config.columns.as_deref().and_then(json_rows::check_names) {
            issues.push("/columns", why);
        }
        if config.format != Format::Json {
            if config.pages.is_some() {
                issues.push("/pages", "only a `json` document can name the next page");
            }
            if !config.items.is_empty() {
                issues.push("/items", "only a `json` document has places that a pointer can name");
            }
        }
        let pages = config.pages.as_ref().map(|pages| ("/pages/next", &pages.next));
        for (place, pointer) in [("/items", &config.items)].into_iter().chain(pages) {
            if !(pointer.is_empty() || pointer.starts_with('/')) {
                issues.push(place, format!("`{pointer}` is no JSON pointer; expected one that begins with `/`"));
            }
        }
        if config.poll_ms < 100 {
            issues.push("/poll_ms", format!("it is {}; expected at least 100", config.poll_ms));
        }
        issues.or(Http { config })
    }

    fn open(&self, cursor: Option<&[u8]>) -> Result<HttpReader, Failure> {
        HttpReader::open(self.config.clone(), cursor)
    }
}

#[cfg(test)]
mod tests;
