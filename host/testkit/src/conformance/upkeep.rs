//! What every metadata store must do for garbage collection and backups.

#![expect(clippy::unwrap_used, reason = "a suite of tests says what is wrong by panicking")]

use tidegate_store::{MetaStore, StoreError, Upkeep, Write, named_blobs};
use tidegate_vocab::{CleanPart, Run, RunState, Snapshot, SnapshotPart, Timestamp, VersionNo};

use super::Refusal;
use crate::samples::{clean_part, cleaner_state, decision, digest, named, pipeline, raw_part, run, snapshot, version};

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// Runs the suite; `make` gives a store on which nobody has taken a fence.
///
/// # Panics
/// When the store does not do what it must.
pub async fn upkeep<S: MetaStore + Upkeep>(make: impl AsyncFn() -> S) {
    parts_are_replaced_by_digest(&make().await).await;
    rows_are_dropped_in_whole_parts(&make().await).await;
    chains_are_dropped_alone(&make().await).await;
    everything_that_is_named_is_listed(&make().await).await;
}

async fn refused<S: MetaStore>(store: &S, fence: tidegate_store::Fence, write: Write) {
    let shown = format!("{write:?}");
    let result: Result<(), StoreError> = store.commit(fence, &pipeline(), AT, vec![write]).await;
    assert_eq!(Refusal::of(&result), Some(Refusal::Conflict), "{shown} gave {result:?}");
}

async fn parts_are_replaced_by_digest<S: MetaStore + Upkeep>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    let (raw, next) = (raw_part(0, 10), raw_part(10, 5));
    let before = clean_part(&raw, 1);
    let after = CleanPart { digest: digest(77), row_count: 10, quarantined: Vec::new(), ..before.clone() };
    let writes = vec![Write::RawPart(raw), Write::RawPart(next.clone()), Write::CleanPart(before.clone())];
    store.commit(fence, &p, AT, writes).await.unwrap();
    let replace = |expected, part: &CleanPart| Write::ReplaceCleanPart { expected, part: part.clone() };

    refused(store, fence, replace(digest(5), &after)).await;
    refused(store, fence, replace(before.digest, &CleanPart { chain: digest(2), ..after.clone() })).await;
    refused(store, fence, replace(before.digest, &clean_part(&next, 1))).await;
    refused(store, fence, replace(before.digest, &CleanPart { raw: digest(6), ..after.clone() })).await;
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap(), std::slice::from_ref(&before));

    store.commit(fence, &p, AT, vec![replace(before.digest, &after)]).await.unwrap();
    let entries = store.journal(Some(&p), 1).await.unwrap();
    assert_eq!(entries.last().unwrap().kind, "clean-again");
    // The same again finds it done, and leaves no line.
    store.commit(fence, &p, AT, vec![replace(before.digest, &after)]).await.unwrap();
    assert_eq!(store.journal(Some(&p), 1).await.unwrap().len(), entries.len());
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap(), std::slice::from_ref(&after));
    assert!(store.quarantined(&p, &digest(1)).await.unwrap().is_empty());
    store.commit(fence, &p, AT, vec![replace(after.digest, &before)]).await.unwrap();
    assert_eq!(store.quarantined(&p, &digest(1)).await.unwrap().len(), 1);
    store.verify_journal().await.unwrap();
}

async fn rows_are_dropped_in_whole_parts<S: MetaStore + Upkeep>(store: &S) {
    let (fence, p, other) = (store.take_fence("suite").await.unwrap(), pipeline(), named("other"));
    let raw = [raw_part(0, 10), raw_part(10, 5), raw_part(15, 5)];
    for name in [&p, &other] {
        let parts = raw
            .iter()
            .flat_map(|part| [Write::RawPart(part.clone()), Write::CleanPart(clean_part(part, 1)), Write::CleanPart(clean_part(part, 2))]);
        store.commit(fence, name, AT, parts.collect()).await.unwrap();
    }
    for below in [20, 12, 1] {
        refused(store, fence, Write::DropRows { below }).await;
    }
    let drop = async |below| store.commit(fence, &p, AT, vec![Write::DropRows { below }]).await.unwrap();
    drop(0).await;
    assert_eq!(store.raw_parts(&p, 0).await.unwrap().len(), 3);
    drop(10).await;
    drop(10).await;
    assert_eq!(store.raw_parts(&p, 0).await.unwrap(), raw[1..]);
    for chain in [1, 2] {
        assert_eq!(store.clean_parts(&p, &digest(chain), 0).await.unwrap(), [clean_part(&raw[1], chain), clean_part(&raw[2], chain)]);
    }
    refused(store, fence, Write::DropRows { below: 0 }).await;
    drop(15).await;
    assert_eq!(store.raw_parts(&other, 0).await.unwrap(), raw, "other pipelines keep theirs");
    // Numbers go on where they were, and a part that went cannot be cleaned any more.
    refused(store, fence, Write::RawPart(raw_part(0, 1))).await;
    refused(store, fence, Write::CleanPart(clean_part(&raw[0], 3))).await;
    store.commit(fence, &p, AT, vec![Write::RawPart(raw_part(20, 1)), Write::DropRows { below: 20 }]).await.unwrap();
    assert_eq!(store.raw_parts(&p, 0).await.unwrap(), [raw_part(20, 1)]);
    store.verify_journal().await.unwrap();
}

async fn chains_are_dropped_alone<S: MetaStore + Upkeep>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    assert!(store.chains(&p).await.unwrap().is_empty());
    let raw = [raw_part(0, 10), raw_part(10, 5)];
    let writes = raw
        .iter()
        .flat_map(|part| [Write::RawPart(part.clone()), Write::CleanPart(clean_part(part, 1)), Write::CleanPart(clean_part(part, 2))]);
    store.commit(fence, &p, AT, writes.collect()).await.unwrap();
    let mut both = [digest(1), digest(2)];
    both.sort_unstable();
    assert_eq!(store.chains(&p).await.unwrap(), both);
    // What is dropped and written in one commit is there afterwards.
    let writes = vec![Write::DropCleanParts { chain: digest(1) }, Write::CleanPart(clean_part(&raw[1], 1))];
    store.commit(fence, &p, AT, writes).await.unwrap();
    assert_eq!(store.clean_parts(&p, &digest(1), 0).await.unwrap(), [clean_part(&raw[1], 1)]);
    assert_eq!(store.clean_parts(&p, &digest(2), 0).await.unwrap().len(), 2);
    store.commit(fence, &p, AT, vec![Write::DropCleanParts { chain: digest(1) }]).await.unwrap();
    assert_eq!(store.chains(&p).await.unwrap(), [digest(2)]);
    assert_eq!(store.raw_parts(&p, 0).await.unwrap(), raw);
}

async fn everything_that_is_named_is_listed<S: MetaStore + Upkeep>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    assert!(named_blobs(store, store, &p).await.unwrap().is_empty());
    let raw = raw_part(0, 10);
    let clean = CleanPart { state: vec![cleaner_state(0, 55)], ..clean_part(&raw, 1) };
    let trained = Snapshot {
        parts: vec![SnapshotPart { digest: digest(50), first_row: 0, last_row: 9, row_count: 9 }],
        late_labels: Some(digest(51)),
        history: vec![digest(58), digest(50)],
        ..snapshot(1)
    };
    let mut model = version(1);
    model.snapshot = trained.id();
    let mut judged = decision(tidegate_vocab::DecisionKind::Hold, 1, None);
    judged.version = VersionNo(1);
    judged.evidence = Some(tidegate_vocab::Evidence {
        snapshot: trained.id(),
        weights: model.weights,
        gate: digest(60),
        evaluators: vec![digest(61)],
        terms: digest(52),
        seed: 1,
    });
    let planned = Run { state: RunState::Snapshotted, snapshot: Some(trained.id()), ..run(1) };
    let state = |key: &str, value: Vec<u8>| Write::State { key: key.into(), expected: None, value };
    let writes = vec![
        Write::RawPart(raw.clone()),
        Write::CleanPart(clean.clone()),
        Write::ChainState { chain: digest(1), expected: None, state: vec![cleaner_state(0, 55), cleaner_state(2, 56)] },
        Write::ChainState { chain: digest(2), expected: None, state: vec![cleaner_state(0, 57)] },
        Write::Snapshot(trained),
        Write::NewRun(run(1)),
        Write::Run { expected: RunState::Queued, run: planned },
        Write::NewVersion(model.clone()),
        Write::Decision(judged),
        state("a", digest(53).as_bytes().to_vec()),
        state("b", format!("{{\"component\":\"{}\"}}", digest(54)).into_bytes()),
    ];
    store.commit(fence, &p, AT, writes).await.unwrap();
    let expected = [raw.digest, clean.digest, model.weights, model.manifest].into_iter().chain((50..=58).chain(1_055..=1_057).map(digest));
    assert_eq!(named_blobs(store, store, &p).await.unwrap(), expected.collect());
    let states = store.states(&p).await.unwrap();
    assert_eq!(states.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(states[0].1, digest(53).as_bytes());
    assert!(store.metadata_bytes().await.unwrap() > 0);
}
