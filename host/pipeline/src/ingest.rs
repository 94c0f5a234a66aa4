//! Ingest: poll → commit raw rows with the cursor, and have them cleaned meanwhile.
//!
//! Raw rows and the cursor are one commit, so that no row is lost or taken twice. Rows that break the contract as a whole (a column
//! that vanished, a type that changed) are not committed: the cursor stays where it is until somebody mends the one or the other.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_dataset::{Typed, encode_raw, typed};
use tidegate_sandbox::{CallError, Pull};
use tidegate_store::{Blob, Write};
use tidegate_vocab::{Batch, Contract, RawPart, Timestamp};

use crate::arriving::clean_arriving;
use crate::blame::{Cleaning, Made};
use crate::drive::{Ingested, SourceState};
use crate::pull::{Pulling, Standing};
use crate::{Outcome, Pipeline, PipelineError, PluginStep, Settings, SourcePort, Stores};

/// Raw parts that wait for cleaning at most while the source is read on.
const WAITING_PARTS_MAX: usize = 2;

/// When to ask a source again that gave neither rows nor another cursor.
const STILL_MS: u32 = 1_000;

/// Raw parts whose cleaned parts are still to be made, oldest first, with their typed rows where they are still in memory.
pub(crate) type Pending = VecDeque<(RawPart, Option<Typed>)>;

/// What one poll brought.
enum Fetched {
    /// These rows were committed.
    Part(RawPart, Typed),
    /// Only the cursor moved.
    Cursor,
    /// Nothing now; ask again after so many milliseconds.
    Idle(u32),
    /// Nothing ever again.
    Finished,
}

impl Pipeline {
    pub(crate) async fn poll(&mut self, rows_max: u32) -> Result<Outcome, PipelineError> {
        self.plugins.source.callable("source", &self.ledger)?;
        let fetched =
            fetch(&self.settings, &self.stores, &mut self.plugins.source, &mut self.source_open, rows_max, self.rows_total, None).await;
        match fetched {
            Ok(fetched) => Ok(self.note_fetched(fetched)),
            Err(error) => Err(self.blamed(error).await),
        }
    }

    /// Cleans all raw parts that wait.
    pub(crate) async fn clean(&mut self) -> Result<Outcome, PipelineError> {
        let mut rows = 0;
        while let Some((raw, typed)) = self.pending.pop_front() {
            let made = Cleaning::of(self).clean(&raw, typed).await;
            self.send_alerts().await;
            rows += raw.row_count;
            self.note_cleaned(raw, made)?;
        }
        Ok(if rows == 0 { Outcome::Nothing } else { Outcome::Rows(rows) })
    }

    /// Polls until the source has nothing now or `polls_max` polls brought rows, cleaning at the same time: while the source reads
    /// the next rows on one thread, the last ones are stored on another, the ones before are cleaned on a third, and what was
    /// cleaned goes to disk. A few parts wait in between, so that none stands still for the others.
    pub(crate) async fn stream(&mut self, rows_max: u32, polls_max: u64) -> Result<Ingested, PipelineError> {
        let (fetched, mut waiting) = tokio::sync::mpsc::channel::<(RawPart, Typed)>(WAITING_PARTS_MAX);
        let behind = self.behind();
        self.plugins.source.callable("source", &self.ledger)?;
        let Pipeline { settings, stores, plugins, parts, source_open, rows_total, rows_cleaned, ledger, letters, .. } = self;
        let (observer, pending, last_event_time) = (&mut self.observer, &mut self.pending, &mut self.last_event_time);
        let (source, cleaners, alerts) = (&mut plugins.source, &mut plugins.cleaners, &mut self.alerts_due);
        let memory = &mut self.memory;
        let cleaning = Cleaning { settings, stores, behind, cleaners, parts, ledger, letters, memory, alerts };
        let mut ahead = None;
        let fetching = async {
            let (mut ingested, mut unsent) = (Ingested::default(), None);
            while ingested.polls < polls_max {
                // The last poll reads nothing ahead that would be thrown away.
                let ahead = (ingested.polls + 1 < polls_max).then_some(&mut ahead);
                match fetch(settings, stores, source, source_open, rows_max, *rows_total, ahead).await? {
                    Fetched::Part(raw, typed) => {
                        ingested.rows += raw.row_count;
                        ingested.polls += 1;
                        *rows_total += raw.row_count;
                        observer.committed(raw.row_count, *rows_total);
                        // Nobody cleans any more: what was fetched is committed, and is cleaned next time.
                        if let Err(left) = fetched.send((raw, typed)).await {
                            unsent = Some(left.0);
                            break;
                        }
                    }
                    Fetched::Cursor => {}
                    Fetched::Idle(retry_ms) => {
                        ingested.source = SourceState::Idle(retry_ms);
                        break;
                    }
                    Fetched::Finished => {
                        ingested.source = SourceState::Finished;
                        break;
                    }
                }
            }
            drop(fetched);
            Ok::<_, PipelineError>((ingested, unsent))
        };
        let done = |raw: &RawPart, made: &Made| {
            *rows_cleaned = raw.first_row + raw.row_count;
            *last_event_time = made.last_event_time().or(*last_event_time);
        };
        let cleaning = clean_arriving(cleaning, &mut waiting, pending, done);
        let (fetched, cleaned) = tokio::join!(fetching, cleaning);
        if let Some(pulling) = ahead {
            self.source_open = false;
            pulling.abandon(&mut self.plugins.source).await;
        }
        if let Ok((_, Some((raw, typed)))) = &fetched {
            self.pending.push_back((raw.clone(), Some(typed.clone())));
        }
        self.send_alerts().await;
        cleaned?;
        match fetched {
            Ok((ingested, _)) => Ok(ingested),
            Err(error) => Err(self.blamed(error).await),
        }
    }

    fn note_fetched(&mut self, fetched: Fetched) -> Outcome {
        match fetched {
            Fetched::Part(raw, typed) => {
                let rows = raw.row_count;
                self.rows_total += rows;
                self.pending.push_back((raw, Some(typed)));
                self.observer.committed(rows, self.rows_total);
                Outcome::Rows(rows)
            }
            Fetched::Cursor => Outcome::Rows(0),
            Fetched::Idle(_) => Outcome::Idle,
            Fetched::Finished => Outcome::Finished,
        }
    }

    /// A part that could not be cleaned stays in front: cleaning fails closed.
    fn note_cleaned(&mut self, raw: RawPart, made: Result<Made, PipelineError>) -> Result<(), PipelineError> {
        match made {
            Ok(made) => {
                self.rows_cleaned = raw.first_row + raw.row_count;
                self.last_event_time = made.last_event_time().or(self.last_event_time);
                Ok(())
            }
            Err(error) => {
                self.pending.push_front((raw, None));
                Err(error)
            }
        }
    }
}

/// Pulls once and commits what came. With `ahead` the next pull starts before this one's rows are stored, and is what the next
/// fetch waits for.
async fn fetch(
    settings: &Arc<Settings>,
    stores: &Stores,
    source: &mut PluginStep<dyn SourcePort>,
    open: &mut bool,
    rows_max: u32,
    first_row: u64,
    mut ahead: Option<&mut Option<Pulling>>,
) -> Result<Fetched, PipelineError> {
    let cursor = stores.meta.cursor(&settings.id).await?;
    let pulling = match ahead.as_mut().and_then(|ahead| ahead.take()) {
        Some(pulling) => pulling,
        None => {
            let standing = if *open { Standing::Open } else { Standing::Closed(cursor.clone()) };
            Pulling::start(source, standing, settings, rows_max, stores.clock.now())?
        }
    };
    let (polled_at, pulled) = pulling.end(source).await?;
    // Whatever fails from here on is not committed: the source goes on from the committed cursor.
    *open = false;
    let failed = |source_error: CallError| PipelineError::Plugin { plugin: source.name.clone(), step: "source", source: source_error };
    let fetched = match pulled.map_err(failed)? {
        Pull::Idle { retry_ms } => Fetched::Idle(retry_ms),
        Pull::Finished => Fetched::Finished,
        Pull::Rows { rows, cursor: next } if rows.row_count() > 0 => {
            if let Some(ahead) = ahead {
                *ahead = Some(Pulling::start(source, Standing::Open, settings, rows_max, stores.clock.now())?);
            }
            let (raw, typed) = store_raw(settings, stores, rows, first_row, polled_at).await?;
            if settings.contract.label.by_id {
                // Before the rows themselves: an id that names a row which is never committed is named again with the next attempt.
                stores.feedback.name_rows(stores.fence, &settings.id, &named_rows(&typed, first_row, &settings.contract)).await?;
            }
            let writes = vec![Write::RawPart(raw.clone()), Write::Cursor { expected: cursor, cursor: next }];
            stores.meta.commit(stores.fence, &settings.id, polled_at, writes).await?;
            Fetched::Part(raw, typed)
        }
        Pull::Rows { cursor: next, .. } if cursor.as_ref() == Some(&next) => Fetched::Idle(STILL_MS),
        Pull::Rows { cursor: next, .. } => {
            let moved = vec![Write::Cursor { expected: cursor, cursor: next }];
            stores.meta.commit(stores.fence, &settings.id, polled_at, moved).await?;
            Fetched::Cursor
        }
    };
    *open = true;
    Ok(fetched)
}

/// The ids of rows as text, with their numbers. A row without an id can have no label.
fn named_rows(typed: &Typed, first_row: u64, contract: &Contract) -> Vec<(String, u64)> {
    let ids = crate::monitor::row_ids(&typed.rows, contract.id.as_deref());
    let numbers = typed.row_index.iter().map(|row| first_row + u64::from(*row));
    ids.into_iter().zip(numbers).filter(|(id, _)| !id.is_empty()).collect()
}

/// Checks that rows are of the contract's columns and types, and stores them; nothing is committed yet.
async fn store_raw(
    settings: &Arc<Settings>,
    stores: &Stores,
    rows: Batch,
    first_row: u64,
    polled_at: Timestamp,
) -> Result<(RawPart, Typed), PipelineError> {
    let (settings, same_rows, row_count) = (Arc::clone(settings), rows.clone(), rows.row_count() as u64);
    // Side by side, because neither needs the other and the next rows wait for both.
    let encoding = tokio::task::spawn_blocking(move || encode_raw(&same_rows).map(Blob::new));
    let typing = tokio::task::spawn_blocking(move || typed(&rows, &settings.contract, polled_at));
    let (file, typed) = tokio::try_join!(encoding, typing).map_err(|_| PipelineError::Thread { step: "source" })?;
    let in_rows = |source| PipelineError::Dataset { first_row, last_row: first_row + row_count - 1, source };
    let (typed, file) = (typed.map_err(in_rows)?, file.map_err(in_rows)?);
    let (digest, byte_count) = (file.digest(), file.bytes().len() as u64);
    stores.blobs.put_blob(file).await?;
    Ok((RawPart { digest, first_row, row_count, byte_count, polled_at }, typed))
}
