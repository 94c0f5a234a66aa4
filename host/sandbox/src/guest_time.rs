//! How long a call was in the guest itself, apart from the host functions that it called and the copying to and from it.
//!
//! wasmtime says when it goes into a guest and comes out. A host function that hands over a list goes back in, to ask the guest for
//! memory, so what is counted is each stay, not what lies between the first step in and the last step out.

use std::time::{Duration, Instant};

use wasmtime::CallHook;

/// The stays of one call in the guest.
#[derive(Debug, Default)]
pub(crate) struct GuestTime {
    /// When the present stay began.
    entered: Option<Instant>,
    total: Duration,
    host_calls: u64,
}

impl GuestTime {
    /// Takes note of one step in or out.
    pub(crate) fn step(&mut self, step: CallHook, now: Instant) {
        if matches!(step, CallHook::CallingHost) {
            self.host_calls += 1;
        }
        self.leave(now);
        if step.exiting_host() {
            self.entered = Some(now);
        }
    }

    /// The time in the guest and the calls out of it, at the end of a call. A guest that trapped has not been seen to leave.
    pub(crate) fn end(&mut self, now: Instant) -> (Duration, u64) {
        self.leave(now);
        (std::mem::take(&mut self.total), std::mem::take(&mut self.host_calls))
    }

    fn leave(&mut self, now: Instant) {
        if let Some(entered) = self.entered.take() {
            self.total += now.saturating_duration_since(entered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticker::monotonic_now;

    #[test]
    fn stays_in_the_guest_are_summed() {
        use CallHook::{CallingHost, CallingWasm, ReturningFromHost, ReturningFromWasm};
        let start = monotonic_now();
        let check = |steps: &[(CallHook, u64)], end_ms: u64, expected: (u64, u64)| {
            let mut time = GuestTime::default();
            let at = |ms| start + Duration::from_millis(ms);
            steps.iter().for_each(|(step, ms)| time.step(*step, at(*ms)));
            let (guest, calls) = time.end(at(end_ms));
            assert_eq!((guest, calls), (Duration::from_millis(expected.0), expected.1), "{steps:?}");
            assert_eq!(time.end(at(end_ms + 1)), (Duration::ZERO, 0), "the next call begins at nothing");
        };
        check(&[(CallingWasm, 1), (ReturningFromWasm, 4)], 9, (3, 0));
        check(&[(CallingWasm, 0), (CallingHost, 2), (ReturningFromHost, 10), (ReturningFromWasm, 11)], 12, (3, 1));
        // A host function that asks the guest for memory.
        let asks = [(CallingWasm, 0), (CallingHost, 1), (CallingWasm, 5), (ReturningFromWasm, 7), (ReturningFromHost, 9)];
        check(&[&asks[..], &[(ReturningFromWasm, 10)]].concat(), 20, (4, 1));
        // A trap in the guest.
        check(&[(CallingWasm, 3)], 8, (5, 0));
        check(&[], 8, (0, 0));
    }
}
