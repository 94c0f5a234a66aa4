//! What an actor shows of itself: the little that the store does not say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_pipeline::{DeadLetters, Struck};
use tidegate_sandbox::Plugin;
use tidegate_serve::{DriftStatus, EstimateStatus, Node, Reload, RolloutStatus};
use tidegate_vocab::{Digest, PluginName, QualityPoint, Timestamp};
use tokio::sync::watch;

/// Reloads that are remembered of each plugin.
const RELOADS_MAX: usize = 20;

/// What a pipeline is doing at this moment.
#[derive(Debug, Clone)]
pub struct Live {
    /// Where in the loop.
    pub at: Node,
    /// What, as a sentence.
    pub doing: String,
    /// Why it does not get on.
    pub stalled: Option<String>,
    /// The pipeline's own time.
    pub now: Timestamp,
    /// Rows committed.
    pub rows: u64,
    /// When rows were last committed, on the system's clock.
    pub last_rows_at: Option<Timestamp>,
    /// The share of the training that is done.
    pub progress: Option<f64>,
    /// Labelled rows that the gate waits for.
    pub waiting_rows: Option<u64>,
    /// What would start the next run, a sentence each.
    pub next: Vec<String>,
    /// The version that is rolled out.
    pub rollout: Option<RolloutStatus>,
    /// What the newest window of rows says about drift.
    pub drift: Option<DriftStatus>,
    /// What the newest answers seem to be worth.
    pub estimate: Option<EstimateStatus>,
    /// How the champion stands against the version before.
    pub guard: Option<String>,
    /// Realised quality.
    pub quality: Arc<Vec<QualityPoint>>,
    /// The cleaner chain of new parts.
    pub chain: Option<Digest>,
    /// The components in use, in the loop's order.
    pub components: Vec<(PluginName, Digest)>,
    /// Plugins with strikes.
    pub struck: Vec<Struck>,
    /// Batches that were set aside.
    pub dead_letters: DeadLetters,
}

impl Default for Live {
    fn default() -> Live {
        Live {
            at: Node::Source,
            doing: "starting".to_owned(),
            stalled: None,
            now: Timestamp(0),
            rows: 0,
            last_rows_at: None,
            progress: None,
            waiting_rows: None,
            next: Vec::new(),
            rollout: None,
            drift: None,
            estimate: None,
            guard: None,
            quality: Arc::default(),
            chain: None,
            components: Vec::new(),
            struck: Vec::new(),
            dead_letters: DeadLetters::default(),
        }
    }
}

/// Where one pipeline writes what it is doing; everybody may read.
#[derive(Clone)]
pub struct Board {
    live: watch::Sender<Live>,
    changes: watch::Sender<u64>,
}

impl Board {
    /// A board whose changes are counted in `changes`.
    pub fn new(changes: watch::Sender<u64>) -> Board {
        Board { live: watch::Sender::new(Live::default()), changes }
    }

    /// What is on it.
    pub fn read(&self) -> Live {
        self.live.borrow().clone()
    }

    /// Changes what is on it.
    pub fn write(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
        self.changes.send_modify(|count| *count += 1);
    }
}

/// What is known of the plugins in use.
#[derive(Default)]
pub struct PluginBook(Mutex<BTreeMap<PluginName, PluginFacts>>);

/// What is known of one plugin.
#[derive(Debug, Clone, Default)]
pub struct PluginFacts {
    /// Its kind, in a word.
    pub kind: String,
    /// The version that its manifest says.
    pub version: String,
    /// Attempts to replace it since the start, newest first.
    pub reloads: Vec<Reload>,
}

impl PluginBook {
    /// Notes what is in use.
    pub fn in_use(&self, plugin: &Plugin) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = all.entry(plugin.name().clone()).or_default();
        (facts.kind, facts.version) = (plugin.kind().to_string(), plugin.manifest().version.clone());
    }

    /// Notes an attempt to replace it.
    pub fn attempt(&self, plugin: &PluginName, reload: Reload) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reloads = &mut all.entry(plugin.clone()).or_default().reloads;
        reloads.insert(0, reload);
        reloads.truncate(RELOADS_MAX);
    }

    /// What is known of one plugin.
    pub fn of(&self, plugin: &PluginName) -> PluginFacts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).cloned().unwrap_or_default()
    }
}
