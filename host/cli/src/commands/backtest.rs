//! `tidegate backtest`: what these settings would have done.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::failure::Failure;
use crate::report::{BacktestReport, page, summary_json, summary_table};
use crate::terminal::Terminal;

/// Shows a report: the table or JSON on stdout, and the page in `page_file` where one is asked for.
///
/// # Errors
/// A [`Failure`] when the page cannot be written.
pub fn show(report: &BacktestReport, page_file: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(path) = page_file {
        write_page(report, path)?;
    }
    terminal.result(|| summary_table(report), || summary_json(report));
    if let Some(path) = page_file {
        terminal.note(&format!("the report is in `{}`", path.display()));
    }
    Ok(())
}

fn write_page(report: &BacktestReport, path: &Path) -> Result<(), Failure> {
    let text = || format!("could not write the report `{}`", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(text)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).with_context(text)?;
    file.write_all(page(report).as_bytes()).with_context(text)?;
    Ok(())
}
