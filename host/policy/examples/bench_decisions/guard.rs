//! How often a guard takes a champion back that is as good as the version before it, and one that is worse.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tidegate_policy::{GuardSettings, GuardTally, GuardVerdict};

use super::{DISAGREEMENT, SIMULATIONS, count, share_row};

/// Share of rows that are as the row before them, in who is right where the two disagree.
const KEPT: f64 = 0.9;

/// One champion that loses `loses` of the rows on which the two disagree, looked at after every row: whether it was taken back.
fn taken_back(generator: &mut ChaCha8Rng, settings: &GuardSettings, loses: f64, kept: f64) -> bool {
    let mut tally = GuardTally::default();
    let mut lost = generator.random::<f64>() < loses;
    for _ in 0..settings.rows_max {
        if generator.random::<f64>() >= kept {
            lost = generator.random::<f64>() < loses;
        }
        let differ = generator.random::<f64>() < DISAGREEMENT;
        let blocks = tally.won + tally.lost;
        tally.record(!(differ && lost), !differ || lost, settings);
        if tally.won + tally.lost > blocks && tally.look(settings).0 == GuardVerdict::TakeBack {
            return true;
        }
    }
    false
}

/// Adds the figures to the rows.
pub fn guard(rows: &mut Vec<serde_json::Value>) {
    let usual = GuardSettings::usual();
    let independent = GuardSettings { block_rows: 1, ..usual };
    for (name, settings, kept) in [("independent", independent, 0.0), ("autocorrelated", usual, KEPT)] {
        let hits = count(&format!("guard-{name}"), SIMULATIONS, |generator| taken_back(generator, &settings, 0.5, kept));
        rows.push(share_row(&format!("an equal champion taken back by its guard, {name} rows"), hits, SIMULATIONS, settings.alpha, false));
    }
    for (name, settings, kept) in [("independent", independent, 0.0), ("autocorrelated", usual, KEPT)] {
        // Of the 8 rows in 100 on which the two disagree it loses 6 and wins 2.
        let hits = count(&format!("guard-worse-{name}"), 2_000, |generator| taken_back(generator, &settings, 0.75, kept));
        rows.push(share_row(&format!("a champion that lost four points taken back, {name} rows"), hits, 2_000, 0.95, true));
    }
}
