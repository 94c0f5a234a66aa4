//! Keeps the state within its budget: collects every day and when asked, makes room every minute, and says when there is none.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::StateFolder;
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::control::Answer;
use crate::compose::{self, Room};
use crate::config::Config;
use crate::failure::Failure;

/// Time between two looks at the budget.
const LOOK_S: u64 = 60;
/// Time between two collections that nobody asked for.
const COLLECT_S: u64 = 86_400;
/// Requests to collect that wait.
const REQUESTS_MAX: usize = 4;

/// The part of a host that lets go of things.
pub struct Caretaker {
    settings: watch::Receiver<Arc<Config>>,
    requests: mpsc::Receiver<oneshot::Sender<Answer>>,
    no_room: watch::Sender<Option<String>>,
}

impl Caretaker {
    /// A caretaker; where to ask it to collect; and why there is no room for new rows, while there is none.
    pub fn new(
        settings: watch::Receiver<Arc<Config>>,
    ) -> (Caretaker, mpsc::Sender<oneshot::Sender<Answer>>, watch::Receiver<Option<String>>) {
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        let (no_room, told) = watch::channel(None);
        (Caretaker { settings, requests, no_room }, asked, told)
    }

    /// Works until the host stops.
    pub async fn run(mut self, state: &StateFolder, quiet: &RwLock<()>) {
        let every = |seconds: u64, first: u64| {
            let mut ticks = interval_at(Instant::now() + Duration::from_secs(first), Duration::from_secs(seconds));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut looks, mut collections) = (every(LOOK_S, 0), every(COLLECT_S, COLLECT_S));
        loop {
            tokio::select! {
                _ = looks.tick() => { self.look(state, quiet).await }
                _ = collections.tick() => { let _ = self.collect(state, quiet).await; }
                request = self.requests.recv() => {
                    let Some(answer) = request else { return };
                    let collected = self.collect(state, quiet).await;
                    let _ = answer.send(collected.map_or_else(Answer::from, |room| Answer::Collected { room: Box::new(room) }));
                }
            }
        }
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.settings.borrow())
    }

    async fn look(&self, state: &StateFolder, quiet: &RwLock<()>) {
        let at_rest = quiet.write().await;
        let no_room = compose::make_room(&self.config(), state).await.err().map(|failure| failure.line());
        drop(at_rest);
        self.no_room.send_if_modified(|told| {
            let changed = *told != no_room;
            if changed && let Some(why) = &no_room {
                tracing::error!("no row is taken in: {why}");
            }
            *told = no_room;
            changed
        });
    }

    /// Collects while every pipeline rests between two steps: what a snapshot is about to name must not go.
    async fn collect(&self, state: &StateFolder, quiet: &RwLock<()>) -> Result<Room, Failure> {
        let at_rest = quiet.write().await;
        let collected = compose::collect(&self.config(), state, false).await;
        drop(at_rest);
        match &collected {
            Ok(room) => tracing::info!(rows = room.collected.rows, files = room.collected.blobs, bytes = room.collected.bytes, "collected"),
            Err(failure) => tracing::error!("could not collect: {}", failure.line()),
        }
        self.look(state, quiet).await;
        collected
    }
}
