//! Canaries as tables: traffic in, verdict and sentence out; who is in; how often they are wrong.

use rand::RngExt as _;
use tidegate_policy::{
    ArmTally, Canary, CanaryMetric, CanarySettings, CanaryVerdict, HardFault, Moments, Outcome, always_valid_interval, arm_of,
    harm_likelihood_ratio, mixture_likelihood_ratio,
};
use tidegate_vocab::{Seed, TrafficArm};

use crate::statistics::near;

const FINE: Outcome = Outcome { error: false, latency_s: 0.020, quality: Some(1.0), tokens: Some(100.0), hard_fault: None };

/// `requests` of one arm: `errors` of every 1,000 fail, `right` of every 1,000 are right, and latency and tokens vary by a tenth.
fn traffic(requests: u64, errors: u64, right: u64, latency_s: f64, tokens: f64) -> ArmTally {
    let mut tally = ArmTally::default();
    for request in 0..requests {
        let place = request * 379 % 1000;
        let factor = 0.95 + 0.1 * ((request * 7 % 11) as f64 / 10.0);
        tally.record(&Outcome {
            error: place < errors,
            latency_s: latency_s * factor,
            quality: Some(f64::from(u8::from(place < right))),
            tokens: Some(tokens * factor),
            hard_fault: None,
        });
    }
    tally
}

fn good(requests: u64) -> ArmTally {
    traffic(requests, 50, 900, 0.020, 100.0)
}

fn canary_of(step: usize, canary: ArmTally, control: ArmTally) -> Canary {
    let mut state = Canary::default();
    (state.step, state.canary, state.control) = (step, canary, control);
    state
}

fn check(canary: ArmTally, control: ArmTally, step: usize, verdict: CanaryVerdict, reason: &str) {
    let mut state = canary_of(step, canary, control);
    let look = state.look(&CanarySettings::usual());
    assert_eq!((look.verdict, look.reason.as_str()), (verdict, reason));
}

#[test]
fn verdicts_say_why() {
    use CanaryVerdict::{Continue, Hold, NextStep, Promote, RollBack};
    check(good(0), good(0), 0, Hold, "held: no request has reached the canary since the last look, 0 in all");
    check(good(50), good(0), 0, Hold, "held: no request has reached the control arm since the last look, 0 in all");
    check(good(100), good(100), 0, Continue, "continues: 100 of 247 requests an arm in step 1 of 4");
    check(
        good(300),
        good(300),
        0,
        NextStep,
        "next step: step 1 of 4 is over, 5.0 % of traffic follow; errors 5.33 %, control 5.33 %: harm +0.00 points, between -10.61 points and +10.61 points, p = 1.0000 against 0.0125 after 300 requests an arm",
    );
    check(
        traffic(12_000, 65, 900, 0.020, 100.0),
        good(12_000),
        3,
        RollBack,
        "rolled back: errors 6.50 %, control 5.00 %: harm +1.50 points, between +0.51 points and +2.49 points, p = 1.90e-5 against 0.0125 after 12,000 requests an arm",
    );
    check(
        traffic(2_000, 50, 900, 0.021, 100.0),
        good(2_000),
        2,
        RollBack,
        "rolled back: latency 20.99 ms, control 19.99 ms: harm +5.00 %, between +4.49 % and +5.51 %, p = 0.0000 against 0.0125 after 2,000 requests an arm",
    );
    check(
        traffic(2_000, 50, 800, 0.020, 100.0),
        good(2_000),
        2,
        RollBack,
        "rolled back: quality 80.00 %, control 90.00 %: harm +10.00 points, between +5.19 points and +14.81 points, p = 2.19e-8 against 0.0125 after 2,000 requests an arm",
    );
    check(
        good(20_000),
        good(20_000),
        3,
        Promote,
        "through: no harm is shown after 20,000 requests an arm; errors 5.00 %, control 5.00 %: harm +0.00 points, between -0.72 points and +0.72 points, p = 1.0000 against 0.0125 after 20,000 requests an arm",
    );
    let mut faulty = good(1);
    faulty.record(&Outcome { hard_fault: Some(HardFault::NotANumber), ..FINE });
    check(faulty, good(1), 0, RollBack, "rolled back: the canary answered a number that is none, which stops it at once");
    // A fault of the champion is no fault of the canary.
    let mut faulty = good(99);
    faulty.record(&Outcome { hard_fault: Some(HardFault::ServerError), ..FINE });
    check(good(100), faulty, 0, Continue, "continues: 100 of 247 requests an arm in step 1 of 4");
}

#[test]
fn a_better_canary_is_never_rolled_back() {
    let mut canary = canary_of(0, traffic(5_000, 0, 1_000, 0.001, 1.0), traffic(5_000, 500, 100, 1.0, 1e4));
    let look = canary.look(&CanarySettings::usual());
    assert_eq!(look.verdict, CanaryVerdict::NextStep);
    assert!(look.evidence.iter().all(|evidence| evidence.harm < 0.0 && evidence.p == 1.0), "{look:?}");
}

#[test]
fn quality_that_nobody_knows_is_a_hold_at_the_end() {
    let silent = |requests: u64| {
        let mut tally = good(requests);
        tally.measured.remove(&CanaryMetric::Quality);
        tally
    };
    let mut canary = canary_of(3, silent(20_000), silent(20_000));
    let look = canary.look(&CanarySettings::usual());
    let reason = "held: quality is known of 0 requests an arm and 200 are needed";
    assert_eq!((look.verdict, look.reason.as_str()), (CanaryVerdict::Hold, reason));
    // Labels arrive, with one more request an arm.
    for tally in [&mut canary.canary, &mut canary.control] {
        tally.record(&FINE);
        (0..200).for_each(|label| tally.record_quality(f64::from(label % 2)));
    }
    assert_eq!(canary.look(&CanarySettings::usual()).verdict, CanaryVerdict::Promote);
}

#[test]
fn traffic_that_stops_is_a_hold_and_the_state_survives() {
    let mut canary = canary_of(0, good(100), good(100));
    assert_eq!(canary.look(&CanarySettings::usual()).verdict, CanaryVerdict::Continue);
    let mut stored: Canary = serde_json::from_str(&serde_json::to_string(&canary).expect("plain data")).expect("as it was");
    assert_eq!(stored, canary);
    let look = stored.look(&CanarySettings::usual());
    let reason = "held: no request has reached the canary since the last look, 100 in all";
    assert_eq!((look.verdict, look.reason.as_str()), (CanaryVerdict::Hold, reason));
}

#[test]
fn burn_in_and_alpha_decide_when_harm_counts() {
    let look = |change: fn(&mut CanarySettings)| {
        let mut settings = CanarySettings::usual();
        change(&mut settings);
        let found = canary_of(3, traffic(400, 300, 900, 0.020, 100.0), good(400)).look(&settings);
        (found.verdict, found.evidence.iter().find(|evidence| evidence.metric == CanaryMetric::Errors).map(|evidence| evidence.alpha))
    };
    assert_eq!(look(|_| {}), (CanaryVerdict::RollBack, Some(0.0125)));
    assert_eq!(look(|settings| settings.burn_in = 401), (CanaryVerdict::Continue, None), "too few requests to compare");
    assert_eq!(look(|settings| settings.alpha = 1e-6), (CanaryVerdict::Continue, Some(2.5e-7)), "no such doubt is allowed");
}

#[test]
fn numbers_that_are_none_are_left_out() {
    let mut tally = ArmTally::default();
    let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, 5e-324];
    for value in odd {
        tally.record(&Outcome { error: false, latency_s: value, quality: Some(value), tokens: Some(value), hard_fault: None });
    }
    assert_eq!(tally.requests, 6);
    let counts: Vec<u64> = tally.measured.values().map(|moments| moments.count).collect();
    assert_eq!(counts, [6, 4, 4, 4]);
    let mut canary = canary_of(0, tally.clone(), tally);
    let settings = CanarySettings { burn_in: 2, requests_max: 2, ..CanarySettings::usual() };
    assert_eq!(canary.look(&settings).verdict, CanaryVerdict::NextStep);
}

#[test]
fn settings_are_checked() {
    assert_eq!(CanarySettings::usual().check(), Vec::<String>::new());
    let usual = CanarySettings::usual();
    assert_eq!([0, 1, 2, 3, 9].map(|step| usual.requests_of_step(step)), [247, 1482, 7655, 20_000, 20_000]);
    let wrong =
        CanarySettings { steps: vec![0.5, 0.1], alpha: 1.0, requests_max: 1, burn_in: 0, metrics: [(CanaryMetric::Errors, 0.0)].into() };
    assert_eq!(
        wrong.check(),
        [
            "`canary.steps`: found [0.5, 0.1], expected rising shares, above 0 and at most 0.5",
            "`canary.burn_in`: found 0, expected 2 or more",
            "`canary.alpha`: found 1, expected more than 0 and less than 0.5",
            "`canary.metrics.errors`: found 0, expected a finite number above 0",
        ]
    );
}

#[test]
fn whoever_is_in_the_canary_stays_in_it() {
    let steps = CanarySettings::usual().steps;
    let mut counts = vec![(0, 0); steps.len()];
    for key in 0..20_000 {
        let key = format!("user-{key}");
        let arms: Vec<TrafficArm> = steps.iter().map(|share| arm_of(&key, *share, Seed(7))).collect();
        let joined = arms.iter().position(|arm| *arm != TrafficArm::Rest);
        assert!(joined.is_none_or(|step| arms[step..].iter().all(|arm| *arm == arms[step])), "{key} {arms:?}");
        for (count, arm) in counts.iter_mut().zip(&arms) {
            count.0 += u32::from(*arm == TrafficArm::Canary);
            count.1 += u32::from(*arm == TrafficArm::Control);
        }
    }
    for ((canary, control), share) in counts.into_iter().zip(steps) {
        let (expected, deviation) = (20_000.0 * share, (20_000.0 * share * (1.0 - share)).sqrt());
        for found in [canary, control] {
            assert!((f64::from(found) - expected).abs() < 4.0 * deviation, "{found} of 20,000 for {share}");
        }
    }
    assert_eq!((arm_of("a", 0.0, Seed(7)), arm_of("a", f64::NAN, Seed(7))), (TrafficArm::Rest, TrafficArm::Rest));
    let moved = (0..1_000).filter(|key| arm_of(&key.to_string(), 0.5, Seed(1)) != arm_of(&key.to_string(), 0.5, Seed(2)));
    assert!((400..600).contains(&moved.count()), "another seed draws another half");
}

#[test]
fn always_valid_intervals_end_where_the_mixture_decides() {
    for (difference, variance, tau) in [(0.01f64, 2e-5f64, 0.01f64), (-0.004, 1e-5, 0.02), (0.0, 3e-6, 0.01), (0.03, 1e-4, 0.01)] {
        // The interval is where the two-sided ratio reaches 1/α.
        let (low, high) = always_valid_interval(difference, variance, tau, 0.05).expect("something varies");
        near(mixture_likelihood_ratio(difference - low, variance, tau), 20.0, "low end");
        near(mixture_likelihood_ratio(high - difference, variance, tau), 20.0, "high end");
    }
    assert_eq!((harm_likelihood_ratio(0.1, 0.0, 0.01), mixture_likelihood_ratio(f64::NAN, 1.0, 0.01)), (1.0, 1.0));
    assert_eq!(harm_likelihood_ratio(-1e6, 1e-9, 0.01), 0.0);
    assert_eq!(always_valid_interval(0.1, 0.0, 0.01, 0.05), None);
}

#[test]
fn tallies_merge_into_the_tally_of_all() {
    let (mut parts, mut all) = (Moments::default(), Moments::default());
    for chunk in [[1.0, 4.0, -2.5], [0.25, 1e6, 3.0]] {
        let mut part = Moments::default();
        chunk.iter().for_each(|value| part.add(*value));
        chunk.iter().for_each(|value| all.add(*value));
        parts.merge(&part);
    }
    parts.merge(&Moments::default());
    assert_eq!(parts.count, 6);
    near(parts.mean, all.mean, "mean");
    near(parts.deviation, all.deviation, "deviation");
    assert_eq!(Moments::default().variance(), None);
}

/// The share of canaries with `errors` (base 5 %) that are rolled back, looked at after every 50 requests up to `cap`.
fn rolled_back(errors: f64, cap: u64, canaries: u32) -> f64 {
    let settings = CanarySettings { requests_max: cap, metrics: [(CanaryMetric::Errors, 0.01)].into(), ..CanarySettings::usual() };
    let mut generator = Seed(2026).rng("canaries");
    let mut run = || {
        let mut canary = Canary::default();
        loop {
            for _ in 0..50 {
                canary.record(TrafficArm::Canary, &Outcome { error: generator.random::<f64>() < errors, ..FINE });
                canary.record(TrafficArm::Control, &Outcome { error: generator.random::<f64>() < 0.05, ..FINE });
            }
            match canary.look(&settings).verdict {
                CanaryVerdict::RollBack => return 1,
                CanaryVerdict::Promote => return 0,
                _ => {}
            }
        }
    };
    f64::from((0..canaries).map(|_| run()).sum::<u32>()) / f64::from(canaries)
}

#[test]
fn peeking_costs_nothing_and_harm_is_found() {
    let false_alarms = rolled_back(0.05, 5_000, 400);
    assert!(false_alarms <= 0.05 + 3.0 * (0.05f64 * 0.95 / 400.0).sqrt(), "{false_alarms}");
    let found = rolled_back(0.08, 5_000, 100);
    assert!(found >= 0.95, "{found}");
}
