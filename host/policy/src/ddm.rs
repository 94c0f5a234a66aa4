//! DDM and EDDM: two detectors that watch predictions being right or wrong.
//!
//! Alarms come at the same values as in river 0.26 with its defaults, and as there, the value after an alarm starts anew. The
//! state is plain numbers, so it survives as JSON exactly.

use serde::{Deserialize, Serialize};

const WARM_UP_VALUES: u64 = 30;
/// Standard deviations above the lowest error rate at which DDM raises an alarm.
const DDM_DEVIATIONS: f64 = 3.0;
/// The part of the largest distance between errors under which EDDM raises an alarm.
const EDDM_LEVEL: f64 = 0.9;

/// The drift detection method of Gama et al. (2004) with river's defaults: an alarm when the error rate rises 3 standard deviations
/// above its lowest, after more than 30 values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ddm {
    values_seen: u64,
    rate: f64,
    /// Where the rate plus its standard deviation was lowest: the rate, and that deviation.
    lowest: Option<(f64, f64)>,
    alarmed: bool,
}

impl Ddm {
    /// A detector that has seen nothing.
    pub fn new() -> Ddm {
        Ddm::default()
    }

    /// Takes in one value, 1 for an error and 0 for none; true when errors have become more. A value that is not finite is
    /// passed over.
    pub fn update(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        if self.alarmed {
            *self = Ddm::new();
        }
        self.values_seen += 1;
        let count = self.values_seen as f64;
        self.rate += (1.0 / count) * (value - self.rate);
        if self.values_seen <= WARM_UP_VALUES {
            return false;
        }
        let deviation = (self.rate * (1.0 - self.rate) / count).max(0.0).sqrt();
        let level = self.rate + deviation;
        let (rate, lowest) = match self.lowest {
            Some((rate, lowest)) if level > rate + lowest => (rate, lowest),
            _ => *self.lowest.insert((self.rate, deviation)),
        };
        self.alarmed = level > rate + DDM_DEVIATIONS * lowest;
        self.alarmed
    }

    /// Number of values since the last alarm.
    pub fn width(&self) -> u64 {
        self.values_seen
    }

    /// The error rate since the last alarm; `None` before any value.
    pub fn mean(&self) -> Option<f64> {
        (self.values_seen > 0).then_some(self.rate)
    }

    /// The error rate at its lowest since the last alarm.
    pub(crate) fn lowest_rate(&self) -> Option<f64> {
        self.lowest.map(|(rate, _)| rate)
    }
}

/// The early drift detection method of Baena-García et al. (2006) with river's defaults: an alarm when mean plus two standard
/// deviations of the distance between errors fall under 0.9 of the largest they were, after more than 30 errors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Eddm {
    values_seen: u64,
    errors_seen: u64,
    /// `values_seen` at the last error.
    last_error: u64,
    distance_mean: f64,
    /// Sum of squared deviations from the mean distance.
    distance_deviation: f64,
    /// Where distances were largest: mean plus two standard deviations, and the mean.
    largest: Option<(f64, f64)>,
    alarmed: bool,
}

impl Eddm {
    /// A detector that has seen nothing.
    pub fn new() -> Eddm {
        Eddm::default()
    }

    /// Takes in one value, 1 for an error and anything else for none; true when errors follow each other more closely. A value
    /// that is not finite is passed over.
    pub fn update(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        if self.alarmed {
            *self = Eddm::new();
        }
        self.values_seen += 1;
        if value != 1.0 {
            return false;
        }
        self.errors_seen += 1;
        let distance = (self.values_seen - self.last_error) as f64;
        let errors = self.errors_seen as f64;
        let before = self.distance_mean;
        self.distance_mean += (1.0 / errors) * (distance - before);
        self.distance_deviation += (distance - before) * (distance - self.distance_mean);
        self.last_error = self.values_seen;
        if self.values_seen <= WARM_UP_VALUES {
            return false;
        }
        let variance = if self.errors_seen > 1 { self.distance_deviation / (errors - 1.0) } else { 0.0 };
        let spread = self.distance_mean + 2.0 * variance.sqrt();
        match self.largest {
            Some((largest, _)) if spread <= largest => {
                self.alarmed = self.errors_seen > WARM_UP_VALUES && spread / largest < EDDM_LEVEL;
            }
            _ => self.largest = Some((spread, self.distance_mean)),
        }
        self.alarmed
    }

    /// Number of values since the last alarm.
    pub fn width(&self) -> u64 {
        self.values_seen
    }

    /// The error rate since the last alarm; `None` before any value.
    pub fn mean(&self) -> Option<f64> {
        (self.values_seen > 0).then(|| self.errors_seen as f64 / self.values_seen as f64)
    }

    /// The error rate that the mean distance between errors stands for, where distances were largest.
    pub(crate) fn lowest_rate(&self) -> Option<f64> {
        self.largest.map(|(_, mean)| 1.0 / mean)
    }
}
