//! Alarms at the same values as river's detectors; `tests/fixtures/make_detectors.py` made the numbers.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse should fail its test")]

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidegate_policy::{Ddm, Eddm, Kswin, PageHinkley, TriggerRule, TriggerState, due};
use tidegate_vocab::{Seed, Timestamp};

fn streams() -> Vec<(String, Vec<f64>)> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/adwin.json")).unwrap();
    let values = |case: &Value| -> Vec<f64> {
        match &case["values"] {
            Value::String(bits) => bits.bytes().map(|bit| f64::from(bit - b'0')).collect(),
            list => list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect(),
        }
    };
    cases.iter().map(|case| (case["name"].as_str().unwrap().to_owned(), values(case))).collect()
}

/// Runs a detector over every stream that the fixture has its alarms for, stored and read back now and then.
fn check<D: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    key: &str,
    new: fn() -> D,
    mut update: impl FnMut(&mut D, f64) -> bool,
) {
    let expected: Vec<Value> = serde_json::from_str(include_str!("../fixtures/detectors.json")).unwrap();
    let mut alarms_in_all = 0;
    for ((name, stream), case) in streams().into_iter().zip(expected) {
        assert_eq!(case["name"].as_str(), Some(name.as_str()));
        let Some(expected) = case.get(key) else { continue };
        let mut detector = new();
        let mut alarms = Vec::new();
        for (index, value) in stream.into_iter().enumerate() {
            if index % 97 == 0 {
                let read: D = serde_json::from_str(&serde_json::to_string(&detector).unwrap()).unwrap();
                assert_eq!(read, detector);
                detector = read;
            }
            for passed_over in [f64::NAN, f64::INFINITY] {
                assert!(!update(&mut detector, passed_over));
            }
            if update(&mut detector, value) {
                alarms.push(index as u64);
            }
        }
        let expected: Vec<u64> = expected.as_array().unwrap().iter().map(|index| index.as_u64().unwrap()).collect();
        assert_eq!(alarms, expected, "{key} on `{name}`");
        alarms_in_all += alarms.len();
    }
    assert!(alarms_in_all > 3, "{key} was hardly tried");
}

#[test]
fn alarms_agree_with_river() {
    check("ddm", Ddm::new, Ddm::update);
    check("eddm", Eddm::new, Eddm::update);
    check("page_hinkley", PageHinkley::new, PageHinkley::update);
}

#[test]
fn kswin_agrees_with_river_on_the_same_draws() {
    let mut state = 1u64;
    check("kswin", Kswin::new, |detector, value| {
        // The fixture draws anew for every stream.
        if *detector == Kswin::new() {
            state = 1;
        }
        detector.update_drawn(value, |count, wanted| {
            let mut positions: Vec<usize> = (0..count).collect();
            for place in 0..wanted {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                positions.swap(place, place + (state >> 33) as usize % (count - place));
            }
            positions.truncate(wanted);
            positions
        })
    });
}

#[test]
fn kswin_draws_the_same_from_the_same_seed() {
    let alarms = |seed: u64| -> Vec<usize> {
        let mut detector = Kswin::new();
        (0..4_000)
            .filter(|row| detector.update(((row * 7919) % 4001) as f64 + if *row > 2_000 { 900.0 } else { 0.0 }, Seed(seed)))
            .collect()
    };
    assert_eq!(alarms(1), alarms(1));
    assert_ne!(alarms(1), alarms(2));
}

/// `count` predictions of which one in `one_in` is wrong.
fn errors(count: usize, one_in: usize) -> Vec<bool> {
    (0..count).map(|row| row % one_in == 0).collect()
}

#[test]
fn every_detector_serves_an_error_trigger() {
    let check = |word: &str, expected: &str| {
        let rules = [toml::from_str::<TriggerRule>(&format!("kind = \"error\"\ndetector = \"{word}\"")).unwrap()];
        assert_eq!(toml::from_str::<TriggerRule>(&toml::to_string(&rules[0]).unwrap()).unwrap(), rules[0]);
        let mut state = TriggerState::new();
        state.errors_matured(&rules, &errors(1_000, 2));
        state.run_started(Timestamp(0));
        // Errors that become fewer are no reason to train, and what was seen before counts for nothing.
        state.run_finished(Timestamp(0), Some(tidegate_vocab::DecisionKind::Promote));
        state.errors_matured(&rules, &[errors(1_000, 10), errors(100, 1)].concat());
        let read: TriggerState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(read, state);
        let reason = due(&rules, &mut state, Timestamp(0)).map(|due| due.reason);
        assert_eq!(reason.as_deref(), Some(expected), "{word}");
        state.run_started(Timestamp(0));
        assert_eq!(due(&rules, &mut state, Timestamp(0)), None, "{word}");
    };
    check("adwin", "the share of wrong predictions rose from 12.0 % to 43.8 % over the last 64 labelled rows (adwin)");
    check("ddm", "the share of wrong predictions rose from 10.0 % to 11.9 % over the last 1,021 labelled rows (ddm)");
    check("eddm", "the share of wrong predictions rose from 13.3 % to 19.8 % over the last 786 labelled rows (eddm)");
    check("page-hinkley", "the share of wrong predictions rose from 10.0 % to 100.0 % over the last 58 labelled rows (page-hinkley)");
    check("kswin", "the share of wrong predictions rose from 10.0 % to 60.0 % over the last 30 labelled rows (kswin)");
}

#[test]
fn a_state_stored_when_adwin_was_alone_still_loads() {
    let stored = r#"{"rows":0,"rows_at_start":0,"rows_at_previous_start":0,"ended":null,"rejections":0,"requested_by":null,"memories":[
        {"rule":{"kind":"error","detector":"adwin","cooldown_rows":500},"settled_until":null,
         "detector":{"rows":[[{"total":1.0,"deviation":0.0},{"total":0.0,"deviation":0.0}]],"total":1.0,"deviation":0.5,"width":2.0,
                     "values_seen":2,"alarmed":false},
         "alarm":{"before":0.1,"after":0.25,"rows":300}}]}"#;
    let mut state: TriggerState = serde_json::from_str(stored).unwrap();
    // And is written as it was.
    let written = serde_json::to_value(&state).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(stored).unwrap());
    let rules = [toml::from_str::<TriggerRule>("kind = \"error\"\ndetector = \"adwin\"\ncooldown_rows = 500").unwrap()];
    let due = due(&rules, &mut state, Timestamp(0)).unwrap();
    assert_eq!(due.reason, "the share of wrong predictions rose from 10.0 % to 25.0 % over the last 300 labelled rows (adwin)");
}
