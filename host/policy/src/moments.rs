//! Count, mean and spread of a stream, kept in three numbers.

use serde::{Deserialize, Serialize};

/// Count, mean and summed squared deviation of values (Welford 1962); two sets merge without loss (Chan and others 1979).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    /// Number of values.
    pub count: u64,
    /// Their mean; 0 without values.
    pub mean: f64,
    /// Sum of the squared distances from the mean.
    pub deviation: f64,
}

impl Moments {
    /// Takes in one value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.deviation += distance * (value - self.mean);
    }

    /// Takes in the values of another set.
    pub fn merge(&mut self, other: &Moments) {
        let count = self.count + other.count;
        if count == 0 {
            return;
        }
        let distance = other.mean - self.mean;
        let share = other.count as f64 / count as f64;
        self.deviation += other.deviation + distance * distance * self.count as f64 * share;
        self.mean += distance * share;
        self.count = count;
    }

    /// The variance, divided by one less than the count; `None` for fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.deviation / (self.count - 1) as f64)
    }
}
