//! The run state machine: trigger → snapshot → challenger → measurements → decision, one commit a transition.
//!
//! Whatever comes before the decision can be thrown away and done again: a process that dies in any state goes on from the last
//! commit, trains the same snapshot with the same seed, and comes to the same weights.

use std::sync::Arc;

use tidegate_dataset::{DatasetError, SnapshotRequest, plan_snapshot, read_rows, read_snapshot};
use tidegate_model::{Checkpoint, Family, Flow, LOOKBACK_ROWS_MAX, Model, ModelSpec, train};
use tidegate_policy::{GateRows, due, manual_held, next_look};
use tidegate_store::Write;
use tidegate_vocab::{
    Alias, Batch, DecidedBy, Decision, DecisionKind, Digest, ModelVersion, Run, RunId, RunState, Seed, Snapshot, Timestamp, VersionNo,
    VersionState,
};

use crate::judge::{Answers, label_classes};
use crate::{Outcome, Pipeline, PipelineError};

impl Pipeline {
    /// Starts a run by hand, unless one is open.
    pub(crate) async fn start_by_hand(&mut self, by: &str) -> Result<Outcome, PipelineError> {
        if self.stores.meta.open_run(&self.settings.id).await?.is_some() {
            return Ok(Outcome::Nothing);
        }
        if let Some(rollout) = self.rollout() {
            return Err(PipelineError::RolloutOpen { version: rollout.version });
        }
        let (mut state, moment) = (self.state.clone(), self.moment().await?);
        state.triggers.requested(by);
        let rules = &self.settings.triggers;
        if let Some(held) = manual_held(rules, &state.triggers, moment.now) {
            return Err(PipelineError::ManualHeld { held });
        }
        let reason = due(rules, &mut state.triggers, &moment).map_or_else(|| format!("{by} asked for it"), |due| due.reason);
        self.start_run(state, reason, true, Vec::new()).await?;
        Ok(Outcome::Moved)
    }

    /// Remembers that somebody posted under the name of a `webhook` trigger.
    pub(crate) async fn posted(&mut self, name: &str) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        state.triggers.posted(name);
        self.commit(state, Vec::new()).await?;
        Ok(Outcome::Nothing)
    }

    /// Commits a new run together with what the triggers remember of it, and `writes`.
    pub(crate) async fn start_run(
        &mut self,
        mut state: crate::LoopState,
        trigger: String,
        by_hand: bool,
        mut writes: Vec<Write>,
    ) -> Result<(), PipelineError> {
        let runs = self.stores.meta.runs(&self.settings.id).await?;
        let id = RunId(runs.last().map_or(1, |run| run.id.0 + 1));
        state.triggers.run_started(&self.moment().await?);
        let run = Run {
            id,
            state: RunState::Queued,
            trigger,
            seed: self.settings.seed.derive(&id.to_string()).0,
            started_at: self.now(),
            started_row: self.rows_total,
            snapshot: None,
            version: None,
            looks: 0,
            decision: None,
            note: None,
            by_hand,
            serving: Vec::new(),
        };
        writes.push(Write::NewRun(run.clone()));
        writes.extend(self.gate_line(id));
        self.commit(state, writes).await?;
        self.take_gate();
        self.observer.run(&run, self.rows_total);
        Ok(())
    }

    /// Takes the open run one transition further.
    pub(crate) async fn advance(&mut self) -> Result<Outcome, PipelineError> {
        let Some(run) = self.stores.meta.open_run(&self.settings.id).await? else { return Ok(Outcome::Nothing) };
        let done = match run.state {
            RunState::Queued => self.take_snapshot(&run).await,
            RunState::Snapshotted => self.begin_training(&run).await,
            RunState::Training => self.train(&run).await,
            RunState::Evaluating => self.step(&run, Run { state: RunState::Gating, ..run.clone() }, Vec::new()).await,
            RunState::Gating => self.look(&run).await,
            RunState::Done | RunState::Failed | RunState::Cancelled | RunState::Superseded => Ok(Outcome::Nothing),
        };
        match done {
            Err(error) => {
                let error = self.blamed(error).await;
                self.ended(&run, error).await
            }
            done => done,
        }
    }

    /// An error of a run: one that trying again cannot mend ends it.
    pub(crate) async fn ended(&mut self, run: &Run, error: PipelineError) -> Result<Outcome, PipelineError> {
        if ends_the_run(&error) { self.fail(run, error).await } else { Err(error) }
    }

    pub(crate) async fn step(&mut self, run: &Run, next: Run, mut writes: Vec<Write>) -> Result<Outcome, PipelineError> {
        writes.push(Write::Run { expected: run.state, run: next.clone() });
        self.commit(self.state.clone(), writes).await?;
        self.observer.run(&next, self.rows_total);
        Ok(Outcome::Moved)
    }

    async fn take_snapshot(&mut self, run: &Run) -> Result<Outcome, PipelineError> {
        let settings = Arc::clone(&self.settings);
        let held_out = settings.gate.rows == GateRows::HeldOut && !settings.ungated;
        let request = SnapshotRequest {
            chain: self.chain,
            cleaners: self.plugins.cleaners.iter().map(|step| step.digest).collect(),
            contract: &settings.contract,
            window_rows: Some(settings.window_rows),
            event_cutoff: self.now(),
            knowledge_cutoff: self.now(),
            validation_share: settings.model.validation_share,
            gate_rows: if held_out { settings.held_out_rows } else { 0 },
            lookback_rows: if settings.model.lags.is_empty() { 0 } else { LOOKBACK_ROWS_MAX },
        };
        let planned = loop {
            let parts = self.stores.meta.clean_parts(&settings.id, &self.chain, 0).await?;
            let planned = plan_snapshot(&self.reader(), &parts, &request).await;
            let is_short = match &planned {
                Ok(snapshot) => snapshot.row_count < settings.window_rows,
                Err(error) => matches!(error, DatasetError::SnapshotEmpty { .. }),
            };
            // Rows that were taken in behind another chain count too, once this one has cleaned them.
            if !is_short || !self.clean_older().await? {
                break planned;
            }
        };
        let snapshot = planned.map_err(|source| PipelineError::Dataset { first_row: 0, last_row: self.rows_total, source })?;
        let serving = self.serving_cleaners().await?;
        let next = Run { state: RunState::Snapshotted, snapshot: Some(snapshot.id()), serving, ..run.clone() };
        self.step(run, next, vec![Write::Snapshot(snapshot)]).await
    }

    pub(crate) async fn snapshot_of(&self, run: &Run) -> Result<Snapshot, PipelineError> {
        let missing = || PipelineError::Missing { what: format!("the snapshot of {}", run.id) };
        let id = run.snapshot.ok_or_else(missing)?;
        self.stores.meta.snapshot(&id).await?.ok_or_else(missing)
    }

    pub(crate) async fn split_of(&self, snapshot: &Snapshot, name: &str) -> Result<Batch, PipelineError> {
        let rows = read_snapshot(&*self.stores.blobs, &self.parts, snapshot).await;
        let rows = rows.map_err(|source| PipelineError::Dataset { first_row: 0, last_row: self.rows_total, source })?;
        Ok(match snapshot.split(name) {
            Some(split) => rows.slice(split.start as usize, (split.end - split.start) as usize),
            None => rows.slice(0, 0),
        })
    }

    /// The classes of the rows that a run trained on, for the majority baseline.
    pub(crate) async fn training_classes(&self, run: &Run) -> Result<Vec<u32>, PipelineError> {
        let snapshot = self.snapshot_of(run).await?;
        let rows = self.split_of(&snapshot, "train").await?;
        Ok(label_classes(&rows, &self.settings.contract.label.classes).into_iter().flatten().collect())
    }

    async fn train(&mut self, run: &Run) -> Result<Outcome, PipelineError> {
        let work = self.work_of(run).await?;
        let observer = &mut self.observer;
        let trained = tokio::task::block_in_place(|| {
            work.run(&mut |run, progress| {
                observer.training(run, progress);
                true
            })
        });
        self.keep_version(run, trained?).await
    }

    /// What a linear model trained on the run's own rows answers: the honest floor that a rule can name.
    pub(crate) async fn linear_answers(&self, run: &Run, rows: &Batch) -> Result<Answers, PipelineError> {
        let snapshot = self.snapshot_of(run).await?;
        let (training, validation) = (self.lessons(&snapshot, "train").await?, self.lessons(&snapshot, "validation").await?);
        let spec = ModelSpec { lags: self.settings.model.lags.clone(), ..ModelSpec::new(Family::Linear) };
        let contract = &self.settings.contract;
        let version = run.version.unwrap_or(VersionNo(0));
        let model = tokio::task::block_in_place(|| {
            let trained = train(&spec, contract, &training, &validation, Seed(run.seed), None, &mut |_| Flow::Continue);
            let artefact = trained.map_err(|source| PipelineError::Train { source })?.artefact;
            let model = Model::load(&artefact.weights, &artefact.manifest);
            model.map(Arc::new).map_err(|source| PipelineError::Load { version, source })
        })?;
        self.asked(version, &model, rows).await
    }

    pub(crate) async fn checkpoint(&self, digest: &[u8]) -> Result<Option<Checkpoint>, PipelineError> {
        let Ok(bytes) = <[u8; 32]>::try_from(digest) else { return Ok(None) };
        let bytes = self.stores.blobs.get(&Digest::from_bytes(bytes)).await?;
        Ok(Some(Checkpoint::from_bytes(bytes)))
    }

    /// Judges the challenger, if enough rows are there for the next look.
    async fn look(&mut self, run: &Run) -> Result<Outcome, PipelineError> {
        let missing = || PipelineError::Missing { what: format!("the version of {}", run.id) };
        let number = run.version.ok_or_else(missing)?;
        let version = self.stores.meta.version(&self.settings.id, number).await?.ok_or_else(missing)?;
        if self.settings.ungated {
            let decision = self.ungated(run, &version).await?;
            return self.decide(run.clone(), version, decision, true, None).await;
        }
        let judged = match self.settings.gate.rows {
            GateRows::HeldOut => {
                let snapshot = self.snapshot_of(run).await?;
                let rows = self.split_of(&snapshot, "gate").await?;
                self.judged(snapshot.chain, &self.unseen_by_champion(rows).await?).await?
            }
            GateRows::Arriving => {
                let needed = next_look(&self.settings.gate, run.looks).unwrap_or(u64::MAX);
                let known = self.labelled_since(self.chain, version.trained_until_row, self.now()).await?;
                let judged = self.judged(self.chain, &known).await?;
                let arrived = judged.rows.row_count() as u64;
                if arrived < needed {
                    return Ok(Outcome::Waiting { rows: needed - arrived });
                }
                judged
            }
        };
        if self.settings.gate.rows == GateRows::HeldOut && run.looks > 0 {
            // Held-out rows do not grow: another look at them would say the same.
            return Ok(Outcome::Waiting { rows: 0 });
        }
        self.judge(run.clone(), version, judged, run.looks + 1).await
    }

    /// Rows behind `chain` from row `from` on, with the labels that were known by then.
    pub(crate) async fn labelled_since(&self, chain: Digest, from: u64, known_by: Timestamp) -> Result<Batch, PipelineError> {
        let parts = self.stores.meta.clean_parts(&self.settings.id, &chain, from).await?;
        let to = if chain == self.chain { self.rows_cleaned } else { self.rows_total };
        let read = read_rows(&self.reader(), &self.settings.contract, &parts, from, to, Some(known_by)).await;
        read.map_err(|source| PipelineError::Dataset { first_row: from, last_row: to, source })
    }

    /// Of held-out rows, those that the champion was not trained on either.
    async fn unseen_by_champion(&self, rows: Batch) -> Result<Batch, PipelineError> {
        let Some(champion) = self.stores.meta.alias(&self.settings.id, Alias::Champion).await? else { return Ok(rows) };
        let Some(champion) = self.stores.meta.version(&self.settings.id, champion).await? else { return Ok(rows) };
        let numbers = crate::monitor::row_numbers(&rows);
        let start = numbers.partition_point(|row| *row < champion.trained_until_row);
        Ok(rows.slice(start, rows.row_count() - start))
    }

    async fn ungated(&self, run: &Run, version: &ModelVersion) -> Result<Decision, PipelineError> {
        Ok(Decision {
            kind: DecisionKind::Promote,
            version: version.number,
            parent: self.stores.meta.alias(&self.settings.id, Alias::Champion).await?,
            by: DecidedBy::Operator("--no-gate".to_owned()),
            at: self.now(),
            run: Some(run.id),
            look: 0,
            evidence: None,
            rules: Vec::new(),
            reason: "promoted without a gate".to_owned(),
        })
    }

    /// Ends the run with an error that trying again cannot mend, and says so to the alerters.
    async fn fail(&mut self, run: &Run, error: PipelineError) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        state.triggers.run_failed(self.now());
        let cause = chain_text(&error);
        let next = Run { state: RunState::Failed, note: Some(cause.clone()), ..run.clone() };
        let mut writes = vec![Write::Run { expected: run.state, run: next.clone() }];
        // A version that could not be judged never will be: the next run trains its own.
        if let Some(number) = run.version
            && let Some(version) = self.stores.meta.version(&self.settings.id, number).await?
            && version.state.may_become(VersionState::Rejected)
        {
            writes.push(Write::VersionState { version: number, expected: version.state, to: VersionState::Rejected });
        }
        self.commit(state, writes).await?;
        self.observer.run(&next, self.rows_total);
        self.alert_failure(&next, &cause).await;
        Err(error)
    }
}

/// Whether an error lies in the data or the settings of a run, so that the same run would fail again.
fn ends_the_run(error: &PipelineError) -> bool {
    matches!(
        error,
        PipelineError::Train { .. } | PipelineError::Lags { .. } | PipelineError::Judge { .. } | PipelineError::MetricTwice { .. }
    ) || matches!(error, PipelineError::Dataset { source, .. } if !matches!(source, DatasetError::Fetch { .. }))
}

/// An error and its causes on one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
