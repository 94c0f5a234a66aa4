//! The metadata store and the work queue in one SQLite database.
//!
//! Files use write-ahead logging with `synchronous = FULL`, so that a commit that returned survives a power failure. The work queue
//! alone does not wait for the disk: its units are derived from what is committed, and one that is forgotten is enqueued and done
//! again with the same result. Every value sits as JSON beside the columns that it is looked up by. Readers have connections of
//! their own; writers take turns.

mod feedback;
mod format;
mod queue;
mod read;
mod upkeep;
mod write;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqlSafeStr as _, Sqlite, SqliteConnection, Transaction};
use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Decision, Digest, ModelVersion, PipelineId, Quarantined, RawPart, Run, RunId, Snapshot, Timestamp,
    VersionNo,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{AliasMove, Fence, JournalEntry, JournalHead, MetaStore, StoreError, Write};

/// Connections to a database file; reads beyond wait for one.
const CONNECTIONS_MAX: u32 = 4;
/// How long a writer waits for another process that has the database locked.
const BUSY_MS_MAX: u64 = 60_000;
/// Prepared statements that one connection keeps.
const STATEMENTS_MAX: usize = 512;

/// A metadata store in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    /// What the work queue writes through.
    unsynced: SqlitePool,
    path: PathBuf,
    /// SQLite has one writer at a time; waiting here is fair and cheap, waiting in SQLite is polling.
    writing: Mutex<()>,
}

impl SqliteStore {
    /// Opens the database at `path`, creating it or bringing it to this version's format where needed.
    ///
    /// # Errors
    /// [`StoreError::Newer`] for a database of a newer version, [`StoreError::Corrupt`] for a file that is not a database of ours.
    pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, CONNECTIONS_MAX).await
    }

    async fn open_with(path: &Path, connections: u32) -> Result<SqliteStore, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).synchronous(SqliteSynchronous::Full);
        // One connection alone switches a new database to its write-ahead log, or recovers the log that a killed process left. Two
        // that did so at once would refuse each other without waiting. The mode stays with the file.
        let failed = |error| StoreError::database("opening", path, error);
        let first = options.clone().journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_millis(BUSY_MS_MAX));
        SqliteConnection::connect_with(&first).await.map_err(failed)?.close().await.map_err(failed)?;
        let store = SqliteStore::connect(path.to_owned(), options, connections).await?;
        format::migrate(&store).await?;
        Ok(store)
    }

    /// Opens the database at `path` for reading only, beside a process that writes to it. It is neither made nor brought to this
    /// version's format.
    ///
    /// # Errors
    /// [`StoreError::Older`] and [`StoreError::Newer`] for a database of another format, and as [`SqliteStore::open`].
    pub async fn open_to_read(path: &Path) -> Result<SqliteStore, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true);
        let store = SqliteStore::connect(path.to_owned(), options, CONNECTIONS_MAX).await?;
        format::check(&store).await?;
        Ok(store)
    }

    /// A new database in memory, gone when the store is dropped.
    pub async fn in_memory() -> Result<SqliteStore, StoreError> {
        let path = PathBuf::from(":memory:");
        let options = SqliteConnectOptions::from_str("sqlite::memory:")
            .map_err(|error| StoreError::database("opening a database in memory", &path, error))?
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off);
        // Every connection to `:memory:` is a database of its own, so there is one, and it is never closed for being idle.
        let store = SqliteStore::connect(path, options, 1).await?;
        format::migrate(&store).await?;
        Ok(store)
    }

    async fn connect(path: PathBuf, options: SqliteConnectOptions, connections: u32) -> Result<SqliteStore, StoreError> {
        let options = options.foreign_keys(true).busy_timeout(Duration::from_millis(BUSY_MS_MAX)).statement_cache_capacity(STATEMENTS_MAX);
        let failed = |error| StoreError::database("opening", &path, error);
        let pools = SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).test_before_acquire(false);
        let pool = pools.clone().max_connections(connections).min_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        // A second connection to `:memory:` would be a second database.
        let unsynced = if connections == 1 {
            pool.clone()
        } else {
            let options = options.synchronous(SqliteSynchronous::Normal);
            pools.max_connections(1).min_connections(0).connect_lazy_with(options)
        };
        Ok(SqliteStore { pool, unsynced, path, writing: Mutex::new(()) })
    }

    /// Closes the connections, folding the write-ahead log into the database file. Dropping the store does so too, later.
    pub async fn close(&self) {
        self.unsynced.close().await;
        self.pool.close().await;
    }

    /// Starts a transaction that holds SQLite's write lock from its first statement on.
    async fn writing(&self) -> Result<(MutexGuard<'_, ()>, Transaction<'static, Sqlite>), StoreError> {
        let turn = self.writing.lock().await;
        let transaction = self.transaction(&self.pool, "BEGIN IMMEDIATE").await?;
        Ok((turn, transaction))
    }

    /// As [`SqliteStore::writing`], but its commit survives the end of the process and not a power failure. What is committed in full
    /// afterwards takes it to the disk.
    async fn writing_unsynced(&self) -> Result<(MutexGuard<'_, ()>, Transaction<'static, Sqlite>), StoreError> {
        let turn = self.writing.lock().await;
        let transaction = self.transaction(&self.unsynced, "BEGIN IMMEDIATE").await?;
        Ok((turn, transaction))
    }

    /// Starts a transaction on a connection that has none.
    async fn transaction(&self, pool: &SqlitePool, begin: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let failed = self.failed("starting a transaction");
        let mut connection = pool.acquire().await.map_err(&failed)?;
        if connection.is_in_transaction() {
            // A transaction that was dropped is being rolled back; a trip to the connection lets that finish.
            _ = sqlx::raw_sql("SELECT 1").execute(&mut *connection).await;
        }
        if connection.is_in_transaction() {
            // On some errors, a full disk among them, SQLite ends the transaction by itself; sqlx's rollback then fails, and it
            // counts a transaction that is not there for as long as the connection lives.
            connection.close().await.map_err(&failed)?;
            connection = pool.acquire().await.map_err(&failed)?;
        }
        Transaction::begin(connection, Some(begin.into_sql_str())).await.map_err(&failed)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        move |error| StoreError::database(doing, &self.path, error)
    }
}

#[async_trait]
impl MetaStore for SqliteStore {
    async fn take_fence(&self, owner: &str) -> Result<Fence, StoreError> {
        let (_turn, mut transaction) = self.writing().await?;
        let row = sqlx::query("UPDATE head SET epoch = epoch + 1, owner = ? RETURNING epoch")
            .bind(owner)
            .fetch_one(&mut *transaction)
            .await
            .map_err(self.failed("taking a fence"))?;
        transaction.commit().await.map_err(self.failed("taking a fence"))?;
        Ok(Fence(read::number(&row, 0)?))
    }

    async fn commit(&self, fence: Fence, pipeline: &PipelineId, at: Timestamp, writes: Vec<Write>) -> Result<(), StoreError> {
        write::commit(self, fence, pipeline, at, writes).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM pipelines ORDER BY id").fetch_all(&self.pool).await;
        let rows = rows.map_err(self.failed("listing pipelines"))?;
        rows.iter().map(|row| read::pipeline(row, 0)).collect()
    }

    async fn cursor(&self, pipeline: &PipelineId) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("SELECT cursor FROM pipelines WHERE id = ?").bind(pipeline.as_str());
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading the cursor"))?;
        Ok(row.map(|row| row.try_get(0)).transpose().map_err(self.failed("reading the cursor"))?.flatten())
    }

    async fn raw_parts(&self, pipeline: &PipelineId, from_row: u64) -> Result<Vec<RawPart>, StoreError> {
        let query = sqlx::query("SELECT body FROM raw_parts WHERE pipeline = ? AND end_row > ? ORDER BY end_row");
        self.values("raw part", query.bind(pipeline.as_str()).bind(read::signed(from_row))).await
    }

    async fn clean_parts(&self, pipeline: &PipelineId, chain: &Digest, from_row: u64) -> Result<Vec<CleanPart>, StoreError> {
        let sql = "SELECT body FROM clean_parts WHERE pipeline = ? AND chain = ? AND end_row > ? ORDER BY end_row";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(read::bytes(chain)).bind(read::signed(from_row));
        self.values("cleaned part", query).await
    }

    async fn quarantined(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Vec<(Digest, Quarantined)>, StoreError> {
        let sql = "SELECT body FROM clean_parts WHERE pipeline = ? AND chain = ? AND quarantined ORDER BY end_row";
        let parts: Vec<CleanPart> = self.values("cleaned part", sqlx::query(sql).bind(pipeline.as_str()).bind(read::bytes(chain))).await?;
        Ok(parts.into_iter().flat_map(|part| part.quarantined.into_iter().map(move |group| (part.raw, group))).collect())
    }

    async fn chain_state(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Option<(u64, Vec<CleanerState>)>, StoreError> {
        let query = sqlx::query("SELECT revision, body FROM chain_states WHERE pipeline = ? AND chain = ?");
        let query = query.bind(pipeline.as_str()).bind(read::bytes(chain));
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading the state of cleaners"))?;
        row.map(|row| Ok((read::number(&row, 0)?, read::value("cleaner's state", &row, 1)?))).transpose()
    }

    async fn run(&self, pipeline: &PipelineId, id: RunId) -> Result<Option<Run>, StoreError> {
        let query = sqlx::query("SELECT body FROM runs WHERE pipeline = ? AND id = ?");
        self.value("run", query.bind(pipeline.as_str()).bind(read::signed(id.0))).await
    }

    async fn runs(&self, pipeline: &PipelineId) -> Result<Vec<Run>, StoreError> {
        self.values("run", sqlx::query("SELECT body FROM runs WHERE pipeline = ? ORDER BY id").bind(pipeline.as_str())).await
    }

    async fn open_run(&self, pipeline: &PipelineId) -> Result<Option<Run>, StoreError> {
        self.value("run", sqlx::query("SELECT body FROM runs WHERE pipeline = ? AND open").bind(pipeline.as_str())).await
    }

    async fn version(&self, pipeline: &PipelineId, number: VersionNo) -> Result<Option<ModelVersion>, StoreError> {
        let query = sqlx::query("SELECT body FROM versions WHERE pipeline = ? AND number = ?");
        self.value("version", query.bind(pipeline.as_str()).bind(number.0)).await
    }

    async fn versions(&self, pipeline: &PipelineId) -> Result<Vec<ModelVersion>, StoreError> {
        let query = sqlx::query("SELECT body FROM versions WHERE pipeline = ? ORDER BY number");
        self.values("version", query.bind(pipeline.as_str())).await
    }

    async fn alias(&self, pipeline: &PipelineId, alias: Alias) -> Result<Option<VersionNo>, StoreError> {
        // The moves are the only record of an alias; where it points is never stored a second time.
        let sql = "SELECT to_version FROM alias_moves WHERE pipeline = ? AND alias = ? ORDER BY decision DESC LIMIT 1";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(alias.word());
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading an alias"))?;
        row.map(|row| read::version(&row, 0)).transpose()
    }

    async fn alias_history(&self, pipeline: &PipelineId, alias: Alias) -> Result<Vec<AliasMove>, StoreError> {
        let sql = "SELECT at, from_version, to_version, decision FROM alias_moves WHERE pipeline = ? AND alias = ? ORDER BY decision";
        let rows = sqlx::query(sql).bind(pipeline.as_str()).bind(alias.word()).fetch_all(&self.pool).await;
        rows.map_err(self.failed("reading an alias"))?.iter().map(read::alias_move).collect()
    }

    async fn decisions(&self, pipeline: &PipelineId, about: Option<VersionNo>) -> Result<Vec<(u64, Decision)>, StoreError> {
        let query = match about {
            None => sqlx::query("SELECT number, body FROM decisions WHERE pipeline = ? ORDER BY number").bind(pipeline.as_str()),
            Some(version) => sqlx::query("SELECT number, body FROM decisions WHERE pipeline = ? AND version = ? ORDER BY number")
                .bind(pipeline.as_str())
                .bind(version.0),
        };
        let rows = query.fetch_all(&self.pool).await.map_err(self.failed("reading decisions"))?;
        rows.iter().map(|row| Ok((read::number(row, 0)?, read::value("decision", row, 1)?))).collect()
    }

    async fn snapshot(&self, id: &Digest) -> Result<Option<Snapshot>, StoreError> {
        self.value("snapshot", sqlx::query("SELECT body FROM snapshots WHERE id = ? LIMIT 1").bind(read::bytes(id))).await
    }

    async fn state(&self, pipeline: &PipelineId, key: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let query = sqlx::query("SELECT revision, value FROM state WHERE pipeline = ? AND key = ?").bind(pipeline.as_str()).bind(key);
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading state"))?;
        row.map(|row| Ok((read::number(&row, 0)?, row.try_get(1).map_err(self.failed("reading state"))?))).transpose()
    }

    async fn journal(&self, pipeline: Option<&PipelineId>, from: u64) -> Result<Vec<JournalEntry>, StoreError> {
        read::journal(self, pipeline, from).await
    }

    async fn verify_journal(&self) -> Result<JournalHead, StoreError> {
        read::verify_journal(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_database_is_its_own_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open_with(&folder.path().join("db"), 1).await.unwrap();
        let fence = store.take_fence("test").await.unwrap();
        let pipeline: PipelineId = "weather".parse().unwrap();
        let note = || Write::Journal { kind: "note".into(), body: 1.into() };
        store.commit(fence, &pipeline, Timestamp(0), vec![note()]).await.unwrap();
        // SQLite's own bound on pages stands in for the disk: it gives the same result code. It holds for one connection.
        sqlx::raw_sql("PRAGMA max_page_count = 64").execute(&store.pool).await.unwrap();
        let big = Write::State { key: "big".into(), expected: None, value: vec![7; 1 << 20] };
        let error = store.commit(fence, &pipeline, Timestamp(0), vec![note(), big.clone()]).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }) && error.hint().is_some(), "{error:?}");
        assert_eq!(store.verify_journal().await.unwrap().entries, 1);
        // Once there is space, the same commit goes through.
        store.commit(fence, &pipeline, Timestamp(0), vec![note(), big]).await.unwrap();
        assert_eq!(store.verify_journal().await.unwrap().entries, 2);
    }

    #[tokio::test]
    async fn a_statement_for_each_number_of_rows_is_not_kept() {
        use sqlx::Connection as _;

        use crate::Feedback as _;

        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open_with(&folder.path().join("db"), 1).await.unwrap();
        let fence = store.take_fence("test").await.unwrap();
        let pipeline: PipelineId = "weather".parse().unwrap();
        let kept = async |count: usize| {
            let ids: Vec<String> = (0..count).map(|row| format!("{count}-{row}")).collect();
            let predictions: Vec<_> = ids.iter().map(|id| tidegate_testkit::samples::prediction(id, 0)).collect();
            store.log_predictions(fence, &pipeline, &predictions).await.unwrap();
            let named: Vec<(String, u64)> = ids.iter().cloned().zip(0..).collect();
            store.name_rows(fence, &pipeline, &named).await.unwrap();
            assert_eq!(store.predictions_of(&pipeline, &ids).await.unwrap().len(), count);
            store.pool.acquire().await.unwrap().cached_statements_size()
        };
        let at_first = kept(1).await;
        for count in 2..12 {
            assert_eq!(kept(count).await, at_first, "after {count} rows at once");
        }
    }
}
