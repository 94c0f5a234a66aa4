//! The append-only, hash-chained account of what happened.
//!
//! Each entry's digest covers the digest before it, so that no entry can be changed, removed or moved without breaking the
//! chain. A chain on its owner's disk proves nothing by itself: the head digest is exported.

use serde_json::{Value, json};
use tidegate_vocab::{
    Alias, CleanPart, Decision, Digest, ModelVersion, PipelineId, RawPart, Run, RunState, Timestamp, VersionNo, VersionState,
};

use crate::{AliasMove, StoreError};

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    /// Its number, from 1, over all pipelines.
    pub seq: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// The pipeline it is about.
    pub pipeline: PipelineId,
    /// What happened: `ingest`, `clean`, `run`, `version`, `decision`, `alias`, or a word of the loop's own.
    pub kind: String,
    /// The particulars.
    pub body: Value,
    /// The digest of the entry before it.
    pub previous: Digest,
    /// `H(previous, seq, at, pipeline, kind, body)`, over length-prefixed fields, numbers little-endian, the body as stored.
    pub digest: Digest,
}

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHead {
    /// How many entries there are.
    pub entries: u64,
    /// The digest of the last one.
    pub digest: Digest,
}

impl JournalHead {
    /// The head of a journal without entries.
    pub fn empty() -> JournalHead {
        JournalHead { entries: 0, digest: Digest::from_bytes([0; 32]) }
    }
}

/// What happened, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalLine {
    /// What happened, in a word.
    pub kind: String,
    /// The particulars.
    pub body: Value,
}

impl JournalLine {
    /// Rows were polled; the cursor is named by its digest, since it is the plugin's own bytes.
    pub fn ingest(parts: &[&RawPart], cursor: Option<&[u8]>) -> JournalLine {
        let rows = parts.first().zip(parts.last()).map(|(first, last)| json!([first.first_row, last.first_row + last.row_count]));
        let digests: Vec<_> = parts.iter().map(|part| part.digest).collect();
        JournalLine::new("ingest", json!({ "rows": rows, "parts": digests, "cursor": cursor.map(Digest::of) }))
    }

    /// Rows came through a cleaner chain and the contract.
    pub fn clean(parts: &[&CleanPart]) -> JournalLine {
        let body = parts.iter().map(|part| {
            let quarantined: usize = part.quarantined.iter().map(|group| group.rows.len()).sum();
            json!({ "chain": part.chain, "raw": part.raw, "part": part.digest, "kept": part.row_count, "quarantined": quarantined })
        });
        JournalLine::new("clean", json!({ "parts": body.collect::<Vec<_>>() }))
    }

    /// A raw part was cleaned again, and its cleaned part took the place of the one with the digest `before`.
    pub fn cleaned_again(before: &Digest, part: &CleanPart) -> JournalLine {
        let quarantined: usize = part.quarantined.iter().map(|group| group.rows.len()).sum();
        let body = json!({
            "chain": part.chain, "raw": part.raw, "part": part.digest, "instead_of": before, "kept": part.row_count,
            "quarantined": quarantined,
        });
        JournalLine::new("clean-again", body)
    }

    /// Rows below a number were let go of.
    pub fn dropped_rows(below: u64) -> JournalLine {
        JournalLine::new("retention", json!({ "rows_below": below }))
    }

    /// The cleaned parts of a chain were let go of.
    pub fn dropped_chain(chain: &Digest) -> JournalLine {
        JournalLine::new("retention", json!({ "chain": chain }))
    }

    /// Predictions and labels from before an instant were let go of.
    pub fn dropped_feedback(before: Timestamp) -> JournalLine {
        JournalLine::new("retention", json!({ "feedback_before": before.to_string() }))
    }

    /// A run was started, or went from one state to another.
    pub fn run(from: Option<RunState>, run: &Run) -> JournalLine {
        let mut body = json!({ "run": run.id, "from": from, "to": run.state, "snapshot": run.snapshot, "version": run.version });
        if from.is_none() {
            body["trigger"] = json!(run.trigger);
            body["seed"] = json!(run.seed);
            body["started_row"] = json!(run.started_row);
        }
        if run.state.is_final() {
            body["decision"] = json!(run.decision);
            body["note"] = json!(run.note);
        }
        JournalLine::new("run", body)
    }

    /// A version was trained.
    pub fn new_version(version: &ModelVersion) -> JournalLine {
        JournalLine::new("version", json!({ "from": null, "to": version.state, "trained": version, "version": version.number }))
    }

    /// A version went from one state to another.
    pub fn version(number: VersionNo, from: VersionState, to: VersionState) -> JournalLine {
        JournalLine::new("version", json!({ "version": number, "from": from, "to": to }))
    }

    /// Something was decided.
    pub fn decision(number: u64, decision: &Decision) -> JournalLine {
        JournalLine::new("decision", json!({ "number": number, "decision": decision }))
    }

    /// An alias moved.
    pub fn alias(alias: Alias, moved: &AliasMove) -> JournalLine {
        JournalLine::new("alias", json!({ "alias": alias, "from": moved.from, "to": moved.to, "decision": moved.decision }))
    }

    fn new(kind: &str, body: Value) -> JournalLine {
        JournalLine { kind: kind.to_owned(), body }
    }
}

impl JournalEntry {
    /// The entry that follows `head`, and its body's bytes as they are stored and digested.
    pub fn after(head: &JournalHead, at: Timestamp, pipeline: &PipelineId, line: JournalLine) -> (JournalEntry, String) {
        let JournalLine { kind, body } = line;
        let stored = canonical(&body);
        let seq = head.entries + 1;
        let digest = chained(&head.digest, seq, at, pipeline.as_str(), &kind, &stored);
        (JournalEntry { seq, at, pipeline: pipeline.clone(), kind, body, previous: head.digest, digest }, stored)
    }

    /// The chain's end at this entry.
    pub fn head(&self) -> JournalHead {
        JournalHead { entries: self.seq, digest: self.digest }
    }
}

/// An entry as it is stored, before anything in it is believed.
pub(crate) struct StoredEntry {
    pub seq: u64,
    pub at: Timestamp,
    pub pipeline: String,
    pub kind: String,
    pub body: String,
    pub previous: Vec<u8>,
    pub digest: Vec<u8>,
}

impl StoredEntry {
    /// The chain's end at this entry, if it follows `head` and is what was written.
    pub fn check(&self, head: &JournalHead) -> Result<JournalHead, StoreError> {
        let wanted = head.entries + 1;
        if self.seq != wanted {
            return Err(StoreError::Journal { seq: wanted, why: format!("is missing: entry {} follows entry {}", self.seq, head.entries) });
        }
        let broken = |why: &str| Err(StoreError::Journal { seq: self.seq, why: why.to_owned() });
        if self.previous != head.digest.as_bytes() {
            return broken("does not continue the entry before it: it was moved, or that one was changed");
        }
        let digest = chained(&head.digest, self.seq, self.at, &self.pipeline, &self.kind, &self.body);
        if self.digest != digest.as_bytes() {
            return broken("was changed: its content does not have its digest");
        }
        Ok(JournalHead { entries: self.seq, digest })
    }
}

fn chained(previous: &Digest, seq: u64, at: Timestamp, pipeline: &str, kind: &str, body: &str) -> Digest {
    let (seq, at) = (seq.to_le_bytes(), at.0.to_le_bytes());
    Digest::of_fields([&previous.as_bytes()[..], &seq, &at, pipeline.as_bytes(), kind.as_bytes(), body.as_bytes()])
}

/// JSON without white space and with the keys of every object in order, whatever order the map in memory keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let fields: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_pinned() {
        let pipeline: PipelineId = "weather".parse().expect("a name");
        let line = JournalLine { kind: "note".into(), body: json!({ "b": [1, { "z": null, "y": 0.1 }], "a": "x\"y" }) };
        let (entry, stored) = JournalEntry::after(&JournalHead::empty(), Timestamp(7), &pipeline, line);
        assert_eq!(stored, r#"{"a":"x\"y","b":[1,{"y":0.1,"z":null}]}"#);
        let fields: [&[u8]; 6] = [&[0; 32], &[1, 0, 0, 0, 0, 0, 0, 0], &[7, 0, 0, 0, 0, 0, 0, 0], b"weather", b"note", stored.as_bytes()];
        assert_eq!(entry.digest, Digest::of_fields(fields));
    }
}
