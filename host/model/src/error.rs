//! What can go wrong in training, loading and predicting.

use crate::column::ColumnError;
use crate::device::DeviceError;
use crate::spec::SpecIssue;

/// Why a training ended without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The spec has values out of their bounds.
    #[error("the model's settings do not hold: {}", issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Spec {
        /// Every one of them.
        issues: Vec<SpecIssue>,
    },
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A column is not what the contract says.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Too few rows have a label.
    #[error("there are {found} training rows with a label; expected at least {expected}")]
    TooFewRows {
        /// How many there are.
        found: usize,
        /// How many are needed.
        expected: usize,
    },
    /// All labels are one class.
    #[error("all {rows} training rows have the label `{class}` in column `{column}`; a classifier needs two classes")]
    OneClass {
        /// The label column.
        column: String,
        /// The class.
        class: String,
        /// How many rows.
        rows: usize,
    },
    /// A label is not a class of the contract.
    #[error("column `{column}` has the label `{found}` in row {row}; the contract's classes are {}", quoted(classes))]
    UnknownClass {
        /// The label column.
        column: String,
        /// The label.
        found: String,
        /// The row in its batch, from 0.
        row: usize,
        /// The classes of the contract.
        classes: Vec<String>,
    },
    /// The contract has fewer than two classes.
    #[error("the contract gives column `{column}` {found} classes; expected at least 2")]
    TooFewClasses {
        /// The label column.
        column: String,
        /// How many there are.
        found: usize,
    },
    /// The contract has no features.
    #[error("the contract has no column with the role `feature`")]
    NoFeatures,
    /// No feature varies.
    #[error("no feature varies in the training rows: {} are constant", quoted(columns))]
    AllConstant {
        /// The features.
        columns: Vec<String>,
    },
    /// A feature has no value in any training row.
    #[error("column `{column}` has no value in any training row")]
    AllMissing {
        /// The column.
        column: String,
    },
    /// A row's weight is missing, negative or infinite.
    #[error("column `{column}` weighs row {row} with {found}; expected a number from 0 up")]
    Weight {
        /// The weight column.
        column: String,
        /// The row in its batch, from 0.
        row: usize,
        /// What was found.
        found: String,
    },
    /// All rows weigh 0.
    #[error("column `{column}` weighs all training rows with 0")]
    NoWeight {
        /// The weight column.
        column: String,
    },
    /// The loss is not a number any more.
    #[error("the loss became {loss} in epoch {epoch}, step {step}, at learning rate {learning_rate}")]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: u32,
        /// The step, from 1.
        step: u64,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// A checkpoint is damaged, or of another training.
    #[error("cannot resume from this checkpoint: {why}")]
    Resume {
        /// What is wrong.
        why: String,
    },
    /// The caller ended it.
    #[error("training was cancelled after step {step}")]
    Cancelled {
        /// Steps done.
        step: u64,
    },
    /// The tensor library failed.
    #[error("could not {doing}")]
    Tensor {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: candle_core::Error,
    },
    /// The artefact could not be written down.
    #[error("could not encode the trained model: {why}")]
    Encode {
        /// What is wrong.
        why: String,
    },
}

impl TrainError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            TrainError::Spec { issues } => {
                let keys = issues.iter().map(|issue| format!("`{}`", issue.key)).collect::<Vec<_>>().join(", ");
                format!("change {keys} in the pipeline's `model` section")
            }
            TrainError::Device(error) => return error.hint(),
            TrainError::Column(error) => return error.hint(),
            TrainError::TooFewRows { .. } => "wait for more labelled rows, or raise `window_rows` in the pipeline's `model` section".into(),
            TrainError::OneClass { column, .. } => {
                format!("raise `window_rows` until `{column}` has rows of two classes, or check `contract.label`")
            }
            TrainError::UnknownClass { found, .. } => {
                format!("add `{found}` to `contract.label.classes`, or drop such rows with a cleaner")
            }
            TrainError::TooFewClasses { .. } => "name two classes or more in `contract.label.classes`".into(),
            TrainError::NoFeatures => "name at least one feature in `contract.columns`".into(),
            TrainError::AllConstant { .. } => "raise `window_rows`, or add features that vary to `contract.columns`".into(),
            TrainError::AllMissing { column } => format!("take `{column}` out of `contract.columns`, or fill it with a cleaner"),
            TrainError::Weight { column, .. } | TrainError::NoWeight { column } => {
                format!("set `low = 0` for `{column}` in `contract.columns`, or fill it with a cleaner")
            }
            TrainError::Diverged { .. } => {
                "lower `learning_rate` in the pipeline's `model` section, or clip outliers with a cleaner".into()
            }
            TrainError::Resume { .. } => "drop the checkpoint: the training then starts from its beginning".into(),
            TrainError::Cancelled { .. } | TrainError::Encode { .. } => return None,
            TrainError::Tensor { .. } => "lower `batch_rows` or `hidden` in the pipeline's `model` section if memory ran out".into(),
        })
    }
}

/// Why an artefact is not a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// `model.json` does not parse.
    #[error("could not read `model.json`")]
    Manifest {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// `model.json` is of a format that this build does not know.
    #[error("`model.json` has the format `{found}`; expected `{expected}`")]
    Format {
        /// The format that this build knows.
        expected: &'static str,
        /// The format that was found.
        found: String,
    },
    /// `model.json` contradicts itself.
    #[error("`model.json` does not describe a model: {why}")]
    Inconsistent {
        /// What is wrong.
        why: String,
    },
    /// The two files are not of one model, or one was changed.
    #[error("`model.safetensors` has the digest {found}; `model.json` expects {expected}")]
    Digest {
        /// The digest in `model.json`.
        expected: String,
        /// The digest of the weights.
        found: String,
    },
    /// `model.safetensors` does not parse.
    #[error("could not read `model.safetensors`: {why}")]
    Weights {
        /// What the parser said.
        why: String,
    },
    /// A tensor is missing, or has another type or shape, or holds a number that is not finite.
    #[error("tensor `{name}` of `model.safetensors` is {found}; expected {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What `model.json` implies.
        expected: String,
        /// What was found.
        found: String,
    },
}

impl LoadError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            LoadError::Format { .. } => "use the release that trained the model, or train it again".into(),
            _ => "restore both files of the model from a backup, or train it again".into(),
        })
    }
}

/// Why rows got no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A column is not what the model needs.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// The tensor library failed.
    #[error("could not compute predictions")]
    Tensor {
        /// What it said.
        source: candle_core::Error,
    },
}

impl PredictError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            PredictError::Column(error) => error.hint(),
            PredictError::Tensor { .. } => None,
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
