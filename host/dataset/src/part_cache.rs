//! Decoded parts that were read lately: the loop reads the newest parts again at every step.
//!
//! Invariant: what is held never exceeds the bytes it was made with, save that the part read last is always given out. A part is
//! immutable and named by its digest, so nothing here goes stale.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_store::Blobs;
use tidegate_vocab::{Batch, Digest};

use crate::{DatasetError, decode_clean};

/// Decoded parts by digest, least recently used out first. Shared by reference.
#[derive(Debug)]
pub struct PartCache {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    parts: HashMap<Digest, Entry>,
    bytes: usize,
    /// Counts reads, so that "recently" needs no clock.
    reads: u64,
}

#[derive(Debug)]
struct Entry {
    rows: Batch,
    bytes: usize,
    last_read: u64,
}

impl PartCache {
    /// An empty cache that holds at most `bytes_max` bytes of columns; 0 holds nothing.
    pub fn new(bytes_max: usize) -> PartCache {
        PartCache { bytes_max, held: Mutex::default() }
    }

    /// The rows of the part named `digest`, from the cache or from `blobs`. The columns are shared, not copied.
    ///
    /// # Errors
    /// [`DatasetError::Fetch`], and those of [`decode_clean`].
    pub async fn part(&self, blobs: &dyn Blobs, digest: &Digest) -> Result<Batch, DatasetError> {
        if let Some(rows) = self.recall(digest) {
            return Ok(rows);
        }
        let bytes = blobs.get(digest).await.map_err(|source| DatasetError::Fetch { part: *digest, source: Box::new(source) })?;
        let rows = decode_clean(&bytes)?;
        self.hold(*digest, rows.clone());
        Ok(rows)
    }

    /// Puts rows in that were just made, so that they need not be fetched: those of [`clean_part`](crate::clean_part).
    pub fn hold(&self, digest: Digest, rows: Batch) {
        let bytes = rows.rows.get_array_memory_size();
        if bytes > self.bytes_max {
            return;
        }
        let mut held = self.lock();
        held.reads += 1;
        let last_read = held.reads;
        if let Some(before) = held.parts.insert(digest, Entry { rows, bytes, last_read }) {
            held.bytes -= before.bytes;
        }
        held.bytes += bytes;
        while held.bytes > self.bytes_max {
            let oldest = held.parts.iter().min_by_key(|(_, entry)| entry.last_read).map(|(digest, _)| *digest);
            let Some(entry) = oldest.and_then(|oldest| held.parts.remove(&oldest)) else { break };
            held.bytes -= entry.bytes;
        }
    }

    /// Bytes of columns held now.
    pub fn byte_count(&self) -> usize {
        self.lock().bytes
    }

    fn recall(&self, digest: &Digest) -> Option<Batch> {
        let mut held = self.lock();
        held.reads += 1;
        let now = held.reads;
        let entry = held.parts.get_mut(digest)?;
        entry.last_read = now;
        Some(entry.rows.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic elsewhere cannot leave a part half changed: entries are whole or absent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
