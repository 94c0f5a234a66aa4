//! The two streams: stdout for what was asked for, stderr for the rest.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::Value;

use crate::args::{ColorWhen, Global};
use crate::failure::Failure;

/// Characters of a line of sentences: what reads well, whatever the terminal has.
const LINE_CHARS: usize = 100;

/// What the streams can show.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Whether results are JSON.
    pub json: bool,
    /// Whether stderr takes colour.
    pub color_err: bool,
    /// Whether stderr is a terminal that progress can be drawn on.
    pub interactive: bool,
    /// Whether progress is shown at all.
    pub progress: bool,
}

impl Terminal {
    /// What the options and the streams allow.
    pub fn new(global: &Global) -> Terminal {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = |is_terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => is_terminal && !no_color,
        };
        let err = std::io::stderr().is_terminal();
        Terminal { json: global.json, color_err: color(err), interactive: err, progress: !global.no_progress }
    }

    /// Prints a result: `value` with `--json`, else `text`.
    pub fn result(&self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        let mut out = if self.json { format!("{:#}", value()) } else { text() };
        if !out.ends_with('\n') {
            out.push('\n');
        }
        // A reader that closed the pipe has seen enough; there is nobody left to tell.
        let _ = std::io::stdout().write_all(out.as_bytes());
    }

    /// Prints a remark that is no result.
    pub fn note(&self, text: &str) {
        let line = if self.json { format!("{}\n", serde_json::json!({ "note": text })) } else { format!("note: {text}\n") };
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Tells on stderr how a service fares.
    pub fn said(&self, text: &str, value: impl FnOnce() -> Value) {
        let line = if self.json { format!("{}\n", value()) } else { format!("{text}\n") };
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Prints a failure.
    pub fn failure(&self, failure: &Failure) {
        let text = if self.json { format!("{}\n", failure.json()) } else { failure.render(self.color_err) };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// A table with a header; columns from `numbers_from` on are aligned to the right.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, numbers_from: usize) -> String {
    let mut table = Table::new();
    // One rule, under the header: lines between rows would be louder than what they divide.
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A paragraph, broken between words and moved `indent` to the right.
pub fn wrapped(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(LINE_CHARS).initial_indent(&indent).subsequent_indent(&indent);
    format!("{}\n", textwrap::fill(text, options))
}
