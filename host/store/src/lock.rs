//! One process a state folder.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::{StoreError, durable};

/// An exclusive lock on a state folder. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<FolderLock, StoreError> {
        let path = folder.join("lock");
        let failed = |source| StoreError::file("locking", &path, source);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(durable::FILE_MODE).open(&path);
        let mut file = options.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked { path: folder.to_owned(), pid: pid_in(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(FolderLock { _file: file })
    }

    /// The process that holds the lock of `folder`, or `?` when it did not say.
    pub(crate) fn holder(folder: &Path) -> String {
        OpenOptions::new().read(true).open(folder.join("lock")).map_or_else(|_| "?".to_owned(), |mut file| pid_in(&mut file))
    }
}

/// The number is for people; a file that cannot be read costs only that.
fn pid_in(file: &mut File) -> String {
    const PID_CHARS_MAX: u64 = 20;
    let mut text = String::new();
    _ = file.take(PID_CHARS_MAX).read_to_string(&mut text);
    if text.trim().is_empty() { "?".to_owned() } else { text.trim().to_owned() }
}
