//! From rows of SQLite to nouns; whatever is not what this version wrote is an error, never a panic.

use serde::de::DeserializeOwned;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row as _, Sqlite};
use tidegate_vocab::{Digest, PipelineId, Timestamp, VersionNo};

use super::SqliteStore;
use crate::journal::StoredEntry;
use crate::{AliasMove, JournalEntry, JournalHead, StoreError};

/// Journal entries that are in memory at once while the chain is walked.
const JOURNAL_PAGE_ENTRIES: i64 = 4_096;

type Sql<'q> = Query<'q, Sqlite, SqliteArguments>;

impl SqliteStore {
    /// The one value that `query` selects as JSON.
    pub(super) async fn value<T: DeserializeOwned>(&self, what: &'static str, query: Sql<'_>) -> Result<Option<T>, StoreError> {
        let row = query.fetch_optional(&self.pool).await.map_err(self.failed("reading"))?;
        row.map(|row| value(what, &row, 0)).transpose()
    }

    /// The values that `query` selects as JSON.
    pub(super) async fn values<T: DeserializeOwned>(&self, what: &'static str, query: Sql<'_>) -> Result<Vec<T>, StoreError> {
        let rows = query.fetch_all(&self.pool).await.map_err(self.failed("reading"))?;
        rows.iter().map(|row| value(what, row, 0)).collect()
    }
}

/// Integers of SQLite are signed; numbers beyond their range are larger than any that was stored.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A digest as it is stored in key columns.
pub(super) fn bytes(digest: &Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}

pub(super) fn value<T: DeserializeOwned>(what: &'static str, row: &SqliteRow, column: usize) -> Result<T, StoreError> {
    let text: &str = row.try_get(column).map_err(|error| StoreError::stored(what, error))?;
    serde_json::from_str(text).map_err(|error| StoreError::stored(what, error))
}

pub(super) fn number(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column).map_err(|error| StoreError::stored("number", error))?;
    u64::try_from(number).map_err(|error| StoreError::stored("number", error))
}

pub(super) fn version(row: &SqliteRow, column: usize) -> Result<VersionNo, StoreError> {
    Ok(version_or_none(row, column)?.unwrap_or(VersionNo(0)))
}

pub(super) fn version_or_none(row: &SqliteRow, column: usize) -> Result<Option<VersionNo>, StoreError> {
    let number: Option<u32> = row.try_get(column).map_err(|error| StoreError::stored("version number", error))?;
    Ok(number.map(VersionNo))
}

pub(super) fn digest(row: &SqliteRow, column: usize) -> Result<Digest, StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(|error| StoreError::stored("digest", error))?;
    bytes.try_into().map(Digest::from_bytes).map_err(|error| StoreError::stored("digest", error))
}

pub(super) fn pipeline(row: &SqliteRow, column: usize) -> Result<PipelineId, StoreError> {
    let text: String = row.try_get(column).map_err(|error| StoreError::stored("pipeline id", error))?;
    PipelineId::try_from(text).map_err(|error| StoreError::stored("pipeline id", error))
}

/// A row of `at, from_version, to_version, decision`.
pub(super) fn alias_move(row: &SqliteRow) -> Result<AliasMove, StoreError> {
    let at = Timestamp(row.try_get(0).map_err(|error| StoreError::stored("instant", error))?);
    Ok(AliasMove { at, from: version_or_none(row, 1)?, to: version(row, 2)?, decision: number(row, 3)? })
}

/// The journal from entry `from` on.
pub(super) async fn journal(store: &SqliteStore, about: Option<&PipelineId>, from: u64) -> Result<Vec<JournalEntry>, StoreError> {
    const OF_ALL: &str = "SELECT seq, at, pipeline, kind, body, previous, digest FROM journal WHERE seq >= ? ORDER BY seq";
    const OF_ONE: &str = "SELECT seq, at, pipeline, kind, body, previous, digest FROM journal WHERE pipeline = ? AND seq >= ? ORDER BY seq";
    let query = match about {
        None => sqlx::query(OF_ALL),
        Some(pipeline) => sqlx::query(OF_ONE).bind(pipeline.as_str()),
    };
    let rows = query.bind(signed(from)).fetch_all(&store.pool).await.map_err(store.failed("reading the journal"))?;
    let entry = |row: &SqliteRow| -> Result<JournalEntry, StoreError> {
        let stored = stored_entry(row).map_err(|error| StoreError::stored("journal entry", error))?;
        Ok(JournalEntry {
            seq: stored.seq,
            at: stored.at,
            pipeline: pipeline(row, 2)?,
            kind: stored.kind,
            body: value("journal entry", row, 4)?,
            previous: digest(row, 5)?,
            digest: digest(row, 6)?,
        })
    };
    rows.iter().map(entry).collect()
}

/// Walks the chain page by page, in one read transaction so that commits meanwhile do not show halfway.
pub(super) async fn verify_journal(store: &SqliteStore) -> Result<JournalHead, StoreError> {
    let failed = store.failed("reading the journal");
    let mut transaction = store.transaction(&store.pool, "BEGIN").await?;
    let row = sqlx::query("SELECT journal_seq, journal_digest FROM head").fetch_one(&mut *transaction).await.map_err(&failed)?;
    let written = JournalHead { entries: number(&row, 0)?, digest: digest(&row, 1)? };
    let mut head = JournalHead::empty();
    // The first page begins below every number, so that an entry with a number that no entry gets is seen too.
    let mut after = i64::MIN;
    loop {
        let sql = "SELECT seq, at, pipeline, kind, body, previous, digest FROM journal WHERE seq > ? ORDER BY seq LIMIT ?";
        let rows = sqlx::query(sql).bind(after).bind(JOURNAL_PAGE_ENTRIES).fetch_all(&mut *transaction).await.map_err(&failed)?;
        for row in &rows {
            let seq = head.entries + 1;
            let entry = stored_entry(row).map_err(|_| StoreError::Journal { seq, why: "was changed: it cannot be read".to_owned() })?;
            head = entry.check(&head)?;
        }
        if rows.is_empty() {
            break;
        }
        after = signed(head.entries);
    }
    if head.entries < written.entries {
        let why = format!("is missing: {} were written", written.entries);
        return Err(StoreError::Journal { seq: head.entries + 1, why });
    }
    if head != written {
        return Err(StoreError::Journal { seq: head.entries, why: "is not the one that was written last".to_owned() });
    }
    Ok(head)
}

fn stored_entry(row: &SqliteRow) -> Result<StoredEntry, sqlx::Error> {
    Ok(StoredEntry {
        seq: row.try_get::<i64, _>(0)?.cast_unsigned(),
        at: Timestamp(row.try_get(1)?),
        pipeline: row.try_get(2)?,
        kind: row.try_get(3)?,
        body: row.try_get(4)?,
        previous: row.try_get(5)?,
        digest: row.try_get(6)?,
    })
}
