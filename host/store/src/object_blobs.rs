//! Blobs in an object store: a local folder, or memory.
//!
//! In a folder a blob lies at `ab/cd/<digest>`. It is written under a temporary name, synced, renamed and its folders synced,
//! which `object_store` by itself does not do; reading, listing and removing go through `object_store`, as they will for a
//! remote one.

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tidegate_vocab::{Digest, Timestamp};

use crate::{Blob, Blobs, ListedBlob, StoreError, durable};

/// The folder of half-written blobs; it is emptied when the blobs are opened.
const TEMPORARY: &str = "tmp";

/// Blobs in an object store.
#[derive(Debug, Clone)]
pub struct ObjectBlobs {
    objects: Arc<dyn ObjectStore>,
    /// Where the objects lie, if they are local files.
    folder: Option<PathBuf>,
    /// The folders below it that are on disk.
    folders: Arc<durable::Folders>,
    /// Held for reading while a blob is put and for writing while an old one is removed.
    removing: Arc<RwLock<()>>,
}

impl ObjectBlobs {
    /// Blobs in the local folder `path`, which is made if need be. What an earlier process left half-written is removed, so
    /// only one process at a time may open a folder; the state folder's lock sees to that.
    pub fn in_folder(path: &FilePath) -> Result<ObjectBlobs, StoreError> {
        let temporary = path.join(TEMPORARY);
        if temporary.is_dir() {
            std::fs::remove_dir_all(&temporary).map_err(|source| StoreError::file("clearing", &temporary, source))?;
        }
        durable::make_folder(&temporary)?;
        ObjectBlobs::open(path)
    }

    /// Blobs in the local folder `path`, which another process may be writing to: nothing in it is touched.
    pub fn to_read(path: &FilePath) -> Result<ObjectBlobs, StoreError> {
        ObjectBlobs::open(path)
    }

    fn open(path: &FilePath) -> Result<ObjectBlobs, StoreError> {
        let objects = LocalFileSystem::new_with_prefix(path).map_err(|source| StoreError::Objects {
            doing: "opening",
            name: path.display().to_string(),
            source,
        })?;
        Ok(ObjectBlobs { objects: Arc::new(objects), folder: Some(path.to_owned()), folders: Arc::default(), removing: Arc::default() })
    }

    /// Blobs in memory, gone when the last clone is dropped.
    pub fn in_memory() -> ObjectBlobs {
        ObjectBlobs { objects: Arc::new(InMemory::new()), folder: None, folders: Arc::default(), removing: Arc::default() }
    }
}

#[async_trait]
impl Blobs for ObjectBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let named = tokio::task::spawn_blocking(move || Blob::new(bytes));
        let blob = named.await.map_err(|error| StoreError::stored("blob", error))?;
        let digest = blob.digest();
        self.put_blob(blob).await?;
        Ok(digest)
    }

    async fn put_blob(&self, blob: Blob) -> Result<(), StoreError> {
        let digest = blob.digest();
        let Some(folder) = self.folder.clone() else {
            self.objects.put(&place(&digest), blob.bytes().clone().into()).await.map_err(failed("writing", &digest))?;
            return Ok(());
        };
        let (removing, folders) = (Arc::clone(&self.removing), Arc::clone(&self.folders));
        let written = tokio::task::spawn_blocking(move || {
            let _no_removal = removing.read().unwrap_or_else(PoisonError::into_inner);
            // Always anew, even if it is there: it may be damaged, or its name not yet on disk.
            let path = folder.join(place(&digest).as_ref());
            folders.put(&folder, &folder.join(TEMPORARY), &path, blob.bytes())
        });
        written.await.map_err(|error| StoreError::stored("blob", error))?
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let bytes = match self.objects.get(&place(digest)).await {
            Ok(found) => found.bytes().await.map_err(failed("reading", digest))?,
            Err(object_store::Error::NotFound { .. }) => return Err(StoreError::BlobMissing { digest: *digest }),
            Err(error) => return Err(failed("reading", digest)(error)),
        };
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(StoreError::BlobDamaged { digest: *digest, found }) }
    }

    async fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        match self.objects.head(&place(digest)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("looking for", digest)(error)),
        }
    }

    async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.objects.delete(&place(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("removing", digest)(error)),
        }
    }

    async fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        Ok(self.list_aged().await?.into_iter().map(|blob| (blob.digest, blob.byte_count)).collect())
    }

    async fn list_aged(&self) -> Result<Vec<ListedBlob>, StoreError> {
        let objects: Vec<_> = self.objects.list(None).try_collect().await.map_err(|source| StoreError::Objects {
            doing: "listing",
            name: "*".to_owned(),
            source,
        })?;
        // What is not named by a digest is not a blob: temporary files, or something that somebody put there.
        let named = objects.into_iter().filter_map(|object| {
            let put_at = Timestamp(object.last_modified.timestamp_micros());
            Some(ListedBlob { digest: object.location.filename()?.parse().ok()?, byte_count: object.size, put_at })
        });
        let mut blobs: Vec<ListedBlob> = named.collect();
        blobs.sort_unstable();
        Ok(blobs)
    }

    async fn remove_older(&self, digest: &Digest, before: Timestamp) -> Result<bool, StoreError> {
        let Some(folder) = &self.folder else {
            // In memory nothing survives the process, and nobody puts while the one scratch pipeline collects.
            let found = self.objects.head(&place(digest)).await;
            let is_old = found.is_ok_and(|object| object.last_modified.timestamp_micros() < before.0);
            if is_old {
                self.remove(digest).await?;
            }
            return Ok(is_old);
        };
        let (path, removing) = (folder.join(place(digest).as_ref()), Arc::clone(&self.removing));
        let removed = tokio::task::spawn_blocking(move || {
            let _nobody_puts = removing.write().unwrap_or_else(PoisonError::into_inner);
            let failed = |source| StoreError::file("removing", &path, source);
            let put_at = match std::fs::metadata(&path).and_then(|found| found.modified()) {
                Ok(modified) => modified.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(source) => return Err(failed(source)),
            };
            if put_at >= before.0 {
                return Ok(false);
            }
            std::fs::remove_file(&path).map_err(failed).map(|()| true)
        });
        removed.await.map_err(|error| StoreError::stored("blob", error))?
    }
}

/// Two levels of folders keep each one small, whatever the number of blobs.
fn place(digest: &Digest) -> Path {
    let name = digest.to_string();
    Path::from(format!("{}/{}/{name}", &name[..2], &name[2..4]))
}

fn failed(doing: &'static str, digest: &Digest) -> impl Fn(object_store::Error) -> StoreError {
    let name = digest.to_string();
    move |source| StoreError::Objects { doing, name: name.clone(), source }
}
