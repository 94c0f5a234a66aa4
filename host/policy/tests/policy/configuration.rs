//! Gates and triggers as they are written in a configuration.

use tidegate_policy::{Dependence, Gate, GateRows, RowsMin, TriggerRule};

const SHIPPED: &str = r#"
rows = "arriving"
dependence = "time"
confidence = 0.95
rows_min = 300
rows_per_class_min = 30
looks_max = 3
[[rule]]
id = "not-worse"
metric = "accuracy"
against = "champion"
test = "non-inferior"
margin = 0.02
[[rule]]
id = "not-worse-than-anchor"
metric = "accuracy"
against = "anchor"
test = "non-inferior"
margin = 0.02
[[rule]]
id = "not-naive"
metric = "accuracy"
against = "no-change"
test = "superior"
[[rule]]
id = "latency"
metric = "latency_p95"
against = "champion"
test = "ratio-upper"
ratio_max = 1.10
[[rule]]
id = "floor"
metric = "accuracy"
test = "lower-bound"
bound = 0.7
"#;

#[test]
fn the_shipped_gate_loads_and_comes_back() {
    let gate: Gate = toml::from_str(SHIPPED).unwrap();
    assert_eq!((gate.rows, &gate.dependence, gate.rows_min), (GateRows::Arriving, &Dependence::Time, RowsMin::Rows(300)));
    assert_eq!((gate.rules.len(), gate.resamples), (5, 2000));
    assert!(gate.check().is_empty() && gate.lint().is_empty(), "{:?} {:?}", gate.check(), gate.lint());
    assert_eq!(toml::from_str::<Gate>(&toml::to_string(&gate).unwrap()).unwrap(), gate);
    assert_eq!(serde_json::from_str::<Gate>(&serde_json::to_string(&gate).unwrap()).unwrap(), gate);
    let other =
        SHIPPED.replace("\"time\"", "{ cluster = \"station\" }").replace("300", "\"power\"").replace("\"arriving\"", "\"held-out\"");
    let gate: Gate = toml::from_str(&other).unwrap();
    assert_eq!(
        (gate.rows, gate.dependence.clone(), gate.rows_min),
        (GateRows::HeldOut, Dependence::Cluster("station".into()), RowsMin::Power)
    );
    assert_eq!(toml::from_str::<Gate>(&toml::to_string(&gate).unwrap()).unwrap(), gate);
}

#[test]
fn gates_that_do_not_load() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = SHIPPED.replacen(from, to, 1);
        assert_ne!(text, SHIPPED, "nothing was replaced");
        let error = toml::from_str::<Gate>(&text).unwrap_err();
        assert!(error.message().contains(expected), "{}", error.message());
    };
    check("looks_max = 3", "looks = 3", "unknown field `looks`");
    check("margin = 0.02", "margin = 0.02\nslack = 1", "unknown field `slack`");
    check("dependence = \"time\"", "", "missing field `dependence`");
    check("rows_min = 300", "rows_min = \"plenty\"", "expected a number of rows, or \"power\", found `plenty`");
    check("test = \"superior\"", "test = \"superior\"\nmargin = 0.1", "rule `not-naive`: `margin` does not belong to test `superior`");
    check("ratio_max = 1.10", "", "rule `latency`: test `ratio-upper` needs `ratio_max`");
    check("against = \"no-change\"", "", "rule `not-naive`: test `superior` needs `against`");
    check("against = \"no-change\"", "against = \"nobody\"", "unknown variant `nobody`");
    check("bound = 0.7", "bound = 0.7\nagainst = \"champion\"", "rule `floor`: test `lower-bound` compares with `bound`");
}

#[test]
fn gates_out_of_bounds() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let gate: Gate = toml::from_str(&SHIPPED.replacen(from, to, 1)).unwrap();
        let issues: Vec<String> = gate.check().iter().map(ToString::to_string).collect();
        assert_eq!(issues, expected);
        assert!(gate.check().iter().all(|issue| issue.hint().is_some()));
    };
    check("confidence = 0.95", "confidence = 1.0", &["`gate.confidence`: found 1, expected more than 0.5 and less than 1"]);
    check("confidence = 0.95", "confidence = nan", &["`gate.confidence`: found NaN, expected more than 0.5 and less than 1"]);
    check("rows_min = 300", "rows_min = 0", &["`gate.rows_min`: found 0, expected 1 to 10000000, or \"power\""]);
    check("looks_max = 3", "looks_max = 0", &["`gate.looks_max`: found 0, expected 1 to 100"]);
    check("looks_max = 3", "looks_max = 3\nresamples = 100", &["`gate.resamples`: found 100, expected 200 to 20000"]);
    check("margin = 0.02", "margin = 1.0", &["`gate.rule.not-worse.margin`: found 1, expected more than 0 and less than 1"]);
    check("ratio_max = 1.10", "ratio_max = 0.0", &["`gate.rule.latency.ratio_max`: found 0, expected a finite number above 0"]);
    check("id = \"not-naive\"", "id = \"not-worse\"", &["`gate.rule.not-worse.id`: found `not-worse` twice, expected unique ids"]);
    check("bound = 0.7", "bound = inf", &["`gate.rule.floor.bound`: found inf, expected a finite number"]);
}

#[test]
fn a_ratchet_is_warned_about() {
    let gate: Gate = toml::from_str(&SHIPPED.replace("\"anchor\"", "\"majority\"")).unwrap();
    let lint: Vec<String> = gate.lint().iter().map(ToString::to_string).collect();
    assert_eq!(lint, ["`gate.rule.not-worse`: `accuracy` may sink a little at every promotion: no rule compares it with the anchor"]);
}

#[test]
fn triggers_load_and_come_back() {
    let check = |text: &str| {
        let rule: TriggerRule = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<TriggerRule>(&toml::to_string(&rule).unwrap()).unwrap(), rule);
    };
    check("kind = \"volume\"\nnew_rows = 1000");
    check("kind = \"error\"\ndetector = \"adwin\"\ncooldown_rows = 500");
    check("kind = \"schedule\"\ncron = \"0 3 * * 1\"\ncooldown = \"6h\"\nmin_new_rows = 10\nrejections_max = 3");
    check("kind = \"manual\"");
    check("kind = \"growth\"\nnew_percent = 10\nbudget_per_day = 2\nquiet = \"22:00-06:00\"\ncoalesce = \"10m\"");
    check("kind = \"watermark\"\nadvance = \"30d\"");
    check("kind = \"quality\"\ndrop = 0.02\nrows = 500");
    check("kind = \"webhook\"\nname = \"nightly\"");
}
