//! What can go wrong with what is kept.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_vocab::Digest;

/// Why the store did not do what it was asked to. Nothing was written then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A later process opened the same state.
    #[error("this process has lost the right to write: it holds fence {held}, and `{owner}` has since taken fence {current}")]
    Fenced {
        /// The stale fence.
        held: u64,
        /// The fence that is valid.
        current: u64,
        /// Who took it.
        owner: String,
    },
    /// An expectation did not hold.
    #[error("{what}: expected {expected}, found {found}")]
    Conflict {
        /// What was looked at.
        what: String,
        /// What the writer expected.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A state that may not follow another.
    #[error("{what} cannot go from `{from}` to `{to}`")]
    Transition {
        /// The run or version.
        what: String,
        /// Its state.
        from: String,
        /// The state that was asked for.
        to: String,
    },
    /// A value that would not be read back as it was written.
    #[error("{what} cannot be stored: it holds a number that is not finite")]
    NotFinite {
        /// What was to be stored.
        what: String,
    },
    /// No space is left.
    #[error("the disk that holds `{}` is full", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// Another process has the folder open.
    #[error("the state folder `{}` is in use by process {pid}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, or `?` when it did not say.
        pid: String,
    },
    /// The database stayed locked for longer than the store waits.
    #[error("the database `{}` is locked by another process", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The folder was written by a newer version.
    #[error("the database `{}` has format {found}; this version of tidegate knows formats up to {newest}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version reads.
        newest: i64,
    },
    /// The folder was written by an older version, and cannot be brought up to date now.
    #[error("the database `{}` has format {found}; this version of tidegate reads format {newest}", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this version reads.
        newest: i64,
    },
    /// The database is not one, or is damaged.
    #[error("the database `{}` is damaged, or is not a tidegate database", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: Option<sqlx::Error>,
    },
    /// The database can be read but not written.
    #[error("the database `{}` cannot be written", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// Something else went wrong in the database.
    #[error("{doing} in the database `{}`", path.display())]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// A stored value is not what this version wrote there.
    #[error("a stored {what} cannot be read")]
    Stored {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The journal's chain is broken.
    #[error("journal entry {seq} {why}")]
    Journal {
        /// The first entry that is wrong.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes that are not there.
    #[error("blob {digest} is missing")]
    BlobMissing {
        /// Their name.
        digest: Digest,
    },
    /// Bytes that are not what their name says.
    #[error("blob {digest} is damaged: its bytes have the digest {found}")]
    BlobDamaged {
        /// Their name.
        digest: Digest,
        /// What they are.
        found: Digest,
    },
    /// The object store failed.
    #[error("{doing} blob `{name}`")]
    Objects {
        /// What was being done.
        doing: &'static str,
        /// The blob, or all of them.
        name: String,
        /// What the object store said.
        source: object_store::Error,
    },
    /// A file or folder could not be used.
    #[error("{doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that cannot be a file's.
    #[error("`{found}` cannot be a file name in `{}`: expected 1 to {max} of a-z, A-Z, 0-9, `.`, `-`, `_`, not starting with `.`", path.display())]
    Name {
        /// The folder.
        path: PathBuf,
        /// The name, cut off.
        found: String,
        /// The longest name.
        max: usize,
    },
}

impl StoreError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            StoreError::Fenced { .. } => "stop one of the two processes; one process at a time may write to a state folder".to_owned(),
            StoreError::DiskFull { .. } => {
                "free some space, or move the state to a larger disk with `folder` under `[state]`; nothing of this write was kept"
                    .to_owned()
            }
            StoreError::Locked { pid, .. } => {
                format!("stop process {pid}, or name another `folder` under `[state]`")
            }
            StoreError::Busy { .. } => "close other programs that have the database open, then try again".to_owned(),
            StoreError::Newer { .. } => {
                "use the version of tidegate that wrote it, or a newer one; or name another `folder` under `[state]`".to_owned()
            }
            StoreError::Older { .. } => {
                "an older version of tidegate has the folder open: stop it, and start this version in its place".to_owned()
            }
            StoreError::Corrupt { .. } => "restore it from a backup, or name another `folder` under `[state]` to start afresh".to_owned(),
            StoreError::ReadOnly { path, .. } => format!("let this user write to `{}`", path.display()),
            StoreError::BlobMissing { .. } | StoreError::BlobDamaged { .. } => {
                "restore the state folder's `blobs` from a backup; a cleaned part comes back by itself once its file is removed".to_owned()
            }
            StoreError::Journal { .. } => "somebody changed the database by hand; restore it from a backup".to_owned(),
            StoreError::File { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("let this user read and write `{}`, or name another `folder` under `[state]`", path.display())
            }
            _ => return None,
        })
    }

    /// An expectation that did not hold.
    pub fn conflict(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> StoreError {
        StoreError::Conflict { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// A failure of the file system while `doing` something to `path`; a full disk becomes its own variant.
    pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { path: path.to_owned() },
            _ => StoreError::File { doing, path: path.to_owned(), source },
        }
    }

    /// A failure of SQLite while `doing` something to the database at `path`, sorted by its result code.
    pub(crate) fn database(doing: &'static str, path: &Path, source: sqlx::Error) -> StoreError {
        let path = path.to_owned();
        let code = source.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
        // The low byte is the primary code; the rest refines it (https://www.sqlite.org/rescode.html).
        match code.map(|code| code & 0xff) {
            Some(13) => StoreError::DiskFull { path },
            // SQLite reports some full disks as failed reads, writes or growth of its shared memory.
            Some(10) if disk_is_full(&path) => StoreError::DiskFull { path },
            Some(5 | 6) => StoreError::Busy { path },
            Some(11 | 26) => StoreError::Corrupt { path, source: Some(source) },
            Some(8 | 14) => StoreError::ReadOnly { path, source },
            _ => StoreError::Database { doing, path, source },
        }
    }

    /// A stored value that cannot be read back.
    pub(crate) fn stored(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Stored { what, source: source.into() }
    }
}

/// Whether the file system that holds `path` has no block left for an ordinary user.
fn disk_is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|figures| figures.f_bavail == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_disk_is_its_own_error_with_a_way_out() {
        let full = Path::new("/dev/full");
        let source = std::fs::OpenOptions::new().write(true).open(full).unwrap().write_all(b"x").unwrap_err();
        let error = StoreError::file("writing", full, source);
        assert!(matches!(&error, StoreError::DiskFull { path } if path == full), "{error:?}");
        assert_eq!(error.to_string(), "the disk that holds `/dev/full` is full");
        assert!(error.hint().unwrap().contains("`folder` under `[state]`"));
    }

    #[test]
    fn no_message_prints_its_source_or_ends_in_a_full_stop() {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "the inner words");
        let error = StoreError::file("creating the state folder", Path::new("/x"), source);
        assert_eq!(error.to_string(), "creating the state folder `/x`");
        assert!(error.hint().unwrap().starts_with("let this user read and write `/x`"));
    }
}
