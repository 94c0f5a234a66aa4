//! `[pipeline.NAME.rollout]`: how a version that passed its gate takes over requests.

use std::collections::BTreeMap;

use tidegate_policy::{CanaryMetric, CanarySettings, RolloutSettings};

use super::section::{self, Section};

/// Steps of a canary.
const STEPS_MAX: usize = 20;

/// `[pipeline.NAME.rollout]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutConfig {
    /// Shadow and canary.
    pub settings: RolloutSettings,
    /// The longest that one row may take in the check before both.
    pub answer_ms_max: u64,
}

pub(super) fn rollout(section: Section<'_>) -> RolloutConfig {
    let mut canary = CanarySettings::usual();
    if let Some(steps) = steps(&section) {
        canary.steps = steps;
    }
    canary.burn_in = section.integer("burn_in", 2..=1_000_000).unwrap_or(canary.burn_in);
    canary.requests_max = section.integer("requests_max", 2..=100_000_000).unwrap_or(canary.requests_max);
    if canary.requests_max < canary.burn_in {
        let (key, least) = (if section.has("requests_max") { "requests_max" } else { "burn_in" }, canary.burn_in);
        let message = format!("`[{}] requests_max` is {}, less than `burn_in`, which is {least}", section.path, canary.requests_max);
        section.problem(section.place(key), message, "nothing would ever be compared", None);
    }
    canary.alpha = section.number("alpha", 0.000_001..=0.499_999).unwrap_or(canary.alpha);
    canary.metrics = metrics(&section, &canary.metrics);
    section.choice("on_no_traffic", &[("hold", ())]);
    let settings = RolloutSettings {
        shadow_requests: section.integer("shadow_requests", 0..=100_000_000).unwrap_or(200),
        agreement_min: section.number("agreement_min", 0.0..=1.0).unwrap_or(0.0),
        canary,
    };
    let answer_ms_max = section.integer("answer_ms_max", 1..=600_000).unwrap_or(1_000);
    section.finish();
    RolloutConfig { settings, answer_ms_max }
}

/// Shares in percent, as shares. The control arm is as large as the canary, so that neither can have more than half.
fn steps(section: &Section<'_>) -> Option<Vec<f64>> {
    let shares = section.integers("canary", 1..=50)?;
    let rising = shares.windows(2).all(|pair| pair[0].value < pair[1].value);
    if !rising || shares.len() > STEPS_MAX {
        let message = format!("`[{}] canary` must be at most {STEPS_MAX} shares in percent, rising", section.path);
        section.problem(section.place("canary"), message, "expected rising shares such as `[1, 5, 25, 50]`", None);
    }
    Some(shares.iter().map(|share| share.value as f64 / 100.0).collect())
}

/// What the arms are compared by. Quality takes labels that come for answered rows: where none come, a canary would wait for ever, so
/// that it has to be asked for. Nothing that is served here counts tokens.
fn metrics(section: &Section<'_>, usual: &BTreeMap<CanaryMetric, f64>) -> BTreeMap<CanaryMetric, f64> {
    let known = [CanaryMetric::Errors, CanaryMetric::Latency, CanaryMetric::Quality];
    let named = section.texts("metrics").map(|named| {
        let words: Vec<&str> = known.iter().map(|metric| metric.word()).collect();
        let metric = |word: &section::Placed<String>| {
            let found = known.into_iter().find(|metric| metric.word() == word.value);
            if found.is_none() {
                let message = format!("`[{}] metrics` has no `{}`", section.path, section::shown(&word.value));
                section.problem(word.span.clone(), message, format!("expected {}", section::one_of(&words)), None);
            }
            found
        };
        if named.is_empty() {
            let message = format!("`[{}] metrics` must name at least one", section.path);
            section.problem(section.place("metrics"), message, format!("expected some of {}", section::one_of(&words)), None);
        }
        named.iter().filter_map(metric).collect()
    });
    let compared: Vec<CanaryMetric> = named.unwrap_or_else(|| vec![CanaryMetric::Errors, CanaryMetric::Latency]);
    usual.iter().filter(|(metric, _)| compared.contains(metric)).map(|(metric, tau)| (*metric, *tau)).collect()
}
