//! One commit: read what decides, decide in memory, write everything in one go.
//!
//! Each statement costs a trip to the connection's thread, so a commit makes as few as it can: the facts are one query, the
//! changes are one text of many statements. The text is put together from literals only; values are always bound.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Row as _, Sqlite, SqliteConnection, Type};
use tidegate_vocab::{Digest, PipelineId, Timestamp};

use super::SqliteStore;
use super::read::{bytes, digest, number, signed, value, version_or_none};
use crate::commit::{Change, Facts, Wanted, changes, word};
use crate::{Fence, JournalHead, StoreError, Write};

/// Statements that are sent at once.
const STATEMENTS_BATCH_MAX: usize = 64;

const FACTS: &str = "
SELECT h.epoch, h.owner, h.journal_seq, h.journal_digest, p.id IS NOT NULL, p.cursor,
    (SELECT max(end_row) FROM raw_parts WHERE pipeline = $1),
    (SELECT max(id) FROM runs WHERE pipeline = $1),
    (SELECT id FROM runs WHERE pipeline = $1 AND open),
    (SELECT max(number) FROM versions WHERE pipeline = $1),
    (SELECT max(number) FROM decisions WHERE pipeline = $1),
    (SELECT to_version FROM alias_moves WHERE pipeline = $1 AND alias = 'champion' ORDER BY decision DESC LIMIT 1),
    (SELECT to_version FROM alias_moves WHERE pipeline = $1 AND alias = 'anchor' ORDER BY decision DESC LIMIT 1)
FROM head h LEFT JOIN pipelines p ON p.id = $1";

pub(super) async fn commit(
    store: &SqliteStore,
    fence: Fence,
    pipeline: &PipelineId,
    at: Timestamp,
    writes: Vec<Write>,
) -> Result<(), StoreError> {
    let (_turn, mut transaction) = store.writing().await?;
    let failed = store.failed("committing");
    let row = sqlx::query(FACTS).bind(pipeline.as_str()).fetch_one(&mut *transaction).await.map_err(&failed)?;
    let mut facts = facts(&row)?;
    look_up(store, &mut transaction, pipeline, Wanted::of(&writes), &mut facts).await?;
    // An error from here on drops the transaction, which rolls it back.
    let changes = changes(facts, fence, pipeline, at, writes)?;
    let mut batch = Batch::default();
    for change in changes {
        add(&mut batch, pipeline, change)?;
        if batch.statements == STATEMENTS_BATCH_MAX {
            std::mem::take(&mut batch).send(&mut transaction).await.map_err(&failed)?;
        }
    }
    batch.send(&mut transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}

fn facts(row: &SqliteRow) -> Result<Facts, StoreError> {
    let get = |error| StoreError::stored("head", error);
    let number_or_none = |column: usize| -> Result<Option<u64>, StoreError> {
        let number: Option<i64> = row.try_get(column).map_err(get)?;
        number.map(|number| u64::try_from(number).map_err(|error| StoreError::stored("number", error))).transpose()
    };
    Ok(Facts {
        fence: Fence(number(row, 0)?),
        owner: row.try_get(1).map_err(get)?,
        journal: JournalHead { entries: number(row, 2)?, digest: digest(row, 3)? },
        known: row.try_get(4).map_err(get)?,
        cursor: row.try_get(5).map_err(get)?,
        rows: number_or_none(6)?.unwrap_or(0),
        last_run: number_or_none(7)?.unwrap_or(0),
        open_run: number_or_none(8)?.map(tidegate_vocab::RunId),
        last_version: version_or_none(row, 9)?.map_or(0, |version| version.0),
        last_decision: number_or_none(10)?.unwrap_or(0),
        champion: version_or_none(row, 11)?,
        anchor: version_or_none(row, 12)?,
        runs: Default::default(),
        versions: Default::default(),
        state: Default::default(),
        chain_states: Default::default(),
        raw: Default::default(),
        clean: Default::default(),
    })
}

/// Reads what the writes refer to by key. Most commits refer to one or two things.
async fn look_up(
    store: &SqliteStore,
    connection: &mut SqliteConnection,
    pipeline: &PipelineId,
    wanted: Wanted,
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let failed = store.failed("committing");
    for id in wanted.runs {
        let query = sqlx::query("SELECT body FROM runs WHERE pipeline = ? AND id = ?").bind(pipeline.as_str()).bind(signed(id.0));
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.runs.insert(id, value("run", &row, 0)?);
        }
    }
    for version in wanted.versions {
        let query = sqlx::query("SELECT body FROM versions WHERE pipeline = ? AND number = ?").bind(pipeline.as_str()).bind(version.0);
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.versions.insert(version, value("version", &row, 0)?);
        }
    }
    for key in wanted.state {
        let query = sqlx::query("SELECT revision FROM state WHERE pipeline = ? AND key = ?").bind(pipeline.as_str()).bind(&key);
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.state.insert(key.clone(), number(&row, 0)?);
        }
    }
    for chain in wanted.chain_states {
        let sql = "SELECT revision FROM chain_states WHERE pipeline = ? AND chain = ?";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(bytes(&chain));
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.chain_states.insert(chain, number(&row, 0)?);
        }
    }
    for first_row in wanted.raw {
        let sql = "SELECT digest, end_row FROM raw_parts WHERE pipeline = ? AND first_row = ?";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(signed(first_row));
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.raw.insert(first_row, (digest(&row, 0)?, number(&row, 1)?));
        }
    }
    for (chain, first_row) in wanted.clean {
        // A cleaned part ends where its raw part ends; one of a raw part of this same commit cannot be there yet.
        let Some((_, end_row)) = facts.raw.get(&first_row) else { continue };
        let sql = "SELECT body FROM clean_parts WHERE pipeline = ? AND chain = ? AND end_row = ?";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(bytes(&chain)).bind(signed(*end_row));
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(&failed)? {
            facts.clean.insert((chain, first_row), value("cleaned part", &row, 0)?);
        }
    }
    Ok(())
}

/// Statements and their values, to be sent at once.
#[derive(Default)]
struct Batch {
    sql: String,
    arguments: SqliteArguments,
    statements: usize,
}

impl Batch {
    /// Adds a statement; its values follow, one a `?`, in order.
    fn statement(&mut self, sql: &'static str) -> &mut Batch {
        self.sql.push_str(sql);
        self.sql.push(';');
        self.statements += 1;
        self
    }

    fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> Result<&mut Batch, StoreError> {
        self.arguments.add(value).map_err(|error| StoreError::stored("value", error))?;
        Ok(self)
    }

    fn key(&mut self, pipeline: &PipelineId) -> Result<&mut Batch, StoreError> {
        self.bind(pipeline.as_str())
    }

    fn digest(&mut self, digest: &Digest) -> Result<&mut Batch, StoreError> {
        self.bind(bytes(digest))
    }

    async fn send(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.statements == 0 {
            return Ok(());
        }
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).execute(connection).await.map(|_| ())
    }
}

fn add(batch: &mut Batch, pipeline: &PipelineId, change: Change) -> Result<(), StoreError> {
    match change {
        Change::Pipeline => batch.statement("INSERT INTO pipelines (id) VALUES (?)").key(pipeline)?,
        Change::RawPart { end_row, part, stored } => batch
            .statement("INSERT INTO raw_parts (pipeline, end_row, first_row, digest, body) VALUES (?, ?, ?, ?, ?)")
            .key(pipeline)?
            .bind(signed(end_row))?
            .bind(signed(part.first_row))?
            .digest(&part.digest)?
            .bind(stored)?,
        Change::Cursor(cursor) => batch.statement("UPDATE pipelines SET cursor = ? WHERE id = ?").bind(cursor)?.key(pipeline)?,
        Change::CleanPart { end_row, part, stored } => batch
            .statement("INSERT INTO clean_parts (pipeline, chain, end_row, quarantined, body) VALUES (?, ?, ?, ?, ?)")
            .key(pipeline)?
            .digest(&part.chain)?
            .bind(signed(end_row))?
            .bind(!part.quarantined.is_empty())?
            .bind(stored)?,
        Change::Snapshot { id, stored } => batch
            .statement("INSERT INTO snapshots (id, pipeline, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .digest(&id)?
            .key(pipeline)?
            .bind(stored)?,
        Change::NewRun { id, state, stored } => batch
            .statement("INSERT INTO runs (pipeline, id, state, open, body) VALUES (?, ?, ?, ?, ?)")
            .key(pipeline)?
            .bind(signed(id.0))?
            .bind(word(state))?
            .bind(!state.is_final())?
            .bind(stored)?,
        Change::Run { id, state, stored } => batch
            .statement("UPDATE runs SET state = ?, open = ?, body = ? WHERE pipeline = ? AND id = ?")
            .bind(word(state))?
            .bind(!state.is_final())?
            .bind(stored)?
            .key(pipeline)?
            .bind(signed(id.0))?,
        Change::NewVersion { number, stored } => {
            batch.statement("INSERT INTO versions (pipeline, number, body) VALUES (?, ?, ?)").key(pipeline)?.bind(number.0)?.bind(stored)?
        }
        Change::Version { number, stored } => {
            batch.statement("UPDATE versions SET body = ? WHERE pipeline = ? AND number = ?").bind(stored)?.key(pipeline)?.bind(number.0)?
        }
        change => return add_rest(batch, pipeline, change),
    };
    Ok(())
}

/// The other half of [`add`]: what was decided, the loop's state and the journal.
fn add_rest(batch: &mut Batch, pipeline: &PipelineId, change: Change) -> Result<(), StoreError> {
    match change {
        Change::Decision { number, version, stored } => batch
            .statement("INSERT INTO decisions (pipeline, number, version, body) VALUES (?, ?, ?, ?)")
            .key(pipeline)?
            .bind(signed(number))?
            .bind(version.0)?
            .bind(stored)?,
        Change::MoveAlias { alias, moved } => batch
            .statement("INSERT INTO alias_moves (pipeline, alias, decision, at, from_version, to_version) VALUES (?, ?, ?, ?, ?, ?)")
            .key(pipeline)?
            .bind(alias.word())?
            .bind(signed(moved.decision))?
            .bind(moved.at.0)?
            .bind(moved.from.map(|version| version.0))?
            .bind(moved.to.0)?,
        Change::NewState { key, value } => batch
            .statement("INSERT INTO state (pipeline, key, revision, value) VALUES (?, ?, 1, ?)")
            .key(pipeline)?
            .bind(key)?
            .bind(value)?,
        Change::State { key, revision, value } => batch
            .statement("UPDATE state SET revision = ?, value = ? WHERE pipeline = ? AND key = ?")
            .bind(signed(revision))?
            .bind(value)?
            .key(pipeline)?
            .bind(key)?,
        Change::Journal { entry, stored } => batch
            .statement("INSERT INTO journal (seq, at, pipeline, kind, body, previous, digest) VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(entry.seq))?
            .bind(entry.at.0)?
            .key(pipeline)?
            .bind(entry.kind)?
            .bind(stored)?
            .digest(&entry.previous)?
            .digest(&entry.digest)?,
        Change::JournalHead(head) => {
            batch.statement("UPDATE head SET journal_seq = ?, journal_digest = ?").bind(signed(head.entries))?.digest(&head.digest)?
        }
        change => return add_upkeep(batch, pipeline, change),
    };
    Ok(())
}

/// What replaces or removes rows of tables.
fn add_upkeep(batch: &mut Batch, pipeline: &PipelineId, change: Change) -> Result<(), StoreError> {
    match change {
        Change::ReplaceCleanPart { end_row, part, stored } => batch
            .statement("UPDATE clean_parts SET quarantined = ?, body = ? WHERE pipeline = ? AND chain = ? AND end_row = ?")
            .bind(!part.quarantined.is_empty())?
            .bind(stored)?
            .key(pipeline)?
            .digest(&part.chain)?
            .bind(signed(end_row))?,
        Change::DropRows { below } => batch
            .statement("DELETE FROM clean_parts WHERE pipeline = ? AND end_row <= ?")
            .key(pipeline)?
            .bind(signed(below))?
            .statement("DELETE FROM raw_parts WHERE pipeline = ? AND end_row <= ?")
            .key(pipeline)?
            .bind(signed(below))?
            .statement("DELETE FROM labels WHERE pipeline = ? AND row_id IN (SELECT row_id FROM row_ids WHERE pipeline = ? AND row < ?)")
            .key(pipeline)?
            .key(pipeline)?
            .bind(signed(below))?
            .statement("DELETE FROM row_ids WHERE pipeline = ? AND row < ?")
            .key(pipeline)?
            .bind(signed(below))?,
        Change::ChainState { chain, revision, stored } => batch
            .statement("INSERT OR REPLACE INTO chain_states (pipeline, chain, revision, body) VALUES (?, ?, ?, ?)")
            .key(pipeline)?
            .digest(&chain)?
            .bind(signed(revision))?
            .bind(stored)?,
        Change::DropCleanParts { chain } => batch
            .statement("DELETE FROM clean_parts WHERE pipeline = ? AND chain = ?")
            .key(pipeline)?
            .digest(&chain)?
            .statement("DELETE FROM chain_states WHERE pipeline = ? AND chain = ?")
            .key(pipeline)?
            .digest(&chain)?,
        Change::DropFeedback { before } => batch
            .statement(
                "DELETE FROM labels WHERE pipeline = ? AND received_at < ?
                AND row_id NOT IN (SELECT row_id FROM row_ids WHERE pipeline = ?)",
            )
            .key(pipeline)?
            .bind(before.0)?
            .key(pipeline)?
            .statement("DELETE FROM predictions WHERE pipeline = ? AND at < ?")
            .key(pipeline)?
            .bind(before.0)?,
        // All that is left is what `add` and `add_rest` have done.
        _ => batch,
    };
    Ok(())
}
