//! A contract from a sample: a first draft for a person to read, with notes on every guess.
//!
//! Invariant: the sample itself keeps the contract that is inferred from it. Guesses are conservative: ranges are not inferred, ids
//! and times only where name and values agree.

use std::collections::BTreeMap;

use arrow::array::Array;
use rayon::prelude::*;
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, LabelColumn, Role, TimeColumn, TimeUnit};

use crate::DatasetError;
use crate::cell::{self, Cell};
use crate::typed::text_of;

/// Values that a guessed label, or a text column that gets categories, may have.
const GUESSED_CLASSES_MAX: usize = 20;
/// Values that a label may have which was named.
const NAMED_CLASSES_MAX: usize = 1_000;
/// A text column gets categories only when each occurs this often on average; else a new value is to be expected.
const ROWS_PER_CATEGORY_MIN: usize = 10;

/// What the user already knows. Absent parts are guessed.
#[derive(Debug, Clone)]
pub struct InferOptions {
    /// The column of ground truth; else the last column with 2 to 20 values.
    pub label: Option<String>,
    /// The column that names the row.
    pub id: Option<String>,
    /// The column of event time; numbers are taken as seconds, milliseconds or microseconds since 1970 when they look so, else as days.
    pub time: Option<String>,
}

/// A contract and what was guessed on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// The contract.
    pub contract: Contract,
    /// One sentence a guess, and one for what looks odd.
    pub notes: Vec<String>,
}

/// Infers a contract from all rows of `sample`, of text or typed columns.
///
/// # Errors
/// [`DatasetError::SampleEmpty`], [`DatasetError::SampleNoRows`], [`DatasetError::SampleColumn`] for a name it does not have, and
/// [`DatasetError::LabelOneValue`], [`DatasetError::LabelClasses`], [`DatasetError::LabelNotFound`] about the label.
pub fn infer(sample: &Batch, options: &InferOptions) -> Result<Inference, DatasetError> {
    let names: Vec<String> = sample.rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
    if names.is_empty() {
        return Err(DatasetError::SampleEmpty);
    }
    if sample.row_count() == 0 {
        return Err(DatasetError::SampleNoRows { columns: names });
    }
    for column in [&options.label, &options.id, &options.time].into_iter().flatten() {
        if !names.contains(column) {
            return Err(DatasetError::SampleColumn { column: column.clone(), columns: names });
        }
    }
    let seen: Vec<Seen> = (0..names.len()).into_par_iter().map(|index| Seen::of(&names[index], sample, index)).collect();
    let mut notes = Vec::new();
    let id = options.id.clone().or_else(|| guessed_id(&seen, options, &mut notes));
    let time = time(&seen, options, &mut notes);
    let not_label = [&id, &time.as_ref().map(|time| time.column.clone())].map(Clone::clone);
    let label = label(&seen, options, &not_label, sample.row_count(), &mut notes)?;
    let used = |name: &String| *name == label.column || not_label.iter().flatten().any(|used| used == name);
    let columns = seen.iter().filter(|seen| !used(&seen.name)).filter_map(|seen| seen.column(sample.row_count(), &mut notes)).collect();
    Ok(Inference { contract: Contract { id, time, label, columns }, notes })
}

/// What was seen in one column of the sample.
struct Seen {
    name: String,
    /// `None`: no cell has a value.
    dtype: Option<DType>,
    missing: bool,
    infinite: bool,
    /// Values and how often, as long as there are few; else empty.
    values: BTreeMap<String, usize>,
    /// As many as are told apart, at most one more than a label may have.
    distinct: usize,
    /// For whole numbers: whether each is the one before plus one; the first; the last.
    counts_up: bool,
    first: Option<i64>,
}

impl Seen {
    fn of(name: &str, sample: &Batch, index: usize) -> Seen {
        let source = sample.rows.column(index);
        let text = text_of(source);
        let declared = DType::of(source.data_type()).filter(|dtype| *dtype != DType::Utf8);
        let mut seen = Seen {
            name: name.to_owned(),
            dtype: declared,
            missing: false,
            infinite: false,
            values: BTreeMap::new(),
            distinct: 0,
            counts_up: text.len() > 1,
            first: None,
        };
        let mut previous = None;
        for row in 0..text.len() {
            let cell = if text.is_null(row) { "" } else { text.value(row).trim_ascii() };
            let whole = match cell::i64_of(cell.as_bytes()) {
                Cell::Value(value) => Some(value),
                _ => None,
            };
            seen.counts_up &= whole.is_some() && previous.is_none_or(|previous: i64| previous.checked_add(1) == whole);
            seen.first = seen.first.or(whole);
            previous = whole;
            let number = match cell::f64_of(cell.as_bytes()) {
                Cell::Value(value) if value.is_nan() => None,
                Cell::Value(value) => Some(Some(value)),
                Cell::Missing => None,
                Cell::Uncastable => Some(None),
            };
            let Some(number) = number else {
                seen.missing = true;
                continue;
            };
            seen.infinite |= number.is_some_and(f64::is_infinite);
            if declared.is_none() {
                seen.dtype = widened(seen.dtype, cell::looks_like(cell.as_bytes()));
            }
            if seen.distinct <= NAMED_CLASSES_MAX {
                *seen.values.entry(cell.to_owned()).or_default() += 1;
                seen.distinct = seen.values.len();
            }
        }
        if seen.distinct > NAMED_CLASSES_MAX {
            seen.values.clear();
        }
        seen
    }

    /// The column of the contract, or a note why it has none.
    fn column(&self, row_count: usize, notes: &mut Vec<String>) -> Option<ContractColumn> {
        let name = self.name.clone();
        let Some(dtype) = self.dtype else {
            notes.push(format!("column `{name}` has no values and is left out"));
            return None;
        };
        if self.infinite {
            notes.push(format!("column `{name}` has infinite values; their rows will be quarantined as `infinite:{name}`"));
        }
        if self.distinct == 1 && !self.missing {
            notes.push(format!("column `{name}` has the same value in all rows of the sample: a model learns nothing from it"));
        }
        let few = self.distinct <= GUESSED_CLASSES_MAX && self.distinct * ROWS_PER_CATEGORY_MIN <= row_count;
        let categories = (dtype == DType::Utf8 && few).then(|| self.values.keys().cloned().collect());
        if dtype == DType::Utf8 && categories.is_none() {
            notes.push(format!("column `{name}` is text without a fixed set of values"));
        }
        Some(ContractColumn { name, dtype, role: Role::Feature, nullable: self.missing, low: None, high: None, categories })
    }
}

/// The narrowest type of both; text holds everything.
fn widened(before: Option<DType>, cell: Option<DType>) -> Option<DType> {
    match (before, cell) {
        (None, other) | (other, None) => other,
        (Some(before), Some(cell)) if before == cell => Some(cell),
        (Some(DType::I64 | DType::F64), Some(DType::I64 | DType::F64)) => Some(DType::F64),
        _ => Some(DType::Utf8),
    }
}

/// The first column, where it counts up by one, or one that is called `id` and has no gaps.
fn guessed_id(seen: &[Seen], options: &InferOptions, notes: &mut Vec<String>) -> Option<String> {
    let free = |seen: &&Seen| options.label.as_ref() != Some(&seen.name);
    let called_id = |seen: &&Seen| seen.name.eq_ignore_ascii_case("id") && !seen.missing;
    let found = seen.first().filter(free).filter(|first| first.counts_up).or_else(|| seen.iter().filter(free).find(called_id))?;
    // A time that was named may be the id as well; that is what the first column often is.
    notes.push(format!("`{}` is taken as the id of the row, because it counts up or is called so", found.name));
    Some(found.name.clone())
}

fn time(seen: &[Seen], options: &InferOptions, notes: &mut Vec<String>) -> Option<TimeColumn> {
    let instants = || seen.iter().filter(|seen| seen.dtype == Some(DType::TimestampUs) && options.label.as_ref() != Some(&seen.name));
    let found = match &options.time {
        Some(name) => seen.iter().find(|seen| seen.name == *name)?,
        None => {
            let (first, more) = (instants().next()?, instants().nth(1).is_some());
            if more || first.missing {
                notes.push("more than one column holds instants, or not in all rows; name the event time with `--time`".into());
                return None;
            }
            notes.push(format!("`{}` is taken as the event time, because it is the only column of instants", first.name));
            first
        }
    };
    let column = found.name.clone();
    if found.dtype == Some(DType::TimestampUs) {
        return Some(TimeColumn { column, unit: None, origin_us: 0 });
    }
    // Instants of 1973 to 2128 in each unit.
    let unit = match found.first.unwrap_or(0) {
        100_000_000..5_000_000_000 => TimeUnit::S,
        100_000_000_000..5_000_000_000_000 => TimeUnit::Ms,
        100_000_000_000_000..5_000_000_000_000_000 => TimeUnit::Us,
        _ => TimeUnit::D,
    };
    notes.push(format!("the unit and origin of `{column}` were guessed; correct `time` where they are not so"));
    Some(TimeColumn { column, unit: Some(unit), origin_us: 0 })
}

fn label(
    seen: &[Seen],
    options: &InferOptions,
    not_label: &[Option<String>; 2],
    row_count: usize,
    notes: &mut Vec<String>,
) -> Result<LabelColumn, DatasetError> {
    let named = options.label.as_ref().and_then(|name| seen.iter().find(|seen| seen.name == *name));
    let found = match named {
        Some(found) => found,
        None => {
            let can_be = |seen: &&Seen| {
                (2..=GUESSED_CLASSES_MAX).contains(&seen.distinct) && not_label.iter().flatten().all(|name| *name != seen.name)
            };
            let found = seen.iter().rev().find(can_be).ok_or(DatasetError::LabelNotFound { max: GUESSED_CLASSES_MAX })?;
            notes.push(format!("`{}` is taken as the label: it is the last column with 2 to {GUESSED_CLASSES_MAX} values", found.name));
            found
        }
    };
    let column = found.name.clone();
    if found.distinct == 1 {
        let value = found.values.keys().next().cloned().unwrap_or_default();
        return Err(DatasetError::LabelOneValue { column, value, row_count });
    }
    if !(2..=NAMED_CLASSES_MAX).contains(&found.distinct) {
        return Err(DatasetError::LabelClasses { column, found: found.distinct, max: NAMED_CLASSES_MAX });
    }
    if let Some((class, count)) = found.values.iter().find(|(_, count)| **count < 2) {
        notes.push(format!("class `{class}` of `{column}` occurs {count} time in the sample"));
    }
    let mut classes: Vec<String> = found.values.keys().cloned().collect();
    if matches!(found.dtype, Some(DType::I64 | DType::F64)) {
        let value = |class: &String| fast_float2::parse::<f64, _>(class).unwrap_or(f64::NAN);
        classes.sort_by(|a, b| value(a).total_cmp(&value(b)).then_with(|| a.cmp(b)));
    }
    Ok(LabelColumn { column, classes, delay_us: 0, by_id: false })
}

#[cfg(test)]
mod tests;
