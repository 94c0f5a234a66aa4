//! What an actor shows of itself: the little that the store does not say.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_serve::{Node, Reload};
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
    /// Realised quality.
    pub quality: Arc<Vec<QualityPoint>>,
    /// The cleaner chain of new parts.
    pub chain: Option<Digest>,
    /// The components in use, in the loop's order.
    pub components: Vec<(PluginName, Digest)>,
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
            quality: Arc::default(),
            chain: None,
            components: Vec::new(),
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

/// Attempts to replace plugins since the start.
#[derive(Default)]
pub struct Reloads(Mutex<std::collections::BTreeMap<PluginName, Vec<Reload>>>);

impl Reloads {
    /// Notes an attempt.
    pub fn note(&self, plugin: &PluginName, reload: Reload) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_plugin = all.entry(plugin.clone()).or_default();
        of_plugin.insert(0, reload);
        of_plugin.truncate(RELOADS_MAX);
    }

    /// The attempts with one plugin, newest first.
    pub fn of(&self, plugin: &PluginName) -> Vec<Reload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).cloned().unwrap_or_default()
    }
}
