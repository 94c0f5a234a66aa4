//! What a backtest shows: one report from plain data, as a table, as JSON and as a page of HTML.
//!
//! Invariant: everything here is a pure function of [`BacktestReport`]; the same report gives the same bytes. Nothing is
//! loaded from anywhere: a page is one file and needs no script.
//!
//! Read [`BacktestReport`] first; `chart.rs` draws, `page.rs` writes the page around it, `summary.rs` is for terminals.

mod chart;
mod decisions;
mod frontier;
mod page;
mod rolling;
mod scale;
mod summary;
#[cfg(test)]
mod tests;
mod verdicts;

use serde::Serialize;
use tidegate_vocab::{Decision, DecisionKind, Timestamp, VersionNo};

pub use frontier::{Tried, tried};
pub use page::page;
pub use rolling::{ScoredRow, rolling_accuracy};
pub use summary::{summary_json, summary_table};
pub use verdicts::{verdict_table, verdict_word};

/// Everything that a backtest found out.
#[derive(Debug, Clone)]
pub struct BacktestReport {
    /// The pipeline.
    pub title: String,
    /// What the horizontal axis counts.
    pub axis: Axis,
    /// Rows of the history.
    pub row_count: u64,
    /// Rows at its beginning that were learned from and not counted.
    pub warmup_rows: u64,
    /// Rows of one window of the lines.
    pub window_rows: u64,
    /// One a replay: settings × seed.
    pub summary: Vec<SummaryRow>,
    /// The naive baselines on the same rows.
    pub baselines: Vec<BaselineRow>,
    /// Accuracy over time.
    pub lines: Vec<Line>,
    /// Every training, in the order of rows.
    pub trainings: Vec<Training>,
    /// Every decision, in the order of rows.
    pub decisions: Vec<DecisionEntry>,
    /// Whether the settings were made from a grid, to be held against each other.
    pub is_tuning: bool,
}

/// What the horizontal axis of a chart counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Event time.
    Time,
    /// Rows, where they have no time.
    Rows,
}

/// One replay in figures; the keys of its JSON form are a promise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryRow {
    /// Name of the settings.
    pub settings: String,
    /// The seed.
    pub seed: u64,
    /// Share of rows predicted rightly, each before it was learned from.
    pub accuracy: f64,
    /// F1 of the positive class, or macro F1.
    pub f1: f64,
    /// Cohen's kappa with "as the last label" in the place of chance.
    pub kappa_no_change: f64,
    /// Trainings, whatever came of them.
    pub trainings: u64,
    /// Verdicts of `hold`.
    pub holds: u64,
    /// Verdicts of `reject`.
    pub rejections: u64,
    /// Wall time of the replay.
    pub seconds: f64,
}

/// A naive baseline in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineRow {
    /// Which.
    pub baseline: Baseline,
    /// Share of rows predicted rightly.
    pub accuracy: f64,
    /// F1 of the positive class, or macro F1.
    pub f1: f64,
    /// Kappa against no-change; 0 for no-change itself.
    pub kappa_no_change: f64,
}

/// A prediction that needs no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// As the last known label.
    NoChange,
    /// As most known labels.
    Majority,
}

impl Baseline {
    /// Its name in tables and charts.
    pub fn word(self) -> &'static str {
        match self {
            Baseline::NoChange => "no-change",
            Baseline::Majority => "majority",
        }
    }
}

/// Whose accuracy a line shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A replay.
    Replay {
        /// Name of the settings.
        settings: String,
        /// The seed.
        seed: u64,
    },
    /// A naive baseline.
    Baseline(Baseline),
}

/// Accuracy over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Of whom.
    pub who: Who,
    /// In the order of rows; all replays of some settings have theirs at the same rows.
    pub points: Vec<Point>,
}

/// Accuracy over the window of rows that ends here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The last row of the window.
    pub row: u64,
    /// Its event time.
    pub at: Timestamp,
    /// Share of the window predicted rightly.
    pub accuracy: f64,
    /// Rows of the window.
    pub rows: u64,
}

/// One training.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Name of the settings.
    pub settings: String,
    /// The seed.
    pub seed: u64,
    /// Rows known when it began.
    pub row: u64,
    /// Event time of the last of them.
    pub at: Timestamp,
    /// The version it made.
    pub version: VersionNo,
    /// Why it began, as a sentence.
    pub trigger: String,
}

/// One decision of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionEntry {
    /// Name of the settings.
    pub settings: String,
    /// The seed.
    pub seed: u64,
    /// Rows known when it was made.
    pub row: u64,
    /// What was decided, and on what.
    pub decision: Decision,
}

/// A replay, as charts and lists tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lane {
    settings: String,
    seed: u64,
}

impl BacktestReport {
    /// Names of the settings, in the order of the summary.
    fn settings(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.summary.iter().filter(|row| !row.settings.is_empty()) {
            if !names.contains(&row.settings.as_str()) {
                names.push(&row.settings);
            }
        }
        names
    }

    /// Names of the settings that are drawn and told about: of a grid, those that are worth their trainings.
    fn shown_settings(&self) -> Vec<&str> {
        if !self.is_tuning {
            return self.settings();
        }
        let mut best: Vec<(&str, Tried)> = self.settings().into_iter().zip(tried(self)).filter(|(_, tried)| tried.on_frontier).collect();
        best.sort_by(|a, b| a.1.trainings.total_cmp(&b.1.trainings));
        best.into_iter().map(|(name, _)| name).collect()
    }

    /// What to call settings beside a line: those of a grid have long names, and numbers that the list of the best has too.
    fn settings_name(&self, name: &str) -> String {
        match self.shown_settings().iter().position(|shown| *shown == name) {
            Some(index) if self.is_tuning => format!("{}. {name}", index + 1),
            _ => name.to_owned(),
        }
    }

    /// The replays that are drawn, in the order of the summary.
    fn lanes(&self) -> Vec<Lane> {
        let rows = |name| self.summary.iter().filter(move |row| row.settings == name);
        let lane = |row: &SummaryRow| Lane { settings: row.settings.clone(), seed: row.seed };
        self.shown_settings().into_iter().flat_map(rows).map(lane).collect()
    }

    /// What to call a replay: by its seed where there is only one set of settings.
    fn lane_name(&self, lane: &Lane) -> String {
        let name = self.settings_name(&lane.settings);
        match (self.settings().len(), self.summary.len()) {
            (_, 1) => name,
            (1, _) => format!("seed {}", lane.seed),
            (settings, replays) if settings == replays => name,
            _ => format!("{name}, seed {}", lane.seed),
        }
    }
}

/// The word for a decision.
pub fn decision_word(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Promote => "promote",
        DecisionKind::Reject => "reject",
        DecisionKind::Hold => "hold",
        DecisionKind::RollBack => "roll back",
    }
}

/// The day of an instant: `1987-05-01`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take_while(|c| *c != 'T').collect()
}
