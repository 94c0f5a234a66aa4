//! Whether the champion is less accurate than when it began.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::interval::wilson;

/// One-sided error of the statement that accuracy has dropped.
const ALPHA: f64 = 0.01;

/// The first rows of a champion, and its last ones: which were answered wrongly.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct QualityDrop {
    first_rows: u64,
    first_wrong: u64,
    last: VecDeque<bool>,
    last_wrong: u64,
}

/// A drop of accuracy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dropped {
    /// Accuracy over the first rows.
    pub before: f64,
    /// Accuracy over the last ones.
    pub after: f64,
    /// The least that it has dropped by, with one-sided confidence 99 %.
    pub at_least: f64,
}

impl QualityDrop {
    /// Takes in whether one prediction was wrong; `rows` are compared with `rows`.
    pub(crate) fn update(&mut self, wrong: bool, rows: u64) {
        if self.first_rows < rows {
            self.first_rows += 1;
            self.first_wrong += u64::from(wrong);
            return;
        }
        self.last.push_back(wrong);
        self.last_wrong += u64::from(wrong);
        if self.last.len() as u64 > rows {
            self.last_wrong -= u64::from(self.last.pop_front().unwrap_or_default());
        }
    }

    /// By how much accuracy has dropped; `None` before there are `rows` first and as many last ones.
    ///
    /// The bound is Newcombe's (1998) for the difference of two independent proportions, from Wilson's bounds of each.
    pub(crate) fn dropped(&self, rows: u64) -> Option<Dropped> {
        if self.first_rows < rows || (self.last.len() as u64) < rows || rows == 0 {
            return None;
        }
        let share = |right: u64| right as f64 / rows as f64;
        let right = (rows - self.first_wrong.min(rows), rows - self.last_wrong.min(rows));
        let (before, after) = (share(right.0), share(right.1));
        let (lowest, _) = wilson(right.0 as f64, rows as f64, ALPHA);
        let (_, highest) = wilson(right.1 as f64, rows as f64, ALPHA);
        let at_least = before - after - ((before - lowest).powi(2) + (highest - after).powi(2)).sqrt();
        Some(Dropped { before, after, at_least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_is_told_once_both_ends_are_full() {
        let check = |first: u64, last: u64, rows: u64, expected: Option<f64>| {
            let mut quality = QualityDrop::default();
            // Rows in between are forgotten.
            let wrong = |wrong: u64| (0..rows).map(move |row| row < wrong);
            wrong(first).chain(wrong(rows)).chain(wrong(last)).for_each(|wrong| quality.update(wrong, rows));
            let found = quality.dropped(rows).map(|dropped| (dropped.at_least * 1e4).round() / 1e4);
            assert_eq!(found, expected);
        };
        // statsmodels.stats.proportion.confint_proportions_2indep(180, 200, 140, 200, method="newcomb", alpha=0.02): 0.1081 at the low end.
        check(20, 60, 200, Some(0.1081));
        check(20, 20, 200, Some(-0.0720));
        let mut quality = QualityDrop::default();
        (0..399).for_each(|row| quality.update(row >= 200, 200));
        assert_eq!(quality.dropped(200), None, "one row short");
        quality.update(true, 200);
        assert!(quality.dropped(200).is_some_and(|dropped| dropped.before == 1.0 && dropped.after == 0.0 && dropped.at_least > 0.9));
    }
}
