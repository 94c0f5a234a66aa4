//! Rolling out a version that passed its gate: checked in a fresh process, shadowed, a canary beside a control arm, then champion;
//! or taken back at any of these.
//!
//! A gate says that a version may serve, on rows; a rollout shows that it does, on requests. Whoever serves requests brings the news
//! ([`Event::Checked`](crate::Event::Checked), [`Event::Answered`](crate::Event::Answered)); what follows from it is decided in
//! `policy` and committed here, tallies included, so that a restart goes on where it stopped.
//!
//! Invariants: there is one rollout at a time, and no run starts beside it; the alias moves at its end or not at all; the control arm
//! is the champion that the gate compared with, so that a champion who changes otherwise ends the rollout.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_policy::{ArmTally, Canary, CanaryEvidence, CanaryVerdict, RolloutSettings, ShadowTally};
use tidegate_store::Write;
use tidegate_vocab::{
    Alias, DecidedBy, Decision, DecisionKind, Digest, LoggedPrediction, ModelVersion, Run, Timestamp, TrafficArm, VersionNo, VersionState,
};

use crate::judge::promotion;
use crate::{Outcome, Pipeline, PipelineError, ScoredRow};

/// The name of the book in the store.
pub(crate) const KEY: &str = "rollout";
/// Versions that are remembered as taken back; of more, the oldest are forgotten.
const QUARANTINED_MAX: usize = 100;

/// What a pipeline remembers of rollouts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutBook {
    /// The one under way.
    pub open: Option<Rollout>,
    /// What was taken back, oldest first: the same data and settings are not trained again.
    #[serde(default)]
    pub quarantined: Vec<QuarantinedFingerprint>,
}

/// A rollout under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Who is rolled out.
    pub version: VersionNo,
    /// Where it stands: `Blessed` until it is checked, then `Shadow`, then `Canary`.
    pub state: VersionState,
    /// When it came there, or to the step of the canary that it is in.
    pub since: Timestamp,
    /// Why it stands there, as a sentence.
    pub reason: String,
    /// What the shadow has shown.
    pub shadow: ShadowTally,
    /// What the canary has shown, and its step.
    pub canary: Canary,
    /// When the canary began.
    canary_since: Timestamp,
    /// The gate's decision; its parent is the champion that answers everyone else.
    decision: Decision,
    /// Whether the version becomes the anchor too.
    moves_anchor: bool,
}

impl RolloutBook {
    fn put_away(&mut self, quarantined: Option<QuarantinedFingerprint>) {
        self.quarantined.extend(quarantined);
        let over = self.quarantined.len().saturating_sub(QUARANTINED_MAX);
        self.quarantined.drain(..over);
    }
}

impl Rollout {
    /// The champion that answers everyone else.
    pub fn champion(&self) -> Option<VersionNo> {
        self.decision.parent
    }

    /// The share of requests that each arm has now; 0 before the canary.
    pub fn share(&self, settings: &RolloutSettings) -> f64 {
        match self.state {
            VersionState::Canary => settings.canary.steps.get(self.canary.step).copied().unwrap_or(0.0),
            _ => 0.0,
        }
    }
}

/// A version that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedFingerprint {
    /// Which.
    pub version: VersionNo,
    /// Its fingerprint.
    pub fingerprint: Digest,
    /// The seed of its training, which is part of the fingerprint.
    pub seed: u64,
}

/// What came of requests since the last time.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The version that was rolled out meanwhile; news of any other is let go.
    pub version: VersionNo,
    /// Mirrored requests.
    pub shadow: ShadowTally,
    /// Requests that the new version answered.
    pub canary: ArmTally,
    /// As many that the champion answered.
    pub control: ArmTally,
}

impl Pipeline {
    /// The rollout under way.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollouts.open.as_ref()
    }

    /// The book with a rollout of what `decision` promotes; the writes that go with it. `None` where nobody asks for one, or no champion
    /// is there to compare with: the first version serves at once.
    pub(crate) fn rolled_out(
        &self,
        version: &ModelVersion,
        decision: &Decision,
        moves_anchor: bool,
    ) -> Result<Option<(RolloutBook, Vec<Write>)>, PipelineError> {
        if self.settings.rollout.is_none() || decision.kind != DecisionKind::Promote || decision.parent.is_none() {
            return Ok(None);
        }
        let reason = "passed its gate, and is checked in a process of its own".to_owned();
        let open = Rollout {
            version: version.number,
            state: VersionState::Blessed,
            since: self.now(),
            reason,
            shadow: ShadowTally::default(),
            canary: Canary::default(),
            canary_since: self.now(),
            decision: decision.clone(),
            moves_anchor,
        };
        let book = RolloutBook { open: Some(open), ..(*self.rollouts).clone() };
        let blessed = Write::VersionState { version: version.number, expected: version.state, to: VersionState::Blessed };
        let writes = vec![blessed, self.rollouts.write(&book)?];
        Ok(Some((book, writes)))
    }

    /// The new version was loaded and asked in a fresh process: what that found, or why it does not do.
    pub(crate) async fn checked(&mut self, version: VersionNo, found: Result<String, String>) -> Result<Outcome, PipelineError> {
        let Some((mut rollout, settings)) = self.open_rollout(version) else { return Ok(Outcome::Nothing) };
        if rollout.state != VersionState::Blessed {
            return Ok(Outcome::Nothing);
        }
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                self.infra_failed(rollout, why).await?;
                return Ok(Outcome::Moved);
            }
        };
        let mut writes = vec![self.state_write(&rollout, VersionState::InfraOk)];
        rollout.state = VersionState::InfraOk;
        let (to, follows) = match (settings.shadow_requests, settings.canary.steps.first()) {
            (0, None) => {
                self.serves(rollout, writes, format!("through: {found}")).await?;
                return Ok(Outcome::Moved);
            }
            (0, Some(_)) => (VersionState::Canary, "a canary"),
            _ => (VersionState::Shadow, "a shadow"),
        };
        writes.push(self.state_write(&rollout, to));
        (rollout.state, rollout.since, rollout.canary_since) = (to, self.now(), self.now());
        rollout.reason = format!("next step: {found}; {follows} follows");
        writes.push(self.line(&rollout, &settings, CanaryVerdict::NextStep, &[]));
        self.keep_rollout(rollout, writes).await?;
        Ok(Outcome::Moved)
    }

    /// Requests were answered: looks at the shadow or the canary, and takes it where that leads.
    pub(crate) async fn answered_requests(&mut self, news: Answered) -> Result<Outcome, PipelineError> {
        let Some((mut rollout, settings)) = self.open_rollout(news.version) else { return Ok(Outcome::Nothing) };
        let (verdict, reason, evidence) = match rollout.state {
            VersionState::Shadow => {
                rollout.shadow.merge(&news.shadow);
                let (verdict, reason) = rollout.shadow.look(&settings);
                (verdict, reason, Vec::new())
            }
            VersionState::Canary => {
                rollout.canary.canary.merge(&news.canary);
                rollout.canary.control.merge(&news.control);
                let look = rollout.canary.look(&settings.canary);
                (look.verdict, look.reason, look.evidence)
            }
            _ => return Ok(Outcome::Nothing),
        };
        match verdict {
            CanaryVerdict::Promote => _ = self.serves(rollout, Vec::new(), reason).await?,
            CanaryVerdict::RollBack => {
                let writes = vec![self.line(&Rollout { reason: reason.clone(), ..rollout.clone() }, &settings, verdict, &evidence)];
                self.taken_back(rollout, writes, DecidedBy::Guard, reason).await?;
            }
            CanaryVerdict::NextStep => {
                let mut writes = Vec::new();
                if rollout.state == VersionState::Shadow {
                    writes.push(self.state_write(&rollout, VersionState::Canary));
                    (rollout.state, rollout.canary_since) = (VersionState::Canary, self.now());
                }
                (rollout.reason, rollout.since) = (reason, self.now());
                writes.push(self.line(&rollout, &settings, verdict, &evidence));
                self.keep_rollout(rollout, writes).await?;
            }
            CanaryVerdict::Continue | CanaryVerdict::Hold => {
                rollout.reason = reason;
                self.keep_rollout(rollout, Vec::new()).await?;
                return Ok(Outcome::Nothing);
            }
        }
        Ok(Outcome::Moved)
    }

    /// The rollout of `version`, and how it is done. `None` for news that are overtaken, and where the settings know no rollout: it
    /// waits for a person then.
    fn open_rollout(&self, version: VersionNo) -> Option<(Rollout, RolloutSettings)> {
        let rollout = self.rollouts.open.clone().filter(|rollout| rollout.version == version)?;
        Some((rollout, self.settings.rollout.clone()?))
    }

    /// The arm in which an answer counts towards the canary under way.
    pub(crate) fn counted_arm(&self, answer: &LoggedPrediction) -> Option<TrafficArm> {
        let rollout = self.rollout().filter(|rollout| rollout.state == VersionState::Canary && answer.at >= rollout.canary_since)?;
        let of = match answer.arm? {
            TrafficArm::Canary => Some(rollout.version),
            TrafficArm::Control => rollout.champion(),
            TrafficArm::Rest => None,
        };
        answer.arm.filter(|_| of == Some(answer.version))
    }

    async fn infra_failed(&mut self, rollout: Rollout, why: String) -> Result<Decision, PipelineError> {
        let writes = vec![self.state_write(&rollout, VersionState::InfraFailed)];
        self.refused(rollout, writes, DecidedBy::Guard, format!("failed its check in a fresh process: {why}"), None).await
    }

    /// Takes the new version back: the champion answers everybody again, and the same data and settings are not trained again.
    async fn taken_back(
        &mut self,
        rollout: Rollout,
        mut writes: Vec<Write>,
        by: DecidedBy,
        reason: String,
    ) -> Result<Decision, PipelineError> {
        writes.push(self.state_write(&rollout, VersionState::RolledBack));
        let (version, expected) = (rollout.version, VersionState::RolledBack);
        writes.push(Write::VersionState { version, expected, to: VersionState::Quarantined });
        let quarantined = self.quarantined(version).await?;
        self.refused(rollout, writes, by, reason, quarantined).await
    }

    /// By what a version that was taken back is known, so that it is not trained again.
    async fn quarantined(&self, version: VersionNo) -> Result<Option<QuarantinedFingerprint>, PipelineError> {
        let Some(record) = self.stores.meta.version(&self.settings.id, version).await? else { return Ok(None) };
        let run = self.stores.meta.run(&self.settings.id, record.run).await?;
        Ok(run.map(|run| QuarantinedFingerprint { version, fingerprint: record.fingerprint, seed: run.seed }))
    }

    /// Commits the end of a rollout whose version does not serve.
    async fn refused(
        &mut self,
        rollout: Rollout,
        mut writes: Vec<Write>,
        by: DecidedBy,
        reason: String,
        quarantined: Option<QuarantinedFingerprint>,
    ) -> Result<Decision, PipelineError> {
        let mut book = RolloutBook { open: None, ..(*self.rollouts).clone() };
        book.put_away(quarantined);
        let champion = rollout.champion();
        let decision =
            Decision { kind: DecisionKind::Reject, parent: champion, by, at: self.now(), reason, rules: Vec::new(), ..rollout.decision };
        writes.push(Write::Decision(decision.clone()));
        self.end_rollout(book, writes, decision).await
    }

    /// Makes the new version champion.
    async fn serves(&mut self, rollout: Rollout, mut writes: Vec<Write>, reason: String) -> Result<Decision, PipelineError> {
        let missing = || PipelineError::Missing { what: format!("{}, which is rolled out", rollout.version) };
        let record = self.stores.meta.version(&self.settings.id, rollout.version).await?.ok_or_else(missing)?;
        let record = ModelVersion { state: rollout.state, ..record };
        let moves_anchor = rollout.moves_anchor;
        let decision = Decision { by: DecidedBy::Guard, at: self.now(), reason, rules: Vec::new(), ..rollout.decision };
        writes.push(Write::Decision(decision.clone()));
        writes.extend(promotion(&record, decision.parent));
        if moves_anchor {
            let anchor = self.stores.meta.alias(&self.settings.id, Alias::Anchor).await?;
            writes.push(Write::MoveAlias { alias: Alias::Anchor, expected: anchor, to: record.number });
        }
        let book = RolloutBook { open: None, ..(*self.rollouts).clone() };
        self.end_rollout(book, writes, decision).await
    }

    async fn end_rollout(&mut self, book: RolloutBook, mut writes: Vec<Write>, decision: Decision) -> Result<Decision, PipelineError> {
        let mut state = self.state.clone();
        if decision.kind == DecisionKind::Promote {
            state.serve_from(self.rows_total, decision.version);
        }
        state.triggers.run_finished(self.now(), Some(decision.kind));
        writes.push(self.rollouts.write(&book)?);
        self.commit(state, writes).await?;
        self.rollouts.committed(book);
        self.observer.decided(&decision, self.rows_total);
        self.alert_decision(&decision).await;
        Ok(decision)
    }

    async fn keep_rollout(&mut self, rollout: Rollout, mut writes: Vec<Write>) -> Result<(), PipelineError> {
        let book = RolloutBook { open: Some(rollout), ..(*self.rollouts).clone() };
        writes.push(self.rollouts.write(&book)?);
        self.commit(self.state.clone(), writes).await?;
        self.rollouts.committed(book);
        Ok(())
    }

    /// A person takes the new version back; what was decided.
    pub(crate) async fn take_back_by_hand(&mut self, operator: &str, reason: &str) -> Result<Option<Decision>, PipelineError> {
        let Some(rollout) = self.rollouts.open.clone() else { return Ok(None) };
        let by = DecidedBy::Operator(operator.to_owned());
        Ok(Some(self.taken_back(rollout, Vec::new(), by, reason.to_owned()).await?))
    }

    /// Commits `before`, the decision and its `moves` of the champion together. A rollout under way ends with them: a version other than
    /// the new champion was rolled out in vain. What is put `away` is not trained again on the same rows.
    pub(crate) async fn move_champion(
        &mut self,
        decision: Decision,
        before: Vec<Write>,
        moves: Vec<Write>,
        away: Option<VersionNo>,
    ) -> Result<Decision, PipelineError> {
        let mut state = self.state.clone();
        state.serve_from(self.rows_total, decision.version);
        let mut writes = before;
        writes.push(Write::Decision(decision.clone()));
        writes.extend(moves);
        let mut book = self.rollouts.draft();
        if let Some(rollout) = &self.rollouts.open {
            if rollout.version != decision.version {
                writes.push(self.state_write(rollout, VersionState::RolledBack));
            }
            Arc::make_mut(&mut book).open = None;
        }
        if let Some(away) = away {
            Arc::make_mut(&mut book).put_away(self.quarantined(away).await?);
        }
        let changed = self.rollouts.changed(book);
        writes.extend(changed.as_ref().map(|book| self.rollouts.write(book)).transpose()?);
        self.commit(state, writes).await?;
        changed.into_iter().for_each(|book| self.rollouts.committed(book));
        self.observer.decided(&decision, self.rows_total);
        self.alert_decision(&decision).await;
        Ok(decision)
    }

    /// Notes what became known of answers that count in the arms.
    pub(crate) fn quality_known(&self, book: &mut Arc<RolloutBook>, scored: &[ScoredRow]) {
        if scored.iter().all(|row| row.arm.is_none()) {
            return;
        }
        let Some(rollout) = &mut Arc::make_mut(book).open else { return };
        for row in scored {
            let (Some(truth), Some(predicted)) = (row.truth, row.predicted) else { continue };
            let tally = match row.arm {
                Some(TrafficArm::Canary) => &mut rollout.canary.canary,
                Some(TrafficArm::Control) => &mut rollout.canary.control,
                _ => continue,
            };
            tally.record_quality(f64::from(u8::from(truth == predicted)));
        }
    }

    /// Why a run must not train: it would come to a version that was taken back.
    pub(crate) fn known_bad(&self, run: &Run) -> Option<String> {
        let (snapshot, model) = (run.snapshot?, self.settings.model_digest());
        let same = |known: &&QuarantinedFingerprint| fingerprint(&snapshot, &model, known.seed) == known.fingerprint;
        let known = self.rollouts.quarantined.iter().find(same)?;
        Some(format!("not trained: {} learned the same rows by the same settings and was taken back; new rows are needed", known.version))
    }

    fn state_write(&self, rollout: &Rollout, to: VersionState) -> Write {
        Write::VersionState { version: rollout.version, expected: rollout.state, to }
    }

    fn line(&self, rollout: &Rollout, settings: &RolloutSettings, verdict: CanaryVerdict, evidence: &[CanaryEvidence]) -> Write {
        let body = json!({
            "version": rollout.version,
            "stage": rollout.state,
            "share": rollout.share(settings),
            "verdict": verdict,
            "reason": rollout.reason,
            "evidence": evidence,
        });
        Write::Journal { kind: "rollout".to_owned(), body }
    }
}

/// The digest of data and hyper-parameters, seed included.
pub(crate) fn fingerprint(snapshot: &Digest, model: &Digest, seed: u64) -> Digest {
    Digest::of_fields([&snapshot.as_bytes()[..], model.as_bytes(), &seed.to_le_bytes()])
}
