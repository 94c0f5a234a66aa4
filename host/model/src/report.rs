//! What a training says about itself; kept in `model.json`.

use serde::{Deserialize, Serialize};

/// How a training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Rows it learned from.
    pub train_rows: usize,
    /// Rows that stopped it and calibrated it.
    pub validation_rows: usize,
    /// Rows of each class that it learned from, in the order of the contract.
    pub class_rows: Vec<usize>,
    /// Steps of the optimiser, over all networks.
    pub steps: u64,
    /// One entry a network; one for a linear model.
    pub members: Vec<MemberReport>,
    /// How the whole model does on the validation rows, before it learned from them.
    pub validation: Option<ValidationReport>,
    /// Sentences about what is odd, such as features that were left out.
    pub notes: Vec<String>,
}

/// How the training of one network went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Epochs that were trained.
    pub epochs: u32,
    /// The epoch, from 1, whose weights were kept.
    pub best_epoch: u32,
    /// Whether it was trained again, for that many epochs, on the validation rows as well.
    pub refitted: bool,
    /// Losses after each epoch of the first training.
    pub curve: Vec<EpochLoss>,
}

/// The losses of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochLoss {
    /// Mean weighted loss of the training rows, each taken before the step it was part of.
    pub train: f64,
    /// Mean weighted loss of the validation rows after the epoch.
    pub validation: Option<f64>,
}

/// How a model does on the validation rows, before it learned from them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Mean of `-ln p(class)`, after calibration.
    pub log_loss: f64,
    /// Share of rows whose most probable class was right.
    pub accuracy: f64,
    /// Expected calibration error before calibration, over 10 bins of equal width (Guo et al. 2017).
    pub ece_before: f64,
    /// The same after calibration.
    pub ece: f64,
}
