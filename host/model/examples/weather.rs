//! Trains on the rows of a CSV file in time order and predicts what comes next, to compare settings.
//!
//! `cargo run --release -p tidegate-model --example weather -- FILE [key=value …]`: the last column is the label, the first the
//! row's name, all others are numbers. The first tenth warms up; then each block of `step` rows is predicted by a model that
//! was trained on the `window` rows before it. Prints accuracy, F1 of the second class, trainings and seconds.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints, reads a file and takes the time")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use tidegate_model::{Calibration, ClassWeights, Family, Flow, LearningRateDecay, Model, ModelSpec, train};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, LabelColumn, Role, Seed};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: weather FILE [key=value …]")?;
    let (contract, rows) = read(&path)?;
    let mut spec = ModelSpec::new(Family::Mlp);
    let (mut window, mut step, mut seeds) = (4_000usize, 1_000usize, 3u64);
    for argument in arguments {
        let (key, value) = argument.split_once('=').ok_or("settings are written key=value")?;
        match key {
            "window" => window = value.parse()?,
            "step" => step = value.parse()?,
            "seeds" => seeds = value.parse()?,
            _ => set(&mut spec, key, value)?,
        }
    }
    let mut sum = 0.0;
    for seed in 0..seeds {
        let start = Instant::now();
        let Outcome { accuracy, f1, trainings, epochs, evaluating } = prequential(&spec, &contract, &rows, window, step, Seed(seed))?;
        let seconds = start.elapsed().as_secs_f64();
        let each = (seconds - evaluating) / trainings as f64;
        println!(
            "seed {seed}: accuracy {accuracy:.4} f1 {f1:.4} trainings {trainings} epochs {epochs:.1} seconds {seconds:.2} ({each:.4} a training)"
        );
        sum += accuracy;
    }
    println!("mean accuracy {:.4}", sum / seeds as f64);
    Ok(())
}

fn set(spec: &mut ModelSpec, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
    match key {
        "family" => spec.family = if value == "linear" { Family::Linear } else { Family::Mlp },
        "hidden" => spec.hidden = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
        "epochs_max" => spec.epochs_max = value.parse()?,
        "batch_rows" => spec.batch_rows = value.parse()?,
        "learning_rate" => spec.learning_rate = value.parse()?,
        "cosine" => spec.learning_rate_decay = LearningRateDecay::Cosine,
        "constant" => spec.learning_rate_decay = LearningRateDecay::Constant,
        "weight_decay" => spec.weight_decay = value.parse()?,
        "dropout" => spec.dropout = value.parse()?,
        "patience_epochs" => spec.patience_epochs = value.parse()?,
        "balanced" => spec.class_weights = ClassWeights::Balanced,
        "validation_share" => spec.validation_share = value.parse()?,
        "refit" => spec.refit = value.parse()?,
        "ensemble" => spec.ensemble = value.parse()?,
        "l2" => spec.l2 = value.parse()?,
        "temperature" => spec.calibration = Calibration::Temperature,
        _ => return Err(format!("unknown setting `{key}`").into()),
    }
    Ok(())
}

struct Outcome {
    accuracy: f64,
    f1: f64,
    trainings: usize,
    /// Mean over all networks, searches only.
    epochs: f64,
    /// Seconds of loading and predicting.
    evaluating: f64,
}

fn prequential(
    spec: &ModelSpec,
    contract: &Contract,
    rows: &Batch,
    window: usize,
    step: usize,
    seed: Seed,
) -> Result<Outcome, Box<dyn Error>> {
    let count = rows.row_count();
    let warm = count / 10;
    let (mut right, mut hits, mut said, mut are) = (0usize, 0usize, 0usize, 0usize);
    let (mut trainings, mut epochs, mut evaluating) = (0, 0, 0.0);
    let labels = rows.column("rain").or_else(|| rows.column(&contract.label.column)).ok_or("no label")?.clone();
    let labels = labels.as_any().downcast_ref::<StringArray>().ok_or("label is not text")?;
    for begin in (warm..count).step_by(step) {
        let first = begin.saturating_sub(window);
        let held = ((begin - first) as f64 * spec.validation_share).round() as usize;
        let (learn, stop) = (rows.slice(first, begin - first - held), rows.slice(begin - held, held));
        let trained = train(spec, contract, &learn, &stop, seed, None, &mut |_| Flow::Continue)?;
        trainings += 1;
        epochs += trained.report.members.iter().map(|member| member.epochs).sum::<u32>();
        let start = Instant::now();
        let model = Model::load(&trained.artefact.weights, &trained.artefact.manifest)?;
        let next = rows.slice(begin, step.min(count - begin));
        for (offset, class) in model.predict(&next)?.predicted.into_iter().enumerate() {
            let is = usize::from(labels.value(begin + offset) == contract.label.classes[1]);
            let say = class as usize;
            right += usize::from(is == say);
            (hits, said, are) = (hits + is * say, said + say, are + is);
        }
        evaluating += start.elapsed().as_secs_f64();
    }
    let accuracy = right as f64 / (count - warm) as f64;
    let f1 = 2.0 * hits as f64 / (said + are) as f64;
    Ok(Outcome { accuracy, f1, trainings, epochs: f64::from(epochs) / trainings as f64, evaluating })
}

fn read(path: &str) -> Result<(Contract, Batch), Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().ok_or("the file is empty")?.split(',').collect();
    let cells: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let (label, features) = (names.len() - 1, 1..names.len() - 1);
    let mut columns: Vec<(String, Role, ArrayRef)> = Vec::new();
    for column in features.clone() {
        let values = cells.iter().map(|row| row[column].parse()).collect::<Result<Vec<f64>, _>>()?;
        columns.push((names[column].into(), Role::Feature, Arc::new(Float64Array::from(values))));
    }
    let labels: StringArray = cells.iter().map(|row| Some(row[label])).collect();
    columns.push((names[label].into(), Role::Label, Arc::new(labels)));
    let column = |name: &str| ContractColumn {
        name: name.into(),
        dtype: DType::F64,
        role: Role::Feature,
        nullable: true,
        low: None,
        high: None,
        categories: None,
    };
    let contract = Contract {
        id: None,
        time: None,
        label: LabelColumn { column: names[label].into(), classes: vec!["0".into(), "1".into()], delay_us: 0, by_id: false },
        columns: names[features].iter().map(|name| column(name)).collect(),
    };
    Ok((contract, Batch::new(columns)?))
}
