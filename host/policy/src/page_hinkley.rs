//! The test of Page (1954) and Hinkley (1971): tells when the mean of a stream has moved, up or down.
//!
//! Alarms come at the same values as in river 0.26 with its defaults, and as there, the value after an alarm starts anew. The
//! state is plain numbers, so it survives as JSON exactly.

use serde::{Deserialize, Serialize};

const WARM_UP_VALUES: u64 = 30;
/// A movement of the mean that is tolerated, in the unit of the values.
const TOLERANCE: f64 = 0.005;
/// The summed deviation that raises an alarm.
const THRESHOLD: f64 = 50.0;
/// What of the summed deviation is kept from value to value.
const MEMORY: f64 = 1.0 - 0.0001;

/// The two-sided detector with river's defaults: tolerance 0.005, threshold 50, forgetting 0.9999, 30 values to warm up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PageHinkley {
    values_seen: u64,
    mean: f64,
    rise_sum: f64,
    fall_sum: f64,
    /// The smallest `rise_sum`, and the mean and the number of values then: the change is dated from there.
    rise_start: Option<RiseStart>,
    /// The largest `fall_sum`; -1 where it never was larger, as river has it.
    fall_start: Option<f64>,
    alarmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RiseStart {
    sum: f64,
    mean: f64,
    values: u64,
}

impl PageHinkley {
    /// A detector that has seen nothing.
    pub fn new() -> PageHinkley {
        PageHinkley::default()
    }

    /// Takes in one value; true when the mean has moved. A value that is not finite is passed over.
    pub fn update(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        if self.alarmed {
            *self = PageHinkley::new();
        }
        self.values_seen += 1;
        self.mean += (1.0 / self.values_seen as f64) * (value - self.mean);
        let deviation = value - self.mean;
        self.rise_sum = MEMORY * self.rise_sum + deviation - TOLERANCE;
        self.fall_sum = MEMORY * self.fall_sum + deviation + TOLERANCE;
        let rise_start = match self.rise_start {
            Some(start) if self.rise_sum >= start.sum => start,
            _ => *self.rise_start.insert(RiseStart { sum: self.rise_sum, mean: self.mean, values: self.values_seen }),
        };
        let fall_start = self.fall_start.unwrap_or(-1.0).max(self.fall_sum);
        self.fall_start = Some(fall_start);
        let moved = self.rise_sum - rise_start.sum > THRESHOLD || fall_start - self.fall_sum > THRESHOLD;
        self.alarmed = self.values_seen >= WARM_UP_VALUES && moved;
        self.alarmed
    }

    /// Number of values since the last alarm.
    pub fn width(&self) -> u64 {
        self.values_seen
    }

    /// The mean since the last alarm; `None` before any value.
    pub fn mean(&self) -> Option<f64> {
        (self.values_seen > 0).then_some(self.mean)
    }

    /// The mean before and after the value from which a rise would be dated, and the number of values after it.
    pub(crate) fn rise(&self) -> Option<(f64, f64, u64)> {
        let start = self.rise_start?;
        let values = self.values_seen - start.values;
        let total = self.mean * self.values_seen as f64 - start.mean * start.values as f64;
        (values > 0).then(|| (start.mean, total / values as f64, values))
    }
}
