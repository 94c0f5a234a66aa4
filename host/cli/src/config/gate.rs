//! `[pipeline.NAME.gate]`: what a challenger has to show, written before the run.

use std::collections::BTreeSet;

use super::section::{self, Section};

const RULES_MAX: usize = 64;

/// `[pipeline.NAME.gate]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Which rows judge.
    pub rows: GateRows,
    /// How rows depend on each other.
    pub dependence: Dependence,
    /// One-sided confidence of every verdict.
    pub confidence: f64,
    /// Rows below which nothing is decided.
    pub rows_min: RowsMin,
    /// Rows of each class below which nothing is decided.
    pub rows_per_class_min: u64,
    /// Looks at arriving rows that share the allowed error.
    pub looks_max: u32,
    /// Resamples of the bootstrap.
    pub resamples: u32,
    /// The rules; all have to pass.
    pub rules: Vec<Rule>,
}

/// Which rows judge a challenger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateRows {
    /// Rows that arrive after it was trained.
    Arriving,
    /// Rows held out of training.
    HeldOut,
}

/// How rows depend on each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependence {
    /// Not at all.
    Independent,
    /// Neighbours in time are alike.
    Time,
    /// Rows with the same value in a column are alike.
    Cluster(String),
}

/// How many rows a verdict needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsMin {
    /// This many.
    Rows(u64),
    /// As many as the margins ask for.
    Power,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name in decisions.
    pub id: String,
    /// A metric of one of the evaluators.
    pub metric: String,
    /// Whom the challenger is compared with.
    pub against: Against,
    /// What has to hold.
    pub test: Test,
}

/// Whom a challenger is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The version that serves.
    Champion,
    /// The last version that was promoted by a `superior` rule.
    Anchor,
    /// "As the last known label".
    NoChange,
    /// "As most labels were".
    Majority,
    /// The rule's own bound.
    Bound,
}

/// What has to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Test {
    /// Worse by less than the margin.
    NonInferior {
        /// In the metric's unit.
        margin: f64,
    },
    /// Better.
    Superior,
    /// Above a bound.
    LowerBound {
        /// In the metric's unit.
        bound: f64,
    },
    /// Below a bound.
    UpperBound {
        /// In the metric's unit.
        bound: f64,
    },
    /// At most a multiple of the other's value.
    RatioUpper {
        /// The multiple.
        ratio_max: f64,
    },
}

pub(super) fn gate(pipeline: &Section<'_>) -> Gate {
    let mut gate = Gate {
        rows: GateRows::Arriving,
        dependence: Dependence::Time,
        confidence: 0.95,
        rows_min: RowsMin::Power,
        rows_per_class_min: 30,
        looks_max: 3,
        resamples: 1_000,
        rules: Vec::new(),
    };
    if !pipeline.has("gate") {
        pipeline.missing("gate", "what a challenger has to show before it serves", "[pipeline.NAME.gate]");
    }
    let Some(section) = pipeline.section("gate") else { return gate };
    gate.rows = section.choice("rows", &[("arriving", GateRows::Arriving), ("held-out", GateRows::HeldOut)]).unwrap_or(gate.rows);
    gate.dependence = dependence(&section).unwrap_or(gate.dependence);
    gate.confidence = section.number("confidence", 0.5..=0.999_999).unwrap_or(gate.confidence);
    gate.rows_min = if section.is_text("rows_min") {
        section.choice("rows_min", &[("power", RowsMin::Power)]).unwrap_or(gate.rows_min)
    } else {
        section.integer("rows_min", 1..=1_000_000_000).map_or(gate.rows_min, RowsMin::Rows)
    };
    gate.rows_per_class_min = section.integer("rows_per_class_min", 0..=1_000_000_000).unwrap_or(gate.rows_per_class_min);
    gate.looks_max = section.integer("looks_max", 1..=1_000).and_then(|looks| u32::try_from(looks).ok()).unwrap_or(gate.looks_max);
    gate.resamples = section.integer("resamples", 100..=1_000_000).and_then(|count| u32::try_from(count).ok()).unwrap_or(gate.resamples);
    gate.rules = rules(&section);
    section.finish();
    gate
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
    section.finish();
    Some(Rule { id: id?, metric: metric?, against: against?, test: test? })
}

fn against(section: &Section<'_>, test: Option<&str>) -> Option<Against> {
    let others =
        [("champion", Against::Champion), ("anchor", Against::Anchor), ("no-change", Against::NoChange), ("majority", Against::Majority)];
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
        "non-inferior" => {
            let margin = needed("margin", "how much worse it may be", "margin = 0.02", 1e-9..=1e9)?;
            Some(Test::NonInferior { margin })
        }
        "superior" => Some(Test::Superior),
        "lower-bound" => Some(Test::LowerBound { bound: needed("bound", "what it has to stay above", "bound = 0.7", any)? }),
        "upper-bound" => Some(Test::UpperBound { bound: needed("bound", "what it has to stay below", "bound = 50.0", any)? }),
        _ => Some(Test::RatioUpper { ratio_max: needed("ratio_max", "the largest multiple", "ratio_max = 1.10", 1e-6..=1e6)? }),
    }
}
