//! Trained models: from rows to an artefact, and from an artefact to predictions. The only crate that knows candle.
//!
//! Invariant: the same spec, contract, rows and seed give the same bytes of the artefact, at any number of threads and however
//! often the training was broken off and resumed; preprocessing is fitted on the training rows only, travels in the artefact,
//! and is the same function in training, in batch scoring and for a single row.
//!
//! It refuses to touch files, to read clocks, and to learn from rows that it would have to guess about: every refusal names the
//! column or the setting, and how to change it.
//!
//! Read [`train()`] and [`Model`] first, then [`ModelSpec`]. A new family is a module beside `linear` and `mlp`, a variant of
//! [`Family`], and an arm in `train.rs`, `artefact.rs` and `predict.rs`, which the compiler asks for.

mod artefact;
mod calibration;
mod checkpoint;
mod column;
mod device;
mod error;
mod examples;
mod kernel;
mod lags;
mod lbfgs;
mod linear;
mod mlp;
mod network;
mod optimiser;
mod predict;
mod preprocessing;
mod progress;
mod report;
mod spec;
mod tensors;
mod train;

pub use artefact::{Artefact, FORMAT, ModelManifest};
pub use checkpoint::Checkpoint;
pub use column::ColumnError;
pub use device::DeviceError;
pub use error::{LoadError, PredictError, TrainError};
pub use lags::{LAG_MAX, LAGS_MAX, LOOKBACK_ROWS_MAX, Lagged, Lags};
pub use linear::LINEAR_STEPS_MAX;
pub use predict::{Model, Predictions};
pub use preprocessing::{CATEGORIES_MAX, FeatureColumn, Preprocessing, STANDARDISED_MAX};
pub use progress::{Flow, Progress};
pub use report::{EpochLoss, MemberReport, TrainReport, ValidationReport};
pub use spec::{
    BATCH_ROWS, Calibration, ClassWeights, DROPOUT, DeviceChoice, DeviceParseError, ENSEMBLE, ENSEMBLE_MAX, EPOCHS_MAX, Family, HIDDEN,
    HIDDEN_LAYERS_MAX, HIDDEN_UNITS_MAX, L2, LEARNING_RATE, LEARNING_RATE_DECAY, LearningRateDecay, ModelSpec, PATIENCE_EPOCHS, REFIT,
    SpecIssue, VALIDATION_SHARE, WEIGHT_DECAY,
};
pub use train::{TRAIN_ROWS_MIN, Trained, train};
