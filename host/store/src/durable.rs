//! Files that are there whole or not at all, also after a power failure.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

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
