//! Alarms at the same values as river's ADWIN; `tests/fixtures/make_adwin.py` made the numbers.

use serde_json::Value;
use tidegate_policy::Adwin;

#[test]
fn alarms_agree_with_river() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/adwin.json")).unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let values: Vec<f64> = match &case["values"] {
            Value::String(bits) => bits.bytes().map(|bit| f64::from(bit - b'0')).collect(),
            list => list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect(),
        };
        let expected: Vec<usize> = case["alarms"].as_array().unwrap().iter().map(|index| index.as_u64().unwrap() as usize).collect();
        let mut detector = Adwin::new();
        let mut alarms = Vec::new();
        for (index, value) in values.iter().enumerate() {
            // Stored and read back between values: a restart changes nothing.
            if index % 97 == 0 {
                let stored = serde_json::to_string(&detector).unwrap();
                let read: Adwin = serde_json::from_str(&stored).unwrap();
                assert_eq!(read, detector);
                detector = read;
            }
            if detector.update(*value) {
                alarms.push(index);
            }
        }
        assert_eq!(alarms, expected, "{}", case["name"]);
        assert_eq!(detector.width(), case["width"].as_u64().unwrap(), "{}", case["name"]);
        let mean = case["mean"].as_f64().unwrap();
        assert_eq!(detector.mean().unwrap_or(0.0).to_bits(), mean.to_bits(), "{}: mean {mean}", case["name"]);
    }
}

#[test]
fn values_that_are_not_finite_are_passed_over() {
    let mut detector = Adwin::new();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!detector.update(value));
    }
    assert_eq!((detector.width(), detector.mean()), (0, None));
}
