//! The file that keeps the tokens, and the copy of it that requests are checked against.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate_vocab::Timestamp;
use tokio::sync::watch;

use crate::error::ServeError;
use crate::tokens::{Token, TokenRole, Tokens};

const HEADER: &str = "# Tokens of Tidegate: names, roles and digests. The secrets are kept nowhere; made by `tidegate token create`.\n";

/// A file of tokens. Clones share it; a change through one is seen by all, and so is a change of the file after [`TokenFile::refresh`].
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
    current: watch::Sender<Arc<Tokens>>,
    /// What the file looked like when it was last read. Held while the file is read or written, so that two changes do not cross.
    stamp: Arc<Mutex<Option<Stamp>>>,
}

/// Changes whenever the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl TokenFile {
    /// Reads the tokens in `path`; a file that is not there holds none.
    ///
    /// # Errors
    /// The file cannot be read, can be written by others, or does not hold tokens.
    pub fn open(path: impl Into<PathBuf>) -> Result<TokenFile, ServeError> {
        let file = TokenFile { path: path.into(), current: watch::Sender::default(), stamp: Arc::default() };
        file.reload()?;
        Ok(file)
    }

    /// The file's place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tokens, without secrets.
    pub fn list(&self) -> Vec<Token> {
        self.current.borrow().tokens.clone()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.current.borrow().tokens.is_empty()
    }

    /// The role of the token whose secret this is.
    pub fn check(&self, secret: &str) -> Option<TokenRole> {
        self.current.borrow().check(secret).map(|token| token.role)
    }

    /// Adds a token and returns its secret, which cannot be had again.
    ///
    /// # Errors
    /// The name is taken or not a name, or the file cannot be read or written.
    pub fn create(&self, name: &str, role: TokenRole, now: Timestamp) -> Result<String, ServeError> {
        self.change(|tokens| tokens.create(name, role, now))
    }

    /// Takes the token `name` away.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be read or written.
    pub fn revoke(&self, name: &str) -> Result<(), ServeError> {
        self.change(|tokens| tokens.revoke(name))
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// As [`TokenFile::open`]; the tokens that were read last stay.
    pub fn reload(&self) -> Result<(), ServeError> {
        let mut stamp = self.stamp.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tokens, seen) = read(&self.path)?;
        *stamp = seen;
        self.current.send_replace(Arc::new(tokens));
        Ok(())
    }

    /// Reads the file again if it has changed; whether it had.
    ///
    /// # Errors
    /// As [`TokenFile::open`]; the tokens that were read last stay, and a file that stays as it is is not complained about again.
    pub fn refresh(&self) -> Result<bool, ServeError> {
        let found = stamp_of(&self.path).map_err(|source| self.failed("read", source))?;
        let mut stamp = self.stamp.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if found == *stamp {
            return Ok(false);
        }
        *stamp = found;
        let (tokens, seen) = read(&self.path)?;
        *stamp = seen;
        self.current.send_replace(Arc::new(tokens));
        Ok(true)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tokens) -> Result<T, ServeError>) -> Result<T, ServeError> {
        let mut stamp = self.stamp.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Another process may have written it since.
        let (mut tokens, _) = read(&self.path)?;
        let value = change(&mut tokens)?;
        write(&self.path, &tokens).map_err(|source| self.failed("write", source))?;
        *stamp = stamp_of(&self.path).map_err(|source| self.failed("read", source))?;
        self.current.send_replace(Arc::new(tokens));
        Ok(value)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> ServeError {
        ServeError::TokenFile { doing, path: self.path.clone(), source }
    }
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(Stamp { inode: found.ino(), bytes: found.len(), changed_s: found.mtime(), changed_ns: found.mtime_nsec() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<(Tokens, Option<Stamp>), ServeError> {
    let failed = |source| ServeError::TokenFile { doing: "read", path: path.to_owned(), source };
    let Some(stamp) = stamp_of(path).map_err(failed)? else { return Ok((Tokens::default(), None)) };
    let mode = std::fs::metadata(path).map_err(failed)?.mode();
    if mode & 0o022 != 0 {
        let why = format!("others may write it (mode {:03o}), so anyone could add a token; expected mode 600", mode & 0o777);
        return Err(ServeError::TokenText { path: path.to_owned(), why });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let tokens = toml::from_str(&text).map_err(|error| ServeError::TokenText { path: path.to_owned(), why: error.message().to_owned() })?;
    Ok((tokens, Some(stamp)))
}

/// Writes a new file beside the old one and puts it in its place, so that no reader sees half a file.
fn write(path: &Path, tokens: &Tokens) -> io::Result<()> {
    let text = toml::to_string(tokens).map_err(io::Error::other)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    if let Err(error) = std::fs::remove_file(&aside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(HEADER.as_bytes())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}
