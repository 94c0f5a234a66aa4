//! Rolling out a version that passed its gate: what each piece of news leads to, and what is left of it in the store.

use std::sync::Arc;

use tidegate_pipeline::{Answered, Event, Outcome, Pipeline, PipelineError, Silent, ingest_some, promote, roll_back};
use tidegate_policy::{ArmTally, CanaryMetric, CanarySettings, GateRows, HardFault, RolloutSettings, ShadowTally};
use tidegate_store::{Feedback as _, MetaStore as _};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{
    Alias, Clock as _, DecidedBy, DecisionKind, LoggedPrediction, PipelineId, SimulatedClock, Timestamp, TrafficArm, VersionNo,
    VersionState,
};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores, tally};

struct Loop {
    pipeline: Pipeline,
    store: Arc<MemoryStore>,
    clock: Arc<SimulatedClock>,
    history: Arc<History>,
    rollout: Option<RolloutSettings>,
    ungated: bool,
}

fn id() -> PipelineId {
    "test".parse().unwrap()
}

fn usual(shadow_requests: u64, steps: &[f64]) -> Option<RolloutSettings> {
    let canary = CanarySettings { steps: steps.to_vec(), requests_max: 400, burn_in: 50, ..CanarySettings::usual() };
    let metrics = canary.metrics.into_iter().filter(|(metric, _)| ["errors", "latency"].contains(&metric.word())).collect();
    Some(RolloutSettings { shadow_requests, agreement_min: 0.5, canary: CanarySettings { metrics, ..canary } })
}

impl Loop {
    async fn new(rollout: Option<RolloutSettings>) -> Loop {
        Loop::with(rollout, false).await
    }

    /// Every version passes at once.
    async fn ungated(rollout: Option<RolloutSettings>) -> Loop {
        Loop::with(rollout, true).await
    }

    async fn with(rollout: Option<RolloutSettings>, ungated: bool) -> Loop {
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US))));
        let history = Arc::new(History::new(2, 3_000));
        let pipeline = open(&store, &clock, &history, &rollout, ungated).await;
        Loop { pipeline, store, clock, history, rollout, ungated }
    }

    /// The same pipeline after a restart.
    async fn again(self) -> Loop {
        let pipeline = open(&self.store, &self.clock, &self.history, &self.rollout, self.ungated).await;
        Loop { pipeline, ..self }
    }

    /// Rows, runs and looks until a version is rolled out.
    async fn until_rolled_out(mut self) -> Loop {
        for _ in 0..200 {
            if self.pipeline.rollout().is_some() {
                return self;
            }
            self.tick().await;
        }
        panic!("nothing passed its gate");
    }

    async fn tick(&mut self) {
        ingest_some(&mut self.pipeline, 1).await.unwrap();
        if let Some(last) = self.pipeline.last_event_time() {
            self.clock.advance_to(last.plus_micros(86_400_000_000));
        }
        self.pipeline.handle(Event::Observe).await.unwrap();
        while self.pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
    }

    async fn checked(&mut self, found: Result<&str, &str>) {
        let version = self.rolled_out();
        let found = found.map(str::to_owned).map_err(str::to_owned);
        self.pipeline.handle(Event::Checked { version, found }).await.unwrap();
    }

    async fn answered(&mut self, shadow: ShadowTally, canary: ArmTally, control: ArmTally) -> Outcome {
        let version = self.rolled_out();
        self.pipeline.handle(Event::Answered(Box::new(Answered { version, shadow, canary, control }))).await.unwrap()
    }

    fn rolled_out(&self) -> VersionNo {
        self.pipeline.rollout().expect("no version is rolled out").version
    }

    async fn state_of(&self, version: VersionNo) -> VersionState {
        self.store.version(&id(), version).await.unwrap().unwrap().state
    }

    async fn champion(&self) -> Option<VersionNo> {
        self.store.alias(&id(), Alias::Champion).await.unwrap()
    }

    /// Kind, author and reason of the last decision about `version`.
    async fn last_decision(&self, version: VersionNo) -> (DecisionKind, DecidedBy, String) {
        let (_, decision) = self.store.decisions(&id(), Some(version)).await.unwrap().pop().unwrap();
        (decision.kind, decision.by, decision.reason)
    }
}

async fn open(
    store: &Arc<MemoryStore>,
    clock: &Arc<SimulatedClock>,
    history: &Arc<History>,
    rollout: &Option<RolloutSettings>,
    ungated: bool,
) -> Pipeline {
    let mut settings = settings(2, GateRows::Arriving);
    (settings.rollout, settings.ungated) = (rollout.clone(), ungated);
    let stores = stores(store, Arc::clone(clock) as _).await;
    Pipeline::open(settings, plugins(history), stores, Box::new(Silent)).await.unwrap()
}

fn mirrored(requests: u64, agreed: u64) -> ShadowTally {
    ShadowTally { requests, rows: requests, agreed, ..ShadowTally::default() }
}

fn none() -> ArmTally {
    ArmTally::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_version_goes_through_check_shadow_and_canary_and_serves_at_the_end() {
    let mut run = Loop::new(usual(100, &[0.1, 0.5])).await.until_rolled_out().await;
    let (new, before) = (run.rolled_out(), run.champion().await.unwrap());
    assert_ne!(new, before, "the first version has nobody to be compared with, and serves at once");
    assert_eq!(run.state_of(new).await, VersionState::Blessed);
    let (kind, by, _) = run.last_decision(new).await;
    assert_eq!((kind, by), (DecisionKind::Promote, DecidedBy::Gate));

    // Requests before the check say nothing.
    assert_eq!(run.answered(mirrored(100, 100), none(), none()).await, Outcome::Nothing);
    run.checked(Ok("it answered 64 rows")).await;
    assert_eq!(run.state_of(new).await, VersionState::Shadow);
    assert_eq!(run.answered(mirrored(60, 60), none(), none()).await, Outcome::Nothing);
    run = run.again().await;
    assert_eq!(run.pipeline.rollout().unwrap().reason, "continues: 60 of 100 requests mirrored", "a restart goes on where it stopped");
    assert_eq!(run.answered(mirrored(40, 35), none(), none()).await, Outcome::Moved);
    assert_eq!(run.state_of(new).await, VersionState::Canary);
    let share = |run: &Loop| run.pipeline.rollout().unwrap().share(run.rollout.as_ref().unwrap());
    assert_eq!(share(&run), 0.1);
    assert_eq!(run.answered(mirrored(0, 0), tally(80, 1_000), tally(80, 1_000)).await, Outcome::Moved);
    assert_eq!((share(&run), run.champion().await), (0.5, Some(before)));
    assert_eq!(run.answered(mirrored(0, 0), tally(400, 1_000), tally(400, 1_000)).await, Outcome::Moved);
    assert_eq!((run.champion().await, run.pipeline.rollout()), (Some(new), None));
    assert_eq!((run.state_of(new).await, run.state_of(before).await), (VersionState::Serving, VersionState::Retired));
    let (kind, by, reason) = run.last_decision(new).await;
    assert_eq!((kind, by), (DecisionKind::Promote, DecidedBy::Guard));
    assert!(reason.starts_with("through: no harm is shown after 480 requests an arm"), "{reason}");
    let told: Vec<String> = run
        .store
        .journal(Some(&id()), 0)
        .await
        .unwrap()
        .into_iter()
        .filter(|e| e.kind == "rollout")
        .map(|e| format!("{} {}", e.body["stage"].as_str().unwrap(), e.body["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(told, ["shadow next-step", "canary next-step", "canary next-step"]);
    run.store.verify_journal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_fails_is_taken_back_and_the_champion_stays() {
    #[derive(Debug)]
    enum Fails {
        Check,
        Shadow,
        Disagrees,
        HardFault,
        Errors,
    }
    for fails in [Fails::Check, Fails::Shadow, Fails::Disagrees, Fails::HardFault, Fails::Errors] {
        let mut run = Loop::new(usual(100, &[0.5])).await.until_rolled_out().await;
        let (new, before) = (run.rolled_out(), run.champion().await);
        let fault = Some(HardFault::ServerError);
        let (state, why) = match fails {
            Fails::Check => {
                run.checked(Err("its weights are gone")).await;
                (VersionState::InfraFailed, "failed its check in a fresh process: its weights are gone")
            }
            Fails::Shadow => {
                run.checked(Ok("fine")).await;
                run.answered(ShadowTally { hard_fault: fault, ..mirrored(1, 1) }, none(), none()).await;
                (VersionState::Quarantined, "rolled back: the shadow answered with an internal error, where the champion answered")
            }
            Fails::Disagrees => {
                run.checked(Ok("fine")).await;
                run.answered(mirrored(100, 49), none(), none()).await;
                (VersionState::Quarantined, "rolled back: the shadow agrees with the champion on 49.0 % of 100 rows, less than 50.0 %")
            }
            Fails::HardFault => {
                run.checked(Ok("fine")).await;
                run.answered(mirrored(100, 90), none(), none()).await;
                run.answered(mirrored(0, 0), ArmTally { hard_fault: fault, ..tally(1, 1) }, none()).await;
                (VersionState::Quarantined, "rolled back: the canary answered with an internal error, which stops it at once")
            }
            Fails::Errors => {
                run.checked(Ok("fine")).await;
                run.answered(mirrored(100, 90), none(), none()).await;
                run.answered(mirrored(0, 0), tally(300, 3), tally(300, 1_000)).await;
                (VersionState::Quarantined, "rolled back: errors 33.33 %, control 0.00 %")
            }
        };
        assert_eq!((run.state_of(new).await, run.pipeline.rollout(), run.champion().await), (state, None, before), "{fails:?}");
        let (kind, by, reason) = run.last_decision(new).await;
        assert_eq!((kind, by), (DecisionKind::Reject, DecidedBy::Guard), "{fails:?}");
        assert!(reason.starts_with(why), "{fails:?}: {reason}");
        assert_eq!(run.pipeline.state().triggers.rejections(), 1, "it counts as a rejection where triggers break off");
        run.store.verify_journal().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_run_starts_beside_a_rollout() {
    let mut run = Loop::new(usual(100, &[0.5])).await.until_rolled_out().await;
    let runs = run.store.runs(&id()).await.unwrap().len();
    for _ in 0..10 {
        run.tick().await;
    }
    assert_eq!(run.store.runs(&id()).await.unwrap().len(), runs, "500 more rows are due");
    let new = run.rolled_out();
    let refused = run.pipeline.handle(Event::Manual { by: "ada".into() }).await.unwrap_err();
    assert!(matches!(refused, PipelineError::RolloutOpen { version } if version == new));
    let hint = format!("a running `tidegate up` goes on with it; `tidegate promote {new}` or `tidegate rollback` ends it");
    assert_eq!(refused.hint(), Some(hint));
    run.checked(Err("no")).await;
    run.tick().await;
    assert_eq!(run.store.runs(&id()).await.unwrap().len(), runs + 1, "it was due all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn people_end_a_rollout_either_way() {
    let mut run = Loop::new(usual(100, &[0.5])).await.until_rolled_out().await;
    let (new, before) = (run.rolled_out(), run.champion().await);
    let decision = roll_back(&mut run.pipeline, None, "ada", "it looks odd").await.unwrap();
    assert_eq!((decision.kind, decision.version, decision.by), (DecisionKind::Reject, new, DecidedBy::Operator("ada".into())));
    assert_eq!((run.pipeline.rollout(), run.champion().await), (None, before));
    assert_eq!(run.state_of(new).await, VersionState::Quarantined);

    let mut run = Loop::new(usual(100, &[0.5])).await.until_rolled_out().await;
    let new = run.rolled_out();
    run.checked(Ok("fine")).await;
    promote(&mut run.pipeline, new, "ada", "it cannot wait").await.unwrap();
    assert_eq!((run.pipeline.rollout(), run.champion().await, run.state_of(new).await), (None, Some(new), VersionState::Serving));

    // And a third, by promoting another than the one that is rolled out.
    let mut run = run.until_rolled_out().await;
    let (newest, retired) = (run.rolled_out(), VersionNo(1));
    run.checked(Ok("fine")).await;
    assert_eq!(run.state_of(retired).await, VersionState::Retired);
    promote(&mut run.pipeline, retired, "ada", "that one").await.unwrap();
    assert_eq!((run.pipeline.rollout(), run.champion().await), (None, Some(retired)));
    assert_eq!((run.state_of(newest).await, run.state_of(new).await), (VersionState::RolledBack, VersionState::Retired));
    run.store.verify_journal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_taken_back_is_not_trained_again_on_the_same_rows() {
    let mut run = Loop::ungated(usual(100, &[0.5])).await.until_rolled_out().await;
    let new = run.rolled_out();
    run.checked(Ok("fine")).await;
    run.answered(mirrored(100, 1), none(), none()).await;
    let by_hand = async |run: &mut Loop| {
        run.pipeline.handle(Event::Manual { by: "ada".into() }).await.unwrap();
        while run.pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
        let last = run.store.runs(&id()).await.unwrap().pop().unwrap();
        (last.version, last.note)
    };
    let note = format!("not trained: {new} learned the same rows by the same settings and was taken back; new rows are needed");
    assert_eq!(by_hand(&mut run).await, (None, Some(note)), "not even when a person asks, who may promote it");
    ingest_some(&mut run.pipeline, 1).await.unwrap();
    run.clock.advance_to(run.pipeline.last_event_time().unwrap().plus_micros(86_400_000_000));
    let (version, note) = by_hand(&mut run).await;
    assert_eq!((version, note), (Some(VersionNo(new.0 + 1)), None), "new rows make another version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_settings_for_it_a_rollout_waits_for_a_person() {
    let run = Loop::new(usual(100, &[0.5])).await.until_rolled_out().await;
    let mut run = Loop { rollout: None, ..run }.again().await;
    let (new, before) = (run.rolled_out(), run.champion().await);
    run.checked(Ok("fine")).await;
    assert_eq!((run.state_of(new).await, run.champion().await), (VersionState::Blessed, before));
    run.tick().await;
    assert_eq!(run.rolled_out(), new);
    promote(&mut run.pipeline, new, "ada", "enough").await.unwrap();
    assert_eq!(run.champion().await, Some(new));
    assert!(run.clock.now() > Timestamp(ORIGIN_US));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn labels_that_come_later_say_which_arm_was_right() {
    let by_quality = || {
        let mut settings = usual(0, &[0.5])?;
        settings.canary.metrics = [(CanaryMetric::Quality, 0.02)].into_iter().collect();
        Some(settings)
    };
    let mut run = Loop::new(by_quality()).await.until_rolled_out().await;
    let (new, before) = (run.rolled_out(), run.champion().await.unwrap());
    run.checked(Ok("fine")).await;
    let since = run.clock.now();
    // 300 rows that are yet to come are asked about: the canary is wrong about each, and the control arm right.
    let (first, fence) = (run.pipeline.rows_total() as usize, run.store.take_fence("answers").await.unwrap());
    let answer = |row: usize, arm: TrafficArm, version: VersionNo, at: Timestamp| {
        let truth = run.history.rows[row][3].as_str();
        let predicted = if arm == TrafficArm::Canary && truth == "1" { "0" } else { "1" };
        let predicted = if arm == TrafficArm::Control { truth } else { predicted };
        LoggedPrediction {
            row_id: row.to_string(),
            at,
            version,
            predicted: predicted.to_owned(),
            probabilities: vec![0.5, 0.5],
            features: Default::default(),
            latency_ns: 1_000,
            arm: Some(arm),
        }
    };
    let earlier = Timestamp(since.0 - 1);
    let answers: Vec<LoggedPrediction> = (first..first + 300)
        .map(|row| match row % 6 {
            0 | 1 => answer(row, TrafficArm::Canary, new, since),
            2 | 3 => answer(row, TrafficArm::Control, before, since),
            // Of these none counts: another version answered, or before the canary began, or in no arm that is compared.
            4 if row % 12 == 4 => answer(row, TrafficArm::Canary, before, since),
            4 => answer(row, TrafficArm::Canary, new, earlier),
            _ => answer(row, TrafficArm::Rest, before, since),
        })
        .collect();
    run.store.log_predictions(fence, &id(), &answers).await.unwrap();
    run = run.again().await;
    for _ in 0..8 {
        run.tick().await;
    }
    let rollout = run.pipeline.rollout().unwrap();
    let of = |tally: &ArmTally| tally.measured.get(&CanaryMetric::Quality).map(|moments| (moments.count, moments.mean)).unwrap();
    let ((canary, _), (control, right)) = (of(&rollout.canary.canary), of(&rollout.canary.control));
    // Rows that the contract keeps out and labels that never come are in neither arm.
    assert!((90..=100).contains(&canary) && (90..=100).contains(&control), "{canary} and {control}");
    assert_eq!(right, 1.0);
    run.answered(mirrored(0, 0), tally(200, 1_000), tally(200, 1_000)).await;
    assert_eq!((run.state_of(new).await, run.champion().await), (VersionState::Quarantined, Some(before)));
    let (_, _, reason) = run.last_decision(new).await;
    assert!(reason.starts_with("rolled back: quality "), "{reason}");
}
