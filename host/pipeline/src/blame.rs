//! Cleaning a raw part, and finding out who is to blame when it fails.
//!
//! A failed call is made again on a fresh instance. If that goes well the plugin gets a strike and the part its rows. If it fails
//! too, a *witness* decides: the nearest other part, cleaned behind the same chain. Where the witness passes, the batch is to blame
//! and becomes a dead letter; where it fails, or there is none, the plugin is, and gets a strike. A cleaner that sends one batch
//! after the other to the dead letters is to blame as well.
//!
//! Nothing of a witness is kept, and a strike, a dead letter and a cleaned part are one commit each, so that a process that dies
//! anywhere in here finds the part in front again.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tidegate_dataset::{PartCache, Typed, encode_raw, encode_state};
use tidegate_sandbox::Alert;
use tidegate_store::{Blob, Leased, Write};
use tidegate_vocab::{Batch, CleanPart, Digest, PluginName, RawPart, Timestamp};

use crate::alerts::{dead_letter_alert, quarantine_alert};
use crate::bundle::{Bundle, FailedCall, SeenCounts};
use crate::clean::{Derived, Failed, FailedStep, derive};
use crate::dead_letters::{DeadLetter, DeadLetters};
use crate::halves::{Attempt, Deriving, Keeping, lease};
use crate::kept::Kept;
use crate::memory::{Memory, Remembered, keepers};
use crate::quarantine::Behind;
use crate::strikes::{Ledger, Strike};
use crate::{CleanPort, Pipeline, PipelineError, PluginStep, Settings, Stores};

/// Everything that cleaning takes.
pub(crate) struct Cleaning<'a> {
    pub settings: &'a Arc<Settings>,
    pub stores: &'a Stores,
    pub behind: Behind,
    pub cleaners: &'a mut Vec<PluginStep<dyn CleanPort>>,
    pub parts: &'a PartCache,
    pub ledger: &'a mut Kept<Ledger>,
    pub letters: &'a mut Kept<DeadLetters>,
    pub memory: &'a mut Memory,
    /// Alerts that are to be sent.
    pub alerts: &'a mut Vec<Alert>,
}

/// What became of a raw part.
pub(crate) enum Made {
    /// It is cleaned.
    Part(CleanPart),
    /// It was set aside.
    DeadLetter,
}

impl Made {
    /// The event time of its last row.
    pub(crate) fn last_event_time(&self) -> Option<Timestamp> {
        match self {
            Made::Part(part) => part.event_time.map(|(_, last)| last),
            Made::DeadLetter => None,
        }
    }
}

impl<'a> Cleaning<'a> {
    pub(crate) fn of(pipeline: &'a mut Pipeline) -> Cleaning<'a> {
        Cleaning {
            behind: pipeline.behind(),
            settings: &pipeline.settings,
            stores: &pipeline.stores,
            cleaners: &mut pipeline.plugins.cleaners,
            parts: &pipeline.parts,
            ledger: &mut pipeline.ledger,
            letters: &mut pipeline.letters,
            memory: &mut pipeline.memory,
            alerts: &mut pipeline.alerts_due,
        }
    }

    /// Makes and commits the cleaned part of one raw part, or sets it aside, as a leased work unit.
    pub(crate) async fn clean(&mut self, raw: &RawPart, in_memory: Option<Typed>) -> Result<Made, PipelineError> {
        let attempt = self.attempt(raw, in_memory).await?;
        self.end(raw, attempt).await
    }

    /// The same for a part that a person asks for: it is cleaned or it is not, and nobody is charged.
    pub(crate) async fn clean_without_blame(&mut self, raw: &RawPart) -> Result<CleanPart, PipelineError> {
        self.callable()?;
        let derived = self.derive(raw, None).await.map_err(|failed| failed.error)?;
        self.keep(raw, derived, None, None).await
    }

    /// Leases a part's work unit and cleans the part; nothing is kept.
    pub(crate) async fn attempt(&mut self, raw: &RawPart, in_memory: Option<Typed>) -> Result<Attempt, PipelineError> {
        self.callable()?;
        let leased = lease(self.stores, &self.settings.id, &self.behind.chain, raw).await?;
        Ok(Attempt { leased, derived: self.derive(raw, in_memory).await })
    }

    /// Keeps what came of an attempt: a part, a dead letter or a strike.
    pub(crate) async fn end(&mut self, raw: &RawPart, attempt: Attempt) -> Result<Made, PipelineError> {
        let Attempt { leased, derived } = attempt;
        let made = match derived {
            Ok(derived) => self.keep(raw, derived, leased.as_ref(), None).await.map(Made::Part),
            Err(failed) => self.failed(raw, failed, leased.as_ref()).await,
        };
        if made.is_err() {
            self.release(leased).await?;
        }
        made
    }

    /// Gives a unit back at once, so that the next attempt does not wait for the lease to run out.
    pub(crate) async fn release(&self, leased: Option<Leased>) -> Result<(), PipelineError> {
        if let Some(leased) = leased {
            self.stores.queue.release(&leased).await?;
        }
        Ok(())
    }

    /// What makes parts and what keeps them, so that one part can be made while the one before is kept. `None` where a cleaner keeps
    /// state: what it makes of a part depends on what was kept with the one before.
    pub(crate) fn apart(&mut self) -> Option<(Deriving<'_>, Keeping<'_>)> {
        if !keepers(self.cleaners).is_empty() {
            return None;
        }
        let Cleaning { settings, stores, behind, cleaners, parts, ledger, letters, memory, .. } = self;
        Some((Deriving { settings, stores, behind, cleaners, ledger }, Keeping { settings, stores, behind, parts, letters, memory }))
    }

    fn keeping(&mut self) -> Keeping<'_> {
        let Cleaning { settings, stores, behind, parts, letters, memory, .. } = self;
        Keeping { settings, stores, behind, parts, letters, memory }
    }

    fn callable(&self) -> Result<(), PipelineError> {
        self.cleaners.iter().try_for_each(|cleaner| cleaner.callable("cleaner", self.ledger))
    }

    /// What becomes of a part whose turn it is.
    async fn derive(&mut self, raw: &RawPart, in_memory: Option<Typed>) -> Result<Derived, Failed> {
        let (stores, id, chain) = (self.stores, &self.settings.id, self.behind.chain);
        let keepers = keepers(self.cleaners);
        let remembered = self.memory.newest(stores, id, &chain, &keepers).await?;
        let behind = Behind { remembered, ..self.behind.clone() };
        derive(self.settings, self.stores, &behind, self.cleaners, raw, in_memory).await
    }

    /// What becomes of a part that had its turn, or will have it: nothing of it is kept.
    async fn derive_aside(&mut self, raw: &RawPart) -> Result<Derived, Failed> {
        let keep_state = !keepers(self.cleaners).is_empty();
        let (id, chain) = (&self.settings.id, self.behind.chain);
        let remembered = if keep_state { Remembered::of_raw(raw, id, &chain, self.stores).await? } else { None };
        let Some(remembered) = remembered else { return self.derive(raw, None).await };
        let behind = Behind { remembered, ..self.behind.clone() };
        derive(self.settings, self.stores, &behind, self.cleaners, raw, None).await
    }

    /// Commits a cleaned part; with `flaky`, the failure that came before it, which is charged in the same commit.
    async fn keep(
        &mut self,
        raw: &RawPart,
        derived: Derived,
        leased: Option<&Leased>,
        flaky: Option<&Failed>,
    ) -> Result<CleanPart, PipelineError> {
        let charged = flaky.and_then(|failed| self.charge(raw, failed));
        let mut writes = Vec::new();
        if let Some((ledger, writes_of)) = &charged {
            writes.push(self.ledger.write(ledger)?);
            writes.extend(writes_of.iter().cloned());
        }
        let part = self.keeping().keep(raw, derived, leased, writes).await?;
        self.memory.gauge(&self.settings.id, self.cleaners);
        if let Some((ledger, _)) = charged {
            self.ledger.committed(ledger);
        }
        Ok(part)
    }

    /// Finds out who is to blame for a failure, and acts on it.
    async fn failed(&mut self, raw: &RawPart, first: Failed, leased: Option<&Leased>) -> Result<Made, PipelineError> {
        if !first.error.is_about_plugin_or_batch() {
            return Err(first.error);
        }
        let failed = match &first.error {
            // It ran to its end: the same instance says the same of the same rows.
            PipelineError::Damage { .. } => first,
            PipelineError::Plugin { source, .. } if !source.is_fault() => first,
            _ => match self.derive(raw, None).await {
                Ok(derived) => return self.keep(raw, derived, leased, Some(&first)).await.map(Made::Part),
                Err(second) => second,
            },
        };
        if failed.at.is_some() && !failed.error.is_about_state() && self.witness_passes(raw).await? {
            return self.set_aside(raw, failed, leased).await;
        }
        if let Some((ledger, mut writes)) = self.charge(raw, &failed) {
            writes.push(self.ledger.write(&ledger)?);
            self.stores.meta.commit(self.stores.fence, &self.settings.id, self.stores.clock.now(), writes).await?;
            self.ledger.committed(ledger);
        }
        Err(failed.error)
    }

    /// Whether the nearest other part passes all cleaners; the one before, if there is one.
    async fn witness_passes(&mut self, raw: &RawPart) -> Result<bool, PipelineError> {
        let parts = self.stores.meta.raw_parts(&self.settings.id, 0).await?;
        let fit = |part: &&RawPart| !self.letters.holds(part.first_row, &self.behind.chain);
        let before = parts.iter().rev().filter(|part| part.first_row < raw.first_row).find(fit);
        let after = parts.iter().filter(|part| part.first_row > raw.first_row).find(fit);
        let Some(witness) = before.or(after).cloned() else { return Ok(false) };
        Ok(self.derive_aside(&witness).await.is_ok())
    }

    /// Makes a dead letter of a part.
    async fn set_aside(&mut self, raw: &RawPart, failed: Failed, leased: Option<&Leased>) -> Result<Made, PipelineError> {
        let Failed { error, at: Some(step) } = failed else { return Err(failed.error) };
        let cleaner = &self.cleaners[step.cleaner];
        let (now, id) = (self.stores.clock.now(), &self.settings.id);
        let text = error.own_words();
        let bundle = bundle(self.settings, cleaner, raw, &step, &error, now)?;
        let (component, file) = (bundle.component.clone(), Bundle { component: Bytes::new(), ..bundle }.encode());
        let letter = DeadLetter {
            number: 0,
            first_row: raw.first_row,
            row_count: raw.row_count,
            raw: raw.digest,
            chain: self.behind.chain,
            plugin: cleaner.name.clone(),
            digest: cleaner.digest,
            at: now,
            outcome: error.outcome().to_owned(),
            error: text.clone(),
            bundle: self.stores.blobs.put(file).await?,
            component: self.stores.blobs.put(component).await?,
        };
        let (plugin, used, digest) = (cleaner.name.clone(), cleaner.used(), cleaner.digest);
        let mut letters = DeadLetters::clone(self.letters);
        if let Some(oldest) = self.stores.meta.raw_parts(id, 0).await?.first() {
            letters.forget_below(oldest.first_row);
        }
        let number = letters.put(letter.clone());
        let rows = [raw.first_row, raw.first_row + raw.row_count - 1];
        let body = json!({
            "number": number, "plugin": plugin, "digest": digest, "rows": rows, "outcome": letter.outcome, "why": text,
            "bundle": letter.bundle,
        });
        let mut writes = vec![self.letters.write(&letters)?, Write::Journal { kind: "dead-letter".to_owned(), body }];
        let mut ledger = Ledger::clone(self.ledger);
        let rules = &self.settings.failures;
        let sent = letters.sent_since(&plugin, &digest, rules.counts_from(now));
        let is_over = sent > rules.dead_letters_max;
        if is_over {
            let why = format!("{sent} batches went to the dead letters, at most {} may; the last: {text}", rules.dead_letters_max);
            ledger.quarantine(&plugin, used, now, why.clone());
            writes.push(self.ledger.write(&ledger)?);
            writes.push(quarantined_line(&plugin, &digest, "cleaner", &why));
            self.alerts.push(quarantine_alert(id, &plugin, "cleaner", &why, now));
        }
        // Completed first: a unit that was left behind would stand in front of all later ones, and a part whose letter is not
        // committed is cleaned again whatever the queue says.
        if let Some(leased) = leased {
            self.stores.queue.complete(leased, letter.bundle).await?;
        }
        self.stores.meta.commit(self.stores.fence, id, now, writes).await?;
        self.alerts.push(dead_letter_alert(id, &DeadLetter { number, ..letter }, now));
        self.letters.committed(letters);
        if is_over {
            self.ledger.committed(ledger);
        }
        tracing::warn!(pipeline = %id, %plugin, number, first_row = rows[0], last_row = rows[1], error = %text, "batch set aside");
        metrics::counter!("tidegate_dead_letters_total", "pipeline" => id.to_string(), "plugin" => plugin.to_string()).increment(1);
        Ok(Made::DeadLetter)
    }

    /// The ledger with a strike against the cleaner that failed, and what the journal says of it; `None` for a failure that is
    /// nobody's fault.
    fn charge(&mut self, raw: &RawPart, failed: &Failed) -> Option<(Ledger, Vec<Write>)> {
        let cleaner = &self.cleaners[failed.at.as_ref()?.cleaner];
        let rows = Some([raw.first_row, raw.first_row + raw.row_count - 1]);
        let charged = charge(self.settings, self.ledger, cleaner, "cleaner", &failed.error, rows, self.stores.clock.now())?;
        self.alerts.extend(charged.alert);
        Some((charged.ledger, charged.writes))
    }
}

/// A strike that is to be committed.
pub(crate) struct Charged {
    pub ledger: Ledger,
    pub writes: Vec<Write>,
    pub alert: Option<Alert>,
}

/// Charges a failed call to the plugin that failed; `None` when it was nobody's fault.
pub(crate) fn charge<P: ?Sized>(
    settings: &Settings,
    ledger: &Ledger,
    step: &PluginStep<P>,
    kind: &'static str,
    error: &PipelineError,
    rows: Option<[u64; 2]>,
    now: Timestamp,
) -> Option<Charged> {
    if !error.is_fault() {
        return None;
    }
    let (mut ledger, why, rules) = (ledger.clone(), error.own_words(), &settings.failures);
    let strike = Strike { at: now, step: kind.to_owned(), outcome: error.outcome().to_owned(), why: why.clone() };
    let count = ledger.charge(&step.name, step.used(), strike, rules);
    let body = json!({
        "plugin": step.name, "digest": step.digest, "step": kind, "outcome": error.outcome(), "why": why,
        "strikes": count, "strikes_max": rules.strikes_max, "rows": rows,
    });
    let mut writes = vec![Write::Journal { kind: "strike".to_owned(), body }];
    let mut alert = None;
    if let Some(quarantine) = ledger.quarantined(&step.name, &step.used()) {
        writes.push(quarantined_line(&step.name, &step.digest, kind, &quarantine.why));
        alert = Some(quarantine_alert(&settings.id, &step.name, kind, &quarantine.why, now));
        tracing::error!(pipeline = %settings.id, plugin = %step.name, why = %quarantine.why, "plugin quarantined");
    }
    let (pipeline, plugin) = (settings.id.to_string(), step.name.to_string());
    metrics::counter!("tidegate_plugin_strikes_total", "pipeline" => pipeline, "plugin" => plugin).increment(1);
    Some(Charged { ledger, writes, alert })
}

fn quarantined_line(plugin: &PluginName, digest: &Digest, kind: &str, why: &str) -> Write {
    let body = json!({ "plugin": plugin, "digest": digest, "step": kind, "why": why });
    Write::Journal { kind: "plugin-quarantined".to_owned(), body }
}

/// The bundle of a failed call.
fn bundle(
    settings: &Settings,
    cleaner: &PluginStep<dyn CleanPort>,
    raw: &RawPart,
    step: &FailedStep,
    error: &PipelineError,
    at: Timestamp,
) -> Result<Bundle, PipelineError> {
    let last_row = raw.first_row + raw.row_count - 1;
    let encoded = |rows: &Batch| encode_raw(rows).map_err(|source| PipelineError::Dataset { first_row: raw.first_row, last_row, source });
    let rows = Blob::new(encoded(&step.rows)?);
    let log = step.last_words.log.iter().map(|line| (line.level.word().to_owned(), line.message.clone())).collect();
    let state = step.seen.as_ref().map_or_else(Bytes::new, |seen| encode_state(&seen.read));
    let seen = step.seen.as_ref();
    let call = FailedCall {
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        pipeline: settings.id.clone(),
        plugin: cleaner.name.clone(),
        digest: cleaner.digest,
        rows_digest: rows.digest(),
        config: cleaner.config.clone(),
        circumstances: cleaner.circumstances.clone(),
        damage: cleaner.damage,
        state: seen.map(|seen| SeenCounts { digest: Digest::of(&state), entries: seen.entry_count, bytes: seen.byte_count }),
        first_row: raw.first_row,
        row_count: raw.row_count,
        at,
        outcome: error.outcome().to_owned(),
        error: error.own_words(),
        log,
        backtrace: step.last_words.backtrace.clone(),
    };
    Ok(Bundle { call, rows: rows.bytes().clone(), component: cleaner.component.clone(), state })
}
