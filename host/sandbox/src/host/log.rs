//! `log`: messages to the operator, and what the plugin writes to stdout and stderr.
//!
//! Invariant: a call logs at most `log_call_bytes_max` bytes in lines of at most `log_line_bytes_max`; what is more is dropped and
//! counted, and the count is logged.

use std::sync::{Arc, PoisonError};

use tidegate_vocab::PluginName;
use tidegate_vocab::limits::PluginLimits;

use crate::bindings::shared::log::{Host, Level};
use crate::call::quoted;
use crate::grants::{LogLevel, LogLine};

use super::HostState;

/// The log of one instance, with what is left of the present call's allowance.
pub(crate) struct CallLog {
    plugin: PluginName,
    sink: Arc<dyn Fn(LogLine) + Send + Sync>,
    line_bytes_max: u32,
    call_bytes_max: u32,
    left_bytes: u32,
    dropped_lines: u64,
    /// The lines of the present call, for whoever asks what went wrong in it.
    lines: Vec<LogLine>,
    /// The beginning of a line on stdout or stderr that has not ended yet.
    partial: Vec<u8>,
}

impl CallLog {
    pub(crate) fn new(plugin: PluginName, limits: &PluginLimits, sink: Arc<dyn Fn(LogLine) + Send + Sync>) -> CallLog {
        CallLog {
            plugin,
            sink,
            line_bytes_max: limits.log_line_bytes_max,
            call_bytes_max: limits.log_call_bytes_max,
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
                let line = LogLine { plugin: self.plugin.clone(), level, message };
                self.lines.push(line.clone());
                (self.sink)(line);
            }
            None => self.dropped_lines += 1,
        }
    }

    /// A line of the host about the guest; it does not count.
    pub(crate) fn write_host(&self, level: LogLevel, message: &str) {
        (self.sink)(LogLine { plugin: self.plugin.clone(), level, message: message.to_owned() });
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
        self.log.lock().unwrap_or_else(PoisonError::into_inner).write(level, &message);
        Ok(())
    }
}
