//! Which requests a canary answers: a function of a key, so that who is in it stays in it.

use tidegate_vocab::{Digest, Seed, TrafficArm};

/// The arm of `key` while each arm has `share` of the traffic (at most a half). The canary takes keys from one end of the
/// hash, the control arm from the other: both grow with the share, and a key never leaves the arm it is in.
pub fn arm_of(key: &str, share: f64, seed: Seed) -> TrafficArm {
    let digest = Digest::of_fields([&seed.0.to_le_bytes()[..], b"canary", key.as_bytes()]);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    // 53 bits, so that the place is exact and below 1.
    let place = (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64;
    let share = share.clamp(0.0, 0.5);
    if place < share {
        TrafficArm::Canary
    } else if place >= 1.0 - share {
        TrafficArm::Control
    } else {
        TrafficArm::Rest
    }
}
