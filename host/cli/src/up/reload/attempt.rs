//! One attempt to put a new build in the place of an old one, as the journal and a person are told of it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_vocab::{Digest, PluginName};

use crate::shadow::Difference;

/// A step of a reload, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Whether the lock allows the build.
    Policy,
    /// Compiling it, and checking that it is of the world that its manifest says.
    Compile,
    /// Instances for every place, configured and probed.
    Configure,
    /// Beside the old one on real batches.
    Shadow,
    /// Swapping it in.
    Publish,
    /// Its first calls.
    Probation,
}

impl Phase {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Policy => "policy",
            Phase::Compile => "compile",
            Phase::Configure => "configure",
            Phase::Shadow => "shadow",
            Phase::Publish => "publish",
            Phase::Probation => "probation",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum End {
    /// The new build is in use.
    Replaced,
    /// The old one stays.
    Refused {
        /// Where it failed.
        phase: Phase,
        /// Why.
        why: String,
    },
    /// The old one stays until an operator says otherwise.
    Held {
        /// Why.
        why: String,
    },
    /// The new build stood its probation.
    Proven,
    /// The new build was in use, and the old one is again.
    TakenBack {
        /// Why.
        why: String,
    },
}

impl End {
    /// In a word or two.
    pub fn word(&self) -> &'static str {
        match self {
            End::Replaced => "replaced",
            End::Refused { .. } => "refused",
            End::Held { .. } => "held",
            End::Proven => "proven",
            End::TakenBack { .. } => "taken back",
        }
    }

    /// Why the new build is not in use.
    pub fn why(&self) -> Option<&str> {
        match self {
            End::Replaced | End::Proven => None,
            End::Refused { why, .. } | End::Held { why } | End::TakenBack { why } => Some(why),
        }
    }
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The plugin.
    pub plugin: PluginName,
    /// The build that was in use.
    pub from: Digest,
    /// The one that was to take its place; none where there was nothing to read.
    pub to: Option<Digest>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
    /// How long each step took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
    /// What the new build does differently.
    pub differences: Vec<Difference>,
}

impl Attempt {
    /// The journal's line.
    pub fn body(&self) -> serde_json::Value {
        let seconds: serde_json::Map<String, serde_json::Value> =
            self.seconds.iter().map(|(phase, seconds)| (phase.word().to_owned(), json!(seconds))).collect();
        let phase = if let End::Refused { phase, .. } = self.end { Some(phase.word()) } else { None };
        json!({
            "plugin": self.plugin, "from": self.from, "digest": self.to, "result": self.end.word(), "phase": phase,
            "why": self.end.why(), "told": self.told(), "differences": self.differences, "seconds": seconds,
        })
    }

    /// What the journal tells: the line, and what comes out differently.
    fn told(&self) -> String {
        let differences = self.differences.iter().map(|difference| format!("; {}", difference.sentence()));
        std::iter::once(self.line()).chain(differences).collect()
    }

    /// A line for a person.
    pub fn line(&self) -> String {
        let name = &self.plugin;
        match &self.end {
            End::Replaced => format!("{name}: replaced"),
            End::Proven => format!("{name}: stood its probation"),
            End::Refused { phase, why } => format!("{name}: the old one stays ({}): {why}", phase.word()),
            End::Held { why } => {
                format!("{name}: the old one stays until you accept the new one (`tidegate plugin reload {name} --accept`): {why}")
            }
            End::TakenBack { why } => format!("{name}: the new one was taken back: {why}"),
        }
    }
}
