//! Gates and verdicts in words, as tables.

use tidegate_policy::{Against, Approval, Dependence, Gate, GateRows, Interval, RowsMin, Rule, SliceRule, Test};
use tidegate_vocab::{RuleVerdict, Verdict};

fn gate() -> Gate {
    Gate {
        rows: GateRows::Arriving,
        dependence: Dependence::Time,
        confidence: 0.95,
        rows_min: RowsMin::Rows(300),
        rows_per_class_min: 30,
        looks_max: 3,
        resamples: 2_000,
        interval: Interval::Percentile,
        maturity_min: None,
        approval: Approval::None,
        slices: Vec::new(),
        rules: vec![rule(Test::NonInferior { margin: 0.02 }, Against::Champion)],
    }
}

fn rule(test: Test, against: Against) -> Rule {
    Rule { id: "r".into(), metric: "accuracy".into(), against, test, gain_max: None }
}

#[test]
fn a_gate_says_how_it_judges() {
    assert_eq!(
        gate().in_words(),
        [
            "A version is judged on rows that arrived after it was trained, when 300, then 600 of them have their labels; while a rule is \
             inconclusive, again at 900.",
            "A rule passes when the rows show what it asks with 98.3 % confidence, so that all 3 looks err with 5.0 %; it fails when they \
             show the opposite as surely, and is inconclusive in between.",
            "Neighbours in time are taken as alike, so that rows count for less than their number; bounds without a formula come from 2,000 \
             resamples of whole blocks.",
            "Nothing is concluded from rows unless each class has 30 of them.",
            "All rules must pass for a version to serve. One that fails rejects it; a rule that stays inconclusive to the last look does too.",
        ]
    );
}

#[test]
fn every_setting_is_told() {
    #[track_caller]
    fn check(change: fn(&mut Gate), expected: &str) {
        let mut gate = gate();
        change(&mut gate);
        let said = gate.in_words();
        assert!(said.iter().any(|line| line == expected), "{said:#?}");
    }
    check(|gate| gate.looks_max = 1, "A version is judged once, when 300 rows that arrived after it was trained have their labels.");
    check(
        |gate| gate.rows = GateRows::HeldOut,
        "A version is judged once, on rows that were held out from its training and that the champion has not learned either.",
    );
    check(
        |gate| (gate.confidence, gate.looks_max) = (0.9, 1),
        "A rule passes when the rows show what it asks with 90.0 % confidence; it fails when they show the opposite as surely, and is \
         inconclusive in between.",
    );
    check(
        |gate| gate.dependence = Dependence::Independent,
        "Rows are taken as independent of each other; bounds without a formula come from 2,000 resamples.",
    );
    check(
        |gate| (gate.dependence, gate.resamples) = (Dependence::Cluster("station".into()), 500),
        "Rows that share a value of `station` are taken as alike, and resampled together, 500 times.",
    );
    check(
        |gate| gate.maturity_min = Some(0.9),
        "Nothing is concluded from rows unless each class has 30 of them and the labels of 90.0 % of them have come.",
    );
    check(
        |gate| gate.slices = vec![SliceRule { column: "station".into(), values: Vec::new(), rows_min: 100 }],
        "`r` must hold for `station` too, each of its values apart, of which each needs 100 rows.",
    );
    check(
        |gate| gate.slices = vec![SliceRule { column: "station".into(), values: vec!["a".into(), "b".into()], rows_min: 7 }],
        "`r` must hold for `station` too, `a`, `b` apart, of which each needs 7 rows.",
    );
    check(
        |gate| gate.approval = Approval::Operator,
        "All rules must pass for a version to serve, and then an operator has to agree. One that fails rejects it; a rule that stays \
         inconclusive to the last look does too.",
    );
}

#[test]
fn a_rule_says_what_it_asks() {
    let check = |test, against, expected: &str| assert_eq!(rule(test, against).asks(), expected);
    check(Test::NonInferior { margin: 0.02 }, Against::Anchor, "`accuracy` is worse than that of the anchor by less than 0.02");
    check(Test::Superior, Against::NoChange, "`accuracy` is better than that of repeating the last label");
    check(Test::Superior, Against::Majority, "`accuracy` is better than that of always answering the commonest class");
    check(Test::Superior, Against::Linear, "`accuracy` is better than that of a linear model of the same rows");
    check(Test::LowerBound { bound: 0.7 }, Against::Bound, "`accuracy` is above 0.7");
    check(Test::UpperBound { bound: 0.1 }, Against::Bound, "`accuracy` is below 0.1");
    check(Test::RatioUpper { ratio_max: 1.1 }, Against::Champion, "`accuracy` is less than 1.1 times that of the champion");
    let doubted = Rule { gain_max: Some(0.1), ..rule(Test::Superior, Against::Champion) };
    assert_eq!(doubted.asks(), "`accuracy` is better than that of the champion; better by more than 0.1 is not believed");
}

#[test]
fn a_verdict_says_what_would_have_to_be_otherwise() {
    #[track_caller]
    fn check(test: Test, verdict: Verdict, (low, estimate, high): (f64, f64, f64), expected: Option<&str>) {
        let verdict = RuleVerdict {
            rule: "r".into(),
            verdict,
            metric: "accuracy".into(),
            against: "champion".into(),
            method: "tango".into(),
            challenger: Some(0.8),
            other: Some(0.8 - estimate),
            estimate: Some(estimate),
            interval: Some((low, high)),
            threshold: test.threshold(),
            alpha: 0.05 / 3.0,
            rows: 300,
            reason: String::new(),
        };
        assert_eq!(rule(test, Against::Champion).otherwise(&verdict).as_deref(), expected);
    }
    use Verdict::{Fail, Inconclusive, Pass};
    let no_worse = Test::NonInferior { margin: 0.02 };
    check(no_worse, Pass, (-0.01, 0.01, 0.03), Some("it would not pass with a margin of 0.0100 or less"));
    check(no_worse, Pass, (0.01, 0.03, 0.05), Some("it would pass with any margin: it is shown to be no worse at all"));
    check(no_worse, Inconclusive, (-0.04, 0.0, 0.04), Some("if the estimate stays, about 1,200 rows would show it"));
    check(
        no_worse,
        Inconclusive,
        (-0.07, -0.03, 0.01),
        Some("the estimate is on the wrong side: if it stays, about 4,800 rows would show that it fails"),
    );
    check(no_worse, Inconclusive, (-0.06, -0.02, 0.02), Some("the estimate lies on the threshold: no number of rows would decide"));
    check(no_worse, Inconclusive, (0.1, 0.2, 0.3), None);
    check(no_worse, Fail, (-0.09, -0.07, -0.05), Some("it is shown to fall short by 0.0300: more rows of this kind will not mend it"));
    check(Test::Superior, Pass, (0.01, 0.03, 0.05), Some("it is shown to be better by 0.0100"));
    check(Test::LowerBound { bound: 0.7 }, Pass, (0.75, 0.8, 0.85), Some("it would not pass with a bound of 0.7500 or more"));
    check(Test::UpperBound { bound: 0.1 }, Pass, (0.02, 0.05, 0.08), Some("it would not pass with a bound of 0.0800 or less"));
    check(Test::UpperBound { bound: 0.1 }, Inconclusive, (0.06, 0.09, 0.12), Some("if the estimate stays, about 2,700 rows would show it"));
    check(
        Test::UpperBound { bound: 0.1 },
        Fail,
        (0.14, 0.16, 0.18),
        Some("it is shown to fall short by 0.0400: more rows of this kind will not mend it"),
    );
    check(Test::RatioUpper { ratio_max: 1.1 }, Pass, (0.9, 1.0, 1.05), Some("it would not pass with a ratio of 1.0500 or less"));
}
