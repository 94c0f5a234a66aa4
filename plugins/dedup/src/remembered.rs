//! The keys that came in earlier parts: at least as many of the newest as were asked for, in the state that the host keeps.
//!
//! Each key is an entry without a value, a long one by its digest. Beside them lie lists of entries in the order in which they came,
//! each of up to [`LIST_KEYS`]; where there are more than are to be remembered, the oldest lists go with their entries.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidegate_plugin::Failure;
use tidegate_plugin::state::{self, Entries};

/// Keys of one list.
const LIST_KEYS: u64 = 1_024;
/// Bytes of a key that is kept as it is.
const PLAIN_BYTES: usize = 64;
/// Where [`Lists`] lies.
const LISTS: &str = "lists";

/// Which lists there are.
#[derive(Default, Serialize, Deserialize)]
struct Lists {
    /// The number of the oldest.
    oldest: u64,
    /// The number of the one that is being filled.
    newest: u64,
    /// Keys of that one.
    newest_keys: u64,
    /// Keys of all of them.
    keys: u64,
}

/// Which of `keys`, each of them once, did not come in an earlier part. They are remembered from now on.
pub fn are_new(keys: &[&[u8]], remember_keys: u64) -> Result<Vec<bool>, Failure> {
    let mut entries = Entries::new();
    keys.iter().try_for_each(|key| entries.push(entry_of(key)))?;
    let are_new = state::add_many(&entries)?;
    let mut lists: Lists = state::read(LISTS)?.unwrap_or_default();
    append(&mut lists, entries.iter().zip(&are_new).filter(|(_, is_new)| **is_new).map(|(entry, _)| entry))?;
    forget(&mut lists, remember_keys)?;
    state::write(LISTS, &lists)?;
    Ok(are_new)
}

fn append<'e>(lists: &mut Lists, entries: impl Iterator<Item = &'e [u8]>) -> Result<(), Failure> {
    let mut list = state::get(list_of(lists.newest))?.unwrap_or_default();
    for entry in entries {
        if lists.newest_keys == LIST_KEYS {
            state::set(list_of(lists.newest), &list)?;
            list.clear();
            (lists.newest, lists.newest_keys) = (lists.newest + 1, 0);
        }
        // Its length fits in a byte.
        list.push(entry.len() as u8);
        list.extend_from_slice(entry);
        (lists.newest_keys, lists.keys) = (lists.newest_keys + 1, lists.keys + 1);
    }
    state::set(list_of(lists.newest), &list)
}

fn forget(lists: &mut Lists, remember_keys: u64) -> Result<(), Failure> {
    while lists.oldest < lists.newest && lists.keys.saturating_sub(LIST_KEYS) >= remember_keys {
        let list = state::get(list_of(lists.oldest))?.unwrap_or_default();
        let mut entries = Entries::new();
        let mut rest = &list[..];
        while let Some((length, after)) = rest.split_first() {
            let (entry, after) = after.split_at(usize::from(*length).min(after.len()));
            entries.push(entry)?;
            rest = after;
        }
        state::remove_many(&entries)?;
        state::remove(list_of(lists.oldest))?;
        (lists.oldest, lists.keys) = (lists.oldest + 1, lists.keys.saturating_sub(entries.len() as u64));
    }
    Ok(())
}

/// The entry of a key; no list has the same.
fn entry_of(key: &[u8]) -> Vec<u8> {
    if key.len() <= PLAIN_BYTES { [b"k", key].concat() } else { [&b"d"[..], &Sha256::digest(key)[..]].concat() }
}

fn list_of(number: u64) -> Vec<u8> {
    [&b"l"[..], &number.to_be_bytes()].concat()
}
