//! The two files of a trained model: `model.safetensors` and `model.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_vocab::{Contract, Digest};

use crate::error::{LoadError, TrainError};
use crate::linear::{self, Linear};
use crate::mlp::layer_tensors;
use crate::network::LayerNumbers;
use crate::preprocessing::Preprocessing;
use crate::report::TrainReport;
use crate::spec::{Family, ModelSpec};
use crate::tensors::{self, Numbers, Stored};

/// The format of `model.json` that this build writes and reads.
pub const FORMAT: &str = "tidegate-model/1";

/// A trained model as bytes; the same training gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `model.json`.
    pub manifest: Vec<u8>,
}

/// What `model.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// [`FORMAT`].
    pub format: String,
    /// The settings it was trained with.
    pub spec: ModelSpec,
    /// The seed it was trained with.
    pub seed: u64,
    /// The contract of its rows.
    pub contract: Contract,
    /// Digest of the contract's JSON.
    pub contract_digest: Digest,
    /// Its classes, in the order of its probabilities.
    pub classes: Vec<String>,
    /// From columns to inputs.
    pub preprocessing: Preprocessing,
    /// What divides its scores; 1 when it is not calibrated.
    pub temperature: f64,
    /// How its training went.
    pub report: TrainReport,
    /// Digest of `model.safetensors`.
    pub weights_digest: Digest,
}

/// The numbers of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameters {
    /// Of a linear model.
    Linear(Linear),
    /// Of each network of an ensemble.
    Mlp(Vec<Vec<LayerNumbers>>),
}

/// Digest of a contract.
pub(crate) fn contract_digest(contract: &Contract) -> Digest {
    Digest::of(serde_json::to_vec(contract).expect("a contract has no map with keys that are not text"))
}

/// The bytes of the weights.
pub(crate) fn encode_weights(parameters: &Parameters) -> Result<Vec<u8>, TrainError> {
    let tensors: BTreeMap<String, Stored> = match parameters {
        Parameters::Linear(linear) => {
            let width = linear.coefficients.len() / linear.outputs;
            BTreeMap::from([
                ("coefficients".into(), Stored::f64([linear.outputs, width], linear.coefficients.clone())),
                ("intercepts".into(), Stored::f64([linear.outputs], linear.intercepts.clone())),
            ])
        }
        Parameters::Mlp(networks) => {
            let named = |(index, layers): (usize, &Vec<LayerNumbers>)| layer_tensors(&format!("network.{index}."), layers);
            networks.iter().enumerate().flat_map(named).collect()
        }
    };
    tensors::encode(&tensors, None).map_err(|why| TrainError::Encode { why })
}

/// The bytes of the manifest.
pub(crate) fn encode_manifest(manifest: &ModelManifest) -> Result<Vec<u8>, TrainError> {
    serde_json::to_vec_pretty(manifest).map_err(|error| TrainError::Encode { why: error.to_string() })
}

/// Reads both files, and checks all they say against each other.
pub(crate) fn decode(weights: &[u8], manifest: &[u8]) -> Result<(ModelManifest, Parameters), LoadError> {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    // The format first: another one may have any other keys.
    let Format { format } = serde_json::from_slice(manifest).map_err(|source| LoadError::Manifest { source })?;
    if format != FORMAT {
        return Err(LoadError::Format { expected: FORMAT, found: format.chars().take(80).collect() });
    }
    let manifest: ModelManifest = serde_json::from_slice(manifest).map_err(|source| LoadError::Manifest { source })?;
    check(&manifest)?;
    let found = Digest::of(weights);
    if found != manifest.weights_digest {
        return Err(LoadError::Digest { expected: manifest.weights_digest.to_string(), found: found.to_string() });
    }
    let (mut tensors, _) = tensors::decode(weights).map_err(|why| LoadError::Weights { why })?;
    let parameters = parameters(&manifest, &mut tensors)?;
    match tensors.into_iter().next() {
        Some((name, stored)) => Err(LoadError::Tensor { name, expected: "no such tensor".into(), found: stored.describe() }),
        None => Ok((manifest, parameters)),
    }
}

fn check(manifest: &ModelManifest) -> Result<(), LoadError> {
    use crate::preprocessing::FeatureColumn;
    let inconsistent = |why: String| Err(LoadError::Inconsistent { why });
    if let Some(issue) = manifest.spec.check().into_iter().next() {
        return inconsistent(issue.to_string());
    }
    if manifest.classes.len() < 2 || manifest.classes != manifest.contract.label.classes {
        return inconsistent("`classes` are not the two or more classes of the contract".into());
    }
    if manifest.contract_digest != contract_digest(&manifest.contract) {
        return inconsistent("`contract_digest` is not the digest of `contract`".into());
    }
    if !manifest.temperature.is_finite() || manifest.temperature <= 0.0 {
        return inconsistent(format!("`temperature` is {}; expected a number above 0", manifest.temperature));
    }
    if manifest.preprocessing.columns.is_empty() {
        return inconsistent("`preprocessing` uses no column".into());
    }
    if let Some(issue) = manifest.spec.lags.issue_with(&manifest.contract) {
        return inconsistent(issue.to_string());
    }
    let seen = manifest.spec.lags.extend(&manifest.contract);
    for column in &manifest.preprocessing.columns {
        let name = column.name();
        if !seen.features().any(|feature| feature == name) {
            return inconsistent(format!("`preprocessing` uses `{name}`, which is not a feature of the contract or one of the lags"));
        }
        let holds = match column {
            FeatureColumn::Numeric { deviation, mean, median, .. } => {
                mean.is_finite() && median.is_finite() && deviation.is_finite() && *deviation > 0.0
            }
            FeatureColumn::Category { categories, .. } => categories.is_sorted_by(|a, b| a < b),
        };
        if !holds {
            return inconsistent(format!("`preprocessing` of `{name}` has numbers that are not finite, or categories out of order"));
        }
    }
    Ok(())
}

fn parameters(manifest: &ModelManifest, tensors: &mut BTreeMap<String, Stored>) -> Result<Parameters, LoadError> {
    let (width, classes) = (manifest.preprocessing.width(), manifest.classes.len());
    if manifest.spec.family == Family::Linear {
        let outputs = linear::outputs(classes);
        let coefficients = take_f64(tensors, "coefficients", &[outputs, width])?;
        return Ok(Parameters::Linear(Linear { outputs, coefficients, intercepts: take_f64(tensors, "intercepts", &[outputs])? }));
    }
    let mut widths = vec![width];
    widths.extend(&manifest.spec.hidden);
    widths.push(classes);
    let mut networks = Vec::new();
    for network in 0..manifest.spec.ensemble {
        let mut layers = Vec::new();
        for (index, pair) in widths.windows(2).enumerate() {
            let weight = take_f32(tensors, &format!("network.{network}.layer.{index}.weight"), pair)?;
            let bias = take_f32(tensors, &format!("network.{network}.layer.{index}.bias"), &pair[1..])?;
            layers.push(LayerNumbers { inputs: pair[0], outputs: pair[1], weight, bias });
        }
        networks.push(layers);
    }
    Ok(Parameters::Mlp(networks))
}

fn take(tensors: &mut BTreeMap<String, Stored>, name: &str, word: &str, shape: &[usize]) -> Result<Numbers, LoadError> {
    let expected = format!("{word} {shape:?}");
    let fail = |expected: String, found: String| Err(LoadError::Tensor { name: name.into(), expected, found });
    let Some(stored) = tensors.remove(name) else { return fail(expected, "missing".into()) };
    if stored.describe() != expected {
        return fail(expected, stored.describe());
    }
    if !stored.is_finite() {
        return fail("finite numbers only".into(), "holding one that is not finite".into());
    }
    Ok(stored.numbers)
}

fn take_f32(tensors: &mut BTreeMap<String, Stored>, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
    match take(tensors, name, "f32", shape)? {
        Numbers::F32(values) => Ok(values),
        Numbers::F64(_) => Err(LoadError::Tensor { name: name.into(), expected: "f32".into(), found: "f64".into() }),
    }
}

fn take_f64(tensors: &mut BTreeMap<String, Stored>, name: &str, shape: &[usize]) -> Result<Vec<f64>, LoadError> {
    match take(tensors, name, "f64", shape)? {
        Numbers::F64(values) => Ok(values),
        Numbers::F32(_) => Err(LoadError::Tensor { name: name.into(), expected: "f64".into(), found: "f32".into() }),
    }
}
