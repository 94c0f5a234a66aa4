//! `[pipeline.NAME.gate]`: what a challenger has to show, written before the run.

use std::collections::BTreeSet;

use tidegate_policy::{
    Against, Approval, Dependence, Gate, GateRows, Interval, MARGIN_DEFAULT, RowsMin, Rule, SLICE_COLUMNS_MAX, SLICES_MAX, SliceRule, Test,
};
use tidegate_vocab::Contract;

use super::section::{self, Section};

const RULES_MAX: usize = 64;

const ROWS_OF_A_SLICE_MIN: u64 = 100;

pub(super) fn gate(pipeline: &Section<'_>) -> Gate {
    let mut gate = Gate {
        rows: GateRows::Arriving,
        dependence: Dependence::Time,
        confidence: 0.95,
        rows_min: RowsMin::default(),
        rows_per_class_min: 30,
        looks_max: 3,
        resamples: 2_000,
        interval: Interval::Percentile,
        maturity_min: None,
        approval: Approval::None,
        slices: Vec::new(),
        rules: Vec::new(),
    };
    if !pipeline.has("gate") {
        pipeline.missing("gate", "what a challenger has to show before it serves", "[pipeline.NAME.gate]");
    }
    let Some(section) = pipeline.section("gate") else { return gate };
    gate.rows = section.choice("rows", &[("arriving", GateRows::Arriving), ("held-out", GateRows::HeldOut)]).unwrap_or(gate.rows);
    gate.dependence = dependence(&section).unwrap_or(gate.dependence);
    gate.confidence = section.number("confidence", 0.500_001..=0.999_999).unwrap_or(gate.confidence);
    gate.rows_min = if section.is_text("rows_min") {
        section.choice("rows_min", &[("power", RowsMin::Power)]).unwrap_or(gate.rows_min)
    } else {
        section.integer("rows_min", 1..=10_000_000).map_or(gate.rows_min, RowsMin::Rows)
    };
    gate.rows_per_class_min = section.integer("rows_per_class_min", 0..=1_000_000).unwrap_or(gate.rows_per_class_min);
    gate.looks_max = section.integer("looks_max", 1..=100).and_then(|looks| u32::try_from(looks).ok()).unwrap_or(gate.looks_max);
    gate.resamples = section.integer("resamples", 200..=20_000).and_then(|count| u32::try_from(count).ok()).unwrap_or(gate.resamples);
    let intervals = [("percentile", Interval::Percentile), ("bca", Interval::Bca)];
    gate.interval = section.choice("interval", &intervals).unwrap_or(gate.interval);
    let approvals = [("none", Approval::None), ("operator", Approval::Operator)];
    gate.approval = section.choice("approval", &approvals).unwrap_or(gate.approval);
    gate.maturity_min = section.number("maturity_min", 0.01..=1.0);
    gate.slices = slices(&section);
    gate.rules = rules(&section);
    section.finish();
    gate
}

/// Advice about a gate that is legal and unwise.
pub fn lint(gate: &Gate) -> Vec<String> {
    gate.lint().iter().map(|issue| issue.hint().map_or_else(|| issue.to_string(), |hint| format!("{issue}; {hint}"))).collect()
}

fn dependence(section: &Section<'_>) -> Option<Dependence> {
    if section.is_text("dependence") || !section.has("dependence") {
        return section.choice("dependence", &[("time", Dependence::Time), ("independent", Dependence::Independent)]);
    }
    let table = section.section("dependence")?;
    if !table.has("cluster") {
        table.missing("cluster", "the column whose equal values belong together", "cluster = \"station\"");
    }
    let cluster = table.text("cluster").map(|column| Dependence::Cluster(column.value));
    table.finish();
    cluster
}

/// The columns whose values are judged apart. That the rows have them is checked against the contract, by whoever knows it.
fn slices(section: &Section<'_>) -> Vec<SliceRule> {
    let tables = section.sections("slice");
    let found = tables.len();
    if found > SLICE_COLUMNS_MAX {
        let message = format!("a gate judges at most {SLICE_COLUMNS_MAX} columns apart, found {found}");
        section.problem(section.place("slice"), message, "too many", None);
    }
    let mut slices: Vec<SliceRule> = Vec::with_capacity(found);
    for table in tables {
        if !table.has("column") {
            table.missing("column", "whose values are judged apart", "column = \"station\"");
        }
        let place = table.place("column");
        let column = table.text("column");
        let values: Vec<String> = table.texts("values").unwrap_or_default().into_iter().map(|value| value.value).collect();
        if values.len() > SLICES_MAX {
            let message = format!("{} may name at most {SLICES_MAX} values, found {}", table.named("values"), values.len());
            table.problem(table.place("values"), message, "too many", None);
        }
        let rows_min = table.integer("rows_min", 1..=10_000_000).unwrap_or(ROWS_OF_A_SLICE_MIN);
        table.finish();
        let Some(column) = column else { continue };
        if slices.iter().any(|slice| slice.column == column.value) {
            section.problem(place, format!("the column `{}` is judged apart twice", section::shown(&column.value)), "again", None);
        }
        slices.push(SliceRule { column: column.value, values, rows_min });
    }
    slices
}

/// Says so where a column that is judged apart is none of the contract's.
pub(super) fn slices_of_the_contract(pipeline: &Section<'_>, contract: &Contract, gate: &Gate) {
    let Some(section) = pipeline.section("gate") else { return };
    let names: Vec<&str> = contract.columns.iter().map(|column| column.name.as_str()).collect();
    for (table, slice) in section.sections("slice").iter().zip(&gate.slices) {
        if !names.contains(&slice.column.as_str()) {
            let message = format!("the contract has no column `{}`", section::shown(&slice.column));
            table.problem(table.place("column"), message, "not a column", section::nearest_hint(&slice.column, &names));
        }
    }
}

fn rules(section: &Section<'_>) -> Vec<Rule> {
    let tables = section.sections("rule");
    if tables.is_empty() && !section.has("rule") {
        section.missing("rule", "a gate without rules promotes everything", "[[pipeline.NAME.gate.rule]]");
    }
    if tables.len() > RULES_MAX {
        section.problem(section.place("rule"), format!("a gate has at most {RULES_MAX} rules, found {}", tables.len()), "too many", None);
    }
    let mut seen = BTreeSet::new();
    let mut rules = Vec::with_capacity(tables.len());
    for table in tables {
        let place = table.place("id");
        if let Some(rule) = rule(table) {
            if !seen.insert(rule.id.clone()) {
                section.problem(place, format!("two rules have the id `{}`", section::shown(&rule.id)), "again", None);
            }
            rules.push(rule);
        }
    }
    rules
}

const TESTS: [(&str, &str); 5] = [
    ("non-inferior", "non-inferior"),
    ("superior", "superior"),
    ("lower-bound", "lower-bound"),
    ("upper-bound", "upper-bound"),
    ("ratio-upper", "ratio-upper"),
];

fn rule(section: Section<'_>) -> Option<Rule> {
    for (key, what, example) in [
        ("id", "the name of the rule in decisions", "id = \"not-worse\""),
        ("metric", "what it looks at", "metric = \"accuracy\""),
        ("test", "what has to hold", "test = \"non-inferior\""),
    ] {
        if !section.has(key) {
            section.missing(key, what, example);
        }
    }
    let id = section.text("id").map(|id| id.value);
    let metric = section.text("metric").map(|metric| metric.value);
    let test = section.choice("test", &TESTS);
    let against = against(&section, test);
    let test = test.and_then(|test| test_of(&section, test));
    // In a rule that is about no gain it stays unread, and so an unknown key.
    let gain_max = test.filter(|test| test.has_gain()).and_then(|_| section.number("gain_max", 1e-9..=1e9));
    section.finish();
    Some(Rule { id: id?, metric: metric?, against: against?, test: test?, gain_max })
}

fn against(section: &Section<'_>, test: Option<&str>) -> Option<Against> {
    let others =
        [Against::Champion, Against::Anchor, Against::NoChange, Against::Majority, Against::Linear].map(|other| (other.word(), other));
    let has_own_bound = matches!(test, Some("lower-bound" | "upper-bound"));
    if has_own_bound {
        if section.has("against") {
            let hint = "remove `against`, or choose `non-inferior`, `superior` or `ratio-upper`".to_owned();
            section.problem(section.place("against"), "a bound is compared with nobody", "not for a bound", Some(hint));
            section.text("against");
        }
        return Some(Against::Bound);
    }
    if !section.has("against") && test.is_some() {
        section.missing("against", "whom the challenger is compared with", "against = \"champion\"");
    }
    section.choice("against", &others)
}

/// The numbers of a test; a number that belongs to another test is an unknown key.
fn test_of(section: &Section<'_>, test: &str) -> Option<Test> {
    let needed = |key: &str, what: &str, example: &str, bounds| {
        if !section.has(key) {
            section.missing(key, what, example);
        }
        section.number(key, bounds)
    };
    let any = f64::MIN..=f64::MAX;
    match test {
        "non-inferior" => Some(Test::NonInferior { margin: section.number("margin", 1e-9..=0.999_999).unwrap_or(MARGIN_DEFAULT) }),
        "superior" => Some(Test::Superior),
        "lower-bound" => Some(Test::LowerBound { bound: needed("bound", "what it has to stay above", "bound = 0.7", any)? }),
        "upper-bound" => Some(Test::UpperBound { bound: needed("bound", "what it has to stay below", "bound = 50.0", any)? }),
        _ => Some(Test::RatioUpper { ratio_max: needed("ratio_max", "the largest multiple", "ratio_max = 1.10", 1e-6..=1e6)? }),
    }
}
