//! The summary of a backtest for a terminal and for machines.

use serde_json::Value;

use super::{BacktestReport, SummaryRow, tried};
use crate::terminal::table;

/// The columns of the summary, which are the keys of its JSON form too.
const COLUMNS: [&str; 9] = ["settings", "seed", "accuracy", "f1", "kappa_no_change", "trainings", "holds", "rejections", "seconds"];

/// The settings that are worth their trainings.
fn frontier(report: &BacktestReport) -> Vec<String> {
    tried(report).into_iter().filter(|tried| tried.on_frontier).map(|tried| tried.settings).collect()
}

/// The summary as a list of objects, one a replay.
pub fn summary_json(report: &BacktestReport) -> Value {
    let best = frontier(report);
    let object = |row: &SummaryRow| {
        let mut object = serde_json::to_value(row).unwrap_or(Value::Null);
        if report.is_tuning {
            object["on_frontier"] = best.contains(&row.settings).into();
        }
        object
    };
    report.summary.iter().map(object).collect()
}

/// The summary as a table with the naive baselines beneath it.
pub fn summary_table(report: &BacktestReport) -> String {
    let header = COLUMNS.map(|column| column.replace("kappa_no_change", "κ no-change"));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let best = frontier(report);
    let marked = |row: &SummaryRow| {
        let mut cells = cells(row);
        if report.is_tuning && best.contains(&row.settings) {
            cells[0] = format!("{} ◂", cells[0]);
        }
        cells
    };
    let mut rows: Vec<Vec<String>> = report.summary.iter().map(marked).collect();
    for baseline in &report.baselines {
        let kappa = number(baseline.kappa_no_change);
        let none = || "–".to_owned();
        let figures = [none(), number(baseline.accuracy), number(baseline.f1), kappa, none(), none(), none(), none()];
        rows.push(std::iter::once(baseline.baseline.word().to_owned()).chain(figures).collect());
    }
    let table = table(&header, rows, 1);
    if report.is_tuning { format!("{table}\n◂ no other settings are better with as few trainings\n") } else { table }
}

fn cells(row: &SummaryRow) -> Vec<String> {
    vec![
        row.settings.clone(),
        row.seed.to_string(),
        number(row.accuracy),
        number(row.f1),
        number(row.kappa_no_change),
        row.trainings.to_string(),
        row.holds.to_string(),
        row.rejections.to_string(),
        format!("{:.1}", row.seconds),
    ]
}

/// A figure with three decimals, as the page shows it too; a dash for one that does not exist.
pub(super) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "–".to_owned() }
}
