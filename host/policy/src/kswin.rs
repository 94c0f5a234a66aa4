//! KSWIN, Kolmogorov-Smirnov windowing (Raab, Heusinger and Schleif 2020): tells when the law of a stream has changed.
//!
//! The newest 30 of a window of 100 values are tested against 30 drawn from the 70 before them. With the same draws, alarms come
//! at the same values as in river 0.26 with its defaults, and as there, the value after an alarm starts from an empty window.
//! Every value after the hundredth is tested at p 0.005, so alarms on a stream that does not change are part of the method.

use std::collections::VecDeque;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tidegate_vocab::Seed;

use crate::two_sample::ks;

const ALPHA: f64 = 0.005;
const DISTANCE_MIN: f64 = 0.1;
const WINDOW_VALUES: usize = 100;
const NEW_VALUES: usize = 30;

/// The detector with river's defaults: p 0.005, a window of 100 values, the newest 30 of them tested.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kswin {
    window: VecDeque<f64>,
    values_seen: u64,
    alarmed: bool,
}

impl Kswin {
    /// A detector with an empty window.
    pub fn new() -> Kswin {
        Kswin::default()
    }

    /// Takes in one value; true when the law has changed. What is drawn follows from `seed` and the number of values seen.
    pub fn update(&mut self, value: f64, seed: Seed) -> bool {
        let stream = self.values_seen;
        self.update_drawn(value, |count, wanted| {
            let mut generator = seed.rng("kswin");
            generator.set_stream(stream);
            let mut positions: Vec<usize> = (0..count).collect();
            for place in 0..wanted.min(count) {
                let rest = (count - place) as u128;
                positions.swap(place, place + ((u128::from(generator.next_u64()) * rest) >> 64) as usize);
            }
            positions.truncate(wanted);
            positions
        })
    }

    /// Takes in one value; true when the law has changed. `draw` is asked for some different positions, as many as its second
    /// argument, below its first, and only when there is something to test. A value that is not finite is passed over.
    pub fn update_drawn(&mut self, value: f64, draw: impl FnOnce(usize, usize) -> Vec<usize>) -> bool {
        if !value.is_finite() {
            return false;
        }
        if self.alarmed {
            // Values are counted on, so that two windows are not tested by the same draws.
            (self.alarmed, self.window) = (false, VecDeque::new());
        }
        self.values_seen += 1;
        self.window.push_back(value);
        while self.window.len() > WINDOW_VALUES {
            self.window.pop_front();
        }
        if self.window.len() < WINDOW_VALUES {
            return false;
        }
        const OLD_VALUES: usize = WINDOW_VALUES - NEW_VALUES;
        let drawn: Vec<f64> =
            draw(OLD_VALUES, NEW_VALUES).into_iter().filter(|at| *at < OLD_VALUES).map(|position| self.window[position]).collect();
        let newest: Vec<f64> = self.window.iter().skip(OLD_VALUES).copied().collect();
        self.alarmed = ks(&drawn, &newest).is_some_and(|test| test.p <= ALPHA && test.statistic > DISTANCE_MIN);
        self.alarmed
    }

    /// Number of values in the window.
    pub fn width(&self) -> u64 {
        self.window.len() as u64
    }

    /// Mean of the values in the window; `None` while it is empty.
    pub fn mean(&self) -> Option<f64> {
        (!self.window.is_empty()).then(|| self.window.iter().sum::<f64>() / self.window.len() as f64)
    }

    /// The means of the older and of the newest values, and the number of the newest; `None` before the window is full.
    pub(crate) fn parts(&self) -> Option<(f64, f64, u64)> {
        if self.window.len() < WINDOW_VALUES {
            return None;
        }
        let mean = |from: usize, until: usize| self.window.range(from..until).sum::<f64>() / (until - from) as f64;
        let border = WINDOW_VALUES - NEW_VALUES;
        Some((mean(0, border), mean(border, WINDOW_VALUES), NEW_VALUES as u64))
    }
}
