//! Simulates canaries and gates through the functions that decide about real ones, and prints one JSON row a figure:
//! `figure, value, unit, against, ratio, bar`. A bar is reached when `ratio` is at most `bar`.
//!
//! By hand: `cargo run -p tidegate-policy --example bench_decisions [FIGURE] [--json]`. Seeded: the same numbers every time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]

mod drift;
mod guard;

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF as _, Gamma, Normal};
use tidegate_policy::{
    Against, Approval, ArmTally, Canary, CanaryMetric, CanarySettings, CanaryVerdict, Dependence, Gate, GateRows, Interval, JudgeInput,
    Moments, RowsMin, Rule, Test, judge,
};
use tidegate_vocab::{DecisionKind, MetricInfo, MetricTerms, Seed, Terms, Verdict};

const SIMULATIONS: u32 = 20_000;
/// Histories of 50 retrains each, the dearest of the simulations.
const HISTORIES: u32 = 500;
const ALPHA: f64 = 0.05;
/// Requests an arm between two looks at a canary.
const LOOK_REQUESTS: u64 = 50;
/// Share of rows on which two versions disagree.
const DISAGREEMENT: f64 = 0.08;

/// Adds its figures to the rows.
type Simulate = fn(&mut Vec<serde_json::Value>);

fn main() {
    let mut rows = Vec::new();
    let figures: [(&str, Simulate); 7] = [
        ("canary", canaries),
        ("superior", superior),
        ("non-inferior", non_inferior),
        ("ratchet", ratchet),
        ("decision", decision),
        ("drift", drift::drift),
        ("guard", guard::guard),
    ];
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

/// The distribution function of a binomial count of `n`, as a table.
struct Binomial(Vec<f64>);

impl Binomial {
    fn new(n: u64, p: f64) -> Binomial {
        let mut weight = (1.0 - p).powi(n as i32);
        let mut below = 0.0;
        let cumulated = (0..=n).map(|k| {
            below += weight;
            weight *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            below
        });
        Binomial(cumulated.collect())
    }

    fn draw(&self, generator: &mut ChaCha8Rng) -> u64 {
        let place = generator.random::<f64>();
        self.0.partition_point(|below| *below < place) as u64
    }
}

/// So many ones among the requests between two looks.
fn zeros_and_ones(ones: u64) -> Moments {
    let mean = ones as f64 / LOOK_REQUESTS as f64;
    Moments { count: LOOK_REQUESTS, mean, deviation: ones as f64 * (1.0 - mean) }
}

/// A canary of which `errors` fail, against a base of 5 %, until it is decided: the verdict, and requests an arm.
fn run_canary(
    generator: &mut ChaCha8Rng,
    errors: &Binomial,
    base: &Binomial,
    right: &Binomial,
    settings: &CanarySettings,
) -> (CanaryVerdict, u64) {
    let normal = Normal::standard();
    let spread = Gamma::new((LOOK_REQUESTS - 1) as f64 / 2.0, 0.5).unwrap();
    // What 50 requests add up to is drawn at once: their errors, and mean and spread of their logarithms.
    let mut arm = |errors: &Binomial, tally: &mut ArmTally| {
        let mut part = ArmTally { requests: LOOK_REQUESTS, ..ArmTally::default() };
        part.measured.insert(CanaryMetric::Errors, zeros_and_ones(errors.draw(generator)));
        part.measured.insert(CanaryMetric::Quality, zeros_and_ones(right.draw(generator)));
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

fn canaries(rows: &mut Vec<serde_json::Value>) {
    let settings = CanarySettings::usual();
    let (base, worse, right) = (Binomial::new(LOOK_REQUESTS, 0.05), Binomial::new(LOOK_REQUESTS, 0.06), Binomial::new(LOOK_REQUESTS, 0.9));
    let is_back = |verdict| verdict == CanaryVerdict::RollBack;
    let good = count("good canary", SIMULATIONS, |generator| is_back(run_canary(generator, &base, &base, &right, &settings).0));
    rows.push(share_row("good canary rolled back", good, SIMULATIONS, ALPHA, false));
    let one = |index: u32| {
        let mut generator = Seed(20_260_103).derive(&format!("bad canary-{index}")).rng("bench");
        run_canary(&mut generator, &worse, &base, &right, &settings)
    };
    let ended: Vec<(CanaryVerdict, u64)> = (0..SIMULATIONS).into_par_iter().map(one).collect();
    let mut found: Vec<u64> = ended.iter().filter(|(verdict, _)| is_back(*verdict)).map(|(_, requests)| *requests).collect();
    found.sort_unstable();
    let share = found.len() as f64 / f64::from(SIMULATIONS);
    let against = format!("at least 85 %, of {SIMULATIONS} simulations");
    rows.push(row("canary with one point more errors found", 100.0 * share, "%", against, 0.85 / share, Some(1.0)));
    // Canaries that were not found count as the cap.
    let median = found.get(SIMULATIONS as usize / 2).copied().unwrap_or(settings.requests_max) as f64;
    rows.push(row("until it is found, median", median, "requests an arm", "at most 11500".into(), median / 11_500.0, Some(1.0)));
}

// Gates.

fn gate(rules: Vec<Rule>) -> Gate {
    Gate {
        rows: GateRows::Arriving,
        dependence: Dependence::Independent,
        confidence: 1.0 - ALPHA,
        rows_min: RowsMin::Rows(100),
        rows_per_class_min: 0,
        looks_max: 1,
        resamples: 2_000,
        interval: Interval::Percentile,
        maturity_min: None,
        approval: Approval::None,
        slices: Vec::new(),
        rules,
    }
}

fn rule(against: Against, test: Test) -> Rule {
    Rule { id: format!("{}-{against}", test.word()), metric: "accuracy".into(), against, test, gain_max: None }
}

fn accuracy(right: Vec<f64>) -> Vec<MetricTerms> {
    let metric = MetricInfo { name: "accuracy".into(), unit: "1".into(), higher_is_better: true };
    vec![MetricTerms { metric, terms: Terms::Mean { values: right } }]
}

/// What the gate says of these models on as many rows.
fn decided(gate: &Gate, look: u32, challenger: Vec<f64>, others: Vec<(Against, Vec<f64>)>) -> tidegate_policy::GateVerdict {
    let labels: Vec<u32> = (0..challenger.len()).map(|row| row as u32 % 2).collect();
    let others: BTreeMap<Against, Vec<MetricTerms>> = others.into_iter().map(|(against, right)| (against, accuracy(right))).collect();
    let challenger = accuracy(challenger);
    let input = JudgeInput {
        labels: &labels,
        class_count: 2,
        clusters: &[],
        slices: &BTreeMap::new(),
        maturity: None,
        challenger: &challenger,
        others: &others,
        seed: Seed(1),
    };
    judge(gate, look, &input).unwrap()
}

/// A model that is right where `other` is, but on [`DISAGREEMENT`] of the rows, so that it is better by `gain` on average.
fn relative(generator: &mut ChaCha8Rng, other: &[f64], gain: f64) -> Vec<f64> {
    let share = other.iter().sum::<f64>() / other.len() as f64;
    // Of the rows on which the other is wrong, and of those on which it is right, so many turn.
    let (up, down) = (0.5 * (DISAGREEMENT + gain) / (1.0 - share), 0.5 * (DISAGREEMENT - gain) / share);
    other.iter().map(|right| if generator.random::<f64>() < if *right > 0.5 { down } else { up } { 1.0 - right } else { *right }).collect()
}

fn model(generator: &mut ChaCha8Rng, rows: usize) -> Vec<f64> {
    (0..rows).map(|_| f64::from(u8::from(generator.random::<f64>() < 0.85))).collect()
}

/// In how many of the simulations a challenger that is better by `gain` passes the one rule.
fn passes(purpose: &str, test: Test, rows: usize, gain: f64) -> u32 {
    let gate = gate(vec![rule(Against::Champion, test)]);
    count(purpose, SIMULATIONS, |generator| {
        let champion = model(generator, rows);
        let challenger = relative(generator, &champion, gain);
        decided(&gate, 1, challenger, vec![(Against::Champion, champion)]).rules[0].verdict == Verdict::Pass
    })
}

fn superior(rows: &mut Vec<serde_json::Value>) {
    let equal = passes("equal", Test::Superior, 5_000, 0.0);
    rows.push(share_row("equal model promoted by `superior`, n = 5000", equal, SIMULATIONS, ALPHA, false));
    let better = passes("better", Test::Superior, 5_000, 0.01);
    rows.push(share_row("one point better promoted by `superior`, n = 5000", better, SIMULATIONS, 0.8, true));
}

fn non_inferior(rows: &mut Vec<serde_json::Value>) {
    for n in [300, 1_000, 5_000, 20_000] {
        let worse = passes(&format!("worse {n}"), Test::NonInferior { margin: 0.01 }, n, -0.01);
        rows.push(share_row(&format!("one point worse passes `non-inferior` 0.01, n = {n}"), worse, SIMULATIONS, ALPHA, false));
    }
}

/// Fifty retrains, each 0.3 points worse than its champion and looked at three times, as gates do: what is lost in the end, with the
/// anchor and without.
fn ratchet(rows: &mut Vec<serde_json::Value>) {
    const MARGIN: f64 = 0.01;
    const LOOKS: u32 = 3;
    let test = Test::NonInferior { margin: MARGIN };
    for (n, with_anchor) in [(5_000, true), (20_000, true), (5_000, false)] {
        let mut rules = vec![rule(Against::Champion, test)];
        rules.extend(with_anchor.then(|| rule(Against::Anchor, test)));
        let gate = Gate { looks_max: LOOKS, ..gate(rules) };
        let one = |index: u32| {
            let generator = &mut Seed(20_260_103).derive(&format!("ratchet-{n}-{with_anchor}-{index}")).rng("bench");
            let mut lost = 0.0;
            for _ in 0..50 {
                let anchor = model(generator, n);
                let champion = relative(generator, &anchor, -lost);
                let challenger = relative(generator, &champion, -0.003);
                // As rows arrive: at a third of them, at two thirds, at all, until somebody is promoted or rejected.
                let until = |look: u32, right: &[f64]| right[..n * look as usize / LOOKS as usize].to_vec();
                let look = |look: u32| {
                    let others = vec![(Against::Champion, until(look, &champion)), (Against::Anchor, until(look, &anchor))];
                    decided(&gate, look, until(look, &challenger), others).kind
                };
                if (1..=LOOKS).map(look).find(|kind| *kind != DecisionKind::Hold) == Some(DecisionKind::Promote) {
                    lost += 0.003;
                }
            }
            lost
        };
        let lost: Vec<f64> = (0..HISTORIES).into_par_iter().map(one).collect();
        let mean = 100.0 * lost.iter().sum::<f64>() / f64::from(HISTORIES);
        let most = 100.0 * lost.iter().copied().fold(0.0, f64::max);
        let figure = format!("lost over 50 retrains, n = {n}, {}", if with_anchor { "anchor" } else { "no anchor" });
        let against = format!("at most one margin, {} points; most of {HISTORIES} histories {most:.1}", 100.0 * MARGIN);
        let bar = with_anchor.then_some(1.0);
        rows.push(row(&figure, mean, "points", against, mean / (100.0 * MARGIN), bar));
    }
}

/// One decision with 20 rules on 100,000 rows in time, 2,000 resamples: sixteen means and ratios, two quantiles, two rankings.
fn decision(rows: &mut Vec<serde_json::Value>) {
    const ROWS: usize = 100_000;
    let generator = &mut Seed(7).rng("decision");
    let named = |index: usize, terms: Terms| {
        let metric = MetricInfo { name: format!("metric-{index}"), unit: "1".into(), higher_is_better: true };
        MetricTerms { metric, terms }
    };
    let mut metrics = |shift: f64| -> Vec<MetricTerms> {
        let mut uniform = |scale: f64| -> Vec<f64> { (0..ROWS).map(|_| scale * generator.random::<f64>() + shift).collect() };
        let mut all: Vec<Terms> = (0..8).map(|_| Terms::Mean { values: uniform(1.0) }).collect();
        all.extend((0..8).map(|_| Terms::Ratio { numerators: uniform(1.0), denominators: uniform(2.0) }));
        all.extend((0..2).map(|_| Terms::Quantile { q: 0.95, values: uniform(1.0) }));
        all.extend((0..2).map(|_| Terms::Ranking { values: uniform(1.0), labels: (0..ROWS).map(|row| (row % 2) as u8).collect() }));
        all.into_iter().enumerate().map(|(index, terms)| named(index, terms)).collect()
    };
    let (challenger, champion) = (metrics(0.01), metrics(0.0));
    let named = |index: usize| Rule { metric: format!("metric-{index}"), ..rule(Against::Champion, Test::NonInferior { margin: 0.02 }) };
    let rules = (0..20).map(|index| Rule { id: format!("rule-{index}"), ..named(index) }).collect();
    let gate = Gate { dependence: Dependence::Time, ..gate(rules) };
    let labels: Vec<u32> = (0..ROWS).map(|row| row as u32 % 2).collect();
    let others = BTreeMap::from([(Against::Champion, champion)]);
    let input = JudgeInput {
        labels: &labels,
        class_count: 2,
        clusters: &[],
        slices: &BTreeMap::new(),
        maturity: None,
        challenger: &challenger,
        others: &others,
        seed: Seed(1),
    };
    let began = std::time::Instant::now();
    judge(&gate, 1, &input).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let figure = "gate decision, 20 rules, 100000 rows, 2000 resamples";
    rows.push(row(figure, seconds, "s", "at most 1 s".into(), seconds, Some(1.0)));
}
