//! What an instance may hold: linear memory, table entries, instances; and the memory that all instances share.
//!
//! Invariant: the limiter is installed in the store before anything is instantiated in it, and what it granted of the shared
//! budget returns when the store is dropped. A refusal is remembered as a [`LimitHit`], so that a guest which dies of it ends as
//! "over the limit" and not as a nameless trap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_vocab::limits::PluginLimits;
use wasmtime::ResourceLimiter;

/// A limit that was reached, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit `{limit}` was reached: {at}")]
pub(crate) struct LimitHit {
    /// The key of the limit in the configuration.
    pub(crate) limit: &'static str,
    /// What happened.
    pub(crate) at: String,
}

/// Linear memory that all instances of a sandbox share.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    used_bytes: AtomicU64,
    bytes_max: u64,
}

impl MemoryBudget {
    pub(crate) fn new(bytes_max: u64) -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget { used_bytes: AtomicU64::new(0), bytes_max })
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: PluginLimits,
    budget: Arc<MemoryBudget>,
    held_bytes: u64,
    /// The growth that was granted last, to be returned should the allocation fail after all.
    last_grown_bytes: u64,
    /// The first limit that was reached in the present call.
    pub(crate) hit: Option<LimitHit>,
}

impl Limiter {
    pub(crate) fn new(limits: PluginLimits, budget: Arc<MemoryBudget>) -> Limiter {
        Limiter { limits, budget, held_bytes: 0, last_grown_bytes: 0, hit: None }
    }

    /// Linear memory that the instance holds.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Remembers that a limit was reached; the first one of a call counts.
    pub(crate) fn reached(&mut self, limit: &'static str, at: impl FnOnce() -> String) {
        if self.hit.is_none() {
            self.hit = Some(LimitHit { limit, at: at() });
        }
    }

    fn count(&self) -> usize {
        usize::try_from(self.limits.instances_max).unwrap_or(usize::MAX)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = desired.saturating_sub(current) as u64;
        let held = self.held_bytes.saturating_add(grown);
        self.last_grown_bytes = 0;
        if held > self.limits.memory_bytes_max {
            let most = self.limits.memory_bytes_max;
            self.reached("memory_bytes_max", || format!("its memory would have grown to {held} bytes, the limit is {most}"));
            return Ok(false);
        }
        if !self.budget.take(grown) {
            let most = self.budget.bytes_max;
            self.reached("plugins.memory_bytes_max", || format!("all plugins together would have held more than {most} bytes"));
            return Ok(false);
        }
        self.held_bytes = held;
        self.last_grown_bytes = grown;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let grown = std::mem::take(&mut self.last_grown_bytes);
        self.held_bytes -= grown;
        self.budget.give_back(grown);
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let most = self.limits.table_entries_max;
        if desired as u64 <= most {
            return Ok(true);
        }
        self.reached("table_entries_max", || format!("a table would have grown to {desired} entries, the limit is {most}"));
        Ok(false)
    }

    fn instances(&self) -> usize {
        self.count()
    }

    fn tables(&self) -> usize {
        self.count()
    }

    fn memories(&self) -> usize {
        self.count()
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give_back(self.held_bytes);
    }
}
