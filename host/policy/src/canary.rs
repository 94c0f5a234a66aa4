//! A canary: a few requests go to the new version, as many to a concurrent control arm, and the difference decides.
//!
//! The arms are looked at as often as anybody likes. Every metric has a mixture likelihood ratio that is a martingale while the
//! canary is no worse (mSPRT; Robbins 1970, Johari and others 2017), so peeking costs nothing: over all looks together a good
//! canary is rolled back with probability `alpha` at most, which the metrics share. Harm is one-sided: the mixture is over harms
//! alone, half a normal distribution of scale τ, the smallest effect that matters. A better canary is never rolled back.
//!
//! Latency and tokens are compared as logarithms: a version that is slower by a tenth is as bad for a fast route as for a slow one.
//! No traffic is a hold, and so is a metric that nobody could measure; neither is ever a pass or a failure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_vocab::TrafficArm;

use crate::moments::Moments;
use crate::sentence::{count, number, percent};
use crate::sequential::{always_valid_interval, harm_likelihood_ratio};

/// What is compared between the arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryMetric {
    /// The share of requests that failed.
    Errors,
    /// Seconds a request took, as a natural logarithm.
    Latency,
    /// The share of right answers, realised or estimated.
    Quality,
    /// Tokens a request took, as a natural logarithm.
    Tokens,
}

/// How a canary is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySettings {
    /// The share of traffic of each arm, step by step; rising, at most a half.
    pub steps: Vec<f64>,
    /// Requests an arm after which the canary is through. Each step has the part of them that its share has of all shares, so
    /// under steady traffic all steps last equally long.
    pub requests_max: u64,
    /// Requests an arm before a metric is compared.
    pub burn_in: u64,
    /// The probability with which a good canary may be rolled back, over all looks and metrics.
    pub alpha: f64,
    /// What is compared, each with its τ: the smallest harm that matters, in units of the share or of the logarithm.
    pub metrics: BTreeMap<CanaryMetric, f64>,
}

impl CanarySettings {
    /// Steps of 1, 5, 25 and 50 %, 20,000 requests an arm, burn-in 200, α = 0.05 over four metrics: one point of errors or of
    /// quality, 5 % of latency or of tokens.
    pub fn usual() -> CanarySettings {
        let metrics =
            [(CanaryMetric::Errors, 0.01), (CanaryMetric::Latency, 0.05), (CanaryMetric::Quality, 0.01), (CanaryMetric::Tokens, 0.05)];
        CanarySettings {
            steps: vec![0.01, 0.05, 0.25, 0.5],
            requests_max: 20_000,
            burn_in: 200,
            alpha: 0.05,
            metrics: metrics.into_iter().collect(),
        }
    }

    /// Everything that is out of its bounds, in words.
    pub fn check(&self) -> Vec<String> {
        let mut issues = Vec::new();
        let mut bound = |holds: bool, key: &str, found: String, expected: &str| {
            if !holds {
                issues.push(format!("`canary.{key}`: found {found}, expected {expected}"));
            }
        };
        let rising = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        let shares = self.steps.iter().all(|share| *share > 0.0 && *share <= 0.5);
        bound(rising && shares && !self.steps.is_empty(), "steps", format!("{:?}", self.steps), "rising shares, above 0 and at most 0.5");
        bound(self.burn_in >= 2, "burn_in", self.burn_in.to_string(), "2 or more");
        bound(self.requests_max >= self.burn_in, "requests_max", self.requests_max.to_string(), "at least `burn_in`");
        bound(self.alpha > 0.0 && self.alpha < 0.5, "alpha", self.alpha.to_string(), "more than 0 and less than 0.5");
        bound(!self.metrics.is_empty(), "metrics", "none".into(), "at least one of errors, latency, quality, tokens");
        for (metric, tau) in &self.metrics {
            let holds = *tau > 0.0 && tau.is_finite();
            bound(holds, &format!("metrics.{}", metric.word()), tau.to_string(), "a finite number above 0");
        }
        issues
    }

    /// Requests an arm at which step `step` (from 0) is over.
    pub fn requests_of_step(&self, step: usize) -> u64 {
        let all: f64 = self.steps.iter().sum();
        let until: f64 = self.steps.iter().take(step + 1).sum();
        let part = if step + 1 >= self.steps.len() || all <= 0.0 { 1.0 } else { until / all };
        ((self.requests_max as f64 * part).ceil() as u64).max(self.burn_in)
    }
}

impl CanaryMetric {
    /// The word in configurations and messages.
    pub fn word(self) -> &'static str {
        match self {
            CanaryMetric::Errors => "errors",
            CanaryMetric::Latency => "latency",
            CanaryMetric::Quality => "quality",
            CanaryMetric::Tokens => "tokens",
        }
    }

    /// The sign that turns canary − control into harm.
    fn harm_sign(self) -> f64 {
        if self == CanaryMetric::Quality { -1.0 } else { 1.0 }
    }

    fn is_logarithm(self) -> bool {
        matches!(self, CanaryMetric::Latency | CanaryMetric::Tokens)
    }

    /// An arm's mean as people read it.
    fn shown(self, mean: f64) -> String {
        match self {
            CanaryMetric::Errors | CanaryMetric::Quality => format!("{:.2} %", 100.0 * mean),
            CanaryMetric::Latency => format!("{:.2} ms", 1e3 * mean.exp()),
            CanaryMetric::Tokens => number(mean.exp()),
        }
    }
}

/// What no version may do even once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardFault {
    /// It answered with an internal error (5xx).
    ServerError,
    /// It answered a number that is none.
    NotANumber,
}

/// How one request ended. A number that is not finite is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether the request failed.
    pub error: bool,
    /// Seconds it took.
    pub latency_s: f64,
    /// 1 right, 0 wrong, or the estimated probability of being right; `None` until somebody knows.
    pub quality: Option<f64>,
    /// Tokens it took; `None` for models without tokens.
    pub tokens: Option<f64>,
    /// A fault that stops the canary at once.
    pub hard_fault: Option<HardFault>,
}

/// What has been seen of one arm. Tallies of several workers add up to the tally of all their requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ArmTally {
    /// Requests answered.
    pub requests: u64,
    /// What was measured.
    pub measured: BTreeMap<CanaryMetric, Moments>,
    /// The first hard fault.
    pub hard_fault: Option<HardFault>,
}

impl ArmTally {
    /// Takes in one request.
    pub fn record(&mut self, outcome: &Outcome) {
        // Below a microsecond, and below one token, there is nothing to compare.
        let logarithm = |value: f64, least: f64| value.max(least).ln();
        self.requests += 1;
        self.measure(CanaryMetric::Errors, f64::from(u8::from(outcome.error)));
        if !outcome.latency_s.is_nan() {
            self.measure(CanaryMetric::Latency, logarithm(outcome.latency_s, 1e-6));
        }
        if let Some(quality) = outcome.quality {
            self.measure(CanaryMetric::Quality, quality);
        }
        if let Some(tokens) = outcome.tokens.filter(|tokens| !tokens.is_nan()) {
            self.measure(CanaryMetric::Tokens, logarithm(tokens, 1.0));
        }
        self.hard_fault = self.hard_fault.or(outcome.hard_fault);
    }

    /// Takes in the quality of a request that was recorded before, now that it is known.
    pub fn record_quality(&mut self, quality: f64) {
        self.measure(CanaryMetric::Quality, quality);
    }

    /// Takes in another tally of the same arm.
    pub fn merge(&mut self, other: &ArmTally) {
        self.requests += other.requests;
        self.hard_fault = self.hard_fault.or(other.hard_fault);
        for (metric, moments) in &other.measured {
            self.measured.entry(*metric).or_default().merge(moments);
        }
    }

    fn measure(&mut self, metric: CanaryMetric, value: f64) {
        if value.is_finite() {
            self.measured.entry(metric).or_default().add(value);
        }
    }
}

/// A canary under way: where it is and what was seen. Plain numbers, so that it survives a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Canary {
    /// The step it is in, from 0.
    pub step: usize,
    /// The new version's requests.
    pub canary: ArmTally,
    /// The concurrent champion's requests.
    pub control: ArmTally,
    /// The always-valid p of harm so far, by metric: the smallest over all looks.
    p: BTreeMap<CanaryMetric, f64>,
    requests_at_look: (u64, u64),
}

/// What to do with a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryVerdict {
    /// Stay in this step.
    Continue,
    /// Go to the next step, which the canary has moved to.
    NextStep,
    /// The last step is over: the version may serve.
    Promote,
    /// Give all traffic back to the champion.
    RollBack,
    /// Nothing can be said: there is no traffic, or a metric that nobody measures.
    Hold,
}

/// One metric at one look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryEvidence {
    /// What is compared.
    pub metric: CanaryMetric,
    /// Mean of the canary; of logarithms for latency and tokens.
    pub canary: f64,
    /// Mean of the control arm.
    pub control: f64,
    /// The difference, positive when the canary is worse.
    pub harm: f64,
    /// The always-valid interval of the harm, each end at error `alpha`; `None` while nothing varies.
    pub interval: Option<(f64, f64)>,
    /// The always-valid p of "no worse", the smallest so far.
    pub p: f64,
    /// The error that this metric may spend over all looks.
    pub alpha: f64,
    /// Requests measured in the smaller arm.
    pub requests: u64,
}

/// What a look at a canary found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryLook {
    /// What to do.
    pub verdict: CanaryVerdict,
    /// The metrics with enough requests to compare.
    pub evidence: Vec<CanaryEvidence>,
    /// One sentence for people.
    pub reason: String,
}

impl Canary {
    /// Takes in one request of an arm; requests of the rest are not watched.
    pub fn record(&mut self, arm: TrafficArm, outcome: &Outcome) {
        match arm {
            TrafficArm::Canary => self.canary.record(outcome),
            TrafficArm::Control => self.control.record(outcome),
            TrafficArm::Rest => {}
        }
    }

    /// Requests of the smaller arm.
    pub fn requests(&self) -> u64 {
        self.canary.requests.min(self.control.requests)
    }

    /// Looks at the arms, as often as wanted, and moves to the next step when this one is over. `settings` must pass their check.
    pub fn look(&mut self, settings: &CanarySettings) -> CanaryLook {
        let before = std::mem::replace(&mut self.requests_at_look, (self.canary.requests, self.control.requests));
        let share = settings.alpha / settings.metrics.len().max(1) as f64;
        let compared: Vec<CanaryEvidence> =
            settings.metrics.iter().filter_map(|(metric, tau)| self.compare(*metric, *tau, share, settings.burn_in)).collect();
        let (verdict, reason) = self.conclude(settings, &compared, before);
        CanaryLook { verdict, evidence: compared, reason }
    }

    fn conclude(&mut self, settings: &CanarySettings, compared: &[CanaryEvidence], before: (u64, u64)) -> (CanaryVerdict, String) {
        if let Some(fault) = self.canary.hard_fault {
            return (CanaryVerdict::RollBack, format!("rolled back: the canary {}, which stops it at once", fault.sentence()));
        }
        let harmful = compared.iter().filter(|evidence| evidence.harm > 0.0 && evidence.p <= evidence.alpha);
        if let Some(worst) = harmful.min_by(|a, b| a.p.total_cmp(&b.p)) {
            return (CanaryVerdict::RollBack, format!("rolled back: {}", sentence(worst)));
        }
        let arms = [("canary", self.canary.requests, before.0), ("control arm", self.control.requests, before.1)];
        if let Some((arm, total, _)) = arms.into_iter().find(|(_, now, before)| now == before) {
            let reason = format!("held: no request has reached the {arm} since the last look, {} in all", count(total));
            return (CanaryVerdict::Hold, reason);
        }
        let (requests, needed) = (self.requests(), settings.requests_of_step(self.step));
        let at = format!("step {} of {}", self.step + 1, settings.steps.len());
        let so_far = compared.iter().min_by(|a, b| a.p.total_cmp(&b.p)).map_or_else(String::new, |worst| format!("; {}", sentence(worst)));
        if requests < needed {
            let reason = format!("continues: {} of {} requests an arm in {at}{so_far}", count(requests), count(needed));
            return (CanaryVerdict::Continue, reason);
        }
        if self.step + 1 < settings.steps.len() {
            self.step += 1;
            let reason = format!("next step: {at} is over, {} of traffic follow{so_far}", percent(settings.steps[self.step]));
            return (CanaryVerdict::NextStep, reason);
        }
        let unmeasured = settings.metrics.keys().find(|metric| compared.iter().all(|evidence| evidence.metric != **metric));
        if let Some(metric) = unmeasured {
            let known = |tally: &ArmTally| tally.measured.get(metric).map_or(0, |moments| moments.count);
            let known = known(&self.canary).min(known(&self.control));
            let reason =
                format!("held: {} is known of {} requests an arm and {} are needed", metric.word(), count(known), count(settings.burn_in));
            return (CanaryVerdict::Hold, reason);
        }
        (CanaryVerdict::Promote, format!("through: no harm is shown after {} requests an arm{so_far}", count(requests)))
    }

    /// The evidence on one metric; `None` before the burn-in.
    fn compare(&mut self, metric: CanaryMetric, tau: f64, alpha: f64, burn_in: u64) -> Option<CanaryEvidence> {
        let (canary, control) = (self.canary.measured.get(&metric)?, self.control.measured.get(&metric)?);
        let requests = canary.count.min(control.count);
        if requests < burn_in.max(2) {
            return None;
        }
        // The spread of both arms around their common mean: what it is while they are alike, and never nothing when they differ.
        let mut both = *canary;
        both.merge(control);
        let variance = both.variance()? * (1.0 / canary.count as f64 + 1.0 / control.count as f64);
        let harm = metric.harm_sign() * (canary.mean - control.mean);
        let ratio = harm_likelihood_ratio(harm, variance, tau);
        let p = self.p.entry(metric).or_insert(1.0);
        *p = p.min(1.0 / ratio);
        let interval = always_valid_interval(harm, variance, tau, 2.0 * alpha);
        Some(CanaryEvidence { metric, canary: canary.mean, control: control.mean, harm, interval, p: *p, alpha, requests })
    }
}

fn sentence(evidence: &CanaryEvidence) -> String {
    let metric = evidence.metric;
    let (canary, control) = (metric.shown(evidence.canary), metric.shown(evidence.control));
    let change = |harm: f64| {
        let points = if metric.is_logarithm() { 100.0 * harm.exp_m1() } else { 100.0 * harm };
        format!("{points:+.2}{}", if metric.is_logarithm() { " %" } else { " points" })
    };
    let between = evidence.interval.map_or_else(String::new, |(low, high)| format!(", between {} and {}", change(low), change(high)));
    let (harm, p, alpha, requests) = (change(evidence.harm), number(evidence.p), number(evidence.alpha), count(evidence.requests));
    let word = metric.word();
    format!("{word} {canary}, control {control}: harm {harm}{between}, p = {p} against {alpha} after {requests} requests an arm")
}
