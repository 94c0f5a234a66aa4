//! The keys that came in earlier parts: at least as many of the newest as were asked for, in the state that the host keeps.
//!
//! Each key is an entry without a value. Beside them lie lists of keys in the order in which they came, each of up to [`LIST_KEYS`];
//! where there are more keys than are to be remembered, the oldest lists go with their keys.

use serde::{Deserialize, Serialize};
use tidegate_plugin::Failure;
use tidegate_plugin::state::{self, Entries};

/// Keys of one list.
const LIST_KEYS: u64 = 1_024;
/// Bytes of one list, unless a single key has more.
const LIST_BYTES: usize = 256 << 10;
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
    let new = keys.iter().zip(&are_new).filter(|(_, is_new)| **is_new).map(|(key, _)| *key);
    append(&mut lists, new)?;
    forget(&mut lists, remember_keys)?;
    state::write(LISTS, &lists)?;
    Ok(are_new)
}

fn append<'k>(lists: &mut Lists, keys: impl Iterator<Item = &'k [u8]>) -> Result<(), Failure> {
    let mut list = state::get(list_of(lists.newest))?.unwrap_or_default();
    for key in keys {
        let is_full = lists.newest_keys == LIST_KEYS || list.len() + 4 + key.len() > LIST_BYTES;
        if is_full && lists.newest_keys > 0 {
            state::set(list_of(lists.newest), &list)?;
            list.clear();
            (lists.newest, lists.newest_keys) = (lists.newest + 1, 0);
        }
        list.extend((key.len() as u32).to_le_bytes());
        list.extend_from_slice(key);
        (lists.newest_keys, lists.keys) = (lists.newest_keys + 1, lists.keys + 1);
    }
    state::set(list_of(lists.newest), &list)
}

fn forget(lists: &mut Lists, remember_keys: u64) -> Result<(), Failure> {
    while lists.oldest < lists.newest && lists.keys > remember_keys {
        let list = state::get(list_of(lists.oldest))?.unwrap_or_default();
        let mut entries = Entries::new();
        let mut rest = &list[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let end = (u32::from_le_bytes(*length) as usize).min(after.len());
            entries.push(entry_of(&after[..end]))?;
            rest = &after[end..];
        }
        let left = lists.keys.saturating_sub(entries.len() as u64);
        if left < remember_keys {
            break;
        }
        state::remove_many(&entries)?;
        state::remove(list_of(lists.oldest))?;
        (lists.oldest, lists.keys) = (lists.oldest + 1, left);
    }
    Ok(())
}

/// The entry of a key; no list has the same.
fn entry_of(key: &[u8]) -> Vec<u8> {
    [b"k", key].concat()
}

fn list_of(number: u64) -> Vec<u8> {
    [&b"l"[..], &number.to_be_bytes()].concat()
}
