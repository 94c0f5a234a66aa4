//! What people do about rows that were kept out: let them in again, or have them cleaned again.
//!
//! Invariant: a row that a cleaner dropped comes back only under a person's name, which is kept beside the cleaner's: whenever the
//! row's part is cleaned, behind this chain or another, that cleaner's word about the row does not count. Everyone else's does. What
//! the contract refused stays out. Each part is replaced in one commit that names the part it replaces; snapshots go on naming
//! that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataset::BY_CONTRACT;
use tidegate_store::{MetaStore, Upkeep, Write};
use tidegate_vocab::{CleanPart, Digest, PipelineId, RawPart, Timestamp};

use crate::blame::Cleaning;
use crate::clean::derive;
use crate::memory::Remembered;
use crate::{Event, Pipeline, PipelineError};

/// The name of the rows that were let in again in the store.
pub(crate) const KEY: &str = "readmitted";
/// Rows that one command lets in.
const READMIT_ROWS_MAX: usize = 10_000;

/// One person's word that a cleaner was wrong about a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmission {
    /// The cleaner whose word does not count.
    pub cleaner: String,
    /// Whose word does.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The rows of a pipeline that were let in again, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmitted {
    /// What was said about each.
    pub rows: BTreeMap<u64, Vec<Readmission>>,
}

/// What decides what becomes of a raw part, beside the cleaners themselves.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    pub chain: Digest,
    pub readmitted: Arc<Readmitted>,
    /// What its cleaners remember of the batches before.
    pub remembered: Remembered,
}

impl Readmitted {
    /// Those that a store holds of a pipeline, with the revision.
    pub(crate) async fn of(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<(Option<u64>, Readmitted), PipelineError> {
        let Some((revision, bytes)) = meta.state(pipeline, KEY).await? else { return Ok((None, Readmitted::default())) };
        let rows = serde_json::from_slice(&bytes).map_err(|source| PipelineError::ReadState { source })?;
        Ok((Some(revision), rows))
    }

    /// Of the rows numbered `first_row..end_row`, those about which `cleaner` does not count.
    pub(crate) fn from(&self, cleaner: &str, first_row: u64, end_row: u64) -> BTreeSet<u64> {
        let said = self.rows.range(first_row..end_row).filter(|(_, said)| said.iter().any(|said| said.cleaner == cleaner));
        said.map(|(row, _)| *row).collect()
    }
}

/// Who let which rows of a pipeline in again.
///
/// # Errors
/// What the store could not read.
pub async fn readmitted_rows(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<Readmitted, PipelineError> {
    Ok(Readmitted::of(meta, pipeline).await?.1)
}

/// What cleaning parts again came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanedAgain {
    /// Parts that were cleaned.
    pub parts: u64,
    /// Of these, parts that came out otherwise than before.
    pub changed: u64,
    /// Rows that were kept out before and are in now.
    pub rows_in: Vec<u64>,
    /// Rows of these parts that are kept out, with who keeps them out and why.
    pub rows_out: Vec<(u64, String, String)>,
}

/// Lets `rows` in again because `by` says so.
///
/// # Errors
/// [`PipelineError::NotReadmittable`] names the first row that cannot come in, and why; nothing is written then.
pub async fn readmit(pipeline: &mut Pipeline, rows: &[u64], by: &str, reason: &str) -> Result<CleanedAgain, PipelineError> {
    // What waits is cleaned first, so that every row has its place behind the present chain.
    pipeline.handle(Event::Clean).await?;
    let rows: BTreeSet<u64> = rows.iter().copied().collect();
    let refused = |row: u64, why: String| Err(PipelineError::NotReadmittable { row, why });
    if let Some(row) = rows.iter().nth(READMIT_ROWS_MAX) {
        return refused(*row, format!("{} rows were named, at most {READMIT_ROWS_MAX} go at once", rows.len()));
    }
    let kept_out = kept_out(pipeline).await?;
    let mut readmitted = Readmitted::clone(&pipeline.readmitted);
    let at = pipeline.now();
    for row in &rows {
        match kept_out.get(row) {
            Some((by, why)) if by == BY_CONTRACT => return refused(*row, format!("the contract refuses it: `{why}`")),
            Some((cleaner, _)) => {
                let said = Readmission { cleaner: cleaner.clone(), by: by.to_owned(), reason: reason.to_owned(), at };
                readmitted.rows.entry(*row).or_default().push(said);
            }
            None if readmitted.rows.contains_key(row) => {}
            None => return refused(*row, why_not(pipeline, *row).await?),
        }
    }
    if readmitted == *pipeline.readmitted {
        return Ok(CleanedAgain::default());
    }
    let readmitted = Arc::new(readmitted);
    let behind = Behind { readmitted: Arc::clone(&readmitted), ..pipeline.behind() };
    let (mut again, mut writes) = (CleanedAgain::default(), Vec::new());
    for (raw, before) in parts_of(pipeline, &rows).await? {
        let part = derive_again(pipeline, &behind, &raw, &before).await?;
        let out = out_of(&part);
        let broken = out.iter().find(|(row, by, _)| by == BY_CONTRACT && rows.contains(row));
        if let Some((row, _, why)) = broken {
            return refused(*row, format!("without the cleaner the contract refuses it: `{why}`"));
        }
        again.note(&before, &part, out);
        writes.push(Write::ReplaceCleanPart { expected: before.digest, part });
    }
    let value = serde_json::to_vec(&*readmitted).map_err(|source| PipelineError::ReadState { source })?;
    writes.push(Write::State { key: KEY.to_owned(), expected: pipeline.readmitted_revision, value });
    writes.push(Write::Journal { kind: "readmit".to_owned(), body: json!({ "rows": rows, "by": by, "reason": reason }) });
    pipeline.stores.meta.commit(pipeline.stores.fence, &pipeline.settings.id, at, writes).await?;
    pipeline.readmitted_revision = Some(pipeline.readmitted_revision.map_or(1, |revision| revision + 1));
    pipeline.readmitted = readmitted;
    Ok(again)
}

/// Cleans every part again of which rows are kept out, behind the present chain; and those that another chain kept rows out of and
/// this one has not cleaned. Parts that come out otherwise replace the old ones, one commit each.
///
/// # Errors
/// What went wrong first; the parts before it stay replaced, and the same command goes on from there.
pub async fn clean_again(pipeline: &mut Pipeline, upkeep: &dyn Upkeep) -> Result<CleanedAgain, PipelineError> {
    let (stores, id) = (pipeline.stores.clone(), pipeline.settings.id.clone());
    let before = parts_before(pipeline, upkeep).await?;
    // What waits is cleaned in its turn; parts of which rows were kept out are told of like the others.
    pipeline.handle(Event::Clean).await?;
    let own = by_first_row(stores.meta.clean_parts(&id, &pipeline.chain, 0).await?);
    let behind = pipeline.behind();
    let mut again = CleanedAgain::default();
    for raw in stores.meta.raw_parts(&id, 0).await? {
        let Some(before) = before.get(&raw.first_row).filter(|_| !pipeline.letters.holds(raw.first_row, &pipeline.chain)) else { continue };
        let present = own.get(&raw.first_row);
        let part = match present {
            Some(part) if part.chain != before.chain => part.clone(),
            Some(part) => derive_again(pipeline, &behind, &raw, part).await?,
            // Committed by that.
            None => Cleaning::of(pipeline).clean_without_blame(&raw).await?,
        };
        if let Some(present) = present.filter(|present| **present != part) {
            let write = Write::ReplaceCleanPart { expected: present.digest, part: part.clone() };
            stores.meta.commit(stores.fence, &id, pipeline.now(), vec![write]).await?;
        }
        again.note(before, &part, out_of(&part));
    }
    Ok(again)
}

/// The parts that rows are kept out of, by first row: those of the present chain, and where it has cleaned nothing, of another.
async fn parts_before(pipeline: &Pipeline, upkeep: &dyn Upkeep) -> Result<BTreeMap<u64, CleanPart>, PipelineError> {
    let (meta, id, chain) = (&pipeline.stores.meta, &pipeline.settings.id, pipeline.chain);
    let mut parts = by_first_row(meta.clean_parts(id, &chain, 0).await?);
    for other in upkeep.chains(id).await?.into_iter().filter(|other| *other != chain) {
        for part in meta.clean_parts(id, &other, 0).await? {
            parts.entry(part.first_row).or_insert(part);
        }
    }
    parts.retain(|_, part| !part.quarantined.is_empty());
    Ok(parts)
}

fn by_first_row(parts: Vec<CleanPart>) -> BTreeMap<u64, CleanPart> {
    parts.into_iter().map(|part| (part.first_row, part)).collect()
}

impl CleanedAgain {
    fn note(&mut self, before: &CleanPart, after: &CleanPart, out: Vec<(u64, String, String)>) {
        let still: BTreeSet<u64> = out.iter().map(|(row, ..)| *row).collect();
        self.parts += 1;
        self.changed += u64::from(before.digest != after.digest);
        self.rows_in.extend(out_of(before).into_iter().map(|(row, ..)| row).filter(|row| !still.contains(row)));
        self.rows_out.extend(out);
    }
}

impl Pipeline {
    pub(crate) fn behind(&self) -> Behind {
        Behind { chain: self.chain, readmitted: Arc::clone(&self.readmitted), remembered: Remembered::default() }
    }
}

/// Cleans a part again as it was cleaned before: the cleaners remember what they did then, and what they change of it is not kept.
async fn derive_again(pipeline: &mut Pipeline, behind: &Behind, raw: &RawPart, before: &CleanPart) -> Result<CleanPart, PipelineError> {
    for cleaner in &pipeline.plugins.cleaners {
        cleaner.callable("cleaner", &pipeline.ledger)?;
    }
    let behind = Behind { remembered: Remembered::at(before, &pipeline.stores).await?, ..behind.clone() };
    let derived = derive(&pipeline.settings, &pipeline.stores, &behind, &mut pipeline.plugins.cleaners, raw, None).await;
    let derived = derived.map_err(|failed| failed.error)?;
    pipeline.stores.blobs.put_blob(derived.file).await?;
    Ok(derived.part)
}

/// The rows that a part keeps out, rising, with who keeps them out and why.
fn out_of(part: &CleanPart) -> Vec<(u64, String, String)> {
    let rows = part.quarantined.iter().flat_map(|group| group.rows.iter().map(|row| (*row, group.by.clone(), group.reason.clone())));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable();
    rows
}

/// Every row that the present chain keeps out, with who keeps it out and why.
async fn kept_out(pipeline: &Pipeline) -> Result<BTreeMap<u64, (String, String)>, PipelineError> {
    let groups = pipeline.stores.meta.quarantined(&pipeline.settings.id, &pipeline.chain).await?;
    let rows = groups.into_iter().flat_map(|(_, group)| {
        let (by, reason) = (group.by, group.reason);
        group.rows.into_iter().map(move |row| (row, (by.clone(), reason.clone())))
    });
    Ok(rows.collect())
}

/// The raw parts that hold any of `rows`, with their cleaned parts behind the present chain.
async fn parts_of(pipeline: &Pipeline, rows: &BTreeSet<u64>) -> Result<Vec<(RawPart, CleanPart)>, PipelineError> {
    let from = rows.first().copied().unwrap_or(u64::MAX);
    let (meta, id) = (&pipeline.stores.meta, &pipeline.settings.id);
    let cleaned = meta.clean_parts(id, &pipeline.chain, from).await?;
    let mut cleaned = by_first_row(cleaned);
    let holds = |raw: &RawPart| rows.range(raw.first_row..raw.first_row + raw.row_count).next().is_some();
    let raw = meta.raw_parts(id, from).await?.into_iter().filter(holds);
    Ok(raw.filter_map(|raw| cleaned.remove(&raw.first_row).map(|part| (raw, part))).collect())
}

/// Why a row that is not kept out cannot be let in.
async fn why_not(pipeline: &Pipeline, row: u64) -> Result<String, PipelineError> {
    let (meta, id) = (&pipeline.stores.meta, &pipeline.settings.id);
    let raw = meta.raw_parts(id, row).await?;
    let Some(raw) = raw.first().filter(|raw| raw.first_row <= row && row < raw.first_row + raw.row_count) else {
        let rows = pipeline.rows_total();
        return Ok(if row < rows { "retention has let go of it".to_owned() } else { format!("there are {rows} rows, numbered from 0") });
    };
    let cleaned = meta.clean_parts(id, &pipeline.chain, row).await?;
    let is_cleaned = cleaned.iter().any(|part| part.first_row == raw.first_row);
    let later = "its part has not been cleaned behind the present cleaners; `tidegate quarantine clean` cleans it";
    Ok(if is_cleaned { "it is not kept out" } else { later }.to_owned())
}
