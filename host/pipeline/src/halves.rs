//! The two halves of cleaning a part: making it, and keeping what was made. Apart, so that one part is made while the one before goes
//! to disk.
//!
//! Each part is a work unit, leased, done and completed.

use std::sync::Arc;

use serde_json::json;
use tidegate_dataset::{PartCache, Typed};
use tidegate_store::{Leased, WorkUnit, Write};
use tidegate_vocab::{CleanPart, Digest, PipelineId, RawPart};

use crate::clean::{Derived, Failed, derive};
use crate::dead_letters::DeadLetters;
use crate::kept::Kept;
use crate::memory::{Memory, Step};
use crate::quarantine::Behind;
use crate::strikes::Ledger;
use crate::{CleanPort, PipelineError, PluginStep, Settings, Stores};

/// How long a cleaning work unit is leased; a unit is a few milliseconds of work, and a newer fence ends the lease anyway.
const CLEAN_LEASE_US: i64 = 600_000_000;

/// What came of cleaning a part; nothing of it is kept yet.
pub(crate) struct Attempt {
    pub leased: Option<Leased>,
    pub derived: Result<Derived, Failed>,
}

/// What it takes to make cleaned parts of cleaners that keep no state.
pub(crate) struct Deriving<'a> {
    pub settings: &'a Arc<Settings>,
    pub stores: &'a Stores,
    pub behind: &'a Behind,
    pub cleaners: &'a mut Vec<PluginStep<dyn CleanPort>>,
    pub ledger: &'a Ledger,
}

impl Deriving<'_> {
    /// As [`Cleaning::attempt`].
    pub(crate) async fn attempt(&mut self, raw: &RawPart, in_memory: Option<Typed>) -> Result<Attempt, PipelineError> {
        self.cleaners.iter().try_for_each(|cleaner| cleaner.callable("cleaner", self.ledger))?;
        let leased = lease(self.stores, &self.settings.id, &self.behind.chain, raw).await?;
        let derived = derive(self.settings, self.stores, self.behind, self.cleaners, raw, in_memory).await;
        Ok(Attempt { leased, derived })
    }
}

/// Leases the work unit of a raw part; its key is the digest of its plan and input. `None` while somebody else holds it.
pub(crate) async fn lease(stores: &Stores, id: &PipelineId, chain: &Digest, raw: &RawPart) -> Result<Option<Leased>, PipelineError> {
    let (queue, fence) = (&stores.queue, stores.fence);
    let key = Digest::of_fields([&chain.as_bytes()[..], raw.digest.as_bytes(), &raw.first_row.to_le_bytes()]);
    let plan = json!({ "chain": chain, "raw": raw.digest, "first_row": raw.first_row }).to_string().into_bytes();
    queue.enqueue(fence, id, WorkUnit { key, plan }).await?;
    let now = stores.clock.now();
    // Units come in the order in which raw parts do, so the oldest free one is this one. If it is not, somebody else is at work
    // on it: doing it here too gives the same part, but only the holder of the lease completes it.
    match queue.lease(fence, id, "ingest", now, now.plus_micros(CLEAN_LEASE_US)).await? {
        Some(other) if other.unit.key != key => {
            queue.release(&other).await?;
            Ok(None)
        }
        leased => Ok(leased),
    }
}

/// What it takes to keep cleaned parts.
pub(crate) struct Keeping<'a> {
    pub settings: &'a Arc<Settings>,
    pub stores: &'a Stores,
    pub behind: &'a Behind,
    pub parts: &'a PartCache,
    pub letters: &'a mut Kept<DeadLetters>,
    pub memory: &'a mut Memory,
}

impl Keeping<'_> {
    /// Keeps the file of a cleaned part and commits the part, with `writes` besides.
    pub(crate) async fn keep(
        &mut self,
        raw: &RawPart,
        Derived { part, file, rows, changes }: Derived,
        leased: Option<&Leased>,
        mut writes: Vec<Write>,
    ) -> Result<CleanPart, PipelineError> {
        self.stores.blobs.put_blob(file).await?;
        writes.push(Write::CleanPart(part.clone()));
        // The state of the cleaners moves with the part, in one commit.
        let step = self.memory.step(self.stores, &self.behind.chain, changes).await?;
        writes.extend(step.as_ref().map(Step::write));
        let mut letters = DeadLetters::clone(self.letters);
        let letter = letters.take(raw.first_row);
        if let Some(letter) = &letter {
            writes.push(self.letters.write(&letters)?);
            let rows = [raw.first_row, raw.first_row + raw.row_count - 1];
            let body = json!({ "number": letter.number, "plugin": letter.plugin, "rows": rows });
            writes.push(Write::Journal { kind: "dead-letter-cleaned".to_owned(), body });
        }
        if let Err(error) = self.stores.meta.commit(self.stores.fence, &self.settings.id, self.stores.clock.now(), writes).await {
            self.memory.forget();
            return Err(error.into());
        }
        if let Some(step) = step {
            self.memory.committed(step);
        }
        if letter.is_some() {
            self.letters.committed(letters);
        }
        if let Some(leased) = leased {
            self.stores.queue.complete(leased, part.digest).await?;
        }
        self.parts.hold(part.digest, rows);
        Ok(part)
    }
}
