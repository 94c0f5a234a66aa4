//! Labels that came by themselves, after their rows.
//!
//! Parts never change, so a late label is not written into them: it is laid over the rows when they are read. A snapshot names the
//! labels that it was cut with by digest, so that it reads the same for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use tidegate_store::Blobs;
use tidegate_vocab::{Batch, Digest, Role, RowColumns, Timestamp};

use crate::read::RowValues;
use crate::{DatasetError, PartCache};

/// Late labels by row number: the class, and when it became known. One that differs from the row's own corrects it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LateLabels(BTreeMap<u64, (String, Timestamp)>);

impl FromIterator<(u64, String, Timestamp)> for LateLabels {
    fn from_iter<T: IntoIterator<Item = (u64, String, Timestamp)>>(labels: T) -> LateLabels {
        LateLabels(labels.into_iter().map(|(row, class, known_at)| (row, (class, known_at))).collect())
    }
}

impl Extend<(u64, String, Timestamp)> for LateLabels {
    fn extend<T: IntoIterator<Item = (u64, String, Timestamp)>>(&mut self, labels: T) {
        self.0.extend(labels.into_iter().map(|(row, class, known_at)| (row, (class, known_at))));
    }
}

impl LateLabels {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the rows `first_row..=last_row`.
    pub(crate) fn within(&self, first_row: u64, last_row: u64) -> LateLabels {
        LateLabels(self.0.range(first_row..=last_row).map(|(row, label)| (*row, label.clone())).collect())
    }

    /// The stored form: JSON, one `[row, class, known]` a label, in row order.
    pub(crate) fn encode(&self) -> Bytes {
        let list: Vec<(u64, &str, Timestamp)> = self.0.iter().map(|(row, (class, known_at))| (*row, class.as_str(), *known_at)).collect();
        serde_json::to_vec(&list).expect("labels are plain data").into()
    }

    /// Reads the stored form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<LateLabels, DatasetError> {
        let list: Vec<(u64, String, Timestamp)> = serde_json::from_slice(bytes)
            .map_err(|error| DatasetError::NotAPart { why: format!("it is not a list of labels: {error}") })?;
        Ok(list.into_iter().collect())
    }

    /// `rows` of a cleaned part with these labels in place of their own.
    pub(crate) fn laid_over(&self, rows: Batch) -> Result<Batch, DatasetError> {
        let columns = RowValues::of(&rows)?;
        let numbers = columns.number.values();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(rows) };
        let number = |row: i64| u64::try_from(row).unwrap_or(0);
        if self.0.range(number(*first)..=number(*last)).next().is_none() {
            return Ok(rows);
        }
        let Some(label) = rows.with_role(&Role::Label) else { return Ok(rows) };
        let own = rows.rows.column(label).as_string::<i32>();
        let late: Vec<Option<&(String, Timestamp)>> = numbers.iter().map(|row| self.0.get(&number(*row))).collect();
        let classes: StringArray = late
            .iter()
            .enumerate()
            .map(|(row, late)| late.map_or_else(|| own.is_valid(row).then(|| own.value(row)), |(class, _)| Some(class.as_str())))
            .collect();
        let known: TimestampMicrosecondArray = late
            .iter()
            .enumerate()
            .map(|(row, late)| late.map_or_else(|| columns.known.is_valid(row).then(|| columns.known.value(row)), |(_, at)| Some(at.0)))
            .collect();
        let zone = columns.known.timezone().map(str::to_owned);
        let known = known.with_timezone_opt(zone);
        debug_assert!(
            rows.column(RowColumns::KNOWN_TIME).is_some_and(|known| known.as_primitive_opt::<TimestampMicrosecondType>().is_some())
        );
        let replaced = rows.columns().enumerate().map(|(index, (name, role, array))| {
            let array: ArrayRef = match name {
                _ if index == label => Arc::new(classes.clone()),
                RowColumns::KNOWN_TIME => Arc::new(known.clone()),
                _ => Arc::clone(array),
            };
            (name.to_owned(), role.clone(), array)
        });
        Batch::new(replaced.collect()).map_err(|source| DatasetError::Batch { source })
    }
}

/// Where parts are read from, and what is laid over them.
#[derive(Clone, Copy)]
pub struct PartReader<'a> {
    /// Where they are kept.
    pub blobs: &'a dyn Blobs,
    /// Those that were read lately.
    pub cache: &'a PartCache,
    /// Labels that came after their rows.
    pub late: &'a LateLabels,
}

impl PartReader<'_> {
    /// The rows of one part, with late labels.
    ///
    /// # Errors
    /// Those of [`PartCache::part`].
    pub(crate) async fn part(&self, digest: &Digest) -> Result<Batch, DatasetError> {
        let rows = self.cache.part(self.blobs, digest).await?;
        if self.late.is_empty() { Ok(rows) } else { self.late.laid_over(rows) }
    }
}
