//! Gates as tables: rows in, verdict, method and decision out.

#![expect(clippy::unwrap_used, reason = "a gate that cannot be judged should fail its test")]

use proptest::prelude::*;
use tidegate_policy::{
    Against, Approval, DeLong, Dependence, Gate, GateVerdict, Interval, JudgeError, RowsMin, SliceRows, SliceRule, Test, judge, next_look,
    rows_for_look, was_superior,
};
use tidegate_vocab::{DecisionKind, Seed, Terms, Verdict};

use crate::cases::{Evidence, cost, gate, metric, paired, right, rule};

const NOT_WORSE: Test = Test::NonInferior { margin: 0.02 };

fn cluster() -> Dependence {
    Dependence::Cluster("station".into())
}

/// Judges one rule about accuracy against the champion.
fn one(dependence: Dependence, test: Test, mut evidence: Evidence) -> GateVerdict {
    evidence.clusters = (0..evidence.labels.len() as u32).map(|row| row / 5).collect();
    let against = if matches!(test, Test::LowerBound { .. } | Test::UpperBound { .. }) { Against::Bound } else { Against::Champion };
    judge(&gate(dependence, vec![rule("accuracy", against, test)]), 1, &evidence.input()).unwrap()
}

#[test]
fn accuracy_rules() {
    use Verdict::{Fail, Inconclusive, Pass};
    let check = |dependence: Dependence, test: Test, (rows, gains, losses): (usize, usize, usize), verdict: Verdict, method: &str| {
        let found = one(dependence.clone(), test, Evidence::accuracy(rows, gains, losses));
        let found = &found.rules[0];
        assert_eq!((found.verdict, found.method.as_str()), (verdict, method), "{dependence:?} {test:?} {rows} {gains} {losses}: {found:?}");
    };
    let independent = Dependence::Independent;
    check(independent.clone(), Test::Superior, (1000, 50, 20), Pass, "mcnemar-mid-p");
    check(independent.clone(), Test::Superior, (1000, 20, 50), Fail, "mcnemar-mid-p");
    check(independent.clone(), Test::Superior, (1000, 40, 35), Inconclusive, "mcnemar-mid-p");
    check(independent.clone(), Test::Superior, (1000, 0, 0), Inconclusive, "mcnemar-mid-p");
    check(independent.clone(), NOT_WORSE, (2000, 70, 70), Pass, "tango");
    check(independent.clone(), NOT_WORSE, (2000, 20, 120), Fail, "tango");
    check(independent.clone(), NOT_WORSE, (400, 15, 15), Inconclusive, "tango");
    // Two versions that never disagree: the interval has a width, which 1,000 rows make narrow enough and 300 just so.
    check(independent.clone(), NOT_WORSE, (1000, 0, 0), Pass, "tango");
    check(Dependence::Time, NOT_WORSE, (1000, 0, 0), Pass, "tango-effective-rows");
    check(Dependence::Time, NOT_WORSE, (2000, 20, 120), Fail, "tango-effective-rows");
    check(Dependence::Time, Test::Superior, (1000, 70, 20), Pass, "tango-effective-rows");
    check(cluster(), Test::Superior, (1000, 70, 20), Pass, "tango-effective-rows");
    check(independent.clone(), Test::LowerBound { bound: 0.7 }, (1000, 0, 0), Pass, "wilson");
    check(independent.clone(), Test::LowerBound { bound: 0.8 }, (1000, 0, 0), Fail, "wilson");
    check(independent.clone(), Test::LowerBound { bound: 0.75 }, (1000, 0, 0), Inconclusive, "wilson");
    check(independent.clone(), Test::UpperBound { bound: 0.8 }, (1000, 0, 0), Pass, "wilson");
    check(independent.clone(), Test::UpperBound { bound: 0.7 }, (1000, 0, 0), Fail, "wilson");
    check(Dependence::Time, Test::LowerBound { bound: 0.7 }, (1000, 0, 0), Pass, "wilson-effective-rows");
    // Too few rows, whatever they show.
    check(independent, Test::Superior, (299, 90, 0), Inconclusive, "none");
}

#[test]
fn dependence_widens_the_interval() {
    // The challenger is right alone in one long stretch: convincing if rows were independent, one event if they are not.
    let (mut own, other) = (vec![true; 600], vec![true; 600]);
    let mut others = other.clone();
    others[300..330].fill(false);
    for row in [20, 150, 480, 555] {
        own[row] = false;
    }
    let evidence = || Evidence::new(600, vec![right(&own)], vec![(Against::Champion, vec![right(&others)])]);
    let width = |verdict: &GateVerdict| verdict.rules[0].interval.map(|(low, high)| high - low).unwrap();
    let independent = one(Dependence::Independent, Test::Superior, evidence());
    let in_time = one(Dependence::Time, Test::Superior, evidence());
    assert!(width(&in_time) > 1.8 * width(&independent), "{independent:?} {in_time:?}");
    assert_eq!(independent.rules[0].verdict, Verdict::Pass);
    assert!(in_time.rules[0].reason.contains("weigh as much as"), "{}", in_time.rules[0].reason);
}

#[test]
fn other_metrics_use_the_bootstrap() {
    use Verdict::{Fail, Inconclusive, Pass};
    let values = |shift: f64| -> Vec<f64> { (0..600).map(|row| 10.0 + shift + f64::from(row * 37 % 100) / 50.0).collect() };
    let noisy =
        |shift: f64| -> Vec<f64> { values(shift).iter().enumerate().map(|(row, value)| value + (row * 13 % 7) as f64 / 7.0).collect() };
    let check = |terms: fn(Vec<f64>) -> Terms, test: Test, shift: f64, verdict: Verdict| {
        let evidence =
            Evidence::new(600, vec![cost("time", terms(noisy(shift)))], vec![(Against::Champion, vec![cost("time", terms(values(0.0)))])]);
        let gate = gate(Dependence::Time, vec![rule("time", Against::Champion, test)]);
        let found = judge(&gate, 1, &evidence.input()).unwrap();
        assert_eq!(found.rules[0].verdict, verdict, "{test:?} {shift}: {:?}", found.rules[0]);
        if verdict != Inconclusive {
            assert_eq!(found.rules[0].method, "paired-block-bootstrap");
        }
    };
    let mean = |values| Terms::Mean { values };
    let p95 = |values| Terms::Quantile { q: 0.95, values };
    let ratio = |values: Vec<f64>| Terms::Ratio { denominators: vec![2.0; values.len()], numerators: values };
    // Less is better: a shift of +1 makes the challenger worse.
    check(mean, Test::Superior, -1.0, Pass);
    check(mean, Test::Superior, 1.0, Fail);
    check(ratio, Test::Superior, -1.0, Pass);
    check(p95, Test::RatioUpper { ratio_max: 1.10 }, -0.4, Pass);
    check(p95, Test::RatioUpper { ratio_max: 1.10 }, 3.0, Fail);
    check(mean, Test::RatioUpper { ratio_max: 1.10 }, 0.67, Inconclusive);
}

#[test]
fn rankings_use_delong() {
    let labels: Vec<u8> = (0..600).map(|row| u8::from(row / 20 % 3 == 0)).collect();
    // Scores that rise with the label by so much, in stretches of `run` rows that err together.
    let scores = |gain: f64, run: usize| -> Vec<f64> {
        let noise = |row: usize| ((row / run * 7919) % 997) as f64 / 997.0;
        labels.iter().enumerate().map(|(row, label)| gain * f64::from(*label) + noise(row)).collect()
    };
    let ranking = |values: &[f64]| metric("auroc", Terms::Ranking { values: values.to_vec(), labels: labels.clone() });
    let judged = |dependence: Dependence, own: &[f64], other: &[f64], test: Test| {
        let against = if matches!(test, Test::LowerBound { .. }) { Against::Bound } else { Against::Champion };
        let evidence = Evidence::new(600, vec![ranking(own)], vec![(Against::Champion, vec![ranking(other)])]);
        judge(&gate(dependence, vec![rule("auroc", against, test)]), 1, &evidence.input()).unwrap().rules[0].clone()
    };
    let (better, worse) = (scores(0.7, 1), scores(0.4, 20));
    let delong = DeLong::new(&labels, &better, &worse).unwrap();
    let found = judged(Dependence::Independent, &better, &worse, Test::Superior);
    assert_eq!((found.verdict, found.method.as_str()), (Verdict::Pass, "delong"), "{found:?}");
    assert_eq!(found.interval, Some(delong.difference_bounds(0.05)));
    let found = judged(Dependence::Independent, &better, &worse, Test::LowerBound { bound: 0.5 });
    assert_eq!((found.verdict, found.interval), (Verdict::Pass, Some(delong.area_bounds(0.05))), "{found:?}");
    let found = judged(Dependence::Time, &worse, &better, Test::Superior);
    assert_eq!((found.verdict, found.method.as_str()), (Verdict::Fail, "delong-effective-rows"), "{found:?}");
    let width = |interval: Option<(f64, f64)>| interval.map(|(low, high)| high - low).unwrap();
    let independent = delong.difference_bounds(0.05);
    assert!(width(found.interval) > 1.5 * width(Some(independent)), "stretches of 20 rows weigh as one: {found:?} {independent:?}");
    let found = judged(Dependence::Time, &better, &worse, Test::RatioUpper { ratio_max: 1.5 });
    assert_eq!((found.verdict, found.method.as_str()), (Verdict::Pass, "paired-block-bootstrap"), "{found:?}");
    let found = judged(Dependence::Time, &better, &better, NOT_WORSE);
    assert_eq!(found.reason, "inconclusive: the rows do not vary: both rank all pairs alike");
}

#[test]
fn rows_that_do_not_vary_are_inconclusive() {
    let constant = |value: f64| cost("time", Terms::Mean { values: vec![value; 400] });
    let evidence = Evidence::new(400, vec![constant(1.5)], vec![(Against::Champion, vec![constant(2.5)])]);
    let verdict = judge(&gate(Dependence::Time, vec![rule("time", Against::Champion, Test::Superior)]), 1, &evidence.input()).unwrap();
    assert_eq!(verdict.rules[0].reason, "inconclusive: the rows do not vary: every resample gives 1.0000");
    let mut evidence = Evidence::accuracy(400, 60, 0);
    evidence.clusters = (0..400).map(|row| row / 50).collect();
    let verdict = judge(&gate(cluster(), vec![rule("accuracy", Against::Champion, NOT_WORSE)]), 1, &evidence.input()).unwrap();
    assert_eq!(verdict.rules[0].reason, "inconclusive: there are 8 clusters and 10 are needed");
    let mut evidence = Evidence::accuracy(400, 60, 0);
    evidence.labels = (0..400).map(|row| u32::from(row < 29)).collect();
    let verdict = judge(&gate(Dependence::Time, vec![rule("accuracy", Against::Champion, NOT_WORSE)]), 1, &evidence.input()).unwrap();
    assert_eq!(verdict.rules[0].reason, "inconclusive: class 1 has 29 rows and `rows_per_class_min` asks for 30");
    // A metric that counts only some of the rows is short of rows though the gate is not.
    let sparse: Vec<f64> = (0..400).map(|row| if row % 2 == 0 { f64::NAN } else { 1.0 }).collect();
    let evidence = Evidence::new(400, vec![metric("accuracy", Terms::Mean { values: sparse })], vec![]);
    let floor = rule("accuracy", Against::Bound, Test::LowerBound { bound: 0.5 });
    let verdict = judge(&gate(Dependence::Time, vec![floor]), 1, &evidence.input()).unwrap();
    assert_eq!(verdict.rules[0].reason, "inconclusive: `accuracy` counts 200 rows and `rows_min` asks for 300");
}

/// Accuracy on 4,000 rows in stations of the named sizes; the challenger is worse in those that are named.
fn stations(sizes: &[(&str, usize)], worse: &[(&str, usize)]) -> Evidence {
    let names: Vec<&str> = sizes.iter().flat_map(|(name, rows)| std::iter::repeat_n(*name, *rows)).collect();
    let other: Vec<bool> = (0..names.len()).map(|row| row % 5 != 0).collect();
    let mut own = other.clone();
    for (name, losses) in worse {
        let of_station = (0..names.len()).filter(|row| names[*row] == *name && other[*row]).take(*losses).collect::<Vec<_>>();
        of_station.into_iter().for_each(|row| own[row] = false);
    }
    let mut evidence = Evidence::new(names.len(), vec![right(&own)], vec![(Against::Champion, vec![right(&other)])]);
    evidence.slices.insert("station".into(), SliceRows::new(names.iter().map(|name| (!name.is_empty()).then_some(*name))));
    evidence
}

fn sliced(values: &[&str]) -> Gate {
    let ratio = Test::RatioUpper { ratio_max: 2.0 };
    let rules = vec![rule("accuracy", Against::Champion, NOT_WORSE), rule("accuracy", Against::Champion, ratio)];
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Gate {
        looks_max: 2,
        slices: vec![SliceRule { column: "station".into(), values, rows_min: 100 }],
        ..gate(Dependence::Independent, rules)
    }
}

#[test]
fn slices_are_judged_apart() {
    use Verdict::{Fail, Inconclusive, Pass};
    let check = |evidence: Evidence, values: &[&str], expected: &[(&str, Verdict, &str)]| {
        let verdict = judge(&sliced(values), 1, &evidence.input()).unwrap();
        let found = &verdict.rules[2..];
        let names: Vec<&str> = found.iter().map(|rule| rule.rule.as_str()).collect();
        let wanted: Vec<String> = expected.iter().map(|(name, _, _)| format!("non-inferior-champion [{name}]")).collect();
        assert_eq!(names, wanted, "only rules that ask for no less are sliced");
        for (rule, (_, verdict, part)) in found.iter().zip(expected) {
            assert_eq!(rule.verdict, *verdict, "{rule:?}");
            assert!(rule.reason.contains(part), "`{part}` is not in `{}`", rule.reason);
        }
        verdict
    };
    let two = [("north", 2000), ("south", 2000)];
    let found = check(stations(&two, &[]), &[], &[("station = north", Pass, "2,000 rows"), ("station = south", Pass, "2,000 rows")]);
    assert_eq!(found.rules[2].estimate, Some(0.0));
    // As good on the whole, and broken in one place: that is a failure of the whole gate.
    let four = [("a", 6000), ("b", 1000), ("c", 1000), ("d", 1000)];
    let broken = stations(&four, &[("b", 60)]);
    let stands = "that stands among 4 slices (Holm)";
    let passes = ("station = a", Pass, "");
    let found = check(broken, &[], &[passes, ("station = b", Fail, stands), ("station = c", Pass, ""), ("station = d", Pass, "")]);
    assert_eq!((found.kind, found.rules[0].verdict), (DecisionKind::Reject, Pass), "{found:?}");
    // Enough to fail alone, and not among four.
    let found = check(
        stations(&four, &[("b", 29)]),
        &[],
        &[
            passes,
            ("station = b", Inconclusive, "one of 4 slices may by chance (Holm)"),
            ("station = c", Pass, ""),
            ("station = d", Pass, ""),
        ],
    );
    assert_eq!(found.kind, DecisionKind::Hold);
    let alone = judge(&sliced(&["b"]), 1, &stations(&four, &[("b", 29)]).input()).unwrap();
    assert_eq!(alone.rules[2].verdict, Fail, "{:?}", alone.rules[2]);
}

#[test]
fn slices_that_cannot_be_judged_are_inconclusive() {
    let check = |evidence: Evidence, values: &[&str], rule: &str, reason: &str| {
        let verdict = judge(&sliced(values), 1, &evidence.input()).unwrap();
        let found = verdict.rules.iter().find(|found| found.rule == rule).unwrap_or_else(|| panic!("no {rule} in {verdict:?}"));
        assert_eq!((found.verdict, found.reason.as_str()), (Verdict::Inconclusive, reason));
    };
    let two = [("north", 2000), ("south", 99)];
    let few = "inconclusive: `accuracy` counts 99 rows in this slice and its `rows_min` asks for 100";
    check(stations(&two, &[]), &[], "non-inferior-champion [station = south]", few);
    let missing = "inconclusive: no row has the value `west` in `station`";
    check(stations(&two, &[]), &["north", "west"], "non-inferior-champion [station = west]", missing);
    let mut without = stations(&two, &[]);
    without.slices.clear();
    check(without, &[], "non-inferior-champion [station]", "inconclusive: the rows have no column `station`");
    check(stations(&[("", 400)], &[]), &[], "non-inferior-champion [station]", "inconclusive: no row has a value of `station`");
    let names: Vec<String> = (0..21).map(|number| format!("s{number}")).collect();
    let many: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let reason = "inconclusive: `station` has 21 values and 20 at most are judged: name those that matter in `values`";
    check(stations(&many, &[]), &[], "non-inferior-champion [station]", reason);
}

#[test]
fn a_gain_that_is_too_good_is_a_hold() {
    let judged = |gain_max: f64, look: u32, evidence: Evidence| {
        let mut gate = gate(Dependence::Independent, vec![rule("accuracy", Against::Champion, Test::Superior)]);
        (gate.looks_max, gate.rules[0].gain_max) = (2, Some(gain_max));
        judge(&gate, look, &evidence.input()).unwrap()
    };
    let leap = || Evidence::accuracy(1000, 220, 20);
    let found = judged(0.1, 1, leap());
    assert_eq!((found.kind, found.rules[0].verdict), (DecisionKind::Hold, Verdict::Inconclusive));
    let expected = "inconclusive: `accuracy` is better than that of the champion by 0.2000 and `gain_max` is 0.1000; so much at once is more \
                    often a label that leaked into the features than a better model";
    assert_eq!(found.rules[0].reason, expected);
    let expected =
        "held: rule `superior-champion` shows a gain that is too good to be believed, look at the features (look 1 of 2, 1,000 rows)";
    assert_eq!(found.reason, expected);
    assert_eq!(judged(0.3, 1, leap()).kind, DecisionKind::Promote);
    assert_eq!(judged(0.1, 2, leap()).kind, DecisionKind::Reject, "nobody looked until the last look");
    // A baseline may be beaten by any amount.
    let mut first = leap();
    let champion = first.others.remove(&Against::Champion).unwrap();
    first.others.insert(Against::Majority, champion);
    assert_eq!(judged(0.1, 1, first).kind, DecisionKind::Promote);
}

#[test]
fn an_operator_may_have_to_agree() {
    let judged = |look: u32, evidence: Evidence| {
        let mut gate = gate(Dependence::Independent, vec![rule("accuracy", Against::Champion, NOT_WORSE)]);
        (gate.looks_max, gate.approval) = (2, Approval::Operator);
        judge(&gate, look, &evidence.input()).unwrap()
    };
    let found = judged(2, Evidence::accuracy(4000, 100, 100));
    assert_eq!((found.kind, found.awaits_approval, found.expired), (DecisionKind::Hold, true, false));
    let expected = "held: every rule passed, and an operator has to agree with `tidegate promote` (look 2 of 2, 4,000 rows)";
    assert_eq!(found.reason, expected);
    let found = judged(1, Evidence::accuracy(400, 15, 15));
    assert_eq!((found.kind, found.awaits_approval), (DecisionKind::Hold, false), "an open rule waits for rows, not for a person");
    assert_eq!(judged(1, Evidence::accuracy(4000, 20, 320)).kind, DecisionKind::Reject);
}

#[test]
fn labels_that_have_not_come_are_inconclusive() {
    let judged = |maturity: Option<f64>| {
        let mut gate = gate(Dependence::Independent, vec![rule("accuracy", Against::Champion, NOT_WORSE)]);
        gate.maturity_min = Some(0.9);
        let mut evidence = Evidence::accuracy(4000, 100, 100);
        evidence.maturity = maturity;
        judge(&gate, 1, &evidence.input()).unwrap().rules[0].clone()
    };
    let expected = "inconclusive: the labels of 71.0 % of the rows have come and `maturity_min` asks for 90.0 %";
    assert_eq!(judged(Some(0.71)).reason, expected);
    assert_eq!((judged(Some(0.9)).verdict, judged(None).verdict), (Verdict::Pass, Verdict::Pass));
}

#[test]
fn bounds_may_be_corrected_for_bias() {
    // A ratio of skewed values: the corrected interval lies further from the bulk.
    let skewed: Vec<f64> = (0..600).map(|row| 1.0 / (0.02 + f64::from(row * 37 % 601) / 601.0)).collect();
    let evidence = Evidence::new(600, vec![cost("time", Terms::Mean { values: skewed })], vec![]);
    let bounds = |dependence: Dependence, interval: Interval| {
        let gate = Gate { interval, ..gate(dependence, vec![rule("time", Against::Bound, Test::UpperBound { bound: 9.0 })]) };
        let found = judge(&gate, 1, &evidence.input()).unwrap().rules[0].clone();
        (found.interval.unwrap(), found.method)
    };
    for (dependence, method) in [(Dependence::Independent, "paired-bootstrap"), (Dependence::Time, "paired-block-bootstrap")] {
        let (plain, plain_method) = bounds(dependence.clone(), Interval::Percentile);
        let (corrected, corrected_method) = bounds(dependence, Interval::Bca);
        assert_eq!((plain_method.as_str(), corrected_method), (method, format!("{method}-bca")));
        assert!(corrected.0 > plain.0 && corrected.1 > plain.1, "{method}: {plain:?} {corrected:?}");
    }
}

#[test]
fn decisions_and_looks() {
    let check = |evidence: Evidence, look: u32, kind: DecisionKind, expired: bool, reason: &str| {
        let mut gate = gate(Dependence::Independent, vec![rule("accuracy", Against::Champion, NOT_WORSE)]);
        gate.looks_max = 3;
        let verdict = judge(&gate, look, &evidence.input()).unwrap();
        assert_eq!((verdict.kind, verdict.expired, verdict.reason.as_str()), (kind, expired, reason));
        assert!((verdict.rules[0].alpha - 0.05 / 3.0).abs() < 1e-15);
        assert!(!was_superior(&verdict));
    };
    let pass = || Evidence::accuracy(4000, 100, 100);
    let fail = || Evidence::accuracy(4000, 20, 320);
    let open = || Evidence::accuracy(400, 15, 15);
    check(pass(), 1, DecisionKind::Promote, false, "promoted: every rule passed (look 1 of 3, 4,000 rows)");
    check(fail(), 1, DecisionKind::Reject, false, "rejected: rule `non-inferior-champion` failed (look 1 of 3, 4,000 rows)");
    let held = "held: rule `non-inferior-champion` inconclusive, more rows are needed (look 2 of 3, 400 rows)";
    check(open(), 2, DecisionKind::Hold, false, held);
    let expired = "rejected: expired with rule `non-inferior-champion` still inconclusive at the last look (look 3 of 3, 400 rows)";
    check(open(), 3, DecisionKind::Reject, true, expired);
}

#[test]
fn one_failure_outweighs_the_rest() {
    let rules = vec![
        rule("accuracy", Against::Champion, Test::Superior),
        rule("accuracy", Against::Bound, Test::LowerBound { bound: 0.9 }),
        rule("accuracy", Against::Bound, Test::UpperBound { bound: 0.99 }),
    ];
    let verdict = judge(&gate(Dependence::Independent, rules), 1, &Evidence::accuracy(1000, 40, 35).input()).unwrap();
    let found: Vec<Verdict> = verdict.rules.iter().map(|rule| rule.verdict).collect();
    assert_eq!(found, [Verdict::Inconclusive, Verdict::Fail, Verdict::Pass]);
    assert_eq!(verdict.kind, DecisionKind::Reject);
}

#[test]
fn before_the_first_champion() {
    let (own, naive) = paired(1000, 200, 40);
    let (_, worse) = paired(1000, 300, 0);
    let latency = |rows: usize| cost("latency_p95", Terms::Quantile { q: 0.95, values: vec![1.0; rows] });
    let others = vec![(Against::NoChange, vec![right(&naive)]), (Against::Majority, vec![right(&worse)])];
    let evidence = Evidence::new(1000, vec![right(&own), latency(1000)], others);
    let rules = vec![
        rule("accuracy", Against::Champion, NOT_WORSE),
        rule("accuracy", Against::Anchor, NOT_WORSE),
        rule("latency_p95", Against::Champion, Test::RatioUpper { ratio_max: 1.1 }),
    ];
    let verdict = judge(&gate(Dependence::Time, rules.clone()), 1, &evidence.input()).unwrap();
    let against: Vec<&str> = verdict.rules.iter().map(|rule| rule.against.as_str()).collect();
    assert_eq!(against, ["no-change (for want of a champion)", "no-change (for want of an anchor)", "champion"]);
    assert_eq!(verdict.rules[2].reason, "passes: there is no champion yet and no baseline to compare `latency_p95` with");
    assert_eq!(verdict.kind, DecisionKind::Promote);
    assert!(was_superior(&verdict), "the first version is the anchor");

    // Worse than the baseline: the first version is refused like any other.
    let evidence = Evidence::new(1000, vec![right(&worse), latency(1000)], vec![(Against::NoChange, vec![right(&own)])]);
    assert_eq!(judge(&gate(Dependence::Time, rules.clone()), 1, &evidence.input()).unwrap().kind, DecisionKind::Reject);

    // An anchor that is missing beside a champion is the champion.
    let evidence = Evidence::new(1000, vec![right(&own)], vec![(Against::Champion, vec![right(&naive)])]);
    let verdict = judge(&gate(Dependence::Time, rules[..2].to_vec()), 1, &evidence.input()).unwrap();
    assert_eq!(verdict.rules[1].against, "champion (for want of an anchor)");
    assert!(!was_superior(&verdict));
    let superior = gate(Dependence::Time, vec![rule("accuracy", Against::Champion, Test::Superior)]);
    assert!(was_superior(&judge(&superior, 1, &evidence.input()).unwrap()));
}

#[test]
fn a_number_without_terms() {
    let evidence = Evidence::new(400, vec![metric("size", Terms::Opaque { value: 3.0, count: 9 })], vec![]);
    let bounded = |test| judge(&gate(Dependence::Time, vec![rule("size", Against::Bound, test)]), 1, &evidence.input()).unwrap();
    let verdict = bounded(Test::UpperBound { bound: 4.0 });
    assert_eq!(verdict.rules[0].reason, "passes: `size` is 3.0000; it must be below 4.0000 (value, 9 rows)");
    assert_eq!(bounded(Test::LowerBound { bound: 4.0 }).rules[0].verdict, Verdict::Fail);
}

#[test]
fn reasons_read_like_sentences() {
    let check = |dependence: Dependence, test: Test, expected: &str| {
        assert_eq!(one(dependence, test, Evidence::accuracy(1000, 50, 20)).rules[0].reason, expected);
    };
    check(
        Dependence::Independent,
        Test::Superior,
        "passes: `accuracy` is 0.7480, that of the champion 0.7180; it is better with p = 1.52e-4, worse with p = 0.9998, against 0.0500 \
         (mcnemar-mid-p, 1,000 rows)",
    );
    check(
        Dependence::Independent,
        NOT_WORSE,
        "passes: `accuracy` is 0.7480, that of the champion 0.7180; the difference in its favour is above 0.0166 and below 0.0443 \
         (95.0 % each) and must be above -0.0200 (tango, 1,000 rows)",
    );
}

#[test]
fn evidence_that_does_not_fit() {
    let check = |mut evidence: Evidence, dependence: Dependence, test: Test, against: Against, expected: &str| {
        evidence.clusters.truncate(3);
        let error: JudgeError = judge(&gate(dependence, vec![rule("accuracy", against, test)]), 1, &evidence.input()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    };
    let time = Dependence::Time;
    let named = |name: &str| vec![metric(name, Terms::Mean { values: vec![1.0; 400] })];
    let missing = Evidence::new(400, named("f1"), vec![]);
    let text = "could not judge rule `superior-champion`: metric `accuracy` was not computed for the challenger; available: `f1`";
    check(missing, time.clone(), Test::Superior, Against::Champion, text);
    let missing = Evidence::new(400, named("accuracy"), vec![(Against::Champion, vec![])]);
    let text = "could not judge rule `superior-champion`: metric `accuracy` was not computed for the champion; available: none";
    check(missing, time.clone(), Test::Superior, Against::Champion, text);
    let missing = Evidence::new(400, named("accuracy"), vec![(Against::Majority, named("accuracy"))]);
    let text = "could not judge rule `superior-no-change`: no `no-change` was evaluated; available: `majority`";
    check(missing, time.clone(), Test::Superior, Against::NoChange, text);
    let text = "could not judge rule `superior-champion`: the terms of metric `accuracy` do not fit together: expected 401 rows, found \
                another number of rows";
    check(Evidence::new(401, named("accuracy"), vec![]), time.clone(), Test::Superior, Against::Champion, text);
    let opaque = || vec![metric("accuracy", Terms::Opaque { value: 1.0, count: 400 })];
    let evidence = Evidence::new(400, opaque(), vec![(Against::Champion, opaque())]);
    let text =
        "could not judge rule `superior-champion`: metric `accuracy` is a single number without terms, which test `superior` cannot use";
    check(evidence, time.clone(), Test::Superior, Against::Champion, text);
    let text = "could not judge rows clustered by `station`: expected one cluster a row for 400 rows, found 0";
    check(Evidence::accuracy(400, 1, 1), cluster(), Test::Superior, Against::Champion, text);
    let text =
        "could not judge by a gate with mistakes: `gate.rule.non-inferior-champion.margin`: found 2, expected more than 0 and less than 1";
    check(Evidence::accuracy(400, 1, 1), time, Test::NonInferior { margin: 2.0 }, Against::Champion, text);
}

#[test]
fn rows_of_the_looks() {
    let mut gate = gate(Dependence::Time, vec![rule("accuracy", Against::Champion, NOT_WORSE)]);
    gate.looks_max = 3;
    assert_eq!([0, 1, 2, 3].map(|done| next_look(&gate, done)), [Some(300), Some(600), Some(900), None]);
    gate.rows_min = RowsMin::Power;
    // (z(1 - 0.05 / 3) + z(0.8))² · 0.08 / 0.02²
    assert_eq!((rows_for_look(&gate, 1), rows_for_look(&gate, 2)), (1764, 3528));
}

#[test]
fn the_same_evidence_gives_the_same_verdict() {
    let judged = |threads: usize, seed: u64| {
        let mut evidence = Evidence::accuracy(700, 40, 20);
        evidence.seed = Seed(seed);
        let rules = vec![rule("accuracy", Against::Champion, Test::Superior), rule("accuracy", Against::Champion, NOT_WORSE)];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| judge(&gate(Dependence::Time, rules), 1, &evidence.input()).unwrap())
    };
    assert_eq!(judged(1, 5), judged(4, 5));
    assert_ne!(judged(1, 5), judged(1, 6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// More rows on which the challenger alone is right never turn a pass into a failure, nor anything into less than it was.
    #[test]
    fn a_gate_is_monotone(rows in 300usize..1200, gains in 0usize..60, losses in 0usize..60, more in 1usize..60, kind in 0usize..4) {
        let test = [Test::Superior, NOT_WORSE, Test::LowerBound { bound: 0.75 }, Test::Superior][kind];
        // Time only for the last: resampling 64 × 2 times is dear.
        let dependence = if kind == 3 { Dependence::Time } else { Dependence::Independent };
        let rank = |verdict: &GateVerdict| match verdict.rules[0].verdict {
            Verdict::Fail => 0,
            Verdict::Inconclusive => 1,
            Verdict::Pass => 2,
        };
        let (own, other) = paired(rows, gains, losses);
        let mut better = own.clone();
        // Rows that both got wrong become right for the challenger alone.
        let wrong: Vec<usize> = (0..rows).filter(|row| !own[*row] && !other[*row]).take(more).collect();
        for row in wrong {
            better[row] = true;
        }
        let verdict = |own: &[bool]| {
            let evidence = Evidence::new(rows, vec![right(own)], vec![(Against::Champion, vec![right(&other)])]);
            one(dependence.clone(), test, evidence)
        };
        let (before, after) = (verdict(&own), verdict(&better));
        if dependence == Dependence::Independent {
            prop_assert!(rank(&after) >= rank(&before), "{before:?} {after:?}");
        }
        prop_assert!(!(rank(&before) == 2 && rank(&after) == 0), "{before:?} {after:?}");
    }

    /// Nothing in the terms makes judging panic.
    #[test]
    fn any_terms_can_be_judged(
        values in proptest::collection::vec(proptest::num::f64::ANY, 300..330),
        others in proptest::collection::vec(proptest::num::f64::ANY, 330),
        q in proptest::num::f64::ANY,
        kind in 0usize..3,
    ) {
        let terms = |values: &[f64]| match kind {
            0 => Terms::Mean { values: values.to_vec() },
            1 => Terms::Quantile { q, values: values.to_vec() },
            _ => Terms::Ranking { values: values.to_vec(), labels: values.iter().map(|value| u8::from(*value > 0.0)).collect() },
        };
        let champion = vec![metric("accuracy", terms(&others[..values.len()]))];
        let evidence = Evidence::new(values.len(), vec![metric("accuracy", terms(&values))], vec![(Against::Champion, champion)]);
        for test in [Test::Superior, Test::RatioUpper { ratio_max: 1.1 }] {
            let mut gate = gate(Dependence::Time, vec![rule("accuracy", Against::Champion, test)]);
            gate.resamples = 200;
            let verdict = judge(&gate, 1, &evidence.input()).unwrap();
            let stored: GateVerdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
            prop_assert_eq!(stored.kind, verdict.kind);
        }
    }
}
