//! The state folder: everything one process keeps, behind one lock.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{EntryFolder, Fence, FolderLock, MetaStore as _, ObjectBlobs, SqliteStore, StoreError, durable};

const KEY_BYTES: usize = 32;

/// An open state folder, or its like in memory.
#[derive(Debug)]
pub struct StateFolder {
    /// The right to write, taken when the folder was opened.
    pub fence: Fence,
    /// What happened; the work queue too.
    pub meta: Arc<SqliteStore>,
    /// Parts, snapshots' rows, weights, terms.
    pub blobs: Arc<ObjectBlobs>,
    /// Compiled plugins; `None` in memory.
    pub compiled: Option<EntryFolder>,
    /// The key of the codes that show that a compiled plugin is ours.
    pub key: [u8; KEY_BYTES],
    /// The lock that keeps other processes out; `None` in memory. Held until the folder is dropped.
    pub lock: Option<FolderLock>,
}

impl StateFolder {
    /// The database's file in the folder.
    pub const DATABASE: &str = "tidegate.db";
    /// The file of the key in the folder.
    pub const KEY: &str = "key";

    /// The components of plugins that were in use, in the folder at `path`: made when the folder is opened, and written to by the
    /// process that holds it.
    pub fn components(path: &Path) -> EntryFolder {
        EntryFolder::beside(&path.join("components"))
    }

    /// Opens the folder at `path` in the name of `owner`, making whatever is not there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process has it open; [`StoreError::Newer`], [`StoreError::Corrupt`],
    /// [`StoreError::DiskFull`] and [`StoreError::File`] for a folder that cannot be used.
    pub async fn open(path: &Path, owner: &str) -> Result<StateFolder, StoreError> {
        let folder = path.to_owned();
        let prepared = tokio::task::spawn_blocking(move || prepare(&folder));
        let (lock, blobs, compiled, key) = prepared.await.map_err(|error| StoreError::stored("state folder", error))??;
        let meta = SqliteStore::open(&path.join(StateFolder::DATABASE)).await?;
        let fence = meta.take_fence(owner).await?;
        Ok(StateFolder { fence, meta: Arc::new(meta), blobs: Arc::new(blobs), compiled: Some(compiled), key, lock: Some(lock) })
    }

    /// Opens the folder at `path` for reading beside the process that holds its lock. Nothing can be committed: the fence is one
    /// that was never given, and the database is open for reading only.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while that process has not made the folder's files yet; [`StoreError::Older`] for a folder that an
    /// older version holds; and as [`StateFolder::open`].
    pub async fn open_to_read(path: &Path) -> Result<StateFolder, StoreError> {
        let database = path.join(StateFolder::DATABASE);
        if !database.is_file() || !path.join(StateFolder::KEY).is_file() {
            return Err(StoreError::Locked { path: path.to_owned(), pid: FolderLock::holder(path) });
        }
        let meta = match SqliteStore::open_to_read(&database).await {
            Err(StoreError::Corrupt { source: None, .. }) => {
                return Err(StoreError::Locked { path: path.to_owned(), pid: FolderLock::holder(path) });
            }
            opened => opened?,
        };
        let blobs = ObjectBlobs::to_read(&path.join("blobs"))?;
        let compiled = EntryFolder::beside(&path.join("compiled"));
        let key = key(path, &path.join("blobs").join("tmp"))?;
        let (meta, blobs) = (Arc::new(meta), Arc::new(blobs));
        Ok(StateFolder { fence: Fence(0), meta, blobs, compiled: Some(compiled), key, lock: None })
    }

    /// State in memory, for backtests: nothing of it outlives the process.
    pub async fn scratch() -> Result<StateFolder, StoreError> {
        let meta = SqliteStore::in_memory().await?;
        let fence = meta.take_fence("scratch").await?;
        let key = random_key(Path::new(":memory:"))?;
        Ok(StateFolder { fence, meta: Arc::new(meta), blobs: Arc::new(ObjectBlobs::in_memory()), compiled: None, key, lock: None })
    }
}

type Prepared = (FolderLock, ObjectBlobs, EntryFolder, [u8; KEY_BYTES]);

/// All but the database. The lock comes first: what follows clears what an earlier process left.
fn prepare(path: &Path) -> Result<Prepared, StoreError> {
    durable::make_folder(path)?;
    keep_private(path)?;
    let lock = FolderLock::take(path)?;
    let blobs = ObjectBlobs::in_folder(&path.join("blobs"))?;
    let compiled_path = path.join("compiled");
    let compiled = EntryFolder::open(&compiled_path)?;
    keep_private(&compiled_path)?;
    EntryFolder::open(&path.join("components"))?;
    let key = key(path, &path.join("blobs").join("tmp"))?;
    Ok((lock, blobs, compiled, key))
}

/// A folder may have been made by hand, with other permissions.
fn keep_private(path: &Path) -> Result<(), StoreError> {
    std::fs::set_permissions(path, Permissions::from_mode(durable::FOLDER_MODE))
        .map_err(|source| StoreError::file("setting the permissions of", path, source))
}

/// The folder's key, made once.
#[expect(clippy::disallowed_methods, reason = "this crate is the one that touches files")]
fn key(folder: &Path, temporary: &Path) -> Result<[u8; KEY_BYTES], StoreError> {
    let path: PathBuf = folder.join(StateFolder::KEY);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let found = bytes.len();
            bytes.try_into().map_err(|_| StoreError::conflict(format!("the key in `{}`", path.display()), "32 bytes", found))
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            let key = random_key(&path)?;
            durable::put(temporary, &path, &key)?;
            Ok(key)
        }
        Err(source) => Err(StoreError::file("reading", &path, source)),
    }
}

fn random_key(path: &Path) -> Result<[u8; KEY_BYTES], StoreError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| StoreError::file("drawing the key", path, error.into()))?;
    Ok(key)
}
