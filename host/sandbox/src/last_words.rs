//! What a plugin left behind in the call that ended badly: its log, and where in its code it stopped.
//!
//! Names of functions come from the component's name section; a component that was stripped of it shows numbers.

use wasmtime::WasmBacktrace;

use crate::call::quoted;
use crate::grants::LogLine;

/// Frames that are kept of a backtrace.
const FRAMES_MAX: usize = 64;
/// Bytes of one frame: names of generic functions are long.
const FRAME_BYTES_MAX: u32 = 512;

/// The log and the backtrace of a call that ended badly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastWords {
    /// What it wrote in that call, oldest first, as far as `log_call_bytes_max` let it.
    pub log: Vec<LogLine>,
    /// The guest's functions, innermost first; empty unless it trapped or was stopped.
    pub backtrace: Vec<String>,
}

/// The frames of the guest that `error` was raised in.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    // The first line is a heading; the text is the only form in which wasmtime gives names as people wrote them.
    let text = backtrace.to_string();
    text.lines().skip(1).take(FRAMES_MAX).map(|line| quoted(line.trim(), FRAME_BYTES_MAX)).collect()
}
