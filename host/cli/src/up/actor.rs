//! One pipeline at work: the only task that touches it.
//!
//! The actor does one bounded step at a time (some polls, one look at labels, one transition of a run) and looks into its inbox in
//! between, so that a person who rolls back does not wait for a backlog. Training is done beside it, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidegate_model::Trained;
use tidegate_pipeline::{
    BACKOFF_MS, Backoff, DriftedWindow, Estimates, Event, Outcome, Pipeline, PipelineError, Replacement, SampleSize, SourceState, Terms,
    clean_again, drop_dead_letter, import, ingest_some, promote, readmit, release_plugin, retry_dead_letters, roll_back,
};
use tidegate_policy::{Moment, outlook};
use tidegate_serve::{DriftStatus, EstimateStatus, Node};
use tidegate_store::Upkeep;
use tidegate_vocab::{Clock as _, RunId};
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::check::Check;
use super::control::{Answer, Command};
use super::observer::show_training;
use super::replay::Replay;
use super::rolling::RolloutPace;
use super::routes::Router;
use crate::compose::clock::SystemClock;
use crate::config::Config;
use crate::failure::Failure;
use crate::shadow::{Samples, Spot, samples};

/// Messages that wait for an actor at most; whoever sends more waits.
pub const INBOX_MAX: usize = 64;
/// Polls of one step.
const POLLS_MAX: u64 = 4;
/// The shortest and the longest time between two polls of a source that has nothing, whatever it asks for.
const IDLE_MS: (u64, u64) = (100, 60_000);

/// What an actor is told.
pub enum Message {
    /// Labels came, or something else that is worth a look.
    Wake,
    /// Somebody mended what held the pipeline up: it is tried again at once.
    Mended,
    /// Somebody posted to the trigger of this name.
    Posted(String),
    /// An operator asks for something.
    Command(Command, oneshot::Sender<Answer>),
    /// Plugins take the place of others, and settings that of others. The answer is why they could not.
    Swap(Swap, oneshot::Sender<Result<(), String>>),
    /// Somebody wants to try a plugin on what the one in use was given lately.
    Samples(Spot, SampleSize, oneshot::Sender<Result<Samples, String>>),
    /// Something that the journal should tell.
    Note(&'static str, serde_json::Value),
}

/// What takes the place of what, between two steps: all of it or nothing.
pub struct Swap {
    /// Plugins.
    pub plugins: Vec<Replacement>,
    /// The settings in force from here on, and what the pipeline is told of them; none where they stay.
    pub under: Option<(Arc<Config>, Terms)>,
}

/// One pipeline and what it works with.
pub struct Actor {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Where it shows what it does.
    pub board: Board,
    /// Where its champion is announced.
    pub router: Router,
    /// The history that is replayed, if one is.
    pub replay: Option<Replay>,
    /// How a version is checked before it is rolled out.
    pub check: Check,
    /// Listings that cleaning again needs.
    pub upkeep: Arc<dyn Upkeep>,
    /// Held to read at every step, and to write by whoever must find all pipelines at rest.
    pub quiet: Arc<RwLock<()>>,
    /// Why there is no room for new rows.
    pub no_room: watch::Receiver<Option<String>>,
    /// Set when the host stops.
    pub stop: CancellationToken,
}

/// What is remembered between steps, and may be lost.
struct Pace {
    poll_at: Instant,
    backoff: Backoff,
    /// The last poll failed: a look at labels that goes well in between does not mend the source.
    poll_failed: bool,
    source: SourceState,
    training: Option<(RunId, JoinHandle<Result<Trained, PipelineError>>)>,
    cancel: Arc<AtomicBool>,
    rollout: RolloutPace,
}

impl Actor {
    /// Works until the host stops. Errors of steps are shown, logged and tried again; they end nothing.
    pub async fn run(mut self, inbox: &mut mpsc::Receiver<Message>) {
        let cancel = Arc::new(AtomicBool::new(false));
        let (backoff, source) = (Backoff::default(), SourceState::More);
        let mut pace =
            Pace { poll_at: Instant::now(), backoff, poll_failed: false, source, training: None, cancel, rollout: RolloutPace::new() };
        if let Err(error) = self.router.refresh(&mut self.pipeline).await {
            self.stalled(&error);
        }
        while !self.stop.is_cancelled() {
            let worked = match self.step(&mut pace).await {
                Ok(worked) => {
                    if !pace.poll_failed {
                        pace.backoff.succeeded();
                    }
                    worked
                }
                Err(error) => {
                    let wait_ms = pace.backoff.failed(error.retry_after_ms());
                    pace.poll_at = Instant::now() + Duration::from_millis(wait_ms);
                    self.stalled(&error.into());
                    self.show(&pace).await;
                    false
                }
            };
            let message = if worked { inbox.try_recv().ok() } else { self.rest(&mut pace, inbox).await };
            if let Some(message) = message {
                self.told(message, &mut pace).await;
            }
        }
        self.last_words(inbox).await;
        pace.cancel.store(true, Ordering::Relaxed);
        if let Some((run, training)) = pace.training.take() {
            // It leaves a checkpoint and ends; the next start goes on from there.
            let _ = training.await;
            tracing::info!(%run, "training broken off at a checkpoint");
        }
    }

    /// Notes that wait when the host stops are of things that have happened; whoever waits for an answer is told by its silence.
    async fn last_words(&mut self, inbox: &mut mpsc::Receiver<Message>) {
        while let Ok(message) = inbox.try_recv() {
            if let Message::Note(kind, body) = message
                && let Err(error) = self.pipeline.note(kind, body).await
            {
                self.stalled(&error.into());
            }
        }
    }

    /// One bounded piece of work; whether there may be more at once.
    async fn step(&mut self, pace: &mut Pace) -> Result<bool, PipelineError> {
        let quiet = Arc::clone(&self.quiet);
        let _at_work = quiet.read().await;
        let mut worked = self.roll_out(&mut pace.rollout).await?;
        let no_room = self.no_room.borrow().clone();
        let mut polled = Ok(false);
        if no_room.is_none() && Instant::now() >= pace.poll_at {
            polled = self.poll(pace).await;
            pace.poll_failed = polled.is_err();
        }
        // What is there is scored and judged whatever became of the rows that are to come.
        if self.pipeline.handle(Event::Observe).await? == Outcome::Moved {
            // A run began, or the guard took the champion back.
            self.announce().await;
            worked = true;
        }
        worked |= self.advance(pace).await?;
        worked |= polled?;
        if let Err(failure) = self.router.look_back(&mut self.pipeline).await {
            self.stalled(&failure);
        }
        self.show(pace).await;
        if let Some(why) = no_room {
            // What is there is still scored and judged, and served; rows wait at the source.
            self.board.write(|live| live.stalled = Some(why));
            pace.poll_at = Instant::now() + Duration::from_millis(BACKOFF_MS.1);
        }
        Ok(worked)
    }

    async fn poll(&mut self, pace: &mut Pace) -> Result<bool, PipelineError> {
        let polls_max = if self.replay.is_some() { 1 } else { POLLS_MAX };
        let ingested = ingest_some(&mut self.pipeline, polls_max).await?;
        pace.source = ingested.source;
        let pause_ms = match ingested.source {
            SourceState::More => 0,
            SourceState::Idle(retry_ms) => u64::from(retry_ms).clamp(IDLE_MS.0, IDLE_MS.1),
            SourceState::Finished => IDLE_MS.1,
        };
        let pause = match &mut self.replay {
            Some(replay) => replay.after(&ingested, self.pipeline.last_event_time()),
            None => Duration::from_millis(pause_ms),
        };
        pace.poll_at = Instant::now() + pause;
        if ingested.rows > 0 {
            let now = SystemClock.now();
            self.board.write(|live| live.last_rows_at = Some(now));
        }
        Ok(ingested.rows > 0)
    }

    /// Takes the open run further, training aside.
    async fn advance(&mut self, pace: &mut Pace) -> Result<bool, PipelineError> {
        if pace.training.is_some() {
            return Ok(false);
        }
        if self.replay.is_none()
            && let Some(work) = self.pipeline.training().await?
        {
            let (board, cancel) = (self.board.clone(), Arc::clone(&pace.cancel));
            let run = work.run.id;
            let training = tokio::task::spawn_blocking(move || {
                work.run(&mut |run, progress| {
                    show_training(&board, run, progress);
                    !cancel.load(Ordering::Relaxed)
                })
            });
            pace.training = Some((run, training));
            return Ok(false);
        }
        let outcome = self.pipeline.handle(Event::Advance).await?;
        let waiting = if let Outcome::Waiting { rows } = outcome { Some(rows) } else { None };
        self.board.write(|live| live.waiting_rows = waiting);
        if outcome == Outcome::Moved {
            self.announce().await;
        }
        Ok(outcome == Outcome::Moved)
    }

    /// Waits for whatever comes first: a message, the end of the training, the next poll, the end.
    async fn rest(&mut self, pace: &mut Pace, inbox: &mut mpsc::Receiver<Message>) -> Option<Message> {
        let training = async {
            match &mut pace.training {
                Some((run, training)) => (*run, training.await),
                None => std::future::pending().await,
            }
        };
        let requests = pace.rollout.look_due(self.router.split());
        let ended = tokio::select! {
            message = inbox.recv() => return message,
            () = requests => return None,
            (version, end) = pace.rollout.checked() => {
                let quiet = Arc::clone(&self.quiet);
                let _at_work = quiet.read().await;
                if let Err(failure) = self.check_ended(&mut pace.rollout, version, end).await {
                    self.stalled(&failure);
                }
                return None;
            }
            () = tokio::time::sleep_until(pace.poll_at) => return None,
            () = self.stop.cancelled() => return None,
            ended = training => ended,
        };
        pace.training = None;
        self.board.write(|live| live.progress = None);
        let (run, trained) = ended;
        let quiet = Arc::clone(&self.quiet);
        let _at_work = quiet.read().await;
        let trained = trained.unwrap_or(Err(PipelineError::Thread { step: "training" }));
        if let Err(error) = self.pipeline.trained(run, trained).await {
            self.stalled(&error.into());
        }
        None
    }

    async fn told(&mut self, message: Message, pace: &mut Pace) {
        let quiet = Arc::clone(&self.quiet);
        let _at_work = quiet.read().await;
        match message {
            Message::Wake => {}
            Message::Mended => pace.poll_at = Instant::now(),
            Message::Posted(name) => {
                if let Err(error) = self.pipeline.handle(Event::Posted { name }).await {
                    self.stalled(&error.into());
                }
            }
            Message::Note(kind, body) => {
                if let Err(error) = self.pipeline.note(kind, body).await {
                    self.stalled(&error.into());
                }
            }
            Message::Swap(swap, done) => {
                let replaced = self.swap(swap).await.map_err(|failure| failure.line());
                pace.poll_at = Instant::now();
                self.show(pace).await;
                let _ = done.send(replaced);
            }
            Message::Samples(of, size, answer) => {
                // Whoever asks waits no longer than for the answer.
                let _ = answer.send(samples(&mut self.pipeline, of, size).await.map_err(|error| error.to_string()));
            }
            Message::Command(command, answer) => {
                let told = self.execute(command).await.unwrap_or_else(Answer::from);
                pace.poll_at = Instant::now();
                self.announce().await;
                self.show(pace).await;
                let _ = answer.send(told);
            }
        }
    }

    async fn swap(&mut self, swap: Swap) -> Result<(), Failure> {
        let Swap { plugins, under } = swap;
        let Some((config, terms)) = under else { return Ok(self.pipeline.replace(plugins).await?) };
        // What requests pass through is limited and lent to by the settings too; it is announced once nothing can fail any more.
        let arms = self.router.loaded_under(&config).await?;
        self.pipeline.adopt(terms, plugins).await?;
        self.router.announce_anew(arms);
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<Answer, Failure> {
        let pipeline = &mut self.pipeline;
        Ok(match command {
            Command::Ingest => {
                let rows = ingest_some(pipeline, POLLS_MAX).await?.rows;
                Answer::Ingested { rows, rows_total: pipeline.rows_total() }
            }
            Command::Run { force, operator } => {
                let rows = ingest_some(pipeline, POLLS_MAX).await?.rows;
                pipeline.handle(Event::Observe).await?;
                if force {
                    pipeline.handle(Event::Manual { by: operator }).await?;
                }
                let run = pipeline.open_run().await?;
                let (run, trigger) = run.map_or((None, None), |run| (Some(run.id.to_string()), Some(run.trigger)));
                Answer::Running { rows, run, trigger }
            }
            Command::Promote { version, reason, operator } => {
                Answer::Decided { decision: Box::new(promote(pipeline, version, &operator, &reason).await?) }
            }
            Command::Rollback { version, reason, operator } => {
                Answer::Decided { decision: Box::new(roll_back(pipeline, version, &operator, &reason).await?) }
            }
            Command::Import { folder, reason, operator } => {
                let (weights, manifest) = crate::commands::model_files(&folder)?;
                let (weights, manifest) = (Bytes::from(weights), Bytes::from(manifest));
                Answer::Decided { decision: Box::new(import(pipeline, weights, manifest, &operator, &reason).await?) }
            }
            Command::Readmit { rows, reason, operator } => {
                Answer::CleanedAgain { again: readmit(pipeline, &rows, &operator, &reason).await? }
            }
            Command::Release { plugin, reason, operator } => {
                Answer::Released { strikes: release_plugin(pipeline, &plugin, &operator, &reason).await?.strikes.len() as u32 }
            }
            Command::RetryDeadLetters { number } => Answer::Retried { letters: retry_dead_letters(pipeline, number).await? },
            Command::DropDeadLetter { number, reason, operator } => {
                Answer::Dropped { dropped: drop_dead_letter(pipeline, number, &operator, &reason).await? }
            }
            Command::CleanAgain => Answer::CleanedAgain { again: clean_again(pipeline, &*self.upkeep).await? },
            Command::Labels { .. }
            | Command::Reload { .. }
            | Command::ReloadSettings { .. }
            | Command::ShowSettings
            | Command::TakeBack { .. }
            | Command::Collect
            | Command::AcceptContract { .. } => {
                return Err(Failure::usage("a pipeline does not take this command", "this is a bug of the host"));
            }
        })
    }

    /// Tells the server who answers now.
    pub(super) async fn announce(&mut self) {
        if let Err(error) = self.router.refresh(&mut self.pipeline).await {
            self.stalled(&error);
        }
    }

    fn stalled(&self, failure: &Failure) {
        let pipeline = &self.pipeline.settings().id;
        metrics::counter!("tidegate_pipeline_errors_total", "pipeline" => pipeline.to_string()).increment(1);
        let text = failure.line();
        // A person has been told once; that nothing has changed is no news.
        if self.board.read().stalled.as_ref() != Some(&text) {
            tracing::error!(%pipeline, "{text}");
        }
        self.board.write(|live| live.stalled = Some(text));
    }

    /// Writes on the board where the pipeline stands.
    async fn show(&mut self, pace: &Pace) {
        // Whatever keeps the store from telling stalls the next step, and is shown then.
        let moment = self.pipeline.moment().await.unwrap_or_else(|_| Moment::at(self.pipeline.now()));
        let (pipeline, state) = (&self.pipeline, self.pipeline.state());
        let settings = pipeline.settings();
        let now = pipeline.now();
        let next = outlook(&settings.triggers, &state.triggers, &moment);
        let components = pipeline.plugins().components().collect();
        let quality = state.quality.points();
        let (struck, dead_letters) = (pipeline.struck(), pipeline.dead_letters().clone());
        let rollout = self.rollout_status();
        let drift = pipeline.drift().windows.last().map(drift_status);
        let estimate = estimate_status(pipeline.estimates());
        let guard = pipeline.guard();
        let guard = guard.version.filter(|_| pipeline.settings().guard.is_some()).map(|_| guard.reason.clone());
        self.board.write(|live| {
            live.now = now;
            live.rows = pipeline.rows_total();
            if !pace.poll_failed {
                live.stalled = None;
            }
            // A replay trains between two steps, and leaves its progress behind.
            live.progress = live.progress.filter(|_| pace.training.is_some());
            live.next = next;
            live.rollout = rollout;
            live.drift = drift;
            live.estimate = estimate;
            live.guard = guard;
            live.chain = Some(pipeline.chain());
            live.components = components;
            live.struck = struck;
            live.dead_letters = dead_letters;
            if live.quality.as_slice() != quality {
                live.quality = Arc::new(quality.to_vec());
            }
            (live.at, live.doing) = match (&pace.training, live.waiting_rows, pace.source) {
                (Some(_), ..) => (Node::Train, live.doing.clone()),
                (None, Some(0), _) => (Node::Gate, "the gate waits: its held-out rows were inconclusive".to_owned()),
                (None, Some(rows), _) => (Node::Gate, format!("the gate waits for {rows} more labelled rows")),
                (None, None, SourceState::More) => (Node::Cleaners, "taking rows in".to_owned()),
                (None, None, SourceState::Idle(_)) => (Node::Source, "waiting for rows".to_owned()),
                (None, None, SourceState::Finished) => (Node::Source, "the source has ended".to_owned()),
            };
        });
    }
}

/// What the newest window of estimates says.
fn estimate_status(estimates: &Estimates) -> Option<EstimateStatus> {
    let (newest, score) = (estimates.windows.last()?, &estimates.score);
    Some(EstimateStatus {
        version: newest.version,
        rows: newest.estimated,
        accuracy: newest.accuracy.value,
        band: newest.accuracy.band,
        reference: newest.reference,
        compared: score.distance.count,
        distance: (score.distance.count > 0).then_some(score.distance.mean),
    })
}

fn drift_status(window: &DriftedWindow) -> DriftStatus {
    let looks = std::iter::once(&window.features).chain(&window.predictions);
    let features = looks.flat_map(|look| look.features.iter().map(|of| (of.name.clone(), of.effect, of.usual, of.drifts)));
    let (version, rows, at, reason) = (window.version, window.features.rows, window.at, window.reason());
    DriftStatus { version, rows, at, reason, features: features.collect() }
}
