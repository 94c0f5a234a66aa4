//! One rule of a gate, bound to the terms it compares.
//!
//! Which method answers which question:
//!
//! | metric and test | independent rows | rows dependent in time or by cluster |
//! |---|---|---|
//! | mean of zeros and ones, `superior` | McNemar's exact mid-p | Tango's score interval at the effective number of rows |
//! | mean of zeros and ones, `non-inferior` | Tango's score interval | the same |
//! | mean of zeros and ones, `lower-bound`, `upper-bound` | Wilson's interval | Wilson's at the effective number of rows |
//! | area under the ROC curve, but `ratio-upper` | DeLong's | DeLong's at the effective number of rows |
//! | anything else with terms | paired bootstrap | paired bootstrap of blocks or of clusters |
//! | a number without terms, bounds only | the number itself | the number itself |
//!
//! Why the effective number of rows and not the percentiles of the block bootstrap: two versions disagree on some 7 % of rows, so
//! at a first look there are a few dozen disagreements, or none. Percentiles of so few are too narrow, and of none a point that
//! would pass any `non-inferior` rule. The score interval stays valid there. The bootstrap gives what it cannot know, the design
//! effect: the variance of the resampled difference over its variance under independence (Kish 1965), never taken below 1. The
//! counts are divided by it, as surveys do for proportions (Korn and Graubard 1998).

use tidegate_vocab::{RuleVerdict, Terms, Verdict};

use crate::bootstrap::{bca_bounds, percentile_bounds};
use crate::delong::{DeLong, Placements};
use crate::estimator::{Combine, Estimator};
use crate::interval::{mcnemar_mid_p, tango, wilson};
use crate::pairing::{Counts, counts_of, fits, metric_of, other_of, paired_differences, placements_of};
use crate::sentence::{count, number, percent};
use crate::slice::Slice;
use crate::statistic::{Prepared, dot, rows_counted};
use crate::sums::Columns;
use crate::{Against, Dependence, Gate, Interval, JudgeError, JudgeInput, Rule, Test};

/// Clusters below which resampling them says nothing about their spread.
const CLUSTERS_MIN: usize = 10;

/// Share of resamples that may leave the estimate undetermined.
const UNDETERMINED_SHARE_MAX: f64 = 0.05;

/// A rule's estimates under the resamples; empty when it needs none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resampled {
    pub(crate) estimates: Vec<Option<f64>>,
    /// The estimates without one group of units at a time, where the interval asks for them.
    pub(crate) jackknife: Vec<Option<f64>>,
    pub(crate) units: usize,
}

/// A rule with its terms made ready.
pub(crate) struct Comparison<'a> {
    rule: &'a Rule,
    /// The slice it is about; all rows otherwise.
    slice: Option<&'a Slice>,
    /// 1 when more is better, -1 when less is.
    sign: f64,
    challenger: Prepared,
    /// Who it is compared with in fact, and their terms; nobody for bounds.
    other: Option<(Against, Prepared)>,
    /// There is no champion and no baseline that this rule could use instead.
    without_other: bool,
    /// For zeros and ones: right by the challenger, right by the other, counts of rows.
    counts: Option<Counts>,
    /// For two means: the paired differences in favour of the challenger, and 1 where a row counts. The difference of two means
    /// over the same rows is the mean difference, at half the work.
    paired: Option<(Vec<f64>, Vec<f64>)>,
    /// For rankings: the placements of the challenger and of the other, where both classes occur twice.
    placements: Option<(Placements, Option<Placements>)>,
    /// Rows that count.
    rows: u64,
    /// All rows of the decision.
    all_rows: usize,
}

/// An estimate with its bounds, and what made them.
struct Bounds {
    method: &'static str,
    low: f64,
    high: f64,
    /// Where a test and not the interval decides: p of "better" and p of "worse".
    p: Option<(f64, f64)>,
    /// The design effect, where one was used.
    effect: Option<f64>,
}

impl<'a> Comparison<'a> {
    /// Finds the terms that `rule` compares, on the rows of `slice` where there is one.
    pub(crate) fn new(rule: &'a Rule, slice: Option<&'a Slice>, evidence: &JudgeInput<'_>) -> Result<Comparison<'a>, JudgeError> {
        let challenger = metric_of(rule, "challenger", evidence.challenger)?;
        let rows = evidence.labels.len();
        fits(rule, challenger, challenger, rows)?;
        let sign = if challenger.metric.higher_is_better { 1.0 } else { -1.0 };
        let chosen = other_of(rule, evidence, sign)?;
        let opaque = |terms: &Terms| matches!(terms, Terms::Opaque { .. });
        let mut counted = rows_counted(&challenger.terms);
        if let Some((_, other)) = chosen {
            if opaque(&challenger.terms) || opaque(&other.terms) {
                let (rule_id, metric) = (rule.id.clone(), rule.metric.clone());
                return Err(JudgeError::Opaque { rule: rule_id, metric, test: rule.test.word().into() });
            }
            fits(rule, challenger, other, rows)?;
            // Pairs: a row counts when it counts for both.
            for (counted, also) in counted.iter_mut().zip(rows_counted(&other.terms)) {
                *counted &= also;
            }
        }
        match slice.map(|slice| &slice.rows) {
            Some(Ok(rows)) => counted.iter_mut().zip(rows).for_each(|(counted, is_in)| *counted &= is_in),
            Some(Err(_)) => counted.fill(false),
            None => {}
        }
        let row_count = match &challenger.terms {
            Terms::Opaque { count, .. } => *count,
            _ => counted.iter().filter(|counted| **counted).count() as u64,
        };
        Ok(Comparison {
            rule,
            slice,
            sign,
            counts: counts_of(&challenger.terms, chosen.map(|(_, other)| &other.terms), &counted, sign),
            challenger: Prepared::of(&challenger.terms, &counted),
            other: chosen.map(|(against, other)| (against, Prepared::of(&other.terms, &counted))),
            placements: placements_of(&challenger.terms, chosen.map(|(_, other)| &other.terms), &counted),
            paired: chosen.and_then(|(_, other)| paired_differences(rule, &challenger.terms, &other.terms, &counted, sign)),
            without_other: chosen.is_none() && rule.against != Against::Bound,
            rows: row_count,
            all_rows: rows,
        })
    }

    /// How the estimate follows from the sums of a resample; `None` where nothing has to be resampled.
    pub(crate) fn estimator<'s>(&'s self, dependence: &Dependence, columns: &mut Columns<'s>) -> Option<Estimator<'s>> {
        let is_settled = self.without_other || matches!(self.challenger, Prepared::Opaque(_));
        let has_closed_form = self.counts.is_some() || self.delong().is_some();
        if is_settled || has_closed_form && *dependence == Dependence::Independent {
            return None;
        }
        if let Some((differences, counted)) = &self.paired {
            return Some(Estimator::paired(differences, counted, columns));
        }
        let placements = self.placements.as_ref();
        let own = (&self.challenger, placements.map(|(own, _)| own));
        let other = self.other.as_ref().map(|(_, other)| (other, placements.and_then(|(_, other)| other.as_ref())));
        Estimator::new(own, other, self.combine(), self.all_rows, columns)
    }

    /// Whether both are about the same rule.
    pub(crate) fn is_about(&self, other: &Comparison<'_>) -> bool {
        std::ptr::eq(self.rule, other.rule)
    }

    fn combine(&self) -> Combine {
        match self.rule.test {
            Test::RatioUpper { .. } => Combine::Ratio,
            _ => Combine::Difference { sign: self.sign },
        }
    }

    /// The areas under the ROC curve with their covariance, for a rule about one or about their difference.
    fn delong(&self) -> Option<DeLong> {
        let (own, other) = self.placements.as_ref()?;
        let is_ratio = matches!(self.rule.test, Test::RatioUpper { .. });
        (!is_ratio).then(|| DeLong::of(own, other.as_ref().unwrap_or(own)))
    }

    /// What is tested, with each row counted once: a value, a ratio, or a difference in favour of the challenger.
    fn estimate(&self) -> Option<f64> {
        let weights = vec![1.0; self.all_rows];
        if let Some((differences, counted)) = &self.paired {
            let rows = dot(&weights, counted);
            return (rows > 0.0).then(|| dot(&weights, differences) / rows).filter(|difference| !difference.is_nan());
        }
        let challenger = self.challenger.value(&weights)?;
        let Some((_, other)) = &self.other else { return Some(challenger) };
        self.combine().of(challenger, other.value(&weights)?)
    }

    /// The rule's verdict.
    pub(crate) fn conclude(&self, gate: &Gate, alpha: f64, obstacle: Option<&str>, resampled: &Resampled) -> RuleVerdict {
        let weights = vec![1.0; self.all_rows];
        let (challenger, estimate) = (self.challenger.value(&weights), self.estimate());
        let other = self.other.as_ref().and_then(|(_, other)| other.value(&weights));
        let verdict = RuleVerdict {
            rule: self.name(),
            verdict: Verdict::Inconclusive,
            metric: self.rule.metric.clone(),
            against: self.against(),
            method: "none".into(),
            challenger,
            other,
            estimate,
            interval: None,
            threshold: self.rule.test.threshold(),
            alpha,
            rows: self.rows,
            reason: String::new(),
        };
        if self.without_other {
            let reason = format!("passes: there is no champion yet and no baseline to compare `{}` with", self.rule.metric);
            return RuleVerdict { verdict: Verdict::Pass, reason, ..verdict };
        }
        match self.bounds(gate, alpha, obstacle, resampled, estimate) {
            Ok(bounds) => {
                let conclusion = self.compare(&bounds, alpha);
                let reason = self.reason(conclusion, challenger, other, alpha, &bounds);
                // An infinite bound decides like any other, but JSON could not give it back.
                let interval = Some((bounds.low, bounds.high)).filter(|(low, high)| low.is_finite() && high.is_finite());
                RuleVerdict { verdict: conclusion, method: bounds.method.into(), interval, reason, ..verdict }
            }
            Err(why) => RuleVerdict { reason: format!("inconclusive: {why}"), ..verdict },
        }
    }

    /// Why a pass is too good to be believed. A baseline that stands in for a champion may be beaten by any amount, and a slice by
    /// more than the whole.
    pub(crate) fn suspicion(&self, verdict: &RuleVerdict) -> Option<String> {
        let (gain_max, gain) = (self.rule.gain_max?, verdict.estimate?);
        let is_as_named = self.other.as_ref().is_some_and(|(other, _)| *other == self.rule.against);
        (verdict.verdict == Verdict::Pass && is_as_named && self.slice.is_none() && gain > gain_max).then(|| {
            format!(
                "inconclusive: `{}` is better than that of {} by {} and `gain_max` is {}; so much at once is more often a label that \
                 leaked into the features than a better model",
                self.rule.metric,
                self.rule.against.described(),
                number(gain),
                number(gain_max)
            )
        })
    }

    /// Whom the verdict is about: the rule's id, and the slice.
    fn name(&self) -> String {
        match self.slice {
            Some(slice) => format!("{} [{}]", self.rule.id, slice.name),
            None => self.rule.id.clone(),
        }
    }

    /// The interval of the estimate, or why there is none.
    fn bounds(
        &self,
        gate: &Gate,
        alpha: f64,
        obstacle: Option<&str>,
        resampled: &Resampled,
        estimate: Option<f64>,
    ) -> Result<Bounds, String> {
        if let Prepared::Opaque(value) = self.challenger {
            let value = Some(value).filter(|value| !value.is_nan()).ok_or("the evaluator gave no number")?;
            return Ok(Bounds { method: "value", low: value, high: value, p: None, effect: None });
        }
        if let Some(obstacle) = obstacle {
            return Err(obstacle.into());
        }
        if let Some(Slice { rows: Err(why), .. }) = self.slice {
            return Err(why.clone());
        }
        if let Some(slice) = self.slice.filter(|slice| self.rows < slice.rows_min) {
            let (rows, needed) = (count(self.rows), count(slice.rows_min));
            return Err(format!("`{}` counts {rows} rows in this slice and its `rows_min` asks for {needed}", self.rule.metric));
        }
        let needed = crate::look::rows_min(gate);
        if self.slice.is_none() && self.rows < needed {
            return Err(format!("`{}` counts {} rows and `rows_min` asks for {}", self.rule.metric, count(self.rows), count(needed)));
        }
        let estimate = estimate.ok_or_else(|| format!("the rows do not determine `{}`", self.rule.metric))?;
        if matches!(gate.dependence, Dependence::Cluster(_)) && resampled.units < CLUSTERS_MIN {
            return Err(format!("there are {} clusters and {CLUSTERS_MIN} are needed", resampled.units));
        }
        match (self.counts, self.delong()) {
            (Some(counts), _) => self.proportion_bounds(gate, alpha, resampled, counts),
            (None, Some(delong)) => self.area_bounds(gate, alpha, resampled, delong),
            (None, None) => bootstrap_bounds(gate, alpha, resampled, estimate),
        }
    }

    fn area_bounds(&self, gate: &Gate, alpha: f64, resampled: &Resampled, delong: DeLong) -> Result<Bounds, String> {
        let variance = if self.other.is_some() { delong.variance() } else { delong.covariance[0][0] };
        if variance <= 0.0 {
            let what = if self.other.is_some() { "both rank all pairs alike" } else { "all pairs are ranked alike" };
            return Err(format!("the rows do not vary: {what}"));
        }
        let is_independent = gate.dependence == Dependence::Independent;
        let effect = if is_independent { None } else { Some(design_effect(variance, resampled, self.rows as f64)?) };
        let delong = delong.inflated(effect.unwrap_or(1.0));
        let (low, high) = match (&self.other, self.sign > 0.0) {
            (None, _) => delong.area_bounds(alpha),
            (Some(_), true) => delong.difference_bounds(alpha),
            (Some(_), false) => {
                let (low, high) = delong.difference_bounds(alpha);
                (-high, -low)
            }
        };
        // The normal approximation does not know where areas end.
        let least = if self.other.is_some() { -1.0 } else { 0.0 };
        let (low, high) = (f64::max(low, least), f64::min(high, 1.0));
        let method = if is_independent { "delong" } else { "delong-effective-rows" };
        Ok(Bounds { method, low, high, p: None, effect })
    }

    fn proportion_bounds(&self, gate: &Gate, alpha: f64, resampled: &Resampled, counts: Counts) -> Result<Bounds, String> {
        let rows = self.rows as f64;
        let (ones, gains, losses) = (counts.ones as f64, counts.gains as f64, counts.losses as f64);
        let mean = if self.other.is_some() { (gains - losses) / rows } else { ones / rows };
        let square = if self.other.is_some() { (gains + losses) / rows } else { mean };
        let independent = gate.dependence == Dependence::Independent;
        let effect = if independent { None } else { Some(design_effect((square - mean * mean) / rows, resampled, rows)?) };
        let by = effect.unwrap_or(1.0);
        let Some(_) = self.other else {
            let (low, high) = wilson(ones / by, rows / by, alpha);
            let method = if independent { "wilson" } else { "wilson-effective-rows" };
            return Ok(Bounds { method, low, high, p: None, effect });
        };
        let (low, high) = tango(gains / by, losses / by, rows / by, alpha);
        let exact = independent && matches!(self.rule.test, Test::Superior);
        let p = exact.then(|| (mcnemar_mid_p(counts.gains, counts.losses), mcnemar_mid_p(counts.losses, counts.gains)));
        let method = match (independent, exact) {
            (true, true) => "mcnemar-mid-p",
            (true, false) => "tango",
            (false, _) => "tango-effective-rows",
        };
        Ok(Bounds { method, low, high, p, effect })
    }

    fn compare(&self, bounds: &Bounds, alpha: f64) -> Verdict {
        let threshold = self.rule.test.threshold();
        let (holds, broken) = match (bounds.p, self.rule.test.wants_above()) {
            (Some((better, worse)), _) => (better < alpha, worse < alpha),
            (None, true) => (bounds.low > threshold, bounds.high < threshold),
            (None, false) => (bounds.high < threshold, bounds.low > threshold),
        };
        match (holds, broken) {
            (true, _) => Verdict::Pass,
            (false, true) => Verdict::Fail,
            (false, false) => Verdict::Inconclusive,
        }
    }

    fn reason(&self, verdict: Verdict, challenger: Option<f64>, other: Option<f64>, alpha: f64, bounds: &Bounds) -> String {
        let value = |value: Option<f64>| value.map_or("undetermined".into(), number);
        let mut text = match verdict {
            Verdict::Pass => "passes: ",
            Verdict::Fail => "fails: ",
            Verdict::Inconclusive => "inconclusive: ",
        }
        .to_owned();
        text += &format!("`{}` is {}", self.rule.metric, value(challenger));
        if self.other.is_some() {
            text += &format!(", that of {} {}", self.compared_with(), value(other));
        }
        let subject = match (self.rule.test, &self.other) {
            (Test::RatioUpper { .. }, _) => "the ratio",
            (_, Some(_)) => "the difference in its favour",
            (_, None) => "its value",
        };
        let side = if self.rule.test.wants_above() { "above" } else { "below" };
        let threshold = number(self.rule.test.threshold());
        match bounds.p {
            Some((better, worse)) => {
                text += &format!("; it is better with p = {}, worse with p = {}, against {}", number(better), number(worse), number(alpha));
            }
            None if bounds.method == "value" => text += &format!("; it must be {side} {threshold}"),
            None => {
                let (low, high, sure) = (number(bounds.low), number(bounds.high), percent(1.0 - alpha));
                text += &format!("; {subject} is above {low} and below {high} ({sure} each) and must be {side} {threshold}");
            }
        }
        text += &format!(" ({}, {} rows", bounds.method, count(self.rows));
        if let Some(effect) = bounds.effect.filter(|effect| *effect > 1.0) {
            text += &format!(" that weigh as much as {} independent ones", count((self.rows as f64 / effect).round() as u64));
        }
        text + ")"
    }

    /// Whom the challenger was compared with, as a sentence names them.
    fn compared_with(&self) -> String {
        match (&self.other, self.rule.against) {
            (Some((other, _)), wanted) if *other != wanted => format!("{} (there is no {wanted} yet)", other.described()),
            (_, wanted) => wanted.described().to_owned(),
        }
    }

    /// Whom the challenger was compared with, as the verdict names them.
    fn against(&self) -> String {
        match (&self.other, self.rule.against) {
            (_, Against::Bound) => number(self.rule.test.threshold()),
            (Some((other, _)), wanted) if *other != wanted => {
                format!("{other} (for want of {} {wanted})", if wanted == Against::Anchor { "an" } else { "a" })
            }
            (_, wanted) => wanted.word().into(),
        }
    }
}

/// Percentile bounds of the resampled estimates.
fn bootstrap_bounds(gate: &Gate, alpha: f64, resampled: &Resampled, estimate: f64) -> Result<Bounds, String> {
    let estimates: Vec<f64> = resampled.estimates.iter().filter_map(|estimate| *estimate).collect();
    let lost = resampled.estimates.len() - estimates.len();
    if lost as f64 > UNDETERMINED_SHARE_MAX * resampled.estimates.len() as f64 {
        return Err(format!("{} of {} resamples do not determine the estimate", count(lost as u64), count(gate.resamples.into())));
    }
    let (mut low, mut high) = percentile_bounds(&estimates, alpha).ok_or("there are no resamples")?;
    if low == high {
        return Err(format!("the rows do not vary: every resample gives {}", number(estimate)));
    }
    let method = match (&gate.dependence, gate.interval) {
        (Dependence::Independent, Interval::Percentile) => "paired-bootstrap",
        (Dependence::Time, Interval::Percentile) => "paired-block-bootstrap",
        (Dependence::Cluster(_), Interval::Percentile) => "paired-cluster-bootstrap",
        (Dependence::Independent, Interval::Bca) => "paired-bootstrap-bca",
        (Dependence::Time, Interval::Bca) => "paired-block-bootstrap-bca",
        (Dependence::Cluster(_), Interval::Bca) => "paired-cluster-bootstrap-bca",
    };
    if gate.interval == Interval::Bca {
        let jackknife: Option<Vec<f64>> = resampled.jackknife.iter().copied().collect();
        let jackknife = jackknife.ok_or("without some of the rows there is no estimate, which `interval = \"bca\"` needs")?;
        let none = "all resamples lie on one side of the estimate, which leaves its bias open";
        (low, high) = bca_bounds(&estimates, estimate, &jackknife, alpha).ok_or(none)?;
    }
    Ok(Bounds { method, low, high, p: None, effect: None })
}

/// How many dependent rows weigh as much as one independent row: at least 1, at most all of them.
fn design_effect(independent_variance: f64, resampled: &Resampled, rows: f64) -> Result<f64, String> {
    let estimates: Vec<f64> = resampled.estimates.iter().filter_map(|estimate| *estimate).collect();
    if estimates.len() < 2 {
        return Err("too few resamples determine the estimate".into());
    }
    if independent_variance <= 0.0 {
        return Ok(1.0);
    }
    let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
    let variance = estimates.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (estimates.len() - 1) as f64;
    Ok((variance / independent_variance).clamp(1.0, rows.max(1.0)))
}
