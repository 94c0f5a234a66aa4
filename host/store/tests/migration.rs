//! A database of an older format is brought up to date when it is opened, and nothing in it changes by that.
//!
//! `format_1.sql` is the text that made the databases of the first release. It never changes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};
use tidegate_store::{Feedback as _, Fence, MetaStore, SqliteStore, StoreError, WorkQueue, WorkUnit, Write};
use tidegate_testkit::samples::{
    clean_part, cleaner_state, decision, digest, label, named, pipeline, prediction, raw_part, run, snapshot, version,
};
use tidegate_vocab::{Alias, DecisionKind, RunId, Timestamp, VersionNo};

/// The tables of the first format with their columns, parents before children.
const TABLES: [(&str, &str); 12] = [
    ("head", "one, epoch, owner, journal_seq, journal_digest"),
    ("pipelines", "id, cursor"),
    ("raw_parts", "pipeline, end_row, first_row, digest, body"),
    ("clean_parts", "pipeline, chain, end_row, quarantined, body"),
    ("snapshots", "id, pipeline, body"),
    ("runs", "pipeline, id, state, open, body"),
    ("versions", "pipeline, number, body"),
    ("decisions", "pipeline, number, version, body"),
    ("alias_moves", "pipeline, alias, decision, at, from_version, to_version"),
    ("state", "pipeline, key, revision, value"),
    ("journal", "seq, at, pipeline, kind, body, previous, digest"),
    ("work", "place, pipeline, key, plan, lease, fence, owner, until, result"),
];

/// Writes something into every table.
async fn fill(store: &SqliteStore) -> Fence {
    let fence = store.take_fence("the first release").await.unwrap();
    for name in [pipeline(), named("other")] {
        let raw = [raw_part(0, 10), raw_part(10, 5)];
        let writes = vec![
            Write::RawPart(raw[0].clone()),
            Write::RawPart(raw[1].clone()),
            Write::Cursor { expected: None, cursor: b"at 15".to_vec() },
            Write::CleanPart(clean_part(&raw[0], 1)),
            Write::CleanPart(clean_part(&raw[1], 1)),
            Write::Snapshot(snapshot(1)),
            Write::NewRun(run(1)),
            Write::NewVersion(version(1)),
            Write::Decision(decision(DecisionKind::Promote, 1, None)),
            Write::MoveAlias { alias: Alias::Champion, expected: None, to: VersionNo(1) },
            Write::State { key: "loop".into(), expected: None, value: b"{}".to_vec() },
            Write::Journal { kind: "note".into(), body: serde_json::json!({ "share": 0.1 }) },
        ];
        store.commit(fence, &name, Timestamp(7), writes).await.unwrap();
        for number in 0..2 {
            let unit = WorkUnit { key: digest(number), plan: vec![1, 2, 3] };
            assert!(store.enqueue(fence, &name, unit).await.unwrap());
        }
        let leased = store.lease(fence, &name, "worker", Timestamp(0), Timestamp(9)).await.unwrap().unwrap();
        store.complete(&leased, digest(9)).await.unwrap();
    }
    fence
}

/// Everything that the first format holds, as text.
async fn story<S: MetaStore + WorkQueue>(store: &S) -> String {
    let mut told = format!("{:?}\n{:?}\n", store.pipelines().await.unwrap(), store.verify_journal().await.unwrap());
    for p in store.pipelines().await.unwrap() {
        told += &format!("{:?} {:?}\n", store.cursor(&p).await.unwrap(), store.raw_parts(&p, 0).await.unwrap());
        told += &format!("{:?}\n", store.clean_parts(&p, &digest(1), 0).await.unwrap());
        told += &format!("{:?}\n", store.quarantined(&p, &digest(1)).await.unwrap());
        told += &format!("{:?} {:?}\n", store.runs(&p).await.unwrap(), store.open_run(&p).await.unwrap().map(|run| run.id));
        told += &format!("{:?} {:?}\n", store.versions(&p).await.unwrap(), store.decisions(&p, None).await.unwrap());
        told += &format!("{:?}\n", store.alias_history(&p, Alias::Champion).await.unwrap());
        told += &format!("{:?} {:?}\n", store.state(&p, "loop").await.unwrap(), store.journal(Some(&p), 1).await.unwrap());
        told += &format!("{:?} {}\n", store.result(&p, &digest(0)).await.unwrap(), store.pending(&p).await.unwrap());
    }
    told + &format!("{:?}", store.snapshot(&snapshot(1).id()).await.unwrap())
}

/// A database in the first format with the rows of the one at `from`.
async fn first_format(from: &Path, to: &Path) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", to.display())).await.unwrap();
    sqlx::raw_sql(include_str!("format_1.sql")).execute(&mut connection).await.unwrap();
    sqlx::query("ATTACH ? AS newer").bind(from.display().to_string()).execute(&mut connection).await.unwrap();
    for (table, columns) in TABLES {
        let copy = format!("DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut connection).await.unwrap();
        let count = format!("SELECT count(*) FROM main.{table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut connection).await.unwrap();
        assert!(rows > 0, "the test has no row of `{table}`");
    }
    sqlx::raw_sql("PRAGMA user_version = 1; PRAGMA journal_mode = WAL").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_format_reads_the_same_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (now, old) = (folder.path().join("now.db"), folder.path().join("old.db"));
    let store = SqliteStore::open(&now).await.unwrap();
    let fence = fill(&store).await;
    let expected = story(&store).await;
    store.close().await;
    first_format(&now, &old).await;

    // Beside a running process nothing is brought up to date: an older format is refused, and stays what it is.
    for _ in 0..2 {
        let refused = SqliteStore::open_to_read(&old).await.unwrap_err();
        assert!(matches!(refused, StoreError::Older { found: 1, newest: 3, .. }), "{refused:?}");
        assert!(refused.hint().unwrap().contains("stop it"));
    }

    let migrated = SqliteStore::open(&old).await.unwrap();
    assert_eq!(story(&migrated).await, expected);
    // It takes what the new format takes, under the fence that was current, and goes on where it stopped.
    let p = pipeline();
    assert_eq!((migrated.prediction_count(&p).await.unwrap(), migrated.label_count(&p).await.unwrap()), (0, 0));
    migrated.log_predictions(fence, &p, &[prediction("a", 1)]).await.unwrap();
    migrated.add_labels(fence, &p, Timestamp(8), &[label("a", "1", 8)]).await.unwrap();
    assert_eq!(migrated.chain_state(&p, &digest(1)).await.unwrap(), None);
    let remembered = vec![cleaner_state(0, 7)];
    let state = Write::ChainState { chain: digest(1), expected: None, state: remembered.clone() };
    migrated.commit(fence, &p, Timestamp(8), vec![Write::RawPart(raw_part(15, 1)), state]).await.unwrap();
    assert_eq!(migrated.chain_state(&p, &digest(1)).await.unwrap(), Some((1, remembered)));
    assert_eq!(migrated.open_run(&p).await.unwrap().map(|run| run.id), Some(RunId(1)));
    migrated.verify_journal().await.unwrap();
    migrated.close().await;

    let reading = SqliteStore::open_to_read(&old).await.unwrap();
    assert_eq!(reading.label_count(&p).await.unwrap(), 1);
    let refused = reading.commit(fence, &p, Timestamp(9), vec![Write::RawPart(raw_part(16, 1))]).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused:?}");
}
