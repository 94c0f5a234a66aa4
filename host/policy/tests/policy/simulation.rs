//! How often gates are wrong, by simulation: an equal challenger must not be called better, nor one that is worse by the margin
//! be called as good, more often than the gate's error allows, up to Monte-Carlo error.

#![expect(clippy::unwrap_used, reason = "a gate that cannot be judged should fail its test")]

use rand::{Rng as _, RngExt as _};
use tidegate_policy::{Against, Dependence, Test, judge};
use tidegate_vocab::{Seed, Verdict};

use crate::cases::{Evidence, gate, right, rule};

/// Two models on rows in time. They disagree on `disagreement` of the rows, in stretches of `run_rows` rows on average; where
/// they disagree, the challenger is right with a probability that makes it better by `gain` on average.
fn rows(generator: &mut impl rand::Rng, rows: usize, disagreement: f64, run_rows: f64, gain: f64) -> (Vec<bool>, Vec<bool>) {
    let ahead = 0.5 + 0.5 * gain / disagreement;
    let (mut own, mut other) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut stretch: Option<(bool, bool)> = None;
    for _ in 0..rows {
        // A new stretch starts with probability 1 / run_rows, so that disagreement keeps its share.
        if stretch.is_none() || generator.random::<f64>() < 1.0 / run_rows {
            stretch = Some((generator.random::<f64>() < disagreement, generator.random::<f64>() < ahead));
        }
        let (disagree, ahead) = stretch.unwrap();
        let both = generator.random::<f64>() < 0.8;
        own.push(if disagree { ahead } else { both });
        other.push(if disagree { !ahead } else { both });
    }
    (own, other)
}

/// The share of simulated gates that pass.
fn pass_share(dependence: &Dependence, test: Test, row_count: usize, run_rows: f64, gain: f64, gates: u32) -> f64 {
    let mut gate = gate(dependence.clone(), vec![rule("accuracy", Against::Champion, test)]);
    (gate.resamples, gate.rows_per_class_min) = (200, 0);
    let mut generator = Seed(2026).rng("simulation");
    let mut passed = 0;
    for _ in 0..gates {
        let (own, other) = rows(&mut generator, row_count, 0.08, run_rows, gain);
        let mut evidence = Evidence::new(row_count, vec![right(&own)], vec![(Against::Champion, vec![right(&other)])]);
        evidence.seed = Seed(generator.next_u64());
        passed += u32::from(judge(&gate, 1, &evidence.input()).unwrap().rules[0].verdict == Verdict::Pass);
    }
    f64::from(passed) / f64::from(gates)
}

#[test]
fn false_promotions_stay_within_alpha() {
    const MARGIN: f64 = 0.02;
    let not_worse = Test::NonInferior { margin: MARGIN };
    let alpha = 0.05f64;
    let check = |dependence: Dependence, test: Test, row_count: usize, run_rows: f64, gates: u32| {
        let gain = if test == Test::Superior { 0.0 } else { -MARGIN };
        let share = pass_share(&dependence, test, row_count, run_rows, gain, gates);
        let chance = 3.0 * (alpha * (1.0 - alpha) / f64::from(gates)).sqrt();
        assert!(share <= alpha + chance, "{dependence:?} {test:?} {row_count} rows, stretches of {run_rows}: {share} of {gates}");
        // A gate that never passes would be safe and useless; at the border it passes about as often as it may.
        assert!(share >= 0.2 * alpha, "{dependence:?} {test:?} {row_count} rows, stretches of {run_rows}: {share} of {gates}");
    };
    for row_count in [300, 1000] {
        check(Dependence::Independent, Test::Superior, row_count, 1.0, 3000);
        check(Dependence::Independent, not_worse, row_count, 1.0, 3000);
        check(Dependence::Time, Test::Superior, row_count, 1.0, 700);
        check(Dependence::Time, not_worse, row_count, 1.0, 700);
        check(Dependence::Time, Test::Superior, row_count, 1.5, 700);
    }
}

#[test]
fn power_is_what_the_formula_says() {
    let not_worse = Test::NonInferior { margin: 0.02 };
    let rows = tidegate_policy::power_rows(0.02, 0.08, 0.95, 1) as usize;
    let share = pass_share(&Dependence::Independent, not_worse, rows, 1.0, 0.0, 2000);
    assert!((0.75..0.85).contains(&share), "an equal challenger passes with {rows} rows in {share} of cases");
    for (gain, row_count) in [(0.0, rows), (-0.01, rows), (0.01, 600), (-0.02, 4_000)] {
        let simulated = pass_share(&Dependence::Independent, not_worse, row_count, 1.0, gain, 2000);
        let formula = tidegate_policy::chance_to_pass(gain, -0.02, 0.08, row_count as u64, 0.05);
        assert!(
            (simulated - formula).abs() < 0.04,
            "better by {gain} with {row_count} rows: {simulated} of cases, {formula} by the formula"
        );
    }
}
