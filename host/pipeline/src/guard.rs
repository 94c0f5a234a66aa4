//! Guarding a champion that nobody chose by hand: the version that it took the place of is asked about the same rows, and serves again
//! where the labels show that it is better.
//!
//! Nothing of this is asked while labels are out: a row is looked at when its label has come, and the version before is asked then. It
//! stops at `rows_max` rows, at a take-back, or when the version before cannot be asked any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_policy::{GuardTally, GuardVerdict};
use tidegate_store::Write;
use tidegate_vocab::{Alias, DecidedBy, Decision, DecisionKind, VersionNo, VersionState};

use crate::monitor::row_numbers;
use crate::run::chain_text;
use crate::{Pipeline, PipelineError, ScoredRow};

/// The name of the book in the store.
pub(crate) const KEY: &str = "guard";
/// Rows without a label in between that are read along rather than in two pieces.
const GAP_ROWS_MAX: u64 = 64;

/// What a pipeline remembers of the guard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardBook {
    /// The champion.
    pub version: Option<VersionNo>,
    /// The version that it is compared with; `None` where it is not, or not any more.
    pub before: Option<VersionNo>,
    /// What has come out.
    pub tally: GuardTally,
    /// Where it stands, as a sentence.
    pub reason: String,
}

impl Pipeline {
    /// What is known of the champion against the version before.
    pub fn guard(&self) -> &GuardBook {
        &self.guard
    }

    /// Begins to guard a champion that has just taken over; the version before is the one that its decision names.
    pub(crate) async fn begin_guard(&self, book: &mut Arc<GuardBook>) -> Result<(), PipelineError> {
        let champion = self.state.serving_from.last().map(|(_, version)| *version);
        if self.settings.guard.is_none() || champion.is_none() || book.version == champion {
            return Ok(());
        }
        let decisions = self.stores.meta.decisions(&self.settings.id, champion).await?;
        // Whom a person made champion stays until a person says otherwise; one that was brought back has been weighed already.
        let by_itself = decisions
            .last()
            .map(|(_, decision)| decision)
            .filter(|decision| decision.kind == DecisionKind::Promote && matches!(decision.by, DecidedBy::Gate | DecidedBy::Guard));
        let before = by_itself.and_then(|decision| decision.parent);
        let reason = match before {
            Some(before) => format!("compared with {before}, as labels come"),
            None => "not compared: a person decided, or no version served before".to_owned(),
        };
        *book = Arc::new(GuardBook { version: champion, before, tally: GuardTally::default(), reason });
        Ok(())
    }

    /// Asks the version before about rows that the champion has answered and whose labels have become known.
    pub(crate) async fn guard_rows(&mut self, book: &mut Arc<GuardBook>, scored: &[ScoredRow]) -> Result<(), PipelineError> {
        let (Some(settings), Some(before)) = (self.settings.guard, book.before) else { return Ok(()) };
        let known = |row: &ScoredRow| {
            let right = row.truth? == row.predicted?;
            (row.version == book.version).then_some((row.row?, (row.truth?, right)))
        };
        let known: BTreeMap<u64, (u32, bool)> = scored.iter().filter_map(known).collect();
        let mut tally = book.tally;
        for (from, to) in pieces(known.keys().copied()) {
            let rows = self.own_rows(from, to).await?;
            let answers = match self.answers(before, &rows).await {
                Ok(answers) => answers,
                Err(error @ (PipelineError::Predict { .. } | PipelineError::Load { .. })) => {
                    let reason = format!("no longer compared: {before} cannot be asked: {}", chain_text(&error));
                    tracing::warn!(pipeline = %self.settings.id, "{reason}");
                    *book = Arc::new(GuardBook { before: None, reason, ..(**book).clone() });
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for (number, answer) in row_numbers(&rows).iter().zip(&answers.predicted) {
                if let Some((truth, right)) = known.get(number) {
                    tally.record(*right, truth == answer, &settings);
                }
            }
        }
        if tally != book.tally {
            let reason = tally.look(&settings).1;
            *book = Arc::new(GuardBook { tally, reason, ..(**book).clone() });
        }
        Ok(())
    }

    /// Ends a comparison whose rows are over; the journal's line about it.
    pub(crate) fn settle_guard(&self, book: &mut Arc<GuardBook>) -> Option<Write> {
        let before = book.before?;
        let (verdict, reason) = book.tally.look(self.settings.guard.as_ref()?);
        if verdict != GuardVerdict::Settled {
            return None;
        }
        let body = json!({ "version": book.version, "before": before, "reason": reason });
        *book = Arc::new(GuardBook { before: None, reason, ..(**book).clone() });
        Some(Write::Journal { kind: "guard".to_owned(), body })
    }

    /// Takes a champion back of which it was shown that the version before is better. What was decided.
    pub(crate) async fn take_back_champion(&mut self) -> Result<Option<Decision>, PipelineError> {
        let (Some(settings), Some(champion), Some(before)) = (self.settings.guard, self.guard.version, self.guard.before) else {
            return Ok(None);
        };
        let (verdict, reason) = self.guard.tally.look(&settings);
        if verdict != GuardVerdict::TakeBack || self.stores.meta.alias(&self.settings.id, Alias::Champion).await? != Some(champion) {
            return Ok(None);
        }
        let target = self.stores.meta.version(&self.settings.id, before).await?;
        let Some(target) = target.filter(|target| target.state == VersionState::Retired) else {
            return self.guard_gives_up(format!("{reason}; but {before} did not leave healthy")).await;
        };
        for digest in [&target.weights, &target.manifest] {
            if !self.stores.blobs.has(digest).await? {
                return self.guard_gives_up(format!("{reason}; but the weights of {before} are gone")).await;
            }
        }
        let by = DecidedBy::Guard;
        let decision = Decision {
            kind: DecisionKind::RollBack,
            version: before,
            parent: Some(champion),
            by,
            at: self.now(),
            run: None,
            look: 0,
            evidence: None,
            rules: Vec::new(),
            reason: reason.replacen("taken back:", &format!("{champion} is taken back:"), 1),
        };
        let (serving, back, away) = (VersionState::Serving, VersionState::RolledBack, VersionState::Quarantined);
        let moves = vec![
            Write::VersionState { version: champion, expected: serving, to: back },
            Write::VersionState { version: champion, expected: back, to: away },
            Write::VersionState { version: before, expected: target.state, to: serving },
            Write::MoveAlias { alias: Alias::Champion, expected: Some(champion), to: before },
        ];
        self.move_champion(decision, Vec::new(), moves, Some(champion)).await.map(Some)
    }

    /// Commits that a champion stays for want of a version to go back to.
    async fn guard_gives_up(&mut self, reason: String) -> Result<Option<Decision>, PipelineError> {
        tracing::warn!(pipeline = %self.settings.id, "{reason}");
        let body = json!({ "version": self.guard.version, "before": self.guard.before, "reason": reason });
        let book = GuardBook { before: None, reason, ..(*self.guard).clone() };
        let writes = vec![self.guard.write(&book)?, Write::Journal { kind: "guard".to_owned(), body }];
        self.commit(self.state.clone(), writes).await?;
        self.guard.committed(book);
        Ok(None)
    }
}

/// Numbers, rising, as ranges with small gaps.
fn pieces(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match pieces.last_mut() {
            Some((_, to)) if number <= *to + GAP_ROWS_MAX => *to = number + 1,
            _ => pieces.push((number, number + 1)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_in_pieces() {
        let check = |numbers: &[u64], expected: &[(u64, u64)]| assert_eq!(pieces(numbers.iter().copied()), expected);
        check(&[], &[]);
        check(&[7], &[(7, 8)]);
        check(&[7, 8, 10, 75, 200], &[(7, 76), (200, 201)]);
    }
}
