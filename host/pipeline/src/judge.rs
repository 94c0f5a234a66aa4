//! Measuring versions on the same rows by the same evaluators, and judging the challenger by the gate.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use tidegate_dataset::read_rows;
use tidegate_model::{Model, Predictions};
use tidegate_policy::{Against, Dependence, Gate, SliceRows, SliceRule, majority, no_change, was_superior};
use tidegate_store::Write;
use tidegate_vocab::{
    Alias, Batch, DecidedBy, Decision, DecisionKind, Digest, Evidence, MetricTerms, ModelVersion, Role, RowColumns, Run, RunState, Seed,
    VersionNo, VersionState,
};

use crate::estimates::{Estimates, Fitted};
use crate::monitor::{instants, row_numbers};
use crate::{Outcome, Pipeline, PipelineError, StoredTerms};

/// Rows of a judged batch whose answers are timed, one by one: enough for a 99th percentile.
const TIMED_ROWS_MAX: usize = 2_000;

/// Who can be scored: a version, or a naive baseline.
pub(crate) struct Answers {
    /// The predicted class of each row.
    pub predicted: Vec<u32>,
    /// The probability of each class, row-major.
    pub probabilities: Vec<f64>,
    /// Nanoseconds that the first rows took, asked for one by one; empty where nobody timed them.
    pub latencies_ns: Vec<u64>,
}

impl Answers {
    /// A baseline's answers: all probability on its class.
    fn certain(predicted: Vec<u32>, classes: usize) -> Answers {
        let mut probabilities = vec![0.0; predicted.len() * classes];
        for (row, class) in predicted.iter().enumerate() {
            probabilities[row * classes + *class as usize] = 1.0;
        }
        Answers { predicted, probabilities, latencies_ns: Vec::new() }
    }
}

impl From<Predictions> for Answers {
    fn from(predictions: Predictions) -> Answers {
        Answers { predicted: predictions.predicted, probabilities: predictions.probabilities, latencies_ns: Vec::new() }
    }
}

/// The rows of one look.
pub(crate) struct Judged {
    /// Those whose label has come.
    pub rows: Batch,
    /// Their share of all rows from the first to the last of them: what is missing has no label, or none that is known yet.
    pub maturity: f64,
}

/// What was measured on the same rows.
pub(crate) struct Measured {
    /// What the gate judges.
    pub terms: StoredTerms,
    /// What the challenger answered.
    pub answers: Answers,
}

impl Pipeline {
    /// Those of `rows`, which passed `chain`, that have a label.
    pub(crate) async fn judged(&self, chain: Digest, rows: &Batch) -> Result<Judged, PipelineError> {
        let rows = labelled(rows);
        let (numbers, events) = (row_numbers(&rows), instants(&rows, RowColumns::EVENT_TIME));
        let (Some(first), Some(last)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(Judged { rows, maturity: 1.0 }) };
        let parts = self.stores.meta.clean_parts(&self.settings.id, &chain, *first).await?;
        let read = read_rows(&self.reader(), &self.settings.contract, &parts, *first, last + 1, None).await;
        let all = read.map_err(|source| PipelineError::Dataset { first_row: *first, last_row: *last, source })?;
        // Rows that came late, of a time before or after, are of another split.
        let (from, to) = (events.iter().flatten().min(), events.iter().flatten().max());
        let within = |at: &&Option<i64>| at.is_none() || (from <= at.as_ref() && at.as_ref() <= to);
        let span = instants(&all, RowColumns::EVENT_TIME).iter().filter(within).count();
        let maturity = if span == 0 { 1.0 } else { (numbers.len() as f64 / span as f64).min(1.0) };
        Ok(Judged { rows, maturity })
    }

    /// Judges the challenger of `run` on `rows`, and commits the decision with everything that follows from it.
    pub(crate) async fn judge(&mut self, run: Run, version: ModelVersion, judged: Judged, look: u32) -> Result<Outcome, PipelineError> {
        let champion = self.stores.meta.alias(&self.settings.id, Alias::Champion).await?;
        let anchor = self.stores.meta.alias(&self.settings.id, Alias::Anchor).await?;
        let Measured { terms, answers } = self.measure(&run, version.number, champion, anchor, &judged).await?;
        let seed = Seed(run.seed).derive(&format!("look-{look}"));
        let fitted = Fitted::of(version.number, &answers, &terms.labels, terms.class_count).filter(|_| self.settings.estimate_rows > 0);
        let settings = Arc::clone(&self.settings);
        let verdict = tokio::task::block_in_place(|| terms.judge(&settings.gate, look, seed))
            .map_err(|source| PipelineError::Judge { version: version.number, source })?;
        let decision = Decision {
            kind: verdict.kind,
            version: version.number,
            parent: champion,
            by: DecidedBy::Gate,
            at: self.now(),
            run: Some(run.id),
            look,
            evidence: Some(Evidence {
                snapshot: version.snapshot,
                weights: version.weights,
                gate: self.settings.gate_digest(),
                evaluators: self.plugins.evaluators.iter().map(|step| step.digest).collect(),
                terms: self.stores.blobs.put(terms.encode().into()).await?,
                seed: seed.0,
            }),
            reason: verdict.reason.clone(),
            rules: verdict.rules.clone(),
        };
        if verdict.awaits_approval {
            return self.await_approval(run, version, decision, fitted).await;
        }
        self.decide(run, version, decision, was_superior(&verdict), fitted).await
    }

    /// Commits a decision to which an operator has to agree: the run has done its part, and the version waits.
    async fn await_approval(
        &mut self,
        run: Run,
        version: ModelVersion,
        decision: Decision,
        fitted: Option<Fitted>,
    ) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        state.triggers.run_finished(self.now(), Some(decision.kind));
        let next = Run { state: RunState::Done, looks: decision.look, decision: Some(decision.kind), ..run.clone() };
        let waits = Write::VersionState { version: version.number, expected: version.state, to: VersionState::AwaitingApproval };
        let mut writes = vec![Write::Decision(decision.clone()), waits, Write::Run { expected: run.state, run: next.clone() }];
        let estimates = self.learned(fitted, decision.parent, &mut writes)?;
        self.commit(state, writes).await?;
        estimates.into_iter().for_each(|estimates| self.estimates.committed(estimates));
        self.observer.run(&next, self.rows_total);
        self.observer.decided(&decision, self.rows_total);
        self.alert_approval(&decision).await;
        Ok(Outcome::Moved)
    }

    /// Commits a gate's decision: the run's end or its next wait, the version's states, the moves of the aliases.
    pub(crate) async fn decide(
        &mut self,
        run: Run,
        version: ModelVersion,
        decision: Decision,
        moves_anchor: bool,
        fitted: Option<Fitted>,
    ) -> Result<Outcome, PipelineError> {
        let mut state = self.state.clone();
        let next = Run {
            state: if decision.kind == DecisionKind::Hold { RunState::Gating } else { RunState::Done },
            looks: decision.look,
            decision: Some(decision.kind),
            ..run.clone()
        };
        let mut writes = vec![Write::Decision(decision.clone())];
        let rolled_out = self.rolled_out(&version, &decision, moves_anchor)?;
        let to = |to| Write::VersionState { version: version.number, expected: version.state, to };
        let book = rolled_out.map(|(book, blessed)| {
            writes.extend(blessed);
            book
        });
        let fitted = fitted.filter(|_| decision.kind == DecisionKind::Promote);
        let estimates = self.learned(fitted, decision.parent, &mut writes)?;
        match decision.kind {
            // It serves at the end of its rollout, and not before.
            DecisionKind::Promote if book.is_some() => {}
            DecisionKind::Promote | DecisionKind::RollBack => {
                writes.extend(promotion(&version, decision.parent));
                if moves_anchor {
                    let anchor = self.stores.meta.alias(&self.settings.id, Alias::Anchor).await?;
                    writes.push(Write::MoveAlias { alias: Alias::Anchor, expected: anchor, to: version.number });
                }
                state.serve_from(self.rows_total, version.number);
            }
            DecisionKind::Reject => writes.push(to(VersionState::Rejected)),
            DecisionKind::Hold if version.state == VersionState::Challenger => writes.push(to(VersionState::Held)),
            DecisionKind::Hold => {}
        }
        if next.state.is_final() {
            // Of a version that is rolled out, nothing is decided yet.
            state.triggers.run_finished(self.now(), Some(decision.kind).filter(|_| book.is_none()));
        }
        writes.push(Write::Run { expected: run.state, run: next.clone() });
        self.commit(state, writes).await?;
        self.observer.run(&next, self.rows_total);
        estimates.into_iter().for_each(|estimates| self.estimates.committed(estimates));
        match book {
            Some(book) => self.rollouts.committed(book),
            None => {
                self.observer.decided(&decision, self.rows_total);
                self.alert_decision(&decision).await;
            }
        }
        Ok(Outcome::Moved)
    }

    /// The estimates with what calibrates a version that may serve; the write that goes with them is added.
    fn learned(
        &self,
        fitted: Option<Fitted>,
        champion: Option<VersionNo>,
        writes: &mut Vec<Write>,
    ) -> Result<Option<Arc<Estimates>>, PipelineError> {
        let Some(fitted) = fitted else { return Ok(None) };
        let mut estimates = self.estimates.draft();
        Arc::make_mut(&mut estimates).learn(fitted, champion);
        writes.push(self.estimates.write(&estimates)?);
        Ok(Some(estimates))
    }

    /// The terms of the challenger and of everyone that a rule compares it with, on the same rows.
    pub(crate) async fn measure(
        &mut self,
        run: &Run,
        challenger: VersionNo,
        champion: Option<VersionNo>,
        anchor: Option<VersionNo>,
        judged: &Judged,
    ) -> Result<Measured, PipelineError> {
        let rows = &judged.rows;
        let (labels, class_count) = (self.classes_of(rows), self.settings.contract.label.classes.len());
        let mut others = BTreeMap::new();
        for (against, version) in [(Against::Champion, champion), (Against::Anchor, anchor)] {
            if let Some(version) = version {
                let answers = self.timed_answers(version, rows).await?;
                others.insert(against, self.evaluate(rows, &answers).await?);
            }
        }
        let trained_on = self.training_classes(run).await?;
        let baselines = [
            (Against::NoChange, no_change(&labels, trained_on.last().copied())),
            (Against::Majority, vec![majority(&trained_on).unwrap_or(0); labels.len()]),
        ];
        for (against, predicted) in baselines {
            others.insert(against, self.evaluate(rows, &Answers::certain(predicted, class_count)).await?);
        }
        if self.settings.gate.rules.iter().any(|rule| rule.against == Against::Linear) {
            let answers = self.linear_answers(run, rows).await?;
            others.insert(Against::Linear, self.evaluate(rows, &answers).await?);
        }
        let answers = self.timed_answers(challenger, rows).await?;
        let challenger = self.evaluate(rows, &answers).await?;
        let gate = &self.settings.gate;
        let (clusters, slices) = (clusters(&gate.dependence, rows), slices(gate, rows));
        let terms = StoredTerms { labels, class_count, clusters, slices, maturity: Some(judged.maturity), challenger, others };
        Ok(Measured { terms, answers })
    }

    /// What `version` answers for `rows`.
    pub(crate) async fn answers(&mut self, version: VersionNo, rows: &Batch) -> Result<Answers, PipelineError> {
        let model = self.models.get(&self.stores, &self.settings.id, version).await?;
        self.asked(version, &model, rows).await
    }

    /// What a loaded model answers for `rows`; errors name it `version`.
    pub(crate) async fn asked(&self, version: VersionNo, model: &Arc<Model>, rows: &Batch) -> Result<Answers, PipelineError> {
        let (first_row, last_row) = crate::monitor::row_range(rows);
        let rows = self.lagged(version, model, rows).await?;
        let predicted = tokio::task::block_in_place(|| model.predict(&rows));
        Ok(predicted.map_err(|source| PipelineError::Predict { version, first_row, last_row, source })?.into())
    }

    /// The same, timed where an evaluator measures that: it costs a second scoring, and makes decisions depend on the machine.
    pub(crate) async fn timed_answers(&mut self, version: VersionNo, rows: &Batch) -> Result<Answers, PipelineError> {
        let model = self.models.get(&self.stores, &self.settings.id, version).await?;
        self.timed(version, &model, rows).await
    }

    pub(crate) async fn timed(&self, version: VersionNo, model: &Arc<Model>, rows: &Batch) -> Result<Answers, PipelineError> {
        let mut answers = self.asked(version, model, rows).await?;
        if self.needs_latency() {
            let (first_row, last_row) = crate::monitor::row_range(rows);
            let rows = self.lagged(version, model, rows).await?;
            let timed = tokio::task::block_in_place(|| model.latencies_ns(&rows, TIMED_ROWS_MAX));
            answers.latencies_ns = timed.map_err(|source| PipelineError::Predict { version, first_row, last_row, source })?;
        }
        Ok(answers)
    }

    pub(crate) fn needs_latency(&self) -> bool {
        self.plugins.evaluators.iter().any(|step| step.port.as_ref().is_some_and(|port| port.needs_latency()))
    }

    /// The terms of one set of answers, by every evaluator.
    pub(crate) async fn evaluate(&mut self, rows: &Batch, answers: &Answers) -> Result<Vec<MetricTerms>, PipelineError> {
        let scored = scored_batch(rows, &self.settings.contract.label.classes, answers, self.needs_latency());
        let mut all: Vec<MetricTerms> = Vec::new();
        for step in &mut self.plugins.evaluators {
            step.callable("evaluator", &self.ledger)?;
            let port = step.port.as_mut().ok_or(PipelineError::Thread { step: "evaluator" })?;
            let terms = tokio::task::block_in_place(|| port.evaluate(&scored)).map_err(|source| PipelineError::Plugin {
                plugin: step.name.clone(),
                step: "evaluator",
                source,
            })?;
            for term in terms {
                if all.iter().any(|other| other.metric.name == term.metric.name) {
                    return Err(PipelineError::MetricTwice { metric: term.metric.name, plugin: step.name.clone() });
                }
                all.push(term);
            }
        }
        Ok(all)
    }

    /// The class number of each row's label; rows come with a label here.
    pub(crate) fn classes_of(&self, rows: &Batch) -> Vec<u32> {
        label_classes(rows, &self.settings.contract.label.classes).into_iter().map(|class| class.unwrap_or(0)).collect()
    }
}

/// The writes that make `version` champion in place of `parent`.
pub(crate) fn promotion(version: &ModelVersion, parent: Option<VersionNo>) -> Vec<Write> {
    let number = version.number;
    let mut writes = Vec::new();
    let mut at = version.state;
    let mut go = |to: VersionState, at: &mut VersionState| {
        writes.push(Write::VersionState { version: number, expected: *at, to });
        *at = to;
    };
    if matches!(at, VersionState::Challenger | VersionState::Held | VersionState::AwaitingApproval | VersionState::Rejected) {
        go(VersionState::Blessed, &mut at);
    }
    go(VersionState::Serving, &mut at);
    if let Some(parent) = parent {
        writes.push(Write::VersionState { version: parent, expected: VersionState::Serving, to: VersionState::Retired });
    }
    writes.push(Write::MoveAlias { alias: Alias::Champion, expected: parent, to: number });
    writes
}

/// The class number of each row's label, `None` where it has none.
pub(crate) fn label_classes(rows: &Batch, classes: &[String]) -> Vec<Option<u32>> {
    let Some(index) = rows.with_role(&Role::Label) else { return vec![None; rows.row_count()] };
    let labels = rows.rows.column(index).as_string::<i32>();
    let class = |label: &str| classes.iter().position(|class| class == label).map(|position| position as u32);
    labels.iter().map(|label| label.and_then(class)).collect()
}

/// The rows that have a label.
pub(crate) fn labelled(rows: &Batch) -> Batch {
    let Some(index) = rows.with_role(&Role::Label) else { return rows.slice(0, 0) };
    let label = rows.rows.column(index);
    if label.null_count() == 0 {
        return rows.clone();
    }
    let present: BooleanArray = (0..label.len()).map(|row| Some(label.is_valid(row))).collect();
    let kept = arrow::compute::filter_record_batch(&rows.rows, &present).expect("the mask has one entry a row");
    Batch { rows: kept, roles: rows.roles.clone() }
}

/// What an evaluator sees: the rows' id, time, label and slices, and the answers; with `timed` also how long they took, missing
/// where that is not known.
pub(crate) fn scored_batch(rows: &Batch, classes: &[String], answers: &Answers, timed: bool) -> Batch {
    let sees = |role: &Role| matches!(role, Role::Id | Role::Time | Role::Label | Role::Slice);
    let seen = rows.columns().filter(|(_, role, _)| sees(role));
    let mut columns: Vec<(String, Role, ArrayRef)> =
        seen.map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array))).collect();
    let predicted: StringArray = answers.predicted.iter().map(|class| Some(classes[*class as usize].as_str())).collect();
    columns.push(("tidegate_prediction".to_owned(), Role::Prediction, Arc::new(predicted)));
    for (index, class) in classes.iter().enumerate() {
        let values = answers.probabilities.iter().skip(index).step_by(classes.len()).copied();
        let name = format!("tidegate_probability:{class}");
        columns.push((name, Role::Probability(class.clone()), Arc::new(Float64Array::from_iter_values(values))));
    }
    if timed {
        let latency = |row: usize| answers.latencies_ns.get(row).map(|nanos| i64::try_from(*nanos).unwrap_or(i64::MAX));
        let latencies: Int64Array = (0..rows.row_count()).map(latency).collect();
        columns.push(("tidegate_latency_ns".to_owned(), Role::LatencyNs, Arc::new(latencies)));
    }
    Batch::new(columns).expect("the columns have one length and names of their own")
}

/// The values of the columns that a gate judges apart, where the rows have them.
fn slices(gate: &Gate, rows: &Batch) -> BTreeMap<String, SliceRows> {
    let of_column = |rule: &SliceRule| {
        let text = arrow::compute::cast(rows.column(&rule.column)?, &arrow::datatypes::DataType::Utf8).ok()?;
        Some((rule.column.clone(), SliceRows::new(text.as_string::<i32>().iter())))
    };
    gate.slices.iter().filter_map(of_column).collect()
}

/// Numbers the clusters of the rows, by first appearance; empty unless clusters are declared.
fn clusters(dependence: &Dependence, rows: &Batch) -> Vec<u32> {
    let Dependence::Cluster(column) = dependence else { return Vec::new() };
    let Some(array) = rows.column(column) else { return Vec::new() };
    let Ok(text) = arrow::compute::cast(array, &arrow::datatypes::DataType::Utf8) else { return Vec::new() };
    let mut numbers = BTreeMap::new();
    let text = text.as_string::<i32>();
    let number = |value: Option<&str>| {
        let next = numbers.len() as u32;
        *numbers.entry(value.map(str::to_owned)).or_insert(next)
    };
    text.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_the_values_of_named_columns() {
        let station: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 7, 7]));
        let rows = Batch::new(vec![("station".into(), Role::Slice, station), ("n".into(), Role::Feature, number)]).unwrap();
        let rule = |column: &str| SliceRule { column: column.into(), values: Vec::new(), rows_min: 1 };
        let gate: Gate = serde_json::from_value(serde_json::json!({ "dependence": "time", "rule": [] })).unwrap();
        let gate = Gate { slices: vec![rule("station"), rule("n"), rule("gone")], ..gate };
        let found = slices(&gate, &rows);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["n", "station"]);
        assert_eq!(found["station"], SliceRows { values: vec!["a".into(), "b".into()], of_row: vec![0, u32::MAX, 1, 0] });
        assert_eq!(found["n"], SliceRows { values: vec!["7".into(), "8".into()], of_row: vec![0, 1, 0, 0] });
    }

    #[test]
    fn an_evaluator_sees_times_only_where_it_asked_for_them() {
        let id: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let feature: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
        let rows = Batch::new(vec![("id".into(), Role::Id, id), ("x".into(), Role::Feature, feature)]).unwrap();
        let classes = ["0".to_owned(), "1".to_owned()];
        let mut answers = Answers::certain(vec![0, 1, 1], 2);
        answers.latencies_ns = vec![7, 9];
        let names = |timed: bool| {
            let scored = scored_batch(&rows, &classes, &answers, timed);
            scored.columns().map(|(_, role, _)| role.word()).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["id", "prediction", "probability:0", "probability:1"]);
        assert_eq!(names(true), ["id", "prediction", "probability:0", "probability:1", "latency-ns"]);
        let scored = scored_batch(&rows, &classes, &answers, true);
        let latencies = scored.rows.column(4).as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(latencies.iter().collect::<Vec<_>>(), [Some(7), Some(9), None], "a row that was not timed has none");
    }
}
