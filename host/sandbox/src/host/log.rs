//! `log`: messages to the operator, and what the plugin writes to stdout and stderr.
//!
//! Invariant: a call logs at most `log_call_bytes_max` bytes in lines of at most `log_line_bytes_max`; what is more is dropped and
//! counted, and the count is logged. All instances of a plugin together log at most `log_second_bytes_max` in one second, what the
//! host says about them among it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_vocab::PluginName;
use tidegate_vocab::limits::PluginLimits;

use crate::bindings::shared::log::{Host, Level};
use crate::call::quoted;
use crate::grants::{LogLevel, LogLine};
use crate::ticker::monotonic_now;

use super::HostState;

/// What all instances of a plugin logged in the present second.
#[derive(Debug, Default)]
pub(crate) struct LogRate(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    used_bytes: u64,
    dropped_lines: u64,
}

/// Whether a line may be logged now.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// It may, after a word about the lines that were dropped in an earlier second, if any.
    Yes { dropped_before: u64 },
    /// It is dropped, and counted.
    No,
}

impl LogRate {
    fn admit(&self, bytes: u64, bytes_max: u64, now: Instant) -> Admission {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = second.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1));
        if is_over {
            (second.began, second.used_bytes) = (Some(now), 0);
        }
        let used = second.used_bytes.saturating_add(bytes);
        // One line a second always passes: whoever reads the log must learn that the rest is missing.
        if used > bytes_max && second.used_bytes > 0 {
            second.dropped_lines += 1;
            return Admission::No;
        }
        second.used_bytes = used;
        Admission::Yes { dropped_before: std::mem::take(&mut second.dropped_lines) }
    }
}

/// The log of one instance, with what is left of the present call's allowance.
pub(crate) struct CallLog {
    plugin: PluginName,
    sink: Arc<dyn Fn(LogLine) + Send + Sync>,
    line_bytes_max: u32,
    call_bytes_max: u32,
    second_bytes_max: u32,
    rate: Arc<LogRate>,
    left_bytes: u32,
    dropped_lines: u64,
    /// The lines of the present call, for whoever asks what went wrong in it.
    lines: Vec<LogLine>,
    /// The beginning of a line on stdout or stderr that has not ended yet.
    partial: Vec<u8>,
}

impl CallLog {
    pub(crate) fn new(plugin: PluginName, limits: &PluginLimits, sink: Arc<dyn Fn(LogLine) + Send + Sync>, rate: Arc<LogRate>) -> CallLog {
        CallLog {
            plugin,
            sink,
            line_bytes_max: limits.log_line_bytes_max,
            call_bytes_max: limits.log_call_bytes_max,
            second_bytes_max: limits.log_second_bytes_max,
            rate,
            left_bytes: limits.log_call_bytes_max,
            dropped_lines: 0,
            lines: Vec::new(),
            partial: Vec::new(),
        }
    }

    pub(crate) fn start_call(&mut self) {
        self.left_bytes = self.call_bytes_max;
        self.dropped_lines = 0;
        self.lines.clear();
    }

    /// The lines that the guest wrote in the call that has just ended.
    pub(crate) fn take_lines(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn end_call(&mut self) {
        self.flush_partial();
        if self.dropped_lines > 0 {
            let dropped = std::mem::take(&mut self.dropped_lines);
            let most = self.call_bytes_max;
            self.write_host(LogLevel::Warn, &format!("{dropped} more lines were dropped: `log_call_bytes_max` is {most}"));
        }
    }

    /// A line of the guest.
    pub(crate) fn write(&mut self, level: LogLevel, text: &str) {
        let message = quoted(text, self.line_bytes_max);
        // One byte more than its text, so that a flood of empty lines ends too.
        match self.left_bytes.checked_sub(u32::try_from(message.len() + 1).unwrap_or(u32::MAX)) {
            Some(left) => {
                self.left_bytes = left;
                self.lines.push(LogLine { plugin: self.plugin.clone(), level, message: message.clone() });
                self.send(level, message);
            }
            None => self.dropped_lines += 1,
        }
    }

    /// A line of the host about the guest; it does not count as the call's, but as one of the second.
    pub(crate) fn write_host(&self, level: LogLevel, message: &str) {
        self.send(level, message.to_owned());
    }

    fn send(&self, level: LogLevel, message: String) {
        let line = |level, message| (self.sink)(LogLine { plugin: self.plugin.clone(), level, message });
        let most = self.second_bytes_max;
        match self.rate.admit(message.len() as u64 + 1, u64::from(most), monotonic_now()) {
            Admission::Yes { dropped_before: 0 } => line(level, message),
            Admission::Yes { dropped_before } => {
                let warning = format!("{dropped_before} lines were dropped before this: `log_second_bytes_max` is {most}");
                line(LogLevel::Warn, warning);
                line(level, message);
            }
            Admission::No => {}
        }
    }

    /// Bytes of stdout or stderr; each line of them is a message.
    pub(crate) fn write_output(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = (self.line_bytes_max as usize + 1).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.flush_partial();
            }
        }
    }

    fn flush_partial(&mut self) {
        let line = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.write(LogLevel::Info, text);
        }
    }
}

impl Host for HostState {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        self.count_call()?;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).write(level, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_so_many_bytes_and_the_next_says_what_was_dropped() {
        let (rate, start) = (LogRate::default(), monotonic_now());
        let at = |ms| start + Duration::from_millis(ms);
        let yes = |dropped_before| Admission::Yes { dropped_before };
        assert_eq!(rate.admit(60, 100, at(0)), yes(0));
        assert_eq!(rate.admit(60, 100, at(1)), Admission::No);
        assert_eq!(rate.admit(40, 100, at(999)), yes(1));
        assert_eq!(rate.admit(1, 100, at(999)), Admission::No);
        // A line that is larger than a second's allowance passes alone.
        assert_eq!(rate.admit(500, 100, at(1_000)), yes(1));
        assert_eq!(rate.admit(1, 100, at(1_500)), Admission::No);
        assert_eq!(rate.admit(1, 100, at(2_000)), yes(1));
    }
}
