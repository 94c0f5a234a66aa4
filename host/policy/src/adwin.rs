//! ADWIN, the adaptive window of Bifet and Gavaldà (2007): tells when the mean of a stream has changed.
//!
//! The window is kept as an exponential histogram: row `r` holds up to six buckets of `2^r` values each, each with its total and
//! its summed squared deviation. Every 32 values all cuts between buckets are tried, oldest first; where the two sides differ by
//! more than chance allows, the oldest bucket is dropped and the trial repeats.
//!
//! Alarms come at the same values as in river 0.26 with its defaults, to the bit: sums are taken in the same order, and as
//! there, the value after an alarm starts from an empty window. The state is plain numbers, so it survives as JSON exactly.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

const DELTA: f64 = 0.002;
const CLOCK_VALUES: u64 = 32;
const BUCKETS_MAX: usize = 5;
const SIDE_VALUES_MIN: f64 = 5.0;
const GRACE_VALUES: f64 = 10.0;

/// The detector with river's defaults: δ 0.002, a check every 32 values, 5 buckets a size, sides of 5 values or more, 10 values of grace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Adwin {
    /// Row `r` has the buckets of `2^r` values, oldest first.
    rows: Vec<VecDeque<Bucket>>,
    total: f64,
    /// Sum of squared deviations from the window's mean.
    deviation: f64,
    width: f64,
    values_seen: u64,
    alarmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    deviation: f64,
}

impl Adwin {
    /// A detector with an empty window.
    pub fn new() -> Adwin {
        Adwin::default()
    }

    /// Takes in one value; true when the mean has changed. A value that is not finite is passed over.
    pub fn update(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        if self.alarmed {
            *self = Adwin::new();
        }
        self.insert(value);
        self.values_seen += 1;
        self.alarmed = self.values_seen.is_multiple_of(CLOCK_VALUES) && self.width > GRACE_VALUES && self.shrink();
        self.alarmed
    }

    /// Number of values in the window.
    pub fn width(&self) -> u64 {
        self.width as u64
    }

    /// Mean of the values in the window; `None` while it is empty.
    pub fn mean(&self) -> Option<f64> {
        (self.width > 0.0).then(|| self.total / self.width)
    }

    fn insert(&mut self, value: f64) {
        if self.rows.is_empty() {
            self.rows.push(VecDeque::new());
        }
        self.rows[0].push_back(Bucket { total: value, deviation: 0.0 });
        self.width += 1.0;
        if self.width > 1.0 {
            let before = self.width - 1.0;
            let distance = value - self.total / before;
            self.deviation += before * distance * distance / self.width;
        }
        self.total += value;
        self.compress();
    }

    /// Merges the two oldest buckets of a row that has too many into one of the next row.
    fn compress(&mut self) {
        let mut row = 0;
        while self.rows.get(row).is_some_and(|buckets| buckets.len() > BUCKETS_MAX) {
            let size = size_of_row(row);
            let (Some(first), Some(second)) = (self.rows[row].pop_front(), self.rows[row].pop_front()) else { return };
            let distance = first.total / size - second.total / size;
            let merged = Bucket {
                total: first.total + second.total,
                deviation: first.deviation + second.deviation + 0.5 * size * distance * distance,
            };
            if row + 1 == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            self.rows[row + 1].push_back(merged);
            row += 1;
        }
    }

    /// Drops the oldest buckets as long as some cut shows a change; true when one did.
    fn shrink(&mut self) -> bool {
        let mut changed = false;
        while self.has_cut() {
            changed = true;
            if !self.drop_oldest() {
                break;
            }
        }
        changed
    }

    /// Whether the window falls into an older and a newer part of different means. After the newest value there is no cut.
    fn has_cut(&self) -> bool {
        let (mut old_width, mut new_width) = (0.0, self.width);
        let (mut old_total, mut new_total) = (0.0, self.total);
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                old_width += size_of_row(row);
                new_width -= size_of_row(row);
                old_total += bucket.total;
                new_total -= bucket.total;
                let wide_enough = new_width >= SIDE_VALUES_MIN && old_width >= SIDE_VALUES_MIN;
                if wide_enough && self.differs(old_width, new_width, old_total / old_width - new_total / new_width) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether means of two parts this wide differ by more than chance allows (theorem 3.2 with river's constants).
    fn differs(&self, old_width: f64, new_width: f64, difference: f64) -> bool {
        let delta = (2.0 * self.width.ln() / DELTA).ln();
        let reciprocal = 1.0 / (old_width - SIDE_VALUES_MIN + 1.0) + 1.0 / (new_width - SIDE_VALUES_MIN + 1.0);
        let variance = self.deviation / self.width;
        difference.abs() > (2.0 * reciprocal * variance * delta).sqrt() + 2.0 / 3.0 * delta * reciprocal
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(row) = self.rows.len().checked_sub(1) else { return false };
        let Some(bucket) = self.rows[row].pop_front() else { return false };
        let size = size_of_row(row);
        let mean = bucket.total / size;
        self.width -= size;
        self.total -= bucket.total;
        let distance = mean - self.total / self.width;
        self.deviation -= bucket.deviation + size * self.width * distance * distance / (size + self.width);
        if self.rows[row].is_empty() {
            self.rows.pop();
        }
        self.width > 0.0
    }
}

fn size_of_row(row: usize) -> f64 {
    // A window of 2^60 values does not happen; the cap keeps a hostile stored state from overflowing the shift.
    (1u64 << row.min(60)) as f64
}
