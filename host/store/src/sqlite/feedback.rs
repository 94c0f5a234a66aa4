//! The prediction log and late labels in SQLite.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use tidegate_vocab::{LateLabel, LoggedPrediction, PipelineId, Timestamp};

use super::SqliteStore;
use super::read::{number, signed, value};
use crate::{ArrivedLabel, Feedback, Fence, LabelsKept, StoreError};

/// Rows of one statement; SQLite allows 32,766 bound values. A statement for so many rows is another one for each number of them, and
/// none of these is kept prepared: a hundred of them would be tens of megabytes.
const ROWS_MAX: usize = 2_000;

#[async_trait]
impl Feedback for SqliteStore {
    async fn log_predictions(&self, fence: Fence, pipeline: &PipelineId, predictions: &[LoggedPrediction]) -> Result<(), StoreError> {
        let (_turn, mut transaction) = self.writing().await?;
        self.check_fence(&mut transaction, fence).await?;
        let failed = self.failed("logging predictions");
        for rows in predictions.chunks(ROWS_MAX) {
            let mut bodies = Vec::with_capacity(rows.len());
            for row in rows {
                bodies.push(serde_json::to_string(row).map_err(|error| StoreError::stored("a prediction", error))?);
            }
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO predictions (pipeline, row_id, at, body) ");
            insert.push_values(rows.iter().zip(bodies), |mut values, (row, body)| {
                values.push_bind(pipeline.as_str()).push_bind(row.row_id.as_str()).push_bind(row.at.0).push_bind(body);
            });
            insert.build().persistent(false).execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    async fn prediction_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT count(*) FROM predictions WHERE pipeline = ?").bind(pipeline.as_str());
        number(&query.fetch_one(&self.pool).await.map_err(self.failed("counting predictions"))?, 0)
    }

    async fn predictions(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<(u64, LoggedPrediction)>, StoreError> {
        let sql = "SELECT seq, body FROM predictions WHERE pipeline = ? AND seq > ? ORDER BY seq LIMIT ?";
        let rows = sqlx::query(sql).bind(pipeline.as_str()).bind(signed(after)).bind(count).fetch_all(&self.pool).await;
        let rows = rows.map_err(self.failed("reading predictions"))?;
        rows.iter().map(|row| Ok((number(row, 0)?, value("a prediction", row, 1)?))).collect()
    }

    async fn predictions_of(&self, pipeline: &PipelineId, row_ids: &[String]) -> Result<HashMap<String, LoggedPrediction>, StoreError> {
        let failed = self.failed("reading predictions");
        let mut found = HashMap::with_capacity(row_ids.len());
        for ids in row_ids.chunks(ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT row_id, body FROM predictions WHERE pipeline = ");
            query.push_bind(pipeline.as_str()).push(" AND row_id IN (");
            let mut list = query.separated(", ");
            ids.iter().for_each(|id| _ = list.push_bind(id.as_str()));
            query.push(") ORDER BY seq");
            for row in query.build().persistent(false).fetch_all(&self.pool).await.map_err(&failed)? {
                found.insert(row.try_get(0).map_err(&failed)?, value("a prediction", &row, 1)?);
            }
        }
        Ok(found)
    }

    async fn name_rows(&self, fence: Fence, pipeline: &PipelineId, rows: &[(String, u64)]) -> Result<(), StoreError> {
        let (_turn, mut transaction) = self.writing().await?;
        self.check_fence(&mut transaction, fence).await?;
        let failed = self.failed("naming rows");
        for rows in rows.chunks(ROWS_MAX) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO row_ids (pipeline, row_id, row) ");
            insert.push_values(rows, |mut values, (id, row)| {
                values.push_bind(pipeline.as_str()).push_bind(id.as_str()).push_bind(signed(*row));
            });
            insert.build().persistent(false).execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    async fn add_labels(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        received_at: Timestamp,
        labels: &[LateLabel],
    ) -> Result<LabelsKept, StoreError> {
        let (_turn, mut transaction) = self.writing().await?;
        self.check_fence(&mut transaction, fence).await?;
        let failed = self.failed("keeping labels");
        let (mut unknown, mut added, mut unchanged) = (Vec::new(), 0, 0);
        let sql = "SELECT (SELECT class FROM labels WHERE pipeline = $1 AND row_id = $2 ORDER BY seq DESC LIMIT 1),
            EXISTS (SELECT 1 FROM predictions WHERE pipeline = $1 AND row_id = $2)
            OR EXISTS (SELECT 1 FROM row_ids WHERE pipeline = $1 AND row_id = $2)";
        for label in labels {
            let query = sqlx::query(sql).bind(pipeline.as_str()).bind(label.row_id.as_str());
            let row = query.fetch_one(&mut *transaction).await.map_err(&failed)?;
            let class: Option<String> = row.try_get(0).map_err(&failed)?;
            if !row.try_get::<bool, _>(1).map_err(&failed)? {
                unknown.push(label.row_id.clone());
            } else if class.as_ref() == Some(&label.class) {
                unchanged += 1;
            } else if unknown.is_empty() {
                let sql = "INSERT INTO labels (pipeline, row_id, class, known_at, received_at) VALUES (?, ?, ?, ?, ?)";
                let insert = sqlx::query(sql).bind(pipeline.as_str()).bind(label.row_id.as_str()).bind(label.class.as_str());
                insert.bind(label.known_at.0).bind(received_at.0).execute(&mut *transaction).await.map_err(&failed)?;
                added += 1;
            }
        }
        if !unknown.is_empty() {
            transaction.rollback().await.map_err(&failed)?;
            return Ok(LabelsKept::Unknown(unknown));
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(LabelsKept::Kept { added, unchanged })
    }

    async fn labels(&self, pipeline: &PipelineId, after: u64, count: u32) -> Result<Vec<ArrivedLabel>, StoreError> {
        let sql = "SELECT l.seq, l.row_id, l.class, l.known_at, r.row FROM labels l
            LEFT JOIN row_ids r ON r.pipeline = l.pipeline AND r.row_id = l.row_id
            WHERE l.pipeline = ? AND l.seq > ? ORDER BY l.seq LIMIT ?";
        let failed = self.failed("reading labels");
        let rows = sqlx::query(sql).bind(pipeline.as_str()).bind(signed(after)).bind(count).fetch_all(&self.pool).await;
        let label = |row: &sqlx::sqlite::SqliteRow| -> Result<ArrivedLabel, StoreError> {
            let known_at = Timestamp(row.try_get(3).map_err(&failed)?);
            let label = LateLabel { row_id: row.try_get(1).map_err(&failed)?, class: row.try_get(2).map_err(&failed)?, known_at };
            let row_number: Option<i64> = row.try_get(4).map_err(&failed)?;
            Ok(ArrivedLabel { number: number(row, 0)?, label, row: row_number.and_then(|row| u64::try_from(row).ok()) })
        };
        rows.map_err(&failed)?.iter().map(label).collect()
    }

    async fn label_count(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT count(*) FROM labels WHERE pipeline = ?").bind(pipeline.as_str());
        number(&query.fetch_one(&self.pool).await.map_err(self.failed("counting labels"))?, 0)
    }

    async fn labels_of_rows(
        &self,
        pipeline: &PipelineId,
        from_row: u64,
        known_until: Timestamp,
    ) -> Result<Vec<(u64, String, Timestamp)>, StoreError> {
        // Of the columns beside `max`, SQLite takes the values of the row that has the maximum.
        let sql = "SELECT r.row, l.class, l.known_at, max(l.seq) FROM row_ids r
            JOIN labels l ON l.pipeline = r.pipeline AND l.row_id = r.row_id
            WHERE r.pipeline = ? AND r.row >= ? AND l.known_at <= ? GROUP BY r.row ORDER BY r.row";
        let failed = self.failed("reading labels");
        let rows = sqlx::query(sql).bind(pipeline.as_str()).bind(signed(from_row)).bind(known_until.0).fetch_all(&self.pool).await;
        let label = |row: &sqlx::sqlite::SqliteRow| -> Result<(u64, String, Timestamp), StoreError> {
            Ok((number(row, 0)?, row.try_get(1).map_err(&failed)?, Timestamp(row.try_get(2).map_err(&failed)?)))
        };
        rows.map_err(&failed)?.iter().map(label).collect()
    }
}
