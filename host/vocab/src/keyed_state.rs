//! What a cleaner that keeps state remembers from one batch to the next: keys and values that the host lends.
//!
//! Such a state is kept as layers: files that each say what a stretch of batches set and removed. All layers together, oldest first,
//! are the state; the one of the last batch is written with the batch, and small ones are merged into larger ones now and then.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::limits::STATE_ENTRY_BYTES;

/// The state of one cleaner of a chain, as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanerState {
    /// The cleaner's place in the chain, from 0.
    pub cleaner: u32,
    /// The files, oldest first; none for an empty state.
    pub layers: Vec<StateLayer>,
}

/// One file of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLayer {
    /// Digest of the file.
    pub digest: Digest,
    /// Keys that it sets or removes.
    pub changes: u64,
}

/// What a call, or several, changed: each key with its new value, or `None` where it was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateChanges(pub BTreeMap<Box<[u8]>, Option<Box<[u8]>>>);

impl StateChanges {
    /// What both come to, `later` after these.
    pub fn then(&mut self, later: StateChanges) {
        self.0.extend(later.0);
    }
}

/// The entries of a state, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateEntries {
    entries: HashMap<Box<[u8]>, Box<[u8]>>,
    entry_count: u64,
    byte_count: u64,
}

impl StateEntries {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|value| &**value)
    }

    /// How many entries there are.
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Bytes of keys and values, with [`STATE_ENTRY_BYTES`] for each entry.
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Makes these changes.
    pub fn apply(&mut self, changes: StateChanges) {
        for (key, value) in changes.0 {
            let old = match value {
                Some(value) => {
                    self.entry_count += 1;
                    self.byte_count += entry_bytes(&key, &value);
                    self.entries.insert(key.clone(), value)
                }
                None => self.entries.remove(&key),
            };
            if let Some(old) = old {
                self.entry_count -= 1;
                self.byte_count -= entry_bytes(&key, &old);
            }
        }
    }

    /// What is to be known of a state to make a call again that looked at `keys`: these entries and no others, with the counts of
    /// them all.
    pub fn seen(&self, keys: impl IntoIterator<Item = Box<[u8]>>) -> StateSeen {
        let seen = keys.into_iter().map(|key| {
            let value = self.get(&key).map(Box::from);
            (key, value)
        });
        StateSeen { read: StateChanges(seen.collect()), entry_count: self.entry_count, byte_count: self.byte_count }
    }
}

impl From<StateSeen> for StateEntries {
    fn from(seen: StateSeen) -> StateEntries {
        let entries = seen.read.0.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        StateEntries { entries, entry_count: seen.entry_count, byte_count: seen.byte_count }
    }
}

/// The part of a state that a call looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateSeen {
    /// Each key with its value, or `None` where there was none.
    pub read: StateChanges,
    /// Entries of the whole state.
    pub entry_count: u64,
    /// Bytes of the whole state, as [`StateEntries::byte_count`] counts them.
    pub byte_count: u64,
}

/// What one entry counts.
pub fn entry_bytes(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + STATE_ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(of: &[(&str, Option<&str>)]) -> StateChanges {
        let bytes = |text: &str| Box::from(text.as_bytes());
        StateChanges(of.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect())
    }

    #[test]
    fn counts_follow_what_is_there() {
        let mut state = StateEntries::default();
        let mut check = |of: &[(&str, Option<&str>)], entries: u64, bytes: u64| {
            state.apply(changes(of));
            assert_eq!((state.entry_count(), state.byte_count()), (entries, bytes + entries * STATE_ENTRY_BYTES), "{of:?}");
            state.clone()
        };
        check(&[("a", Some("1")), ("bb", Some("22")), ("c", None)], 2, 6);
        let two = check(&[("a", Some("333"))], 2, 8);
        assert_eq!((two.get(b"a"), two.get(b"c")), (Some(&b"333"[..]), None));
        check(&[("a", None), ("bb", None)], 0, 0);
        let seen = two.seen([Box::from(&b"a"[..]), Box::from(&b"z"[..])]);
        let again = StateEntries::from(seen);
        assert_eq!((again.get(b"a"), again.get(b"bb"), again.get(b"z")), (Some(&b"333"[..]), None, None));
        assert_eq!((again.entry_count(), again.byte_count()), (two.entry_count(), two.byte_count()));
    }

    #[test]
    fn later_changes_win() {
        let mut first = changes(&[("a", Some("1")), ("b", Some("2"))]);
        first.then(changes(&[("a", None), ("c", Some("3"))]));
        assert_eq!(first, changes(&[("a", None), ("b", Some("2")), ("c", Some("3"))]));
    }
}
