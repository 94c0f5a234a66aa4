//! Rows with their classes and weights, ready to learn from.

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray};
use arrow::datatypes::Int64Type;
use tidegate_vocab::{Batch, Contract, DType, Role};

use crate::column::{self, ColumnError};
use crate::error::TrainError;
use crate::preprocessing::{Inputs, Preprocessing};
use crate::spec::ClassWeights;

/// Rows as a training sees them.
#[derive(Debug)]
pub(crate) struct Examples {
    /// The features.
    pub inputs: Inputs,
    /// The class of each row.
    pub classes: Vec<u32>,
    /// How much each row counts.
    pub weights: Vec<f64>,
}

impl Examples {
    /// These rows and `later` ones of the same width.
    pub(crate) fn with(&self, later: &Examples) -> Examples {
        let values = [&self.inputs.values[..], &later.inputs.values[..]].concat();
        Examples {
            inputs: Inputs { values, rows: self.inputs.rows + later.inputs.rows, width: self.inputs.width },
            classes: [&self.classes[..], &later.classes[..]].concat(),
            weights: [&self.weights[..], &later.weights[..]].concat(),
        }
    }
}

/// The rows of `batch` that have a label, and their classes.
pub(crate) fn labelled(batch: &Batch, contract: &Contract) -> Result<(Batch, Vec<u32>), TrainError> {
    let labels = label_words(batch, contract)?;
    let mut classes = Vec::with_capacity(labels.len());
    for (row, label) in labels.iter().enumerate() {
        let Some(label) = label else { continue };
        let Some(class) = contract.label.classes.iter().position(|class| class == label) else {
            let (column, classes) = (contract.label.column.clone(), contract.label.classes.clone());
            return Err(TrainError::UnknownClass { column, found: label.clone(), row, classes });
        };
        classes.push(class as u32);
    }
    if classes.len() == labels.len() {
        return Ok((batch.clone(), classes));
    }
    let keep: BooleanArray = labels.iter().map(|label| Some(label.is_some())).collect();
    let rows = arrow::compute::filter_record_batch(&batch.rows, &keep).expect("the filter has one entry a row of the batch");
    Ok((Batch { rows, roles: batch.roles.clone() }, classes))
}

fn label_words(batch: &Batch, contract: &Contract) -> Result<Vec<Option<String>>, TrainError> {
    let name = &contract.label.column;
    let by_role = || batch.with_role(&Role::Label).map(|index| batch.rows.column(index));
    let Some(array) = batch.column(name).or_else(by_role) else {
        let found = batch.columns().map(|(name, _, _)| name.to_owned()).collect();
        return Err(ColumnError::Missing { column: name.clone(), found }.into());
    };
    words_of(array).ok_or_else(|| {
        let found = DType::of(array.data_type()).map_or_else(|| array.data_type().to_string(), |found| found.word().into());
        ColumnError::Type { column: name.clone(), expected: DType::Utf8.word(), found }.into()
    })
}

fn words_of(array: &ArrayRef) -> Option<Vec<Option<String>>> {
    Some(match DType::of(array.data_type())? {
        DType::Utf8 => array.as_string::<i32>().iter().map(|word| word.map(str::to_owned)).collect(),
        DType::I64 => array.as_primitive::<Int64Type>().iter().map(|number| number.map(|number| number.to_string())).collect(),
        DType::Bool => array.as_boolean().iter().map(|truth| truth.map(|truth| truth.to_string())).collect(),
        DType::F64 | DType::TimestampUs => return None,
    })
}

/// How much a row of each class counts, from the classes of the training rows.
pub(crate) fn class_weights(rule: ClassWeights, classes: &[u32], class_count: usize) -> Vec<f64> {
    let mut counts = vec![0usize; class_count];
    for class in classes {
        counts[*class as usize] += 1;
    }
    let seen = counts.iter().filter(|count| **count > 0).count();
    let balanced = |count: usize| classes.len() as f64 / (seen * count.max(1)) as f64;
    match rule {
        ClassWeights::None => vec![1.0; class_count],
        ClassWeights::Balanced => counts.into_iter().map(balanced).collect(),
    }
}

/// Rows that all have a label, as a training sees them.
pub(crate) fn examples(
    batch: &Batch,
    classes: Vec<u32>,
    contract: &Contract,
    preprocessing: &Preprocessing,
    class_weights: &[f64],
) -> Result<Examples, TrainError> {
    let mut weights: Vec<f64> = classes.iter().map(|class| class_weights[*class as usize]).collect();
    for column in contract.columns.iter().filter(|column| column.role == Role::Weight) {
        let numbers = column::numbers(batch, &column.name, column.dtype)?;
        for (row, (weight, number)) in weights.iter_mut().zip(numbers).enumerate() {
            if number.is_nan() || number < 0.0 {
                let found = if number.is_nan() { "no value".into() } else { number.to_string() };
                return Err(TrainError::Weight { column: column.name.clone(), row, found });
            }
            *weight *= number;
        }
        let total: f64 = weights.iter().sum();
        if !weights.is_empty() && total <= 0.0 {
            return Err(TrainError::NoWeight { column: column.name.clone() });
        }
    }
    Ok(Examples { inputs: preprocessing.apply(batch)?, classes, weights })
}
