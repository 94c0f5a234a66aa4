//! A history in accelerated time: the clock follows the rows, and rows come at a pace that a person can watch.

use std::sync::Arc;
use std::time::Duration;

use tidegate_pipeline::{Ingested, SourceState};
use tidegate_vocab::{SimulatedClock, Timestamp};

/// How long a replay that has come to its end waits before it asks for rows again.
const ENDED_MS: u64 = 1_000;

/// A replay of one pipeline's source.
pub struct Replay {
    /// The pipeline's clock.
    pub clock: Arc<SimulatedClock>,
    /// Rows of one poll.
    pub step_rows: u32,
    /// Rows a second.
    pub rows_per_second: u32,
    /// Microseconds from event time until a label is known.
    pub label_delay_us: i64,
    /// Told when the source has nothing more.
    pub ended: tokio::sync::watch::Sender<bool>,
}

impl Replay {
    /// Moves the clock to the newest row; how long to wait before the next poll. Where the history ends, the clock moves on until the
    /// label of its last row is known.
    pub fn after(&mut self, ingested: &Ingested, last: Option<Timestamp>) -> Duration {
        let ended = ingested.source != SourceState::More;
        if let Some(last) = last {
            self.clock.advance_to(if ended { last.plus_micros(self.label_delay_us) } else { last });
        }
        // The news of the end is told one poll later: what the last rows set off has been done by then.
        if ended && ingested.rows == 0 {
            self.ended.send_if_modified(|told| !std::mem::replace(told, true));
        }
        match ingested.source {
            SourceState::More => Duration::from_secs_f64(f64::from(self.step_rows) / f64::from(self.rows_per_second.max(1))),
            _ => Duration::from_millis(ENDED_MS),
        }
    }
}
