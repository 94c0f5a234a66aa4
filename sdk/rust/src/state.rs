//! What a cleaner keeps from batch to batch: keys and values that the host lends, for plugins whose manifest says `state = "keyed"`.
//!
//! Batches come in order, each once. What a call changes is kept together with the rows that it cleaned, or not at all: a call that
//! fails, or is made again, finds what was there before. A plugin that remembers in a variable of its own instead loses it with the
//! instance, and counts twice what it is asked twice.
//!
//! Small things are read and written one by one, as bytes ([`get`], [`set`]) or as any serde type ([`read`], [`write()`]). For a key a
//! row, [`Entries`] go to the host all at once: one call for a whole batch.
//!
//! ```
//! use tidegate_plugin::{Failure, state};
//!
//! /// The mean of everything seen so far.
//! fn mean_with(values: &[f64]) -> Result<f64, Failure> {
//!     let (count, sum): (u64, f64) = state::read("seen")?.unwrap_or_default();
//!     let (count, sum) = (count + values.len() as u64, sum + values.iter().sum::<f64>());
//!     state::write("seen", &(count, sum))?;
//!     Ok(sum / count as f64)
//! }
//! # assert_eq!(mean_with(&[1.0, 3.0]).unwrap(), 2.0);
//! # assert_eq!(mean_with(&[5.0]).unwrap(), 3.0);
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::host::state as host;

/// The value of a key.
///
/// # Errors
/// When the manifest does not ask for state, a limit is reached, or it is asked for outside `clean`.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Failure> {
    host::get(key.as_ref()).map_err(Failure::refused)
}

/// Sets the value of a key.
///
/// # Errors
/// As [`get`].
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Failure> {
    host::set(key.as_ref(), value.as_ref()).map_err(Failure::refused)
}

/// Removes a key; nothing happens where it is not there.
///
/// # Errors
/// As [`get`].
pub fn remove(key: impl AsRef<[u8]>) -> Result<(), Failure> {
    host::remove(key.as_ref()).map_err(Failure::refused)
}

/// The value of a key, as [`write()`] wrote it.
///
/// # Errors
/// As [`get`], and when the value is of another type.
pub fn read<T: DeserializeOwned>(key: impl AsRef<[u8]>) -> Result<Option<T>, Failure> {
    let Some(value) = get(key.as_ref())? else { return Ok(None) };
    let failed = |error| Failure::new(format!("the state of `{}` is not what was written: {error}", key.as_ref().escape_ascii()));
    serde_json::from_slice(&value).map(Some).map_err(failed)
}

/// Sets the value of a key to `value` as JSON.
///
/// # Errors
/// As [`get`], and when the value cannot be JSON.
pub fn write<T: Serialize>(key: impl AsRef<[u8]>, value: &T) -> Result<(), Failure> {
    set(key, serde_json::to_vec(value)?)
}

/// Keys or values, one after the other, that go to the host in one call.
#[derive(Debug, Clone)]
pub struct Entries {
    values: host::ByteValues,
}

impl Default for Entries {
    fn default() -> Entries {
        Entries { values: host::ByteValues { offsets: vec![0], bytes: Vec::new() } }
    }
}

impl Entries {
    /// None yet.
    pub fn new() -> Entries {
        Entries::default()
    }

    /// Adds one at the end.
    ///
    /// # Errors
    /// When all of them together would have 4 GiB.
    pub fn push(&mut self, entry: impl AsRef<[u8]>) -> Result<(), Failure> {
        let entry = entry.as_ref();
        let end = u32::try_from(self.values.bytes.len() + entry.len());
        let end = end.map_err(|_| Failure::new("keys or values of more than 4 GiB do not go to the host at once"))?;
        self.values.bytes.extend_from_slice(entry);
        self.values.offsets.push(end);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.values.offsets.windows(2).map(|pair| &self.values.bytes[pair[0] as usize..pair[1] as usize])
    }
}

/// The value of each key.
///
/// # Errors
/// As [`get`].
pub fn get_many(keys: &Entries) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    let found = host::get_many(&keys.values).map_err(Failure::refused)?;
    let values = Entries { values: found.values };
    Ok(found.present.iter().zip(values.iter()).map(|(present, value)| (*present == 1).then(|| value.to_vec())).collect())
}

/// Sets the value of each key; of a key that comes twice the last value stays.
///
/// # Errors
/// As [`get`], and when there are not as many values as keys.
pub fn set_many(keys: &Entries, values: &Entries) -> Result<(), Failure> {
    host::set_many(&keys.values, &values.values).map_err(Failure::refused)
}

/// Removes each key.
///
/// # Errors
/// As [`get`].
pub fn remove_many(keys: &Entries) -> Result<(), Failure> {
    host::remove_many(&keys.values).map_err(Failure::refused)
}

/// Makes an entry with an empty value for each key that has none; whether it had none, neither in the state nor earlier among `keys`.
///
/// # Errors
/// As [`get`].
pub fn add_many(keys: &Entries) -> Result<Vec<bool>, Failure> {
    let added = host::add_many(&keys.values).map_err(Failure::refused)?;
    Ok(added.iter().map(|added| *added == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Table};
    use crate::{Batch, Cleaner, Edit, Issues};

    /// Counts its calls, and fails on batches without rows after it has counted them.
    struct Counting;

    impl Cleaner for Counting {
        type Config = ();

        fn configure((): ()) -> Result<Counting, Issues> {
            Ok(Counting)
        }

        fn clean(&self, rows: &Batch, _edit: &Edit) -> Result<(), Failure> {
            write("calls", &(read::<u64>("calls")?.unwrap_or(0) + 1))?;
            if rows.row_count() == 0 { Err(Failure::new("no rows")) } else { Ok(()) }
        }
    }

    fn entries(of: &[&str]) -> Entries {
        let mut entries = Entries::new();
        of.iter().for_each(|entry| entries.push(entry).expect("they are short"));
        entries
    }

    #[test]
    fn a_call_that_fails_leaves_the_state_as_it_was() {
        let table = |rows: &[f64]| Table::new().f64("x", rows.iter().map(|value| Some(*value)));
        for (rows, calls) in [(&[1.0][..], 1), (&[], 1), (&[1.0, 2.0], 2)] {
            assert_eq!(testing::clean(&Counting, &table(rows)).is_err(), rows.is_empty());
            assert_eq!(read::<u64>("calls"), Ok(Some(calls)));
        }
        assert!(read::<String>("calls").is_err_and(|failure| failure.message.contains("`calls` is not what was written")));
        assert_eq!(testing::take_state().len(), 1);
        assert_eq!(read::<u64>("calls"), Ok(None));
    }

    #[test]
    fn many_entries_go_at_once() {
        let keys = entries(&["a", "bb", "a", ""]);
        assert_eq!((keys.len(), keys.is_empty(), keys.iter().nth(1)), (4, false, Some(&b"bb"[..])));
        assert_eq!(add_many(&keys), Ok(vec![true, true, false, true]));
        assert_eq!(add_many(&keys), Ok(vec![false; 4]));
        set_many(&entries(&["a", "bb"]), &entries(&["1", ""])).expect("there are as many values as keys");
        let values = get_many(&entries(&["bb", "c", "a"])).expect("it is there");
        assert_eq!(values, [Some(Vec::new()), None, Some(b"1".to_vec())]);
        remove_many(&entries(&["a", "z"])).expect("what is not there need not be");
        assert_eq!(get("a"), Ok(None));
        remove("bb").expect("it is there");
        assert!(set_many(&keys, &entries(&["1"])).is_err_and(|failure| failure.message == "4 keys and 1 values"));
        assert_eq!(testing::take_state().len(), 1);
    }
}
