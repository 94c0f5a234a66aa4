//! One pipeline: its settings, its plugins, its stores, and the dispatch of events.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_dataset::{LateLabels, PartCache, PartReader, chain_digest};
use tidegate_model::{LOOKBACK_ROWS_MAX, Progress};
use tidegate_policy::Gate;
use tidegate_sandbox::Alert;
use tidegate_store::Write;
use tidegate_vocab::{Contract, Decision, Digest, Run, Timestamp};

use crate::alerts::Unsent;
use crate::dead_letters::{self, DeadLetters};
use crate::drift::{self, DriftBook, DriftReferences};
use crate::estimates::{self, Estimates};
use crate::guard::{self, GuardBook};
use crate::ingest::Pending;
use crate::kept::Kept;
use crate::memory::{Memory, keepers};
use crate::models::Models;
use crate::pending::pending_of;
use crate::ports::cleaner_settings;
use crate::quarantine::Readmitted;
use crate::rollout::{self, RolloutBook};
use crate::strikes::{self, Ledger};
use crate::{
    AlertPort, CleanPort, EvaluatePort, Event, LoopState, Outcome, PipelineError, PluginStep, Plugins, ScoredRow, Settings, SourcePort,
    Stores, loop_state,
};

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
    /// The gate that takes the place of the one in `settings` when the next run starts.
    pub(crate) gate_due: Option<Gate>,
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
    /// Labels that came by id, of the rows that are still read.
    pub(crate) late: LateLabels,
    /// Predictions in the log when it was last counted: 0 until there are some.
    pub(crate) served: u64,
    /// The latest event time of the last cleaned part; a simulated clock follows it.
    pub(crate) last_event_time: Option<Timestamp>,
    /// Whether the contract in the settings is known to be the accepted one.
    pub(crate) contract_accepted: bool,
    /// How the plugins stand that have failed.
    pub(crate) ledger: Kept<Ledger>,
    /// Batches that were set aside.
    pub(crate) letters: Kept<DeadLetters>,
    /// The rollout under way, and what rollouts took back.
    pub(crate) rollouts: Kept<RolloutBook>,
    /// What has moved away from the rows that the champion learned from, and those rows.
    pub(crate) drift: Kept<DriftBook>,
    pub(crate) drift_references: Kept<DriftReferences>,
    /// Quality without labels.
    pub(crate) estimates: Kept<Estimates>,
    /// The champion against the version before.
    pub(crate) guard: Kept<GuardBook>,
    /// Alerts that are to be sent, and those that wait to be sent again.
    pub(crate) alerts_due: Vec<Alert>,
    pub(crate) unsent: VecDeque<Unsent>,
    /// What the cleaners that keep state remember.
    pub(crate) memory: Memory,
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
        let chain = chain_of(&plugins, &settings.contract);
        let (revision, state) = match stores.meta.state(&settings.id, loop_state::KEY).await? {
            Some((revision, bytes)) => {
                (Some(revision), serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?)
            }
            None => (None, LoopState::default()),
        };
        let ledger = Kept::of(&*stores.meta, &settings.id, strikes::KEY).await?;
        let letters = Kept::of(&*stores.meta, &settings.id, dead_letters::KEY).await?;
        let rollouts = Kept::of(&*stores.meta, &settings.id, rollout::KEY).await?;
        let drift = Kept::of(&*stores.meta, &settings.id, drift::KEY).await?;
        let drift_references = Kept::of(&*stores.meta, &settings.id, drift::REFERENCE_KEY).await?;
        let estimates = Kept::of(&*stores.meta, &settings.id, estimates::KEY).await?;
        let guard = Kept::of(&*stores.meta, &settings.id, guard::KEY).await?;
        let backlog = Backlog::of(&settings, &stores, &state, &chain, &letters, &keepers(&plugins.cleaners)).await?;
        let late = late_labels(&settings, &stores, &state, backlog.rows_total).await?;
        let (readmitted_revision, readmitted) = Readmitted::of(&*stores.meta, &settings.id).await?;
        Ok(Pipeline {
            settings: Arc::new(settings),
            gate_due: None,
            stores,
            plugins,
            observer,
            chain,
            state,
            revision,
            models: Models::default(),
            parts: PartCache::new(PART_CACHE_BYTES_MAX),
            rows_total: backlog.rows_total,
            rows_cleaned: backlog.rows_cleaned,
            source_open: false,
            pending: backlog.pending,
            late,
            served: 0,
            last_event_time: backlog.last_event_time,
            contract_accepted: false,
            ledger,
            letters,
            rollouts,
            drift,
            drift_references,
            estimates,
            guard,
            alerts_due: Vec::new(),
            unsent: VecDeque::new(),
            memory: Memory::default(),
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
            Event::Observe => {
                self.send_again().await;
                self.observe().await
            }
            Event::Manual { by } => self.start_by_hand(&by).await,
            Event::Posted { name } => self.posted(&name).await,
            Event::Advance => self.advance().await,
            Event::Checked { version, found } => self.checked(version, found).await,
            Event::Answered(news) => self.answered_requests(*news).await,
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

    /// Rows up to this number went through the cleaners in use.
    pub fn rows_cleaned(&self) -> u64 {
        self.rows_cleaned
    }

    /// The cleaner chain that new parts go through.
    pub fn chain(&self) -> Digest {
        self.chain
    }

    /// Batches that were set aside.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.letters
    }

    /// How the plugins stand that have failed.
    pub fn standings(&self) -> &Ledger {
        &self.ledger
    }

    /// What it remembers between events.
    pub fn state(&self) -> &LoopState {
        &self.state
    }

    /// Its plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The event time of the last cleaned row.
    pub fn last_event_time(&self) -> Option<Timestamp> {
        self.last_event_time
    }

    /// Puts plugins in the place of those of their name, between two events: all of them or none. Rows that arrive from now on, and
    /// those that the next snapshot and the rows not yet scored need, go through the new ones; behind cleaners of which one keeps
    /// state, all rows that are there.
    ///
    /// # Errors
    /// What the store could not read; the old plugins stay then.
    pub async fn replace(&mut self, new: Vec<Replacement>) -> Result<(), PipelineError> {
        let (mut old, mut source_moved, mut cleaner_moved) = (Vec::new(), false, false);
        for replacement in new {
            source_moved |= matches!(replacement, Replacement::Source(_));
            cleaner_moved |= matches!(replacement, Replacement::Cleaner(..));
            old.extend(self.plugins.put(replacement));
        }
        if cleaner_moved {
            let chain = chain_of(&self.plugins, &self.settings.contract);
            let keepers = keepers(&self.plugins.cleaners);
            match Backlog::of(&self.settings, &self.stores, &self.state, &chain, &self.letters, &keepers).await {
                Ok(backlog) => {
                    self.chain = chain;
                    self.pending = backlog.pending;
                    self.rows_cleaned = backlog.rows_cleaned;
                }
                Err(error) => {
                    old.into_iter().for_each(|old| drop(self.plugins.put(old)));
                    return Err(error);
                }
            }
        }
        if source_moved {
            // It is opened at the committed cursor.
            self.source_open = false;
        }
        Ok(())
    }

    /// The run that has not ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn open_run(&self) -> Result<Option<Run>, PipelineError> {
        Ok(self.stores.meta.open_run(&self.settings.id).await?)
    }

    /// Puts a line into the journal.
    ///
    /// # Errors
    /// The store's.
    pub async fn note(&mut self, kind: &str, body: serde_json::Value) -> Result<(), PipelineError> {
        self.commit(self.state.clone(), vec![Write::Journal { kind: kind.to_owned(), body }]).await
    }

    /// Parts with the labels that came by id.
    pub(crate) fn reader(&self) -> PartReader<'_> {
        PartReader { blobs: &*self.stores.blobs, cache: &self.parts, late: &self.late }
    }

    /// What time it is for the pipeline.
    pub fn now(&self) -> Timestamp {
        self.stores.clock.now()
    }

    /// Commits `writes`, and `state` as the pipeline's new memory, together or not at all.
    pub(crate) async fn commit(&mut self, state: LoopState, mut writes: Vec<Write>) -> Result<(), PipelineError> {
        let moves_state = state != self.state || self.revision.is_none();
        if moves_state {
            let value = serde_json::to_vec(&state).map_err(|source| PipelineError::ReadState { source })?;
            writes.push(Write::State { key: loop_state::KEY.to_owned(), expected: self.revision, value });
        }
        self.stores.meta.commit(self.stores.fence, &self.settings.id, self.now(), writes).await?;
        if moves_state {
            self.revision = Some(self.revision.map_or(1, |revision| revision + 1));
            self.state = state;
        }
        Ok(())
    }
}

/// A plugin that takes the place of another; the number is its place among those of its kind.
pub enum Replacement {
    /// A source.
    Source(PluginStep<dyn SourcePort>),
    /// A cleaner.
    Cleaner(usize, PluginStep<dyn CleanPort>),
    /// An evaluator.
    Evaluator(usize, PluginStep<dyn EvaluatePort>),
    /// An alerter.
    Alerter(usize, PluginStep<dyn AlertPort>),
}

impl Plugins {
    /// Puts a plugin in its place; the one that was there, or nothing where there is no such place.
    fn put(&mut self, new: Replacement) -> Option<Replacement> {
        Some(match new {
            Replacement::Source(step) => Replacement::Source(std::mem::replace(&mut self.source, step)),
            Replacement::Cleaner(index, step) => Replacement::Cleaner(index, std::mem::replace(self.cleaners.get_mut(index)?, step)),
            Replacement::Evaluator(index, step) => Replacement::Evaluator(index, std::mem::replace(self.evaluators.get_mut(index)?, step)),
            Replacement::Alerter(index, step) => Replacement::Alerter(index, std::mem::replace(self.alerters.get_mut(index)?, step)),
        })
    }
}

/// The chain of these cleaners over rows of this contract.
pub fn chain_of(plugins: &Plugins, contract: &Contract) -> Digest {
    let settings_of = |step: &PluginStep<dyn CleanPort>| cleaner_settings(&step.config, step.columns.as_ref());
    let cleaners: Vec<_> = plugins.cleaners.iter().map(|step| (step.digest, settings_of(step))).collect();
    chain_digest(&cleaners, contract)
}

/// What is committed, and what of it is still to be cleaned.
struct Backlog {
    rows_total: u64,
    rows_cleaned: u64,
    pending: Pending,
    last_event_time: Option<Timestamp>,
}

impl Backlog {
    async fn of(
        settings: &Settings,
        stores: &Stores,
        state: &LoopState,
        chain: &Digest,
        letters: &DeadLetters,
        keepers: &[u32],
    ) -> Result<Backlog, PipelineError> {
        let raw = stores.meta.raw_parts(&settings.id, 0).await?;
        let cleaned = stores.meta.clean_parts(&settings.id, chain, 0).await?;
        let set_aside = raw.iter().map(|part| part.first_row).filter(|first_row| letters.holds(*first_row, chain));
        let done: std::collections::HashSet<u64> = cleaned.iter().map(|part| part.first_row).chain(set_aside).collect();
        let rows_total = raw.last().map_or(0, |part| part.first_row + part.row_count);
        let pending = match keepers.is_empty() {
            true => pending_of(&*stores.meta, settings, state, raw, &done).await?,
            // What such a cleaner makes of a part depends on all parts before it, so that it is given every one.
            false => raw.into_iter().filter(|part| !done.contains(&part.first_row)).collect(),
        };
        let pending: Pending = pending.into_iter().map(|part| (part, None)).collect();
        let rows_cleaned = pending.front().map_or(rows_total, |(part, _)| part.first_row);
        let last_event_time = cleaned.last().and_then(|part| part.event_time).map(|(_, last)| last);
        Ok(Backlog { rows_total, rows_cleaned, pending, last_event_time })
    }
}

/// Labels that came by id, of the rows that are still read: those of the next snapshot, with room, and those not yet scored.
async fn late_labels(settings: &Settings, stores: &Stores, state: &LoopState, rows_total: u64) -> Result<LateLabels, PipelineError> {
    if !settings.contract.label.by_id {
        return Ok(LateLabels::default());
    }
    let window_rows = settings.window_rows.saturating_mul(4).saturating_add(LOOKBACK_ROWS_MAX);
    let from = rows_total.saturating_sub(window_rows).min(state.observed_row);
    Ok(stores.feedback.labels_of_rows(&settings.id, from, Timestamp(i64::MAX)).await?.into_iter().collect())
}
