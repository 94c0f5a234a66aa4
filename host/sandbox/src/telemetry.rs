//! What is counted and timed of a plugin's calls, and the span of each.
//!
//! The time of a call is what its caller waits: guest, host functions and the copying between them. Handles are looked up once a
//! slot, because a look-up costs as much as a small call.

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
    /// One a function that was called; a world has few.
    seconds: Vec<(&'static str, Histogram)>,
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
            seconds: Vec::new(),
        }
    }

    /// The span of one call; the plugin's log lines are within it.
    pub(crate) fn span(&self, step: &'static str) -> tracing::Span {
        tracing::debug_span!("plugin", plugin = %self.plugin, step)
    }

    /// Counts a call that has ended. `memory_bytes` is the linear memory of its instance, 0 where the instance is gone: memory of a
    /// guest never shrinks, so it is also the most that the instance has held.
    pub(crate) fn call<T>(&mut self, step: &'static str, result: &Result<T, CallError>, took: Duration, memory_bytes: u64) {
        match result {
            Ok(_) => self.ok.increment(1),
            Err(error) => {
                let plugin = self.plugin.to_string();
                metrics::counter!("tidegate_plugin_calls_total", "plugin" => plugin, "outcome" => error.word()).increment(1);
            }
        }
        self.seconds(step).record(took.as_secs_f64());
        self.memory.set(memory_bytes as f64);
    }

    /// Counts an instance that was started: one a slot at first, and one more for each call that ended badly.
    pub(crate) fn instance(&self) {
        self.instances.increment(1);
    }

    fn seconds(&mut self, step: &'static str) -> &Histogram {
        let place = self.seconds.iter().position(|(known, _)| *known == step).unwrap_or_else(|| {
            let plugin = self.plugin.to_string();
            self.seconds.push((step, metrics::histogram!("tidegate_plugin_call_seconds", "plugin" => plugin, "step" => step)));
            self.seconds.len() - 1
        });
        &self.seconds[place].1
    }
}
