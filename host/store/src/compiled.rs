//! A folder of bytes by name, for what can be made again: compiled plugins.

use std::io;
use std::path::{Path, PathBuf};

use crate::{StoreError, durable};

/// The longest name of an entry.
const NAME_BYTES_MAX: usize = 200;
const TEMPORARY: &str = ".tmp";

/// A cache on disk. Entries are there whole or not at all; whether they are genuine is for their reader to check.
#[derive(Debug, Clone)]
pub struct CompiledFolder {
    path: PathBuf,
}

impl CompiledFolder {
    /// The cache in the folder `path`, which is made if need be and only its owner may look into.
    pub fn open(path: &Path) -> Result<CompiledFolder, StoreError> {
        let temporary = path.join(TEMPORARY);
        if temporary.is_dir() {
            std::fs::remove_dir_all(&temporary).map_err(|source| StoreError::file("clearing", &temporary, source))?;
        }
        durable::make_folder(&temporary)?;
        Ok(CompiledFolder { path: path.to_owned() })
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
