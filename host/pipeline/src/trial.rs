//! The trial fit: before a version is trained in full, would a small fit on the new rows beat the champion on the newest of them?
//!
//! Errors may have risen because the world has become harder, and rows may have come that say nothing new; a training would cost its
//! price and change nothing. A trial decides whether to train, never what serves: it is no version, and nothing of it is kept.

use std::sync::Arc;

use tidegate_model::{Calibration, Flow, Model, ModelSpec, train};
use tidegate_store::Write;
use tidegate_vocab::{Alias, Batch, Run, RunState, Seed, VersionNo};

use crate::judge::label_classes;
use crate::monitor::row_numbers;
use crate::{Outcome, Pipeline, PipelineError};

/// A trial passes this often less over its rows than the training it stands for.
const EPOCHS_DIVISOR: u32 = 4;

impl Pipeline {
    /// Whether a run that has its dataset goes on to training: its next transition.
    pub(crate) async fn begin_training(&mut self, run: &Run) -> Result<Outcome, PipelineError> {
        let why = match self.known_bad(run) {
            Some(why) => Some(why),
            None => self.trial(run).await?,
        };
        let Some(why) = why else {
            return self.step(run, Run { state: RunState::Training, ..run.clone() }, Vec::new()).await;
        };
        let next = Run { state: RunState::Done, note: Some(why), ..run.clone() };
        let mut state = self.state.clone();
        state.triggers.run_finished(self.now(), None);
        self.commit(state, vec![Write::Run { expected: run.state, run: next.clone() }]).await?;
        self.observer.run(&next, self.rows_total);
        Ok(Outcome::Moved)
    }

    /// Why training is not worth it; `None` where it is, or where nothing says so: no trial is asked for, a person asked for the run,
    /// nobody serves, or the champion has learned from the rows that would tell.
    async fn trial(&mut self, run: &Run) -> Result<Option<String>, PipelineError> {
        let wanted = self.settings.trial_rows;
        if wanted == 0 || run.by_hand {
            return Ok(None);
        }
        let Some(champion) = self.stores.meta.alias(&self.settings.id, Alias::Champion).await? else { return Ok(None) };
        let Some(record) = self.stores.meta.version(&self.settings.id, champion).await? else { return Ok(None) };
        let snapshot = self.snapshot_of(run).await?;
        let (rows, validation) = (self.lessons(&snapshot, "train").await?, self.lessons(&snapshot, "validation").await?);
        let (learned, tail) = if validation.row_count() > 0 { (rows, newest(&validation, wanted)) } else { split(&rows, wanted) };
        let seen = row_numbers(&tail).partition_point(|row| *row < record.trained_until_row);
        let tail = tail.slice(seen, tail.row_count() - seen);
        if (tail.row_count() as u64) * 2 < wanted || learned.row_count() == 0 {
            return Ok(None);
        }
        let trial = self.small_fit(&learned, Seed(run.seed).derive("trial"))?;
        let fitted = tokio::task::block_in_place(|| trial.predict(&tail));
        let (first_row, last_row) = crate::monitor::row_range(&tail);
        let unanswered = |source| PipelineError::Predict { version: VersionNo(0), first_row, last_row, source };
        let fitted = fitted.map_err(unanswered)?.predicted;
        let served = self.answers(champion, &tail).await?.predicted;
        let truth = label_classes(&tail, &self.settings.contract.label.classes);
        let right = |answers: &[u32]| truth.iter().zip(answers).filter(|(truth, answer)| **truth == Some(**answer)).count();
        let (fitted, served) = (right(&fitted), right(&served));
        let rows = tail.row_count();
        Ok((fitted <= served).then(|| {
            format!("not trained: a small fit answers {fitted} of the newest {rows} rows rightly, and the champion {champion} {served}")
        }))
    }

    fn small_fit(&self, rows: &Batch, seed: Seed) -> Result<Arc<Model>, PipelineError> {
        let full = &self.settings.model;
        let epochs_max = (full.epochs_max / EPOCHS_DIVISOR).max(1);
        let spec = ModelSpec { epochs_max, ensemble: 1, refit: false, calibration: Calibration::None, ..full.clone() };
        tokio::task::block_in_place(|| {
            let trained = train(&spec, &self.settings.contract, rows, &rows.slice(0, 0), seed, None, &mut |_| Flow::Continue);
            let artefact = trained.map_err(|source| PipelineError::Train { source })?.artefact;
            let loaded = Model::load(&artefact.weights, &artefact.manifest).map(Arc::new);
            loaded.map_err(|source| PipelineError::Load { version: VersionNo(0), source })
        })
    }
}

/// At most the last `count` rows.
fn newest(rows: &Batch, count: u64) -> Batch {
    split(rows, count).1
}

/// The rows before the last `count`, and those.
fn split(rows: &Batch, count: u64) -> (Batch, Batch) {
    let at = rows.row_count().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    (rows.slice(0, at), rows.slice(at, rows.row_count() - at))
}
