//! From the writes of a commit to what has to change: pure, so that every SQL backend refuses the same commits.
//!
//! A backend reads [`Wanted`]'s keys, hands what it found as [`Facts`] and carries out the [`Change`]s inside one transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};
use tidegate_vocab::{
    Alias, CleanPart, CleanerState, Decision, DecisionKind, Digest, ModelVersion, PipelineId, RawPart, Run, RunId, RunState, Snapshot,
    Timestamp, VersionNo, VersionState,
};

use crate::{AliasMove, Fence, JournalEntry, JournalHead, JournalLine, StoreError, Write};

/// The keys whose present values decide whether a commit holds.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub runs: BTreeSet<RunId>,
    pub versions: BTreeSet<VersionNo>,
    pub state: BTreeSet<String>,
    pub chain_states: BTreeSet<Digest>,
    /// First rows of raw parts that cleaned parts were derived from.
    pub raw: BTreeSet<u64>,
    /// Chains and first rows of cleaned parts.
    pub clean: BTreeSet<(Digest, u64)>,
}

/// What is there before the commit.
#[derive(Debug)]
pub(crate) struct Facts {
    pub fence: Fence,
    pub owner: String,
    pub journal: JournalHead,
    pub known: bool,
    pub cursor: Option<Vec<u8>>,
    pub rows: u64,
    pub last_run: u64,
    pub open_run: Option<RunId>,
    pub last_version: u32,
    pub last_decision: u64,
    pub champion: Option<VersionNo>,
    pub anchor: Option<VersionNo>,
    pub runs: BTreeMap<RunId, Run>,
    pub versions: BTreeMap<VersionNo, ModelVersion>,
    pub state: BTreeMap<String, u64>,
    /// Revisions.
    pub chain_states: BTreeMap<Digest, u64>,
    /// By first row: the digest and the row after the last.
    pub raw: BTreeMap<u64, (Digest, u64)>,
    pub clean: BTreeMap<(Digest, u64), CleanPart>,
}

/// One change to carry out; the `String`s are the JSON to store.
#[derive(Debug)]
pub(crate) enum Change {
    Pipeline,
    RawPart { end_row: u64, part: RawPart, stored: String },
    Cursor(Vec<u8>),
    CleanPart { end_row: u64, part: CleanPart, stored: String },
    ReplaceCleanPart { end_row: u64, part: CleanPart, stored: String },
    ChainState { chain: Digest, revision: u64, stored: String },
    DropRows { below: u64 },
    DropCleanParts { chain: Digest },
    DropFeedback { before: Timestamp },
    Snapshot { id: Digest, stored: String },
    NewRun { id: RunId, state: RunState, stored: String },
    Run { id: RunId, state: RunState, stored: String },
    NewVersion { number: VersionNo, stored: String },
    Version { number: VersionNo, stored: String },
    Decision { number: u64, version: VersionNo, stored: String },
    MoveAlias { alias: Alias, moved: AliasMove },
    NewState { key: String, value: Vec<u8> },
    State { key: String, revision: u64, value: Vec<u8> },
    Journal { entry: JournalEntry, stored: String },
    JournalHead(JournalHead),
}

impl Wanted {
    /// The keys that `writes` look at.
    pub fn of(writes: &[Write]) -> Wanted {
        let mut wanted = Wanted::default();
        for write in writes {
            match write {
                Write::CleanPart(part) | Write::ReplaceCleanPart { part, .. } => {
                    wanted.raw.insert(part.first_row);
                    wanted.clean.insert((part.chain, part.first_row));
                }
                Write::ChainState { chain, .. } => _ = wanted.chain_states.insert(*chain),
                Write::DropRows { below } => _ = wanted.raw.insert(*below),
                Write::Run { run, .. } => _ = wanted.runs.insert(run.id),
                Write::VersionState { version, .. } => _ = wanted.versions.insert(*version),
                Write::State { key, .. } => _ = wanted.state.insert(key.clone()),
                Write::RawPart(_)
                | Write::Cursor { .. }
                | Write::Snapshot(_)
                | Write::NewRun(_)
                | Write::NewVersion(_)
                | Write::Decision(_)
                | Write::MoveAlias { .. }
                | Write::DropCleanParts { .. }
                | Write::DropFeedback { .. }
                | Write::Journal { .. } => {}
            }
        }
        wanted
    }
}

/// What `writes` change, journal lines included.
///
/// # Errors
/// The first expectation that does not hold.
pub(crate) fn changes(
    facts: Facts,
    fence: Fence,
    pipeline: &PipelineId,
    at: Timestamp,
    writes: Vec<Write>,
) -> Result<Vec<Change>, StoreError> {
    if facts.fence != fence {
        return Err(StoreError::Fenced { held: fence.0, current: facts.fence.0, owner: facts.owner });
    }
    let moves = moving_decisions(&facts, &writes);
    let journal = facts.journal;
    let register = (!facts.known).then_some(Change::Pipeline);
    let mut plan = Plan { facts, at, moves, moved: BTreeSet::new(), changes: register.into_iter().collect(), lines: Vec::new() };
    for write in writes {
        plan.write(write)?;
    }
    let Plan { mut changes, lines, .. } = plan;
    let lines = summary(&changes).into_iter().chain(lines).collect::<Vec<_>>();
    let mut head = journal;
    for line in lines {
        let (entry, stored) = JournalEntry::after(&head, at, pipeline, line);
        head = entry.head();
        changes.push(Change::Journal { entry, stored });
    }
    if head != journal {
        changes.push(Change::JournalHead(head));
    }
    Ok(changes)
}

/// The numbers of this commit's decisions that may move an alias, by the version they are about.
fn moving_decisions(facts: &Facts, writes: &[Write]) -> BTreeMap<VersionNo, u64> {
    let decisions = writes.iter().filter_map(|write| if let Write::Decision(decision) = write { Some(decision) } else { None });
    (facts.last_decision + 1..)
        .zip(decisions)
        .filter(|(_, decision)| matches!(decision.kind, DecisionKind::Promote | DecisionKind::RollBack))
        .filter(|(_, decision)| decision.parent == facts.champion)
        .map(|(number, decision)| (decision.version, number))
        .collect()
}

/// One line for the rows that came in and one for those that were cleaned, however many parts they have.
fn summary(changes: &[Change]) -> Vec<JournalLine> {
    let (mut raw, mut clean, mut cursor) = (Vec::new(), Vec::new(), None);
    for change in changes {
        match change {
            Change::RawPart { part, .. } => raw.push(part),
            Change::CleanPart { part, .. } => clean.push(part),
            Change::Cursor(bytes) => cursor = Some(&bytes[..]),
            _ => {}
        }
    }
    let ingest = (!raw.is_empty() || cursor.is_some()).then(|| JournalLine::ingest(&raw, cursor));
    let clean = (!clean.is_empty()).then(|| JournalLine::clean(&clean));
    ingest.into_iter().chain(clean).collect()
}

/// The facts as the writes so far have changed them, and what they come to.
struct Plan {
    facts: Facts,
    at: Timestamp,
    moves: BTreeMap<VersionNo, u64>,
    moved: BTreeSet<Alias>,
    changes: Vec<Change>,
    lines: Vec<JournalLine>,
}

impl Plan {
    fn write(&mut self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::RawPart(part) => self.raw_part(part),
            Write::Cursor { expected, cursor } => self.cursor(expected, cursor),
            Write::CleanPart(part) => self.clean_part(part),
            Write::ReplaceCleanPart { expected, part } => self.replace_clean_part(expected, part),
            Write::ChainState { chain, expected, state } => self.chain_state(chain, expected, &state),
            Write::DropRows { below } => self.drop_rows(below),
            Write::DropCleanParts { chain } => {
                self.facts.clean.retain(|(of, _), _| *of != chain);
                self.facts.chain_states.remove(&chain);
                self.drops(Change::DropCleanParts { chain }, JournalLine::dropped_chain(&chain))
            }
            Write::DropFeedback { before } => self.drops(Change::DropFeedback { before }, JournalLine::dropped_feedback(before)),
            Write::Snapshot(snapshot) => self.snapshot(&snapshot),
            Write::NewRun(run) => self.new_run(run),
            Write::Run { expected, run } => self.run(expected, run),
            Write::NewVersion(version) => self.new_version(version),
            Write::VersionState { version, expected, to } => self.version(version, expected, to),
            Write::Decision(decision) => self.decision(decision),
            Write::MoveAlias { alias, expected, to } => self.move_alias(alias, expected, to),
            Write::State { key, expected, value } => self.state(key, expected, value),
            Write::Journal { kind, body } => {
                self.lines.push(JournalLine { kind, body });
                Ok(())
            }
        }
    }

    fn raw_part(&mut self, part: RawPart) -> Result<(), StoreError> {
        expect("the first row of the raw part", part.first_row, self.facts.rows)?;
        // SQL integers are signed, so this is where row numbers end.
        let end_row = part.first_row.checked_add(part.row_count).filter(|end| *end <= i64::MAX as u64);
        let Some(end_row) = end_row.filter(|end| *end > part.first_row) else {
            return Err(StoreError::conflict("the rows of the raw part", "at least one, and an end below 2^63", part.row_count));
        };
        self.facts.rows = end_row;
        self.facts.raw.insert(part.first_row, (part.digest, end_row));
        self.changes.push(Change::RawPart { end_row, stored: stored("a raw part", &part)?, part });
        Ok(())
    }

    fn cursor(&mut self, expected: Option<Vec<u8>>, cursor: Vec<u8>) -> Result<(), StoreError> {
        if self.facts.cursor != expected {
            return Err(StoreError::conflict("the cursor", bytes_for_people(&expected), bytes_for_people(&self.facts.cursor)));
        }
        self.facts.cursor = Some(cursor.clone());
        self.changes.push(Change::Cursor(cursor));
        Ok(())
    }

    /// The row after the last of the raw part that `part` was derived from.
    fn raw_end(&self, part: &CleanPart) -> Result<u64, StoreError> {
        let raw = self.facts.raw.get(&part.first_row).copied();
        let end_row = raw.filter(|(digest, _)| *digest == part.raw).map(|(_, end_row)| end_row);
        end_row.ok_or_else(|| {
            let what = format!("the raw part of the cleaned part at row {}", part.first_row);
            StoreError::conflict(what, part.raw.short(), raw.map_or("none".to_owned(), |(digest, _)| digest.short()))
        })
    }

    fn clean_part(&mut self, part: CleanPart) -> Result<(), StoreError> {
        let end_row = self.raw_end(&part)?;
        let key = (part.chain, part.first_row);
        if let Some(present) = self.facts.clean.get(&key) {
            if *present == part {
                return Ok(());
            }
            let what = format!("the cleaned part of chain {} at row {}", part.chain.short(), part.first_row);
            return Err(StoreError::conflict(what, part.digest.short(), present.digest.short()));
        }
        self.facts.clean.insert(key, part.clone());
        self.changes.push(Change::CleanPart { end_row, stored: stored("a cleaned part", &part)?, part });
        Ok(())
    }

    fn replace_clean_part(&mut self, expected: Digest, part: CleanPart) -> Result<(), StoreError> {
        let end_row = self.raw_end(&part)?;
        let present = self.facts.clean.get(&(part.chain, part.first_row));
        if present == Some(&part) {
            return Ok(());
        }
        let found = present.map(|present| present.digest);
        if found != Some(expected) {
            let what = format!("the cleaned part of chain {} at row {}", part.chain.short(), part.first_row);
            return Err(StoreError::conflict(what, expected.short(), found.map_or("none".to_owned(), |digest| digest.short())));
        }
        self.lines.push(JournalLine::cleaned_again(&expected, &part));
        self.facts.clean.insert((part.chain, part.first_row), part.clone());
        self.changes.push(Change::ReplaceCleanPart { end_row, stored: stored("a cleaned part", &part)?, part });
        Ok(())
    }

    fn chain_state(&mut self, chain: Digest, expected: Option<u64>, state: &[CleanerState]) -> Result<(), StoreError> {
        let present = self.facts.chain_states.get(&chain).copied();
        let revision = next_revision(|| format!("the revision of the state of chain {}", chain.short()), expected, present)?;
        self.facts.chain_states.insert(chain, revision);
        self.changes.push(Change::ChainState { chain, revision, stored: stored("a cleaner's state", &state.to_vec())? });
        Ok(())
    }

    fn drop_rows(&mut self, below: u64) -> Result<(), StoreError> {
        if !self.facts.raw.contains_key(&below) {
            return Err(StoreError::conflict("the first row to keep", "one that a raw part begins with", below));
        }
        self.facts.raw.retain(|first_row, _| *first_row >= below);
        self.facts.clean.retain(|(_, first_row), _| *first_row >= below);
        self.drops(Change::DropRows { below }, JournalLine::dropped_rows(below))
    }

    fn drops(&mut self, change: Change, line: JournalLine) -> Result<(), StoreError> {
        self.lines.push(line);
        self.changes.push(change);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.changes.push(Change::Snapshot { id: snapshot.id(), stored: stored("a snapshot", snapshot)? });
        Ok(())
    }

    fn new_run(&mut self, run: Run) -> Result<(), StoreError> {
        expect("the number of the new run", run.id.0, self.facts.last_run + 1)?;
        if let Some(open) = self.facts.open_run {
            return Err(StoreError::conflict("the open run", "none", open));
        }
        if run.state != RunState::Queued {
            return Err(transition(run.id, "nothing", word(run.state)));
        }
        self.facts.last_run = run.id.0;
        self.facts.open_run = Some(run.id);
        self.lines.push(JournalLine::run(None, &run));
        self.changes.push(Change::NewRun { id: run.id, state: run.state, stored: stored("a run", &run)? });
        self.facts.runs.insert(run.id, run);
        Ok(())
    }

    fn run(&mut self, expected: RunState, run: Run) -> Result<(), StoreError> {
        let Some(present) = self.facts.runs.get(&run.id) else {
            return Err(StoreError::conflict(run.id.to_string(), word(expected), "none"));
        };
        let from = present.state;
        if from != expected {
            return Err(StoreError::conflict(run.id.to_string(), word(expected), word(from)));
        }
        if from != run.state {
            if !from.may_become(run.state) {
                return Err(transition(run.id, word(from), word(run.state)));
            }
            self.lines.push(JournalLine::run(Some(from), &run));
        }
        if run.state.is_final() && self.facts.open_run == Some(run.id) {
            self.facts.open_run = None;
        }
        self.changes.push(Change::Run { id: run.id, state: run.state, stored: stored("a run", &run)? });
        self.facts.runs.insert(run.id, run);
        Ok(())
    }

    fn new_version(&mut self, version: ModelVersion) -> Result<(), StoreError> {
        expect("the number of the new version", version.number.0, self.facts.last_version + 1)?;
        if version.state != VersionState::Challenger {
            return Err(transition(version.number, "nothing", word(version.state)));
        }
        self.facts.last_version = version.number.0;
        self.lines.push(JournalLine::new_version(&version));
        self.changes.push(Change::NewVersion { number: version.number, stored: stored("a version", &version)? });
        self.facts.versions.insert(version.number, version);
        Ok(())
    }

    fn version(&mut self, number: VersionNo, expected: VersionState, to: VersionState) -> Result<(), StoreError> {
        let Some(version) = self.facts.versions.get_mut(&number) else {
            return Err(StoreError::conflict(number.to_string(), word(expected), "none"));
        };
        let from = version.state;
        if from != expected {
            return Err(StoreError::conflict(number.to_string(), word(expected), word(from)));
        }
        if !from.may_become(to) {
            return Err(transition(number, word(from), word(to)));
        }
        version.state = to;
        self.lines.push(JournalLine::version(number, from, to));
        self.changes.push(Change::Version { number, stored: stored("a version", &*version)? });
        Ok(())
    }

    fn decision(&mut self, decision: Decision) -> Result<(), StoreError> {
        let last = self.facts.last_version;
        if decision.version.0 == 0 || decision.version.0 > last {
            return Err(StoreError::conflict("the version decided about", format!("1 to {last}"), decision.version));
        }
        let number = self.facts.last_decision + 1;
        self.facts.last_decision = number;
        self.lines.push(JournalLine::decision(number, &decision));
        self.changes.push(Change::Decision { number, version: decision.version, stored: stored("a decision", &decision)? });
        Ok(())
    }

    fn move_alias(&mut self, alias: Alias, expected: Option<VersionNo>, to: VersionNo) -> Result<(), StoreError> {
        let pointer = match alias {
            Alias::Champion => &mut self.facts.champion,
            Alias::Anchor => &mut self.facts.anchor,
        };
        if *pointer != expected {
            return Err(StoreError::conflict(alias.word(), name(expected), name(*pointer)));
        }
        let Some(&decision) = self.moves.get(&to) else {
            let what = format!("the decision that moves `{}`", alias.word());
            let wanted = format!("one in the same commit that promotes or rolls back to {to} and names the present champion as parent");
            return Err(StoreError::conflict(what, wanted, "none"));
        };
        if !self.moved.insert(alias) {
            return Err(StoreError::conflict(format!("moves of `{}` in one commit", alias.word()), 1, 2));
        }
        let moved = AliasMove { at: self.at, from: expected, to, decision };
        *pointer = Some(to);
        self.lines.push(JournalLine::alias(alias, &moved));
        self.changes.push(Change::MoveAlias { alias, moved });
        Ok(())
    }

    fn state(&mut self, key: String, expected: Option<u64>, value: Vec<u8>) -> Result<(), StoreError> {
        let present = self.facts.state.get(&key).copied();
        let revision = next_revision(|| format!("the revision of state `{key}`"), expected, present)?;
        self.facts.state.insert(key.clone(), revision);
        self.changes.push(if present.is_none() { Change::NewState { key, value } } else { Change::State { key, revision, value } });
        Ok(())
    }
}

/// The JSON of `value`, once it is sure that it reads back as the same: JSON has no NaN and no infinity.
fn stored<T: Serialize + DeserializeOwned + PartialEq>(what: &'static str, value: &T) -> Result<String, StoreError> {
    let text = serde_json::to_string(value).map_err(|error| StoreError::stored(what, error))?;
    let same = serde_json::from_str::<T>(&text).is_ok_and(|read| read == *value);
    if same { Ok(text) } else { Err(StoreError::NotFinite { what: what.to_owned() }) }
}

fn expect<T: PartialEq + ToString>(what: &str, found: T, wanted: T) -> Result<(), StoreError> {
    // The store says what it needs; the write is what was found.
    if found == wanted { Ok(()) } else { Err(StoreError::conflict(what, wanted, found)) }
}

/// The revision after `present`, which must be the expected one.
fn next_revision(what: impl FnOnce() -> String, expected: Option<u64>, present: Option<u64>) -> Result<u64, StoreError> {
    if present == expected {
        return Ok(present.unwrap_or(0) + 1);
    }
    let show = |revision: Option<u64>| revision.map_or("none".to_owned(), |revision| revision.to_string());
    Err(StoreError::conflict(what(), show(expected), show(present)))
}

fn transition(what: impl ToString, from: impl ToString, to: impl ToString) -> StoreError {
    StoreError::Transition { what: what.to_string(), from: from.to_string(), to: to.to_string() }
}

/// The word of a state, as it is stored.
pub(crate) fn word(state: impl Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn name(version: Option<VersionNo>) -> String {
    version.map_or("none".to_owned(), |version| version.to_string())
}

fn bytes_for_people(bytes: &Option<Vec<u8>>) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    bytes.as_ref().map_or("none".to_owned(), |bytes| {
        format!("`{}`", String::from_utf8_lossy(bytes).escape_debug().take(SHOWN_CHARS_MAX).collect::<String>())
    })
}
