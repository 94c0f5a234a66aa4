//! From the columns of a contract to the numbers that a model sees.
//!
//! Invariant: fitted on the training rows only, stored in the artefact, and applied by the same function in training, in batch
//! scoring and to a single row.

use serde::{Deserialize, Serialize};
use tidegate_vocab::{Batch, Contract, DType, Role};

use crate::column::{self, ColumnError};
use crate::error::TrainError;

/// Words of one column that get an input of their own; rarer ones share the input for unseen words.
pub const CATEGORIES_MAX: usize = 256;
/// Standardised values are cut off here: a freak value must not overflow single precision.
pub const STANDARDISED_MAX: f64 = 1e6;

/// What is done to each feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// One entry a feature that the model uses, in the order of the contract.
    pub columns: Vec<FeatureColumn>,
    /// Features that the model does not use, because they had one value in all training rows.
    pub constant: Vec<String>,
}

/// What is done to one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum FeatureColumn {
    /// A missing value becomes the median; then `(value - mean) / deviation`. One input, two with `indicator`.
    Numeric {
        /// The column.
        name: String,
        /// Its type.
        dtype: DType,
        /// Median of the training rows that have a value.
        median: f64,
        /// Mean of the training rows after imputation.
        mean: f64,
        /// Standard deviation of the training rows after imputation.
        deviation: f64,
        /// Whether a second input says if the value was missing: only where the training rows have such.
        indicator: bool,
    },
    /// One input a category, and one for every other word and for none.
    Category {
        /// The column.
        name: String,
        /// Its type.
        dtype: DType,
        /// The categories, sorted.
        categories: Vec<String>,
    },
}

/// Rows as a model sees them: row-major, every number finite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inputs {
    /// `rows × width` numbers.
    pub values: Vec<f64>,
    /// Number of rows.
    pub rows: usize,
    /// Inputs of one row.
    pub width: usize,
}

impl Inputs {
    /// The values in single precision.
    pub(crate) fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|value| *value as f32).collect()
    }
}

impl FeatureColumn {
    /// The column's type.
    pub fn dtype(&self) -> DType {
        match self {
            FeatureColumn::Numeric { dtype, .. } | FeatureColumn::Category { dtype, .. } => *dtype,
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            FeatureColumn::Numeric { name, .. } | FeatureColumn::Category { name, .. } => name,
        }
    }

    /// How many inputs it becomes.
    pub fn width(&self) -> usize {
        match self {
            FeatureColumn::Numeric { indicator, .. } => 1 + usize::from(*indicator),
            FeatureColumn::Category { categories, .. } => categories.len() + 1,
        }
    }
}

impl Preprocessing {
    /// Learns from training rows what to do to each feature of `contract`.
    pub(crate) fn fit(contract: &Contract, train: &Batch) -> Result<Preprocessing, TrainError> {
        let mut columns = Vec::new();
        let mut constant = Vec::new();
        for column in contract.columns.iter().filter(|column| column.role == Role::Feature) {
            let fitted = match column.dtype {
                DType::Bool | DType::Utf8 => fit_category(train, &column.name, column.dtype)?,
                DType::F64 | DType::I64 | DType::TimestampUs => fit_numeric(train, &column.name, column.dtype)?,
            };
            match fitted {
                Some(fitted) => columns.push(fitted),
                None => constant.push(column.name.clone()),
            }
        }
        if columns.is_empty() {
            return Err(if constant.is_empty() { TrainError::NoFeatures } else { TrainError::AllConstant { columns: constant } });
        }
        Ok(Preprocessing { columns, constant })
    }

    /// Inputs of one row.
    pub fn width(&self) -> usize {
        self.columns.iter().map(FeatureColumn::width).sum()
    }

    /// The rows of `batch` as the model sees them.
    pub(crate) fn apply(&self, batch: &Batch) -> Result<Inputs, ColumnError> {
        let (rows, width) = (batch.row_count(), self.width());
        let mut values = vec![0.0; rows * width];
        let mut first = 0;
        for column in &self.columns {
            apply_column(column, batch, &mut values, first, width)?;
            first += column.width();
        }
        Ok(Inputs { values, rows, width })
    }
}

fn apply_column(column: &FeatureColumn, batch: &Batch, values: &mut [f64], first: usize, width: usize) -> Result<(), ColumnError> {
    match column {
        FeatureColumn::Numeric { name, dtype, median, mean, deviation, indicator } => {
            let numbers = column::numbers(batch, name, *dtype)?;
            for (row, number) in values.chunks_exact_mut(width).zip(numbers) {
                let number_or_median = if number.is_nan() { *median } else { number };
                row[first] = ((number_or_median - mean) / deviation).clamp(-STANDARDISED_MAX, STANDARDISED_MAX);
                if *indicator && number.is_nan() {
                    row[first + 1] = 1.0;
                }
            }
        }
        FeatureColumn::Category { name, dtype, categories } => {
            let words = column::words(batch, name, *dtype)?;
            for (row, word) in values.chunks_exact_mut(width).zip(words) {
                let place = word.and_then(|word| categories.binary_search_by(|category| category.as_str().cmp(word)).ok());
                row[first + place.unwrap_or(categories.len())] = 1.0;
            }
        }
    }
    Ok(())
}

fn fit_numeric(train: &Batch, name: &str, dtype: DType) -> Result<Option<FeatureColumn>, TrainError> {
    let mut numbers = column::numbers(train, name, dtype)?;
    let mut present: Vec<f64> = numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    if present.is_empty() {
        return Err(TrainError::AllMissing { column: name.into() });
    }
    present.sort_unstable_by(f64::total_cmp);
    let middle = present.len() / 2;
    let median = if present.len() % 2 == 1 { present[middle] } else { present[middle - 1] / 2.0 + present[middle] / 2.0 };
    let indicator = present.len() < numbers.len();
    for number in numbers.iter_mut().filter(|number| number.is_nan()) {
        *number = median;
    }
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let deviation = (numbers.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>() / count).sqrt();
    if !mean.is_finite() || !deviation.is_finite() {
        let largest = (0..numbers.len()).max_by(|a, b| numbers[*a].abs().total_cmp(&numbers[*b].abs())).unwrap_or(0);
        return Err(ColumnError::Infinite { column: name.into(), row: largest }.into());
    }
    // Sums of equal numbers round, so a constant column is told by its ends and not by its deviation.
    let constant = present[0] == present[present.len() - 1] || deviation <= f64::EPSILON * mean.abs();
    if constant && !indicator {
        return Ok(None);
    }
    let deviation = if constant { 1.0 } else { deviation };
    Ok(Some(FeatureColumn::Numeric { name: name.into(), dtype, median, mean, deviation, indicator }))
}

fn fit_category(train: &Batch, name: &str, dtype: DType) -> Result<Option<FeatureColumn>, TrainError> {
    let words = column::words(train, name, dtype)?;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for word in words.iter().flatten() {
        *counts.entry(word).or_default() += 1;
    }
    if counts.is_empty() {
        return Err(TrainError::AllMissing { column: name.into() });
    }
    if counts.len() == 1 && words.iter().all(Option::is_some) {
        return Ok(None);
    }
    let mut ranked: Vec<(&str, usize)> = counts.into_iter().collect();
    // The sort is stable, so words of one count stay in alphabetical order.
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut categories: Vec<String> = ranked.into_iter().take(CATEGORIES_MAX).map(|(word, _)| word.to_owned()).collect();
    categories.sort_unstable();
    Ok(Some(FeatureColumn::Category { name: name.into(), dtype, categories }))
}
