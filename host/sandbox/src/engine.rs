//! The engine: how guests are compiled and where their instances live, and the sandbox that owns both.
//!
//! Invariant: components only; no threads, no 64-bit memories, no second memory, no concurrency, no instruction whose result depends on the processor,
//! save for the bits of a NaN: those are made canonical where a number leaves the guest. Instances come from a pool where there is
//! address space for one, else from the allocator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_vocab::limits::SharedLimits;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::{self, HostState};
use crate::limiter::Budget;
use crate::ticker::Ticker;

/// Core instances and tables of one of them, on average.
const POOL_PARTS: u32 = 8;
/// Entries that a table in the pool can grow to.
const POOL_TABLE_ENTRIES: usize = 1 << 20;
/// Guard region of a memory where address space is short.
const NARROW_GUARD_BYTES: u64 = 1 << 16;

/// How a sandbox is set up.
#[derive(Clone)]
pub struct SandboxConfig {
    /// What all plugins share.
    pub limits: SharedLimits,
    /// Where compiled plugins are kept between runs.
    pub compiled: Option<Arc<dyn CompiledCache>>,
    /// The key that entries of `compiled` are authenticated with.
    pub mac_key: [u8; 32],
    /// Who compiles.
    pub compiler: Compiler,
    /// Period of the epoch ticker.
    pub epoch_tick_ms: u64,
}

/// Who compiles plugins.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process: for tests and tools. A compilation cannot be interrupted.
    InProcess,
    /// A child process, under a deadline and limits of memory and processor time, whose body is [`crate::compile_child_main`].
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// Keeps compiled plugins. Entries are authenticated by the sandbox: an implementation need not be trusted.
pub trait CompiledCache: Send + Sync {
    /// The bytes of an entry.
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps an entry, or does not: the sandbox asks again.
    fn put(&self, key: &str, bytes: &[u8]);
}

/// A sandbox that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine or its linker.
    #[error("could not set up the WebAssembly engine: {why}")]
    Engine {
        /// wasmtime's words.
        why: String,
    },
    /// The ticker.
    #[error("could not start the thread that stops plugins which run too long")]
    Ticker {
        /// The cause.
        source: std::io::Error,
    },
}

/// Where plugins run. Loading and calling block the thread they are called on.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) inner: Arc<SandboxInner>,
}

pub(crate) struct SandboxInner {
    pub(crate) engine: Engine,
    pub(crate) layout: Layout,
    pub(crate) linker: Linker<HostState>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) config: SandboxConfig,
    pub(crate) is_pooled: bool,
    /// False only in a bench.
    pub(crate) is_limited: bool,
    ticker: Ticker,
}

/// How linear memories lie in the address space. Compiled code depends on it, allocation aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Four GiB reserved for each memory: no bounds checks in the code.
    Wide,
    /// Only what is used: bounds checks in the code, memories move when they grow.
    Narrow,
}

impl Sandbox {
    /// A sandbox; uses a pool of instances when the process may reserve the address space for it.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine or its ticker cannot be started.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        Sandbox::with(config, true)
    }

    /// A sandbox whose guests are compiled without checks for a deadline and grow without a limiter, so that a bench can tell what
    /// both cost. A guest in it may spin for ever; nothing but a bench may use it, with guests of this repository.
    ///
    /// # Errors
    /// As [`Sandbox::new`].
    #[cfg(feature = "bench")]
    pub fn unlimited_for_bench(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        Sandbox::with(config, false)
    }

    fn with(config: SandboxConfig, is_limited: bool) -> Result<Sandbox, SandboxError> {
        let (engine, layout, is_pooled) = engine_that_fits(config.limits.instances_max, is_limited)
            .map_err(|error| SandboxError::Engine { why: format!("{error:#}") })?;
        let linker = host::linker(&engine).map_err(|error| SandboxError::Engine { why: format!("{error:#}") })?;
        let period = Duration::from_millis(config.epoch_tick_ms.max(1));
        let ticker = Ticker::start(&engine, period).map_err(|source| SandboxError::Ticker { source })?;
        let budget = Budget::new(&config.limits);
        Ok(Sandbox { inner: Arc::new(SandboxInner { engine, layout, linker, budget, config, is_pooled, is_limited, ticker }) })
    }

    /// Time since the epoch ticker moved last: much more than its period means that plugins cannot be stopped.
    pub fn ticker_age(&self) -> Duration {
        self.inner.ticker.age()
    }

    /// Linear memory that all instances hold now, and what the host holds for them, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.inner.budget.used_bytes()
    }

    /// Instances alive now.
    pub fn instance_count(&self) -> u32 {
        self.inner.budget.instance_count()
    }

    /// Whether instances come from a pool; false where address space is short.
    pub fn is_pooled(&self) -> bool {
        self.inner.is_pooled
    }
}

/// The best engine that the address space allows.
fn engine_that_fits(instances_max: u32, is_limited: bool) -> wasmtime::Result<(Engine, Layout, bool)> {
    let config = |layout| {
        let mut config = engine_config(layout);
        config.epoch_interruption(is_limited);
        config
    };
    let mut pooled = config(Layout::Wide);
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances_max)));
    if let Ok(engine) = Engine::new(&pooled) {
        return Ok((engine, Layout::Wide, true));
    }
    // Where the pool does not fit, a few memories of four GiB may not either: only what is used is reserved.
    tracing::warn!("address space is short: plugins run without a pool and more slowly");
    Ok((Engine::new(&config(Layout::Narrow))?, Layout::Narrow, false))
}

/// A pool with room for `instances` at once.
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * POOL_PARTS)
        .total_memories(instances)
        .total_tables(instances * POOL_PARTS)
        .total_stacks(1)
        .max_tables_per_module(POOL_PARTS)
        .max_memories_per_module(1)
        .table_elements(POOL_TABLE_ENTRIES)
        .max_memory_size(1 << 32)
        .linear_memory_keep_resident(0)
        .table_keep_resident(1 << 16);
    pool
}

/// Everything that compiled code depends on.
pub(crate) fn engine_config(layout: Layout) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .shared_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .epoch_interruption(true)
        .memory_init_cow(true);
    if layout == Layout::Narrow {
        config
            .memory_reservation(0)
            .memory_guard_size(NARROW_GUARD_BYTES)
            .memory_reservation_for_growth(1 << 20)
            .guard_before_linear_memory(false);
    }
    config
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("is_pooled", &self.inner.is_pooled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this engine does not take: each would widen what a guest can do to the host, and no plugin needs it.
    const REFUSED: [(&str, &str); 13] = [
        ("threads", "(core module (memory 1 1 shared))"),
        ("64-bit memories", "(core module (memory i64 1))"),
        ("64-bit tables", "(core module (table i64 1 funcref))"),
        ("several memories", "(core module (memory 1) (memory 1))"),
        ("pages of one byte", "(core module (memory 1 (pagesize 1)))"),
        ("relaxed SIMD", "(core module (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))"),
        ("garbage collection", "(core module (type (struct (field i32))))"),
        ("exceptions", "(core module (tag))"),
        ("stack switching", "(core module (type $f (func)) (type $c (cont $f)))"),
        ("wide arithmetic", "(core module (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1))))"),
        ("streams", "(type (stream u8))"),
        ("futures", "(type (future u8))"),
        ("backpressure", "(core func (canon backpressure.inc))"),
    ];

    #[test]
    fn what_no_plugin_needs_is_not_compiled() {
        for layout in [Layout::Wide, Layout::Narrow] {
            let engine = Engine::new(&engine_config(layout)).unwrap();
            engine.precompile_component(&wat::parse_str("(component (core module (memory 1)))").unwrap()).unwrap();
            let taken = REFUSED.iter().filter(|(what, text)| {
                let component = wat::parse_str(format!("(component {text})")).unwrap_or_else(|error| panic!("{what}: {error}"));
                engine.precompile_component(&component).is_ok()
            });
            assert_eq!(taken.map(|(what, _)| *what).collect::<Vec<_>>(), [""; 0], "{layout:?}");
        }
    }
}
