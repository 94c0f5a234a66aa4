//! What every backend of the store must do: one suite a trait.
//!
//! Each suite takes a function that makes an empty backend and panics, saying what it saw, at the first thing that is wrong. A
//! new backend adds one test a trait to `tests/backends.rs`.

mod blobs;
mod feedback;
mod meta_store;
mod upkeep;
mod work_queue;

pub use blobs::blobs;
pub use feedback::feedback;
pub use meta_store::meta_store;
pub use upkeep::upkeep;
pub use work_queue::work_queue;

use tidegate_store::StoreError;

/// The kinds of refusal that a suite tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// [`StoreError::Fenced`].
    Fenced,
    /// [`StoreError::Conflict`].
    Conflict,
    /// [`StoreError::Transition`].
    Transition,
    /// Anything else.
    Other,
}

impl Refusal {
    /// What kind of refusal a result is; `None` when it is none.
    pub fn of<T>(result: &Result<T, StoreError>) -> Option<Refusal> {
        Some(match result.as_ref().err()? {
            StoreError::Fenced { .. } => Refusal::Fenced,
            StoreError::Conflict { .. } => Refusal::Conflict,
            StoreError::Transition { .. } => Refusal::Transition,
            _ => Refusal::Other,
        })
    }
}
