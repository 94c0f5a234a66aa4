//! How a model is to be trained.

use serde::{Deserialize, Serialize};

use crate::lags::Lags;

/// Hidden layers of an `mlp` that does not say.
pub const HIDDEN: [usize; 1] = [32];
/// Passes over the training rows at most.
pub const EPOCHS_MAX: u32 = 30;
/// Rows of one step.
pub const BATCH_ROWS: usize = 128;
/// Learning rate of AdamW.
pub const LEARNING_RATE: f64 = 1e-2;
/// How the learning rate changes over the steps.
pub const LEARNING_RATE_DECAY: LearningRateDecay = LearningRateDecay::Cosine;
/// Decoupled weight decay of AdamW; biases do not decay.
pub const WEIGHT_DECAY: f64 = 1e-2;
/// Share of hidden units that one step leaves out.
pub const DROPOUT: f64 = 0.0;
/// Epochs without a better validation loss after which training ends.
pub const PATIENCE_EPOCHS: u32 = 10;
/// Share of the training window, at its end in time, that stops training early.
pub const VALIDATION_SHARE: f64 = 0.15;
/// Whether a model is trained again on the validation rows as well, once they have told when to stop.
pub const REFIT: bool = true;
/// Networks that are trained from different seeds and averaged.
pub const ENSEMBLE: usize = 1;
/// Ridge penalty of `linear`: `l2 / 2 × |w|²` beside the sum of losses, so 1 / `C` of scikit-learn.
pub const L2: f64 = 1.0;
/// Hidden layers at most.
pub const HIDDEN_LAYERS_MAX: usize = 16;
/// Units of one hidden layer at most.
pub const HIDDEN_UNITS_MAX: usize = 16_384;
/// Networks of an ensemble at most.
pub const ENSEMBLE_MAX: usize = 16;

/// What to train: the family and its hyper-parameters. Every key but `family` has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct ModelSpec {
    /// The kind of model.
    pub family: Family,
    /// Units of each hidden layer of an `mlp`.
    #[serde(default = "default_hidden")]
    pub hidden: Vec<usize>,
    /// Passes over the training rows at most.
    #[serde(default = "default_epochs_max")]
    pub epochs_max: u32,
    /// Rows of one step.
    #[serde(default = "default_batch_rows")]
    pub batch_rows: usize,
    /// Learning rate of AdamW.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// How the learning rate changes over the steps.
    #[serde(default = "default_learning_rate_decay")]
    pub learning_rate_decay: LearningRateDecay,
    /// Decoupled weight decay of AdamW.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Share of hidden units that one step leaves out, from 0 to below 1.
    #[serde(default = "default_dropout")]
    pub dropout: f64,
    /// Epochs without a better validation loss after which training ends.
    #[serde(default = "default_patience_epochs")]
    pub patience_epochs: u32,
    /// How much rows of each class count.
    #[serde(default = "default_class_weights")]
    pub class_weights: ClassWeights,
    /// Share of the training window, at its end in time, that is held back for early stopping and calibration.
    #[serde(default = "default_validation_share")]
    pub validation_share: f64,
    /// Whether the model is trained again on the validation rows as well, once they have told when to stop.
    #[serde(default = "default_refit")]
    pub refit: bool,
    /// Networks that are trained from different seeds and averaged.
    #[serde(default = "default_ensemble")]
    pub ensemble: usize,
    /// Ridge penalty of `linear`.
    #[serde(default = "default_l2")]
    pub l2: f64,
    /// Whether probabilities are calibrated on the validation rows.
    #[serde(default = "default_calibration")]
    pub calibration: Calibration,
    /// Where to compute.
    #[serde(default = "default_device")]
    pub device: DeviceChoice,
    /// What it sees of earlier rows.
    #[serde(default, skip_serializing_if = "Lags::is_empty")]
    pub lags: Lags,
}

/// The kinds of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Logistic regression; softmax regression for more than two classes.
    Linear,
    /// A multi-layer perceptron with rectified hidden units.
    Mlp,
}

impl Family {
    /// The word in configurations.
    pub fn word(self) -> &'static str {
        match self {
            Family::Linear => "linear",
            Family::Mlp => "mlp",
        }
    }
}

/// How much rows of each class count in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every row counts the same.
    None,
    /// Every class counts the same: a row weighs `rows / (classes × rows of its class)`.
    Balanced,
}

/// How the learning rate changes over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateDecay {
    /// Not at all.
    Constant,
    /// Half a cosine, from the learning rate down to 0 at `epochs_max`.
    Cosine,
}

/// Whether and how probabilities are calibrated on the validation rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibration {
    /// Not at all.
    None,
    /// One temperature divides all scores (Guo et al. 2017).
    Temperature,
}

/// Where to compute: `auto`, `cpu` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU where there is one and this build can use it, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(u32),
}

/// A value of a [`ModelSpec`] that is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}; expected {expected}")]
pub struct SpecIssue {
    /// The key of the configuration.
    pub key: &'static str,
    /// What is allowed.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl ModelSpec {
    /// A spec of `family` with every default.
    pub fn new(family: Family) -> ModelSpec {
        ModelSpec {
            family,
            hidden: default_hidden(),
            epochs_max: EPOCHS_MAX,
            batch_rows: BATCH_ROWS,
            learning_rate: LEARNING_RATE,
            learning_rate_decay: default_learning_rate_decay(),
            weight_decay: WEIGHT_DECAY,
            dropout: DROPOUT,
            patience_epochs: PATIENCE_EPOCHS,
            class_weights: default_class_weights(),
            validation_share: VALIDATION_SHARE,
            refit: REFIT,
            ensemble: ENSEMBLE,
            l2: L2,
            calibration: default_calibration(),
            device: default_device(),
            lags: Lags::default(),
        }
    }

    /// Every value that is out of its bounds, in the order of the keys.
    pub fn check(&self) -> Vec<SpecIssue> {
        let mut issues = Vec::new();
        let mut expect = |key, holds: bool, expected: &str, found: String| {
            if !holds {
                issues.push(SpecIssue { key, expected: expected.into(), found });
            }
        };
        let within = |value: f64, low: f64, high: f64| value.is_finite() && value >= low && value <= high;
        let layers = format!("at most {HIDDEN_LAYERS_MAX} numbers from 1 to {HIDDEN_UNITS_MAX}");
        let fits = self.hidden.len() <= HIDDEN_LAYERS_MAX && self.hidden.iter().all(|units| (1..=HIDDEN_UNITS_MAX).contains(units));
        expect("hidden", fits, &layers, format!("{:?}", self.hidden));
        expect("epochs_max", (1..=100_000).contains(&self.epochs_max), "1 to 100000", self.epochs_max.to_string());
        expect("batch_rows", (1..=1 << 20).contains(&self.batch_rows), "1 to 1048576", self.batch_rows.to_string());
        let rate = self.learning_rate;
        expect("learning_rate", within(rate, 0.0, 10.0) && rate > 0.0, "a number above 0, at most 10", rate.to_string());
        expect("weight_decay", within(self.weight_decay, 0.0, 10.0), "a number from 0 to 10", self.weight_decay.to_string());
        expect("dropout", within(self.dropout, 0.0, 0.95), "a number from 0 to 0.95", self.dropout.to_string());
        expect("patience_epochs", self.patience_epochs >= 1, "1 or more", self.patience_epochs.to_string());
        expect("validation_share", within(self.validation_share, 0.0, 0.5), "a number from 0 to 0.5", self.validation_share.to_string());
        expect("ensemble", (1..=ENSEMBLE_MAX).contains(&self.ensemble), &format!("1 to {ENSEMBLE_MAX}"), self.ensemble.to_string());
        expect("l2", within(self.l2, 0.0, 1e12), "a number from 0 to 1e12", self.l2.to_string());
        issues.extend(self.lags.check());
        issues
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// A text that is not a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a device; expected `auto`, `cpu` or `cuda:N`")]
pub struct DeviceParseError {
    found: String,
}

impl std::str::FromStr for DeviceChoice {
    type Err = DeviceParseError;

    fn from_str(text: &str) -> Result<DeviceChoice, DeviceParseError> {
        let number = |text: &str| text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            _ => number(text).map(DeviceChoice::Cuda).ok_or_else(|| DeviceParseError { found: text.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceParseError;

    fn try_from(text: String) -> Result<DeviceChoice, DeviceParseError> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

fn default_hidden() -> Vec<usize> {
    HIDDEN.to_vec()
}

fn default_epochs_max() -> u32 {
    EPOCHS_MAX
}

fn default_batch_rows() -> usize {
    BATCH_ROWS
}

fn default_learning_rate() -> f64 {
    LEARNING_RATE
}

fn default_learning_rate_decay() -> LearningRateDecay {
    LEARNING_RATE_DECAY
}

fn default_weight_decay() -> f64 {
    WEIGHT_DECAY
}

fn default_dropout() -> f64 {
    DROPOUT
}

fn default_patience_epochs() -> u32 {
    PATIENCE_EPOCHS
}

fn default_class_weights() -> ClassWeights {
    ClassWeights::None
}

fn default_validation_share() -> f64 {
    VALIDATION_SHARE
}

fn default_refit() -> bool {
    REFIT
}

fn default_ensemble() -> usize {
    ENSEMBLE
}

fn default_l2() -> f64 {
    L2
}

fn default_calibration() -> Calibration {
    Calibration::None
}

fn default_device() -> DeviceChoice {
    DeviceChoice::Auto
}
