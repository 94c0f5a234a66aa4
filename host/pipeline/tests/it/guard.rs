//! A champion that turns out worse than the version before it is taken back by itself; one that does not, or that a person chose, stays.

use std::sync::Arc;

use tidegate_pipeline::{Event, GuardBook, Outcome, Pipeline, RolloutBook, Silent, ingest_some, promote};
use tidegate_policy::{Approval, GateRows, GuardSettings, GuardTally, TriggerKind};
use tidegate_store::MetaStore as _;
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{Alias, DecidedBy, Decision, DecisionKind, PipelineId, SimulatedClock, Timestamp, VersionNo, VersionState};

use crate::scripted::{History, ORIGIN_US, plugins, settings, stores};

const DAY_US: i64 = 86_400_000_000;
/// Rows of the first world.
const TURN: usize = 1_500;

fn id() -> PipelineId {
    "test".parse().unwrap()
}

fn guarded() -> Option<GuardSettings> {
    Some(GuardSettings { rows_max: 400, block_rows: 1, ..GuardSettings::usual() })
}

struct Lived {
    pipeline: Pipeline,
    store: Arc<MemoryStore>,
}

impl Lived {
    async fn champion(&self) -> Option<VersionNo> {
        self.store.alias(&id(), Alias::Champion).await.unwrap()
    }

    async fn decisions(&self) -> Vec<Decision> {
        self.store.decisions(&id(), None).await.unwrap().into_iter().map(|(_, decision)| decision).collect()
    }

    fn book(&self) -> &GuardBook {
        self.pipeline.guard()
    }
}

/// A world that turns for `turned` rows, in which a second version is trained and promoted, and goes back to what it was. A person
/// promotes where `by_hand`. The pipeline is opened again every `restart_every` ticks.
async fn lived(guard: Option<GuardSettings>, turned: usize, by_hand: bool, restart_every: usize) -> Lived {
    let mut history = History::new(4, 2 * TURN);
    let (first, second) = (History::new(4, 6_000).rows, history.rows.split_off(TURN));
    history.rows.extend(second.into_iter().take(turned));
    history.rows.extend(first.into_iter().skip(TURN).take(1_000));
    for (index, row) in history.rows.iter_mut().enumerate() {
        row[0] = index.to_string();
    }
    let (history, store) = (Arc::new(history), Arc::new(MemoryStore::new()));
    let clock = Arc::new(SimulatedClock::new(Timestamp(ORIGIN_US)));
    let open = async || {
        let mut settings = settings(4, GateRows::Arriving);
        (settings.guard, settings.window_rows, settings.ungated) = (guard, 250, false);
        settings.gate.looks_max = 1;
        settings.triggers[0].kind = TriggerKind::Volume { new_rows: 850 };
        settings.gate.approval = if by_hand { Approval::Operator } else { Approval::None };
        let stores = stores(&store, Arc::clone(&clock) as _).await;
        Pipeline::open(settings, plugins(&history), stores, Box::new(Silent)).await.unwrap()
    };
    let mut pipeline = open().await;
    for tick in 1..=(history.rows.len() / 50) {
        ingest_some(&mut pipeline, 1).await.unwrap();
        clock.advance_to(pipeline.last_event_time().unwrap().plus_micros(DAY_US));
        pipeline.handle(Event::Observe).await.unwrap();
        while pipeline.handle(Event::Advance).await.unwrap() == Outcome::Moved {}
        let waits = store.versions(&id()).await.unwrap().into_iter().find(|version| version.state == VersionState::AwaitingApproval);
        if let Some(waits) = waits {
            promote(&mut pipeline, waits.number, "ada", "I know better").await.unwrap();
        }
        if tick % restart_every == 0 {
            pipeline = open().await;
        }
    }
    Lived { pipeline, store }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_champion_that_turns_out_worse_is_taken_back() {
    let broken = lived(guarded(), 450, false, 1).await;
    let lived = lived(guarded(), 450, false, usize::MAX).await;
    let decisions = lived.decisions().await;
    let [first, second, back, rest @ ..] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!((first.kind, second.kind, second.by.clone()), (DecisionKind::Promote, DecisionKind::Promote, DecidedBy::Gate));
    let (one, two) = (VersionNo(1), VersionNo(2));
    assert_eq!((back.kind, back.version, back.parent, back.by.clone()), (DecisionKind::RollBack, one, Some(two), DecidedBy::Guard));
    let why = "v2 is taken back: right about 69.1 % of 340 rows, and the version before would have been about 81.5 %";
    assert!(back.reason.starts_with(why), "{}", back.reason);
    assert!(rest.iter().all(|decision| decision.version != two), "it never comes back: {rest:?}");
    assert_eq!(lived.champion().await, Some(one));
    assert_eq!(lived.store.version(&id(), two).await.unwrap().unwrap().state, VersionState::Quarantined);
    let book = lived.book();
    assert_eq!((book.version, book.before, book.tally), (Some(one), None, GuardTally::default()), "who was weighed is not weighed again");
    let rollouts = lived.store.state(&id(), "rollout").await.unwrap().unwrap().1;
    let rollouts: RolloutBook = serde_json::from_slice(&rollouts).unwrap();
    assert_eq!(rollouts.quarantined.iter().map(|known| known.version).collect::<Vec<_>>(), [two], "the same rows do not bring it back");
    lived.store.verify_journal().await.unwrap();
    assert_eq!(broken.decisions().await, decisions, "a restart after every step changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_is_taken_back_where_nobody_asks_or_a_person_decided() {
    for (guard, by_hand) in [(None, false), (guarded(), true)] {
        let lived = lived(guard, 450, by_hand, usize::MAX).await;
        let kinds: Vec<DecisionKind> = lived.decisions().await.iter().map(|decision| decision.kind).collect();
        assert!(!kinds.contains(&DecisionKind::RollBack), "{kinds:?}");
        assert!(lived.champion().await > Some(VersionNo(1)), "the second version served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_champion_that_holds_is_weighed_once() {
    let lived = lived(guarded(), 1_000, false, usize::MAX).await;
    assert_eq!(lived.champion().await, Some(VersionNo(2)));
    let book = lived.book();
    assert_eq!((book.version, book.before), (Some(VersionNo(2)), None));
    assert!(book.reason.starts_with("settled: right about "), "{}", book.reason);
    let told = lived.store.journal(Some(&id()), 0).await.unwrap().into_iter().filter(|entry| entry.kind == "guard").count();
    assert_eq!(told, 1);
}
