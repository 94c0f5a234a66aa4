//! Real batches at the place of a plugin, on which a new build of it can be tried beside the old one.
//!
//! Invariant: nothing is committed and no state changes; the plugins before that place are called as for any batch.

use tidegate_dataset::read_rows;
use tidegate_vocab::{Alias, Batch};

use crate::clean::stored_rows;
use crate::judge::{labelled, scored_batch};
use crate::memory::Remembered;
use crate::{Pipeline, PipelineError, PluginStep};

/// How much of the newest data is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSize {
    /// Parts.
    pub parts_max: usize,
    /// Rows of them all.
    pub rows_max: usize,
}

impl Pipeline {
    /// What the cleaner at `place` was given lately, oldest first.
    ///
    /// # Errors
    /// What the store could not read, or a cleaner before it that failed.
    pub async fn cleaner_samples(&mut self, place: usize, size: SampleSize) -> Result<Vec<Batch>, PipelineError> {
        let raw = self.stores.meta.raw_parts(&self.settings.id, 0).await?;
        let keep_state = self.plugins.cleaners.iter().take(place).any(PluginStep::keeps_state);
        let (mut batches, mut left) = (Vec::new(), size.rows_max);
        for part in raw.iter().rev().take(size.parts_max) {
            let typed = stored_rows(&self.settings, &self.stores, part).await?;
            let remembered = match keep_state {
                true => Remembered::of_raw(part, &self.settings.id, &self.chain, &self.stores).await?.unwrap_or_default(),
                false => Remembered::default(),
            };
            let mut rows = newest(&typed.rows, left);
            left -= rows.row_count();
            for (index, step) in self.plugins.cleaners.iter_mut().enumerate().take(place) {
                let port = step.port.as_mut().ok_or(PipelineError::Thread { step: "cleaner" })?;
                let cleaned = tokio::task::block_in_place(|| match remembered.of(index) {
                    Some(kept) => port.clean_keeping(&rows, kept).map(|(cleaned, _)| cleaned),
                    None => port.clean(&rows),
                });
                let failed = |source| PipelineError::Plugin { plugin: step.name.clone(), step: "cleaner", source };
                rows = cleaned.map_err(failed)?.rows;
            }
            batches.push(rows);
            if left == 0 {
                break;
            }
        }
        batches.reverse();
        Ok(batches)
    }

    /// The newest labelled rows with the champion's answers, as an evaluator is given them; `None` before there is a champion, or
    /// a label.
    ///
    /// # Errors
    /// What the store could not read, or a version that did not load.
    pub async fn evaluator_sample(&mut self, size: SampleSize) -> Result<Option<Batch>, PipelineError> {
        let Some(champion) = self.stores.meta.alias(&self.settings.id, Alias::Champion).await? else { return Ok(None) };
        let parts = self.stores.meta.clean_parts(&self.settings.id, &self.chain, 0).await?;
        let newest_parts = &parts[parts.len().saturating_sub(size.parts_max)..];
        let (Some(first), Some(last)) = (newest_parts.first(), newest_parts.last()) else { return Ok(None) };
        let (from, to) = (first.first_row, last.first_row + last.row_count);
        let read = read_rows(&self.reader(), &self.settings.contract, newest_parts, from, self.rows_cleaned, Some(self.now())).await;
        let rows = read.map_err(|source| PipelineError::Dataset { first_row: from, last_row: to, source })?;
        let rows = newest(&labelled(&rows), size.rows_max);
        if rows.row_count() == 0 {
            return Ok(None);
        }
        let answers = self.answers(champion, &rows).await?;
        Ok(Some(scored_batch(&rows, &self.settings.contract.label.classes, &answers, self.needs_latency())))
    }

    /// The cursor that is committed, at which a new build of the source would be opened.
    ///
    /// # Errors
    /// The store's.
    pub async fn committed_cursor(&self) -> Result<Option<Vec<u8>>, PipelineError> {
        Ok(self.stores.meta.cursor(&self.settings.id).await?)
    }
}

/// At most the last `rows_max` rows.
fn newest(rows: &Batch, rows_max: usize) -> Batch {
    let from = rows.row_count().saturating_sub(rows_max);
    rows.slice(from, rows.row_count() - from)
}
