//! Names for rows that came without one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ServeError;

/// Hands out ids that are unique over all hosts and starts: 64 random bits of this start, and a number.
#[derive(Debug)]
pub(crate) struct RowIds {
    start: String,
    next: AtomicU64,
}

impl RowIds {
    /// Ids of a new start.
    pub(crate) fn new() -> Result<RowIds, ServeError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| ServeError::Random { why: error.to_string() })?;
        Ok(RowIds { start: hex::encode(random), next: AtomicU64::new(1) })
    }

    /// An id that no row has had.
    pub(crate) fn next(&self) -> String {
        format!("{}-{}", self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
