//! How long a step that failed waits until it is tried again: twice as long each time, up to a cap; never less than the plugin asked
//! for, as far as that is reasonable.

/// The first and the longest wait, in milliseconds.
pub const BACKOFF_MS: (u64, u64) = (500, 60_000);
/// The longest wait that a plugin may ask for, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// How often a step has failed in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure: milliseconds until the next attempt. `retry_after_ms` is what the plugin asked for.
    pub fn failed(&mut self, retry_after_ms: Option<u64>) -> u64 {
        let doubled = BACKOFF_MS.0.saturating_mul(1u64.checked_shl(self.failures).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(BACKOFF_MS.1).max(retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX))
    }

    /// Notes that it went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_to_a_cap_and_a_success_resets_them() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.failed(None)).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(None), 500);
        assert_eq!(backoff.failed(Some(90_000)), 90_000, "the plugin knows better");
        assert_eq!(backoff.failed(Some(1)), 2_000, "a plugin cannot ask to be hammered");
        assert_eq!(backoff.failed(Some(u64::MAX)), RETRY_AFTER_MS_MAX);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_nothing_and_never_forever(asked in proptest::collection::vec(proptest::option::of(any::<u64>()), 1..200)) {
            let mut backoff = Backoff::default();
            for asked in asked {
                let wait = backoff.failed(asked);
                prop_assert!((BACKOFF_MS.0..=RETRY_AFTER_MS_MAX).contains(&wait));
            }
        }
    }
}
