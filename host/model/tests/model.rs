//! The model crate through its public interface: parity with references, determinism, resumption, the format, bad input.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not hold")]

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use proptest::prelude::*;
use serde::Deserialize;
use tidegate_model::{
    Calibration, Checkpoint, ClassWeights, Family, FeatureColumn, Flow, LearningRateDecay, LoadError, Model, ModelSpec, TrainError,
    Trained, train,
};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, Digest, LabelColumn, Role, Seed};

fn contract(features: &[(&str, DType)], classes: usize) -> Contract {
    let column = |(name, dtype): &(&str, DType)| ContractColumn {
        name: (*name).into(),
        dtype: *dtype,
        role: Role::Feature,
        nullable: true,
        low: None,
        high: None,
        categories: None,
    };
    let classes = (0..classes).map(|class| class.to_string()).collect();
    Contract {
        id: None,
        time: None,
        label: LabelColumn { column: "label".into(), classes, delay_us: 0, by_id: false },
        columns: features.iter().map(column).collect(),
    }
}

fn labels(labels: impl IntoIterator<Item = usize>) -> (String, Role, ArrayRef) {
    let words: StringArray = labels.into_iter().map(|label| Some(label.to_string())).collect();
    ("label".into(), Role::Label, Arc::new(words))
}

fn numbers(name: &str, values: Vec<f64>) -> (String, Role, ArrayRef) {
    (name.into(), Role::Feature, Arc::new(Float64Array::from(values)))
}

fn words(name: &str, values: Vec<Option<&str>>) -> (String, Role, ArrayRef) {
    (name.into(), Role::Feature, Arc::new(StringArray::from(values)))
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn table(features: &[Vec<f64>], of: &[usize]) -> Batch {
    let width = features[0].len();
    let column = |index: usize| numbers(NAMES[index], features.iter().map(|row| row[index]).collect());
    Batch::new((0..width).map(column).chain([labels(of.iter().copied())]).collect()).unwrap()
}

fn table_contract(width: usize, classes: usize) -> Contract {
    contract(&NAMES[..width].iter().map(|name| (*name, DType::F64)).collect::<Vec<_>>(), classes)
}

fn fit(spec: &ModelSpec, contract: &Contract, rows: &Batch, validation: &Batch) -> Result<Trained, TrainError> {
    train(spec, contract, rows, validation, Seed(7), None, &mut |_| Flow::Continue)
}

fn load(trained: &Trained) -> Model {
    Model::load(&trained.artefact.weights, &trained.artefact.manifest).unwrap()
}

/// A small spec that trains in milliseconds.
fn small() -> ModelSpec {
    ModelSpec { hidden: vec![8], epochs_max: 4, batch_rows: 32, dropout: 0.2, ..ModelSpec::new(Family::Mlp) }
}

#[derive(Deserialize)]
struct Rings {
    features: Vec<Vec<f64>>,
    labels: Vec<usize>,
    train_rows: usize,
    accuracy: f64,
}

fn rings() -> (Rings, Batch) {
    let rings: Rings = serde_json::from_str(include_str!("fixtures/rings.json")).unwrap();
    let rows = table(&rings.features, &rings.labels);
    (rings, rows)
}

#[derive(Deserialize)]
struct Logistic {
    features: Vec<Vec<f64>>,
    labels: Vec<usize>,
    coefficients: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    probabilities: Vec<Vec<f64>>,
}

#[test]
fn linear_models_have_the_coefficients_of_scikit_learn() {
    for (classes, text) in [(2, include_str!("fixtures/logistic2.json")), (3, include_str!("fixtures/logistic3.json"))] {
        let expected: Logistic = serde_json::from_str(text).unwrap();
        let rows = table(&expected.features, &expected.labels);
        let trained = fit(&ModelSpec::new(Family::Linear), &table_contract(3, classes), &rows, &rows.slice(0, 0)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&trained.artefact.weights).unwrap();
        let read = |name: &str| -> Vec<f64> {
            let bytes = tensors.tensor(name).unwrap().data().to_vec();
            bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
        };
        let close = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5);
        let (coefficients, intercepts) = (read("coefficients"), read("intercepts"));
        assert!(close(&coefficients, &expected.coefficients.concat()), "{coefficients:?} {:?}", expected.coefficients);
        assert!(close(&intercepts, &expected.intercepts), "{intercepts:?} {:?}", expected.intercepts);
        let predictions = load(&trained).predict(&rows.slice(0, 10)).unwrap();
        assert!(close(&predictions.probabilities, &expected.probabilities.concat()));
    }
}

#[test]
fn a_perceptron_is_as_accurate_as_scikit_learns() {
    let (rings, rows) = rings();
    let held = rings.train_rows * 15 / 100;
    let spec = ModelSpec::new(Family::Mlp);
    let (learn, stop) = (rows.slice(0, rings.train_rows - held), rows.slice(rings.train_rows - held, held));
    let trained = fit(&spec, &table_contract(4, 2), &learn, &stop).unwrap();
    let test = rows.slice(rings.train_rows, rows.row_count() - rings.train_rows);
    let predicted = load(&trained).predict(&test).unwrap().predicted;
    let right = predicted.iter().zip(&rings.labels[rings.train_rows..]).filter(|(found, label)| **found as usize == **label).count();
    let accuracy = right as f64 / predicted.len() as f64;
    assert!(accuracy >= rings.accuracy - 0.01, "accuracy {accuracy}, scikit-learn {}", rings.accuracy);
}

#[test]
fn the_same_training_gives_the_same_bytes_at_any_thread_count() {
    let (_, rows) = rings();
    let wide = ModelSpec { hidden: vec![256, 64], epochs_max: 2, batch_rows: 600, ensemble: 2, ..small() };
    let run = || fit(&wide, &table_contract(4, 2), &rows.slice(0, 1_200), &rows.slice(1_200, 100)).unwrap().artefact;
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, run());
    let other = train(&wide, &table_contract(4, 2), &rows.slice(0, 1_200), &rows.slice(1_200, 100), Seed(8), None, &mut |_| Flow::Continue);
    assert_ne!(one.weights, other.unwrap().artefact.weights, "another seed gives another model");
}

fn checkpoint_at(spec: &ModelSpec, contract: &Contract, rows: &Batch, validation: &Batch, step: u64) -> Checkpoint {
    let mut kept = None;
    let result =
        train(spec, contract, rows, validation, Seed(7), None, &mut |progress| match (progress.step == step, progress.checkpoint) {
            (false, _) => Flow::Continue,
            (true, None) => Flow::Checkpoint,
            (true, Some(checkpoint)) => {
                kept = Some(checkpoint.clone());
                Flow::Cancel
            }
        });
    assert!(matches!(result, Err(TrainError::Cancelled { step: found }) if found == step));
    Checkpoint::from_bytes(kept.unwrap().as_bytes())
}

#[test]
fn a_resumed_training_gives_the_bytes_of_the_unbroken_one() {
    let (_, rows) = rings();
    let (learn, stop, contract) = (rows.slice(0, 200), rows.slice(200, 100), table_contract(4, 2));
    let mlp = ModelSpec { ensemble: 2, learning_rate_decay: LearningRateDecay::Constant, ..small() };
    let linear = ModelSpec::new(Family::Linear);
    // 200 rows in batches of 32 are 7 steps an epoch: 7 and 28 are the ends of an epoch and of the first search; then comes the
    // refit with 10 steps an epoch, and the second network.
    for (spec, steps) in [(&mlp, vec![1, 6, 7, 8, 20, 28, 29, 36, 45, 60, 70, 80]), (&linear, vec![1, 3, 6])] {
        let unbroken = fit(spec, &contract, &learn, &stop).unwrap();
        assert!(unbroken.report.steps >= *steps.last().unwrap(), "{}", unbroken.report.steps);
        for step in steps {
            let checkpoint = checkpoint_at(spec, &contract, &learn, &stop, step);
            let resumed = train(spec, &contract, &learn, &stop, Seed(7), Some(&checkpoint), &mut |_| Flow::Continue).unwrap();
            assert!(resumed == unbroken, "resumed at step {step} of {:?}", spec.family);
        }
    }
}

#[test]
fn foreign_and_damaged_checkpoints_are_refused() {
    let (_, rows) = rings();
    let (learn, stop, contract) = (rows.slice(0, 200), rows.slice(200, 100), table_contract(4, 2));
    let checkpoint = checkpoint_at(&small(), &contract, &learn, &stop, 5);
    let resume =
        |checkpoint: &Checkpoint, seed| train(&small(), &contract, &learn, &stop, Seed(seed), Some(checkpoint), &mut |_| Flow::Continue);
    assert!(matches!(resume(&checkpoint, 8), Err(TrainError::Resume { why }) if why.contains("another seed")));
    for place in [0, 40, 200, checkpoint.as_bytes().len() - 1] {
        let mut bytes = checkpoint.as_bytes().to_vec();
        bytes[place] ^= 1;
        assert!(matches!(resume(&Checkpoint::from_bytes(bytes), 7), Err(TrainError::Resume { .. })), "byte {place}");
    }
    assert!(matches!(resume(&Checkpoint::from_bytes(vec![1; 10]), 7), Err(TrainError::Resume { .. })));
}

fn mixed(rows: usize) -> (Contract, Batch) {
    let contract =
        contract(&[("number", DType::F64), ("gap", DType::F64), ("word", DType::Utf8), ("flag", DType::Bool), ("same", DType::F64)], 3);
    let kinds = ["red", "green", "blue"];
    let columns = vec![
        numbers("number", (0..rows).map(|row| (row * 37 % 101) as f64).collect()),
        numbers("gap", (0..rows).map(|row| if row % 5 == 0 { f64::NAN } else { (row % 11) as f64 }).collect()),
        words("word", (0..rows).map(|row| (row % 7 != 0).then_some(kinds[row % 3])).collect()),
        ("flag".into(), Role::Feature, Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 2 == 0)))) as ArrayRef),
        numbers("same", vec![4.2; rows]),
        labels((0..rows).map(|row| (row + row / 4) % 3)),
    ];
    (contract, Batch::new(columns).unwrap())
}

#[test]
fn preprocessing_fills_marks_and_encodes() {
    let (contract, rows) = mixed(100);
    let trained = fit(&small(), &contract, &rows, &rows.slice(0, 0)).unwrap();
    let model = load(&trained);
    let preprocessing = &model.manifest().preprocessing;
    assert_eq!(preprocessing.constant, ["same"]);
    assert_eq!(preprocessing.columns.iter().map(FeatureColumn::width).collect::<Vec<_>>(), [1, 2, 4, 3]);
    assert!(trained.report.notes.iter().any(|note| note.contains("`same`")), "{:?}", trained.report.notes);
    // Words that no training row had, and missing values where none were seen, still get an answer.
    let odd = Batch::new(vec![
        words("word", vec![Some("violet"), None]),
        numbers("gap", vec![f64::NAN, 1e300]),
        numbers("number", vec![f64::NAN, -1e300]),
        ("flag".into(), Role::Feature, Arc::new(BooleanArray::from(vec![None, Some(true)])) as ArrayRef),
    ]);
    let predictions = model.predict(&odd.unwrap()).unwrap();
    for row in predictions.probabilities.chunks_exact(3) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.iter().all(|value| (0.0..=1.0).contains(value)), "{row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_answered_alone_as_in_any_batch(order in Just((0..60usize).collect::<Vec<_>>()).prop_shuffle(), linear: bool) {
        let (contract, rows) = mixed(60);
        let family = if linear { Family::Linear } else { Family::Mlp };
        let model = load(&fit(&ModelSpec { family, ensemble: 2, ..small() }, &contract, &rows, &rows.slice(40, 20)).unwrap());
        let together = model.predict(&rows).unwrap();
        let indices = arrow::array::UInt32Array::from_iter_values(order.iter().map(|row| *row as u32));
        let taken = arrow::compute::take_record_batch(&rows.rows, &indices).unwrap();
        let shuffled = model.predict(&Batch { rows: taken, roles: rows.roles.clone() }).unwrap();
        for (place, row) in order.into_iter().enumerate() {
            let alone = model.predict(&rows.slice(row, 1)).unwrap();
            prop_assert_eq!(&alone.probabilities[..], &together.probabilities[3 * row..][..3]);
            prop_assert_eq!(&alone.probabilities[..], &shuffled.probabilities[3 * place..][..3]);
            prop_assert_eq!(alone.predicted[0], together.predicted[row]);
        }
    }
}

#[test]
fn the_first_rows_are_timed_one_by_one() {
    let (contract, rows) = mixed(60);
    let model = load(&fit(&ModelSpec::new(Family::Linear), &contract, &rows, &rows.slice(0, 0)).unwrap());
    for (count, rows_max, expected) in [(60, 25, 25), (10, 25, 10), (0, 25, 0), (60, 0, 0)] {
        let latencies = model.latencies_ns(&rows.slice(0, count), rows_max).unwrap();
        assert_eq!(latencies.len(), expected, "{count} rows, at most {rows_max}");
        assert!(latencies.iter().all(|nanos| *nanos > 0), "no answer takes no time: {latencies:?}");
    }
    assert!(model.latencies_ns(&table(&[vec![1.0]], &[0]), 1).is_err(), "rows of another contract");
}

#[test]
fn calibration_and_class_weights_do_what_they_say() {
    let (_, rows) = rings();
    let (learn, stop, contract) = (rows.slice(0, 300), rows.slice(300, 600), table_contract(4, 2));
    // Long training on few rows makes a network too sure of itself; a temperature takes that back.
    let spec = ModelSpec { hidden: vec![64], epochs_max: 80, patience_epochs: 80, learning_rate: 0.02, ..small() };
    let spec = ModelSpec { dropout: 0.0, calibration: Calibration::Temperature, ..spec };
    let plain = fit(&ModelSpec { calibration: Calibration::None, ..spec.clone() }, &contract, &learn, &stop).unwrap();
    let calibrated = fit(&spec, &contract, &learn, &stop).unwrap();
    let (before, after) = (plain.report.validation.unwrap(), calibrated.report.validation.unwrap());
    assert!(after.log_loss <= before.log_loss && after.ece_before == before.ece, "{before:?} {after:?}");
    assert_eq!(plain.artefact.weights, calibrated.artefact.weights);
    assert_ne!(load(&calibrated).manifest().temperature, 1.0);

    let rare: Vec<usize> = (0..400).map(|row| usize::from(row % 10 == 0)).collect();
    let features: Vec<Vec<f64>> = (0..400).map(|row| vec![(row % 10) as f64 * 0.1 + (row * 29 % 17) as f64]).collect();
    let (rows, contract) = (table(&features, &rare), table_contract(1, 2));
    let said = |class_weights| {
        let model =
            load(&fit(&ModelSpec { class_weights, ..ModelSpec::new(Family::Linear) }, &contract, &rows, &rows.slice(0, 0)).unwrap());
        model.predict(&rows).unwrap().predicted.iter().sum::<u32>()
    };
    assert!(said(ClassWeights::Balanced) > said(ClassWeights::None) + 50);
}

/// A change here breaks every stored model: raise the format with it. `UPDATE_EXPECT=1` writes the files anew.
#[test]
fn the_format_is_the_one_of_the_committed_files() {
    let (contract, rows) = mixed(40);
    let spec = ModelSpec { hidden: vec![3], calibration: Calibration::Temperature, ..small() };
    let Trained { artefact, .. } = fit(&spec, &contract, &rows.slice(0, 30), &rows.slice(30, 10)).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        write("golden.safetensors", &artefact.weights);
        write("golden.json", &artefact.manifest);
        return;
    }
    let (weights, manifest) = (include_bytes!("fixtures/golden.safetensors"), include_str!("fixtures/golden.json"));
    let golden = Model::load(weights, manifest.as_bytes()).unwrap().predict(&rows).unwrap();
    let made = Model::load(&artefact.weights, &artefact.manifest).unwrap().predict(&rows).unwrap();
    assert_eq!((golden.classes.len(), &golden.predicted), (3, &made.predicted));
    // Another instruction set may round the last bits of the weights otherwise; the shape of the files is the promise.
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
    assert!(golden.probabilities.iter().zip(&made.probabilities).all(close));
    let keys = |text: &[u8]| shape(&serde_json::from_slice(text).unwrap());
    assert_eq!(keys(&artefact.manifest), keys(manifest.as_bytes()));
    assert_eq!(artefact.weights.len(), weights.len());
}

/// A JSON value with its numbers and digests taken out.
fn shape(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => map.iter().map(|(key, value)| format!("{key}{{{}}}", shape(value))).collect(),
        serde_json::Value::Array(list) => list.first().map_or_else(String::new, |first| format!("[{}]", shape(first))),
        serde_json::Value::String(_) => "text".to_owned(),
        serde_json::Value::Number(_) => "number".to_owned(),
        other => other.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "only when somebody asks for new files")]
fn write(name: &str, bytes: &[u8]) {
    std::fs::write(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR")), bytes).unwrap();
}

#[test]
fn an_artefact_that_was_changed_is_refused() {
    let (contract, rows) = mixed(60);
    let Trained { artefact, .. } = fit(&small(), &contract, &rows, &rows.slice(0, 0)).unwrap();
    for place in (0..artefact.weights.len()).step_by(13) {
        let mut weights = artefact.weights.clone();
        weights[place] ^= 0x10;
        assert!(matches!(Model::load(&weights, &artefact.manifest), Err(LoadError::Digest { .. })), "byte {place}");
    }
    let text = String::from_utf8(artefact.manifest.clone()).unwrap();
    let check = |from: &str, to: &str, expected: fn(&LoadError) -> bool| {
        assert!(text.contains(from), "{from}");
        let error = Model::load(&artefact.weights, text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(expected(&error), "{from} -> {to}: {error}");
        assert!(error.hint().is_some());
    };
    check("tidegate-model/1", "tidegate-model/9", |error| matches!(error, LoadError::Format { .. }));
    check("\"format\"", "\"fromat\"", |error| matches!(error, LoadError::Manifest { .. }));
    check("\"seed\": 7", "\"seed\": 7, \"more\": 1", |error| matches!(error, LoadError::Manifest { .. }));
    check("\"temperature\": 1.0", "\"temperature\": 0.0", |error| matches!(error, LoadError::Inconsistent { .. }));
    check("\"ensemble\": 1", "\"ensemble\": 2", |error| matches!(error, LoadError::Tensor { found, .. } if found == "missing"));
    check("\"hidden\": [\n      8\n    ]", "\"hidden\": [9]", |error| matches!(error, LoadError::Tensor { .. }));
    check("\"family\": \"mlp\"", "\"family\": \"linear\"", |error| matches!(error, LoadError::Tensor { .. }));
    check("\"name\": \"number\"", "\"name\": \"nobody\"", |error| matches!(error, LoadError::Inconsistent { .. }));
    for length in 0..artefact.manifest.len() / 40 {
        assert!(Model::load(&artefact.weights, &artefact.manifest[..length * 40]).is_err());
    }
    // The digest of the weights is right here, but they are not safetensors.
    let broken = text.replacen(&Digest::of(&artefact.weights).to_string(), &Digest::of(b"junk").to_string(), 1);
    assert!(matches!(Model::load(b"junk", broken.as_bytes()), Err(LoadError::Weights { .. })));
}

fn refusal(spec: &ModelSpec, contract: &Contract, rows: &Batch) -> (String, String) {
    let error = fit(spec, contract, rows, &rows.slice(0, 0)).unwrap_err();
    let hint = error.hint().unwrap_or_default();
    (error.to_string(), hint)
}

#[test]
fn bad_input_is_refused_with_the_column_and_the_fix() {
    let contract = table_contract(2, 2);
    let good: Vec<Vec<f64>> = (0..20).map(|row| vec![row as f64, (row % 3) as f64]).collect();
    let classes: Vec<usize> = (0..20).map(|row| row % 2).collect();
    let with = |column: usize, values: &dyn Fn(usize) -> f64| {
        let mut changed = good.clone();
        changed.iter_mut().enumerate().for_each(|(row, line)| line[column] = values(row));
        table(&changed, &classes)
    };
    let cases: Vec<(&str, Batch, &str, &str)> = vec![
        ("empty", table(&good, &classes).slice(0, 0), "there are 0 training rows", "window_rows"),
        ("one row", table(&good, &classes).slice(0, 1), "there are 1 training rows", "window_rows"),
        ("one class", table(&good, &[1; 20]), "all 20 training rows have the label `1` in column `label`", "window_rows"),
        ("unknown class", table(&good, &[5; 20]), "label `5` in row 0; the contract's classes are `0`, `1`", "contract.label.classes"),
        ("all missing", with(1, &|_| f64::NAN), "column `b` has no value", "cleaner"),
        ("infinite", with(0, &|row| if row == 3 { f64::INFINITY } else { row as f64 }), "column `a` is infinite in row 3", "low"),
        ("too large", with(0, &|row| 1e300 * (row as f64 - 10.0)), "column `a` is infinite in row 0", "low"),
        (
            "missing column",
            Batch::new(vec![numbers("a", vec![1.0, 2.0]), labels([0, 1])]).unwrap(),
            "column `b` is missing; the rows have `a`, `label`",
            "`b`",
        ),
        (
            "type",
            Batch::new(vec![words("a", vec![Some("x"), None]), numbers("b", vec![1.0, 2.0]), labels([0, 1])]).unwrap(),
            "column `a` has type `utf8`; expected `f64`",
            "contract.columns.a",
        ),
        ("all constant", table(&vec![vec![1.0, 2.0]; 4], &[0, 1, 0, 1]), "no feature varies in the training rows: `a`, `b`", "window_rows"),
    ];
    for (name, rows, message, hint) in cases {
        for family in [Family::Mlp, Family::Linear] {
            let (found, way_out) = refusal(&ModelSpec { family, ..small() }, &contract, &rows);
            assert!(found.contains(message), "{name}: {found}");
            assert!(way_out.contains(hint), "{name}: {way_out}");
        }
    }
    let (found, hint) = refusal(&ModelSpec { learning_rate: -1.0, epochs_max: 0, ..small() }, &contract, &table(&good, &classes));
    assert!(found.contains("`epochs_max` is 0; expected 1 to 100000") && hint.contains("`learning_rate`"), "{found} {hint}");
    let hot =
        ModelSpec { learning_rate_decay: LearningRateDecay::Constant, learning_rate: 10.0, weight_decay: 10.0, epochs_max: 500, ..small() };
    let (found, hint) = refusal(&hot, &contract, &table(&good, &classes));
    assert!(found.contains("at learning rate 10") && hint.contains("lower `learning_rate`"), "{found} {hint}");
    let cuda = ModelSpec { device: "cuda:3".parse().unwrap(), ..small() };
    if !candle_core::utils::cuda_is_available() {
        let (found, hint) = refusal(&cuda, &contract, &table(&good, &classes));
        assert!(found.contains("`cuda:3`") && hint.contains("device"), "{found} {hint}");
    }
}

#[test]
fn a_spec_reads_with_defaults_and_refuses_unknown_keys() {
    let spec: ModelSpec =
        serde_json::from_str(r#"{ "family": "mlp", "hidden": [32], "device": "auto", "validation_share": 0.15 }"#).unwrap();
    assert_eq!(spec, ModelSpec::new(Family::Mlp));
    assert_eq!(spec.check(), []);
    let error = serde_json::from_str::<ModelSpec>(r#"{ "family": "mlp", "hiden": [32] }"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `hiden`"), "{error}");
    assert!(serde_json::from_str::<ModelSpec>(r#"{ "family": "mlp", "device": "tpu" }"#).is_err());
}

#[test]
fn rows_without_a_label_and_absent_validation_rows_are_noted() {
    let (contract, rows) = mixed(40);
    let mut columns: Vec<(String, Role, ArrayRef)> =
        rows.columns().map(|(name, role, array)| (name.into(), role.clone(), array.clone())).collect();
    let some: StringArray = (0..40).map(|row| (row % 4 != 0).then(|| (row % 3).to_string())).collect();
    columns.last_mut().unwrap().2 = Arc::new(some);
    let trained = fit(&small(), &contract, &Batch::new(columns).unwrap(), &Batch::new(Vec::new()).unwrap()).unwrap();
    assert_eq!(trained.report.train_rows, 30);
    assert!(trained.report.notes.iter().any(|note| note.starts_with("10 training rows without a label")), "{:?}", trained.report.notes);
    assert!(trained.report.notes.iter().any(|note| note.starts_with("there are no validation rows")));
    assert_eq!(trained.report.members[0].best_epoch, 4);
}
