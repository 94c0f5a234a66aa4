//! The host's time: simulated in a backtest.

use crate::host;

/// Microseconds since 1970, UTC.
pub fn now_us() -> i64 {
    host::clock::now_us()
}
