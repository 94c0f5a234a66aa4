//! Batches, contracts and blobs that the tests of this crate share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, StringArray};
use bytes::Bytes;
use tidegate_store::{Blobs, StoreError};
use tidegate_vocab::{
    Batch, CleanPart, Contract, ContractColumn, DType, Digest, LabelColumn, RawPart, Role, TimeColumn, TimeUnit, Timestamp,
};

use crate::{KnownTime, PartCache, clean_part, typed};

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// A batch of text columns; a cell `-` is null.
pub fn text(columns: &[(&str, &[&str])]) -> Batch {
    let columns = columns.iter().map(|(name, cells)| {
        let array: StringArray = cells.iter().map(|cell| (*cell != "-").then_some(*cell)).collect();
        ((*name).to_owned(), Role::Feature, Arc::new(array) as ArrayRef)
    });
    Batch::new(columns.collect()).expect("columns of one length")
}

/// A feature that must have a value.
pub fn column(name: &str, dtype: DType) -> ContractColumn {
    ContractColumn { name: name.into(), dtype, role: Role::Feature, nullable: false, low: None, high: None, categories: None }
}

/// `day` is id and time, in days since 1970; `rain` is the label, 0 or 1, known a day later.
pub fn contract(columns: Vec<ContractColumn>) -> Contract {
    Contract {
        id: Some("day".into()),
        time: Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::D), origin_us: 0 }),
        label: LabelColumn { column: "rain".into(), classes: vec!["0".into(), "1".into()], delay_us: DAY, by_id: false },
        columns,
    }
}

/// The record of a raw part.
pub fn raw_part(first_row: u64, row_count: usize) -> RawPart {
    RawPart { digest: Digest::of(first_row.to_le_bytes()), first_row, row_count: row_count as u64, byte_count: 0, polled_at: Timestamp(7) }
}

/// A cleaned part, in `blobs`, of days with their labels and one feature `x`, without cleaners.
pub fn stored(blobs: &MemoryBlobs, first_row: u64, days: &[(i64, &str)]) -> CleanPart {
    let contract = contract(vec![column("x", DType::F64)]);
    let day_texts: Vec<String> = days.iter().map(|(day, _)| day.to_string()).collect();
    let day_texts: Vec<&str> = day_texts.iter().map(String::as_str).collect();
    let labels: Vec<&str> = days.iter().map(|(_, label)| *label).collect();
    let raw = text(&[("day", &day_texts), ("rain", &labels), ("x", &day_texts)]);
    let typed = typed(&raw, &contract, Timestamp(7)).expect("the sample keeps its contract");
    let raw = raw_part(first_row, days.len());
    let (part, file, _) =
        clean_part(&raw, &chain(), KnownTime::AfterDelay, &contract, &typed, &[], &typed.rows).expect("nothing was cleaned");
    blobs.parts.lock().expect("no test panics in here").insert(part.digest, file.bytes().clone());
    part
}

/// The chain of [`stored`].
pub fn chain() -> Digest {
    Digest::of("chain")
}

/// A cache that holds everything.
pub fn cache() -> PartCache {
    PartCache::new(usize::MAX)
}

/// Blobs in memory that count how often they are read.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    parts: Mutex<BTreeMap<Digest, Bytes>>,
    pub reads: Mutex<usize>,
}

#[async_trait::async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        self.parts.lock().expect("no test panics in here").insert(digest, bytes);
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        *self.reads.lock().expect("no test panics in here") += 1;
        let parts = self.parts.lock().expect("no test panics in here");
        parts.get(digest).cloned().ok_or(StoreError::BlobMissing { digest: *digest })
    }

    async fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.parts.lock().expect("no test panics in here").contains_key(digest))
    }

    async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        self.parts.lock().expect("no test panics in here").remove(digest);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let parts = self.parts.lock().expect("no test panics in here");
        Ok(parts.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect())
    }
}
