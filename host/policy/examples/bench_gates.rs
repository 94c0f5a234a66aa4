//! Simulates canaries and gates through the functions that decide about real ones, and prints one JSON row a figure:
//! `figure, value, unit, against, ratio, bar`. A bar is reached when `ratio` is at most `bar`.
//!
//! By hand: `cargo run -p tidegate-policy --example bench_gates [FIGURE] [--json]`. Seeded: the same numbers every time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]

use std::collections::BTreeMap;

use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF as _, Gamma, Normal};
use tidegate_policy::{
    Against, ArmTally, Canary, CanaryMetric, CanarySettings, CanaryVerdict, Dependence, Gate, GateRows, JudgeInput, Moments, RowsMin, Rule,
    Test, judge,
};
use tidegate_vocab::{DecisionKind, MetricInfo, MetricTerms, Seed, Terms, Verdict};

const SIMULATIONS: u32 = 20_000;
/// Histories of 50 retrains each, the dearest of the simulations.
const HISTORIES: u32 = 2_000;
const ALPHA: f64 = 0.05;
/// Requests an arm between two looks at a canary.
const LOOK_REQUESTS: u64 = 50;
/// Share of rows on which two versions disagree.
const DISAGREEMENT: f64 = 0.08;

fn main() {
    let mut rows = Vec::new();
    let figures: [(&str, fn(&mut Vec<serde_json::Value>)); 5] =
        [("canary", canaries), ("superior", superior), ("non-inferior", non_inferior), ("ratchet", ratchet), ("decision", decision)];
    let wanted = std::env::args().skip(1).find(|argument| argument != "--json");
    for (name, figure) in figures {
        if wanted.as_deref().is_none_or(|part| name.contains(part)) {
            figure(&mut rows);
        }
    }
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::Value::from(rows));
    } else {
        rows.iter().for_each(|row| println!("{row}"));
    }
}

/// A share of simulations that may be at most `bound`, or at least where `at_least`; two standard errors are allowed on top.
fn share_row(figure: &str, hits: u32, simulations: u32, bound: f64, at_least: bool) -> serde_json::Value {
    let value = f64::from(hits) / f64::from(simulations);
    let se = (bound * (1.0 - bound) / f64::from(simulations)).sqrt();
    let (word, limit) = if at_least { ("at least", bound - 2.0 * se) } else { ("at most", bound + 2.0 * se) };
    let ratio = if at_least { limit / value } else { value / limit };
    let (percent, sign) = (100.0 * bound, if at_least { '-' } else { '+' });
    let against = format!("{word} {percent:.0} % {sign} 2 se, se {:.2} % of {simulations} simulations", 100.0 * se);
    row(figure, 100.0 * value, "%", against, ratio, Some(1.0))
}

fn row(figure: &str, value: f64, unit: &str, against: String, ratio: f64, bar: Option<f64>) -> serde_json::Value {
    serde_json::json!({ "figure": figure, "value": value, "unit": unit, "against": against, "ratio": ratio, "bar": bar })
}

/// How many of the simulations `hits` is true for, each with a generator of its own.
fn count(purpose: &str, simulations: u32, hits: impl Fn(&mut ChaCha8Rng) -> bool + Sync) -> u32 {
    let one = |index: u32| u32::from(hits(&mut Seed(20_260_103).derive(&format!("{purpose}-{index}")).rng("bench")));
    (0..simulations).into_par_iter().map(one).sum()
}

// Canaries.

/// A canary of which `errors` fail, against a base of 5 %, until it is decided: the verdict, and requests an arm.
fn run_canary(generator: &mut ChaCha8Rng, errors: &[f64], base: &[f64], settings: &CanarySettings) -> (CanaryVerdict, u64) {
    let normal = Normal::standard();
    let spread = Gamma::new((LOOK_REQUESTS - 1) as f64 / 2.0, 0.5).unwrap();
    // What 50 requests add up to is drawn at once: their errors, and mean and spread of their logarithms.
    let mut arm = |errors: &[f64], tally: &mut ArmTally| {
        let mut part = ArmTally { requests: LOOK_REQUESTS, ..ArmTally::default() };
        part.measured.insert(CanaryMetric::Errors, zeros_and_ones(sample(errors, generator.random())));
        part.measured.insert(CanaryMetric::Quality, zeros_and_ones(sample(&RIGHT.with(Clone::clone), generator.random())));
        for (metric, centre, deviation) in [(CanaryMetric::Latency, -4.0, 0.5), (CanaryMetric::Tokens, 5.0, 0.8)] {
            let mean = centre + deviation * normal.inverse_cdf(generator.random::<f64>()) / (LOOK_REQUESTS as f64).sqrt();
            let moments = Moments { count: LOOK_REQUESTS, mean, deviation: deviation * deviation * spread.inverse_cdf(generator.random()) };
            part.measured.insert(metric, moments);
        }
        tally.merge(&part);
    };
    let mut canary = Canary::default();
    loop {
        arm(errors, &mut canary.canary);
        arm(base, &mut canary.control);
        let verdict = canary.look(settings).verdict;
        if matches!(verdict, CanaryVerdict::RollBack | CanaryVerdict::Promote) {
            return (verdict, canary.requests());
        }
    }
}
