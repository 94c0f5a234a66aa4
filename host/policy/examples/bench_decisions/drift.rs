//! How often drift is alarmed where there is none, and found where there is.
//!
//! A reference of eight windows, then six windows that arrive: as `up` sees them, persistence included. Each of the twenty features has a
//! law, a phase and a generator of its own.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF as _, Normal};
use tidegate_policy::{DriftColumn, DriftReference, DriftSettings, DriftState, DriftWindow};
use tidegate_vocab::Seed;

use crate::share_row;

const FEATURES: usize = 20;
/// Windows of the reference.
const REFERENCE_WINDOWS: usize = 8;
/// Windows that arrive.
const WINDOWS: usize = 6;
/// Rows simulated for each figure, all features together.
const ROWS: usize = 100_000_000;
const SIMULATIONS_MAX: usize = 2_000;
const ALARMS_MAX: f64 = 0.05;
const FOUND_MIN: f64 = 0.95;
/// How much of a row's deviation the next one keeps, where rows depend on each other.
const KEPT: f64 = 0.9;
/// Windows of one season: the reference holds two of them.
const SEASON_WINDOWS: usize = 4;

/// How rows come about.
#[derive(Clone, Copy)]
enum Series {
    Independent,
    Seasonal,
    Autocorrelated,
}

pub fn drift(rows: &mut Vec<serde_json::Value>) {
    for (series, name) in [(Series::Independent, "independent"), (Series::Seasonal, "seasonal"), (Series::Autocorrelated, "autocorrelated")]
    {
        for window_rows in [300, 1_000, 5_000, 20_000] {
            let (alarms, windows) = alarms(series, name, window_rows);
            let figure = format!("windows with a false drift alarm over {FEATURES} features, {name}, n = {window_rows}");
            rows.push(share_row(&figure, alarms, windows, ALARMS_MAX, false));
        }
    }
    let (found, simulations) = found(2_000);
    let figure = format!("drift of 0.3 σ in one of {FEATURES} features found by the third window, n = 2000");
    rows.push(share_row(&figure, found, simulations, FOUND_MIN, true));
}

fn simulations(window_rows: usize) -> usize {
    (ROWS / (FEATURES * window_rows * (REFERENCE_WINDOWS + WINDOWS))).clamp(20, SIMULATIONS_MAX)
}

/// Windows with an alarm, of how many.
fn alarms(series: Series, name: &str, window_rows: usize) -> (u32, u32) {
    let simulations = simulations(window_rows);
    let one = |index: usize| {
        let seed = Seed(20_261_124).derive(&format!("drift-{name}-{window_rows}-{index}"));
        looks(seed, series, window_rows, 0.0).into_iter().filter(|drifts| *drifts).count() as u32
    };
    ((0..simulations).into_par_iter().map(one).sum(), (simulations * WINDOWS) as u32)
}

/// How often one feature that moves is found by its third window.
fn found(window_rows: usize) -> (u32, u32) {
    let simulations = simulations(window_rows);
    let one = |index: usize| {
        let seed = Seed(20_261_124).derive(&format!("drift-moved-{index}"));
        u32::from(looks(seed, Series::Independent, window_rows, 0.3).into_iter().take(3).any(|drifts| drifts))
    };
    ((0..simulations).into_par_iter().map(one).sum(), simulations as u32)
}

/// Whether each window that arrives is an alarm; the first feature's windows are `moved`.
fn looks(seed: Seed, series: Series, window_rows: usize, moved: f64) -> Vec<bool> {
    let normal = Normal::standard();
    let reference_rows = REFERENCE_WINDOWS * window_rows;
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("x{feature}")).collect();
    let features: Vec<Vec<f64>> = (0..FEATURES)
        .map(|feature| {
            let mut rows = generate(&mut seed.rng(&format!("x{feature}")), &normal, series, window_rows);
            if feature == 0 {
                rows[reference_rows..].iter_mut().for_each(|row| *row += moved);
            }
            rows
        })
        .collect();
    let part =
        |from: usize, to: usize| -> Vec<DriftColumn<'_>> { features.iter().map(|rows| DriftColumn::Numbers(&rows[from..to])).collect() };
    let columns: Vec<(&str, DriftColumn<'_>)> = names.iter().map(String::as_str).zip(part(0, reference_rows)).collect();
    let settings = DriftSettings { window_rows: window_rows as u64, ..DriftSettings::usual() };
    let (reference, mut state) = (DriftReference::of(&columns, settings), DriftState::default());
    let mut look = |index: usize| {
        let from = reference_rows + index * window_rows;
        let mut window = DriftWindow::default();
        reference.add(&mut window, &part(from, from + window_rows));
        reference.look(&window, &mut state).is_some_and(|look| look.drifts())
    };
    (0..WINDOWS).map(&mut look).collect()
}

fn generate(generator: &mut ChaCha8Rng, normal: &Normal, series: Series, window_rows: usize) -> Vec<f64> {
    let rows = (REFERENCE_WINDOWS + WINDOWS) * window_rows;
    let phase = generator.random::<f64>();
    let mut noise = || normal.inverse_cdf(generator.random::<f64>().clamp(1e-12, 1.0 - 1e-12));
    let mut last = noise();
    let row = |index: usize| match series {
        Series::Independent => noise(),
        Series::Seasonal => {
            let season = index as f64 / (SEASON_WINDOWS * window_rows) as f64;
            noise() + (std::f64::consts::TAU * (season + phase)).sin()
        }
        Series::Autocorrelated => {
            last = KEPT * last + (1.0 - KEPT * KEPT).sqrt() * noise();
            last
        }
    };
    (0..rows).map(row).collect()
}
