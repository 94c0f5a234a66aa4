//! Files that are there whole or not at all, also after a power failure.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::StoreError;

/// Mode of folders and files that only their owner may look into.
pub(crate) const FOLDER_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;

/// Numbers the temporary files of this process; the state folder's lock keeps other processes out.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Puts `bytes` at `path`: into a temporary file under `temporary`, to disk, under its name, and the name to disk. Whatever was
/// there is replaced in one step.
pub(crate) fn put(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let name = format!("{}-{}", std::process::id(), TEMPORARY.fetch_add(1, Ordering::Relaxed));
    let temporary = temporary.join(name);
    let written = write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(source) = written {
        // What is left of it takes space that may be what was short; if this fails too, the next start clears the folder.
        _ = std::fs::remove_file(&temporary);
        return Err(StoreError::file("writing", path, source));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    sync_folder(folder).map_err(|source| StoreError::file("writing", folder, source))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Folders below one root whose names are known to be on disk.
///
/// A file in a new folder costs a wait for the disk per folder above it when each is synced as it is made. Synced after the file,
/// from the inside out, the first wait takes the others along on a file system with a journal; and no folder is synced twice.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    on_disk: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Puts `bytes` at `path` somewhere below `root`, as [`put`] does, making the folders in between.
    pub(crate) fn put(&self, root: &Path, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = path.parent().unwrap_or(root);
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|source| StoreError::file("creating the folder", folder, source))?;
        put(temporary, path, bytes)?;
        for folder in folder.ancestors().take_while(|folder| *folder != root) {
            if self.on_disk.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
                // So are those above it.
                break;
            }
            let above = folder.parent().unwrap_or(root);
            sync_folder(above).map_err(|source| StoreError::file("creating the folder", folder, source))?;
        }
        let mut on_disk = self.on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        on_disk.extend(folder.ancestors().take_while(|folder| *folder != root).map(Path::to_owned));
        Ok(())
    }
}

/// Makes `path` and the folders above it, readable by their owner only, and puts each one's name to disk.
pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    make_folder(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Ok(()) => {}
        // Somebody else made it meanwhile.
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(source) => return Err(StoreError::file("creating the folder", path, source)),
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    sync_folder(parent).map_err(|source| StoreError::file("creating the folder", path, source))
}

#[expect(clippy::disallowed_methods, reason = "this crate is the one that touches files")]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
