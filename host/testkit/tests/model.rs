//! Random commits give the same answers on the model and on SQLite, and an alias is always what its moves make it.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use tidegate_store::{Fence, MetaStore, SqliteStore, Write};
use tidegate_testkit::MemoryStore;
use tidegate_testkit::conformance::Refusal;
use tidegate_testkit::samples::{clean_part, cleaner_state, decision, digest, named, raw_part, run, snapshot, version};
use tidegate_vocab::{Alias, DecisionKind, PipelineId, Run, RunState, Timestamp, VersionNo, VersionState};

/// Small numbers, so that expectations often hold and often do not.
fn write() -> impl Strategy<Value = Write> {
    let kinds = prop::sample::select(vec![DecisionKind::Promote, DecisionKind::RollBack, DecisionKind::Hold]);
    let parent = || prop::option::of(1..4_u32);
    let cursor = || prop::option::of(prop::collection::vec(0..2_u8, 1));
    prop_oneof![
        (0..6_u64, 0..3_u64).prop_map(|(first, count)| Write::RawPart(raw_part(first, count))),
        (cursor(), prop::collection::vec(0..2_u8, 1)).prop_map(|(expected, cursor)| Write::Cursor { expected, cursor }),
        (0..4_u64, 1..3_u64, 1..3_u64).prop_map(|(first, count, chain)| Write::CleanPart(clean_part(&raw_part(first, count), chain))),
        (0..3_u64).prop_map(|number| Write::Snapshot(snapshot(number))),
        (1..4_u64).prop_map(|id| Write::NewRun(run(id))),
        (1..4_u64, prop::sample::select(&RunState::ALL[..]), prop::sample::select(&RunState::ALL[..]))
            .prop_map(|(id, expected, state)| Write::Run { expected, run: Run { state, ..run(id) } }),
        (1..5_u32).prop_map(|number| Write::NewVersion(version(number))),
        (1..4_u32, prop::sample::select(&VersionState::ALL[..5]), prop::sample::select(&VersionState::ALL[..]))
            .prop_map(|(number, expected, to)| Write::VersionState { version: VersionNo(number), expected, to }),
        (kinds, 1..4_u32, parent()).prop_map(|(kind, about, parent)| Write::Decision(decision(kind, about, parent))),
        (0..3_u64, prop::option::of(1..3_u64)).prop_map(|(key, expected)| Write::State { key: key.to_string(), expected, value: vec![1] }),
        (1..3_u64, prop::option::of(1..4_u64), 0..3_u64).prop_map(|(chain, expected, layer)| Write::ChainState {
            chain: digest(chain),
            expected,
            state: vec![cleaner_state(0, layer)],
        }),
        (1..3_u64).prop_map(|chain| Write::DropCleanParts { chain: digest(chain) }),
        (0..9_u64).prop_map(|number| Write::Journal { kind: "note".into(), body: number.into() }),
    ]
}

fn moves(alias: Alias) -> impl Strategy<Value = Vec<Write>> {
    let kinds = prop::sample::select(vec![DecisionKind::Promote, DecisionKind::RollBack, DecisionKind::Hold]);
    (kinds, 1..4_u32, prop::option::of(1..4_u32), prop::option::of(1..4_u32)).prop_map(move |(kind, to, parent, expected)| {
        vec![Write::Decision(decision(kind, to, parent)), Write::MoveAlias { alias, expected: expected.map(VersionNo), to: VersionNo(to) }]
    })
}

/// Most commits are one or two writes, since a commit of many random ones is nearly always refused.
fn commits() -> impl Strategy<Value = Vec<(bool, Vec<Write>)>> {
    let commit = prop_oneof![
        4 => prop::collection::vec(write(), 1..3),
        1 => prop::collection::vec(write(), 0..6),
        2 => moves(Alias::Champion),
        1 => moves(Alias::Anchor),
        1 => (1..4_u32).prop_map(|number| vec![Write::NewVersion(version(number))]),
    ];
    prop::collection::vec((any::<bool>(), commit), 1..60)
}

/// Everything that can be asked, as text.
async fn answers(store: &dyn MetaStore, pipelines: &[PipelineId]) -> String {
    let mut all = format!("{:?}\n{:?}\n", store.pipelines().await.unwrap(), store.journal(None, 1).await.unwrap());
    for number in 0..3 {
        all += &format!("{:?}\n", store.snapshot(&snapshot(number).id()).await.unwrap());
    }
    for p in pipelines {
        all += &format!("{:?}\n{:?}\n{:?}\n", store.cursor(p).await, store.runs(p).await, store.versions(p).await);
        all += &format!("{:?}\n{:?}\n{:?}\n", store.open_run(p).await, store.decisions(p, None).await, store.journal(Some(p), 3).await);
        for number in 0..5_u32 {
            let row = u64::from(number);
            all += &format!("{:?}\n{:?}\n", store.raw_parts(p, row).await, store.decisions(p, Some(VersionNo(number))).await);
            all += &format!("{:?}\n", store.chain_state(p, &digest(row)).await);
            all += &format!("{:?}\n{:?}\n", store.clean_parts(p, &digest(1), row).await, store.state(p, &number.to_string()).await);
        }
        all += &format!("{:?}\n", store.quarantined(p, &digest(2)).await);
        for alias in [Alias::Champion, Alias::Anchor] {
            all += &format!("{:?}\n{:?}\n", store.alias(p, alias).await, store.alias_history(p, alias).await);
        }
    }
    all
}

/// Replays the alias log: each move starts where the one before ended, and the last one is the alias.
async fn replay(store: &dyn MetaStore, pipeline: &PipelineId) {
    for alias in [Alias::Champion, Alias::Anchor] {
        let mut now = None;
        for moved in store.alias_history(pipeline, alias).await.unwrap() {
            assert_eq!(moved.from, now);
            now = Some(moved.to);
            let decisions = store.decisions(pipeline, Some(moved.to)).await.unwrap();
            let (_, decision) = decisions.into_iter().find(|(number, _)| *number == moved.decision).unwrap();
            assert!(matches!(decision.kind, DecisionKind::Promote | DecisionKind::RollBack));
        }
        assert_eq!(store.alias(pipeline, alias).await.unwrap(), now);
    }
}

async fn check(commits: Vec<(bool, Vec<Write>)>) {
    let pipelines = [named("a"), named("b")];
    let (model, sqlite) = (MemoryStore::new(), SqliteStore::in_memory().await.unwrap());
    assert_eq!(model.take_fence("x").await.unwrap(), Fence(1));
    assert_eq!(sqlite.take_fence("x").await.unwrap(), Fence(1));
    for (at, (which, writes)) in (0..).zip(commits) {
        let pipeline = &pipelines[usize::from(which)];
        let shown = format!("{writes:?}");
        let expected = model.commit(Fence(1), pipeline, Timestamp(at), writes.clone()).await;
        let found = sqlite.commit(Fence(1), pipeline, Timestamp(at), writes).await;
        assert_eq!(Refusal::of(&expected), Refusal::of(&found), "{shown}: {expected:?} and {found:?}");
    }
    assert_eq!(answers(&model, &pipelines).await, answers(&sqlite, &pipelines).await);
    assert_eq!(model.verify_journal().await.unwrap(), sqlite.verify_journal().await.unwrap());
    for pipeline in &pipelines {
        replay(&sqlite, pipeline).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_is_the_model(commits in commits()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(commits));
    }
}
