//! A world by seed: rows, labels that come late, never, or twice, plugins that crash, a clock that jumps, and a process that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::RngExt as _;
use tidegate_pipeline::{
    Answered, CleanPort, EvaluatePort, Event, Outcome, Pipeline, PipelineError, Plugins, Settings, Silent, Stores, ingest_some, promote,
    roll_back,
};
use tidegate_policy::{
    ArmTally, Brakes, CanarySettings, DriftSettings, GateRows, GuardSettings, HardFault, RolloutSettings, RowsMin, ShadowTally,
    TriggerKind, TriggerRule,
};
use tidegate_sandbox::{CallError, Cleaned};
use tidegate_store::{Feedback as _, MetaStore as _};
use tidegate_testkit::{MemoryStore, SeededRng, seeded_rng};
use tidegate_vocab::{Batch, Clock, LateLabel, MetricInfo, MetricTerms, PipelineId, Timestamp, VersionNo};

use crate::crashes::Mortal;
use crate::scripted::{Accuracy, ClipFirst, History, ORIGIN_US, crashed, plugins, settings, step, tally};

pub const DAY_US: i64 = 86_400_000_000;
/// Rows, one a day, of one poll.
const POLL_ROWS: u32 = 20;

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    Rows,
    Labels,
    Observe,
    Advance,
    Manual,
    Posted,
    Checked(bool),
    Requests { fails: bool, fault: bool },
    Promote(u32),
    RollBack,
    Jump(i64),
    Traps(i64),
    Dies { commits: i64, after: bool },
}

/// A clock that goes where it is put.
pub struct Jumpy(AtomicI64);

impl Clock for Jumpy {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Clips, unless it has to crash.
struct Trapping(Arc<AtomicI64>);

impl CleanPort for Trapping {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 { Err(crashed()) } else { ClipFirst.clean(rows) }
    }
}

impl EvaluatePort for Trapping {
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        Accuracy.metrics()
    }

    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 { Err(crashed()) } else { Accuracy.evaluate(scored) }
    }
}

pub struct World {
    pub store: Arc<MemoryStore>,
    pub pipeline: Pipeline,
    pub id: PipelineId,
    rng: SeededRng,
    clock: Arc<Jumpy>,
    /// How far the clock is from where it would be.
    off_us: i64,
    meta: Arc<Mortal>,
    traps: Arc<AtomicI64>,
    history: Arc<History>,
    /// Labels that are still to come: the day, the row, the class.
    labels: Vec<(i64, u64, String)>,
    pub deaths: u32,
    /// Whether versions are rolled out; else they serve once they have passed their gate.
    rolls_out: bool,
}

impl World {
    pub async fn new(seed: u64, days: usize) -> World {
        let mut rng = seeded_rng(seed);
        let mut history = History::new(seed, days);
        let mut labels = Vec::new();
        for (index, row) in history.rows.iter_mut().enumerate() {
            let class = std::mem::take(&mut row[3]);
            if class.is_empty() || rng.random_bool(0.05) {
                continue;
            }
            let day = index as i64 + rng.random_range(1..30);
            let other = if class == "0" { "1" } else { "0" };
            if rng.random_bool(0.05) {
                // Somebody says otherwise later.
                labels.push((day + rng.random_range(1..20), index as u64, other.to_owned()));
            }
            labels.push((day, index as u64, class));
        }
        let (store, history, traps) = (Arc::new(MemoryStore::new()), Arc::new(history), Arc::new(AtomicI64::new(0)));
        let clock = Arc::new(Jumpy(AtomicI64::new(ORIGIN_US)));
        let rolls_out = seed.is_multiple_of(2);
        let (pipeline, meta) = open(&store, &clock, &history, &traps, rolls_out).await;
        let id = "test".parse().unwrap();
        World { store, pipeline, id, rng, clock, off_us: 0, meta, traps, history, labels, deaths: 0, rolls_out }
    }

    /// Whether all rows are in.
    pub fn is_over(&self) -> bool {
        self.pipeline.rows_total() >= self.history.rows.len() as u64
    }

    pub fn next(&mut self) -> Happening {
        let rng = &mut self.rng;
        match rng.random_range(0..100) {
            0..22 => Happening::Rows,
            22..36 => Happening::Labels,
            36..52 => Happening::Observe,
            52..72 => Happening::Advance,
            72..74 => Happening::Manual,
            74..76 => Happening::Posted,
            76..80 => Happening::Checked(rng.random_bool(0.8)),
            80..88 => Happening::Requests { fails: rng.random_bool(0.1), fault: rng.random_bool(0.05) },
            88..89 => Happening::Promote(rng.random_range(1..10)),
            89..91 => Happening::RollBack,
            91..94 => Happening::Jump(rng.random_range(-40..40) * DAY_US),
            94..96 => Happening::Traps(rng.random_range(1..4)),
            _ => Happening::Dies { commits: rng.random_range(0..3), after: rng.random_bool(0.5) },
        }
    }

    /// Lets it happen; what the pipeline said, where it said no. A process that dies is started again.
    pub async fn happens(&mut self, happening: &Happening) -> Result<(), PipelineError> {
        let done = self.tried(happening).await;
        if self.meta.commits_left.load(Ordering::SeqCst) < 0 {
            self.deaths += 1;
            let (pipeline, meta) = open(&self.store, &self.clock, &self.history, &self.traps, self.rolls_out).await;
            (self.pipeline, self.meta) = (pipeline, meta);
            return Ok(());
        }
        done
    }

    async fn tried(&mut self, happening: &Happening) -> Result<(), PipelineError> {
        match happening {
            Happening::Rows => {
                ingest_some(&mut self.pipeline, 1).await?;
                self.tick();
            }
            Happening::Labels => self.label().await,
            Happening::Observe => _ = self.pipeline.handle(Event::Observe).await?,
            Happening::Advance => while self.pipeline.handle(Event::Advance).await? == Outcome::Moved {},
            Happening::Manual => _ = self.pipeline.handle(Event::Manual { by: "ada".into() }).await?,
            Happening::Posted => _ = self.pipeline.handle(Event::Posted { name: "nightly".into() }).await?,
            Happening::Checked(passes) => {
                let Some(version) = self.pipeline.rollout().map(|rollout| rollout.version) else { return Ok(()) };
                let found = if *passes { Ok("it answers".to_owned()) } else { Err("it does not load".to_owned()) };
                self.pipeline.handle(Event::Checked { version, found }).await?;
            }
            Happening::Requests { fails, fault } => {
                let Some(version) = self.pipeline.rollout().map(|rollout| rollout.version) else { return Ok(()) };
                let hard_fault = fault.then_some(HardFault::ServerError);
                let shadow = ShadowTally { requests: 10, rows: 10, agreed: 6, shed: 0, hard_fault };
                let canary = ArmTally { hard_fault, ..tally(40, if *fails { 3 } else { 1_000 }) };
                self.pipeline.handle(Event::Answered(Box::new(Answered { version, shadow, canary, control: tally(40, 1_000) }))).await?;
            }
            Happening::Promote(version) => _ = promote(&mut self.pipeline, VersionNo(*version), "ada", "to see").await?,
            Happening::RollBack => _ = roll_back(&mut self.pipeline, None, "ada", "to see").await?,
            Happening::Jump(off_us) => {
                self.off_us = *off_us;
                self.tick();
            }
            Happening::Traps(calls) => self.traps.store(*calls, Ordering::SeqCst),
            Happening::Dies { commits, after } => {
                let (pipeline, meta) =
                    open_mortal(&self.store, &self.clock, &self.history, &self.traps, *commits, *after, self.rolls_out).await;
                (self.pipeline, self.meta) = (pipeline, meta);
            }
        }
        Ok(())
    }

    /// The clock goes on with the rows, as far off as it is.
    fn tick(&mut self) {
        let now = ORIGIN_US + self.pipeline.rows_total() as i64 * DAY_US + self.off_us;
        self.clock.0.store(now, Ordering::SeqCst);
    }

    /// The labels of this day and of those before come in.
    async fn label(&mut self) {
        let (day, fence) = (self.pipeline.rows_total() as i64, self.store.take_fence("labels").await.unwrap());
        let due: Vec<_> = self.labels.extract_if(.., |(of, row, _)| *of <= day && (*row as i64) < day).collect();
        let label = |(of, row, class): &(i64, u64, String)| LateLabel {
            row_id: row.to_string(),
            class: class.clone(),
            known_at: Timestamp(ORIGIN_US + of * DAY_US),
        };
        let labels: Vec<LateLabel> = due.iter().map(label).collect();
        self.store.add_labels(fence, &self.id, self.clock.now(), &labels).await.unwrap();
        // Whoever takes the fence takes it from the loop, which is opened again as after a restart.
        let (pipeline, meta) = open(&self.store, &self.clock, &self.history, &self.traps, self.rolls_out).await;
        (self.pipeline, self.meta) = (pipeline, meta);
    }
}

async fn open(
    store: &Arc<MemoryStore>,
    clock: &Arc<Jumpy>,
    history: &Arc<History>,
    traps: &Arc<AtomicI64>,
    rolls_out: bool,
) -> (Pipeline, Arc<Mortal>) {
    open_mortal(store, clock, history, traps, i64::MAX, false, rolls_out).await
}

async fn open_mortal(
    store: &Arc<MemoryStore>,
    clock: &Arc<Jumpy>,
    history: &Arc<History>,
    traps: &Arc<AtomicI64>,
    commits_left: i64,
    dies_after: bool,
    rolls_out: bool,
) -> (Pipeline, Arc<Mortal>) {
    let fence = store.take_fence("loop").await.unwrap();
    let meta = Arc::new(Mortal { store: Arc::clone(store), commits_left: AtomicI64::new(commits_left), dies_after });
    let (blobs, queue, feedback) = (Arc::clone(store) as _, Arc::clone(store) as _, Arc::clone(store) as _);
    let stores = Stores { meta: Arc::clone(&meta) as _, blobs, queue, feedback, fence, clock: Arc::clone(clock) as _ };
    let trapping = Plugins {
        cleaners: vec![step("clip", Box::new(Trapping(Arc::clone(traps))) as Box<dyn CleanPort>)],
        evaluators: vec![step("accuracy", Box::new(Trapping(Arc::clone(traps))) as Box<dyn EvaluatePort>)],
        ..plugins(history)
    };
    (Pipeline::open(rules(rolls_out), trapping, stores, Box::new(Silent)).await.unwrap(), meta)
}

/// Small windows, two triggers that are often due at once, and all that watches.
fn rules(rolls_out: bool) -> Settings {
    let rule = |kind| TriggerRule { kind, brakes: Brakes { cooldown_rows: Some(20), ..Brakes::default() } };
    let mut settings = settings(3, GateRows::Arriving);
    settings.contract.label.by_id = true;
    (settings.window_rows, settings.poll_rows_max, settings.estimate_rows) = (200, POLL_ROWS, 100);
    settings.drift = Some(DriftSettings { window_rows: 300, ..DriftSettings::usual() });
    (settings.gate.rows_min, settings.gate.resamples) = (RowsMin::Rows(60), 200);
    settings.triggers = vec![
        rule(TriggerKind::Volume { new_rows: 100 }),
        rule(TriggerKind::Labels { new_labels: 90 }),
        rule(TriggerKind::Webhook { name: "nightly".into() }),
    ];
    let usual = CanarySettings::usual();
    let metrics = usual.metrics.iter().filter(|(metric, _)| metric.word() == "errors").map(|(metric, tau)| (*metric, *tau)).collect();
    let canary = CanarySettings { steps: vec![0.1, 0.5], requests_max: 120, burn_in: 20, metrics, ..usual };
    settings.guard = Some(GuardSettings { rows_max: 300, block_rows: 1, alpha: 0.9, margin: 0.0 });
    settings.rollout = rolls_out.then_some(RolloutSettings { shadow_requests: 20, agreement_min: 0.0, canary });
    settings
}
