//! Chance as an argument.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// A seed from which independent, reproducible random streams are drawn by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The generator of one purpose; the same seed and purpose give the same numbers on every platform.
    pub fn rng(self, purpose: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(*Digest::of_fields([&self.0.to_le_bytes()[..], purpose.as_bytes()]).as_bytes())
    }

    /// A seed of its own for one purpose.
    pub fn derive(self, purpose: &str) -> Seed {
        let digest = Digest::of_fields([&self.0.to_le_bytes()[..], purpose.as_bytes()]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        Seed(u64::from_le_bytes(bytes))
    }
}
