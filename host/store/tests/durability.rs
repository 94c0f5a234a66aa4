//! What only files can do: locks, formats, tampering, damage, full disks and interrupted commits.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tidegate_store::{Blobs as _, EntryFolder, JournalLine, MetaStore as _, ObjectBlobs, SqliteStore, StateFolder, StoreError, Write};
use tidegate_vocab::{PipelineId, Timestamp};

fn pipeline() -> PipelineId {
    "weather".parse().unwrap()
}

fn note(number: u64) -> Write {
    let JournalLine { kind, body } = JournalLine { kind: "note".into(), body: serde_json::json!({ "number": number }) };
    Write::Journal { kind, body }
}

/// Changes the database behind the store's back.
async fn tamper(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn journal_of(path: &Path, entries: u64) -> SqliteStore {
    let store = SqliteStore::open(path).await.unwrap();
    let fence = store.take_fence("test").await.unwrap();
    for number in 1..=entries {
        store.commit(fence, &pipeline(), Timestamp(0), vec![note(number)]).await.unwrap();
    }
    store
}

#[tokio::test]
async fn the_first_bad_journal_entry_is_named() {
    let cases = [
        ("UPDATE journal SET body = '{\"number\":0}' WHERE seq = 5", 5),
        ("UPDATE journal SET kind = 'x' WHERE seq = 1", 1),
        ("UPDATE journal SET at = 1 WHERE seq = 10", 10),
        ("DELETE FROM journal WHERE seq = 4", 4),
        ("DELETE FROM journal WHERE seq = 1", 1),
        ("DELETE FROM journal WHERE seq = 10", 10),
        (
            "UPDATE journal SET seq = 99 WHERE seq = 3; UPDATE journal SET seq = 3 WHERE seq = 7; UPDATE journal SET seq = 7 WHERE seq = 99",
            3,
        ),
        ("UPDATE journal SET seq = -1 WHERE seq = 2", 1),
        ("UPDATE journal SET digest = x'00' WHERE seq = 6", 6),
    ];
    for (sql, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let store = journal_of(&path, 10).await;
        assert_eq!(store.verify_journal().await.unwrap().entries, 10);
        tamper(&path, sql).await;
        let error = store.verify_journal().await.unwrap_err();
        assert!(matches!(&error, StoreError::Journal { seq, .. } if *seq == expected), "{sql}: {error}");
    }
}

#[tokio::test]
async fn other_formats_are_refused() {
    let cases = [("PRAGMA user_version = 99", true), ("PRAGMA user_version = 0", false), ("PRAGMA user_version = -1", false)];
    for (sql, newer) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        journal_of(&path, 1).await.close().await;
        tamper(&path, sql).await;
        let error = SqliteStore::open(&path).await.unwrap_err();
        let right = if newer {
            matches!(error, StoreError::Newer { found: 99, newest: 3, .. })
        } else {
            matches!(error, StoreError::Corrupt { .. })
        };
        assert!(right && error.hint().is_some(), "{sql}: {error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, [7; 8192]).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let error = SqliteStore::open(&folder.path().join("missing/db")).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn an_interrupted_commit_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut interrupted = 0;
    for rounds in 0..40 {
        let store = SqliteStore::open(&path).await.unwrap();
        let fence = store.take_fence("test").await.unwrap();
        let before = store.verify_journal().await.unwrap();
        let pipeline = pipeline();
        let writes = (0..200).map(note).collect();
        let mut commit = Box::pin(store.commit(fence, &pipeline, Timestamp(0), writes));
        // Polled a number of times and then dropped: each round stops the commit at another await.
        let mut polls = 0;
        let ended = std::future::poll_fn(|context| {
            polls += 1;
            match commit.as_mut().poll(context) {
                std::task::Poll::Ready(result) => std::task::Poll::Ready(Some(result)),
                std::task::Poll::Pending if polls > rounds => std::task::Poll::Ready(None),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await;
        drop(commit);
        interrupted += u32::from(ended.is_none());
        if let Some(result) = &ended {
            result.as_ref().unwrap();
        }
        drop(store);
        let store = SqliteStore::open(&path).await.unwrap();
        let after = store.verify_journal().await.unwrap().entries - before.entries;
        assert!(after == 200 || (after == 0 && ended.is_none()), "{after} of 200 entries after {rounds} polls");
        store.close().await;
    }
    assert!(interrupted > 3, "only {interrupted} commits were interrupted");
}

#[tokio::test]
async fn a_state_folder_is_private_locked_and_keeps_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state");
    let state = StateFolder::open(&path, "first").await.unwrap();
    let mode = |name: &str| std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("compiled"), mode("key"), mode("blobs")), (0o700, 0o700, 0o600, 0o700));
    let error = StateFolder::open(&path, "second").await.unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, StoreError::Locked { pid: found, .. } if *found == pid), "{error:?}");
    assert!(error.hint().unwrap().contains(&pid));
    let (key, fence) = (state.key, state.fence);
    let digest = state.blobs.put(Bytes::from_static(b"rows")).await.unwrap();
    drop(state);
    let state = StateFolder::open(&path, "third").await.unwrap();
    assert_eq!(state.key, key);
    assert!(state.fence > fence);
    assert_eq!(state.blobs.get(&digest).await.unwrap(), "rows");
    drop(state);
    std::fs::write(path.join("key"), b"short").unwrap();
    assert!(matches!(StateFolder::open(&path, "fourth").await, Err(StoreError::Conflict { .. })));
    let error = StateFolder::open(&path.join("key/below"), "fifth").await.unwrap_err();
    assert!(matches!(error, StoreError::File { .. }), "{error:?}");
    let (one, two) = (StateFolder::scratch().await.unwrap(), StateFolder::scratch().await.unwrap());
    assert!(one.key != two.key && one.lock.is_none());
}

#[tokio::test]
async fn a_damaged_blob_is_named_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = ObjectBlobs::in_folder(folder.path()).unwrap();
    let digest = blobs.put(Bytes::from_static(b"rows")).await.unwrap();
    let name = digest.to_string();
    let path = folder.path().join(&name[..2]).join(&name[2..4]).join(&name);
    std::fs::write(&path, b"r0ws").unwrap();
    let error = blobs.get(&digest).await.unwrap_err();
    assert!(matches!(&error, StoreError::BlobDamaged { digest: named, .. } if *named == digest), "{error:?}");
    blobs.put(Bytes::from_static(b"rows")).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), "rows");
    // What a killed process left half-written is no blob, and is gone at the next start.
    let left = folder.path().join("tmp/1-0");
    std::fs::write(&left, b"half").unwrap();
    assert_eq!(blobs.list().await.unwrap().len(), 1);
    ObjectBlobs::in_folder(folder.path()).unwrap();
    assert!(!left.exists());
}

#[test]
fn compiled_names_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = EntryFolder::open(&folder.path().join("compiled")).unwrap();
    assert_eq!(compiled.get("abc").unwrap(), None);
    compiled.put("abc", b"one").unwrap();
    compiled.put("abc", b"two").unwrap();
    assert_eq!(compiled.get("abc").unwrap().as_deref(), Some(&b"two"[..]));
    let long = "x".repeat(201);
    for name in ["", ".", "..", ".tmp", "../key", "a/b", "a\\b", "a\0b", "é", &long] {
        assert!(matches!(compiled.put(name, b""), Err(StoreError::Name { .. })), "{name:?} was accepted");
        assert!(matches!(compiled.get(name), Err(StoreError::Name { .. })), "{name:?} was accepted");
    }
}

#[tokio::test]
async fn a_reader_sees_what_is_committed_beside_it_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let held = StateFolder::open(&path, "host").await.unwrap();
    let pipeline: PipelineId = "weather".parse().unwrap();
    let note = || vec![Write::Journal { kind: "note".into(), body: 1.into() }];
    held.meta.commit(held.fence, &pipeline, Timestamp(0), note()).await.unwrap();
    let blob = held.blobs.put("bytes".into()).await.unwrap();
    let refused = StateFolder::open(&path, "second").await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");

    let beside = StateFolder::open_to_read(&path).await.unwrap();
    assert_eq!(beside.meta.verify_journal().await.unwrap().entries, 1);
    held.meta.commit(held.fence, &pipeline, Timestamp(0), note()).await.unwrap();
    assert_eq!(beside.meta.verify_journal().await.unwrap().entries, 2, "what is committed later is seen");
    assert_eq!(beside.blobs.get(&blob).await.unwrap(), "bytes");
    assert_eq!(beside.key, held.key);
    for fence in [beside.fence, held.fence] {
        beside.meta.commit(fence, &pipeline, Timestamp(0), note()).await.unwrap_err();
    }
    beside.meta.take_fence("reader").await.unwrap_err();
    held.meta.commit(held.fence, &pipeline, Timestamp(0), note()).await.unwrap();
    // A copy is of one instant and whole.
    let copy = folder.path().join("copy.db");
    beside.meta.copy_to(&copy).await.unwrap();
    assert_eq!(SqliteStore::open(&copy).await.unwrap().verify_journal().await.unwrap().entries, 3);
    beside.meta.copy_to(&copy).await.unwrap_err();
    // While the folder is being made there is nothing to read yet.
    std::fs::remove_file(path.join("key")).unwrap();
    let early = StateFolder::open_to_read(&path).await.unwrap_err();
    assert!(matches!(early, StoreError::Locked { .. }), "{early:?}");
}
