//! The state of a training between two steps.
//!
//! Invariant: a training that is resumed from a checkpoint ends with the bytes that it would have ended with unbroken. A
//! checkpoint starts with the digest of the rest, and names the training it belongs to, so that a damaged or foreign one is
//! refused and never trained on.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_vocab::Digest;

use crate::error::TrainError;
use crate::tensors::{self, Numbers, Stored};

const NOTE: &str = "tidegate-checkpoint";

/// Where a training stands, as bytes: parameters, moments, step, schedule, position in the data and best weights so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint(Vec<u8>);

impl Checkpoint {
    /// A checkpoint that was stored; checked when a training resumes from it.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Checkpoint {
        Checkpoint(bytes.into())
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is in a checkpoint: small state as `H`, numbers as tensors.
#[derive(Debug)]
pub(crate) struct Saved<H> {
    /// Digest of everything the training depends on.
    pub training: Digest,
    /// Counters and the like.
    pub header: H,
    /// Parameters, moments and the like.
    pub tensors: BTreeMap<String, Stored>,
}

impl<H: Serialize + DeserializeOwned> Saved<H> {
    /// Writes it down.
    pub(crate) fn encode(&self) -> Result<Checkpoint, TrainError> {
        let encode = |why: String| TrainError::Encode { why };
        let note = serde_json::to_string(&(self.training, &self.header)).map_err(|error| encode(error.to_string()))?;
        let body = tensors::encode(&self.tensors, Some((NOTE, note))).map_err(encode)?;
        let mut bytes = Digest::of(&body).as_bytes().to_vec();
        bytes.extend_from_slice(&body);
        Ok(Checkpoint(bytes))
    }

    /// Reads it back, if it belongs to `training`.
    pub(crate) fn decode(checkpoint: &Checkpoint, training: Digest) -> Result<Saved<H>, TrainError> {
        let resume = |why: &str| TrainError::Resume { why: why.into() };
        let (digest, body) = checkpoint.0.split_at_checked(32).ok_or_else(|| resume("it is shorter than its digest"))?;
        if Digest::of(body).as_bytes() != digest {
            return Err(resume("its bytes do not have the digest they start with"));
        }
        let (tensors, mut notes) = tensors::decode(body).map_err(|why| TrainError::Resume { why })?;
        let note = notes.remove(NOTE).ok_or_else(|| resume("it has no header"))?;
        let (owner, header): (Digest, H) =
            serde_json::from_str(&note).map_err(|error| TrainError::Resume { why: format!("its header does not parse: {error}") })?;
        if owner != training {
            return Err(resume("it was taken with other rows, other settings or another seed"));
        }
        Ok(Saved { training, header, tensors })
    }

    /// Takes out a tensor of single precision with `count` numbers.
    pub(crate) fn take_f32(&mut self, name: &str, count: usize) -> Result<Vec<f32>, TrainError> {
        match self.tensors.remove(name).map(|stored| stored.numbers) {
            Some(Numbers::F32(values)) if values.len() == count => Ok(values),
            _ => Err(TrainError::Resume { why: format!("tensor `{name}` is not there with {count} numbers of type f32") }),
        }
    }

    /// Takes out a tensor of double precision with `count` numbers.
    pub(crate) fn take_f64(&mut self, name: &str, count: usize) -> Result<Vec<f64>, TrainError> {
        match self.tensors.remove(name).map(|stored| stored.numbers) {
            Some(Numbers::F64(values)) if values.len() == count => Ok(values),
            _ => Err(TrainError::Resume { why: format!("tensor `{name}` is not there with {count} numbers of type f64") }),
        }
    }
}
