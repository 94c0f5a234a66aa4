//! Layers of a cleaner's state as files, and when small layers become a larger one.
//!
//! A file is a line that names the format, then each changed key in rising order: the key's length, the length of its value (or
//! [`REMOVED`]), the key, the value. Lengths are four bytes, little-endian. The same changes give the same bytes.

use bytes::Bytes;
use tidegate_vocab::{StateChanges, StateLayer};

use crate::DatasetError;

const FORMAT: &[u8] = b"tidegate cleaner state 1\n";
/// Where the length of a value would be, for a key that is removed; no value may be as long.
const REMOVED: u32 = u32::MAX;
/// Layers of about one size that become one. Each entry is written again once whenever that happens to it: with eight, about twice
/// for a million of them.
const MERGED_LAYERS: usize = 8;

/// The file of some changes.
pub fn encode_state(changes: &StateChanges) -> Bytes {
    let bytes = |value: &Option<Box<[u8]>>| value.as_ref().map_or(0, |value| value.len());
    let size: usize = changes.0.iter().map(|(key, value)| 8 + key.len() + bytes(value)).sum();
    let mut file = Vec::with_capacity(FORMAT.len() + size);
    file.extend_from_slice(FORMAT);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|length| *length < REMOVED).expect("limits are far below 4 GiB");
    for (key, value) in &changes.0 {
        file.extend_from_slice(&length(key).to_le_bytes());
        file.extend_from_slice(&value.as_ref().map_or(REMOVED, |value| length(value)).to_le_bytes());
        file.extend_from_slice(key);
        file.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    file.into()
}

/// The changes in a file.
///
/// # Errors
/// [`DatasetError::NotAPart`] for bytes that [`encode_state`] did not write.
pub fn decode_state(file: &[u8]) -> Result<StateChanges, DatasetError> {
    let wrong = |why: &str| DatasetError::NotAPart { why: format!("a layer of a cleaner's state {why}") };
    let mut rest = file.strip_prefix(FORMAT).ok_or_else(|| wrong("begins otherwise"))?;
    let mut changes = StateChanges::default();
    while !rest.is_empty() {
        let ends = || wrong("ends within an entry");
        let (key_length, after) = rest.split_first_chunk::<4>().ok_or_else(ends)?;
        let (value_length, after) = after.split_first_chunk::<4>().ok_or_else(ends)?;
        let (key, after) = after.split_at_checked(u32::from_le_bytes(*key_length) as usize).ok_or_else(ends)?;
        let (value, after) = match u32::from_le_bytes(*value_length) {
            REMOVED => (None, after),
            length => {
                let (value, after) = after.split_at_checked(length as usize).ok_or_else(ends)?;
                (Some(Box::from(value)), after)
            }
        };
        if changes.0.last_key_value().is_some_and(|(last, _)| **last >= *key) {
            return Err(wrong("has keys out of order"));
        }
        changes.0.insert(Box::from(key), value);
        rest = after;
    }
    Ok(changes)
}

/// What some layers come to together, oldest first. Nothing lies beneath `is_bottom` ones, so that removals need not be remembered.
pub fn merged_state(layers: impl IntoIterator<Item = StateChanges>, is_bottom: bool) -> StateChanges {
    let mut merged = StateChanges::default();
    layers.into_iter().for_each(|layer| merged.then(layer));
    if is_bottom {
        merged.0.retain(|_, value| value.is_some());
    }
    merged
}

/// How many of the newest layers are to become one; 0 when they may stay as they are.
pub fn layers_to_merge(layers: &[StateLayer]) -> usize {
    let size = |layer: &StateLayer| layer.changes.max(1).ilog(MERGED_LAYERS as u64);
    let Some(newest) = layers.last().map(size) else { return 0 };
    let like = layers.iter().rev().take_while(|layer| size(layer) <= newest).count();
    if like < MERGED_LAYERS { 0 } else { like }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_vocab::{Digest, StateEntries};

    use super::*;

    fn some_changes() -> impl Strategy<Value = StateChanges> {
        let bytes = || prop::collection::vec(0..4_u8, 0..3).prop_map(Vec::into_boxed_slice);
        prop::collection::btree_map(bytes(), prop::option::of(bytes()), 0..6).prop_map(StateChanges)
    }

    proptest! {
        #[test]
        fn changes_read_back(changes in some_changes()) {
            prop_assert_eq!(decode_state(&encode_state(&changes)).unwrap(), changes);
        }

        #[test]
        fn a_file_that_was_cut_is_refused_or_holds_less(changes in some_changes(), share in 0.0_f64..1.0) {
            let file = encode_state(&changes);
            let cut = &file[..(share * file.len() as f64) as usize];
            if let Ok(read) = decode_state(cut) {
                prop_assert!(read.0.len() < changes.0.len() || cut.len() == file.len());
            }
        }

        #[test]
        fn merged_layers_hold_what_they_held(parts in prop::collection::vec(some_changes(), 1..12), at in 0..12_usize) {
            let entries = |layers: &[StateChanges]| {
                let mut entries = StateEntries::default();
                layers.iter().for_each(|layer| entries.apply(layer.clone()));
                entries
            };
            let at = at.min(parts.len());
            let below = merged_state(parts[..at].iter().cloned(), true);
            let above = merged_state(parts[at..].iter().cloned(), false);
            prop_assert_eq!(entries(&[below, above]), entries(&parts));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"tidegate cleaner state 2\n", &[FORMAT, &[1, 0, 0]].concat(), &[FORMAT, &[9; 8]].concat()] {
            assert!(matches!(decode_state(bytes), Err(DatasetError::NotAPart { .. })), "{bytes:?}");
        }
        let twice = [FORMAT, &[1, 0, 0, 0, 0, 0, 0, 0, b'a'], &[1, 0, 0, 0, 0, 0, 0, 0, b'a']].concat();
        assert!(decode_state(&twice).unwrap_err().to_string().contains("out of order"));
    }

    #[test]
    fn layers_stay_few_and_are_seldom_written_again() {
        // A hundred thousand batches of 100 new keys each.
        let (mut layers, mut written, batches) = (Vec::<StateLayer>::new(), 0, 100_000);
        let layer = |changes| StateLayer { digest: Digest::of("layer"), changes };
        let mut most = 0;
        for _ in 0..batches {
            layers.push(layer(100));
            while let merge @ 1.. = layers_to_merge(&layers) {
                let changes = layers.drain(layers.len() - merge..).map(|layer| layer.changes).sum();
                layers.push(layer(changes));
                written += changes;
            }
            most = most.max(layers.len());
        }
        assert_eq!(layers.iter().map(|layer| layer.changes).sum::<u64>(), 100 * batches);
        assert!(most <= 64, "{most} layers");
        assert!(written <= 8 * 100 * batches, "{written} entries were written again");
        assert_eq!(layers_to_merge(&[]), 0);
    }
}
