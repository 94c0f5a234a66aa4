//! A loaded model, and what it says about rows.

use std::time::Instant;

use tidegate_vocab::Batch;

use crate::artefact::{self, ModelManifest, Parameters};
use crate::calibration;
use crate::device;
use crate::error::{LoadError, PredictError};
use crate::linear::Linear;
use crate::network::{LayerNumbers, Network};
use crate::preprocessing::Inputs;
use crate::spec::DeviceChoice;

/// A trained model that can answer.
#[derive(Debug)]
pub struct Model {
    manifest: ModelManifest,
    scorer: Scorer,
}

/// The part of a model that turns inputs into probabilities.
#[derive(Debug)]
pub(crate) enum Scorer {
    /// Logistic or softmax regression.
    Linear(Linear),
    /// The mean of some networks.
    Mlp(Vec<Network>),
}

/// Probabilities and classes of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The classes, in the order of the contract.
    pub classes: Vec<String>,
    /// `rows × classes`, row-major; each row sums to 1.
    pub probabilities: Vec<f64>,
    /// The most probable class of each row: its number in `classes`, the first of equals.
    pub predicted: Vec<u32>,
}

impl Model {
    /// Reads a model from its two files; refuses any pair that contradicts itself.
    ///
    /// # Errors
    /// [`LoadError`] names the file, tensor or key that does not hold.
    pub fn load(weights: &[u8], manifest: &[u8]) -> Result<Model, LoadError> {
        let (manifest, parameters) = artefact::decode(weights, manifest)?;
        let scorer = Scorer::new(parameters).map_err(|source| LoadError::Weights { why: source.to_string() })?;
        Ok(Model { manifest, scorer })
    }

    /// What `model.json` says.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// The probabilities of every class for each row of `batch`, which has the model's features by name in any order.
    ///
    /// A row has the same bits alone and in a batch, on a CPU.
    ///
    /// # Errors
    /// [`PredictError`] names the column that is missing or of another type, or the row that is infinite.
    pub fn predict(&self, batch: &Batch) -> Result<Predictions, PredictError> {
        let inputs = self.manifest.preprocessing.apply(batch)?;
        let classes = self.manifest.classes.clone();
        let mut probabilities = self.scorer.probabilities(&inputs, classes.len()).map_err(|source| PredictError::Tensor { source })?;
        if self.manifest.temperature != 1.0 {
            calibration::apply(&mut probabilities, classes.len(), self.manifest.temperature);
        }
        let predicted = probabilities.chunks_exact(classes.len()).map(calibration::most_probable).collect();
        Ok(Predictions { classes, probabilities, predicted })
    }
}

/// Answers that are thrown away before the first is timed: they find the code and the weights in no cache.
const WARM_UP_ANSWERS: usize = 16;

impl Model {
    /// How long each of the first `rows_max` rows takes when it is asked for alone, in nanoseconds.
    ///
    /// The only figures of a model that depend on the machine.
    ///
    /// # Errors
    /// [`PredictError`] as of [`Model::predict`].
    #[expect(clippy::disallowed_methods, reason = "how long an answer takes is what is asked; only a rule about latency decides by it")]
    pub fn latencies_ns(&self, batch: &Batch, rows_max: usize) -> Result<Vec<u64>, PredictError> {
        let count = batch.row_count().min(rows_max);
        let rows: Vec<Batch> = (0..count).map(|row| batch.slice(row, 1)).collect();
        for row in rows.iter().cycle().take(if rows.is_empty() { 0 } else { WARM_UP_ANSWERS }) {
            self.predict(row)?;
        }
        let timed = rows.iter().map(|row| {
            let began = Instant::now();
            std::hint::black_box(self.predict(row)?);
            Ok(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
        });
        timed.collect()
    }
}

impl Scorer {
    /// Puts the numbers of a model where they are to be used.
    pub(crate) fn new(parameters: Parameters) -> candle_core::Result<Scorer> {
        let device = device::open(DeviceChoice::Auto).unwrap_or(candle_core::Device::Cpu);
        let place = |layers: &Vec<LayerNumbers>| Network::new(layers, &device);
        Ok(match parameters {
            Parameters::Linear(linear) => Scorer::Linear(linear),
            Parameters::Mlp(networks) => Scorer::Mlp(networks.iter().map(place).collect::<candle_core::Result<_>>()?),
        })
    }

    /// Probabilities before calibration, row-major.
    pub(crate) fn probabilities(&self, inputs: &Inputs, class_count: usize) -> candle_core::Result<Vec<f64>> {
        let networks = match self {
            Scorer::Linear(linear) => return Ok(linear.probabilities(inputs, class_count)),
            Scorer::Mlp(networks) => networks,
        };
        let values = inputs.to_f32();
        let mut sums = vec![0.0; inputs.rows * class_count];
        let mut row = vec![0.0; class_count];
        for network in networks {
            let scores = network.scores(&values, inputs.rows)?;
            for (scores, sums) in scores.chunks_exact(class_count).zip(sums.chunks_exact_mut(class_count)) {
                for (value, score) in row.iter_mut().zip(scores) {
                    *value = f64::from(*score);
                }
                crate::kernel::softmax(&mut row);
                for (sum, value) in sums.iter_mut().zip(&row) {
                    *sum += value;
                }
            }
        }
        let count = networks.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= count);
        Ok(sums)
    }
}
