//! Running both builds.

use std::sync::Arc;

use tidegate_dataset::typed;
use tidegate_pipeline::{CleanPort, EvaluatePort, SourcePort};
use tidegate_sandbox::{CallError, Cleaned, Pull};
use tidegate_vocab::{Batch, Contract, MetricTerms, StateEntries, Timestamp};
use tokio::time::Instant;

use super::compare::{Comparison, ShadowedBatch, metrics};
use super::{Difference, Pair};
use crate::failure::Failure;

/// Rows that a source is asked for.
const SOURCE_ROWS: u32 = 1_000;
/// Bytes that a source is asked for.
const SOURCE_BYTES: u64 = 1 << 20;

/// An instance of each build, fresh.
pub struct Builds<P: ?Sized> {
    /// The old build.
    pub old: Box<P>,
    /// The new one.
    pub new: Box<P>,
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *seconds += start.elapsed().as_secs_f64();
    done
}

fn refused(error: &CallError) -> Failure {
    Failure::new(error, error.hint())
}

fn unequal(what: &str) -> Failure {
    let text = format!("given the same {what} twice, it gave two results");
    Failure::usage(
        text,
        "a plugin may depend on its input, its configuration and what it keeps in the host's state: not on time, chance or what else it was given before",
    )
}

/// Cleaners on `batches`, which are what they are given at `place`.
///
/// # Errors
/// A [`Failure`] when the new build fails on one, or gives another result for it the second time.
pub fn cleaners(place: String, mut builds: Builds<dyn CleanPort>, batches: &[Batch]) -> Result<Difference, Failure> {
    let (mut comparison, mut seconds, mut old_failed) = (Comparison::default(), Pair::default(), None);
    let (mut count, mut rows, mut results) = (0, 0, Vec::new());
    let mut kept = Pair { old: Kept::default(), new: Kept::default() };
    for batch in batches {
        let kept_before = kept.new.clone();
        let new = timed(&mut seconds.new, || kept.new.clean(&mut *builds.new, batch)).map_err(|error| refused(&error))?;
        // The first and the last are asked for again.
        results.truncate(1);
        results.push((batch, kept_before, new.clone()));
        (count, rows) = (count + 1, rows + batch.row_count() as u64);
        match timed(&mut seconds.old, || kept.old.clean(&mut *builds.old, batch)) {
            Ok(old) => comparison.add(&ShadowedBatch { rows: batch.row_count(), old: &old, new: &new }),
            // It may be what the new build mends.
            Err(error) => old_failed = Some(error.to_string()),
        }
    }
    // The instance has seen other batches since: the same batch still gives the same.
    for (batch, mut kept, result) in results.into_iter().rev() {
        if !are_equal(&result, &kept.clean(&mut *builds.new, batch).map_err(|error| refused(&error))?) {
            return Err(unequal("batch"));
        }
    }
    let difference = Difference { place, seconds, old_failed, ..comparison.difference() };
    Ok(if difference.old_failed.is_some() { Difference { batches: count, rows, ..difference } } else { difference })
}

/// What a cleaner that keeps state remembers in a shadow run: it begins with nothing, as a new build does, and nothing of it is kept.
#[derive(Clone, Default)]
struct Kept(Arc<StateEntries>);

impl Kept {
    fn clean(&mut self, port: &mut dyn CleanPort, batch: &Batch) -> Result<Cleaned, CallError> {
        if !port.keeps_state() {
            return port.clean(batch);
        }
        let (cleaned, changes) = port.clean_keeping(batch, &self.0)?;
        Arc::make_mut(&mut self.0).apply(changes);
        Ok(cleaned)
    }
}

fn are_equal(one: &Cleaned, other: &Cleaned) -> bool {
    // As bytes: a NaN equals itself.
    let same = |a: &Batch, b: &Batch| a.roles == b.roles && a.rows.schema() == b.rows.schema() && bits(a) == bits(b);
    one.kept == other.kept && one.dropped == other.dropped && same(&one.rows, &other.rows)
}

fn bits(batch: &Batch) -> Option<bytes::Bytes> {
    tidegate_dataset::encode_raw(batch).ok()
}

/// Evaluators on one scored batch.
///
/// # Errors
/// As [`cleaners`].
pub fn evaluators(place: String, mut builds: Builds<dyn EvaluatePort>, scored: &Batch) -> Result<Difference, Failure> {
    let mut seconds = Pair::default();
    let of = |port: &mut Box<dyn EvaluatePort>, seconds: &mut f64| -> Result<Vec<MetricTerms>, CallError> {
        port.metrics()?;
        timed(seconds, || port.evaluate(scored))
    };
    let new = of(&mut builds.new, &mut seconds.new).map_err(|error| refused(&error))?;
    let again = of(&mut builds.new, &mut 0.0).map_err(|error| refused(&error))?;
    if !metrics(&new, &again).is_empty() {
        return Err(unequal("scored rows"));
    }
    let old = of(&mut builds.old, &mut seconds.old);
    let rows = scored.row_count() as u64;
    let base = Difference { place, batches: 1, rows, rows_kept: Pair { old: rows, new: rows }, seconds, ..Difference::default() };
    Ok(match old {
        Ok(old) => Difference { metrics: metrics(&old, &new), ..base },
        Err(error) => Difference { old_failed: Some(error.to_string()), ..base },
    })
}

/// A new build of a source, opened where the old one stands: whether it understands its cursor, and whether what it gives fits the
/// contract. Nothing of it is kept.
///
/// # Errors
/// A [`Failure`] when it does not.
pub fn source(
    place: String,
    mut new: Box<dyn SourcePort>,
    cursor: Option<&[u8]>,
    contract: &Contract,
    now: Timestamp,
) -> Result<Difference, Failure> {
    let mut seconds = Pair::default();
    let pulled = timed(&mut seconds.new, || {
        new.open(cursor)?;
        new.next(SOURCE_ROWS, SOURCE_BYTES)
    });
    let rows = match pulled.map_err(|error| refused(&error))? {
        Pull::Rows { rows, .. } => rows,
        Pull::Idle { .. } | Pull::Finished => return Ok(Difference { place, seconds, ..Difference::default() }),
    };
    let count = rows.row_count() as u64;
    typed(&rows, contract, now).map_err(|error| {
        let hint = error.hint();
        Failure::new(&error, hint)
    })?;
    Ok(Difference { place, batches: 1, rows: count, rows_kept: Pair { old: count, new: count }, seconds, ..Difference::default() })
}
