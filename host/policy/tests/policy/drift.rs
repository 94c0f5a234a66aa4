//! Drift as tables: rows in, what moved and the sentence out; what is refused; and how often it is wrong.

#![expect(clippy::unwrap_used, reason = "a look that finds nothing should fail its test")]

use proptest::prelude::*;
use tidegate_policy::{DriftColumn, DriftReference, DriftSettings, DriftState, DriftWindow, normal_quantile, wasserstein};
use tidegate_vocab::Seed;

use crate::statistics::near;

fn normal(seed: u64, rows: usize, mean: f64) -> Vec<f64> {
    let mut rng = Seed(seed).rng("drift");
    (0..rows).map(|_| mean + normal_quantile(rng.random::<f64>().clamp(1e-12, 1.0 - 1e-12))).collect()
}

fn settings(window_rows: u64) -> DriftSettings {
    DriftSettings { window_rows, ..DriftSettings::usual() }
}

fn window(reference: &DriftReference, columns: &[DriftColumn<'_>]) -> DriftWindow {
    let mut window = DriftWindow::default();
    reference.add(&mut window, columns);
    window
}

/// Windows of `a`, whose reference is standard normal, and of the words `b`: for each, which drift and the sentence.
#[track_caller]
fn check(windows: &[(f64, [&str; 2])], expected: &[&str]) {
    let words = |pair: [&'static str; 2], rows: usize| -> Vec<Option<&'static str>> { (0..rows).map(|row| Some(pair[row % 2])).collect() };
    let (a, b) = (normal(1, 4_000, 0.0), words(["oslo", "rome"], 4_000));
    let columns = [("a", DriftColumn::Numbers(&a)), ("b", DriftColumn::Words(&b))];
    let reference = DriftReference::of(&columns, settings(500));
    assert_eq!(reference.refused, []);
    let mut state = DriftState::default();
    for (index, ((mean, pair), expected)) in windows.iter().zip(expected).enumerate() {
        let pair: [&'static str; 2] = pair.map(|word| {
            if word == "oslo" {
                "oslo"
            } else if word == "rome" {
                "rome"
            } else {
                "bergen"
            }
        });
        let (a, b) = (normal(10 + index as u64, 500, *mean), words(pair, 500));
        let window = window(&reference, &[DriftColumn::Numbers(&a), DriftColumn::Words(&b)]);
        let look = reference.look(&window, &mut state).unwrap();
        assert!(look.reason.starts_with(expected), "window {index}: {}", look.reason);
        assert_eq!(look.drifts(), look.reason.contains("of the last 3 windows"));
    }
}

#[test]
fn a_feature_drifts_when_it_moves_again() {
    let same = ["oslo", "rome"];
    check(
        &[(0.0, same), (1.0, same), (0.0, same), (1.0, same), (1.0, ["oslo", "bergen"]), (1.0, ["oslo", "bergen"]), (0.0, same)],
        &[
            "nothing moved of 2 features, over 500 rows",
            "1 of 2 features, over 500 rows, moved in this window alone: `a` by 1.",
            "nothing moved of 2 features",
            "1 of 2 features, over 500 rows, moved in 2 of the last 3 windows: `a` by ",
            "1 of 2 features, over 500 rows, moved in 2 of the last 3 windows: `a` by ",
            "2 of 2 features, over 500 rows, moved in 2 of the last 3 windows: `b` by 0.7",
            "nothing moved of 2 features",
        ],
    );
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_reason() {
    let (varies, constant, none, few) = (normal(1, 2_000, 0.0), vec![7.0; 2_000], vec![f64::NAN; 2_000], normal(2, 1_999, 0.0));
    let columns = [
        ("varies", DriftColumn::Numbers(&varies)),
        ("constant", DriftColumn::Numbers(&constant)),
        ("none", DriftColumn::Numbers(&none)),
        ("few", DriftColumn::Numbers(&few)),
    ];
    let reference = DriftReference::of(&columns, settings(500));
    let refused: Vec<(&str, &str)> = reference.refused.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("constant", "does not vary in the reference"),
            ("none", "does not vary in the reference"),
            ("few", "has 1999 reference rows, and 4 windows of 500 are needed"),
        ]
    );
    assert_eq!(reference.columns().collect::<Vec<_>>(), ["varies"]);
    let small = window(&reference, &[DriftColumn::Numbers(&varies[..299])]);
    assert_eq!(reference.look(&small, &mut DriftState::default()), None, "too few rows say nothing");
}

#[test]
fn missing_rows_unseen_words_and_texts_move_too() {
    let look = |reference: &DriftReference, column: DriftColumn<'_>| {
        reference.look(&window(reference, &[column]), &mut DriftState::default()).unwrap().features.remove(0)
    };
    let numbers = normal(1, 4_000, 0.0);
    let mut gaps = normal(2, 500, 0.0);
    gaps.iter_mut().step_by(2).for_each(|value| *value = f64::NAN);
    let reference = DriftReference::of(&[("a", DriftColumn::Numbers(&numbers))], settings(500));
    let found = look(&reference, DriftColumn::Numbers(&gaps));
    assert!(found.moved && (found.effect - 0.5).abs() < 0.01, "half of the rows are missing: {found:?}");
    let found = look(&reference, DriftColumn::Numbers(&[1e9; 500]));
    assert!(found.moved && found.effect > 1e6, "far above all that was seen: {found:?}");

    let text = |seed: u64, words: [&str; 2]| -> Vec<String> {
        let mut rng = Seed(seed).rng("texts");
        (0..2_500).map(|row| format!("{} {} {row}", words[rng.random_range(0..2)], words[rng.random_range(0..2)])).collect()
    };
    let as_words = |texts: &[String]| -> Vec<Option<String>> { texts.iter().cloned().map(Some).collect() };
    let (before, after) = (as_words(&text(1, ["storm", "calm"])), as_words(&text(2, ["harbour", "closed"])));
    let borrowed = |texts: &'static [Option<String>]| -> Vec<Option<&'static str>> { texts.iter().map(|text| text.as_deref()).collect() };
    let (before, after) = (borrowed(before.leak()), borrowed(after.leak()));
    let reference = DriftReference::of(&[("t", DriftColumn::Words(&before))], settings(500));
    assert!(look(&reference, DriftColumn::Words(&after[..500])).moved);
    assert!(!look(&reference, DriftColumn::Words(&before[..500])).moved);
}

#[test]
fn the_binned_distance_is_close_to_that_of_the_values() {
    let (reference_rows, moved) = (normal(1, 4_000, 0.0), normal(2, 500, 0.4));
    let reference = DriftReference::of(&[("a", DriftColumn::Numbers(&reference_rows))], settings(500));
    let found = reference.look(&window(&reference, &[DriftColumn::Numbers(&moved)]), &mut DriftState::default()).unwrap();
    let exact = wasserstein(&reference_rows, &moved).unwrap();
    let mut sorted = reference_rows.clone();
    sorted.sort_by(f64::total_cmp);
    let iqr = (sorted[3_999 * 3 / 4] - sorted[3_999 / 4]) / 1.349;
    assert!((found.features[0].effect - exact / iqr).abs() < 0.01, "{} {}", found.features[0].effect, exact / iqr);
}

#[test]
fn independent_rows_are_tested_as_such() {
    let rows = normal(1, 4_000, 0.0);
    let settings = DriftSettings { independent: true, ..settings(500) };
    let reference = DriftReference::of(&[("a", DriftColumn::Numbers(&rows))], settings);
    let p = |mean: f64| {
        let moved = normal(2, 500, mean);
        reference.look(&window(&reference, &[DriftColumn::Numbers(&moved)]), &mut DriftState::default()).unwrap().features.remove(0).p
    };
    assert!(p(0.0) > 0.05 && p(0.3) < 1e-6, "{} {}", p(0.0), p(0.3));
}

#[test]
fn the_least_effect_and_the_share_of_false_finds_decide() {
    let rows = normal(1, 4_000, 0.0);
    let moves = |mean: f64, settings: DriftSettings| {
        let reference = DriftReference::of(&[("a", DriftColumn::Numbers(&rows))], settings);
        let moved = normal(2, 500, mean);
        reference.look(&window(&reference, &[DriftColumn::Numbers(&moved)]), &mut DriftState::default()).unwrap().features.remove(0)
    };
    let usual = settings(500);
    let found = moves(0.5, usual);
    assert!(found.moved && found.effect < 0.7, "{found:?}");
    assert!(!moves(0.5, DriftSettings { effect_min: 0.7, ..usual }).moved, "nobody minds so little");
    assert!(!moves(0.5, DriftSettings { q: found.p / 2.0, ..usual }).moved, "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn windows_add_up_and_the_order_of_rows_and_features_says_nothing(seed in 0u64..1_000, cut in 1usize..499) {
        let (a, b) = (normal(seed, 2_000, 0.0), normal(seed + 1, 2_000, 3.0));
        let (new_a, new_b) = (normal(seed + 2, 500, 0.2), normal(seed + 3, 500, 3.0));
        let columns = [("a", DriftColumn::Numbers(&a)), ("b", DriftColumn::Numbers(&b))];
        let reference = DriftReference::of(&columns, settings(500));
        let whole = window(&reference, &[DriftColumn::Numbers(&new_a), DriftColumn::Numbers(&new_b)]);
        let part = |from, to| window(&reference, &[DriftColumn::Numbers(&new_a[from..to]), DriftColumn::Numbers(&new_b[from..to])]);
        let mut joined = part(cut, 500);
        joined.merge(&part(0, cut));
        prop_assert_eq!(joined.rows(), 500);
        let look = |reference: &DriftReference, window: &DriftWindow| reference.look(window, &mut DriftState::default()).unwrap();
        let (once, again) = (look(&reference, &whole), look(&reference, &joined));
        for (one, other) in once.features.iter().zip(&again.features) {
            prop_assert_eq!(&one.name, &other.name);
            near(one.effect, other.effect, "effect");
        }
        let turned = DriftReference::of(&[columns[1], columns[0]], settings(500));
        let same = look(&turned, &window(&turned, &[DriftColumn::Numbers(&new_b), DriftColumn::Numbers(&new_a)]));
        prop_assert_eq!(&same.features, &once.features);
        let read: DriftReference = serde_json::from_str(&serde_json::to_string(&reference).unwrap()).unwrap();
        prop_assert_eq!(look(&read, &whole), once);
    }
}
