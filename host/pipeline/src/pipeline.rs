//! One pipeline: its settings, its plugins, its stores, and the dispatch of events.

use std::sync::Arc;

use tidegate_dataset::{PartCache, chain_digest};
use tidegate_model::Progress;
use tidegate_store::Write;
use tidegate_vocab::{Decision, Digest, Run, Timestamp};

use crate::ingest::Pending;
use crate::models::Models;
use crate::pending::pending_of;
use crate::quarantine::Readmitted;
use crate::{Event, LoopState, Outcome, PipelineError, Plugins, ScoredRow, Settings, Stores, loop_state};

/// Decoded parts kept in memory, since training, scoring and judging read the newest ones again and again.
const PART_CACHE_BYTES_MAX: usize = 64 << 20;

/// Watches a pipeline at work: progress, plots and messages are made of this. It cannot change anything.
pub trait Observer: Send {
    /// Rows were committed; `total` is how many the pipeline has.
    fn committed(&mut self, _rows: u64, _total: u64) {}
    /// Rows whose labels have become known were compared with what was answered for them.
    fn scored(&mut self, _rows: &[ScoredRow]) {}
    /// A run changed its state.
    fn run(&mut self, _run: &Run, _at_row: u64) {}
    /// Training goes on.
    fn training(&mut self, _run: &Run, _progress: &Progress) {}
    /// A decision was committed.
    fn decided(&mut self, _decision: &Decision, _at_row: u64) {}
}

/// An observer that looks away.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// One pipeline at work. It is the only writer of its pipeline while it holds the fence.
pub struct Pipeline {
    pub(crate) settings: Arc<Settings>,
    pub(crate) stores: Stores,
    pub(crate) plugins: Plugins,
    pub(crate) observer: Box<dyn Observer>,
    /// The cleaner chain that new parts go through.
    pub(crate) chain: Digest,
    pub(crate) state: LoopState,
    /// Revision of the state in the store, `None` before the first commit.
    pub(crate) revision: Option<u64>,
    pub(crate) models: Models,
    pub(crate) parts: PartCache,
    /// Rows committed raw.
    pub(crate) rows_total: u64,
    /// Rows whose raw parts have a cleaned part behind `chain`.
    pub(crate) rows_cleaned: u64,
    pub(crate) source_open: bool,
    /// Raw parts without a cleaned part.
    pub(crate) pending: Pending,
    /// The latest event time of the last cleaned part; a simulated clock follows it.
    pub(crate) last_event_time: Option<Timestamp>,
    /// Whether the contract in the settings is known to be the accepted one.
    pub(crate) contract_accepted: bool,
    /// Rows that people let in again, and the revision of that in the store.
    pub(crate) readmitted: Arc<Readmitted>,
    pub(crate) readmitted_revision: Option<u64>,
}

impl Pipeline {
    /// A pipeline that goes on where the store says it stopped.
    ///
    /// # Errors
    /// What the store could not read.
    pub async fn open(
        settings: Settings,
        plugins: Plugins,
        stores: Stores,
        observer: Box<dyn Observer>,
    ) -> Result<Pipeline, PipelineError> {
        let cleaners: Vec<_> = plugins.cleaners.iter().map(|step| (step.digest, step.config.clone())).collect();
        let chain = chain_digest(&cleaners, &settings.contract);
        let raw = stores.meta.raw_parts(&settings.id, 0).await?;
        let cleaned = stores.meta.clean_parts(&settings.id, &chain, 0).await?;
        let (revision, state) = match stores.meta.state(&settings.id, loop_state::KEY).await? {
            Some((revision, bytes)) => {
                (Some(revision), serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?)
            }
            None => (None, LoopState::default()),
        };
        let done: std::collections::HashSet<u64> = cleaned.iter().map(|part| part.first_row).collect();
        let rows_total = raw.last().map_or(0, |part| part.first_row + part.row_count);
        let pending = pending_of(&*stores.meta, &settings, &state, raw, &done).await?;
        let pending: Pending = pending.into_iter().map(|part| (part, None)).collect();
        let rows_cleaned = pending.front().map_or(rows_total, |(part, _)| part.first_row);
        let (readmitted_revision, readmitted) = Readmitted::of(&*stores.meta, &settings.id).await?;
        Ok(Pipeline {
            settings: Arc::new(settings),
            stores,
            plugins,
            observer,
            chain,
            state,
            revision,
            models: Models::default(),
            parts: PartCache::new(PART_CACHE_BYTES_MAX),
            rows_total,
            rows_cleaned,
            source_open: false,
            pending,
            last_event_time: cleaned.last().and_then(|part| part.event_time).map(|(_, last)| last),
            contract_accepted: false,
            readmitted: Arc::new(readmitted),
            readmitted_revision,
        })
    }

    /// Does what `event` asks, to the next commit.
    ///
    /// # Errors
    /// What went wrong, with the step it went wrong in. What was committed before stays; the event can be sent again.
    pub async fn handle(&mut self, event: Event) -> Result<Outcome, PipelineError> {
        self.hold_to_contract().await?;
        match event {
            Event::Poll { rows_max } => self.poll(rows_max).await,
            Event::Clean => self.clean().await,
            Event::Observe => self.observe().await,
            Event::Manual { by } => self.start_by_hand(&by).await,
            Event::Advance => self.advance().await,
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Rows committed so far.
    pub fn rows_total(&self) -> u64 {
        self.rows_total
    }

    /// The cleaner chain that new parts go through.
    pub fn chain(&self) -> Digest {
        self.chain
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.stores.clock.now()
    }

    /// Commits `writes`, and `state` as the pipeline's new memory, together or not at all.
    pub(crate) async fn commit(&mut self, state: LoopState, mut writes: Vec<Write>) -> Result<(), PipelineError> {
        if state != self.state || self.revision.is_none() {
            let value = serde_json::to_vec(&state).map_err(|source| PipelineError::ReadState { source })?;
            writes.push(Write::State { key: loop_state::KEY.to_owned(), expected: self.revision, value });
        }
        let moves_state = matches!(writes.last(), Some(Write::State { .. }));
        self.stores.meta.commit(self.stores.fence, &self.settings.id, self.now(), writes).await?;
        if moves_state {
            self.revision = Some(self.revision.map_or(1, |revision| revision + 1));
            self.state = state;
        }
        Ok(())
    }
}
