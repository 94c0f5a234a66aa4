//! What an instance may hold: linear memory, table entries, instances, what the host keeps for it; and what all instances share.
//!
//! Invariant: the limiter is installed in the store before anything is instantiated in it, and what it was granted of the shared
//! budget returns when the store is dropped. A refusal is remembered as a [`LimitHit`], so that a guest which dies of it ends as
//! "over the limit" and not as a nameless trap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tidegate_vocab::limits::{PluginLimits, SharedLimits};
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

/// What the instances of a sandbox share: how many they are, and the memory that they hold.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicU64,
    bytes_max: u64,
    instances: AtomicU32,
    instances_max: u32,
    /// Threads that wait for inputs and requests.
    waiting: AtomicU32,
}

/// Threads that may wait for the outside for each instance that there may be: one, and one that was given up on.
const WAITING_PER_INSTANCE: u32 = 2;

impl Budget {
    pub(crate) fn new(limits: &SharedLimits) -> Arc<Budget> {
        let (bytes_max, instances_max) = (limits.memory_bytes_max, limits.instances_max);
        Arc::new(Budget {
            used_bytes: AtomicU64::new(0),
            bytes_max,
            instances: AtomicU32::new(0),
            instances_max,
            waiting: AtomicU32::new(0),
        })
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn instance_count(&self) -> u32 {
        self.instances.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A place for one more instance, until it is dropped.
    pub(crate) fn place(self: &Arc<Budget>) -> Result<Place, LimitHit> {
        let add = |count: u32| count.checked_add(1).filter(|count| *count <= self.instances_max);
        match self.instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(Place(Arc::clone(self))),
            Err(_) => {
                let most = self.instances_max;
                Err(LimitHit { limit: "plugins.instances_max", at: format!("{most} instances of plugins are alive already") })
            }
        }
    }
}

/// A thread that waits for the outside, until it ends: one that was given up on may wait for ever, and must not be one of thousands.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Budget>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of one instance among all.
#[derive(Debug)]
pub(crate) struct Place(Arc<Budget>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: PluginLimits,
    budget: Arc<Budget>,
    /// Linear memory of the instance.
    memory_bytes: u64,
    /// What the host keeps for the guest, outside its memory.
    kept_bytes: u64,
    /// The growth that was granted last, to be returned should the allocation fail after all.
    last_grown_bytes: u64,
    /// The first limit that was reached in the present call.
    pub(crate) hit: Option<LimitHit>,
    _place: Place,
}

impl Limiter {
    pub(crate) fn new(limits: PluginLimits, place: Place) -> Limiter {
        let budget = Arc::clone(&place.0);
        Limiter { limits, budget, memory_bytes: 0, kept_bytes: 0, last_grown_bytes: 0, hit: None, _place: place }
    }

    /// Linear memory that the instance holds.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Remembers that a limit was reached; the first one of a call counts.
    pub(crate) fn reached(&mut self, limit: &'static str, at: impl FnOnce() -> String) {
        if self.hit.is_none() {
            self.hit = Some(LimitHit { limit, at: at() });
        }
    }

    /// Asks whether the host may keep `bytes` more for the guest, and counts them if so.
    pub(crate) fn keep(&mut self, bytes: u64) -> Result<(), LimitHit> {
        let most = self.limits.output_bytes_max;
        let kept = self.kept_bytes.saturating_add(bytes);
        if kept > most {
            let at = format!("the host would have held {kept} bytes for it, the limit is {most}");
            return Err(LimitHit { limit: "output_bytes_max", at });
        }
        if !self.budget.take(bytes) {
            return Err(self.out_of_shared_memory());
        }
        self.kept_bytes = kept;
        Ok(())
    }

    /// The host keeps `bytes` less for the guest.
    pub(crate) fn let_go(&mut self, bytes: u64) {
        let bytes = bytes.min(self.kept_bytes);
        self.kept_bytes -= bytes;
        self.budget.give_back(bytes);
    }

    /// Room for one more thread that waits for the outside.
    pub(crate) fn waiting(&self) -> Result<Waiting, LimitHit> {
        let most = self.budget.instances_max.saturating_mul(WAITING_PER_INSTANCE);
        let add = |count: u32| count.checked_add(1).filter(|count| *count <= most);
        match self.budget.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(Waiting(Arc::clone(&self.budget))),
            Err(_) => {
                let at = format!("{most} threads wait for inputs or requests that do not come back");
                Err(LimitHit { limit: "plugins.instances_max", at })
            }
        }
    }

    fn out_of_shared_memory(&self) -> LimitHit {
        let most = self.budget.bytes_max;
        LimitHit { limit: "plugins.memory_bytes_max", at: format!("all plugins together would have held more than {most} bytes") }
    }

    fn count(&self) -> usize {
        usize::try_from(self.limits.instances_max).unwrap_or(usize::MAX)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = desired.saturating_sub(current) as u64;
        let held = self.memory_bytes.saturating_add(grown);
        self.last_grown_bytes = 0;
        if held > self.limits.memory_bytes_max {
            let most = self.limits.memory_bytes_max;
            self.reached("memory_bytes_max", || format!("its memory would have grown to {held} bytes, the limit is {most}"));
            return Ok(false);
        }
        if !self.budget.take(grown) {
            let hit = self.out_of_shared_memory();
            self.reached(hit.limit, || hit.at);
            return Ok(false);
        }
        self.memory_bytes = held;
        self.last_grown_bytes = grown;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let grown = std::mem::take(&mut self.last_grown_bytes);
        self.memory_bytes -= grown;
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
        self.budget.give_back(self.memory_bytes + self.kept_bytes);
    }
}
