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
use tidegate_vocab::{DecisionKind, MetricTerms, RuleVerdict, Seed, Verdict};

use crate::bootstrap::Resampling;
use crate::comparison::{Comparison, Resampled};
use crate::estimator::Estimator;
use crate::look::{alpha_per_look, rows_min};
use crate::sentence::count;
use crate::sums::Columns;
use crate::{Against, Dependence, Gate, JudgeError, Test};

/// What a gate is judged on: one entry a row in every list, in the order of event time.
#[derive(Debug, Clone, Copy)]
pub struct JudgeInput<'a> {
    /// The class of each row.
    pub labels: &'a [u32],
    /// Number of classes in the contract.
    pub class_count: usize,
    /// The cluster number of each row; empty unless the gate declares clusters.
    pub clusters: &'a [u32],
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
    let comparisons = gate.rules.par_iter().map(|rule| Comparison::new(rule, evidence)).collect::<Result<Vec<_>, _>>()?;
    let obstacle = obstacle(gate, evidence);
    let resampled = if obstacle.is_none() { resample(gate, evidence, &comparisons) } else { vec![Resampled::default(); comparisons.len()] };
    let alpha = alpha_per_look(gate);
    let mut rules = Vec::with_capacity(comparisons.len());
    for (comparison, resampled) in comparisons.iter().zip(&resampled) {
        rules.push(comparison.conclude(gate, alpha, obstacle.as_deref(), resampled));
    }
    Ok(decide(gate, look, evidence, rules))
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
    let mut place = 0..;
    let of_one = |estimator: &Option<Estimator<'_>>| {
        let place = estimator.as_ref().and_then(|_| place.next());
        let estimates = place.map_or_else(Vec::new, |place: usize| estimates.iter().map(|row| row[place]).collect());
        Resampled { estimates, units: resampling.units() }
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

/// Makes one decision of the rules' verdicts.
fn decide(gate: &Gate, look: u32, evidence: &JudgeInput<'_>, rules: Vec<RuleVerdict>) -> GateVerdict {
    let with = |verdict: Verdict| rules.iter().filter(|rule| rule.verdict == verdict).map(|rule| format!("`{}`", rule.rule)).collect();
    let (failed, open): (Vec<String>, Vec<String>) = (with(Verdict::Fail), with(Verdict::Inconclusive));
    let last = look >= gate.looks_max;
    let (kind, expired) = match (failed.is_empty(), open.is_empty()) {
        (false, _) => (DecisionKind::Reject, false),
        (true, false) if last => (DecisionKind::Reject, true),
        (true, false) => (DecisionKind::Hold, false),
        (true, true) => (DecisionKind::Promote, false),
    };
    let rows = count(evidence.labels.len() as u64);
    let looks = format!("look {look} of {}, {rows} rows", gate.looks_max);
    let named = |ids: &[String]| format!("{} {}", if ids.len() == 1 { "rule" } else { "rules" }, ids.join(", "));
    let reason = match kind {
        DecisionKind::Promote => format!("promoted: every rule passed ({looks})"),
        DecisionKind::Hold => format!("held: {} inconclusive, more rows are needed ({looks})", named(&open)),
        _ if expired => format!("rejected: expired with {} still inconclusive at the last look ({looks})", named(&open)),
        _ => format!("rejected: {} failed ({looks})", named(&failed)),
    };
    let better = gate.rules.iter().zip(&rules).any(|(rule, verdict)| {
        matches!(rule.test, Test::Superior) && rule.against == Against::Champion && verdict.verdict == Verdict::Pass
    });
    let first = !evidence.others.contains_key(&Against::Champion);
    GateVerdict { kind, look, expired, superior: better || first, rules, reason }
}
