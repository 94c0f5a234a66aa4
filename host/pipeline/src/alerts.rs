//! Telling people. Alerters fail open: an alert that one cannot send goes to the log in full, is sent again where that can help, and
//! never stops the loop.

use tidegate_sandbox::{Alert, CallError, Severity};
use tidegate_vocab::{DecidedBy, Decision, DecisionKind, PipelineId, PluginName, Timestamp};

use crate::backoff::Backoff;
use crate::blame::charge;
use crate::dead_letters::DeadLetter;
use crate::run::chain_text;
use crate::{DriftedWindow, Pipeline, PipelineError};

/// Alerts that wait to be sent again; of more, the oldest are in the log only.
const UNSENT_MAX: usize = 64;
/// Times that an alert is tried.
const ATTEMPTS_MAX: u32 = 5;

/// An alert that an alerter could not send yet. Lost when the process ends; the log has it.
pub(crate) struct Unsent {
    alerter: PluginName,
    alert: Alert,
    due: Timestamp,
    attempts: u32,
    backoff: Backoff,
}

impl Pipeline {
    /// Sends an alert about a decision to every alerter; holds are not worth one.
    pub(crate) async fn alert_decision(&mut self, decision: &Decision) {
        let (severity, verb) = match decision.kind {
            DecisionKind::Promote => (Severity::Info, "is champion"),
            DecisionKind::RollBack => (Severity::Warning, "is champion again"),
            DecisionKind::Reject if decision.by == DecidedBy::Gate => (Severity::Info, "was rejected"),
            DecisionKind::Reject => (Severity::Warning, "was taken back"),
            DecisionKind::Hold => return,
        };
        let title = format!("{} of `{}` {verb}", decision.version, self.settings.id);
        let alert = self.alert(&format!("{}/decision", decision.version), title, &decision.reason, explain(decision));
        self.alerts_due.push(Alert { severity, fired_at: decision.at, ..alert });
        self.send_alerts().await;
    }

    /// Sends an alert about a version that waits for an operator.
    pub(crate) async fn alert_approval(&mut self, decision: &Decision) {
        let title = format!("{} of `{}` waits for an operator", decision.version, self.settings.id);
        let alert = self.alert(&format!("{}/approval", decision.version), title, &decision.reason, explain(decision));
        self.alerts_due.push(Alert { fired_at: decision.at, ..alert });
        self.send_alerts().await;
    }

    /// Sends an alert about a run that failed.
    pub(crate) async fn alert_failure(&mut self, run: &tidegate_vocab::Run, cause: &str) {
        let title = format!("{} of `{}` failed", run.id, self.settings.id);
        let alert = self.alert(&format!("{}/failed", run.id), title, cause, "tidegate journal show".to_owned());
        self.alerts_due.push(Alert { severity: Severity::Critical, ..alert });
        self.send_alerts().await;
    }

    /// An alert about rows that begin to drift, or no longer do; sent once it is committed that they do.
    pub(crate) fn alert_drift(&mut self, window: &DriftedWindow) {
        let verb = if window.drifts() { "drift" } else { "no longer drift" };
        let title = format!("the rows of `{}` {verb}", self.settings.id);
        let alert = self.alert("drift", title, &window.reason(), "tidegate drift".to_owned());
        self.alerts_due.push(Alert { fired_at: window.at, resolved: !window.drifts(), ..alert });
    }

    /// A warning of this pipeline, fired now.
    fn alert(&self, about: &str, title: String, cause: &str, link: String) -> Alert {
        let model = self.settings.id.to_string();
        let (key, severity, cause) = (format!("{model}/{about}"), Severity::Warning, cause.to_owned());
        Alert { key, severity, title, cause, link, fired_at: self.now(), model, resolved: false }
    }

    /// Sends what is due to every alerter. An alerter that fails for good gets a strike, and that may be one more alert.
    pub(crate) async fn send_alerts(&mut self) {
        while !self.alerts_due.is_empty() {
            for alert in std::mem::take(&mut self.alerts_due) {
                for index in 0..self.plugins.alerters.len() {
                    self.notify(index, &alert, 1, Backoff::default()).await;
                }
            }
        }
    }

    /// Tries alerts again that are due.
    pub(crate) async fn send_again(&mut self) {
        let now = self.now();
        for _ in 0..self.unsent.len() {
            let Some(unsent) = self.unsent.pop_front() else { return };
            if unsent.due > now {
                self.unsent.push_back(unsent);
                continue;
            }
            let Some(index) = self.plugins.alerters.iter().position(|step| step.name == unsent.alerter) else { continue };
            self.notify(index, &unsent.alert, unsent.attempts + 1, unsent.backoff).await;
        }
        self.send_alerts().await;
    }

    async fn notify(&mut self, index: usize, alert: &Alert, attempt: u32, mut backoff: Backoff) {
        let step = &mut self.plugins.alerters[index];
        if step.callable("alerter", &self.ledger).is_err() {
            fall_back(&step.name, alert, "it is quarantined");
            return;
        }
        let Some(port) = step.port.as_mut() else { return };
        let Err(error) = tokio::task::block_in_place(|| port.notify(alert)) else { return };
        let alerter = step.name.clone();
        let text = chain_text(&error);
        fall_back(&alerter, alert, &text);
        if is_worth_another_try(&error) && attempt < ATTEMPTS_MAX {
            let wait_ms = backoff.failed(error.retry_after_ms());
            let due = self.now().plus_micros(i64::try_from(wait_ms.saturating_mul(1_000)).unwrap_or(i64::MAX));
            if self.unsent.len() >= UNSENT_MAX {
                self.unsent.pop_front();
            }
            self.unsent.push_back(Unsent { alerter: alerter.clone(), alert: alert.clone(), due, attempts: attempt, backoff });
        }
        self.charged(PipelineError::Plugin { plugin: alerter, step: "alerter", source: error }).await;
    }

    /// Charges whoever an error is the fault of, and sends the alert that may follow; gives the error back.
    pub(crate) async fn blamed(&mut self, error: PipelineError) -> PipelineError {
        let error = self.charged(error).await;
        self.send_alerts().await;
        error
    }

    /// Charges the plugin that an error of a source, evaluator or alerter is the fault of; gives the error back. Cleaners are charged
    /// where they are called, since there a batch may be to blame.
    async fn charged(&mut self, error: PipelineError) -> PipelineError {
        let PipelineError::Plugin { plugin, step, .. } = &error else { return error };
        let (settings, ledger, now) = (&self.settings, &self.ledger, self.stores.clock.now());
        let charged = match *step {
            "source" => charge(settings, ledger, &self.plugins.source, step, &error, None, now),
            "evaluator" => {
                let found = self.plugins.evaluators.iter().find(|evaluator| evaluator.name == *plugin);
                found.and_then(|found| charge(settings, ledger, found, step, &error, None, now))
            }
            "alerter" => {
                let found = self.plugins.alerters.iter().find(|alerter| alerter.name == *plugin);
                found.and_then(|found| charge(settings, ledger, found, step, &error, None, now))
            }
            _ => None,
        };
        if let Some(charged) = charged {
            let kept = match self.ledger.write(&charged.ledger) {
                Ok(write) => self.commit(self.state.clone(), charged.writes.into_iter().chain([write]).collect()).await,
                Err(error) => Err(error),
            };
            match kept {
                Ok(()) => {
                    self.ledger.committed(charged.ledger);
                    self.alerts_due.extend(charged.alert);
                }
                // What failed is told anyway; a strike that is not kept is given again.
                Err(error) => tracing::warn!(pipeline = %self.settings.id, error = %chain_text(&error), "strike not kept"),
            }
        }
        error
    }
}

fn explain(decision: &Decision) -> String {
    format!("tidegate explain {}", decision.version)
}

/// A refusal that may pass, or a fault of the plugin that a fresh instance may not have.
fn is_worth_another_try(error: &CallError) -> bool {
    match error {
        CallError::Refused { failure, .. } => failure.retryable,
        CallError::Trapped { .. } | CallError::OverLimit { .. } => true,
        CallError::Incompatible { .. } => false,
    }
}

/// The fallback: everything that the alert says, in the log.
fn fall_back(alerter: &PluginName, alert: &Alert, why: &str) {
    tracing::warn!(
        plugin = %alerter, alert = %alert.key, severity = alert.severity.word(), title = %alert.title, cause = %alert.cause,
        link = %alert.link, error = %why, "alert not sent"
    );
    metrics::counter!("tidegate_alerts_unsent_total", "plugin" => alerter.to_string()).increment(1);
}

/// An alert about a plugin that is no longer called.
pub(crate) fn quarantine_alert(pipeline: &PipelineId, plugin: &PluginName, step: &str, why: &str, at: Timestamp) -> Alert {
    Alert {
        key: format!("{pipeline}/plugin/{plugin}/quarantined"),
        severity: Severity::Critical,
        title: format!("{step} `{plugin}` of `{pipeline}` is quarantined"),
        cause: why.to_owned(),
        link: format!("tidegate plugin release {plugin}"),
        fired_at: at,
        model: pipeline.to_string(),
        resolved: false,
    }
}

/// An alert about a batch that was set aside.
pub(crate) fn dead_letter_alert(pipeline: &PipelineId, letter: &DeadLetter, at: Timestamp) -> Alert {
    let last_row = letter.first_row + letter.row_count - 1;
    Alert {
        key: format!("{pipeline}/dead-letter/{}", letter.first_row),
        severity: Severity::Warning,
        title: format!("rows {} to {last_row} of `{pipeline}` were set aside", letter.first_row),
        cause: letter.error.clone(),
        link: format!("tidegate dead-letter show {}", letter.number),
        fired_at: at,
        model: pipeline.to_string(),
        resolved: false,
    }
}
