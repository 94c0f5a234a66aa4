//! What is counted and timed of a plugin's calls, and the span of each.
//!
//! The time of a call is what its caller waits: guest, host functions and the copying between them; the time in the guest is
//! counted apart. Handles are looked up once a slot, because a look-up costs as much as a small call.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use tidegate_vocab::PluginName;

use crate::call::CallError;

/// The counters of one slot.
pub(crate) struct Telemetry {
    plugin: PluginName,
    ok: Counter,
    memory: Gauge,
    instances: Counter,
    host_calls: Counter,
    /// One a function that was called; a world has few.
    seconds: Vec<(&'static str, Seconds)>,
}

/// How long the calls of one function took.
struct Seconds {
    whole: Histogram,
    guest: Histogram,
}

/// What one call cost.
pub(crate) struct CallCost {
    /// From its start to its end.
    pub(crate) whole: Duration,
    /// Of it, in the guest; the rest went to host functions, to copying, and to starting an instance where there was none.
    pub(crate) guest: Duration,
    /// Host functions that the guest called.
    pub(crate) host_calls: u64,
    /// Linear memory of the instance, 0 where the instance is gone: memory of a guest never shrinks, so it is also the most that
    /// the instance has held.
    pub(crate) memory_bytes: u64,
}

impl Telemetry {
    /// Those of a plugin; slots of one plugin share what they count.
    pub(crate) fn new(plugin: &PluginName) -> Telemetry {
        let name = || plugin.to_string();
        Telemetry {
            plugin: plugin.clone(),
            ok: metrics::counter!("tidegate_plugin_calls_total", "plugin" => name(), "outcome" => "ok"),
            memory: metrics::gauge!("tidegate_plugin_memory_bytes", "plugin" => name()),
            instances: metrics::counter!("tidegate_plugin_instances_total", "plugin" => name()),
            host_calls: metrics::counter!("tidegate_plugin_host_calls_total", "plugin" => name()),
            seconds: Vec::new(),
        }
    }

    /// The span of one call; the plugin's log lines are within it.
    pub(crate) fn span(&self, step: &'static str) -> tracing::Span {
        use tracing::field::Empty;
        tracing::debug_span!("plugin", plugin = %self.plugin, step, outcome = Empty, guest_us = Empty, host_us = Empty, host_calls = Empty)
    }

    /// Counts a call that has ended, and says in its span what it cost.
    pub(crate) fn call<T>(&mut self, step: &'static str, result: &Result<T, CallError>, cost: &CallCost, span: &tracing::Span) {
        let in_host = cost.whole.saturating_sub(cost.guest);
        if !span.is_disabled() {
            span.record("outcome", result.as_ref().err().map_or("ok", CallError::word));
            span.record("guest_us", micros(cost.guest)).record("host_us", micros(in_host)).record("host_calls", cost.host_calls);
        }
        match result {
            Ok(_) => self.ok.increment(1),
            Err(error) => {
                let plugin = self.plugin.to_string();
                metrics::counter!("tidegate_plugin_calls_total", "plugin" => plugin, "outcome" => error.word()).increment(1);
            }
        }
        let seconds = self.seconds(step);
        seconds.whole.record(cost.whole.as_secs_f64());
        seconds.guest.record(cost.guest.as_secs_f64());
        self.host_calls.increment(cost.host_calls);
        self.memory.set(cost.memory_bytes as f64);
    }

    /// Counts an instance that was started: one a slot at first, and one more for each call that ended badly.
    pub(crate) fn instance(&self) {
        self.instances.increment(1);
    }

    fn seconds(&mut self, step: &'static str) -> &Seconds {
        let place = self.seconds.iter().position(|(known, _)| *known == step).unwrap_or_else(|| {
            let plugin = || self.plugin.to_string();
            let whole = metrics::histogram!("tidegate_plugin_call_seconds", "plugin" => plugin(), "step" => step);
            let guest = metrics::histogram!("tidegate_plugin_guest_seconds", "plugin" => plugin(), "step" => step);
            self.seconds.push((step, Seconds { whole, guest }));
            self.seconds.len() - 1
        });
        &self.seconds[place].1
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
