//! Cleaning parts as they arrive: one is made while the one before is put to disk and committed.
//!
//! Invariant: parts are committed in their order. When one cannot be made or kept, it and all after it are left to `pending`.

use tidegate_dataset::Typed;
use tidegate_store::Leased;
use tidegate_vocab::RawPart;
use tokio::sync::mpsc::Receiver;

use crate::PipelineError;
use crate::blame::{Cleaning, Made};
use crate::clean::Derived;
use crate::halves::Attempt;
use crate::ingest::Pending;

/// A part that is made, and not kept yet.
struct Ready {
    raw: RawPart,
    leased: Option<Leased>,
    derived: Derived,
}

/// Cleans parts as they come, and says which are `done`.
pub(crate) async fn clean_arriving(
    mut cleaning: Cleaning<'_>,
    waiting: &mut Receiver<(RawPart, Typed)>,
    pending: &mut Pending,
    mut done: impl FnMut(&RawPart, &Made),
) -> Result<(), PipelineError> {
    let mut left = Pending::new();
    let cleaned = clean_in_order(&mut cleaning, waiting, &mut left, &mut done).await;
    if cleaned.is_err() {
        waiting.close();
        pending.append(&mut left);
        while let Some((raw, typed)) = waiting.recv().await {
            pending.push_back((raw, Some(typed)));
        }
    }
    cleaned
}

/// The parts that were begun and are not kept when it fails are in `left`.
async fn clean_in_order(
    cleaning: &mut Cleaning<'_>,
    waiting: &mut Receiver<(RawPart, Typed)>,
    left: &mut Pending,
    done: &mut impl FnMut(&RawPart, &Made),
) -> Result<(), PipelineError> {
    let mut ready: Option<Ready> = None;
    loop {
        let before = ready.as_ref().map(|ready| ready.raw.clone());
        let (kept, next) = keep_and_make(cleaning, ready.take(), waiting).await;
        match (before, kept) {
            (Some(raw), Ok(Some(made))) => done(&raw, &made),
            (Some(raw), Err(error)) => {
                left.push_back((raw, None));
                if let Some((raw, attempt)) = next {
                    left.push_back((raw, None));
                    cleaning.release(attempt.ok().and_then(|attempt| attempt.leased)).await?;
                }
                return Err(error);
            }
            _ => {}
        }
        let Some((raw, attempt)) = next else { return Ok(()) };
        let ended = match attempt {
            Ok(Attempt { leased, derived: Ok(derived) }) => {
                ready = Some(Ready { raw, leased, derived });
                continue;
            }
            Ok(attempt) => cleaning.end(&raw, attempt).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(made) => done(&raw, &made),
            Err(error) => {
                left.push_back((raw, None));
                return Err(error);
            }
        }
    }
}

type Next = Option<(RawPart, Result<Attempt, PipelineError>)>;

/// Keeps the part that is ready, if there is one, and makes the next one that comes: at the same time where it can be.
async fn keep_and_make(
    cleaning: &mut Cleaning<'_>,
    ready: Option<Ready>,
    waiting: &mut Receiver<(RawPart, Typed)>,
) -> (Result<Option<Made>, PipelineError>, Next) {
    let stores = cleaning.stores;
    let Some((mut deriving, mut keeping)) = cleaning.apart() else { return keep_then_make(cleaning, ready, waiting).await };
    let keep = async {
        let Some(Ready { raw, leased, derived }) = ready else { return Ok(None) };
        let kept = keeping.keep(&raw, derived, leased.as_ref(), Vec::new()).await;
        if let (Err(_), Some(leased)) = (&kept, &leased) {
            stores.queue.release(leased).await?;
        }
        kept.map(|part| Some(Made::Part(part)))
    };
    let make = async {
        let (raw, typed) = waiting.recv().await?;
        let attempt = deriving.attempt(&raw, Some(typed)).await;
        Some((raw, attempt))
    };
    tokio::join!(keep, make)
}

/// The same, one after the other.
async fn keep_then_make(
    cleaning: &mut Cleaning<'_>,
    ready: Option<Ready>,
    waiting: &mut Receiver<(RawPart, Typed)>,
) -> (Result<Option<Made>, PipelineError>, Next) {
    let kept = match ready {
        Some(Ready { raw, leased, derived }) => cleaning.end(&raw, Attempt { leased, derived: Ok(derived) }).await.map(Some),
        None => Ok(None),
    };
    if kept.is_err() {
        return (kept, None);
    }
    let Some((raw, typed)) = waiting.recv().await else { return (kept, None) };
    let attempt = cleaning.attempt(&raw, Some(typed)).await;
    (kept, Some((raw, attempt)))
}
