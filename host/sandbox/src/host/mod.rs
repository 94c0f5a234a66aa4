//! The host side of every import: what a store holds, and the linker.
//!
//! Invariant: host functions return errors and never panic; what they are handed by a guest is checked before it is used. An
//! answer that the guest may see is a value; a breach of the interface itself is a trap.

pub(crate) mod builder;
pub(crate) mod clock;
pub(crate) mod column;
pub(crate) mod editor;
pub(crate) mod http;
pub(crate) mod http_rules;
pub(crate) mod inputs;
pub(crate) mod kernels;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod state;
pub(crate) mod wasi;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_vocab::limits::{PluginLimits, ROWS_CPU_FREE_MS};
use tidegate_vocab::{Batch, Clock, PluginName, Role};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::WasiCtx;

use crate::bindings::shared;
use crate::bindings::shared::failures::Failure;
use crate::call::quoted;
use crate::columns::Lens;
use crate::egress::Egress;
use crate::grants::{Grants, Inputs, LogLevel, PluginSettings};
use crate::guest_time::GuestTime;
use crate::limiter::{LimitHit, Limiter, Place};
use crate::ticker::{monotonic_now, thread_cpu_now};

use log::{CallLog, LogRate};

/// What one store holds besides the guest.
pub(crate) struct HostState {
    pub(crate) plugin: PluginName,
    pub(crate) limits: PluginLimits,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) log: Arc<Mutex<CallLog>>,
    /// Quarantine reasons that the manifest lists.
    pub(crate) reasons: Arc<[String]>,
    pub(crate) scratch: rows::Scratch,
    /// The line that would have granted what was denied in the present call.
    pub(crate) denied: Option<String>,
    pub(crate) guest_time: GuestTime,
    pub(crate) state: state::KeyedState,
    deadline: Instant,
    /// Processor time of the calling thread at the first tick of the present call. Not at its beginning: the kernel has to be asked
    /// for it, which costs more than a small call, and no limit is finer than a tick.
    cpu_began: Option<Duration>,
    /// Rows that the present call is about; `None` when it is about none.
    rows: Option<u64>,
    host_calls_left: u64,
    grants: Grants,
    inputs: Arc<dyn Inputs>,
    egress: Arc<dyn Egress>,
    /// Bytes of bodies that the present call may still send and receive.
    egress_bytes_left: u64,
    egress_connections_left: u32,
    clock: Arc<dyn Clock>,
    open_inputs: inputs::OpenInput,
    blocking: inputs::BlockingThread,
    wasi: WasiCtx,
}

impl HostState {
    pub(crate) fn new(
        plugin: &PluginName,
        settings: &PluginSettings,
        reasons: Arc<[String]>,
        log_rate: Arc<LogRate>,
        place: Place,
        keeps_state: bool,
    ) -> HostState {
        let limits = settings.limits;
        let call_log = CallLog::new(plugin.clone(), &limits, Arc::clone(&settings.log), log_rate);
        let log = Arc::new(Mutex::new(call_log));
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.resources_max).unwrap_or(usize::MAX));
        HostState {
            plugin: plugin.clone(),
            limits,
            limiter: Limiter::new(limits, place),
            table,
            wasi: wasi::nothing_behind_it(plugin, &log, &limits),
            log,
            reasons,
            scratch: rows::Scratch::default(),
            denied: None,
            guest_time: GuestTime::default(),
            state: state::KeyedState::new(keeps_state),
            deadline: monotonic_now(),
            cpu_began: None,
            rows: None,
            host_calls_left: limits.host_calls_max,
            grants: settings.grants.clone(),
            inputs: Arc::clone(&settings.inputs),
            egress: Arc::clone(&settings.egress),
            egress_bytes_left: limits.egress_bytes_max,
            egress_connections_left: limits.egress_connections_max,
            clock: Arc::clone(&settings.clock),
            open_inputs: inputs::OpenInput::default(),
            blocking: inputs::BlockingThread::default(),
        }
    }

    /// Starts a call on this thread, at `now`: fresh deadlines and fresh allowances.
    pub(crate) fn start_call(&mut self, now: Instant) {
        self.deadline = now + Duration::from_millis(self.limits.call_ms_max.min(MS_MAX));
        self.cpu_began = None;
        self.rows = None;
        self.host_calls_left = self.limits.host_calls_max;
        self.egress_bytes_left = self.limits.egress_bytes_max;
        self.egress_connections_left = self.limits.egress_connections_max;
        self.limiter.hit = None;
        self.denied = None;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).start_call();
    }

    /// Ends a call: says what was cut from the log.
    pub(crate) fn end_call(&mut self) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).end_call();
    }

    /// The lines that the guest wrote in the call that has just ended.
    pub(crate) fn take_log(&mut self) -> Vec<crate::grants::LogLine> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).take_lines()
    }

    /// What is left of the call; an error when nothing is.
    pub(crate) fn time_left(&self) -> Result<Duration, LimitHit> {
        let left = self.deadline.saturating_duration_since(monotonic_now());
        if left.is_zero() { Err(self.out_of_time()) } else { Ok(left) }
    }

    /// Says how many rows the present call is about, for its allowance of processor time.
    pub(crate) fn about_rows(&mut self, rows: usize) {
        self.rows = Some(rows as u64);
    }

    /// Whether the call may go on, by the clock on the wall and by what it used of the processor. Asked at every tick.
    pub(crate) fn check_time(&mut self) -> Result<(), LimitHit> {
        self.time_left()?;
        let cpu_now = thread_cpu_now();
        let used = cpu_now.saturating_sub(*self.cpu_began.get_or_insert(cpu_now));
        let most = self.limits.call_cpu_ms_max;
        if used > Duration::from_millis(most) {
            return Err(LimitHit { limit: "call_cpu_ms_max", at: format!("the call used more than {most} ms of processor time") });
        }
        let Some(rows) = self.rows else { return Ok(()) };
        let each = self.limits.row_cpu_us_max;
        let most = Duration::from_millis(ROWS_CPU_FREE_MS).saturating_add(Duration::from_micros(each.saturating_mul(rows)));
        if used > most {
            let at = format!("the call used more than {} ms of processor time, which is what {rows} rows may cost", most.as_millis());
            return Err(LimitHit { limit: "row_cpu_us_max", at });
        }
        Ok(())
    }

    /// Counts one call of a host function.
    pub(crate) fn count_call(&mut self) -> wasmtime::Result<()> {
        match self.host_calls_left.checked_sub(1) {
            Some(left) => {
                self.host_calls_left = left;
                Ok(())
            }
            None => {
                let most = self.limits.host_calls_max;
                Err(LimitHit { limit: "host_calls_max", at: format!("it called host functions more than {most} times") }.into())
            }
        }
    }

    pub(crate) fn out_of_time(&self) -> LimitHit {
        LimitHit { limit: "call_ms_max", at: format!("the call did not end within {} ms", self.limits.call_ms_max) }
    }

    /// Denies a capability: tells the operator which line would grant it, and the guest too.
    pub(crate) fn deny(&mut self, what: &str, line: String) -> Failure {
        let message = format!("{what} is not granted; to grant it, write `{line}`");
        // Once a call: a guest that asks again and again must not fill the operator's log.
        if self.denied.is_none() {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).write_host(LogLevel::Warn, &message);
            self.denied = Some(line);
        }
        Failure { code: DENIED, message, retryable: false, retry_after_ms: None }
    }
}

impl HostState {
    /// Denies a cleaner the edit of a feature that it sees.
    pub(crate) fn deny_edit(&mut self, column: &str) -> shared::rows::DataError {
        let line = self.grants.column_line(&self.plugin, column, true);
        data_error(NOT_GRANTED, self.deny(&format!("editing the column `{column}`"), line).message)
    }

    /// Why a cleaner must not add a column of this name, if so.
    pub(crate) fn refuse_added(&mut self, name: &str) -> wasmtime::Result<Option<shared::rows::DataError>> {
        if self.grants.edits(name, &Role::Feature) {
            return Ok(None);
        }
        self.count_call()?;
        let shown = quoted(name, self.limits.metadata_bytes_max);
        let line = self.grants.column_line(&self.plugin, &shown, true);
        Ok(Some(data_error(NOT_GRANTED, self.deny(&format!("adding the column `{shown}`"), line).message)))
    }

    /// Notes which line would have shown the column that a guest says it misses. The guest is not told: for it the column is not there.
    pub(crate) fn missed_column(&mut self, lens: Lens<'_>, rows: &Batch, said: &str) {
        let said = quoted(said, self.limits.metadata_bytes_max);
        let Some(column) = lens.missed(rows, &said).filter(|_| self.denied.is_none()) else { return };
        let line = self.grants.column_line(&self.plugin, column, false);
        self.deny(&format!("the column `{column}`"), line);
    }
}

impl shared::failures::Host for HostState {}

/// The code of a failure that is a denial.
const DENIED: u16 = 5;
/// A deadline so far away that adding it to the present instant cannot overflow.
const MS_MAX: u64 = 1000 * 60 * 60 * 24 * 365;

/// A linker with everything that any plugin kind may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    rows::add_to_linker(&mut linker)?;
    editor::add_to_linker(&mut linker)?;
    builder::add_to_linker(&mut linker)?;
    shared::failures::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::log::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::clock::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::inputs::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::http::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::measurements::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    shared::state::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// How a host function ends when it does not give a result.
pub(crate) enum Fault {
    /// A value that the guest sees.
    Data(shared::rows::DataError),
    /// The end of the call.
    Trap(wasmtime::Error),
}

impl From<shared::rows::DataError> for Fault {
    fn from(error: shared::rows::DataError) -> Fault {
        Fault::Data(error)
    }
}

impl From<wasmtime::component::ResourceTableError> for Fault {
    fn from(error: wasmtime::component::ResourceTableError) -> Fault {
        Fault::Trap(error.into())
    }
}

/// A data error with one of the codes in `wit/rows.wit`.
pub(crate) fn data_error(code: u16, message: impl Into<String>) -> shared::rows::DataError {
    shared::rows::DataError { code, message: message.into() }
}

pub(crate) const NO_SUCH_COLUMN: u16 = 1;
pub(crate) const OUTSIDE_ROWS: u16 = 2;
pub(crate) const WRONG_TYPE: u16 = 3;
pub(crate) const WRONG_LENGTH: u16 = 4;
pub(crate) const NOT_GRANTED: u16 = 5;
pub(crate) const OVER_LIMIT: u16 = 6;
pub(crate) const NOT_UTF8: u16 = 7;
pub(crate) const BAD_VALUE: u16 = 8;
pub(crate) const NOT_DECLARED: u16 = 9;

/// The result of a host function whose errors the guest may see.
pub(crate) type Reply<T> = wasmtime::Result<(Result<T, shared::rows::DataError>,)>;

/// Turns a result into what wasmtime passes on.
pub(crate) fn reply<T>(result: Result<T, Fault>) -> Reply<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(Fault::Data(error)) => Ok((Err(error),)),
        Err(Fault::Trap(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;
