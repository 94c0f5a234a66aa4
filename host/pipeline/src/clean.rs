//! Cleaning: what the cleaners make of a raw part; nothing of it is kept here.
//!
//! A cleaned part is derived from its raw part, the cleaners' chain and what they remember: making one twice gives the same part.

use std::sync::Arc;

use tidegate_dataset::{CleanerStep, DatasetError, KnownTime, Typed, clean_part, decode_raw, readmitted, typed};
use tidegate_sandbox::{Cleaned, LastWords};
use tidegate_store::Blob;
use tidegate_vocab::{Batch, CleanPart, Contract, DType, KeptRows, RawPart, Role, StateChanges, StateEntries, StateSeen};

use crate::damage::DamageDone;
use crate::quarantine::Behind;
use crate::{CleanPort, PipelineError, PluginStep, Settings, Stores};

/// What became of a raw part; nothing of it is kept yet.
pub(crate) struct Derived {
    /// The cleaned part.
    pub part: CleanPart,
    /// Its file.
    pub file: Blob,
    /// Its rows.
    pub rows: Batch,
    /// What cleaners that keep state are to remember besides, by place.
    pub changes: Vec<(u32, StateChanges)>,
}

/// A part that could not be cleaned.
pub(crate) struct Failed {
    pub error: PipelineError,
    /// The cleaner that failed; absent where something else did.
    pub at: Option<Box<FailedStep>>,
}

/// The call of a cleaner that failed.
pub(crate) struct FailedStep {
    /// Its place among the cleaners.
    pub cleaner: usize,
    /// What it was given.
    pub rows: Batch,
    /// What it left behind.
    pub last_words: LastWords,
    /// What it was lent of its state, as far as it looked at that; `None` for one that keeps none.
    pub seen: Option<StateSeen>,
}

impl<E: Into<PipelineError>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed { error: error.into(), at: None }
    }
}

/// Makes the cleaned part of one raw part; nothing is kept.
pub(crate) async fn derive(
    settings: &Arc<Settings>,
    stores: &Stores,
    behind: &Behind,
    cleaners: &mut Vec<PluginStep<dyn CleanPort>>,
    raw: &RawPart,
    in_memory: Option<Typed>,
) -> Result<Derived, Failed> {
    let typed_rows = match in_memory {
        Some(typed) => typed,
        None => stored_rows(settings, stores, raw).await?,
    };
    let mut ports = std::mem::take(cleaners);
    let (task_settings, task_raw, behind) = (Arc::clone(settings), raw.clone(), behind.clone());
    let (ports, cleaned) = tokio::task::spawn_blocking(move || {
        let cleaned = run_chain(&task_settings, &behind, &mut ports, &task_raw, &typed_rows);
        (ports, cleaned)
    })
    .await
    .map_err(|_| PipelineError::Thread { step: "cleaner" })?;
    *cleaners = ports;
    cleaned
}

/// The rows of a raw part, with the contract's types.
pub(crate) async fn stored_rows(settings: &Settings, stores: &Stores, raw: &RawPart) -> Result<Typed, PipelineError> {
    let in_rows = |source| PipelineError::Dataset { first_row: raw.first_row, last_row: raw.first_row + raw.row_count - 1, source };
    let stored = decode_raw(&stores.blobs.get(&raw.digest).await?).map_err(in_rows)?;
    let whole = with_later_columns(stored, &settings.contract).map_err(in_rows)?;
    typed(&whole, &settings.contract, raw.polled_at).map_err(in_rows)
}

fn run_chain(
    settings: &Settings,
    behind: &Behind,
    cleaners: &mut [PluginStep<dyn CleanPort>],
    raw: &RawPart,
    typed: &Typed,
) -> Result<Derived, Failed> {
    let in_rows = |source| PipelineError::Dataset { first_row: raw.first_row, last_row: raw.first_row + raw.row_count - 1, source };
    let mut rows = typed.rows.clone();
    let (mut steps, mut changes) = (Vec::<CleanerStep>::with_capacity(cleaners.len()), Vec::new());
    // The pipeline's number of each row that is still there.
    let mut numbers: Vec<u64> = typed.row_index.iter().map(|row| raw.first_row + u64::from(*row)).collect();
    for (place, cleaner) in cleaners.iter_mut().enumerate() {
        let kept = behind.remembered.of(place);
        let (cleaned, changed) = clean_once(settings, place, cleaner, raw, &rows, kept)?;
        changes.extend(kept.map(|_| (place as u32, changed)));
        let step = CleanerStep { cleaner: cleaner.name.to_string(), kept: cleaned.kept, dropped: cleaned.dropped };
        let lets_in = behind.readmitted.from(cleaner.name.as_str(), raw.first_row, raw.first_row + raw.row_count);
        let step = if lets_in.is_empty() {
            rows = cleaned.rows;
            step
        } else {
            let positions = (0..).zip(&numbers).filter(|(_, number)| lets_in.contains(number)).map(|(position, _)| position).collect();
            let (step, kept) = readmitted(&rows, step, cleaned.rows, &positions).map_err(in_rows)?;
            rows = kept;
            step
        };
        if let KeptRows::These(kept) = &step.kept {
            numbers = kept.iter().filter_map(|row| numbers.get(*row as usize).copied()).collect();
        }
        steps.push(step);
    }
    let known = if settings.contract.time.is_some() { KnownTime::AfterDelay } else { KnownTime::WhenPolled };
    let made = clean_part(raw, &behind.chain, known, &settings.contract, typed, &steps, &rows).map_err(in_rows)?;
    let (part, file, rows) = made;
    let part = CleanPart { state: behind.remembered.layers.clone(), ..part };
    Ok(Derived { part, file, rows, changes })
}

/// One call of a cleaner, measured.
fn clean_once(
    settings: &Settings,
    place: usize,
    cleaner: &mut PluginStep<dyn CleanPort>,
    raw: &RawPart,
    rows: &Batch,
    kept: Option<&Arc<StateEntries>>,
) -> Result<(Cleaned, StateChanges), Failed> {
    let plugin = cleaner.name.clone();
    let port = cleaner.port.as_mut().ok_or(PipelineError::Thread { step: "cleaner" })?;
    let called = match kept {
        Some(kept) => port.clean_keeping(rows, kept),
        None => port.clean(rows).map(|cleaned| (cleaned, StateChanges::default())),
    };
    let step = |last_words| {
        let seen = kept.map(|kept| kept.seen(port.state_keys()));
        Some(Box::new(FailedStep { cleaner: place, rows: rows.clone(), last_words, seen }))
    };
    let (cleaned, changes) = match called {
        Ok(called) => called,
        Err(source) => {
            return Err(Failed { at: step(port.last_words()), error: PipelineError::Plugin { plugin, step: "cleaner", source } });
        }
    };
    let done = DamageDone::of(rows, &cleaned);
    done.count(&settings.id, &plugin);
    match cleaner.damage.breach(&done) {
        None => Ok((cleaned, changes)),
        Some(breach) => {
            let (first_row, last_row) = (raw.first_row, raw.first_row + raw.row_count - 1);
            Err(Failed { at: step(LastWords::default()), error: PipelineError::Damage { plugin, first_row, last_row, breach } })
        }
    }
}

/// Rows that were committed before a feature was added to the contract do not have it: there it is missing, which the contract
/// allows or does not, row by row. Rows that arrive now have to bring every column.
fn with_later_columns(stored: Batch, contract: &Contract) -> Result<Batch, DatasetError> {
    let absent: Vec<&str> =
        contract.columns.iter().map(|column| column.name.as_str()).filter(|name| stored.column(name).is_none()).collect();
    if absent.is_empty() {
        return Ok(stored);
    }
    let nulls = arrow::array::new_null_array(&DType::Utf8.arrow(), stored.row_count());
    let own = stored.columns().map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array)));
    let later = absent.iter().map(|name| ((*name).to_owned(), Role::Feature, Arc::clone(&nulls)));
    Batch::new(own.chain(later).collect()).map_err(|source| DatasetError::Batch { source })
}
