//! The handle of an alerter.

use tidegate_vocab::Timestamp;

use crate::bindings::alerter::AlerterPlugin;
use crate::bindings::alerter::exports::tidegate::plugin::alerter::Alert as GuestAlert;
use crate::call::{CallError, quoted};
use crate::grants::PluginSettings;
use crate::instance::{Breach, Slot};
use crate::last_words::LastWords;
use crate::load::Plugin;

/// An alerter in use.
pub struct Alerter {
    slot: Slot<AlerterPlugin>,
}

/// One notification with a cause and a link to evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Names the cause: alerts of one key are one alert.
    pub key: String,
    /// How grave it is.
    pub severity: Severity,
    /// What happened, in a line.
    pub title: String,
    /// Why.
    pub cause: String,
    /// The model concerned.
    pub model: String,
    /// Where the evidence is.
    pub link: String,
    /// When it began.
    pub fired_at: Timestamp,
    /// Whether it is over.
    pub resolved: bool,
}

/// How grave an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Someone should look.
    Warning,
    /// Someone must act.
    Critical,
}

impl Severity {
    /// The word that plugins see.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl Plugin {
    /// A handle of this alerter, configured and probed.
    ///
    /// # Errors
    /// [`CallError`] when the plugin is no alerter, does not accept the configuration or cannot be started.
    pub fn alerter(&self, settings: &PluginSettings) -> Result<Alerter, CallError> {
        Ok(Alerter { slot: Slot::new(self, settings)? })
    }
}

impl Alerter {
    /// What it left behind in the last call that ended badly.
    pub fn last_words(&self) -> &LastWords {
        self.slot.last_words()
    }

    /// Sends an alert; the other side's reference to it, if it gave one.
    ///
    /// # Errors
    /// [`CallError`] when the plugin could not.
    pub fn notify(&mut self, alert: &Alert) -> Result<Option<String>, CallError> {
        let most = self.slot.settings().limits.metadata_bytes_max;
        let alert = GuestAlert {
            key: alert.key.clone(),
            severity: alert.severity.word().into(),
            title: alert.title.clone(),
            cause: alert.cause.clone(),
            model: alert.model.clone(),
            link: alert.link.clone(),
            fired_at_us: alert.fired_at.0,
            resolved: alert.resolved,
        };
        let receipt = self
            .slot
            .call("notify", |store, guest| Ok(guest.tidegate_plugin_alerter().call_notify(store, &alert)?.map_err(Breach::from)))?;
        Ok(receipt.reference.map(|reference| quoted(&reference, most)))
    }
}
