//! What every metadata store must do.

#![expect(clippy::unwrap_used, reason = "a suite of tests says what is wrong by panicking")]

use serde_json::json;
use tidegate_store::{Fence, MetaStore, StoreError, Write};
use tidegate_vocab::{Alias, DecisionKind, Run, RunId, RunState, Timestamp, VersionNo, VersionState};

use super::Refusal;
use crate::samples::{clean_part, cleaner_state, decision, digest, named, pipeline, raw_part, run, snapshot, verdict, version};

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// Runs the suite; `make` gives a store on which nobody has taken a fence.
///
/// # Panics
/// When the store does not do what it must.
pub async fn meta_store<S: MetaStore>(make: impl AsyncFn() -> S) {
    an_empty_store_has_nothing(&make().await).await;
    rows_and_cursor_go_together(&make().await).await;
    cleaned_parts_are_idempotent(&make().await).await;
    runs_follow_their_states(&make().await).await;
    versions_follow_their_states(&make().await).await;
    aliases_move_by_decision_only(&make().await).await;
    state_is_compared_and_set(&make().await).await;
    the_state_of_a_chain_moves_with_its_parts(&make().await).await;
    a_commit_is_all_or_nothing(&make().await).await;
    a_later_fence_shuts_out_an_earlier_one(&make().await).await;
    pipelines_do_not_see_each_other(&make().await).await;
    what_does_not_read_back_is_refused(&make().await).await;
    the_journal_is_a_chain(&make().await).await;
}

/// One store with a fence.
struct Writer<'s, S: MetaStore> {
    store: &'s S,
    fence: Fence,
}

impl<'s, S: MetaStore> Writer<'s, S> {
    async fn new(store: &'s S) -> Writer<'s, S> {
        Writer { store, fence: store.take_fence("suite").await.unwrap() }
    }

    async fn try_commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.store.commit(self.fence, &pipeline(), AT, writes).await
    }

    async fn commit(&self, writes: Vec<Write>) {
        self.try_commit(writes).await.unwrap();
    }

    /// Commits, and expects to be refused in one way.
    async fn refused(&self, refusal: Refusal, writes: Vec<Write>) {
        let shown = format!("{writes:?}");
        let result = self.try_commit(writes).await;
        assert_eq!(Refusal::of(&result), Some(refusal), "{shown} gave {result:?}");
    }
}

async fn an_empty_store_has_nothing<S: MetaStore>(store: &S) {
    let p = pipeline();
    assert!(store.pipelines().await.unwrap().is_empty());
    assert_eq!(store.cursor(&p).await.unwrap(), None);
    assert!(store.raw_parts(&p, 0).await.unwrap().is_empty());
    assert!(store.clean_parts(&p, &digest(1), 0).await.unwrap().is_empty());
    assert!(store.runs(&p).await.unwrap().is_empty());
    assert_eq!(store.open_run(&p).await.unwrap(), None);
    assert_eq!(store.version(&p, VersionNo(1)).await.unwrap(), None);
    assert_eq!(store.alias(&p, Alias::Champion).await.unwrap(), None);
    assert_eq!(store.state(&p, "trigger").await.unwrap(), None);
    assert_eq!(store.verify_journal().await.unwrap().entries, 0);
    // Nobody has a fence yet, so nobody may write.
    let result = store.commit(Fence(1), &p, AT, Vec::new()).await;
    assert_eq!(Refusal::of(&result), Some(Refusal::Fenced));
}

async fn rows_and_cursor_go_together<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let cursor = |expected: Option<&[u8]>, cursor: &[u8]| Write::Cursor { expected: expected.map(<[u8]>::to_vec), cursor: cursor.to_vec() };
    let (first, second, third) = (raw_part(0, 10), raw_part(10, 5), raw_part(15, 1));
    writer.commit(vec![Write::RawPart(first.clone()), cursor(None, b"a")]).await;
    writer.commit(vec![Write::RawPart(second.clone()), Write::RawPart(third.clone()), cursor(Some(b"a"), b"b")]).await;
    assert_eq!(store.cursor(&p).await.unwrap().as_deref(), Some(&b"b"[..]));
    let from = async |row| store.raw_parts(&p, row).await.unwrap();
    assert_eq!(from(0).await, [first.clone(), second.clone(), third.clone()]);
    assert_eq!(from(9).await, [first, second.clone(), third.clone()]);
    assert_eq!(from(10).await, [second, third.clone()]);
    assert_eq!(from(15).await, [third]);
    assert!(from(16).await.is_empty() && from(u64::MAX).await.is_empty());
    // A gap, an overlap, no rows, more rows than can be numbered, a cursor that somebody moved.
    for part in [raw_part(17, 1), raw_part(15, 1), raw_part(16, 0), raw_part(16, u64::MAX), raw_part(16, i64::MAX as u64)] {
        writer.refused(Refusal::Conflict, vec![Write::RawPart(part)]).await;
    }
    writer.refused(Refusal::Conflict, vec![cursor(Some(b"a"), b"c")]).await;
    writer.refused(Refusal::Conflict, vec![cursor(None, b"c")]).await;
    assert_eq!(store.pipelines().await.unwrap(), [p]);
}

async fn cleaned_parts_are_idempotent<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let (first, second) = (raw_part(0, 10), raw_part(10, 5));
    let (one, two) = (clean_part(&first, 1), clean_part(&second, 1));
    // In the commit of its raw part or later, and again.
    writer.commit(vec![Write::RawPart(first.clone()), Write::RawPart(second.clone()), Write::CleanPart(one.clone())]).await;
    writer.commit(vec![Write::CleanPart(one.clone()), Write::CleanPart(two.clone()), Write::CleanPart(two.clone())]).await;
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap(), [one.clone(), two.clone()]);
    // The first row is kept out, so the part has fewer rows than its raw part; it still holds the rows up to the end.
    assert_eq!(store.clean_parts(&p, &digest(1), 9).await.unwrap().len(), 2);
    assert_eq!(store.clean_parts(&p, &digest(1), 10).await.unwrap(), std::slice::from_ref(&two));
    assert!(store.clean_parts(&p, &digest(2), 0).await.unwrap().is_empty());
    let mut other = one.clone();
    other.digest = digest(77);
    writer.refused(Refusal::Conflict, vec![Write::CleanPart(other)]).await;
    writer.refused(Refusal::Conflict, vec![Write::CleanPart(clean_part(&raw_part(15, 5), 1))]).await;
    let mut misplaced = clean_part(&second, 3);
    misplaced.first_row = 0;
    writer.refused(Refusal::Conflict, vec![Write::CleanPart(misplaced)]).await;
    // Another chain over the same raw part, which kept nothing out.
    let mut clean = clean_part(&first, 2);
    clean.quarantined.clear();
    writer.commit(vec![Write::CleanPart(clean)]).await;
    assert!(store.quarantined(&p, &digest(2)).await.unwrap().is_empty());
    let quarantined = store.quarantined(&p, &digest(1)).await.unwrap();
    assert_eq!(quarantined, [(first.digest, one.quarantined[0].clone()), (second.digest, two.quarantined[0].clone())]);
    // Two raw parts with the same bytes are two parts.
    let (mut twin, mut twin_clean) = (raw_part(15, 10), one.clone());
    (twin.digest, twin_clean.first_row) = (first.digest, 15);
    writer.commit(vec![Write::RawPart(twin), Write::CleanPart(twin_clean.clone())]).await;
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap(), [one, two, twin_clean]);
}

async fn runs_follow_their_states<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let to = |id: u64, expected: RunState, state: RunState| Write::Run { expected, run: Run { state, ..run(id) } };
    writer.refused(Refusal::Conflict, vec![Write::NewRun(run(2))]).await;
    writer.refused(Refusal::Transition, vec![Write::NewRun(Run { state: RunState::Done, ..run(1) })]).await;
    writer.commit(vec![Write::NewRun(run(1))]).await;
    assert_eq!(store.open_run(&p).await.unwrap(), Some(run(1)));
    writer.refused(Refusal::Conflict, vec![Write::NewRun(run(2))]).await;
    writer.refused(Refusal::Conflict, vec![to(1, RunState::Training, RunState::Evaluating)]).await;
    writer.refused(Refusal::Transition, vec![to(1, RunState::Queued, RunState::Training)]).await;
    writer.refused(Refusal::Conflict, vec![to(9, RunState::Queued, RunState::Snapshotted)]).await;
    // Several transitions in one commit each see the one before.
    writer.commit(vec![to(1, RunState::Queued, RunState::Snapshotted), to(1, RunState::Snapshotted, RunState::Training)]).await;
    // The same state with other particulars.
    let changed = Run { state: RunState::Training, looks: 3, note: Some("x".into()), ..run(1) };
    writer.commit(vec![Write::Run { expected: RunState::Training, run: changed.clone() }]).await;
    assert_eq!(store.run(&p, RunId(1)).await.unwrap(), Some(changed));
    // One run ends and the next begins in one commit.
    writer.commit(vec![to(1, RunState::Training, RunState::Failed), Write::NewRun(run(2))]).await;
    assert_eq!(store.open_run(&p).await.unwrap(), Some(run(2)));
    writer.refused(Refusal::Transition, vec![to(1, RunState::Failed, RunState::Done)]).await;
    let states: Vec<_> = store.runs(&p).await.unwrap().into_iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Failed, RunState::Queued]);
}

async fn versions_follow_their_states<S: MetaStore>(store: &S) {
    use VersionState::{Blessed, Challenger, Held, Rejected, Serving};
    let (writer, p) = (Writer::new(store).await, pipeline());
    let state = |expected, to| Write::VersionState { version: VersionNo(1), expected, to };
    writer.refused(Refusal::Conflict, vec![state(Challenger, Held)]).await;
    writer.refused(Refusal::Conflict, vec![Write::NewVersion(version(2))]).await;
    let mut blessed = version(1);
    blessed.state = Blessed;
    writer.refused(Refusal::Transition, vec![Write::NewVersion(blessed)]).await;
    writer.commit(vec![Write::NewVersion(version(1)), state(Challenger, Held)]).await;
    writer.refused(Refusal::Conflict, vec![state(Challenger, Rejected)]).await;
    writer.refused(Refusal::Transition, vec![state(Held, Serving)]).await;
    writer.commit(vec![state(Held, Blessed), state(Blessed, Serving), Write::NewVersion(version(2))]).await;
    let mut serving = version(1);
    serving.state = Serving;
    assert_eq!(store.version(&p, VersionNo(1)).await.unwrap().as_ref(), Some(&serving));
    assert_eq!(store.versions(&p).await.unwrap(), [serving, version(2)]);
}

async fn aliases_move_by_decision_only<S: MetaStore>(store: &S) {
    use DecisionKind::{Hold, Promote, Reject, RollBack};
    let (writer, p) = (Writer::new(store).await, pipeline());
    let decide = |kind, about, parent| Write::Decision(decision(kind, about, parent));
    let moves = |alias, expected: Option<u32>, to| Write::MoveAlias { alias, expected: expected.map(VersionNo), to: VersionNo(to) };
    let champion = |expected, to| moves(Alias::Champion, expected, to);
    writer.refused(Refusal::Conflict, vec![decide(Hold, 1, None)]).await;
    writer.commit((1..=3).map(|number| Write::NewVersion(version(number))).collect()).await;
    // No decision; one that does not promote; about another version; with another parent; in an earlier commit.
    writer.commit(vec![decide(Promote, 1, None)]).await;
    writer.refused(Refusal::Conflict, vec![champion(None, 1)]).await;
    for bad in [decide(Hold, 1, None), decide(Reject, 1, None), decide(Promote, 2, None), decide(Promote, 1, Some(3))] {
        writer.refused(Refusal::Conflict, vec![bad, champion(None, 1)]).await;
    }
    // The decision may stand after the move; one decision moves both aliases.
    writer.commit(vec![champion(None, 1), moves(Alias::Anchor, None, 1), decide(Promote, 1, None)]).await;
    // Somebody moved the champion since: the parent is not it, or the expectation is not.
    writer.refused(Refusal::Conflict, vec![decide(Promote, 2, None), champion(Some(1), 2)]).await;
    writer.refused(Refusal::Conflict, vec![decide(Promote, 2, Some(1)), champion(None, 2)]).await;
    let twice = vec![decide(Promote, 2, Some(1)), decide(Promote, 3, Some(1)), champion(Some(1), 2), champion(Some(2), 3)];
    writer.refused(Refusal::Conflict, twice).await;
    writer.commit(vec![decide(Promote, 2, Some(1)), champion(Some(1), 2)]).await;
    writer.commit(vec![decide(RollBack, 1, Some(2)), champion(Some(2), 1)]).await;
    assert_eq!(store.alias(&p, Alias::Champion).await.unwrap(), Some(VersionNo(1)));
    assert_eq!(store.alias(&p, Alias::Anchor).await.unwrap(), Some(VersionNo(1)));
    // Every move names the decision that made it.
    let decisions = store.decisions(&p, None).await.unwrap();
    assert_eq!(decisions.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let history = store.alias_history(&p, Alias::Champion).await.unwrap();
    let seen: Vec<_> = history.iter().map(|moved| (moved.from.map(|from| from.0), moved.to.0, moved.decision)).collect();
    assert_eq!(seen, [(None, 1, 2), (Some(1), 2, 3), (Some(2), 1, 4)]);
    for moved in &history {
        let (_, decision) = decisions.iter().find(|(number, _)| *number == moved.decision).unwrap();
        assert_eq!((decision.version, decision.parent), (moved.to, moved.from));
        assert!(matches!(decision.kind, Promote | RollBack) && moved.at == AT);
    }
    let about: Vec<_> = store.decisions(&p, Some(VersionNo(1))).await.unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(about, [1, 2, 4]);
    assert!(store.decisions(&p, Some(VersionNo(3))).await.unwrap().is_empty());
}

async fn state_is_compared_and_set<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let state = |expected, value: &[u8]| Write::State { key: "trigger".into(), expected, value: value.to_vec() };
    writer.refused(Refusal::Conflict, vec![state(Some(0), b"{}")]).await;
    writer.commit(vec![state(None, b"{}")]).await;
    writer.refused(Refusal::Conflict, vec![state(None, b"[]")]).await;
    writer.commit(vec![state(Some(1), b"[1]"), state(Some(2), b"[2]")]).await;
    writer.refused(Refusal::Conflict, vec![state(Some(2), b"[]")]).await;
    assert_eq!(store.state(&p, "trigger").await.unwrap(), Some((3, b"[2]".to_vec())));
    assert_eq!(store.state(&p, "other").await.unwrap(), None);
}

async fn the_state_of_a_chain_moves_with_its_parts<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let (first, second) = (raw_part(0, 10), raw_part(10, 5));
    let moved = |chain, expected, layer| Write::ChainState { chain: digest(chain), expected, state: vec![cleaner_state(0, layer)] };
    let chain_state = async |chain| store.chain_state(&p, &digest(chain)).await.unwrap();
    assert_eq!(chain_state(1).await, None);
    writer.commit(vec![Write::RawPart(first.clone()), Write::RawPart(second.clone())]).await;
    writer.commit(vec![Write::CleanPart(clean_part(&first, 1)), moved(1, None, 50)]).await;
    assert_eq!(chain_state(1).await, Some((1, vec![cleaner_state(0, 50)])));
    // A part whose state does not follow the last one is refused with it: neither is there afterwards.
    for expected in [None, Some(0), Some(2)] {
        writer.refused(Refusal::Conflict, vec![Write::CleanPart(clean_part(&second, 1)), moved(1, expected, 51)]).await;
    }
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap().len(), 1);
    assert_eq!(chain_state(1).await, Some((1, vec![cleaner_state(0, 50)])));
    writer.commit(vec![Write::CleanPart(clean_part(&second, 1)), moved(1, Some(1), 51)]).await;
    // Other chains and pipelines have their own, and an empty one is one.
    assert_eq!(chain_state(2).await, None);
    writer.commit(vec![Write::ChainState { chain: digest(2), expected: None, state: Vec::new() }]).await;
    assert_eq!((chain_state(1).await, chain_state(2).await), (Some((2, vec![cleaner_state(0, 51)])), Some((1, Vec::new()))));
    assert_eq!(store.chain_state(&named("other"), &digest(1)).await.unwrap(), None);
    // It outlives the parts that it came from, not its chain; what is written after that begins anew.
    writer.commit(vec![Write::DropRows { below: 10 }]).await;
    assert_eq!(chain_state(1).await, Some((2, vec![cleaner_state(0, 51)])));
    writer.commit(vec![Write::DropCleanParts { chain: digest(1) }, moved(1, None, 53)]).await;
    assert_eq!(chain_state(1).await, Some((1, vec![cleaner_state(0, 53)])));
    writer.commit(vec![Write::DropCleanParts { chain: digest(1) }]).await;
    assert_eq!((chain_state(1).await, chain_state(2).await), (None, Some((1, Vec::new()))));
}

async fn a_commit_is_all_or_nothing<S: MetaStore>(store: &S) {
    let (writer, p) = (Writer::new(store).await, pipeline());
    let good = || {
        let raw = raw_part(0, 10);
        vec![
            Write::CleanPart(clean_part(&raw, 1)),
            Write::Cursor { expected: None, cursor: b"a".to_vec() },
            Write::Snapshot(snapshot(1)),
            Write::NewRun(run(1)),
            Write::NewVersion(version(1)),
            Write::Decision(decision(DecisionKind::Promote, 1, None)),
            Write::MoveAlias { alias: Alias::Champion, expected: None, to: VersionNo(1) },
            Write::State { key: "trigger".into(), expected: None, value: b"{}".to_vec() },
            Write::Journal { kind: "note".into(), body: json!({}) },
        ]
    };
    let with_raw = |rest: Vec<Write>| [vec![Write::RawPart(raw_part(0, 10))], rest].concat();
    let bad = [
        Write::RawPart(raw_part(11, 1)),
        Write::Cursor { expected: Some(b"z".to_vec()), cursor: b"b".to_vec() },
        Write::CleanPart(clean_part(&raw_part(3, 1), 1)),
        Write::NewRun(run(3)),
        Write::Run { expected: RunState::Gating, run: run(1) },
        Write::NewVersion(version(5)),
        Write::VersionState { version: VersionNo(1), expected: VersionState::Challenger, to: VersionState::Serving },
        Write::Decision(decision(DecisionKind::Hold, 9, None)),
        Write::MoveAlias { alias: Alias::Anchor, expected: Some(VersionNo(4)), to: VersionNo(1) },
        Write::State { key: "trigger".into(), expected: Some(7), value: Vec::new() },
    ];
    for bad in bad {
        let shown = format!("{bad:?}");
        let writes = with_raw([good(), vec![bad]].concat());
        assert!(writer.try_commit(writes).await.is_err(), "{shown} was not refused");
        assert!(store.pipelines().await.unwrap().is_empty(), "{shown} left its pipeline");
        assert!(store.raw_parts(&p, 0).await.unwrap().is_empty(), "{shown} left a part");
        assert_eq!(store.open_run(&p).await.unwrap(), None, "{shown} left a run");
        assert_eq!(store.alias(&p, Alias::Champion).await.unwrap(), None, "{shown} left an alias");
        assert_eq!(store.snapshot(&snapshot(1).id()).await.unwrap(), None, "{shown} left a snapshot");
        assert_eq!(store.verify_journal().await.unwrap().entries, 0, "{shown} left a journal line");
    }
    writer.commit(with_raw(good())).await;
    assert_eq!(store.snapshot(&snapshot(1).id()).await.unwrap(), Some(snapshot(1)));
    writer.commit(vec![Write::Snapshot(snapshot(1))]).await;
    let kinds: Vec<_> = store.journal(None, 1).await.unwrap().into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, ["ingest", "clean", "run", "version", "decision", "alias", "note"]);
}

async fn a_later_fence_shuts_out_an_earlier_one<S: MetaStore>(store: &S) {
    let early = Writer::new(store).await;
    early.commit(vec![Write::NewRun(run(1))]).await;
    let late = Writer { store, fence: store.take_fence("a second process").await.unwrap() };
    assert!(late.fence > early.fence);
    let error = early.try_commit(vec![Write::NewVersion(version(1))]).await.unwrap_err();
    assert!(error.to_string().contains("a second process"), "{error}");
    early.refused(Refusal::Fenced, Vec::new()).await;
    late.commit(vec![Write::NewVersion(version(1))]).await;
    let future = Writer { store, fence: Fence(late.fence.0 + 1) };
    future.refused(Refusal::Fenced, vec![Write::NewVersion(version(2))]).await;
}

async fn pipelines_do_not_see_each_other<S: MetaStore>(store: &S) {
    let fence = store.take_fence("suite").await.unwrap();
    let names = [named("a"), named("b")];
    for (index, name) in (1..).zip(&names) {
        let raw = raw_part(0, index);
        let writes = vec![
            Write::RawPart(raw.clone()),
            Write::CleanPart(clean_part(&raw, 1)),
            Write::Cursor { expected: None, cursor: vec![index as u8] },
            Write::NewRun(run(1)),
            Write::NewVersion(version(1)),
            Write::Snapshot(snapshot(1)),
            Write::State { key: "k".into(), expected: None, value: vec![index as u8] },
        ];
        store.commit(fence, name, AT, writes).await.unwrap();
    }
    let b = &names[1];
    assert_eq!(store.pipelines().await.unwrap(), names);
    assert_eq!(store.cursor(b).await.unwrap(), Some(vec![2]));
    assert_eq!(store.state(b, "k").await.unwrap(), Some((1, vec![2])));
    assert_eq!(store.raw_parts(b, 0).await.unwrap(), [raw_part(0, 2)]);
    let writes = vec![
        Write::Decision(decision(DecisionKind::Promote, 1, None)),
        Write::MoveAlias { alias: Alias::Champion, expected: None, to: VersionNo(1) },
    ];
    store.commit(fence, b, AT, writes).await.unwrap();
    assert_eq!(store.alias(&names[0], Alias::Champion).await.unwrap(), None);
    let of_b = store.journal(Some(b), 1).await.unwrap();
    assert!(of_b.len() > 2 && of_b.iter().all(|entry| entry.pipeline == *b));
    assert!(store.journal(None, 1).await.unwrap().len() > of_b.len());
}

async fn what_does_not_read_back_is_refused<S: MetaStore>(store: &S) {
    // Raw bytes, revisions and numbers at the ends of their ranges come back as they were.
    let (writer, p) = (Writer::new(store).await, pipeline());
    let all: Vec<u8> = (0..=255).collect();
    let extreme = Run { seed: u64::MAX, started_row: u64::MAX, trigger: "\u{0}\"é\u{10ffff}".into(), ..run(1) };
    let state = Write::State { key: "é'\";--".into(), expected: None, value: all.clone() };
    writer.commit(vec![Write::NewRun(extreme.clone()), Write::Cursor { expected: None, cursor: all.clone() }, state]).await;
    assert_eq!(store.run(&p, RunId(1)).await.unwrap(), Some(extreme));
    assert_eq!(store.cursor(&p).await.unwrap(), Some(all.clone()));
    assert_eq!(store.state(&p, "é'\";--").await.unwrap(), Some((1, all)));
    // JSON has neither NaN nor infinity; a decision that nobody could read again must not be made.
    let mut snapshot = snapshot(1);
    snapshot.contract.columns[0].low = Some(f64::NEG_INFINITY);
    writer.refused(Refusal::Other, vec![Write::Snapshot(snapshot)]).await;
    for (challenger, threshold) in [(Some(f64::NAN), 0.0), (None, f64::NAN), (None, f64::INFINITY)] {
        let mut bad = decision(DecisionKind::Promote, 1, None);
        bad.rules.push(verdict(challenger, threshold));
        writer.refused(Refusal::Other, vec![Write::NewVersion(version(1)), Write::Decision(bad)]).await;
    }
    let mut good = decision(DecisionKind::Promote, 1, None);
    good.rules.push(verdict(Some(0.1 + 0.2), -f64::MIN_POSITIVE));
    writer.commit(vec![Write::NewVersion(version(1)), Write::Decision(good.clone())]).await;
    assert_eq!(store.decisions(&p, None).await.unwrap(), [(1, good)]);
}

async fn the_journal_is_a_chain<S: MetaStore>(store: &S) {
    let writer = Writer::new(store).await;
    for number in 0..1_000_u64 {
        let body = json!({ "number": number, "share": number as f64 / 7.0 });
        writer.commit(vec![Write::Journal { kind: "note".into(), body }]).await;
    }
    let head = store.verify_journal().await.unwrap();
    let entries = store.journal(None, 1).await.unwrap();
    assert_eq!((head.entries, entries.len()), (1_000, 1_000));
    assert_eq!(head.digest, entries[999].digest);
    assert!(entries.windows(2).all(|pair| pair[1].previous == pair[0].digest && pair[1].seq == pair[0].seq + 1));
    assert_eq!(entries[7].body, json!({ "number": 7, "share": 1.0 }));
    assert_eq!(store.journal(None, 998).await.unwrap(), &entries[997..]);
    assert!(store.journal(None, 1_001).await.unwrap().is_empty());
}
