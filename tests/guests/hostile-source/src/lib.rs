//! A source that misbehaves in the one way that its configuration names; `behave` returns a few rows and ends.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{BatchBuilder, Failure, Issues, NewColumn, Pull, Reader, Source, Values};

/// Rows that the source returns when it behaves.
const ROWS: i64 = 40;
/// Rows of a flood.
const FLOOD_ROWS: usize = 2_000_000;
/// Length of a cursor that nobody wants to keep.
const CURSOR_BYTES: usize = 48 << 20;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub mode: Mode,
}

/// What it does when it is asked for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Returns rows and ends.
    Behave,
    /// Never returns.
    Spin,
    /// Returns columns of different lengths.
    Uneven,
    /// Returns more rows than it was asked for.
    Flood,
    /// Returns other columns from the second half on.
    ChangingColumns,
    /// Returns a cursor of megabytes.
    HugeCursor,
    /// Returns no rows and a new cursor, for ever.
    Stall,
    /// Returns the ends of all numbers.
    Extremes,
    /// Returns more columns than anybody has.
    ManyColumns,
}

/// The plugin.
pub struct Hostile {
    mode: Mode,
}

tidegate_plugin::export!(Hostile, source);

impl Source for Hostile {
    type Config = Config;
    type Reader = HostileReader;

    fn configure(config: Config) -> Result<Hostile, Issues> {
        Ok(Hostile { mode: config.mode })
    }

    fn open(&self, cursor: Option<&[u8]>) -> Result<HostileReader, Failure> {
        let done = match cursor {
            Some(cursor) => std::str::from_utf8(cursor)?.trim().parse()?,
            None => 0,
        };
        Ok(HostileReader { mode: self.mode, done })
    }
}

/// Reads what the mode says.
pub struct HostileReader {
    mode: Mode,
    done: i64,
}

impl Reader for HostileReader {
    fn next(&mut self, _rows_max: u32, _bytes_max: u64) -> Result<Pull, Failure> {
        if self.mode == Mode::Stall {
            self.done += 1;
            return Ok(Pull::Rows(rows(&[], &[], "x")?, self.done.to_string().into_bytes()));
        }
        if self.done >= ROWS {
            return Ok(Pull::Finished);
        }
        let end = self.done + ROWS / 2;
        let numbers: Vec<i64> = (self.done..end).collect();
        self.done = end;
        let cursor = end.to_string().into_bytes();
        match self.mode {
            Mode::Behave | Mode::Stall => Ok(Pull::Rows(rows(&numbers, &numbers, "x")?, cursor)),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Uneven => Ok(Pull::Rows(rows(&numbers, &numbers[1..], "x")?, cursor)),
            Mode::Flood => {
                let many = vec![1; FLOOD_ROWS];
                Ok(Pull::Rows(rows(&many, &many, "x")?, cursor))
            }
            Mode::ChangingColumns => Ok(Pull::Rows(rows(&numbers, &numbers, if end > ROWS / 2 { "y" } else { "x" })?, cursor)),
            Mode::Extremes => {
                let ends = [f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, f64::MIN_POSITIVE];
                let values: Vec<f64> = ends.into_iter().cycle().take(numbers.len()).collect();
                let mut rows = BatchBuilder::new([NewColumn::f64("x"), NewColumn::i64("label")]);
                rows.append_f64(0, &Values::from(values))?;
                rows.append_i64(1, &Values::from(numbers.iter().map(|number| number % 2).collect::<Vec<_>>()))?;
                Ok(Pull::Rows(rows, cursor))
            }
            Mode::ManyColumns => {
                let names: Vec<String> = (0..5_000).map(|number| format!("x{number}")).collect();
                Ok(Pull::Rows(BatchBuilder::new(names.iter().map(|name| NewColumn::f64(name.as_str()))), cursor))
            }
            Mode::HugeCursor => Ok(Pull::Rows(rows(&numbers, &numbers, "x")?, format!("{}{end}", " ".repeat(CURSOR_BYTES)).into_bytes())),
        }
    }
}

/// Rows of a number, named `feature`, and a label that is the parity of it.
fn rows(numbers: &[i64], labels: &[i64], feature: &str) -> Result<BatchBuilder, Failure> {
    let mut rows = BatchBuilder::new([NewColumn::f64(feature), NewColumn::i64("label")]);
    rows.append_f64(0, &Values::from(numbers.iter().map(|number| *number as f64).collect::<Vec<_>>()))?;
    rows.append_i64(1, &Values::from(labels.iter().map(|label| label % 2).collect::<Vec<_>>()))?;
    Ok(rows)
}
