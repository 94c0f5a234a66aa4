//! Asking the gate without deciding: what it would say of a version today, and how much of what it said was the luck of a seed.
//!
//! Nothing here is committed: no look is spent, no alias moves, and a version that is trained to compare is forgotten. Whoever asks
//! often and acts on the answer he likes best looks more often than the gate allows itself; that is why the loop does not ask here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_model::{Flow, Model, train};
use tidegate_policy::{Against, GateRows, GateVerdict};
use tidegate_vocab::{Alias, Batch, Decision, Digest, Evidence, MetricTerms, ModelVersion, Run, Seed, VersionNo};

use crate::judge::{Measured, labelled};
use crate::rollout::fingerprint;
use crate::{Pipeline, PipelineError, StoredTerms};

/// What the gate would say of a version today.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Of whom.
    pub version: VersionNo,
    /// Whom it was compared with; `None` where no version serves.
    pub champion: Option<VersionNo>,
    /// The first row that was asked about: no version has learned from it or from any behind it.
    pub first_row: u64,
    /// What it would say, at a first look.
    pub verdict: GateVerdict,
}

/// A version that was trained like another, but for its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Sibling {
    /// Its seed.
    pub seed: u64,
    /// What the gate would have said of it in the other's place.
    pub in_place: GateVerdict,
    /// What the gate would say of it if the other served, whose equal it is.
    pub against: GateVerdict,
}

/// What there is to make a version, and the decision about it, again.
pub struct Recipe {
    /// The version.
    pub version: ModelVersion,
    /// The gate's decision.
    pub decision: Decision,
    /// Whether the settings of today train as those that it was trained with.
    pub is_unchanged: bool,
    run: Run,
    terms: StoredTerms,
    seed: Seed,
    rows: Batch,
    training: Batch,
    validation: Batch,
}

impl Pipeline {
    /// What the gate would say of `version` if it had to compare it with `against`, or with the champion, on all rows with a label
    /// that none of them has learned from.
    ///
    /// # Errors
    /// Where a version or a row is missing, or an evaluator fails.
    pub async fn try_gate(&mut self, version: VersionNo, against: Option<VersionNo>) -> Result<Tried, PipelineError> {
        let record = self.version_of(version).await?;
        let champion = match against {
            Some(against) => Some(against),
            None => self.stores.meta.alias(&self.settings.id, Alias::Champion).await?.filter(|champion| *champion != version),
        };
        let champion = champion.or(record.parent);
        let anchor = self.stores.meta.alias(&self.settings.id, Alias::Anchor).await?;
        let mut first_row = record.trained_until_row;
        for other in champion.into_iter().chain(anchor) {
            first_row = first_row.max(self.version_of(other).await?.trained_until_row);
        }
        let judged = self.judged(self.chain, &self.labelled_since(self.chain, first_row, self.now()).await?).await?;
        if judged.rows.row_count() == 0 {
            return Err(PipelineError::NotJudgeable { version, why: format!("no row from row {first_row} on has a label") });
        }
        let run = self.run_of(&record).await?;
        let Measured { terms, .. } = self.measure(&run, version, champion, anchor, &judged).await?;
        let verdict = self.judged_again(version, &terms, 1, Seed(run.seed).derive("tried"))?;
        Ok(Tried { version, champion, first_row, verdict })
    }

    /// What there is to make `decision`, and the version that it is about, again: its rows, read as they were.
    ///
    /// # Errors
    /// [`PipelineError::NotJudgeable`] where something of it is gone or has changed since.
    pub async fn recipe(&mut self, decision: Decision) -> Result<Recipe, PipelineError> {
        let number = decision.version;
        let gone = |why: &str| PipelineError::NotJudgeable { version: number, why: why.to_owned() };
        let evidence = decision.evidence.clone().ok_or_else(|| gone("no gate decided about it"))?;
        let evaluators: Vec<Digest> = self.plugins.evaluators.iter().map(|step| step.digest).collect();
        if evidence.evaluators != evaluators {
            return Err(gone("other evaluators measured it than are in use now"));
        }
        let version = self.version_of(number).await?;
        let run = self.run_of(&version).await?;
        let snapshot = self.snapshot_of(&run).await?;
        if snapshot.contract != self.settings.contract {
            return Err(gone("the contract has changed since it was trained"));
        }
        let terms = self.stores.blobs.get(&evidence.terms).await?;
        let terms = StoredTerms::decode(&terms).map_err(|_| gone("what it was judged on was stored by a build that kept less"))?;
        let rows = self.rows_judged(&version, &run, &decision, &terms).await?;
        let rows = rows.ok_or_else(|| gone("the rows that it was judged on are not there any more as they were"))?;
        let own = self.timed_answers(number, &rows).await?;
        let own = self.evaluate(&rows, &own).await?;
        if own != terms.challenger && !self.needs_latency() {
            // Evaluators with another configuration, or a machine that calculates otherwise: nothing could be compared with then.
            return Err(gone("what it is measured to be now is not what was stored of it"));
        }
        let is_unchanged = fingerprint(&snapshot.id(), &self.settings.model_digest(), run.seed) == version.fingerprint;
        let (training, validation) = (self.lessons(&snapshot, "train").await?, self.lessons(&snapshot, "validation").await?);
        let Evidence { seed, .. } = evidence;
        Ok(Recipe { version, decision, is_unchanged, run, terms, seed: Seed(seed), rows, training, validation })
    }

    /// Trains a version by the same recipe with the seed of this `number`, and judges it on the same rows: in the place of the other,
    /// and against it.
    ///
    /// # Errors
    /// Where it cannot be trained, or an evaluator fails.
    pub async fn sibling(&mut self, recipe: &Recipe, number: u32) -> Result<Sibling, PipelineError> {
        let (version, look) = (recipe.version.number, recipe.decision.look);
        let seed = Seed(recipe.run.seed).derive(&format!("sibling-{number}"));
        let model = tokio::task::block_in_place(|| {
            let Recipe { training, validation, .. } = recipe;
            let (spec, contract) = (&self.settings.model, &self.settings.contract);
            let trained = train(spec, contract, training, validation, seed, None, &mut |_| Flow::Continue);
            let artefact = trained.map_err(|source| PipelineError::Train { source })?.artefact;
            let model = Model::load(&artefact.weights, &artefact.manifest);
            model.map(Arc::new).map_err(|source| PipelineError::Load { version, source })
        })?;
        let answers = self.timed(version, &model, &recipe.rows).await?;
        let challenger = self.evaluate(&recipe.rows, &answers).await?;
        let terms = StoredTerms { challenger, ..recipe.terms.clone() };
        let in_place = self.judged_again(version, &terms, look, recipe.seed)?;
        let mut others: BTreeMap<Against, Vec<MetricTerms>> = recipe.terms.others.clone();
        for against in [Against::Champion, Against::Anchor] {
            others.insert(against, recipe.terms.challenger.clone());
        }
        let against = self.judged_again(version, &StoredTerms { others, ..terms }, look, recipe.seed)?;
        Ok(Sibling { seed: seed.0, in_place, against })
    }

    fn judged_again(&self, version: VersionNo, terms: &StoredTerms, look: u32, seed: Seed) -> Result<GateVerdict, PipelineError> {
        let gate = &self.settings.gate;
        tokio::task::block_in_place(|| terms.judge(gate, look, seed)).map_err(|source| PipelineError::Judge { version, source })
    }

    /// The rows of a decision, if they can still be told: those whose labels are the stored ones.
    async fn rows_judged(
        &self,
        version: &ModelVersion,
        run: &Run,
        decision: &Decision,
        terms: &StoredTerms,
    ) -> Result<Option<Batch>, PipelineError> {
        let count = terms.labels.len();
        let snapshot = self.snapshot_of(run).await?;
        // `run` judges on held-out rows where `up` waits for others, so that both are looked through.
        for rows in [GateRows::Arriving, GateRows::HeldOut] {
            let rows = match rows {
                GateRows::Arriving => self.labelled_since(snapshot.chain, version.trained_until_row, decision.at).await?,
                GateRows::HeldOut => self.split_of(&snapshot, "gate").await?,
            };
            let rows = labelled(&rows);
            // Of held-out rows the champion of that time had learned the first; of others, more may have come.
            let starts = [0, rows.row_count().saturating_sub(count)];
            let found = starts.into_iter().filter(|start| start + count <= rows.row_count()).map(|start| rows.slice(start, count));
            if let Some(rows) = found.into_iter().find(|rows| self.classes_of(rows) == terms.labels) {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    async fn version_of(&self, version: VersionNo) -> Result<ModelVersion, PipelineError> {
        let missing = || PipelineError::NotJudgeable { version, why: "there is no such version".to_owned() };
        self.stores.meta.version(&self.settings.id, version).await?.ok_or_else(missing)
    }

    async fn run_of(&self, version: &ModelVersion) -> Result<Run, PipelineError> {
        let missing = || PipelineError::Missing { what: format!("{}, which trained {}", version.run, version.number) };
        self.stores.meta.run(&self.settings.id, version.run).await?.ok_or_else(missing)
    }
}
