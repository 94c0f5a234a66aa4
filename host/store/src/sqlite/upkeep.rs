//! What looking after the database takes: what it holds, its size, and a copy of it.

use std::path::Path;

use async_trait::async_trait;
use sqlx::Row as _;
use tidegate_vocab::{Digest, PipelineId};

use super::{SqliteStore, read};
use crate::{StoreError, Upkeep};

#[async_trait]
impl Upkeep for SqliteStore {
    async fn chains(&self, pipeline: &PipelineId) -> Result<Vec<Digest>, StoreError> {
        let sql =
            "SELECT chain FROM clean_parts WHERE pipeline = ?1 UNION SELECT chain FROM chain_states WHERE pipeline = ?1 ORDER BY chain";
        let query = sqlx::query(sql).bind(pipeline.as_str());
        let rows = query.fetch_all(&self.pool).await.map_err(self.failed("listing cleaner chains"))?;
        rows.iter().map(|row| read::digest(row, 0)).collect()
    }

    async fn states(&self, pipeline: &PipelineId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let failed = self.failed("reading state");
        let query = sqlx::query("SELECT key, value FROM state WHERE pipeline = ? ORDER BY key").bind(pipeline.as_str());
        let rows = query.fetch_all(&self.pool).await.map_err(&failed)?;
        rows.iter().map(|row| Ok((row.try_get(0).map_err(&failed)?, row.try_get(1).map_err(&failed)?))).collect()
    }

    async fn metadata_bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT (pages.page_count - free.freelist_count) * size.page_size
            FROM pragma_page_count pages, pragma_freelist_count free, pragma_page_size size";
        let row = sqlx::query(sql).fetch_one(&self.pool).await.map_err(self.failed("measuring"))?;
        read::number(&row, 0)
    }
}

impl SqliteStore {
    /// Writes a consistent copy of the whole database to `path`, where nothing may be yet, while others read and write this one.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let copied = sqlx::query("VACUUM INTO ?").bind(path.to_string_lossy().into_owned()).execute(&self.pool).await;
        copied.map(|_| ()).map_err(|error| StoreError::database("copying", path, error))
    }
}
