//! `state`: keys and values that a cleaner keeps from batch to batch.
//!
//! Invariant: what was committed is never changed here. A call writes into an overlay, which its caller takes when the call has
//! ended well and which goes with the instance when it has not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_vocab::limits::{PluginLimits, STATE_ENTRY_BYTES};
use tidegate_vocab::{StateChanges, StateEntries, entry_bytes};

use crate::bindings::shared::rows::DataError;
use crate::bindings::shared::state::{ByteValues, Found, Host};
use crate::limiter::LimitHit;

use super::{HostState, NOT_GRANTED, OVER_LIMIT, WRONG_LENGTH, data_error};

/// Keys after which a call over many of them is asked whether it may go on: no guest runs meanwhile that a tick could stop.
const KEYS_BETWEEN_CHECKS: usize = 1024;

/// The keys that a call looked at or changed, one after the other; whoever makes the call again needs their entries.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Touched {
    /// Forgets the keys of an earlier call, and what they took.
    pub(crate) fn clear(&mut self) {
        *self = Touched::default();
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
        // The counts of a state out of a replay bundle are whatever its header says.
        let entries = self.entry_count.saturating_add(u64::from(new.is_some())).saturating_sub(u64::from(old.is_some()));
        let bytes = self.byte_count.saturating_add(new.unwrap_or(0)).saturating_sub(old.unwrap_or(0));
        let over = |limit, what: String| Err(LimitHit { limit, at: format!("its state would have grown to {what}") });
        if entries > limits.state_entries_max && entries > self.entry_count {
            return over("state_entries_max", format!("{entries} entries, the limit is {}", limits.state_entries_max));
        }
        if bytes > limits.state_bytes_max && bytes > self.byte_count {
            return over("state_bytes_max", format!("{bytes} bytes, the limit is {}", limits.state_bytes_max));
        }
        (self.entry_count, self.byte_count) = (entries, bytes);
        if value.is_none() && self.committed.get(key).is_none() {
            // Nothing is to be removed, so that nothing of it need be kept: not here, and not in every layer until they are merged.
            self.changed.remove(key);
        } else {
            self.changed.insert(Box::from(key), value.map(Box::from));
        }
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

/// What a call does with keys besides looking at them.
enum Use {
    Read,
    /// It writes values of this many bytes.
    Write(usize),
}

impl HostState {
    /// Does `each` for every one of `keys`, for a guest that was lent a state.
    fn on_state(
        &mut self,
        keys: &Pieces<'_>,
        how: Use,
        mut each: impl FnMut(&mut Lent, &[u8], &PluginLimits) -> Result<(), LimitHit>,
    ) -> Reply<()> {
        if !self.state.is_declared {
            let refused = self.deny("the host's state", "state = \"keyed\" # in the plugin's own plugin.toml".to_owned());
            return Ok(Err(data_error(NOT_GRANTED, refused.message)));
        }
        let Some(mut lent) = self.state.lent.take() else {
            return Ok(Err(data_error(NOT_GRANTED, "the state is lent to `clean` only")));
        };
        let done = self.room_for(&mut lent, keys, &how).map(|()| self.each_key(&mut lent, keys, &mut each));
        self.state.lent = Some(lent);
        let hit = match done {
            Ok(Ok(Ok(()))) => return Ok(Ok(())),
            Ok(Err(out_of_time)) => return Err(out_of_time.into()),
            Ok(Ok(Err(hit))) | Err(hit) => hit,
        };
        self.limiter.reached(hit.limit, || hit.at.clone());
        Ok(Err(data_error(OVER_LIMIT, hit.to_string())))
    }

    /// Counts what the host will hold for `keys` before it holds any of it, and looks at how long they are.
    fn room_for(&mut self, lent: &mut Lent, keys: &Pieces<'_>, how: &Use) -> Result<(), LimitHit> {
        let count = keys.count() as u64;
        let used = count.saturating_mul(STATE_ENTRY_BYTES).saturating_add(keys.0.bytes.len() as u64);
        let kept = match how {
            Use::Read => used,
            Use::Write(bytes) => used.saturating_mul(2).saturating_add(*bytes as u64),
        };
        self.limiter.keep(kept)?;
        lent.kept_bytes += kept;
        let most = self.limits.state_key_bytes_max;
        match keys.iter().find(|key| key.len() > most as usize) {
            None => Ok(()),
            Some(key) => {
                let at = format!("a key of its state has {} bytes, the limit is {most}", key.len());
                Err(LimitHit { limit: "state_key_bytes_max", at })
            }
        }
    }

    /// The outer error ends the call.
    fn each_key(
        &mut self,
        lent: &mut Lent,
        keys: &Pieces<'_>,
        each: &mut impl FnMut(&mut Lent, &[u8], &PluginLimits) -> Result<(), LimitHit>,
    ) -> Result<Result<(), LimitHit>, LimitHit> {
        let (limits, touched) = (self.limits, Arc::clone(&lent.touched));
        let mut touched = touched.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, key) in keys.iter().enumerate() {
            if index % KEYS_BETWEEN_CHECKS == KEYS_BETWEEN_CHECKS - 1 {
                self.check_time()?;
            }
            touched.add(key);
            if let Err(hit) = each(lent, key, &limits) {
                return Ok(Err(hit));
            }
        }
        Ok(Ok(()))
    }
}

/// One key as a list of one.
fn only(key: Vec<u8>) -> ByteValues {
    ByteValues { offsets: vec![0, u32::try_from(key.len()).unwrap_or(u32::MAX)], bytes: key }
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
        let mut found = None;
        let done = self.on_state(&Pieces(&only(key)), Use::Read, |lent, key, _| {
            found = lent.get(key).map(<[u8]>::to_vec);
            Ok(())
        })?;
        Ok(done.map(|()| found))
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Reply<()> {
        self.count_call()?;
        self.on_state(&Pieces(&only(key)), Use::Write(value.len()), |lent, key, limits| {
            check_value(&value, limits)?;
            lent.set(key, Some(&value), limits)
        })
    }

    fn remove(&mut self, key: Vec<u8>) -> Reply<()> {
        self.count_call()?;
        self.on_state(&Pieces(&only(key)), Use::Write(0), |lent, key, limits| lent.set(key, None, limits))
    }

    fn get_many(&mut self, keys: ByteValues) -> Reply<Found> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        let mut found = Found { present: Vec::new(), values: ByteValues { offsets: vec![0], bytes: Vec::new() } };
        let done = self.on_state(&keys, Use::Read, |lent, key, limits| {
            let value = lent.get(key);
            let (gathered, most) = (found.values.bytes.len() + value.map_or(0, <[u8]>::len), limits.host_call_bytes_max);
            // One key asked for a thousand times must not make the host gather a thousand large values.
            let Some(end) = u32::try_from(gathered).ok().filter(|_| gathered as u64 <= most) else {
                let at = format!("it asked for more than {most} bytes of its state at once");
                return Err(LimitHit { limit: "host_call_bytes_max", at });
            };
            found.present.push(u8::from(value.is_some()));
            found.values.bytes.extend_from_slice(value.unwrap_or_default());
            found.values.offsets.push(end);
            Ok(())
        })?;
        Ok(done.map(|()| found))
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
        let mut values_left = values.iter();
        self.on_state(&keys, Use::Write(values.0.bytes.len()), |lent, key, limits| {
            let value = values_left.next().unwrap_or_default();
            check_value(value, limits)?;
            lent.set(key, Some(value), limits)
        })
    }

    fn remove_many(&mut self, keys: ByteValues) -> Reply<()> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        self.on_state(&keys, Use::Write(0), |lent, key, limits| lent.set(key, None, limits))
    }

    fn add_many(&mut self, keys: ByteValues) -> Reply<Vec<u8>> {
        self.count_call()?;
        let keys = match Pieces::of(&keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        let mut added = Vec::new();
        let done = self.on_state(&keys, Use::Write(0), |lent, key, limits| {
            let is_new = lent.get(key).is_none();
            added.push(u8::from(is_new));
            if is_new { lent.set(key, Some(&[]), limits) } else { Ok(()) }
        })?;
        Ok(done.map(|()| added))
    }
}
