//! Thousands of simulated days through the events that a service handles, with everything going wrong that can; after each event, all
//! that always holds is looked at. A seed says everything.
//!
//! `SIMULATION_SEED=N` runs one seed, `SIMULATION_SEEDS=N` so many, `SIMULATION_DAYS=N` each for so many days.

mod invariants;
mod world;

use std::collections::VecDeque;

use tidegate_store::{JournalHead, MetaStore as _};
use tidegate_vocab::{DecidedBy, DecisionKind, VersionNo, VersionState};

use self::invariants::{Before, Facts};
use self::world::{Happening, World};

/// Seeds and days of the ordinary test.
const SEEDS: u64 = 8;
const DAYS: usize = 2_000;
/// Events between two walks along the journal.
const VERIFIED_EVERY: u64 = 50;
/// Events that a failure tells of.
const TOLD_MAX: usize = 20;

/// What a life came to.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    journal: JournalHead,
    events: u64,
    deaths: u32,
    runs: usize,
    promotions: usize,
    rolled_out: usize,
    taken_back: usize,
    /// Champions that the guard took back.
    guarded: usize,
    /// Events that the pipeline refused.
    refused: u64,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Lives `seed` to the end of its rows; the first invariant that breaks ends it with all that is needed to see it again.
async fn live(seed: u64, days: usize) -> Result<(Life, Facts), String> {
    let mut world = World::new(seed, days).await;
    let (mut before, mut told, mut events, mut refused) = (Before::default(), VecDeque::<Happening>::new(), 0, 0);
    while !world.is_over() {
        let happening = world.next();
        told.push_back(happening.clone());
        if told.len() > TOLD_MAX {
            told.pop_front();
        }
        refused += u64::from(world.happens(&happening).await.is_err());
        events += 1;
        let facts = Facts::of(&world.store, &world.pipeline, &world.id).await;
        let broken = facts.broken(&before).map(|(name, why)| (name.to_owned(), why));
        let walked = if events % VERIFIED_EVERY == 0 { world.store.verify_journal().await.err() } else { None };
        let broken = broken.or(walked.map(|error| ("the journal verifies".to_owned(), error.to_string())));
        if let Some((name, why)) = broken {
            return Err(format!(
                "seed {seed}, day {}, event {events}: `{name}` is broken: {why}\nthe last events: {told:#?}\n\
                 again: SIMULATION_SEED={seed} SIMULATION_DAYS={days} cargo test -p tidegate-pipeline --test it simulation",
                facts.raw.last().map_or(0, |part| part.first_row + part.row_count),
            ));
        }
        before = facts.remembered();
    }
    let facts = Facts::of(&world.store, &world.pipeline, &world.id).await;
    let in_state = |states: &[VersionState]| facts.versions.iter().filter(|version| states.contains(&version.state)).count();
    let life = Life {
        journal: world.store.verify_journal().await.map_err(|error| error.to_string())?,
        events,
        deaths: world.deaths,
        runs: facts.runs.len(),
        promotions: facts.moves.len(),
        rolled_out: world.store.journal(Some(&world.id), 0).await.unwrap().iter().filter(|entry| entry.kind == "rollout").count(),
        taken_back: in_state(&[VersionState::Quarantined, VersionState::RolledBack, VersionState::InfraFailed]),
        guarded: facts.decisions.iter().filter(|(_, of)| of.by == DecidedBy::Guard && of.kind == DecisionKind::RollBack).count(),
        refused,
    };
    Ok((life, facts))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whatever_happens_what_always_holds_holds() {
    let days = number("SIMULATION_DAYS").map_or(DAYS, |days| days as usize);
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (mut deaths, mut promotions, mut rolled_out, mut taken_back, mut guarded) = (0, 0, 0, 0, 0);
    for seed in seeds.clone() {
        let (life, _) = live(seed, days).await.unwrap_or_else(|broken| panic!("{broken}"));
        eprintln!("seed {seed}: {life:?}");
        (deaths, guarded) = (deaths + life.deaths, guarded + life.guarded);
        (promotions, rolled_out, taken_back) = (promotions + life.promotions, rolled_out + life.rolled_out, taken_back + life.taken_back);
    }
    // A world in which nothing happens proves nothing.
    let eventful = deaths > 0 && promotions > 0 && rolled_out > 0 && taken_back > 0 && guarded > 0;
    assert!(seeds.end - seeds.start < SEEDS || eventful, "{deaths} deaths, {promotions}, {rolled_out}, {taken_back}, {guarded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_seed_says_everything() {
    let first = live(11, 600).await.unwrap().0;
    assert_eq!(live(11, 600).await.unwrap().0, first);
    assert_ne!(live(12, 600).await.unwrap().0.journal, first.journal);
}

/// Each check is shown a world in which what it looks at is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_invariant_can_break() {
    let (_, facts) = live(0, 1_500).await.unwrap();
    assert_eq!(facts.broken(&facts.remembered()), None);
    assert!(facts.moves.len() > 1 && facts.clean.len() > 2, "the world is too small");
    let spoilt = |name: &str, spoil: &dyn Fn(&mut Facts)| {
        let (mut other, before) = (facts.clone(), facts.remembered());
        spoil(&mut other);
        assert_eq!(other.broken(&before).map(|(broken, _)| broken), Some(name));
    };
    spoilt("the champion is where its last move led", &|facts| facts.champion = Some(VersionNo(99)));
    spoilt("the champion is where its last move led", &|facts| facts.moves.truncate(1));
    spoilt("only a decision moves the champion", &|facts| facts.decisions.retain(|(_, decision)| decision.kind == DecisionKind::Hold));
    spoilt("one version serves, and it is the champion", &|facts| {
        facts.versions.iter_mut().for_each(|version| version.state = VersionState::Serving);
    });
    spoilt("a version takes legal steps", &|facts| {
        let champion = facts.champion;
        let retired = facts.versions.iter_mut().find(|version| Some(version.number) != champion && version.state == VersionState::Retired);
        retired.unwrap().state = VersionState::Challenger;
    });
    spoilt("one run is open at most, and looks within its allowance", &|facts| facts.runs[0].looks = 99);
    spoilt("a rollout is alone and of its own state", &|facts| {
        let challenger = facts.versions.iter_mut().find(|version| version.state == VersionState::Rejected);
        challenger.unwrap().state = VersionState::Blessed;
    });
    spoilt("no row is lost or doubled", &|facts| _ = facts.raw.remove(1));
    spoilt("no row is lost or doubled", &|facts| facts.clean.push(facts.clean[0].clone()));
    spoilt("what was looked at is not forgotten", &|facts| {
        (facts.memory.observed_row, facts.kept.observed_row) = (0, 0);
    });
    spoilt("what is remembered is what is kept", &|facts| facts.kept.counted_row += 1);
}
