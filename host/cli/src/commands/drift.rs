//! `tidegate drift`: what has moved away from the rows that the champion learned from.

use serde_json::json;
use tidegate_pipeline::{DriftBook, DriftedWindow};
use tidegate_policy::{DriftLook, FeatureDrift};

use super::quality::kept;
use super::{chosen, config};
use crate::args::Global;
use crate::compose;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Features of the table, the one that moved most first.
const FEATURES_MAX: usize = 30;
/// Windows that are told of beside the newest.
const WINDOWS_MAX: usize = 8;

/// Prints what drifts.
///
/// # Errors
/// A [`Failure`] when what is stored cannot be read.
pub fn drift(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let book: DriftBook = kept(state, &chosen.id, "drift").await?;
        let window_rows = chosen.drift.map_or(0, |drift| drift.window_rows);
        let value = || json!({ "version": book.version, "refused": book.refused, "windows": book.windows });
        terminal.result(|| text(&book, window_rows), value);
        Ok(Exit::Ok)
    })
}

fn text(book: &DriftBook, window_rows: u64) -> String {
    let Some(newest) = book.windows.last() else {
        return match (book.version, window_rows) {
            (_, 0) => "drift is not watched: `window_rows` of its `drift` table is 0\n".to_owned(),
            (None, _) => "nothing has been compared yet: a version has to serve, and rows to come after it\n".to_owned(),
            (Some(version), rows) => {
                format!("no window of {} rows is whole yet since {version} learned{}\n", grouped(rows), refused(book))
            }
        };
    };
    let mut out = format!(
        "Rows {} to {}, against those that {} learned from: {}\n\n",
        grouped(newest.rows.0),
        grouped(newest.rows.1.saturating_sub(1)),
        newest.version,
        newest.features.reason
    );
    out.push_str(&features(&newest.features));
    if let Some(predictions) = &newest.predictions {
        out.push_str(&format!("\nIts answers: {}\n\n{}", predictions.reason, features(predictions)));
    }
    out.push_str(&refused(book));
    let earlier: Vec<Vec<String>> = book.windows.iter().rev().skip(1).take(WINDOWS_MAX).map(line).collect();
    if !earlier.is_empty() {
        out.push_str("\nWindows before\n\n");
        out.push_str(&table(&["until row", "version", "drift", "what"], earlier, 4));
    }
    out
}

fn features(look: &DriftLook) -> String {
    let line = |feature: &FeatureDrift| {
        let (verdict, psi) =
            (verdict(feature), feature.psi.map_or_else(|| "–".to_owned(), |(found, usual)| format!("{found:.3} ({usual:.3})")));
        let number = |value: f64| format!("{value:.3}");
        let p = if feature.p < 0.001 { "< 0.001".to_owned() } else { number(feature.p) };
        vec![feature.name.clone(), verdict.to_owned(), number(feature.effect), number(feature.usual), p, psi]
    };
    let shown = look.features.iter().take(FEATURES_MAX).map(line).collect();
    let more = look.features.len().saturating_sub(FEATURES_MAX);
    let more = if more > 0 { format!("and {more} more, which moved less\n") } else { String::new() };
    format!("{}{more}", table(&["feature", "verdict", "moved by", "usual up to", "p", "psi (usual up to)"], shown, 2))
}

fn verdict(feature: &FeatureDrift) -> &'static str {
    match (feature.drifts, feature.moved) {
        (true, _) => "drifts",
        (false, true) => "moved",
        (false, false) => "–",
    }
}

fn line(window: &DriftedWindow) -> Vec<String> {
    let drifts = if window.drifts() { "yes" } else { "no" };
    vec![grouped(window.rows.1.saturating_sub(1)), window.version.to_string(), drifts.to_owned(), window.reason()]
}

fn refused(book: &DriftBook) -> String {
    book.refused.iter().map(|(name, why)| format!("\n`{name}` is not watched: it {why}")).collect::<String>()
        + if book.refused.is_empty() { "" } else { "\n" }
}
