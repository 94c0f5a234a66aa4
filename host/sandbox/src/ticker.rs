//! The epoch ticker: one OS thread that moves the engine's epoch, so that a guest that spins is noticed.
//!
//! Invariant: it runs on a thread of its own and never as a task, because a task starves behind the very guest that it should
//! stop. It holds the engine weakly and ends with the [`Ticker`]. This is also the only place that reads the machine's
//! monotonic clock and the processor time of a thread: limits of calls are real time by nature and never reach a plugin or a result.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// The thread's handle; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Microseconds from `started` to the last tick.
    last_tick_us: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
}

/// The machine's monotonic clock.
#[expect(clippy::disallowed_methods, reason = "deadlines of guest calls are wall time; plugins and results never see it")]
pub(crate) fn monotonic_now() -> Instant {
    Instant::now()
}

/// Processor time that this thread has used.
pub(crate) fn thread_cpu_now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither part is ever negative.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Ticker {
    /// Starts a thread that increments the epoch of `engine` every `period`.
    pub(crate) fn start(engine: &Engine, period: Duration) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            started: monotonic_now(),
            last_tick_us: AtomicU64::new(0),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
        });
        let (weak, for_thread) = (engine.weak(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("plugin-epoch".into()).spawn(move || {
            loop {
                if for_thread.wait(period) {
                    return;
                }
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
                let since = monotonic_now().saturating_duration_since(for_thread.started);
                for_thread.last_tick_us.store(since.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        })?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// Time since the last tick.
    pub(crate) fn age(&self) -> Duration {
        let last = Duration::from_micros(self.shared.last_tick_us.load(Ordering::Relaxed));
        monotonic_now().saturating_duration_since(self.shared.started).saturating_sub(last)
    }
}

impl Shared {
    /// Waits one period; true when the ticker was stopped.
    fn wait(&self, period: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self.wake.wait_timeout_while(stopped, period, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
        *stopped
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the ticker has been printed already; there is nothing left to do with it.
            let _ = thread.join();
        }
    }
}
