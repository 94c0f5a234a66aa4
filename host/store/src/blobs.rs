//! Bytes named by their digest.

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_vocab::{Digest, Timestamp};

use crate::StoreError;

/// A blob as a store lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedBlob {
    /// Its name.
    pub digest: Digest,
    /// Its size.
    pub byte_count: u64,
    /// When it was put, the last time, on the clock of whoever keeps it.
    pub put_at: Timestamp,
}

/// Bytes and the digest that names them, computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    digest: Digest,
    bytes: Bytes,
}

impl Blob {
    /// Names `bytes`.
    pub fn new(bytes: Bytes) -> Blob {
        Blob { digest: Digest::of(&bytes), bytes }
    }

    /// The name.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What is named.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Immutable bytes, each named by its SHA-256 digest. What no commit names is garbage.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Keeps `bytes`: once this returns they survive a power failure (where the backend can). Doing it again changes nothing.
    async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError>;

    /// As [`Blobs::put`], for bytes whose digest is known: a backend need not compute it again.
    async fn put_blob(&self, blob: Blob) -> Result<(), StoreError> {
        self.put(blob.bytes).await.map(|_| ())
    }

    /// The bytes with a digest.
    ///
    /// # Errors
    /// [`StoreError::BlobMissing`], or [`StoreError::BlobDamaged`] when the bytes are not what their name says.
    async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError>;

    /// Whether there are bytes with that name; they are not read.
    async fn has(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// Removes the bytes with a digest, if they are there.
    async fn remove(&self, digest: &Digest) -> Result<(), StoreError>;

    /// All names with their sizes in bytes, in order of name; for collecting garbage, never for truth.
    async fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError>;

    /// All blobs with the instants they were put at, in order of name. A backend that does not know when says the latest instant
    /// there is, so that nothing of it is taken for garbage.
    async fn list_aged(&self) -> Result<Vec<ListedBlob>, StoreError> {
        let listed = self.list().await?;
        Ok(listed.into_iter().map(|(digest, byte_count)| ListedBlob { digest, byte_count, put_at: Timestamp(i64::MAX) }).collect())
    }

    /// Removes the bytes with a digest unless they were put at `before` or later, in one step beside [`Blobs::put`]: bytes that
    /// are put again while garbage is collected stay. Says whether they were removed; a backend that does not know when they were
    /// put removes nothing.
    async fn remove_older(&self, _digest: &Digest, _before: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }
}
