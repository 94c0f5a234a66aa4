//! What tests need in place of the world: a store that is a model of the real ones, a clock that moves when told to, seeded
//! chance, and the suite that every backend of the store must pass.
//!
//! Invariant: nothing here reads the time, draws unseeded numbers or touches files. For tests only: no crate of the product
//! depends on it.
//!
//! Read [`conformance`] first: it says in code what a backend must do. [`MemoryStore`] is the shortest backend that does.

pub mod conformance;
mod memory_feedback;
mod memory_queue;
mod memory_store;
pub mod samples;

pub use memory_store::MemoryStore;
pub use tidegate_vocab::SimulatedClock as ManualClock;

use rand_chacha::ChaCha8Rng;
use tidegate_vocab::Seed;

/// The generator of a test: the same seed gives the same numbers on every platform.
pub fn seeded_rng(seed: u64) -> SeededRng {
    Seed(seed).rng("testkit")
}

/// The generator of [`seeded_rng`].
pub type SeededRng = ChaCha8Rng;
