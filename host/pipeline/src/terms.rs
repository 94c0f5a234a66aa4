//! Settings that may change while a pipeline works.
//!
//! Invariant: a run is judged by the gate that was written down when it started, so a new gate waits until the open run has ended.

use std::sync::Arc;

use serde_json::json;
use tidegate_policy::{Gate, TriggerRule};
use tidegate_store::Write;
use tidegate_vocab::RunId;

use crate::{FailureRules, Pipeline, PipelineError, Replacement, Settings};

/// What a pipeline can be told anew between two events; the rest of its [`Settings`] holds for as long as it is open.
#[derive(Debug, Clone)]
pub struct Terms {
    /// When a run starts.
    pub triggers: Vec<TriggerRule>,
    /// When a version may serve, from the next run on.
    pub gate: Gate,
    /// The class whose F1 is reported.
    pub positive_class: String,
    /// When a plugin that fails is no longer called.
    pub failures: FailureRules,
}

impl From<Settings> for Terms {
    fn from(settings: Settings) -> Terms {
        let Settings { triggers, gate, positive_class, failures, .. } = settings;
        Terms { triggers, gate, positive_class, failures }
    }
}

impl Pipeline {
    /// Works by `terms` from here on, with `plugins` in the place of those of their name.
    ///
    /// # Errors
    /// What the store could not read; nothing has changed then.
    pub async fn adopt(&mut self, terms: Terms, plugins: Vec<Replacement>) -> Result<(), PipelineError> {
        let is_judged = self.open_run().await?.is_some();
        self.replace(plugins).await?;
        let Terms { triggers, gate, positive_class, failures } = terms;
        self.gate_due = (is_judged && gate != self.settings.gate).then(|| gate.clone());
        let gate = if is_judged { self.settings.gate.clone() } else { gate };
        self.settings = Arc::new(Settings { triggers, gate, positive_class, failures, ..(*self.settings).clone() });
        Ok(())
    }

    /// The journal's line for the gate that waits for the run `id`, if one does.
    pub(crate) fn gate_line(&self, id: RunId) -> Option<Write> {
        let gate = self.gate_due.as_ref()?;
        let told = format!("{id} is the first that is judged by the gate as the settings have it now");
        let body = json!({ "run": id, "gate": gate, "told": told });
        Some(Write::Journal { kind: "gate".to_owned(), body })
    }

    /// The run that the gate waited for has started.
    pub(crate) fn take_gate(&mut self) {
        if let Some(gate) = self.gate_due.take() {
            self.settings = Arc::new(Settings { gate, ..(*self.settings).clone() });
        }
    }
}
