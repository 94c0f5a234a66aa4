//! Drivers of a pipeline on the real clock: all of ingest, and one pass.

use tidegate_vocab::{Decision, DecisionKind, Run, RunState};

use crate::{Event, Outcome, Pipeline, PipelineError};

/// What an ingest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Rows committed raw.
    pub rows: u64,
    /// Polls that brought rows.
    pub polls: u64,
    /// What the source said last.
    pub source: SourceState,
}

/// Whether a source has more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It may have more at once.
    #[default]
    More,
    /// Nothing now; it asked to be polled again after so many milliseconds.
    Idle(u32),
    /// Nothing ever again.
    Finished,
}

/// How one pass ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEnd {
    /// No trigger was due and no run was open.
    NothingDue,
    /// The gate waits for so many more labelled rows.
    Waiting {
        /// The run.
        run: Box<Run>,
        /// Rows still missing; 0 when held-out rows left it open.
        rows: u64,
    },
    /// The run came to a decision.
    Decided {
        /// The run.
        run: Box<Run>,
        /// The decision.
        decision: Box<Decision>,
    },
}

/// Polls until the source has nothing now, cleaning as it goes.
///
/// # Errors
/// What went wrong first; what was committed before stays.
pub async fn ingest_all(pipeline: &mut Pipeline) -> Result<Ingested, PipelineError> {
    let rows_max = pipeline.settings().poll_rows_max;
    pipeline.handle(Event::Clean).await?;
    pipeline.stream(rows_max, u64::MAX).await
}

/// The same, but stops after `polls_max` polls that brought rows, so that a service can do something else in between.
///
/// # Errors
/// What went wrong first; what was committed before stays.
pub async fn ingest_some(pipeline: &mut Pipeline, polls_max: u64) -> Result<Ingested, PipelineError> {
    let rows_max = pipeline.settings().poll_rows_max;
    pipeline.handle(Event::Clean).await?;
    pipeline.stream(rows_max, polls_max).await
}

/// Takes the open run, or the one that a trigger (or `by`) starts now, as far as it goes.
///
/// # Errors
/// What went wrong first; the run goes on from its last commit next time, unless it has failed for good.
pub async fn run_once(pipeline: &mut Pipeline, by: Option<&str>) -> Result<RunEnd, PipelineError> {
    pipeline.handle(Event::Observe).await?;
    if let Some(by) = by {
        pipeline.handle(Event::Manual { by: by.to_owned() }).await?;
    }
    let id = pipeline.settings().id.clone();
    let Some(open) = pipeline.stores.meta.open_run(&id).await? else { return Ok(RunEnd::NothingDue) };
    let decided_before = pipeline.stores.meta.decisions(&id, None).await?.len();
    loop {
        let outcome = pipeline.handle(Event::Advance).await?;
        let run = pipeline.stores.meta.run(&id, open.id).await?.unwrap_or_else(|| open.clone());
        if run.state == RunState::Done || matches!(outcome, Outcome::Waiting { .. }) {
            // A hold that was decided in this pass is what there is to tell, not only that the gate waits.
            let decisions = pipeline.stores.meta.decisions(&id, run.version).await?;
            let latest = decisions.into_iter().rfind(|(_, decision)| decision.run == Some(run.id));
            let is_new = |number: u64| number > decided_before as u64;
            if let Some((number, decision)) = latest
                && (run.state == RunState::Done || is_new(number))
            {
                return Ok(RunEnd::Decided { run: Box::new(run), decision: Box::new(decision) });
            }
        }
        match outcome {
            Outcome::Moved => {}
            Outcome::Waiting { rows } => return Ok(RunEnd::Waiting { run: Box::new(run), rows }),
            _ => return Ok(RunEnd::NothingDue),
        }
    }
}

impl RunEnd {
    /// The decision, if the pass came to one.
    pub fn decision(&self) -> Option<DecisionKind> {
        match self {
            RunEnd::Decided { decision, .. } => Some(decision.kind),
            RunEnd::Waiting { .. } => Some(DecisionKind::Hold),
            RunEnd::NothingDue => None,
        }
    }
}
