//! The components that were in use, kept beside the state so that a plugin can be taken back after its file was overwritten.
//!
//! Invariant: a component is kept before the book says that it is in use; a book that names one which is gone says so when asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_store::{EntryFolder, StateFolder};
use tidegate_vocab::{Digest, PluginName};

use crate::config::Config;
use crate::failure::Failure;

/// The book's name in the folder.
const BOOK: &str = "in-use.json";
/// What the name of a signature ends with, after the digest.
const SIGNATURE: &str = ".sig";
/// Builds before the one in use that are kept of each plugin.
const BEFORE_MAX: usize = 3;
/// Builds that were taken back and are remembered of each plugin.
const TAKEN_BACK_MAX: usize = 20;

/// What was in use, and what was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    plugins: BTreeMap<PluginName, Builds>,
}

/// The builds of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builds {
    /// The one in use.
    pub in_use: Digest,
    /// Those before it, newest first.
    pub before: Vec<Digest>,
    /// Those that were taken back and why, newest first: they are not used again because their file is still there.
    pub taken_back: Vec<(Digest, String)>,
}

impl Book {
    /// The builds of a plugin.
    pub fn of(&self, plugin: &PluginName) -> Option<&Builds> {
        self.plugins.get(plugin)
    }

    /// Every build that is in use or can be gone back to.
    pub fn builds(&self) -> impl Iterator<Item = Digest> {
        self.plugins.values().flat_map(|builds| builds.before.iter().chain([&builds.in_use])).copied()
    }

    /// Notes that a build is in use.
    pub fn uses(&mut self, plugin: &PluginName, digest: Digest) {
        let builds = self.plugins.entry(plugin.clone()).or_insert(Builds { in_use: digest, before: Vec::new(), taken_back: Vec::new() });
        builds.taken_back.retain(|(other, _)| *other != digest);
        builds.before.retain(|other| *other != digest);
        if builds.in_use != digest {
            let old = std::mem::replace(&mut builds.in_use, digest);
            if builds.taken_back.iter().all(|(other, _)| *other != old) {
                builds.before.insert(0, old);
            }
            builds.before.truncate(BEFORE_MAX);
        }
    }

    /// Notes that the build in use is taken back, and what takes its place.
    pub fn takes_back(&mut self, plugin: &PluginName, why: &str, to: Digest) {
        if let Some(builds) = self.plugins.get_mut(plugin) {
            builds.taken_back.insert(0, (builds.in_use, why.to_owned()));
            builds.taken_back.truncate(TAKEN_BACK_MAX);
        }
        self.uses(plugin, to);
    }

    /// Whether an entry is a component that the book names, or its signature.
    fn names(&self, entry: &str) -> bool {
        let digest = entry.strip_suffix(SIGNATURE).unwrap_or(entry);
        self.builds().any(|kept| kept.to_string() == digest)
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Kept(EntryFolder);

impl Kept {
    /// The folder of `config`'s state, which another process may hold.
    pub fn of(config: &Config) -> Kept {
        Kept(StateFolder::components(&config.store.folder))
    }

    /// The book.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub fn book(&self) -> Result<Book, Failure> {
        let Some(bytes) = self.0.get(BOOK)? else { return Ok(Book::default()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            let said = format!("the book of plugins in use cannot be read: {error}");
            Failure::usage(said, format!("remove `components/{BOOK}` in the state folder: what lies in the plugin folder is used then"))
        })
    }

    /// A component.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub fn component(&self, digest: Digest) -> Result<Option<Bytes>, Failure> {
        let bytes = self.0.get(&digest.to_string())?;
        // One that rotted is as good as none.
        Ok(bytes.filter(|bytes| Digest::of(bytes) == digest).map(Bytes::from))
    }

    /// The signature that came with a component, if one did.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub fn signature(&self, digest: Digest) -> Result<Option<String>, Failure> {
        // It is checked whenever it is used, so that one which rotted does no harm.
        Ok(self.0.get(&format!("{digest}{SIGNATURE}"))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Keeps a component with its signature.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be written.
    pub fn keep(&self, digest: Digest, component: &[u8], signature: Option<&str>) -> Result<(), Failure> {
        let name = digest.to_string();
        if self.component(digest)?.is_none() {
            self.0.put(&name, component)?;
        }
        match signature {
            Some(text) if self.signature(digest)?.as_deref() != Some(text) => {
                Ok(self.0.put(&format!("{name}{SIGNATURE}"), text.as_bytes())?)
            }
            _ => Ok(()),
        }
    }

    /// Where the signature of a component is kept, for people.
    pub fn signature_path(&self, digest: Digest) -> PathBuf {
        Path::new("components").join(format!("{digest}{SIGNATURE}"))
    }

    /// Writes the book, and lets go of components that it does not name.
    ///
    /// # Errors
    /// A [`Failure`] when the folder cannot be written.
    pub fn write(&self, book: &Book) -> Result<(), Failure> {
        self.0.put(BOOK, &serde_json::to_vec(book).expect("a book is plain data"))?;
        self.0.retain(|name| name == BOOK || book.names(name), false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name)
    }

    #[track_caller]
    fn check(book: &Book, in_use: &str, before: &[&str], taken_back: &[&str]) {
        let builds = book.of(&"csv".parse().unwrap()).unwrap();
        assert_eq!(builds.in_use, digest(in_use));
        assert_eq!(builds.before, before.iter().map(|name| digest(name)).collect::<Vec<_>>());
        assert_eq!(
            builds.taken_back.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(),
            taken_back.iter().map(|name| digest(name)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_book_remembers_what_to_go_back_to() {
        let (mut book, csv) = (Book::default(), "csv".parse().unwrap());
        book.uses(&csv, digest("1"));
        check(&book, "1", &[], &[]);
        book.uses(&csv, digest("1"));
        check(&book, "1", &[], &[]);
        for build in ["2", "3", "4", "5"] {
            book.uses(&csv, digest(build));
        }
        check(&book, "5", &["4", "3", "2"], &[]);
        book.takes_back(&csv, "it trapped", digest("4"));
        check(&book, "4", &["3", "2"], &["5"]);
        // Somebody insists.
        book.uses(&csv, digest("5"));
        check(&book, "5", &["4", "3", "2"], &[]);
    }
}
