//! From rows to an artefact.

use tidegate_vocab::{Batch, Contract, Digest, Seed};

use crate::artefact::{self, Artefact, FORMAT, ModelManifest, Parameters};
use crate::calibration;
use crate::checkpoint::Checkpoint;
use crate::device;
use crate::error::TrainError;
use crate::examples::{self, Examples};
use crate::linear::{self, LINEAR_STEPS_MAX};
use crate::mlp::{self, MlpTask};
use crate::predict::Scorer;
use crate::preprocessing::Preprocessing;
use crate::progress::{Flow, Progress, Watch};
use crate::report::{EpochLoss, MemberReport, TrainReport, ValidationReport};
use crate::spec::{Calibration, Family, ModelSpec};

/// Labelled rows below which nothing can be learned.
pub const TRAIN_ROWS_MIN: usize = 2;

/// A model that was just trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its two files.
    pub artefact: Artefact,
    /// How it went; also in the artefact.
    pub report: TrainReport,
}

/// Trains a model on `train`, stopping early by `validation`, which may be empty and lies later in time.
///
/// Rows without a label are left out. They have the columns of `contract` and those of the spec's lags. The same arguments give the same bytes, at any number of threads, and whether the
/// training was broken off and resumed or not. `on_progress` is called after every step.
///
/// # Errors
/// [`TrainError`] names the column or setting that is at fault; its hint names the way out.
pub fn train(
    spec: &ModelSpec,
    contract: &Contract,
    train: &Batch,
    validation: &Batch,
    seed: Seed,
    resume: Option<&Checkpoint>,
    on_progress: &mut dyn FnMut(&Progress<'_>) -> Flow,
) -> Result<Trained, TrainError> {
    let mut issues = spec.check();
    issues.extend(spec.lags.issue_with(contract));
    if !issues.is_empty() {
        return Err(TrainError::Spec { issues });
    }
    let device = device::open(spec.device)?;
    let prepared = prepare(spec, contract, train, validation)?;
    let class_count = contract.label.classes.len();
    let training = training_digest(spec, contract, seed, &prepared);
    let mut report = prepared.report(class_count);
    let mut watch = Watch { on_progress };
    // A model that has not seen the validation rows, to judge and calibrate by them; absent where that is the model itself.
    let mut judged = None;
    let parameters = match spec.family {
        Family::Linear => {
            let all = prepared.everything.as_ref().unwrap_or(&prepared.train);
            let (linear, outcome) = linear::fit(all, class_count, spec.l2, training, resume, &mut watch)?;
            if prepared.everything.is_some() {
                let watch = &mut Watch { on_progress: &mut |_| Flow::Continue };
                judged = Some(Parameters::Linear(linear::fit(&prepared.train, class_count, spec.l2, training, None, watch)?.0));
            }
            report.steps = outcome.steps;
            let curve = vec![EpochLoss { train: outcome.loss, validation: None }];
            report.members = vec![MemberReport { epochs: 1, best_epoch: 1, refitted: judged.is_some(), curve }];
            if !outcome.converged {
                report.notes.push(format!("the linear model did not converge in {LINEAR_STEPS_MAX} steps; a larger `l2` helps"));
            }
            Parameters::Linear(linear)
        }
        Family::Mlp => {
            let Prepared { train, validation, everything, .. } = &prepared;
            let task = MlpTask { spec, train, validation, everything: everything.as_ref(), class_count, seed, device: &device, training };
            let outcome = mlp::fit(&task, resume, &mut watch)?;
            (report.steps, report.members) = (outcome.steps, outcome.members);
            judged = Some(Parameters::Mlp(outcome.judged));
            Parameters::Mlp(outcome.networks)
        }
    };
    let judged = judged.unwrap_or_else(|| parameters.clone());
    finish(spec, contract, seed, prepared, (parameters, judged), report)
}

struct Prepared {
    preprocessing: Preprocessing,
    train: Examples,
    validation: Examples,
    /// Both together, where the model is to be trained again on all rows.
    everything: Option<Examples>,
    notes: Vec<String>,
}

fn prepare(spec: &ModelSpec, contract: &Contract, train: &Batch, validation: &Batch) -> Result<Prepared, TrainError> {
    let (label, classes) = (&contract.label.column, &contract.label.classes);
    if classes.len() < 2 {
        return Err(TrainError::TooFewClasses { column: label.clone(), found: classes.len() });
    }
    let mut notes = Vec::new();
    let all = train.row_count();
    let (train, train_classes) = examples::labelled(train, contract)?;
    if train_classes.len() < TRAIN_ROWS_MIN {
        return Err(TrainError::TooFewRows { found: train_classes.len(), expected: TRAIN_ROWS_MIN });
    }
    if all > train_classes.len() {
        notes.push(format!("{} training rows without a label were left out", all - train_classes.len()));
    }
    if train_classes.iter().all(|class| *class == train_classes[0]) {
        let class = classes[train_classes[0] as usize].clone();
        return Err(TrainError::OneClass { column: label.clone(), class, rows: train_classes.len() });
    }
    for (_, class) in classes.iter().enumerate().filter(|(index, _)| !train_classes.contains(&(*index as u32))) {
        notes.push(format!("no training row has the class `{class}`"));
    }
    let preprocessing = Preprocessing::fit(&spec.lags.extend(contract), &train)?;
    for column in &preprocessing.constant {
        notes.push(format!("feature `{column}` is not used: it is constant in the training rows"));
    }
    let weights = examples::class_weights(spec.class_weights, &train_classes, classes.len());
    let train = examples::examples(&train, train_classes, contract, &preprocessing, &weights)?;
    // An empty batch may have no columns at all.
    let (validation, validation_classes) = if validation.row_count() == 0 {
        (None, Vec::new())
    } else {
        examples::labelled(validation, contract).map(|(rows, classes)| (Some(rows), classes))?
    };
    let validation = match validation.filter(|rows| rows.row_count() > 0) {
        Some(rows) => examples::examples(&rows, validation_classes, contract, &preprocessing, &weights)?,
        None => {
            notes.push("there are no validation rows: training runs through all its epochs, and nothing is calibrated".into());
            let inputs = crate::preprocessing::Inputs { values: Vec::new(), rows: 0, width: preprocessing.width() };
            Examples { inputs, classes: Vec::new(), weights: Vec::new() }
        }
    };
    let everything = (spec.refit && !validation.classes.is_empty()).then(|| train.with(&validation));
    Ok(Prepared { preprocessing, train, validation, everything, notes })
}

impl Prepared {
    fn report(&self, class_count: usize) -> TrainReport {
        let mut class_rows = vec![0; class_count];
        for class in &self.train.classes {
            class_rows[*class as usize] += 1;
        }
        TrainReport {
            train_rows: self.train.classes.len(),
            validation_rows: self.validation.classes.len(),
            class_rows,
            steps: 0,
            members: Vec::new(),
            validation: None,
            notes: self.notes.clone(),
        }
    }
}

/// Names a training: a checkpoint of one must not be resumed by another.
fn training_digest(spec: &ModelSpec, contract: &Contract, seed: Seed, prepared: &Prepared) -> Digest {
    let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let classes = |examples: &Examples| examples.classes.iter().flat_map(|class| class.to_le_bytes()).collect::<Vec<u8>>();
    let mut fields = vec![json(spec), json(contract), json(&prepared.preprocessing), seed.0.to_le_bytes().to_vec()];
    for examples in [&prepared.train, &prepared.validation] {
        fields.extend([bytes(&examples.inputs.values), bytes(&examples.weights), classes(examples)]);
    }
    Digest::of_fields(fields.iter().map(Vec::as_slice))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("settings, contracts and preprocessing have no map with keys that are not text")
}

fn finish(
    spec: &ModelSpec,
    contract: &Contract,
    seed: Seed,
    prepared: Prepared,
    (parameters, judged): (Parameters, Parameters),
    mut report: TrainReport,
) -> Result<Trained, TrainError> {
    let class_count = contract.label.classes.len();
    let weights = artefact::encode_weights(&parameters)?;
    let scorer = Scorer::new(judged).map_err(|source| TrainError::Tensor { doing: "place the trained model on its device", source })?;
    let mut temperature = 1.0;
    if !prepared.validation.classes.is_empty() {
        let labels = &prepared.validation.classes;
        let mut probabilities = scorer
            .probabilities(&prepared.validation.inputs, class_count)
            .map_err(|source| TrainError::Tensor { doing: "score the validation rows", source })?;
        let ece_before = calibration::expected_calibration_error(&probabilities, labels, class_count);
        if spec.calibration == Calibration::Temperature {
            temperature = calibration::fit(&probabilities, labels, class_count);
            calibration::apply(&mut probabilities, class_count, temperature);
        }
        report.validation = Some(ValidationReport {
            log_loss: calibration::log_loss(&probabilities, labels, class_count),
            accuracy: calibration::accuracy(&probabilities, labels, class_count),
            ece_before,
            ece: calibration::expected_calibration_error(&probabilities, labels, class_count),
        });
    }
    let manifest = ModelManifest {
        format: FORMAT.into(),
        spec: spec.clone(),
        seed: seed.0,
        contract: contract.clone(),
        contract_digest: artefact::contract_digest(contract),
        classes: contract.label.classes.clone(),
        preprocessing: prepared.preprocessing,
        temperature,
        report: report.clone(),
        weights_digest: Digest::of(&weights),
    };
    let manifest = artefact::encode_manifest(&manifest)?;
    Ok(Trained { artefact: Artefact { weights, manifest }, report })
}
