//! WASI 0.2 with nothing behind it: no environment, no folders, no sockets, clocks that stand still, chance from a seed, and
//! stdout and stderr in the plugin's log.
//!
//! Invariant: no WASI call can wait. A sleep is over at once, because the monotonic clock stands still and a pollable of it is
//! always ready; every other stream of this context is ready or closed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{PluginName, Seed};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::HostState;
use super::log::CallLog;

/// Bytes of chance that a guest may take in one call.
const RANDOM_BYTES_MAX: u64 = 1 << 16;
/// Bytes that a guest may write to stdout or stderr in one call of it.
const WRITE_BYTES_MAX: usize = 1 << 12;

/// The context of one instance. Every instance of a plugin sees the same chance.
pub(crate) fn nothing_behind_it(plugin: &PluginName, log: &Arc<Mutex<CallLog>>, limits: &PluginLimits) -> WasiCtx {
    let output = PluginOutput(Arc::clone(log));
    let random_bytes_max = RANDOM_BYTES_MAX.min(limits.host_call_bytes_max);
    WasiCtxBuilder::new()
        .stdout(output.clone())
        .stderr(output)
        .secure_random(Seed(0).rng(plugin.as_str()))
        .insecure_random(Seed(1).rng(plugin.as_str()))
        .insecure_random_seed(0)
        .max_random_size(random_bytes_max)
        .wall_clock(StoppedClock)
        .monotonic_clock(StoppedClock)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Links WASI 0.2, then replaces the clock that could be waited on.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<HostState, StoppedClock>(linker, |state| StoppedClockView(&mut state.table))?;
    linker.allow_shadowing(false);
    Ok(())
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct StoppedClock;

struct StoppedClockView<'a>(&'a mut ResourceTable);

impl HasData for StoppedClock {
    type Data<'a> = StoppedClockView<'a>;
}

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

impl monotonic_clock::Host for StoppedClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let over = self.0.push(Over)?;
        subscribe(self.0, over)
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let over = self.0.push(Over)?;
        subscribe(self.0, over)
    }
}

/// A wait that is over.
struct Over;

impl Pollable for Over {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

/// stdout and stderr: lines of the plugin's log.
#[derive(Clone)]
struct PluginOutput(Arc<Mutex<CallLog>>);

impl IsTerminal for PluginOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PluginOutput {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for PluginOutput {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_output(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for PluginOutput {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}
