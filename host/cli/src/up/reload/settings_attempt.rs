//! One attempt to take up what the settings file says, as the journal and a person are told of it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_serve::{Reload, SettingsStatus};
use tidegate_vocab::Digest;

use super::attempt::{End, Phase};
use crate::config::Config;
use crate::config::typed::Change;
use crate::shadow::Difference;

/// Changes that are listed; the rest is counted.
const LISTED_MAX: usize = 50;

/// An attempt to take up what the settings file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsAttempt {
    /// The settings that were in force.
    pub from: Digest,
    /// Those that were to be; none where the file says nothing that could be.
    pub to: Option<Digest>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
    /// What was to be taken up, by key.
    pub changes: Vec<Change>,
    /// What needs a restart.
    pub waiting: Vec<Change>,
    /// How long each step took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
    /// What plugins do differently.
    pub differences: Vec<Difference>,
}

/// How the settings stand, beside those that are in force.
#[derive(Debug, Clone, Default)]
pub struct SettingsStand {
    /// Keys of the file that need a restart.
    pub waiting: Vec<Change>,
    /// Why the file that lies there now is not in force, where it is not.
    pub refused: Option<String>,
    /// Attempts since the start, newest first.
    pub attempts: Vec<Reload>,
}

impl SettingsAttempt {
    /// One that has not changed anything yet.
    pub fn new(from: Digest) -> SettingsAttempt {
        let (changes, waiting, seconds, differences) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        SettingsAttempt { from, to: None, end: End::Replaced, changes, waiting, seconds, differences }
    }

    /// What was to change, and what plugins do differently, a sentence each.
    pub fn told_changes(&self) -> Vec<String> {
        sentences(&self.changes).into_iter().chain(self.differences.iter().map(Difference::sentence)).collect()
    }

    /// In a word or two.
    pub fn word(&self) -> &'static str {
        match &self.end {
            End::Replaced if self.changes.is_empty() => "needs a restart",
            End::Replaced => "applied",
            end => end.word(),
        }
    }

    /// How it ended, as a sentence.
    pub fn head(&self) -> String {
        match &self.end {
            End::Replaced if self.changes.is_empty() => "settings: nothing can be taken up without a restart".to_owned(),
            End::Replaced => "settings: taken up".to_owned(),
            End::Proven => "settings: the new ones stood their probation".to_owned(),
            End::Refused { phase, why } => format!("settings: the old ones stay ({}): {why}", phase.word()),
            End::Held { why } => {
                format!("settings: the old ones stay until you accept the new ones (`tidegate reload --accept`): {why}")
            }
            End::TakenBack { why } => {
                format!("settings: the old ones are in force again, and the file asks for what was taken back: {why}")
            }
        }
    }

    /// All of it on one line.
    pub fn line(&self) -> String {
        let mut line = self.head();
        if !self.changes.is_empty() {
            line.push_str(&format!("; changed: {}", listed(&self.changes)));
        }
        if !self.waiting.is_empty() {
            line.push_str(&format!("; needs a restart: {}", listed(&self.waiting)));
        }
        line
    }

    /// The journal's line.
    pub fn body(&self) -> serde_json::Value {
        let differences = self.differences.iter().map(|difference| format!("; {}", difference.sentence()));
        let told: String = std::iter::once(self.line()).chain(differences).collect();
        let phase = if let End::Refused { phase, .. } = self.end { Some(phase.word()) } else { None };
        json!({
            "from": self.from, "to": self.to, "result": self.word(), "phase": phase, "why": self.end.why(), "told": told,
            "changes": sentences(&self.changes), "waiting": sentences(&self.waiting), "differences": self.differences,
        })
    }
}

impl SettingsStand {
    /// What the status shows of it.
    pub fn status(&self, in_force: &Config) -> SettingsStatus {
        SettingsStatus {
            file: in_force.file.path.display().to_string(),
            digest: in_force.digest().to_string(),
            waiting: sentences(&self.waiting),
            refused: self.refused.clone(),
            reloads: self.attempts.clone(),
        }
    }
}

/// Changes as sentences.
fn sentences(changes: &[Change]) -> Vec<String> {
    let more = changes.len().saturating_sub(LISTED_MAX);
    let counted = (more > 0).then(|| format!("and {more} more"));
    changes.iter().take(LISTED_MAX).map(ToString::to_string).chain(counted).collect()
}

fn listed(changes: &[Change]) -> String {
    sentences(changes).join(", ")
}
