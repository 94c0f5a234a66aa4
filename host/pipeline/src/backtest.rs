//! Replaying a history on a simulated clock, through the events that a service handles.
//!
//! One tick is `step_rows` rows: they are ingested, the clock moves to the last of them, and everything is judged. A row is
//! answered by the version that serves when it arrives and scored when its label is known, so none is learned from before.

use std::sync::{Arc, Mutex};

use tidegate_policy::Scores;
use tidegate_vocab::{DecidedBy, Decision, DecisionKind, Run, RunState, SimulatedClock, Timestamp, VersionNo};

use crate::{Event, Observer, Outcome, Pipeline, PipelineError, Plugins, ScoredRow, Settings, Stores};

/// How a history is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BacktestSettings {
    /// Rows of one tick.
    pub step_rows: u32,
    /// The share of the history, from its start, that is not scored.
    pub warmup_share: f64,
}

/// Something worth a mark on the plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What.
    pub kind: MarkKind,
    /// Rows that had arrived.
    pub row: u64,
    /// When, on the simulated clock.
    pub at: Timestamp,
    /// The version it is about, where it has a number yet.
    pub version: Option<VersionNo>,
    /// Why, as a sentence.
    pub reason: String,
    /// The decision behind it.
    pub decision: Option<Decision>,
}

/// Kinds of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// A version was trained.
    Training,
    /// It became champion.
    Promotion,
    /// Its gate asked for more rows.
    Hold,
    /// It was rejected.
    Rejection,
    /// The run failed.
    Failure,
}

/// What a backtest found.
#[derive(Debug, Clone, PartialEq)]
pub struct Backtest {
    /// Every row in order, warm-up included.
    pub rows: Vec<ScoredRow>,
    /// The first scored row's position in `rows`.
    pub scored_from: usize,
    /// Of the scored rows: what was answered. Rows that no version answered count as wrong, and are counted in `unanswered`.
    pub model: Scores,
    /// Of the scored rows: each row's label is the one before.
    pub no_change: Scores,
    /// Of the scored rows: the commonest class of the warm-up.
    pub majority: Scores,
    /// Trainings, whatever became of them.
    pub trainings: u32,
    /// Looks that asked for more rows.
    pub holds: u32,
    /// Versions rejected.
    pub rejections: u32,
    /// Versions that became champion.
    pub promotions: u32,
    /// Scored rows that arrived before any version served.
    pub unanswered: u64,
    /// What happened, in order.
    pub marks: Vec<Mark>,
}

/// Replays all that `plugins.source` has. `outer` sees what the pipeline does as it happens.
///
/// # Errors
/// What stops a pipeline stops a backtest.
pub async fn backtest(
    settings: Settings,
    plugins: Plugins,
    stores: Stores,
    clock: Arc<SimulatedClock>,
    how: BacktestSettings,
    outer: Box<dyn Observer>,
) -> Result<Backtest, PipelineError> {
    let (delay, classes) = (settings.contract.label.delay_us, settings.contract.label.classes.clone());
    let positive = classes.iter().position(|class| *class == settings.positive_class).unwrap_or(classes.len() - 1) as u32;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let recorder = Recorder { seen: Arc::clone(&seen), clock: Arc::clone(&clock), outer };
    let mut pipeline = Pipeline::open(settings, plugins, stores, Box::new(recorder)).await?;
    loop {
        let polled = pipeline.handle(Event::Poll { rows_max: how.step_rows }).await?;
        pipeline.handle(Event::Clean).await?;
        if let Some(last) = pipeline.last_event_time {
            clock.advance_to(last);
        }
        let ended = !matches!(polled, Outcome::Rows(_));
        if ended && let Some(last) = pipeline.last_event_time {
            // The labels of the last rows become known after the last row has arrived.
            clock.advance_to(last.plus_micros(delay));
        }
        settle(&mut pipeline).await?;
        if ended {
            break;
        }
    }
    drop(pipeline);
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    Ok(summarise(seen, how, positive, classes.len()))
}

/// Judges everything that the newest rows allow.
async fn settle(pipeline: &mut Pipeline) -> Result<(), PipelineError> {
    pipeline.handle(Event::Observe).await?;
    while pipeline.handle(Event::Advance).await? == Outcome::Moved {}
    Ok(())
}

#[derive(Default)]
struct Seen {
    rows: Vec<ScoredRow>,
    marks: Vec<Mark>,
    trainings: u32,
}

struct Recorder {
    seen: Arc<Mutex<Seen>>,
    clock: Arc<SimulatedClock>,
    outer: Box<dyn Observer>,
}

impl Recorder {
    fn with(&self, note: impl FnOnce(&mut Seen, Timestamp)) {
        let now = tidegate_vocab::Clock::now(&*self.clock);
        note(&mut self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner), now);
    }
}

impl Observer for Recorder {
    fn committed(&mut self, rows: u64, total: u64) {
        self.outer.committed(rows, total);
    }

    fn scored(&mut self, rows: &[ScoredRow]) {
        self.with(|seen, _| seen.rows.extend_from_slice(rows));
        self.outer.scored(rows);
    }

    fn run(&mut self, run: &Run, at_row: u64) {
        let kind = match run.state {
            RunState::Evaluating => Some(MarkKind::Training),
            RunState::Failed => Some(MarkKind::Failure),
            _ => None,
        };
        if let Some(kind) = kind {
            let reason = run.note.clone().unwrap_or_else(|| run.trigger.clone());
            self.with(|seen, at| {
                seen.trainings += u32::from(kind == MarkKind::Training);
                seen.marks.push(Mark { kind, row: at_row, at, version: run.version, reason, decision: None });
            });
        }
        self.outer.run(run, at_row);
    }

    fn training(&mut self, run: &Run, progress: &tidegate_model::Progress<'_>) {
        self.outer.training(run, progress);
    }

    fn decided(&mut self, decision: &Decision, at_row: u64) {
        let kind = match decision.kind {
            DecisionKind::Promote | DecisionKind::RollBack => MarkKind::Promotion,
            DecisionKind::Hold => MarkKind::Hold,
            DecisionKind::Reject => MarkKind::Rejection,
        };
        let (version, reason) = (Some(decision.version), decision.reason.clone());
        debug_assert!(decision.kind != DecisionKind::RollBack || decision.by != DecidedBy::Gate, "a gate does not roll back");
        self.with(|seen, at| seen.marks.push(Mark { kind, row: at_row, at, version, reason, decision: Some(decision.clone()) }));
        self.outer.decided(decision, at_row);
    }
}

fn summarise(seen: Seen, how: BacktestSettings, positive: u32, classes: usize) -> Backtest {
    let Seen { rows, marks, trainings } = seen;
    let scored_from = ((rows.len() as f64 * how.warmup_share) as usize).min(rows.len());
    let known: Vec<(usize, u32)> = rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.truth?))).collect();
    let warm = known.partition_point(|(index, _)| *index < scored_from);
    let truth: Vec<u32> = known[warm..].iter().map(|(_, truth)| *truth).collect();
    // A class that does not exist is never right: an unanswered row counts as wrong.
    let nobody = classes as u32;
    let answered: Vec<u32> = known[warm..].iter().map(|(index, _)| rows[*index].predicted.unwrap_or(nobody)).collect();
    let before: Vec<u32> = (warm..known.len()).map(|at| at.checked_sub(1).map_or(nobody, |at| known[at].1)).collect();
    let warm_labels: Vec<u32> = known[..warm].iter().map(|(_, truth)| *truth).collect();
    let commonest = vec![tidegate_policy::majority(&warm_labels).unwrap_or(0); truth.len()];
    let scores = |predicted: &[u32]| Scores::of(&truth, predicted, &before, &commonest, positive);
    let (model, no_change, majority) = (scores(&answered), scores(&before), scores(&commonest));
    let count = |kind: MarkKind| marks.iter().filter(|mark| mark.kind == kind).count() as u32;
    Backtest {
        model,
        no_change,
        majority,
        trainings,
        holds: count(MarkKind::Hold),
        rejections: count(MarkKind::Rejection),
        promotions: count(MarkKind::Promotion),
        unanswered: answered.iter().filter(|class| **class == nobody).count() as u64,
        scored_from,
        rows,
        marks,
    }
}
