//! Dead letters: batches that a cleaner fails on while it passes others.
//!
//! Such a batch is set aside and ingest goes on with the next one. Its rows are in no snapshot, as if they had been kept out, but
//! nothing is lost: they were committed raw before anybody cleaned them. They come back *in their place*, between their neighbours,
//! when the batch can be cleaned: behind another chain by themselves, behind the same one when somebody says so.
//!
//! Invariant: of a raw part behind one chain there is a cleaned part or a dead letter, never both, and the commit that makes the one
//! takes the other away.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_store::{MetaStore, Write};
use tidegate_vocab::{Digest, PipelineId, PluginName, RawPart, Timestamp};

use crate::blame::Cleaning;
use crate::kept::Kept;
use crate::run::chain_text;
use crate::{Event, Pipeline, PipelineError};

/// The name of the dead letters in the store.
pub(crate) const KEY: &str = "dead-letters";

/// A batch that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number, from 1 on; never given twice.
    pub number: u64,
    /// Number of its first row.
    pub first_row: u64,
    /// Its rows.
    pub row_count: u64,
    /// Its raw part.
    pub raw: Digest,
    /// The chain that could not clean it.
    pub chain: Digest,
    /// The cleaner that failed.
    pub plugin: PluginName,
    /// The digest of that cleaner's component.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
    /// How the call ended, in a word.
    pub outcome: String,
    /// The error.
    pub error: String,
    /// The replay bundle, but for the component.
    pub bundle: Digest,
    /// The component.
    pub component: Digest,
}

/// Rows that a person gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRows {
    /// Number of the first row.
    pub first_row: u64,
    /// Rows.
    pub row_count: u64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// What a pipeline has set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// The number of the last one.
    pub last: u64,
    /// Those that wait, by first row.
    pub waiting: Vec<DeadLetter>,
    /// Rows that were given up, by first row.
    pub dropped: Vec<DroppedRows>,
}

impl DeadLetters {
    /// Whether the raw part that begins with this row is not to be cleaned behind `chain`.
    pub fn holds(&self, first_row: u64, chain: &Digest) -> bool {
        self.waiting.iter().any(|letter| letter.first_row == first_row && letter.chain == *chain)
            || self.dropped.iter().any(|dropped| dropped.first_row == first_row)
    }

    /// The letter about the raw part that begins with this row, behind whatever chain.
    pub fn about(&self, first_row: u64) -> Option<&DeadLetter> {
        self.waiting.iter().find(|letter| letter.first_row == first_row)
    }

    /// Sets a batch aside, in the place of an earlier letter about it; its number.
    pub(crate) fn put(&mut self, mut letter: DeadLetter) -> u64 {
        self.last += 1;
        letter.number = self.last;
        self.take(letter.first_row);
        let place = self.waiting.partition_point(|other| other.first_row < letter.first_row);
        self.waiting.insert(place, letter);
        self.last
    }

    /// Takes out the letter about the raw part that begins with this row.
    pub(crate) fn take(&mut self, first_row: u64) -> Option<DeadLetter> {
        let place = self.waiting.iter().position(|letter| letter.first_row == first_row)?;
        Some(self.waiting.remove(place))
    }

    /// Forgets what retention has let go of.
    pub(crate) fn forget_below(&mut self, first_row: u64) {
        self.waiting.retain(|letter| letter.first_row >= first_row);
        self.dropped.retain(|dropped| dropped.first_row >= first_row);
    }

    /// Batches that this cleaner sent here since an instant.
    pub(crate) fn sent_since(&self, plugin: &PluginName, digest: &Digest, since: Timestamp) -> u32 {
        let own = |letter: &&DeadLetter| letter.plugin == *plugin && letter.digest == *digest && letter.at >= since;
        self.waiting.iter().filter(own).count() as u32
    }
}

/// What a pipeline has set aside.
///
/// # Errors
/// What the store could not read.
pub async fn dead_letters(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<DeadLetters, PipelineError> {
    Ok(Kept::<DeadLetters>::of(meta, pipeline, KEY).await?.into_value())
}

/// What became of a dead letter that was tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Its number.
    pub number: u64,
    /// Number of its first row.
    pub first_row: u64,
    /// Its rows.
    pub row_count: u64,
    /// Why it stays; `None` when its rows are in their place.
    pub error: Option<String>,
}

/// Cleans a dead letter again, or all of them. A failure is not charged to the plugin: a person asked for it.
///
/// # Errors
/// [`PipelineError::NoDeadLetter`], and what the store could not do.
pub async fn retry_dead_letters(pipeline: &mut Pipeline, number: Option<u64>) -> Result<Vec<Retried>, PipelineError> {
    let letters = chosen(pipeline, number)?;
    // Behind another chain they wait in line like all others.
    pipeline.handle(Event::Clean).await?;
    let mut retried = Vec::new();
    for letter in letters {
        let (number, first_row, row_count) = (letter.number, letter.first_row, letter.row_count);
        let error = if pipeline.letters.about(first_row).is_none_or(|still| still.number != number) {
            None
        } else {
            retry(pipeline, &letter).await?
        };
        let error = error.or_else(|| pipeline.letters.about(first_row).map(|again| again.error.clone()));
        retried.push(Retried { number, first_row, row_count, error });
    }
    Ok(retried)
}

async fn retry(pipeline: &mut Pipeline, letter: &DeadLetter) -> Result<Option<String>, PipelineError> {
    let raw = pipeline.stores.meta.raw_parts(&pipeline.settings.id, letter.first_row).await?;
    let Some(raw) = raw.into_iter().next().filter(|raw: &RawPart| raw.first_row == letter.first_row) else {
        let mut letters = DeadLetters::clone(&pipeline.letters);
        letters.take(letter.first_row);
        pipeline.keep_letters(letters, Vec::new()).await?;
        return Ok(Some("retention has let go of its rows".to_owned()));
    };
    match Cleaning::of(pipeline).clean_without_blame(&raw).await {
        Ok(_) => Ok(None),
        Err(PipelineError::Store(error)) => Err(error.into()),
        Err(error) => Ok(Some(chain_text(&error))),
    }
}

/// Gives the rows of a dead letter up: no chain cleans them any more, until retention lets go of them.
///
/// # Errors
/// [`PipelineError::NoDeadLetter`], and what the store could not do.
pub async fn drop_dead_letter(pipeline: &mut Pipeline, number: u64, by: &str, reason: &str) -> Result<DroppedRows, PipelineError> {
    let letter = chosen(pipeline, Some(number))?.remove(0);
    let mut letters = DeadLetters::clone(&pipeline.letters);
    letters.take(letter.first_row);
    let (first_row, row_count, at) = (letter.first_row, letter.row_count, pipeline.now());
    let dropped = DroppedRows { first_row, row_count, by: by.to_owned(), reason: reason.to_owned(), at };
    letters.dropped.push(dropped.clone());
    letters.dropped.sort_by_key(|dropped| dropped.first_row);
    let body = json!({ "number": number, "rows": [first_row, first_row + row_count - 1], "by": by, "reason": reason });
    pipeline.keep_letters(letters, vec![Write::Journal { kind: "dead-letter-dropped".to_owned(), body }]).await?;
    // Behind another chain it may stand in line.
    pipeline.pending.retain(|(raw, _)| raw.first_row != first_row);
    Ok(dropped)
}

fn chosen(pipeline: &Pipeline, number: Option<u64>) -> Result<Vec<DeadLetter>, PipelineError> {
    let wanted = pipeline.letters.waiting.iter().filter(|letter| number.is_none_or(|number| letter.number == number));
    let letters: Vec<DeadLetter> = wanted.cloned().collect();
    match number {
        Some(number) if letters.is_empty() => Err(PipelineError::NoDeadLetter { number }),
        _ => Ok(letters),
    }
}

impl Pipeline {
    async fn keep_letters(&mut self, letters: DeadLetters, mut writes: Vec<Write>) -> Result<(), PipelineError> {
        writes.push(self.letters.write(&letters)?);
        self.commit(self.state.clone(), writes).await?;
        self.letters.committed(letters);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(first_row: u64, chain: &str) -> DeadLetter {
        DeadLetter {
            number: 0,
            first_row,
            row_count: 10,
            raw: Digest::of("raw"),
            chain: Digest::of(chain),
            plugin: "clip".parse().unwrap(),
            digest: Digest::of("component"),
            at: Timestamp(first_row as i64),
            outcome: "trapped".into(),
            error: "it crashed".into(),
            bundle: Digest::of("bundle"),
            component: Digest::of("component"),
        }
    }

    #[test]
    fn letters_lie_in_the_order_of_rows_and_one_a_batch() {
        let mut letters = DeadLetters::default();
        let numbers: Vec<u64> = [30, 10, 20, 10].map(|row| letters.put(letter(row, "a"))).to_vec();
        assert_eq!(numbers, [1, 2, 3, 4], "numbers are never given twice");
        let waiting: Vec<(u64, u64)> = letters.waiting.iter().map(|letter| (letter.first_row, letter.number)).collect();
        assert_eq!(waiting, [(10, 4), (20, 3), (30, 1)]);
        let (plugin, digest) = ("clip".parse().unwrap(), Digest::of("component"));
        assert_eq!(letters.sent_since(&plugin, &digest, Timestamp(20)), 2);
        assert_eq!(letters.sent_since(&plugin, &Digest::of("mended"), Timestamp(0)), 0);
    }

    #[test]
    fn another_chain_tries_again_and_what_was_given_up_stays_out() {
        let mut letters = DeadLetters::default();
        letters.put(letter(10, "a"));
        let chains = [Digest::of("a"), Digest::of("b")];
        assert_eq!(chains.map(|chain| letters.holds(10, &chain)), [true, false]);
        let dropped = DroppedRows { first_row: 20, row_count: 10, by: "ada".into(), reason: "noise".into(), at: Timestamp(0) };
        letters.dropped.push(dropped);
        assert_eq!(chains.map(|chain| letters.holds(20, &chain)), [true, true]);
        letters.forget_below(20);
        assert_eq!((letters.waiting.len(), letters.dropped.len()), (0, 1));
        letters.forget_below(21);
        assert_eq!(letters, DeadLetters { last: 1, ..DeadLetters::default() });
    }
}
