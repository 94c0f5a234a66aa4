//! What is counted and timed of a plugin's calls, and the span of each.
//!
//! The time of a call is what its caller waits: guest, host functions and the copying between them.

use std::time::Duration;

use tidegate_vocab::PluginName;

/// One call that has ended.
pub(crate) struct Ended<'a> {
    /// The plugin.
    pub plugin: &'a PluginName,
    /// The function that was called.
    pub step: &'static str,
    /// `ok`, or how it ended badly.
    pub outcome: &'static str,
    /// How long it took, with the start of an instance where there was none.
    pub took: Duration,
    /// Linear memory of its instance at the end of the call; `None` where the instance is gone.
    pub memory_bytes: Option<u64>,
}

impl Ended<'_> {
    /// Counts it.
    pub(crate) fn count(&self) {
        let plugin = || self.plugin.to_string();
        metrics::counter!("tidegate_plugin_calls_total", "plugin" => plugin(), "outcome" => self.outcome).increment(1);
        metrics::histogram!("tidegate_plugin_call_seconds", "plugin" => plugin(), "step" => self.step).record(self.took.as_secs_f64());
        // Memory of a guest never shrinks, so what an instance holds after a call is also the most it has held.
        let memory_bytes = self.memory_bytes.unwrap_or(0);
        metrics::gauge!("tidegate_plugin_memory_bytes", "plugin" => plugin()).set(memory_bytes as f64);
    }
}

/// Counts an instance that was started: one a plugin's use at first, and one more for each call that ended badly.
pub(crate) fn count_instance(plugin: &PluginName) {
    metrics::counter!("tidegate_plugin_instances_total", "plugin" => plugin.to_string()).increment(1);
}

/// The span of one call; the plugin's log lines are within it.
pub(crate) fn span(plugin: &PluginName, step: &'static str) -> tracing::Span {
    tracing::debug_span!("plugin", %plugin, step)
}
