//! The model of a metadata store: maps in memory, checks written down one by one, a copy of everything as the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tidegate_store::{AliasMove, Blobs, Fence, JournalEntry, JournalHead, JournalLine, ListedBlob, MetaStore, StoreError, Upkeep, Write};
use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Decision, DecisionKind, Digest, ModelVersion, PipelineId, Quarantined, RawPart, Run, RunId, RunState,
    Snapshot, Timestamp, VersionNo, VersionState,
};

use crate::memory_feedback::Answers;
use crate::memory_queue::Queue;

/// All traits of the store, in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

/// Everything that is kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kept {
    pub epoch: u64,
    pub owner: String,
    pub queue: Queue,
    pub answers: Answers,
    pipelines: BTreeMap<PipelineId, Pipeline>,
    journal: Vec<JournalEntry>,
    blobs: BTreeMap<Digest, Bytes>,
}

#[derive(Debug, Default, Clone)]
struct Pipeline {
    cursor: Option<Vec<u8>>,
    raw: Vec<RawPart>,
    clean: BTreeMap<(Digest, u64), CleanPart>,
    snapshots: BTreeMap<Digest, Snapshot>,
    runs: Vec<Run>,
    versions: Vec<ModelVersion>,
    decisions: Vec<Decision>,
    aliases: BTreeMap<Alias, Vec<AliasMove>>,
    state: BTreeMap<String, (u64, Vec<u8>)>,
    chain_states: BTreeMap<Digest, (u64, Vec<CleanerState>)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// What is kept; a test that panicked while it held the lock has failed already.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<T>(&self, pipeline: &PipelineId, look: impl FnOnce(&Pipeline) -> T) -> Result<T, StoreError> {
        let kept = self.kept();
        let nothing = Pipeline::default();
        Ok(look(kept.pipelines.get(pipeline).unwrap_or(&nothing)))
    }
}

impl Kept {
    /// Refuses a stale fence.
    pub fn check(&self, fence: Fence) -> Result<(), StoreError> {
        if fence.0 == self.epoch {
            return Ok(());
        }
        Err(StoreError::Fenced { held: fence.0, current: self.epoch, owner: self.owner.clone() })
    }
}

impl Pipeline {
    fn rows(&self) -> u64 {
        self.raw.last().map_or(0, |part| part.first_row + part.row_count)
    }

    fn alias(&self, alias: Alias) -> Option<VersionNo> {
        self.aliases.get(&alias)?.last().map(|moved| moved.to)
    }

    fn raw_write(&mut self, part: &RawPart) -> Result<(), StoreError> {
        let end = part.first_row.checked_add(part.row_count).filter(|end| *end <= i64::MAX as u64);
        if part.first_row != self.rows() || part.row_count == 0 || end.is_none() {
            return Err(StoreError::conflict("raw part", self.rows(), part.first_row));
        }
        self.raw.push(part.clone());
        Ok(())
    }

    /// Whether the part is new.
    fn clean_write(&mut self, part: &CleanPart) -> Result<bool, StoreError> {
        if !self.raw.iter().any(|raw| raw.digest == part.raw && raw.first_row == part.first_row) {
            return Err(StoreError::conflict("raw part", part.raw, "none"));
        }
        match self.clean.insert((part.chain, part.first_row), part.clone()) {
            Some(present) if present != *part => Err(StoreError::conflict("cleaned part", part.digest, present.digest)),
            present => Ok(present.is_none()),
        }
    }

    /// The journal's line, unless the part is there already.
    fn replace_clean(&mut self, expected: &Digest, part: CleanPart) -> Result<Option<JournalLine>, StoreError> {
        if !self.raw.iter().any(|raw| raw.digest == part.raw && raw.first_row == part.first_row) {
            return Err(StoreError::conflict("raw part", part.raw, "none"));
        }
        match self.clean.get_mut(&(part.chain, part.first_row)) {
            Some(present) if *present == part => Ok(None),
            Some(present) if present.digest == *expected => {
                let line = JournalLine::cleaned_again(expected, &part);
                *present = part;
                Ok(Some(line))
            }
            present => Err(StoreError::conflict("cleaned part", expected, present.map_or("none".into(), |part| part.digest.to_string()))),
        }
    }

    fn drop_rows(&mut self, below: u64) -> Result<JournalLine, StoreError> {
        if !self.raw.iter().any(|part| part.first_row == below) {
            return Err(StoreError::conflict("raw part", below, "none"));
        }
        self.raw.retain(|part| part.first_row >= below);
        self.clean.retain(|(_, first_row), _| *first_row >= below);
        Ok(JournalLine::dropped_rows(below))
    }

    fn new_run(&mut self, run: &Run) -> Result<JournalLine, StoreError> {
        let open = self.runs.iter().find(|run| !run.state.is_final());
        if open.is_some() || run.id.0 != self.runs.len() as u64 + 1 {
            return Err(StoreError::conflict("new run", self.runs.len() + 1, run.id));
        }
        if run.state != RunState::Queued {
            return Err(transition(run.id));
        }
        self.runs.push(run.clone());
        Ok(JournalLine::run(None, run))
    }

    fn run_write(&mut self, expected: RunState, run: Run) -> Result<Option<JournalLine>, StoreError> {
        let Some(present) = self.runs.iter_mut().find(|present| present.id == run.id && present.state == expected) else {
            return Err(StoreError::conflict("run", format!("{expected:?}"), "another state"));
        };
        if run.state != expected && !expected.may_become(run.state) {
            return Err(transition(run.id));
        }
        let line = (run.state != expected).then(|| JournalLine::run(Some(expected), &run));
        *present = run;
        Ok(line)
    }

    fn new_version(&mut self, version: &ModelVersion) -> Result<JournalLine, StoreError> {
        if version.number.0 as usize != self.versions.len() + 1 {
            return Err(StoreError::conflict("new version", self.versions.len() + 1, version.number));
        }
        if version.state != VersionState::Challenger {
            return Err(transition(version.number));
        }
        self.versions.push(version.clone());
        Ok(JournalLine::new_version(version))
    }

    fn version_state(&mut self, number: VersionNo, expected: VersionState, to: VersionState) -> Result<JournalLine, StoreError> {
        let Some(version) = self.versions.iter_mut().find(|version| version.number == number && version.state == expected) else {
            return Err(StoreError::conflict("version", format!("{expected:?}"), "another state"));
        };
        if !expected.may_become(to) {
            return Err(transition(number));
        }
        version.state = to;
        Ok(JournalLine::version(number, expected, to))
    }

    fn state_write(&mut self, key: String, expected: Option<u64>, value: Vec<u8>) -> Result<(), StoreError> {
        let present = self.state.get(&key).map(|(revision, _)| *revision);
        if present != expected {
            return Err(StoreError::conflict("state", format!("{expected:?}"), format!("{present:?}")));
        }
        self.state.insert(key, (present.unwrap_or(0) + 1, value));
        Ok(())
    }

    fn chain_state_write(&mut self, chain: Digest, expected: Option<u64>, state: Vec<CleanerState>) -> Result<(), StoreError> {
        let present = self.chain_states.get(&chain).map(|(revision, _)| *revision);
        if present != expected {
            return Err(StoreError::conflict("state of a chain", format!("{expected:?}"), format!("{present:?}")));
        }
        self.chain_states.insert(chain, (present.unwrap_or(0) + 1, state));
        Ok(())
    }

    /// The number of the last decision in `writes` that may move an alias to `to`.
    fn mover(&self, before: &Pipeline, writes: &[Write], to: VersionNo) -> Option<u64> {
        let decisions = writes.iter().filter_map(|write| if let Write::Decision(decision) = write { Some(decision) } else { None });
        let moving = decisions.enumerate().filter(|(_, decision)| {
            let kind = matches!(decision.kind, DecisionKind::Promote | DecisionKind::RollBack);
            kind && decision.version == to && decision.parent == before.alias(Alias::Champion)
        });
        moving.last().map(|(index, _)| (before.decisions.len() + index + 1) as u64)
    }

    fn apply(&mut self, at: Timestamp, writes: Vec<Write>) -> Result<Vec<JournalLine>, StoreError> {
        let before = self.clone();
        let all = writes.clone();
        let (mut raw, mut clean, mut cursor_now, mut lines) = (Vec::new(), Vec::new(), None, Vec::new());
        for write in writes {
            match write {
                Write::RawPart(part) => {
                    self.raw_write(&part)?;
                    raw.push(part);
                }
                Write::Cursor { expected, cursor } => {
                    if self.cursor != expected {
                        return Err(StoreError::conflict("cursor", "another", "this"));
                    }
                    cursor_now = Some(cursor.clone());
                    self.cursor = Some(cursor);
                }
                Write::CleanPart(part) => {
                    if self.clean_write(&part)? {
                        clean.push(part);
                    }
                }
                Write::ReplaceCleanPart { expected, part } => lines.extend(self.replace_clean(&expected, part)?),
                Write::ChainState { chain, expected, state } => self.chain_state_write(chain, expected, state)?,
                Write::DropRows { below } => lines.push(self.drop_rows(below)?),
                Write::DropCleanParts { chain } => {
                    self.clean.retain(|(of, _), _| *of != chain);
                    self.chain_states.remove(&chain);
                    lines.push(JournalLine::dropped_chain(&chain));
                }
                Write::DropFeedback { before } => lines.push(JournalLine::dropped_feedback(before)),
                Write::Snapshot(snapshot) => {
                    reads_back(&snapshot)?;
                    self.snapshots.insert(snapshot.id(), snapshot);
                }
                Write::NewRun(run) => lines.push(self.new_run(&run)?),
                Write::Run { expected, run } => lines.extend(self.run_write(expected, run)?),
                Write::NewVersion(version) => lines.push(self.new_version(&version)?),
                Write::VersionState { version, expected, to } => lines.push(self.version_state(version, expected, to)?),
                Write::Decision(decision) => {
                    if !self.versions.iter().any(|version| version.number == decision.version) {
                        return Err(StoreError::conflict("version", decision.version, "none"));
                    }
                    reads_back(&decision)?;
                    lines.push(JournalLine::decision(self.decisions.len() as u64 + 1, &decision));
                    self.decisions.push(decision);
                }
                Write::MoveAlias { alias, expected, to } => {
                    let unmoved = self.alias(alias) == before.alias(alias) && self.aliases.get(&alias) == before.aliases.get(&alias);
                    let decision = self.mover(&before, &all, to).filter(|_| unmoved && self.alias(alias) == expected);
                    let decision = decision.ok_or_else(|| StoreError::conflict(alias.word(), "a decision", "none"))?;
                    let moved = AliasMove { at, from: expected, to, decision };
                    lines.push(JournalLine::alias(alias, &moved));
                    self.aliases.entry(alias).or_default().push(moved);
                }
                Write::State { key, expected, value } => self.state_write(key, expected, value)?,
                Write::Journal { kind, body } => lines.push(JournalLine { kind, body }),
            }
        }
        let raw: Vec<_> = raw.iter().collect();
        let clean: Vec<_> = clean.iter().collect();
        let ingest = (!raw.is_empty() || cursor_now.is_some()).then(|| JournalLine::ingest(&raw, cursor_now.as_deref()));
        let clean = (!clean.is_empty()).then(|| JournalLine::clean(&clean));
        Ok(ingest.into_iter().chain(clean).chain(lines).collect())
    }
}

/// Refuses what JSON cannot hold.
fn reads_back<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<(), StoreError> {
    let read = serde_json::to_value(value).and_then(serde_json::from_value::<T>);
    if read.is_ok_and(|read| read == *value) { Ok(()) } else { Err(StoreError::NotFinite { what: "a value".into() }) }
}

fn transition(what: impl ToString) -> StoreError {
    StoreError::Transition { what: what.to_string(), from: "a state".into(), to: "another".into() }
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn take_fence(&self, owner: &str) -> Result<Fence, StoreError> {
        let mut kept = self.kept();
        kept.epoch += 1;
        kept.owner = owner.to_owned();
        Ok(Fence(kept.epoch))
    }

    async fn commit(&self, fence: Fence, pipeline: &PipelineId, at: Timestamp, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        let mut changed = kept.pipelines.get(pipeline).cloned().unwrap_or_default();
        let dropped: Vec<Write> =
            writes.iter().filter(|write| matches!(write, Write::DropRows { .. } | Write::DropFeedback { .. })).cloned().collect();
        let lines = changed.apply(at, writes)?;
        for write in dropped {
            match write {
                Write::DropRows { below } => kept.answers.drop_rows(pipeline, below),
                Write::DropFeedback { before } => kept.answers.drop_before(pipeline, before),
                _ => {}
            }
        }
        kept.pipelines.insert(pipeline.clone(), changed);
        for line in lines {
            let head = kept.journal.last().map_or_else(JournalHead::empty, JournalEntry::head);
            let (entry, _) = JournalEntry::after(&head, at, pipeline, line);
            kept.journal.push(entry);
        }
        Ok(())
    }

    async fn pipelines(&self) -> Result<Vec<PipelineId>, StoreError> {
        Ok(self.kept().pipelines.keys().cloned().collect())
    }

    async fn cursor(&self, pipeline: &PipelineId) -> Result<Option<Vec<u8>>, StoreError> {
        self.of(pipeline, |kept| kept.cursor.clone())
    }

    async fn raw_parts(&self, pipeline: &PipelineId, from_row: u64) -> Result<Vec<RawPart>, StoreError> {
        self.of(pipeline, |kept| kept.raw.iter().filter(|part| part.first_row + part.row_count > from_row).cloned().collect())
    }

    async fn clean_parts(&self, pipeline: &PipelineId, chain: &Digest, from_row: u64) -> Result<Vec<CleanPart>, StoreError> {
        self.of(pipeline, |kept| {
            let held = kept.raw.iter().filter(|raw| raw.first_row + raw.row_count > from_row);
            held.filter_map(|raw| kept.clean.get(&(*chain, raw.first_row)).cloned()).collect()
        })
    }

    async fn quarantined(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Vec<(Digest, Quarantined)>, StoreError> {
        let parts = self.clean_parts(pipeline, chain, 0).await?;
        Ok(parts.into_iter().flat_map(|part| part.quarantined.into_iter().map(move |group| (part.raw, group))).collect())
    }

    async fn chain_state(&self, pipeline: &PipelineId, chain: &Digest) -> Result<Option<(u64, Vec<CleanerState>)>, StoreError> {
        self.of(pipeline, |kept| kept.chain_states.get(chain).cloned())
    }

    async fn run(&self, pipeline: &PipelineId, id: RunId) -> Result<Option<Run>, StoreError> {
        self.of(pipeline, |kept| kept.runs.iter().find(|run| run.id == id).cloned())
    }

    async fn runs(&self, pipeline: &PipelineId) -> Result<Vec<Run>, StoreError> {
        self.of(pipeline, |kept| kept.runs.clone())
    }

    async fn open_run(&self, pipeline: &PipelineId) -> Result<Option<Run>, StoreError> {
        self.of(pipeline, |kept| kept.runs.iter().find(|run| !run.state.is_final()).cloned())
    }

    async fn version(&self, pipeline: &PipelineId, number: VersionNo) -> Result<Option<ModelVersion>, StoreError> {
        self.of(pipeline, |kept| kept.versions.iter().find(|version| version.number == number).cloned())
    }

    async fn versions(&self, pipeline: &PipelineId) -> Result<Vec<ModelVersion>, StoreError> {
        self.of(pipeline, |kept| kept.versions.clone())
    }

    async fn alias(&self, pipeline: &PipelineId, alias: Alias) -> Result<Option<VersionNo>, StoreError> {
        self.of(pipeline, |kept| kept.alias(alias))
    }

    async fn alias_history(&self, pipeline: &PipelineId, alias: Alias) -> Result<Vec<AliasMove>, StoreError> {
        self.of(pipeline, |kept| kept.aliases.get(&alias).cloned().unwrap_or_default())
    }

    async fn decisions(&self, pipeline: &PipelineId, about: Option<VersionNo>) -> Result<Vec<(u64, Decision)>, StoreError> {
        self.of(pipeline, |kept| {
            let numbered = (1..).zip(kept.decisions.iter().cloned());
            numbered.filter(|(_, decision)| about.is_none_or(|version| version == decision.version)).collect()
        })
    }

    async fn snapshot(&self, id: &Digest) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.kept().pipelines.values().find_map(|kept| kept.snapshots.get(id).cloned()))
    }

    async fn state(&self, pipeline: &PipelineId, key: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.of(pipeline, |kept| kept.state.get(key).cloned())
    }

    async fn journal(&self, pipeline: Option<&PipelineId>, from: u64) -> Result<Vec<JournalEntry>, StoreError> {
        let kept = self.kept();
        let entries = kept.journal.iter().filter(|entry| entry.seq >= from);
        Ok(entries.filter(|entry| pipeline.is_none_or(|pipeline| *pipeline == entry.pipeline)).cloned().collect())
    }

    async fn verify_journal(&self) -> Result<JournalHead, StoreError> {
        let mut head = JournalHead::empty();
        for entry in &self.kept().journal {
            let line = JournalLine { kind: entry.kind.clone(), body: entry.body.clone() };
            let (expected, _) = JournalEntry::after(&head, entry.at, &entry.pipeline, line);
            if expected != *entry {
                return Err(StoreError::Journal { seq: head.entries + 1, why: "was changed".into() });
            }
            head = entry.head();
        }
        Ok(head)
    }
}

#[async_trait]
impl Blobs for MemoryStore {
    async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        self.kept().blobs.insert(digest, bytes);
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        self.kept().blobs.get(digest).cloned().ok_or(StoreError::BlobMissing { digest: *digest })
    }

    async fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.kept().blobs.contains_key(digest))
    }

    async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        self.kept().blobs.remove(digest);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        Ok(self.kept().blobs.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect())
    }

    /// Nothing here knows the time: every blob is as old as can be.
    async fn list_aged(&self) -> Result<Vec<ListedBlob>, StoreError> {
        let listed = self.list().await?;
        Ok(listed.into_iter().map(|(digest, byte_count)| ListedBlob { digest, byte_count, put_at: Timestamp(i64::MIN) }).collect())
    }

    async fn remove_older(&self, digest: &Digest, before: Timestamp) -> Result<bool, StoreError> {
        Ok(before.0 > i64::MIN && self.kept().blobs.remove(digest).is_some())
    }
}

#[async_trait]
impl Upkeep for MemoryStore {
    async fn chains(&self, pipeline: &PipelineId) -> Result<Vec<Digest>, StoreError> {
        let chains: BTreeSet<Digest> =
            self.of(pipeline, |kept| kept.clean.keys().map(|(chain, _)| *chain).chain(kept.chain_states.keys().copied()).collect())?;
        Ok(chains.into_iter().collect())
    }

    async fn states(&self, pipeline: &PipelineId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.of(pipeline, |kept| kept.state.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect())
    }

    /// The journal's bodies stand for all of it: it only has to grow and never to be nothing.
    async fn metadata_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.kept().journal.iter().map(|entry| entry.body.to_string().len() as u64).sum())
    }
}
