//! The tables, and how a database of an older version becomes one of this version.

use sqlx::Row as _;

use super::SqliteStore;
use crate::StoreError;

/// One step a format; step `n` turns format `n` into format `n + 1`. Steps that were released never change.
const STEPS: [&str; 3] = [FORMAT_1, FORMAT_2, FORMAT_3];

const FORMAT_1: &str = "
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL, owner TEXT NOT NULL,
    journal_seq INTEGER NOT NULL, journal_digest BLOB NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, '', 0, zeroblob(32));

CREATE TABLE pipelines (id TEXT PRIMARY KEY, cursor BLOB) STRICT, WITHOUT ROWID;

CREATE TABLE raw_parts (
    pipeline TEXT NOT NULL REFERENCES pipelines, end_row INTEGER NOT NULL,
    first_row INTEGER NOT NULL, digest BLOB NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, end_row), UNIQUE (pipeline, first_row)
) STRICT;

CREATE TABLE clean_parts (
    pipeline TEXT NOT NULL, chain BLOB NOT NULL, end_row INTEGER NOT NULL,
    quarantined INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, chain, end_row),
    FOREIGN KEY (pipeline, end_row) REFERENCES raw_parts (pipeline, end_row)
) STRICT;
CREATE INDEX clean_parts_quarantined ON clean_parts (pipeline, chain, end_row) WHERE quarantined;

CREATE TABLE snapshots (
    id BLOB NOT NULL, pipeline TEXT NOT NULL REFERENCES pipelines, body TEXT NOT NULL,
    PRIMARY KEY (id, pipeline)
) STRICT;

CREATE TABLE runs (
    pipeline TEXT NOT NULL REFERENCES pipelines, id INTEGER NOT NULL,
    state TEXT NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, id)
) STRICT;
CREATE UNIQUE INDEX runs_open ON runs (pipeline) WHERE open;

CREATE TABLE versions (
    pipeline TEXT NOT NULL REFERENCES pipelines, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, number)
) STRICT;

CREATE TABLE decisions (
    pipeline TEXT NOT NULL, number INTEGER NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, number),
    FOREIGN KEY (pipeline, version) REFERENCES versions (pipeline, number)
) STRICT;
CREATE INDEX decisions_about ON decisions (pipeline, version, number);

CREATE TABLE alias_moves (
    pipeline TEXT NOT NULL, alias TEXT NOT NULL, decision INTEGER NOT NULL,
    at INTEGER NOT NULL, from_version INTEGER, to_version INTEGER NOT NULL,
    PRIMARY KEY (pipeline, alias, decision),
    FOREIGN KEY (pipeline, decision) REFERENCES decisions (pipeline, number) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (pipeline, to_version) REFERENCES versions (pipeline, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    pipeline TEXT NOT NULL REFERENCES pipelines, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (pipeline, key)
) STRICT;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, pipeline TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    previous BLOB NOT NULL, digest BLOB NOT NULL
) STRICT;
CREATE INDEX journal_of ON journal (pipeline, seq);

CREATE TABLE work (
    place INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, key BLOB NOT NULL, plan BLOB NOT NULL,
    lease INTEGER NOT NULL, fence INTEGER NOT NULL, owner TEXT NOT NULL, until INTEGER, result BLOB,
    UNIQUE (pipeline, key)
) STRICT;
CREATE INDEX work_pending ON work (pipeline, place) WHERE result IS NULL;
";

/// What was answered, and labels that come after their rows.
const FORMAT_2: &str = "
CREATE TABLE predictions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, row_id TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX predictions_of ON predictions (pipeline, row_id, seq);

CREATE TABLE row_ids (
    pipeline TEXT NOT NULL, row_id TEXT NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (pipeline, row_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX row_ids_by_row ON row_ids (pipeline, row);

CREATE TABLE labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, row_id TEXT NOT NULL,
    class TEXT NOT NULL, known_at INTEGER NOT NULL, received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX labels_of ON labels (pipeline, row_id, seq);
";

/// What cleaners that keep state remember. A version that does not know of it would clean on without, so that it must not open the
/// database.
const FORMAT_3: &str = "
CREATE TABLE chain_states (
    pipeline TEXT NOT NULL REFERENCES pipelines, chain BLOB NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (pipeline, chain)
) STRICT;
";

/// Refuses a database of any other format than this version's.
pub(super) async fn check(store: &SqliteStore) -> Result<(), StoreError> {
    let (newest, path) = (STEPS.len() as i64, store.path.clone());
    let failed = store.failed("reading the format");
    let row = sqlx::query("PRAGMA user_version").fetch_one(&store.pool).await.map_err(&failed)?;
    match row.try_get::<i64, _>(0).map_err(&failed)? {
        found if found == newest => Ok(()),
        found if found > newest => Err(StoreError::Newer { path, found, newest }),
        found if found > 0 => Err(StoreError::Older { path, found, newest }),
        _ => Err(StoreError::Corrupt { path, source: None }),
    }
}

/// Brings the database to this version's format.
pub(super) async fn migrate(store: &SqliteStore) -> Result<(), StoreError> {
    let newest = STEPS.len() as i64;
    let failed = store.failed("bringing the format up to date");
    // The write lock is taken first: of two processes that open a new folder at once, the second finds the tables made.
    let mut transaction = store.transaction(&store.pool, "BEGIN IMMEDIATE").await?;
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(&failed)?;
    let found: i64 = row.try_get(0).map_err(&failed)?;
    if found > newest {
        return Err(StoreError::Newer { path: store.path.clone(), found, newest });
    }
    let tables = sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await.map_err(&failed)?;
    let foreign = found < 0 || (found == 0) != (tables.try_get::<i64, _>(0).map_err(&failed)? == 0);
    if foreign {
        return Err(StoreError::Corrupt { path: store.path.clone(), source: None });
    }
    for (format, step) in (0..).zip(STEPS).skip_while(|(format, _)| *format < found) {
        sqlx::raw_sql(step).execute(&mut *transaction).await.map_err(&failed)?;
        // A pragma takes no parameters; the text is a number of ours.
        let stamp = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", format + 1));
        sqlx::raw_sql(stamp).execute(&mut *transaction).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}
