//! A replay bundle: everything that a failed call of a cleaner was made of, in one file that runs again anywhere.
//!
//! Layout: a line that names the format, the length of the header as eight bytes (little-endian), the header as JSON, the rows as an
//! Arrow IPC file, the component, and for a cleaner that keeps state the entries that the call used, as a layer of its state. The header
//! says how long each is, and its digests say whether they are whole.
//!
//! A cleaner has no clock, no network and chance from a seed that is its name, so that nothing else can have made a difference but
//! the machine's speed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_dataset::{DatasetError, decode_raw, decode_state};
use tidegate_vocab::{Batch, Digest, PipelineId, PluginName, StateEntries, StateSeen, Timestamp};

use crate::DamageBounds;

/// The first line of a bundle.
const FORMAT: &[u8] = b"tidegate replay bundle 1\n";
/// Bytes of a header; a log and a configuration fit many times over.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// One failed call, ready to be made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What it was.
    pub call: FailedCall,
    /// The rows that the cleaner was given, as an Arrow IPC file with a role in the metadata of each field.
    pub rows: Bytes,
    /// The component.
    pub component: Bytes,
    /// The entries of its state that the call used; empty for a cleaner that keeps none.
    pub state: Bytes,
}

/// What was called, under which circumstances, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedCall {
    /// The version of the host.
    pub host_version: String,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The plugin's name, which is also the seed of its chance.
    pub plugin: PluginName,
    /// The digest of its component.
    pub digest: Digest,
    /// The digest of the rows.
    pub rows_digest: Digest,
    /// Its configuration.
    pub config: serde_json::Value,
    /// Its limits and grants.
    pub circumstances: serde_json::Value,
    /// How much it may change.
    pub damage: DamageBounds,
    /// What it was lent of its state; `None` for a cleaner that keeps none.
    #[serde(default)]
    pub state: Option<SeenCounts>,
    /// Number of the first row of the raw part.
    pub first_row: u64,
    /// Rows of the raw part; cleaners before this one may have dropped some of them.
    pub row_count: u64,
    /// When it failed.
    pub at: Timestamp,
    /// How it ended, in a word.
    pub outcome: String,
    /// The error.
    pub error: String,
    /// The plugin's log of the call: level and text.
    pub log: Vec<(String, String)>,
    /// The plugin's functions, innermost first.
    pub backtrace: Vec<String>,
}

/// The state of a call in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCounts {
    /// The digest of the entries that the call used.
    pub digest: Digest,
    /// Entries of the whole state.
    pub entries: u64,
    /// Bytes of the whole state.
    pub bytes: u64,
}

/// Bytes that are not a bundle, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a replay bundle of this version: {why}")]
pub struct NotABundle {
    /// What is wrong.
    pub why: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    call: FailedCall,
    rows_bytes: u64,
    component_bytes: u64,
    #[serde(default)]
    state_bytes: u64,
}

impl Bundle {
    /// The bundle as a file.
    pub fn encode(&self) -> Bytes {
        let (rows_bytes, component_bytes, state_bytes) = (self.rows.len() as u64, self.component.len() as u64, self.state.len() as u64);
        let header = Header { call: self.call.clone(), rows_bytes, component_bytes, state_bytes };
        let header = serde_json::to_vec(&header).expect("a header is plain data");
        let pieces = [&header[..], &self.rows, &self.component, &self.state];
        let mut file = Vec::with_capacity(FORMAT.len() + 8 + pieces.iter().map(|piece| piece.len()).sum::<usize>());
        file.extend_from_slice(FORMAT);
        file.extend_from_slice(&(header.len() as u64).to_le_bytes());
        for piece in pieces {
            file.extend_from_slice(piece);
        }
        file.into()
    }

    /// The bundle in a file.
    ///
    /// # Errors
    /// [`NotABundle`] says what is wrong with the bytes; nothing of them is trusted before it was checked.
    pub fn decode(file: &Bytes) -> Result<Bundle, NotABundle> {
        let wrong = |why: String| NotABundle { why };
        let rest = file.strip_prefix(FORMAT).ok_or_else(|| wrong("its first line is another".into()))?;
        let (length, _) = rest.split_first_chunk::<8>().ok_or_else(|| wrong("it ends before its header".into()))?;
        let length = Some(u64::from_le_bytes(*length)).filter(|length| *length <= HEADER_BYTES_MAX);
        let length = length.ok_or_else(|| wrong(format!("its header has more than {HEADER_BYTES_MAX} bytes")))?;
        let start = FORMAT.len() + 8;
        let end = start + length as usize;
        let header = file.get(start..end).ok_or_else(|| wrong("it ends within its header".into()))?;
        let header: Header = serde_json::from_slice(header).map_err(|error| wrong(format!("its header does not parse: {error}")))?;
        let after = |start: Option<usize>, bytes: u64| start?.checked_add(usize::try_from(bytes).ok()?);
        let rows_end = after(Some(end), header.rows_bytes);
        let component_end = after(rows_end, header.component_bytes);
        let whole = after(component_end, header.state_bytes).filter(|whole| *whole == file.len());
        let (Some(rows_end), Some(component_end), Some(_)) = (rows_end, component_end, whole) else {
            return Err(wrong(format!("it has {} bytes, its header says otherwise", file.len())));
        };
        let (rows, component, state) = (file.slice(end..rows_end), file.slice(rows_end..component_end), file.slice(component_end..));
        let bundle = Bundle { call: header.call, rows, component, state };
        if Digest::of(&bundle.rows) != bundle.call.rows_digest {
            return Err(wrong("its rows are not those of the header".into()));
        }
        if !bundle.component.is_empty() && Digest::of(&bundle.component) != bundle.call.digest {
            return Err(wrong("its component is not that of the header".into()));
        }
        if bundle.call.state.map_or(!bundle.state.is_empty(), |seen| Digest::of(&bundle.state) != seen.digest) {
            return Err(wrong("its state is not that of the header".into()));
        }
        Ok(bundle)
    }

    /// The rows that the cleaner was given.
    ///
    /// # Errors
    /// What is wrong with their file.
    pub fn batch(&self) -> Result<Batch, DatasetError> {
        decode_raw(&self.rows)
    }

    /// The state that the cleaner was lent, as far as it used it; `None` for one that keeps none.
    ///
    /// # Errors
    /// What is wrong with its file.
    pub fn kept(&self) -> Result<Option<StateEntries>, DatasetError> {
        let Some(SeenCounts { entries, bytes, .. }) = self.call.state else { return Ok(None) };
        Ok(Some(StateSeen { read: decode_state(&self.state)?, entry_count: entries, byte_count: bytes }.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use proptest::prelude::*;
    use tidegate_dataset::{encode_raw, encode_state};
    use tidegate_vocab::{Role, StateChanges};

    use super::*;

    fn bundle(component: &'static [u8]) -> Bundle {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::from_bits(0x7ff8_0000_0000_00ff))]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("ü"), Some(""), None]));
        let rows = Batch::new(vec![("a".into(), Role::Feature, numbers), ("y".into(), Role::Label, text)]).unwrap();
        let rows = encode_raw(&rows).unwrap();
        let read = [(&b"a"[..], Some(&b"1"[..])), (b"b", None)].map(|(key, value)| (Box::from(key), value.map(Box::from)));
        let state = encode_state(&StateChanges(read.into_iter().collect()));
        let call = FailedCall {
            host_version: "0.1.0".into(),
            pipeline: "test".parse().unwrap(),
            plugin: "clip".parse().unwrap(),
            digest: Digest::of(component),
            rows_digest: Digest::of(&rows),
            config: serde_json::json!({ "low": 0 }),
            circumstances: serde_json::json!({ "limits": { "call_ms_max": 5000 } }),
            damage: DamageBounds { rows_dropped_share_max: Some(0.9), ..DamageBounds::default() },
            state: Some(SeenCounts { digest: Digest::of(&state), entries: 9, bytes: 900 }),
            first_row: 40,
            row_count: 3,
            at: Timestamp(7),
            outcome: "trapped".into(),
            error: "plugin `clip` crashed".into(),
            log: vec![("warn".into(), "odd".into())],
            backtrace: vec!["0: 0x10 - clip!clean".into()],
        };
        Bundle { call, rows, component: Bytes::from_static(component), state }
    }

    #[test]
    fn a_bundle_without_state_is_what_it_was() {
        let mut whole = bundle(b"component");
        (whole.call.state, whole.state) = (None, Bytes::new());
        let file = whole.encode();
        // As bundles were before there was state: a header that says nothing of it, and nothing behind the component.
        let text = String::from_utf8_lossy(&file).into_owned();
        assert!(text.contains(r#","state":null"#) && text.contains(r#","state_bytes":0}"#));
        let header_at = FORMAT.len() + 8;
        let header_end = header_at + u64::from_le_bytes(file[FORMAT.len()..header_at].try_into().unwrap()) as usize;
        let header = String::from_utf8(file[header_at..header_end].to_vec()).unwrap();
        let header = header.replace(r#","state":null"#, "").replace(r#","state_bytes":0"#, "");
        let older = [FORMAT, &(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[header_end..]].concat();
        let read = Bundle::decode(&older.into()).unwrap();
        assert_eq!(read, whole);
        assert_eq!(read.kept().unwrap(), None);
    }

    #[test]
    fn a_bundle_reads_back_to_the_bit() {
        for component in [&b"\0asm and more"[..], b""] {
            let whole = bundle(component);
            let read = Bundle::decode(&whole.encode()).unwrap();
            assert_eq!(read, whole);
            assert_eq!(encode_raw(&read.batch().unwrap()).unwrap(), whole.rows);
            let kept = read.kept().unwrap().unwrap();
            assert_eq!((kept.get(b"a"), kept.get(b"b"), kept.entry_count(), kept.byte_count()), (Some(&b"1"[..]), None, 9, 900));
        }
    }

    proptest! {
        #[test]
        fn a_bundle_that_was_cut_or_altered_is_refused(at in 0.0f64..1.0, flip in 1u8..=255) {
            let file = bundle(b"component").encode();
            let at = (at * file.len() as f64) as usize;
            prop_assert!(Bundle::decode(&file.slice(..at)).is_err());
            let mut altered = file.to_vec();
            altered[at] ^= flip;
            // A change within the header may leave another header; rows and component are never others than it says.
            if let Ok(read) = Bundle::decode(&altered.into()) {
                prop_assert_eq!(Digest::of(&read.rows), read.call.rows_digest);
                prop_assert_eq!(Digest::of(&read.component), read.call.digest);
                prop_assert_eq!(read.call.state.map(|seen| seen.digest), (!read.state.is_empty()).then(|| Digest::of(&read.state)));
            }
        }

        #[test]
        fn other_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), prefixed in any::<bool>()) {
            let file = if prefixed { [FORMAT, &bytes[..]].concat() } else { bytes };
            prop_assert!(Bundle::decode(&file.into()).is_err());
        }
    }
}
