//! Judging a challenger by a gate: rules in, verdicts and one decision out.
//!
//! Three values. A rule passes when its bound shows that it holds, fails when the opposite bound shows that it does not, and is
//! inconclusive in between, or when the rows are too few or too much alike to say. One failure rejects, else one inconclusive
//! rule holds, else the challenger is promoted; a hold at the last look is a rejection that says so. All rules must pass, so
//! passing needs no correction for their number.
//!
//! Before there is a champion, its rules do not vanish: the best naive baseline by the rule's metric stands in, and the verdict
//! says so. Only a rule about a ratio (of costs: a baseline that costs nothing allows no ratio) has nothing to compare with.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate_vocab::{DecisionKind, MetricTerms, RuleVerdict, Seed, Terms, Verdict};

use crate::bootstrap::Resampling;
use crate::comparison::{Comparison, Resampled};
use crate::estimator::Estimator;
use crate::look::{alpha_per_look, rows_min};
use crate::sentence::{count, percent};
use crate::slice::{Slice, correct_failures, slices_of};
use crate::sums::Columns;
use crate::{Against, Approval, Dependence, Gate, Interval, JudgeError, Rule, SliceRows, Test};

/// What a gate is judged on: one entry a row in every list, in the order of event time.
#[derive(Debug, Clone, Copy)]
pub struct JudgeInput<'a> {
    /// The class of each row.
    pub labels: &'a [u32],
    /// Number of classes in the contract.
    pub class_count: usize,
    /// The cluster number of each row; empty unless the gate declares clusters.
    pub clusters: &'a [u32],
    /// The values of the columns that the gate judges apart.
    pub slices: &'a BTreeMap<String, SliceRows>,
    /// Share of the rows between the first and the last one whose label has come; `None` where nobody counted.
    pub maturity: Option<f64>,
    /// The challenger's metrics.
    pub challenger: &'a [MetricTerms],
    /// The metrics of whom it is compared with, on the same rows; without [`Against::Champion`] on a first run.
    pub others: &'a BTreeMap<Against, Vec<MetricTerms>>,
    /// Seeds the resampling.
    pub seed: Seed,
}

/// What a gate says about a challenger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// `Promote`, `Reject` or `Hold`.
    pub kind: DecisionKind,
    /// Which look this was, from 1.
    pub look: u32,
    /// Whether it is a rejection because the looks are used up and a rule is still inconclusive.
    pub expired: bool,
    /// Whether it is a hold because every rule passed and an operator has to agree: no more looks are needed.
    #[serde(default)]
    pub awaits_approval: bool,
    /// Whether a `superior` rule against the champion passed, or there was no champion.
    pub superior: bool,
    /// The rules' verdicts, in the gate's order.
    pub rules: Vec<RuleVerdict>,
    /// One sentence for people.
    pub reason: String,
}

/// Whether the verdict promotes a version that becomes the anchor: one that was shown to be better than the champion, or the first.
pub fn was_superior(verdict: &GateVerdict) -> bool {
    verdict.kind == DecisionKind::Promote && verdict.superior
}

/// Whether these verdicts of `gate` show that the challenger is better than the champion.
pub fn shows_better(gate: &Gate, rules: &[RuleVerdict]) -> bool {
    gate.rules
        .iter()
        .zip(rules)
        .any(|(rule, verdict)| matches!(rule.test, Test::Superior) && rule.against == Against::Champion && verdict.verdict == Verdict::Pass)
}

/// Judges a challenger at look `look` (from 1). The same gate, look and evidence give the same verdict.
///
/// # Errors
/// [`JudgeError`] when the gate is out of its bounds, a metric or a model that a rule names was not computed, or terms do not
/// fit the rows. An inconclusive gate is a verdict, not an error.
pub fn judge(gate: &Gate, look: u32, evidence: &JudgeInput<'_>) -> Result<GateVerdict, JudgeError> {
    let issues = gate.check();
    if !issues.is_empty() {
        return Err(JudgeError::Gate { issues: issues.iter().map(ToString::to_string).collect() });
    }
    let rows = evidence.labels.len();
    if let Dependence::Cluster(column) = &gate.dependence
        && evidence.clusters.len() != rows
    {
        return Err(JudgeError::Clusters { column: column.clone(), rows, found: evidence.clusters.len() });
    }
    let slices: Vec<Slice> = gate.slices.iter().flat_map(|rule| slices_of(rule, evidence.slices.get(&rule.column))).collect();
    let comparisons = comparisons(gate, &slices, evidence)?;
    let obstacle = obstacle(gate, evidence);
    let resampled = if obstacle.is_none() { resample(gate, evidence, &comparisons) } else { vec![Resampled::default(); comparisons.len()] };
    let alpha = alpha_per_look(gate);
    let conclude = |index: usize, alpha: f64| comparisons[index].conclude(gate, alpha, obstacle.as_deref(), &resampled[index]);
    let mut rules: Vec<RuleVerdict> = (0..comparisons.len()).map(|index| conclude(index, alpha)).collect();
    let mut first = gate.rules.len();
    while first < comparisons.len() {
        let of_rule = comparisons[first..].iter().take_while(|other| other.is_about(&comparisons[first])).count();
        let fails_at = |index: usize, level: f64| conclude(first + index, level).verdict == Verdict::Fail;
        correct_failures(&mut rules[first..first + of_rule], alpha, fails_at);
        first += of_rule;
    }
    let mut too_good = Vec::new();
    for (comparison, verdict) in comparisons.iter().zip(&mut rules) {
        if let Some(reason) = comparison.suspicion(verdict) {
            (verdict.verdict, verdict.reason) = (Verdict::Inconclusive, reason);
            too_good.push(format!("`{}`", verdict.rule));
        }
    }
    Ok(decide(gate, look, evidence, rules, &too_good))
}

/// The rules on all rows in the gate's order, then each that is judged in slices on every one of them.
fn comparisons<'a>(gate: &'a Gate, slices: &'a [Slice], evidence: &JudgeInput<'_>) -> Result<Vec<Comparison<'a>>, JudgeError> {
    let whole = gate.rules.iter().map(|rule| (rule, None));
    let has_rows = |rule: &&Rule| {
        let of_rule = |terms: &&MetricTerms| terms.metric.name == rule.metric;
        evidence.challenger.iter().find(of_rule).is_some_and(|terms| !matches!(terms.terms, Terms::Opaque { .. }))
    };
    let sliced = gate.rules.iter().filter(|rule| rule.test.is_sliced()).filter(has_rows);
    let wanted: Vec<_> = whole.chain(sliced.flat_map(|rule| slices.iter().map(move |slice| (rule, Some(slice))))).collect();
    wanted.into_par_iter().map(|(rule, slice)| Comparison::new(rule, slice, evidence)).collect()
}

/// The estimates of every comparison under every resample: one pass over one set of draws.
fn resample(gate: &Gate, evidence: &JudgeInput<'_>, comparisons: &[Comparison<'_>]) -> Vec<Resampled> {
    let mut columns = Columns::default();
    let estimators: Vec<_> = comparisons.iter().map(|comparison| comparison.estimator(&gate.dependence, &mut columns)).collect();
    let resampling = Resampling::new(evidence.labels.len(), &gate.dependence, evidence.clusters, gate.resamples, evidence.seed);
    let needed: Vec<&Estimator<'_>> = estimators.iter().flatten().collect();
    let with_counts = needed.iter().any(|estimator| estimator.needs_counts());
    let of_all = |sums: &[f64], counts: &[u32]| -> Vec<_> { needed.iter().map(|one| one.estimate(sums, counts)).collect() };
    let estimates = if needed.is_empty() { Vec::new() } else { columns.map(&resampling, with_counts, of_all) };
    let jackknife = match gate.interval {
        Interval::Bca if !needed.is_empty() => columns.without_each_group(&resampling, of_all),
        _ => Vec::new(),
    };
    let mut place = 0..;
    let of_one = |estimator: &Option<Estimator<'_>>| {
        let place = estimator.as_ref().and_then(|_| place.next());
        let column = |all: &[Vec<Option<f64>>]| place.map_or_else(Vec::new, |place: usize| all.iter().map(|row| row[place]).collect());
        Resampled { estimates: column(&estimates), jackknife: column(&jackknife), units: resampling.units() }
    };
    estimators.iter().map(of_one).collect()
}

/// Why nothing can be concluded from these rows by any rule.
fn obstacle(gate: &Gate, evidence: &JudgeInput<'_>) -> Option<String> {
    let rows = evidence.labels.len() as u64;
    let needed = rows_min(gate);
    if rows < needed {
        return Some(format!("{} rows have arrived and `rows_min` asks for {}", count(rows), count(needed)));
    }
    if let (Some(maturity), Some(needed)) = (evidence.maturity, gate.maturity_min)
        && maturity < needed
    {
        return Some(format!("the labels of {} of the rows have come and `maturity_min` asks for {}", percent(maturity), percent(needed)));
    }
    let mut by_class: BTreeMap<u32, u64> = BTreeMap::new();
    for label in evidence.labels {
        *by_class.entry(*label).or_default() += 1;
    }
    let classes = 0..u32::try_from(evidence.class_count).unwrap_or(u32::MAX);
    let rows_of = |class: &u32| by_class.get(class).copied().unwrap_or(0);
    let rarest = classes.min_by_key(rows_of)?;
    let rows = rows_of(&rarest);
    let few = rows < gate.rows_per_class_min;
    few.then(|| format!("class {rarest} has {} rows and `rows_per_class_min` asks for {}", count(rows), count(gate.rows_per_class_min)))
}

/// Makes one decision of the rules' verdicts, of which some are `too_good` to be believed.
fn decide(gate: &Gate, look: u32, evidence: &JudgeInput<'_>, rules: Vec<RuleVerdict>, too_good: &[String]) -> GateVerdict {
    let with = |verdict: Verdict| rules.iter().filter(|rule| rule.verdict == verdict).map(|rule| format!("`{}`", rule.rule)).collect();
    let (failed, open): (Vec<String>, Vec<String>) = (with(Verdict::Fail), with(Verdict::Inconclusive));
    let last = look >= gate.looks_max;
    let (kind, expired) = match (failed.is_empty(), open.is_empty()) {
        (false, _) => (DecisionKind::Reject, false),
        (true, false) if last => (DecisionKind::Reject, true),
        (true, false) => (DecisionKind::Hold, false),
        (true, true) if gate.approval == Approval::Operator => (DecisionKind::Hold, false),
        (true, true) => (DecisionKind::Promote, false),
    };
    let awaits_approval = kind == DecisionKind::Hold && open.is_empty();
    let rows = count(evidence.labels.len() as u64);
    let looks = format!("look {look} of {}, {rows} rows", gate.looks_max);
    let named = |ids: &[String]| format!("{} {}", if ids.len() == 1 { "rule" } else { "rules" }, ids.join(", "));
    let reason = match kind {
        DecisionKind::Promote => format!("promoted: every rule passed ({looks})"),
        DecisionKind::Hold if awaits_approval => {
            format!("held: every rule passed, and an operator has to agree with `tidegate promote` ({looks})")
        }
        DecisionKind::Hold if !too_good.is_empty() => {
            format!("held: {} shows a gain that is too good to be believed, look at the features ({looks})", named(too_good))
        }
        DecisionKind::Hold => format!("held: {} inconclusive, more rows are needed ({looks})", named(&open)),
        _ if expired => format!("rejected: expired with {} still inconclusive at the last look ({looks})", named(&open)),
        _ => format!("rejected: {} failed ({looks})", named(&failed)),
    };
    let better = shows_better(gate, &rules);
    let first = !evidence.others.contains_key(&Against::Champion);
    GateVerdict { kind, look, expired, awaits_approval, superior: better || first, rules, reason }
}
