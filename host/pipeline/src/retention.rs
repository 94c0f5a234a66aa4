//! Letting go of what is old, within what the loop needs: retention in days, and a budget of bytes.
//!
//! **What always stays**: the journal, and the story of runs, versions, decisions and snapshots; the last raw part, which says where
//! row numbers go on. **What the loop needs**: the newest rows that the present chain kept, as many as a window with room has; rows
//! that were not scored yet; rows that judge the open run's version. Of the champion, the anchor, the version that a rollback goes
//! to, the versions that answered for rows still to be scored and every version that is not decided about: weights, manifest,
//! serving cleaners, the parts of its snapshot and the terms of the decisions about it. Whatever a piece of the loop's state names;
//! what the cleaners of a chain that is kept remember, also of parts that went.
//!
//! **What goes**: cleaned parts and state of chains that are not in use, since they can be derived again; with `retention_days`, older parts
//! (by the latest event time of their rows, else by when they were polled), older predictions with the labels of rows that were
//! never ingested, and the files of other versions; over `disk_bytes_max`, the oldest of these parts and then of these files
//! whatever their age. Rows go from the oldest on, in whole parts, with their late labels.
//!
//! Invariant: one commit a pipeline first, files afterwards; a crash in between leaves only garbage, which the next collection
//! removes. A file that was written within [`GRACE_US`] stays, for it may be about to be named. A pipeline that the settings do not
//! describe keeps all it has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_store::{Feedback, MetaStore, Upkeep, Write, digests_in, layers_of, named_blobs};
use tidegate_vocab::{Alias, CleanPart, Decision, Digest, ModelVersion, PipelineId, RawPart, Timestamp, VersionNo, VersionState};

use crate::pending::{newest, unfinished_from, window_with_room};
use crate::{LoopState, PipelineError, Stores, loop_state};

/// Microseconds for which a file that nothing names stays.
const GRACE_US: i64 = 600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days after which what nothing needs goes; never, when absent.
    pub retention_days: Option<u32>,
    /// Bytes that the state may take; as many as there are, when absent.
    pub disk_bytes_max: Option<u64>,
}

/// A pipeline that the settings describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub id: PipelineId,
    /// Its present cleaner chain.
    pub chain: Digest,
    /// Rows of its window.
    pub window_rows: u64,
}

/// Everything a collection is about.
pub struct Collection<'a> {
    /// Where everything is. Nobody else may be committing for the subjects meanwhile.
    pub stores: &'a Stores,
    /// The same store, for what it holds.
    pub upkeep: &'a dyn Upkeep,
    /// The same store, for predictions.
    pub feedback: &'a dyn Feedback,
    /// The pipelines that may let go of something.
    pub subjects: &'a [Subject],
    /// How much is kept.
    pub retention: Retention,
    /// Bytes that count against the budget and are not here: compiled plugins.
    pub bytes_beside: u64,
    /// What time it is.
    pub now: Timestamp,
    /// Say what would go, and let nothing go.
    pub dry_run: bool,
}

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Rows that went, and the parts they were in.
    pub rows: u64,
    /// Raw parts that went.
    pub parts: u64,
    /// Chains whose cleaned parts went.
    pub chains: u64,
    /// Versions whose files went.
    pub versions: Vec<(PipelineId, VersionNo)>,
    /// Files that went.
    pub blobs: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes of files that nothing names and that are too young to go.
    pub bytes_young: u64,
    /// Bytes that the state needs after it: files that are named, metadata, and what lies beside.
    pub bytes_kept: u64,
    /// Whether that is more than the budget.
    pub over_budget: bool,
}

/// Lets go of what may go.
///
/// # Errors
/// What the store refused. What was committed stays committed; the next collection goes on from there.
pub async fn collect(collection: &Collection<'_>) -> Result<Collected, PipelineError> {
    let stores = collection.stores;
    let listed = stores.blobs.list_aged().await?;
    let sizes: BTreeMap<Digest, u64> = listed.iter().map(|blob| (blob.digest, blob.byte_count)).collect();
    let metadata_bytes = collection.upkeep.metadata_bytes().await?;
    let mut plan = Plan::of(collection, sizes).await?;
    plan.expire(collection);
    let bytes_now = |plan: &Plan| plan.named_bytes.saturating_add(metadata_bytes).saturating_add(collection.bytes_beside);
    let budget = collection.retention.disk_bytes_max.unwrap_or(u64::MAX);
    while bytes_now(&plan) > budget && plan.drop_oldest() {}

    let mut collected = plan.told();
    collected.bytes_kept = bytes_now(&plan);
    collected.over_budget = collected.bytes_kept > budget;
    if !collection.dry_run {
        for subject in &plan.subjects {
            let writes = subject.writes(collection, plan.losing(subject).collect()).await?;
            if !writes.is_empty() {
                stores.meta.commit(stores.fence, &subject.id, collection.now, writes).await?;
            }
        }
    }
    let before = collection.now.plus_micros(-GRACE_US);
    for blob in listed.iter().filter(|blob| !plan.is_named(&blob.digest)) {
        let goes = blob.put_at < before && (collection.dry_run || stores.blobs.remove_older(&blob.digest, before).await?);
        if goes {
            collected.blobs += 1;
            collected.bytes += blob.byte_count;
        } else {
            collected.bytes_young += blob.byte_count;
        }
    }
    Ok(collected)
}

/// Collects if the state takes more than its budget; for callers that are about to take rows in.
///
/// # Errors
/// [`PipelineError::OverBudget`] when that is not enough: nothing may be taken in. As [`collect`].
pub async fn make_room(collection: &Collection<'_>) -> Result<Option<Collected>, PipelineError> {
    let Some(bytes_max) = collection.retention.disk_bytes_max else { return Ok(None) };
    let files: u64 = collection.stores.blobs.list().await?.iter().map(|(_, bytes)| bytes).sum();
    if files.saturating_add(collection.upkeep.metadata_bytes().await?).saturating_add(collection.bytes_beside) <= bytes_max {
        return Ok(None);
    }
    let collected = collect(collection).await?;
    if collected.over_budget {
        return Err(PipelineError::OverBudget { bytes: collected.bytes_kept, bytes_max });
    }
    Ok(Some(collected))
}

/// What each pipeline holds, and how often each file is named.
struct Plan {
    subjects: Vec<Held>,
    names: BTreeMap<Digest, u64>,
    sizes: BTreeMap<Digest, u64>,
    /// Bytes of the files that are named, each once.
    named_bytes: u64,
}

/// What one pipeline holds.
struct Held {
    id: PipelineId,
    /// Raw parts with the names that go with each, oldest first.
    parts: Vec<HeldPart>,
    /// Of these, how many go.
    parts_gone: usize,
    /// How many may go.
    parts_free: usize,
    /// Chains that go.
    chains: Vec<Digest>,
    /// Versions whose files may go, oldest first, and how many do.
    versions: Vec<(ModelVersion, Vec<Digest>)>,
    versions_gone: usize,
}

struct HeldPart {
    raw: RawPart,
    /// When its rows are from.
    at: Timestamp,
    names: Vec<Digest>,
}

impl Plan {
    async fn of(collection: &Collection<'_>, sizes: BTreeMap<Digest, u64>) -> Result<Plan, PipelineError> {
        let meta = &collection.stores.meta;
        let mut plan = Plan { subjects: Vec::new(), names: BTreeMap::new(), sizes, named_bytes: 0 };
        let all = meta.pipelines().await?;
        for id in &all {
            let Some(subject) = collection.subjects.iter().find(|subject| subject.id == *id) else { continue };
            let (held, pinned) = Held::of(collection, subject).await?;
            plan.name(pinned);
            for part in &held.parts {
                plan.name(part.names.iter().copied());
            }
            for (_, files) in &held.versions {
                plan.name(files.iter().copied());
            }
            plan.subjects.push(held);
        }
        // What pipelines outside the settings name stays. What those inside name has been counted above, name by name.
        if all.len() > plan.subjects.len() {
            let outside = named_outside(collection, &plan.subjects).await?;
            plan.name(outside);
        }
        Ok(plan)
    }

    fn name(&mut self, names: impl IntoIterator<Item = Digest>) {
        for name in names {
            let count = self.names.entry(name).or_default();
            *count += 1;
            if *count == 1 {
                self.named_bytes += self.sizes.get(&name).copied().unwrap_or(0);
            }
        }
    }

    fn unname(&mut self, names: &[Digest]) {
        for name in names {
            let Some(count) = self.names.get_mut(name).filter(|count| **count > 0) else { continue };
            *count -= 1;
            if *count == 0 {
                self.named_bytes -= self.sizes.get(name).copied().unwrap_or(0);
            }
        }
    }

    fn is_named(&self, digest: &Digest) -> bool {
        self.names.get(digest).is_some_and(|count| *count > 0)
    }

    /// Lets go of what is older than the retention.
    fn expire(&mut self, collection: &Collection<'_>) {
        let Some(cutoff) = cutoff(collection) else { return };
        for index in 0..self.subjects.len() {
            while self.subjects[index].next_part().is_some_and(|part| part.at < cutoff) {
                self.drop_part(index);
            }
            while self.subjects[index].next_version().is_some_and(|version| version.created_at < cutoff) {
                self.drop_version(index);
            }
        }
    }

    /// Lets go of the oldest part that may go, else of the files of the oldest version; `false` when nothing may.
    fn drop_oldest(&mut self) -> bool {
        let oldest = |at: &dyn Fn(&Held) -> Option<Timestamp>| {
            let ages = self.subjects.iter().enumerate().filter_map(|(index, held)| Some((at(held)?, index)));
            ages.min().map(|(_, index)| index)
        };
        if let Some(index) = oldest(&|held| held.next_part().map(|part| part.at)) {
            self.drop_part(index);
            return true;
        }
        let Some(index) = oldest(&|held| held.next_version().map(|version| version.created_at)) else { return false };
        self.drop_version(index);
        true
    }

    fn drop_part(&mut self, index: usize) {
        let held = &mut self.subjects[index];
        let names = std::mem::take(&mut held.parts[held.parts_gone].names);
        held.parts_gone += 1;
        self.unname(&names);
    }

    fn drop_version(&mut self, index: usize) {
        let held = &mut self.subjects[index];
        let files = held.versions[held.versions_gone].1.clone();
        held.versions_gone += 1;
        self.unname(&files);
    }

    /// The versions that lose a file which is there and which nothing else names.
    fn losing<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = VersionNo> + 'a {
        let loses = |files: &[Digest]| files.iter().any(|file| self.sizes.contains_key(file) && !self.is_named(file));
        held.versions[..held.versions_gone].iter().filter(move |(_, files)| loses(files)).map(|(version, _)| version.number)
    }

    fn told(&self) -> Collected {
        let mut told = Collected::default();
        for held in &self.subjects {
            let gone = &held.parts[..held.parts_gone];
            told.parts += gone.len() as u64;
            told.rows += gone.iter().map(|part| part.raw.row_count).sum::<u64>();
            told.chains += held.chains.len() as u64;
            told.versions.extend(self.losing(held).map(|number| (held.id.clone(), number)));
        }
        told
    }
}

impl Held {
    /// What a pipeline holds, and the names that stay whatever happens.
    async fn of(collection: &Collection<'_>, subject: &Subject) -> Result<(Held, Vec<Digest>), PipelineError> {
        let (stores, id) = (collection.stores, &subject.id);
        let meta = &stores.meta;
        let raw = meta.raw_parts(id, 0).await?;
        let clean = meta.clean_parts(id, &subject.chain, 0).await?;
        let state: LoopState = match meta.state(id, loop_state::KEY).await? {
            Some((_, bytes)) => serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?,
            None => LoopState::default(),
        };
        // A chain that has just come to be has cleaned a window and little more; older rows are of no use to it then either. One that
        // has not even that may still have to go back for it.
        let kept: u64 = clean.iter().map(|part| part.row_count).sum();
        let window = match kept >= subject.window_rows {
            true => newest(clean.iter().map(|part| (part.first_row, part.row_count)), window_with_room(subject.window_rows).min(kept)),
            false => 0,
        };
        let needed_from = window.min(unfinished_from(&**meta, id, &state).await?);
        let (protected, versions) = Held::versions(collection, subject, &state).await?;
        let mut pinned = protected;
        for (key, value) in collection.upkeep.states(id).await? {
            // A finished training needs its checkpoint no more.
            let open = meta.open_run(id).await?.map(|run| format!("checkpoint-{}", run.id));
            if !key.starts_with("checkpoint-") || Some(key) == open {
                pinned.extend(digests_in(&value));
            }
        }
        // A chain that has cleaned the newest rows is in use; until then the others are what there is to go back to.
        let in_use = raw.last().is_some_and(|last| clean.last().is_some_and(|part| part.first_row == last.first_row));
        let mut names: BTreeMap<u64, Vec<Digest>> = BTreeMap::new();
        let mut chains = Vec::new();
        for chain in collection.upkeep.chains(id).await?.into_iter().filter(|chain| *chain != subject.chain) {
            if in_use {
                chains.push(chain);
                continue;
            }
            pinned.extend(state_files(&**meta, id, &chain).await?);
            for part in meta.clean_parts(id, &chain, 0).await? {
                names.entry(part.first_row).or_default().extend(layers_of(&part.state).chain([part.digest]));
            }
        }
        pinned.extend(state_files(&**meta, id, &subject.chain).await?);
        let clean: BTreeMap<u64, CleanPart> = clean.into_iter().map(|part| (part.first_row, part)).collect();
        let parts: Vec<HeldPart> = raw.into_iter().map(|raw| HeldPart::of(raw, &clean, &mut names)).collect();
        let may_go = |part: &HeldPart| part.raw.first_row + part.raw.row_count <= needed_from;
        let parts_free = parts.iter().take(parts.len().saturating_sub(1)).take_while(|part| may_go(part)).count();
        let held = Held { id: id.clone(), parts, parts_gone: 0, parts_free, chains, versions, versions_gone: 0 };
        Ok((held, pinned))
    }

    /// The names of protected versions' files, and the other versions with theirs, oldest first.
    async fn versions(
        collection: &Collection<'_>,
        subject: &Subject,
        state: &LoopState,
    ) -> Result<(Vec<Digest>, Vec<(ModelVersion, Vec<Digest>)>), PipelineError> {
        let (meta, id) = (&collection.stores.meta, &subject.id);
        let all = meta.versions(id).await?;
        let mut protected: BTreeSet<VersionNo> = state.serving_from.iter().map(|(_, version)| *version).collect();
        for alias in [Alias::Champion, Alias::Anchor] {
            protected.extend(meta.alias(id, alias).await?);
        }
        let history = meta.alias_history(id, Alias::Champion).await?;
        let left_healthy =
            |number: &VersionNo| all.iter().any(|version| version.number == *number && version.state == VersionState::Retired);
        let champion = history.last().map(|last| last.to);
        protected.extend(history.iter().rev().filter_map(|step| step.from).find(|from| Some(*from) != champion && left_healthy(from)));
        if let Some(run) = meta.open_run(id).await? {
            protected.extend(run.version);
        }
        let decisions = meta.decisions(id, None).await?;
        let (mut pinned, mut others) = (Vec::new(), Vec::new());
        for version in all {
            let mut files = files_of(&version, &decisions);
            let is_decided = matches!(
                version.state,
                VersionState::Rejected
                    | VersionState::InfraFailed
                    | VersionState::Retired
                    | VersionState::RolledBack
                    | VersionState::Quarantined
            );
            if is_decided && !protected.contains(&version.number) {
                others.push((version, files));
                continue;
            }
            if let Some(snapshot) = meta.snapshot(&version.snapshot).await? {
                files.extend(snapshot.files());
            }
            pinned.extend(files);
        }
        // A run that has its snapshot and no version yet is about to train on it.
        if let Some(id) = meta.open_run(id).await?.and_then(|run| run.snapshot)
            && let Some(snapshot) = meta.snapshot(&id).await?
        {
            pinned.extend(snapshot.files());
        }
        Ok((pinned, others))
    }

    fn next_part(&self) -> Option<&HeldPart> {
        self.parts[..self.parts_free].get(self.parts_gone)
    }

    fn next_version(&self) -> Option<&ModelVersion> {
        self.versions.get(self.versions_gone).map(|(version, _)| version)
    }

    /// What the commit holds that lets go of what goes; `losing` are the versions that lose files.
    async fn writes(&self, collection: &Collection<'_>, losing: Vec<VersionNo>) -> Result<Vec<Write>, PipelineError> {
        let mut writes: Vec<Write> = self.chains.iter().map(|chain| Write::DropCleanParts { chain: *chain }).collect();
        if self.parts_gone > 0 {
            // The last part never goes, so there is always one behind those that do.
            writes.push(Write::DropRows { below: self.parts[self.parts_gone].raw.first_row });
        }
        if let Some(cutoff) = cutoff(collection) {
            let oldest = collection.feedback.predictions(&self.id, 0, 1).await?;
            if oldest.first().is_some_and(|(_, row)| row.at < cutoff) {
                writes.push(Write::DropFeedback { before: cutoff });
            }
        }
        if !losing.is_empty() {
            writes.push(Write::Journal { kind: "retention".to_owned(), body: json!({ "files_of_versions": losing }) });
        }
        Ok(writes)
    }
}

impl HeldPart {
    fn of(raw: RawPart, clean: &BTreeMap<u64, CleanPart>, others: &mut BTreeMap<u64, Vec<Digest>>) -> HeldPart {
        let cleaned = clean.get(&raw.first_row);
        let at = cleaned.and_then(|part| part.event_time).map_or(raw.polled_at, |(_, latest)| latest);
        let mut names = others.remove(&raw.first_row).unwrap_or_default();
        names.push(raw.digest);
        names.extend(cleaned.iter().flat_map(|part| layers_of(&part.state).chain([part.digest])));
        HeldPart { raw, at, names }
    }
}

/// The files of what the cleaners of a chain remember.
async fn state_files(meta: &dyn MetaStore, pipeline: &PipelineId, chain: &Digest) -> Result<Vec<Digest>, PipelineError> {
    let state = meta.chain_state(pipeline, chain).await?;
    Ok(state.iter().flat_map(|(_, state)| layers_of(state)).collect())
}

/// Weights, manifest and serving cleaners of a version, and the terms of the decisions about it.
fn files_of(version: &ModelVersion, decisions: &[(u64, Decision)]) -> Vec<Digest> {
    let about = decisions.iter().filter(|(_, decision)| decision.version == version.number);
    let terms = about.filter_map(|(_, decision)| decision.evidence.as_ref().map(|evidence| evidence.terms));
    let components = version.serving.iter().map(|cleaner| cleaner.component);
    [version.weights, version.manifest].into_iter().chain(components).chain(terms).collect()
}

/// What is from before this instant is old.
fn cutoff(collection: &Collection<'_>) -> Option<Timestamp> {
    let days = collection.retention.retention_days?;
    Some(collection.now.plus_micros(-i64::from(days).saturating_mul(DAY_US)))
}

/// Everything that the store names on behalf of pipelines outside the settings.
async fn named_outside(collection: &Collection<'_>, inside: &[Held]) -> Result<Vec<Digest>, PipelineError> {
    let mut outside = Vec::new();
    for id in collection.stores.meta.pipelines().await?.into_iter().filter(|id| inside.iter().all(|held| held.id != *id)) {
        outside.extend(named_blobs(&*collection.stores.meta, collection.upkeep, &id).await?);
    }
    Ok(outside)
}
