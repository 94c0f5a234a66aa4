//! The training of a run, as a piece of work that can be done beside the loop.
//!
//! [`Pipeline::training`] hands out everything it needs, [`TrainingWork::run`] does it on whatever thread the driver chooses, and
//! [`Pipeline::trained`] commits what came of it. A process that dies in between trains again, from the last checkpoint, and comes to
//! the same weights.

use std::sync::Arc;

use tidegate_model::{Checkpoint, Flow, Progress, Trained, train};
use tidegate_store::Write;
use tidegate_vocab::{Alias, Batch, ModelVersion, Run, RunId, RunState, Seed, ServingCleaner, Snapshot, VersionNo, VersionState};

use crate::rollout::fingerprint;
use crate::{Outcome, Pipeline, PipelineError, Settings, Stores};

/// Time between two checkpoints of a training.
const CHECKPOINT_US: i64 = 30_000_000;

/// A training that is to be done.
pub struct TrainingWork {
    /// The run it belongs to.
    pub run: Run,
    settings: Arc<Settings>,
    stores: Stores,
    training: Batch,
    validation: Batch,
    key: String,
    revision: Option<u64>,
    checkpoint: Option<Checkpoint>,
    runtime: tokio::runtime::Handle,
}

impl TrainingWork {
    /// Trains, from the last checkpoint of this run if there is one; long trainings leave a checkpoint every now and then. Blocks the
    /// thread until it is done. `on_progress` says whether to go on.
    ///
    /// # Errors
    /// [`PipelineError::Train`] when the rows or the settings do not allow it or `on_progress` said no, or the store's for a checkpoint.
    pub fn run(mut self, on_progress: &mut dyn FnMut(&Run, &Progress<'_>) -> bool) -> Result<Trained, PipelineError> {
        let (settings, clock) = (Arc::clone(&self.settings), Arc::clone(&self.stores.clock));
        let (training, validation) = (self.training.clone(), self.validation.clone());
        let (seed, checkpoint) = (Seed(self.run.seed), self.checkpoint.take());
        let mut last = clock.now();
        let mut unsaved: Option<PipelineError> = None;
        let mut each = |progress: &Progress<'_>| {
            let goes_on = on_progress(&self.run, progress);
            if let Some(checkpoint) = progress.checkpoint {
                if let Err(error) = self.save(checkpoint) {
                    unsaved = Some(error);
                    return Flow::Cancel;
                }
                return if goes_on { Flow::Continue } else { Flow::Cancel };
            }
            let now = clock.now();
            if now >= last.plus_micros(CHECKPOINT_US) || !goes_on {
                last = now;
                return Flow::Checkpoint;
            }
            Flow::Continue
        };
        let trained = train(&settings.model, &settings.contract, &training, &validation, seed, checkpoint.as_ref(), &mut each);
        match unsaved {
            Some(error) => Err(error),
            None => trained.map_err(|source| PipelineError::Train { source }),
        }
    }

    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), PipelineError> {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let digest = self.stores.blobs.put(checkpoint.as_bytes().to_vec().into()).await?;
            let write = Write::State { key: self.key.clone(), expected: self.revision, value: digest.as_bytes().to_vec() };
            self.stores.meta.commit(self.stores.fence, &self.settings.id, self.stores.clock.now(), vec![write]).await?;
            self.revision = Some(self.revision.map_or(1, |revision| revision + 1));
            Ok(())
        })
    }
}

impl Pipeline {
    /// The training of the open run, if that is what it waits for.
    ///
    /// # Errors
    /// What could not be read. A run whose rows cannot be read ends here.
    pub async fn training(&mut self) -> Result<Option<TrainingWork>, PipelineError> {
        let Some(run) = self.stores.meta.open_run(&self.settings.id).await? else { return Ok(None) };
        if run.state != RunState::Training {
            return Ok(None);
        }
        match self.work_of(&run).await {
            Ok(work) => Ok(Some(work)),
            Err(error) => self.ended(&run, error).await.map(|_| None),
        }
    }

    pub(crate) async fn work_of(&self, run: &Run) -> Result<TrainingWork, PipelineError> {
        let snapshot = self.snapshot_of(run).await?;
        let key = format!("checkpoint-{}", run.id);
        let stored = self.stores.meta.state(&self.settings.id, &key).await?;
        let revision = stored.as_ref().map(|(revision, _)| *revision);
        let checkpoint = match stored {
            Some((_, digest)) => self.checkpoint(&digest).await?,
            None => None,
        };
        Ok(TrainingWork {
            run: run.clone(),
            settings: Arc::clone(&self.settings),
            stores: self.stores.clone(),
            training: self.lessons(&snapshot, "train").await?,
            validation: self.lessons(&snapshot, "validation").await?,
            key,
            revision,
            checkpoint,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Commits what came of a training: the version, or the end of its run.
    ///
    /// # Errors
    /// That of the training, or the store's.
    pub async fn trained(&mut self, id: RunId, trained: Result<Trained, PipelineError>) -> Result<Outcome, PipelineError> {
        let run = self.stores.meta.run(&self.settings.id, id).await?.filter(|run| run.state == RunState::Training);
        let Some(run) = run else { return Ok(Outcome::Nothing) };
        let kept = match trained {
            Ok(trained) => self.keep_version(&run, trained).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.ended(&run, error).await,
        }
    }

    pub(crate) async fn keep_version(&mut self, run: &Run, trained: Trained) -> Result<Outcome, PipelineError> {
        let snapshot = self.snapshot_of(run).await?;
        let training = self.split_of(&snapshot, "train").await?;
        let validation = self.split_of(&snapshot, "validation").await?;
        let weights = self.stores.blobs.put(trained.artefact.weights.into()).await?;
        let manifest = self.stores.blobs.put(trained.artefact.manifest.into()).await?;
        let versions = self.stores.meta.versions(&self.settings.id).await?;
        let number = VersionNo(versions.last().map_or(1, |version| version.number.0 + 1));
        let model = self.settings.model_digest();
        let version = ModelVersion {
            number,
            state: VersionState::Challenger,
            run: run.id,
            parent: self.stores.meta.alias(&self.settings.id, Alias::Champion).await?,
            snapshot: snapshot.id(),
            weights,
            manifest,
            fingerprint: fingerprint(&snapshot.id(), &model, run.seed),
            trained_until_row: trained_until(&snapshot, &training, &validation),
            created_at: self.now(),
            serving: run.serving.clone(),
        };
        let next = Run { state: RunState::Evaluating, version: Some(number), ..run.clone() };
        self.step(run, next, vec![Write::NewVersion(version)]).await
    }

    /// The cleaners that the requests of a version pass through that is trained on what the loop holds now. Their components are kept,
    /// so that a plugin file that is replaced later takes nothing from a version that serves.
    pub(crate) async fn serving_cleaners(&self) -> Result<Vec<ServingCleaner>, PipelineError> {
        let mut serving = Vec::new();
        for step in self.plugins.cleaners.iter().filter(|step| step.serving) {
            let component = self.stores.blobs.put(step.component.clone()).await?;
            serving.push(ServingCleaner { plugin: step.name.clone(), component, config: step.config.clone() });
        }
        Ok(serving)
    }
}

fn trained_until(snapshot: &Snapshot, training: &Batch, validation: &Batch) -> u64 {
    let last = |rows: &Batch| crate::monitor::row_numbers(rows).last().map(|row| row + 1);
    let everything = snapshot.parts.last().map_or(0, |part| part.last_row + 1);
    last(validation).or_else(|| last(training)).unwrap_or(everything)
}
