//! Plugins and settings that tests script.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, StringArray};
use arrow::datatypes::Float64Type;
use rand::RngExt as _;
use tidegate_model::{Family, ModelSpec};
use tidegate_pipeline::{
    AlertPort, CleanPort, DamageBounds, EvaluatePort, FailureRules, PluginStep, Plugins, Settings, SourcePort, Stores,
};
use tidegate_policy::{
    Against, Approval, ArmTally, Brakes, Dependence, Gate, GateRows, Interval, RowsMin, Rule, Test, TriggerKind, TriggerRule,
};
use tidegate_sandbox::{Alert, CallError, Cleaned, Failure, Pull};
use tidegate_testkit::MemoryStore;
use tidegate_vocab::{
    Batch, Clock, Contract, ContractColumn, DType, Digest, LabelColumn, MetricInfo, MetricTerms, Role, Seed, Terms, TimeColumn, TimeUnit,
};

/// The first day, long before 1970: instants are negative.
pub const ORIGIN_US: i64 = -20 * 365 * 86_400_000_000;

/// A history: two features, a label that depends on them, and a concept that turns around half-way.
pub struct History {
    pub rows: Vec<[String; 4]>,
}

impl History {
    pub fn new(seed: u64, row_count: usize) -> History {
        let mut rng = Seed(seed).rng("history");
        let mut row = |index: usize| {
            let (a, b): (f64, f64) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
            let turned = index >= row_count / 2;
            let score = if turned { a - b } else { a + b } + rng.random_range(-0.3..0.3);
            // One row in fifty lacks a feature, so that the contract has something to keep out.
            let first = if index % 50 == 7 { String::new() } else { format!("{a:.6}") };
            // One label in ninety-seven never comes.
            let label = if index % 97 == 11 { String::new() } else { u8::from(score > 0.0).to_string() };
            [index.to_string(), first, format!("{b:.6}"), label]
        };
        History { rows: (0..row_count).map(&mut row).collect() }
    }
}

/// Gives a history's rows as text; its cursor is a row number.
pub struct ScriptedSource {
    pub history: Arc<History>,
    pub at: usize,
}

impl SourcePort for ScriptedSource {
    fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError> {
        self.at = cursor.map_or(0, |bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap());
        Ok(())
    }

    fn next(&mut self, rows_max: u32, _bytes_max: u64) -> Result<Pull, CallError> {
        let end = (self.at + rows_max as usize).min(self.history.rows.len());
        let rows = &self.history.rows[self.at..end];
        if rows.is_empty() {
            return Ok(Pull::Finished);
        }
        self.at = end;
        let column = |index: usize| {
            let cells = rows.iter().map(|row| Some(row[index].as_str()).filter(|cell| !cell.is_empty()));
            Arc::new(cells.collect::<StringArray>()) as arrow::array::ArrayRef
        };
        let names = ["day", "a", "b", "y"];
        let columns = (0..4).map(|index| (names[index].to_owned(), Role::Feature, column(index))).collect();
        Ok(Pull::Rows { rows: Batch::new(columns).unwrap(), cursor: end.to_string().into_bytes() })
    }
}

/// Clips the first feature, drops nothing.
pub struct ClipFirst;

impl CleanPort for ClipFirst {
    fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        let index = rows.index_of("a").unwrap();
        let clipped: Float64Array =
            rows.rows.column(index).as_primitive::<Float64Type>().iter().map(|value| value.map(|value| value.clamp(-0.9, 0.9))).collect();
        let columns = rows.columns().enumerate().map(|(number, (name, role, array))| {
            let array = if number == index { Arc::new(clipped.clone()) as arrow::array::ArrayRef } else { Arc::clone(array) };
            (name.to_owned(), role.clone(), array)
        });
        let kept = (0..rows.row_count() as u32).collect();
        Ok(Cleaned { rows: Batch::new(columns.collect()).unwrap(), dropped: Vec::new(), kept, damage: Default::default() })
    }
}

/// Accuracy.
pub struct Accuracy;

impl EvaluatePort for Accuracy {
    fn metrics(&mut self) -> Result<Vec<MetricInfo>, CallError> {
        Ok(vec![MetricInfo { name: "accuracy".into(), unit: "1".into(), higher_is_better: true }])
    }

    fn evaluate(&mut self, scored: &Batch) -> Result<Vec<MetricTerms>, CallError> {
        let text = |role: &Role| scored.rows.column(scored.with_role(role).unwrap()).as_string::<i32>().clone();
        let (label, predicted) = (text(&Role::Label), text(&Role::Prediction));
        let values = (0..label.len()).map(|row| f64::from(u8::from(label.value(row) == predicted.value(row)))).collect();
        Ok(vec![MetricTerms { metric: self.metrics()?.remove(0), terms: Terms::Mean { values } }])
    }
}

/// Counts alerts.
pub struct Count(pub Arc<std::sync::atomic::AtomicU32>);

impl AlertPort for Count {
    fn notify(&mut self, _alert: &Alert) -> Result<(), CallError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

pub fn alerter(count: &Arc<std::sync::atomic::AtomicU32>) -> PluginStep<dyn AlertPort> {
    step("count", Box::new(Count(Arc::clone(count))) as Box<dyn AlertPort>)
}

pub fn step<P: ?Sized>(name: &str, port: Box<P>) -> PluginStep<P> {
    PluginStep {
        name: name.parse().unwrap(),
        digest: Digest::of(name),
        config: serde_json::json!({}),
        component: name.as_bytes().to_vec().into(),
        serving: false,
        columns: None,
        circumstances: serde_json::json!({}),
        damage: DamageBounds::default(),
        port: Some(port),
    }
}

pub fn plugins(history: &Arc<History>) -> Plugins {
    Plugins {
        source: step("script", Box::new(ScriptedSource { history: Arc::clone(history), at: 0 }) as Box<dyn SourcePort>),
        cleaners: vec![step("clip", Box::new(ClipFirst) as Box<dyn CleanPort>)],
        evaluators: vec![step("accuracy", Box::new(Accuracy) as Box<dyn EvaluatePort>)],
        alerters: Vec::new(),
    }
}

pub fn settings(seed: u64, rows: GateRows) -> Settings {
    let feature = |name: &str| ContractColumn {
        name: name.into(),
        dtype: DType::F64,
        role: Role::Feature,
        nullable: false,
        low: None,
        high: None,
        categories: None,
    };
    let rule = |id: &str, against, test| Rule { id: id.into(), metric: "accuracy".into(), against, test, gain_max: None };
    Settings {
        id: "test".parse().unwrap(),
        contract: Contract {
            id: Some("day".into()),
            time: Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::D), origin_us: ORIGIN_US }),
            label: LabelColumn { column: "y".into(), classes: vec!["0".into(), "1".into()], delay_us: TimeUnit::D.micros(), by_id: false },
            columns: vec![feature("a"), feature("b")],
        },
        positive_class: "1".into(),
        model: ModelSpec::new(Family::Linear),
        window_rows: 600,
        held_out_rows: 200,
        trial_rows: 0,
        rollout: None,
        guard: None,
        drift: None,
        estimate_rows: 0,
        triggers: vec![TriggerRule { kind: TriggerKind::Volume { new_rows: 300 }, brakes: Brakes::default() }],
        gate: Gate {
            rows,
            dependence: Dependence::Independent,
            confidence: 0.95,
            rows_min: RowsMin::Rows(100),
            rows_per_class_min: 10,
            looks_max: 3,
            resamples: 300,
            interval: Interval::Percentile,
            maturity_min: None,
            approval: Approval::None,
            slices: Vec::new(),
            rules: vec![
                rule("not-worse", Against::Champion, Test::NonInferior { margin: 0.05 }),
                rule("not-naive", Against::Majority, Test::Superior),
            ],
        },
        ungated: false,
        seed: Seed(seed),
        poll_rows_max: 50,
        poll_bytes_max: 1 << 20,
        failures: FailureRules { strikes_max: 3, strike_window_ms: 60_000, dead_letters_max: 2 },
    }
}

pub async fn stores(store: &Arc<MemoryStore>, clock: Arc<dyn Clock>) -> Stores {
    use tidegate_store::MetaStore as _;
    let fence = store.take_fence("test").await.unwrap();
    let (meta, blobs, queue) = (Arc::clone(store) as _, Arc::clone(store) as _, Arc::clone(store) as _);
    Stores { meta, blobs, queue, feedback: Arc::clone(store) as _, fence, clock }
}

/// What a plugin says that will not do it.
pub fn refused(retryable: bool, retry_after_ms: Option<u64>) -> CallError {
    let failure = Failure { code: 1, message: "not so".into(), retryable, retry_after_ms, issues: Vec::new(), grant: None };
    CallError::Refused { plugin: "scripted".parse().unwrap(), step: "call", failure }
}

/// How a call of a plugin that crashes ends.
pub fn crashed() -> CallError {
    CallError::Trapped { plugin: "scripted".parse().unwrap(), step: "call", why: "it stopped itself".into() }
}

/// `requests` of a rollout's arm, of which every `fails`-th fails.
pub fn tally(requests: u64, fails: u64) -> ArmTally {
    let mut tally = ArmTally::default();
    for request in 1..=requests {
        let latency_s = 0.010 + 0.001 * (request % 7) as f64;
        tally.record(&tidegate_policy::Outcome { error: request % fails == 0, latency_s, quality: None, tokens: None, hard_fault: None });
    }
    tally
}
