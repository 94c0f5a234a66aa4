//! Named tensors as bytes: safetensors, with the same bytes for the same tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, View};

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// A tensor with its shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Numbers,
}

impl Stored {
    /// A tensor of single precision.
    pub(crate) fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Stored {
        Stored { shape: shape.into(), numbers: Numbers::F32(values) }
    }

    /// A tensor of double precision.
    pub(crate) fn f64(shape: impl Into<Vec<usize>>, values: Vec<f64>) -> Stored {
        Stored { shape: shape.into(), numbers: Numbers::F64(values) }
    }

    /// Type and shape as messages show them, such as `f32 [8, 32]`.
    pub(crate) fn describe(&self) -> String {
        let word = match self.numbers {
            Numbers::F32(_) => "f32",
            Numbers::F64(_) => "f64",
        };
        format!("{word} {:?}", self.shape)
    }

    /// Whether every number is finite.
    pub(crate) fn is_finite(&self) -> bool {
        match &self.numbers {
            Numbers::F32(values) => values.iter().all(|value| value.is_finite()),
            Numbers::F64(values) => values.iter().all(|value| value.is_finite()),
        }
    }
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F32(_) => Dtype::F32,
            Numbers::F64(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match &self.numbers {
            Numbers::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Numbers::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        match &self.numbers {
            Numbers::F32(values) => 4 * values.len(),
            Numbers::F64(values) => 8 * values.len(),
        }
    }
}

/// Tensors and texts by name.
pub(crate) type Decoded = (BTreeMap<String, Stored>, HashMap<String, String>);

/// Writes tensors and one text beside them.
pub(crate) fn encode(tensors: &BTreeMap<String, Stored>, note: Option<(&str, String)>) -> Result<Vec<u8>, String> {
    // One entry at most: the order of a hash map with more would differ from run to run.
    let note = note.map(|(key, text)| HashMap::from([(key.to_owned(), text)]));
    safetensors::serialize(tensors.iter().map(|(name, stored)| (name.as_str(), stored)), note).map_err(|error| error.to_string())
}

/// Reads what [`encode`] wrote; refuses types other than `f32` and `f64`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut stored = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let numbers = match view.dtype() {
            Dtype::F32 => Numbers::F32(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Dtype::F64 => Numbers::F64(view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
            other => return Err(format!("tensor `{name}` has the type {other:?}; expected F32 or F64")),
        };
        stored.insert(name.to_owned(), Stored { shape: view.shape().to_vec(), numbers });
    }
    Ok((stored, metadata.metadata().clone().unwrap_or_default()))
}
