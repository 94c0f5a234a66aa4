//! `state`: keys and values that a cleaner keeps from batch to batch.
//!
//! Invariant: what was committed is never changed here. A call writes into an overlay, which its caller takes when the call has
//! ended well and which goes with the instance when it has not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{StateChanges, StateEntries, entry_bytes};

use crate::bindings::shared::rows::DataError;
use crate::bindings::shared::state::{ByteValues, Found, Host};
use crate::limiter::LimitHit;

use super::{HostState, NOT_GRANTED, OVER_LIMIT, WRONG_LENGTH, data_error};

/// The keys that a call looked at or changed, one after the other; whoever makes the call again needs their entries.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Touched {
    /// Forgets the keys of an earlier call.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Each key, as often as it was used.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn add(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }
}

/// What an instance has of a state.
#[derive(Debug)]
pub(crate) struct KeyedState {
    /// Whether the manifest asks for it.
    is_declared: bool,
    lent: Option<Lent>,
}

/// The state of one call.
#[derive(Debug)]
struct Lent {
    committed: Arc<StateEntries>,
    changed: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
    touched: Arc<Mutex<Touched>>,
    /// Of the state as it would be after the call.
    entry_count: u64,
    byte_count: u64,
    /// What the overlay counts as memory that the host holds for the guest.
    kept_bytes: u64,
}

impl KeyedState {
    pub(crate) fn new(is_declared: bool) -> KeyedState {
        KeyedState { is_declared, lent: None }
    }

    /// Lends a state for the next call.
    pub(crate) fn lend(&mut self, committed: Arc<StateEntries>, touched: Arc<Mutex<Touched>>) {
        let (entry_count, byte_count) = (committed.entry_count(), committed.byte_count());
        self.lent = Some(Lent { committed, changed: HashMap::new(), touched, entry_count, byte_count, kept_bytes: 0 });
    }

    /// Takes back what was lent: what changed, and the bytes that were kept for it.
    pub(crate) fn take_back(&mut self) -> (StateChanges, u64) {
        let Some(lent) = self.lent.take() else { return Default::default() };
        (StateChanges(lent.changed.into_iter().collect()), lent.kept_bytes)
    }
}

impl Lent {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        match self.changed.get(key) {
            Some(changed) => changed.as_deref(),
            None => self.committed.get(key),
        }
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>, limits: &PluginLimits) -> Result<(), LimitHit> {
        let old = self.get(key).map(|old| entry_bytes(key, old));
        let new = value.map(|value| entry_bytes(key, value));
        let entries = self.entry_count + u64::from(new.is_some()) - u64::from(old.is_some());
        let bytes = self.byte_count + new.unwrap_or(0) - old.unwrap_or(0);
        let over = |limit, what: String| Err(LimitHit { limit, at: format!("its state would have grown to {what}") });
        if entries > limits.state_entries_max && entries > self.entry_count {
            return over("state_entries_max", format!("{entries} entries, the limit is {}", limits.state_entries_max));
        }
        if bytes > limits.state_bytes_max && bytes > self.byte_count {
            return over("state_bytes_max", format!("{bytes} bytes, the limit is {}", limits.state_bytes_max));
        }
        (self.entry_count, self.byte_count) = (entries, bytes);
        self.changed.insert(Box::from(key), value.map(Box::from));
        Ok(())
    }
}

/// The pieces of a list of keys or values.
struct Pieces<'a>(&'a ByteValues);

impl<'a> Pieces<'a> {
    fn of(values: &'a ByteValues) -> Result<Pieces<'a>, DataError> {
        let offsets = &values.offsets;
        let rises = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = offsets.first().is_none_or(|first| *first == 0) && offsets.last().copied().unwrap_or(0) as usize == values.bytes.len();
        if rises && ends {
            return Ok(Pieces(values));
        }
        let text = format!("offsets must rise from 0 to the {} bytes that they divide", values.bytes.len());
        Err(data_error(WRONG_LENGTH, text))
    }

    fn count(&self) -> usize {
        self.0.offsets.len().saturating_sub(1)
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let values = self.0;
        values.offsets.windows(2).map(|pair| &values.bytes[pair[0] as usize..pair[1] as usize])
    }
}

impl HostState {
    /// What `with` makes of the state, for a guest that was lent one. `keys` are those that it is about, `bytes` what it may write.
    fn on_state<'k, T>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        bytes: usize,
        with: impl FnOnce(&mut Lent, &PluginLimits) -> Result<T, LimitHit>,
    ) -> Result<T, DataError> {
        if !self.state.is_declared {
            let refused = self.deny("the host's state", "state = \"keyed\" # in the plugin's own plugin.toml".to_owned());
            return Err(data_error(NOT_GRANTED, refused.message));
        }
        let limits = self.limits;
        let Some(lent) = &mut self.state.lent else {
            return Err(data_error(NOT_GRANTED, "the state is lent to `clean` only"));
        };
        let mut touched = lent.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let before = touched.bytes.len();
        let mut count = 0;
        let mut result = Ok(());
        for key in keys {
            if key.len() > limits.state_key_bytes_max as usize {
                let at = format!("a key of its state has {} bytes, the limit is {}", key.len(), limits.state_key_bytes_max);
                result = Err(LimitHit { limit: "state_key_bytes_max", at });
                break;
            }
            touched.add(key);
            count += 1;
        }
        let kept = (touched.bytes.len() - before + count * size_of::<usize>() + bytes) as u64;
        drop(touched);
        let result = result.and_then(|()| self.limiter.keep(kept)).and_then(|()| {
            lent.kept_bytes += kept;
            with(lent, &limits)
        });
        result.map_err(|hit| {
            self.limiter.reached(hit.limit, || hit.at.clone());
            data_error(OVER_LIMIT, hit.to_string())
        })
    }
}

fn check_value(value: &[u8], limits: &PluginLimits) -> Result<(), LimitHit> {
    let most = limits.state_value_bytes_max;
    if value.len() <= most as usize {
        return Ok(());
    }
    Err(LimitHit { limit: "state_value_bytes_max", at: format!("a value of its state has {} bytes, the limit is {most}", value.len()) })
}

type Reply<T> = wasmtime::Result<Result<T, DataError>>;

impl Host for HostState {
    fn get(&mut self, key: Vec<u8>) -> Reply<Option<Vec<u8>>> {
        self.count_call()?;
        Ok(self.on_state([&*key].into_iter(), 0, |lent, _| Ok(lent.get(&key).map(<[u8]>::to_vec))))
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Reply<()> {
        self.count_call()?;
        Ok(self.on_state([&*key].into_iter(), key.len() + value.len(), |lent, limits| {
            check_value(&value, limits)?;
            lent.set(&key, Some(&value), limits)
        }))
    }

    fn remove(&mut self, key: Vec<u8>) -> Reply<()> {
        self.count_call()?;
        Ok(self.on_state([&*key].into_iter(), key.len(), |lent, limits| lent.set(&key, None, limits)))
    }

    fn get_many(&mut self, keys: ByteValues) -> Reply<Found> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.on_state(keys.iter(), 0, |lent, limits| {
            let mut found = Found { present: Vec::with_capacity(keys.count()), values: ByteValues { offsets: vec![0], bytes: Vec::new() } };
            for value in keys.iter().map(|key| lent.get(key)) {
                found.present.push(u8::from(value.is_some()));
                found.values.bytes.extend_from_slice(value.unwrap_or_default());
                // One key asked for a thousand times must not make the host gather a thousand large values.
                let most = limits.host_call_bytes_max;
                let gathered = found.values.bytes.len();
                let end = u32::try_from(gathered).ok().filter(|_| gathered as u64 <= most);
                let Some(end) = end else {
                    let at = format!("it asked for more than {most} bytes of its state at once");
                    return Err(LimitHit { limit: "host_call_bytes_max", at });
                };
                found.values.offsets.push(end);
            }
            Ok(found)
        }))
    }

    fn set_many(&mut self, keys: ByteValues, values: ByteValues) -> Reply<()> {
        self.count_call()?;
        let (keys, values) = match (Pieces::of(&keys), Pieces::of(&values)) {
            (Ok(keys), Ok(values)) => (keys, values),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        if keys.count() != values.count() {
            return Ok(Err(data_error(WRONG_LENGTH, format!("{} keys and {} values", keys.count(), values.count()))));
        }
        Ok(self.on_state(keys.iter(), keys.0.bytes.len() + values.0.bytes.len(), |lent, limits| {
            values.iter().try_for_each(|value| check_value(value, limits))?;
            keys.iter().zip(values.iter()).try_for_each(|(key, value)| lent.set(key, Some(value), limits))
        }))
    }

    fn remove_many(&mut self, keys: ByteValues) -> Reply<()> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.on_state(keys.iter(), keys.0.bytes.len(), |lent, limits| keys.iter().try_for_each(|key| lent.set(key, None, limits))))
    }

    fn add_many(&mut self, keys: ByteValues) -> Reply<Vec<u8>> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.on_state(keys.iter(), keys.0.bytes.len(), |lent, limits| {
            let add = |key: &[u8]| match lent.get(key) {
                Some(_) => Ok(0),
                None => lent.set(key, Some(&[]), limits).map(|()| 1),
            };
            keys.iter().map(add).collect()
        }))
    }
}
