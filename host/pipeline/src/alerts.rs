//! Telling people. An alert that cannot be sent is logged and never stops the loop.

use tidegate_sandbox::{Alert, Severity};
use tidegate_vocab::{Decision, DecisionKind};

use crate::Pipeline;
use crate::run::chain_text;

impl Pipeline {
    /// Sends an alert about a decision to every alerter; holds are not worth one.
    pub(crate) async fn alert_decision(&mut self, decision: &Decision) {
        let (severity, verb) = match decision.kind {
            DecisionKind::Promote => (Severity::Info, "is champion"),
            DecisionKind::RollBack => (Severity::Warning, "is champion again"),
            DecisionKind::Reject => (Severity::Info, "was rejected"),
            DecisionKind::Hold => return,
        };
        let pipeline = self.settings.id.to_string();
        self.alert(&Alert {
            key: format!("{pipeline}/{}/decision", decision.version),
            severity,
            title: format!("{} of `{pipeline}` {verb}", decision.version),
            cause: decision.reason.clone(),
            link: format!("tidegate explain {}", decision.version),
            fired_at: decision.at,
            model: pipeline,
            resolved: false,
        });
    }

    /// Sends an alert about a run that failed.
    pub(crate) fn alert_failure(&mut self, run: &tidegate_vocab::Run, cause: &str) {
        let pipeline = self.settings.id.to_string();
        self.alert(&Alert {
            key: format!("{pipeline}/{}/failed", run.id),
            severity: Severity::Critical,
            title: format!("{} of `{pipeline}` failed", run.id),
            cause: cause.to_owned(),
            link: "tidegate journal show".to_owned(),
            fired_at: self.now(),
            model: pipeline,
            resolved: false,
        });
    }

    fn alert(&mut self, alert: &Alert) {
        for step in &mut self.plugins.alerters {
            let Some(port) = step.port.as_mut() else { continue };
            if let Err(error) = tokio::task::block_in_place(|| port.notify(alert)) {
                tracing::warn!(plugin = %step.name, alert = %alert.key, error = %chain_text(&error), "alert not sent");
            }
        }
    }
}
