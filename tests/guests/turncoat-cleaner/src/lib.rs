//! A cleaner whose behaviour is a word in its component: a test that writes another word has another build, with the same manifest and
//! configuration.

use std::cell::Cell;
use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues};

/// The word stands behind the colon, filled up with full stops.
static BEHAVIOUR: [u8; 32] = *b"turncoat-behaviour:plain........";
/// Values of a feature above this are more than a brittle build can take.
const BRITTLE_MAX: f64 = 90.0;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// There is nothing to configure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The plugin.
pub struct Turncoat;

tidegate_plugin::export!(Turncoat, cleaner);

impl Cleaner for Turncoat {
    type Config = Config;

    fn configure(_: Config) -> Result<Turncoat, Issues> {
        Ok(Turncoat)
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        let calls = CALLS.get();
        CALLS.set(calls + 1);
        let word = black_box(&BEHAVIOUR).split(|byte| *byte == b':').nth(1).unwrap_or_default();
        let word: &[u8] = word.split(|byte| *byte == b'.').next().unwrap_or_default();
        match word {
            b"plain" => Ok(()),
            b"half" => edit.keep(rows, &alternate(rows), "listed"),
            // What it does depends on what it was given before.
            b"moody" if calls % 2 == 1 => edit.keep(rows, &alternate(rows), "listed"),
            b"moody" => Ok(()),
            b"brittle" => {
                let features = rows.columns().filter(|column| column.role() == "feature" && column.dtype() == "f64");
                let values = features.map(|column| column.f64()).collect::<Result<Vec<_>, _>>()?;
                let worst = values.iter().flat_map(|column| column.iter().flatten()).fold(0.0, f64::max);
                assert!(worst <= BRITTLE_MAX, "{worst} is more than I can take");
                Ok(())
            }
            other => Err(Failure::new(format!("`{}` is no way to behave", String::from_utf8_lossy(other)))),
        }
    }
}

fn alternate(rows: &Batch) -> Vec<bool> {
    (0..rows.row_count()).map(|row| row % 2 == 0).collect()
}
