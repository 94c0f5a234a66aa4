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
    text.lines().skip(1).take(FRAMES_MAX).map(|line| quoted(&without_address(line.trim()), FRAME_BYTES_MAX)).collect()
}

/// `0:  0x1f - csv.wasm!csv::next::h5d5eb6942d95b76d` as `0: csv.wasm!csv::next`: address and hash say nothing to a person, and
/// another build of the same code has others.
fn without_address(frame: &str) -> String {
    let (number, rest) = frame.split_once(':').unwrap_or(("", frame));
    let function = rest.split_once(" - ").map_or(rest, |(_, function)| function).trim();
    let hash = function.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    format!("{number}: {}", hash.map_or(function, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_shown_by_its_name() {
        let check = |frame: &str, expected: &str| assert_eq!(without_address(frame), expected);
        check("0:   0x433e - a.wasm!a::trap::h5d5eb6942d95b76d", "0: a.wasm!a::trap");
        check("1: 0x76c3 - a.wasm!tidegate:plugin/cleaner@0.1.0#clean", "1: a.wasm!tidegate:plugin/cleaner@0.1.0#clean");
        check("12: 0x7 - <unknown>!<wasm function 3>", "12: <unknown>!<wasm function 3>");
        check("at another place", ": at another place");
    }
}
