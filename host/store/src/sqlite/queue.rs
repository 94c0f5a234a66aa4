//! The work queue in SQLite.

use async_trait::async_trait;
use sqlx::{Row as _, Sqlite, Transaction};
use tidegate_vocab::{Digest, PipelineId, Timestamp};

use super::SqliteStore;
use super::read::{bytes, digest, number, signed};
use crate::{Fence, Leased, StoreError, WorkQueue, WorkUnit};

impl SqliteStore {
    pub(super) async fn check_fence(&self, transaction: &mut Transaction<'static, Sqlite>, fence: Fence) -> Result<(), StoreError> {
        let query = sqlx::query("SELECT epoch, owner FROM head").fetch_one(&mut **transaction).await;
        let row = query.map_err(self.failed("checking the fence"))?;
        let current = number(&row, 0)?;
        if current == fence.0 {
            return Ok(());
        }
        Err(StoreError::Fenced { held: fence.0, current, owner: row.try_get(1).map_err(self.failed("checking the fence"))? })
    }
}

#[async_trait]
impl WorkQueue for SqliteStore {
    async fn enqueue(&self, fence: Fence, pipeline: &PipelineId, unit: WorkUnit) -> Result<bool, StoreError> {
        let failed = self.failed("enqueuing a work unit");
        let (_turn, mut transaction) = self.writing_unsynced().await?;
        self.check_fence(&mut transaction, fence).await?;
        let sql = "INSERT INTO work (pipeline, key, plan, lease, fence, owner) VALUES (?, ?, ?, 0, 0, '') ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(pipeline.as_str()).bind(bytes(&unit.key)).bind(unit.plan);
        let done = query.execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn lease(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        let failed = self.failed("leasing a work unit");
        let (_turn, mut transaction) = self.writing_unsynced().await?;
        self.check_fence(&mut transaction, fence).await?;
        let sql = "UPDATE work SET lease = lease + 1, fence = ?1, owner = ?2, until = ?3 WHERE place =
            (SELECT place FROM work WHERE pipeline = ?4 AND result IS NULL AND (until IS NULL OR until <= ?5 OR fence < ?1)
             ORDER BY place LIMIT 1)
            RETURNING key, plan, lease";
        let query = sqlx::query(sql).bind(signed(fence.0)).bind(owner).bind(until.0).bind(pipeline.as_str()).bind(now.0);
        let row = query.fetch_optional(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        let unit = WorkUnit { key: digest(&row, 0)?, plan: row.try_get(1).map_err(&failed)? };
        Ok(Some(Leased { pipeline: pipeline.clone(), unit, fence, lease: number(&row, 2)?, owner: owner.to_owned(), until }))
    }

    async fn complete(&self, leased: &Leased, result: Digest) -> Result<(), StoreError> {
        let failed = self.failed("completing a work unit");
        let (_turn, mut transaction) = self.writing_unsynced().await?;
        self.check_fence(&mut transaction, leased.fence).await?;
        let query = sqlx::query("SELECT lease, result FROM work WHERE pipeline = ? AND key = ?");
        let query = query.bind(leased.pipeline.as_str()).bind(bytes(&leased.unit.key));
        let row = query.fetch_optional(&mut *transaction).await.map_err(&failed)?;
        let what = format!("the lease of work unit {}", leased.unit.key.short());
        let Some(row) = row else { return Err(StoreError::conflict(what, leased.lease, "none")) };
        let lease = number(&row, 0)?;
        if row.try_get::<Option<&[u8]>, _>(1).map_err(&failed)?.is_some() {
            let present = digest(&row, 1)?;
            let what = format!("the result of work unit {}", leased.unit.key.short());
            return if present == result { Ok(()) } else { Err(StoreError::conflict(what, result.short(), present.short())) };
        }
        if lease != leased.lease {
            return Err(StoreError::conflict(what, leased.lease, lease));
        }
        let query = sqlx::query("UPDATE work SET result = ?, until = NULL WHERE pipeline = ? AND key = ?");
        let query = query.bind(bytes(&result)).bind(leased.pipeline.as_str()).bind(bytes(&leased.unit.key));
        query.execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    async fn release(&self, leased: &Leased) -> Result<(), StoreError> {
        let failed = self.failed("releasing a work unit");
        let (_turn, mut transaction) = self.writing_unsynced().await?;
        self.check_fence(&mut transaction, leased.fence).await?;
        let sql = "UPDATE work SET until = NULL WHERE pipeline = ? AND key = ? AND lease = ? AND result IS NULL";
        let query = sqlx::query(sql).bind(leased.pipeline.as_str()).bind(bytes(&leased.unit.key)).bind(signed(leased.lease));
        query.execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    async fn result(&self, pipeline: &PipelineId, key: &Digest) -> Result<Option<Digest>, StoreError> {
        let query = sqlx::query("SELECT result FROM work WHERE pipeline = ? AND key = ? AND result IS NOT NULL");
        let row = query.bind(pipeline.as_str()).bind(bytes(key)).fetch_optional(&self.pool).await;
        row.map_err(self.failed("reading a work unit"))?.map(|row| digest(&row, 0)).transpose()
    }

    async fn pending(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT count(*) FROM work WHERE pipeline = ? AND result IS NULL").bind(pipeline.as_str());
        number(&query.fetch_one(&self.pool).await.map_err(self.failed("counting work units"))?, 0)
    }
}
