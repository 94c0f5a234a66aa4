//! A folder of bytes by name: compiled plugins, and the components that were in use.

use std::io;
use std::path::{Path, PathBuf};

use crate::{StoreError, durable};

/// The longest name of an entry.
const NAME_BYTES_MAX: usize = 200;
const TEMPORARY: &str = ".tmp";

/// A folder of named bytes. Entries are there whole or not at all; whether they are genuine is for their reader to check.
#[derive(Debug, Clone)]
pub struct EntryFolder {
    path: PathBuf,
}

/// What [`EntryFolder::retain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EntriesRemoved {
    /// Entries that went.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the entries that stay.
    pub bytes_kept: u64,
}

impl EntryFolder {
    /// The entries in the folder `path`, which is made if need be and only its owner may look into.
    pub fn open(path: &Path) -> Result<EntryFolder, StoreError> {
        let temporary = path.join(TEMPORARY);
        if temporary.is_dir() {
            std::fs::remove_dir_all(&temporary).map_err(|source| StoreError::file("clearing", &temporary, source))?;
        }
        durable::make_folder(&temporary)?;
        Ok(EntryFolder { path: path.to_owned() })
    }

    /// The entries in the folder `path`, which another process may be using too: nothing in it is cleared.
    pub fn beside(path: &Path) -> EntryFolder {
        EntryFolder { path: path.to_owned() }
    }

    /// Removes every entry whose name `keeps` refuses, or with `dry_run` only counts; how many entries and bytes that is, and how
    /// many bytes stay.
    pub fn retain(&self, keeps: impl Fn(&str) -> bool, dry_run: bool) -> Result<EntriesRemoved, StoreError> {
        let failed = |source| StoreError::file("listing", &self.path, source);
        let mut removed = EntriesRemoved::default();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let found = entry.metadata().map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !found.is_file() || keeps(&name) {
                removed.bytes_kept += if found.is_file() { found.len() } else { 0 };
                continue;
            }
            if !dry_run {
                std::fs::remove_file(entry.path()).map_err(|source| StoreError::file("removing", &entry.path(), source))?;
            }
            removed.entries += 1;
            removed.bytes += found.len();
        }
        Ok(removed)
    }

    /// The bytes under `name`, if there are any.
    #[expect(clippy::disallowed_methods, reason = "this crate is the one that touches files")]
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.place(name)?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::file("reading", &path, source)),
        }
    }

    /// Keeps `bytes` under `name`, in place of what was there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        durable::put(&self.path.join(TEMPORARY), &self.place(name)?, bytes)
    }

    /// Where the entry lies. A name cannot leave the folder: no separators, no leading dot.
    fn place(&self, name: &str) -> Result<PathBuf, StoreError> {
        let valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if valid {
            return Ok(self.path.join(name));
        }
        let found = name.escape_debug().take(NAME_BYTES_MAX).collect();
        Err(StoreError::Name { path: self.path.clone(), found, max: NAME_BYTES_MAX })
    }
}
