//! A plugin as it is to be used beside the one in use, on the same real batches: what comes out differently. What is new of it may be
//! its build or its settings.
//!
//! Both run on instances of their own, so that nothing that serves waits for a build that may never end.

mod compare;
mod run;
mod spots;

use serde::{Deserialize, Serialize};

pub use spots::{Samples, Side, Spot, samples, tried};

/// What comes out differently at one place of a plugin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// Where: pipeline and kind.
    pub place: String,
    /// Batches that both were given.
    pub batches: usize,
    /// Rows of them.
    pub rows: u64,
    /// Rows that each kept.
    pub rows_kept: Pair<u64>,
    /// Rows that one kept and the other did not.
    pub rows_differ: u64,
    /// Cells of rows and columns that both gave.
    pub cells: u64,
    /// Those whose values differ.
    pub cells_differ: u64,
    /// By column, only those that differ.
    pub columns: Vec<ColumnDifference>,
    /// By metric, only those that differ.
    pub metrics: Vec<MetricDifference>,
    /// What each took.
    pub seconds: Pair<f64>,
    /// Why the old build gave nothing to compare with.
    pub old_failed: Option<String>,
}

/// Something of the old build and of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pair<T> {
    /// Of the old.
    pub old: T,
    /// Of the new.
    pub new: T,
}

/// How one column differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDifference {
    /// Its name.
    pub name: String,
    /// Cells that differ; all of them where only one build gave the column.
    pub cells: u64,
    /// The mean of each; none for text, or where a build did not give the column.
    pub mean: Pair<Option<f64>>,
    /// The standard deviation of each.
    pub spread: Pair<Option<f64>>,
}

/// How one metric differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDifference {
    /// Its name.
    pub name: String,
    /// Its value; none where a build did not report it, or it has none.
    pub value: Pair<Option<f64>>,
}

impl Difference {
    /// The share of rows or of cells that differ, whichever is larger.
    pub fn share(&self) -> f64 {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        share(self.rows_differ, self.rows).max(share(self.cells_differ, self.cells))
    }

    /// The share of rows that the new build dropped.
    pub fn dropped_share(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { 1.0 - self.rows_kept.new as f64 / self.rows as f64 }
    }

    /// It in a sentence or two.
    pub fn sentence(&self) -> String {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        let batches = if self.batches == 1 { "batch" } else { "batches" };
        let mut text = format!("{}: on {} {rows} in {} {batches}", self.place, self.rows, self.batches);
        if let Some(why) = &self.old_failed {
            return format!("{text} the old build failed ({why}); the new one did not");
        }
        if self.rows_differ == 0 && self.cells_differ == 0 && self.metrics.is_empty() && self.columns.is_empty() {
            text.push_str(" nothing differs");
        } else if self.metrics.is_empty() {
            let (old, new) = (self.rows_kept.old, self.rows_kept.new);
            text.push_str(&format!(" kept {old} rows before and {new} now; {} of {} cells differ", self.cells_differ, self.cells));
            for column in &self.columns {
                text.push_str(&format!("; `{}`: {} cells", column.name, column.cells));
                if let (Some(old), Some(new)) = (column.mean.old, column.mean.new) {
                    text.push_str(&format!(", mean {old:.4} to {new:.4}"));
                }
            }
        } else {
            let shown = |value: Option<f64>| value.map_or("nothing".to_owned(), |value| format!("{value:.6}"));
            for metric in &self.metrics {
                text.push_str(&format!("; `{}` was {}, is {}", metric.name, shown(metric.value.old), shown(metric.value.new)));
            }
        }
        text.push_str(&format!("; {:.1} ms before, {:.1} ms now", self.seconds.old * 1e3, self.seconds.new * 1e3));
        text
    }
}
