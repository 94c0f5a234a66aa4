//! Rows that a cleaner dropped and a person let in again.
//!
//! Invariant: a row that is let in comes as the cleaner was given it, in its place among the rows that were kept. Later cleaners and
//! the contract see it like any other.

use std::collections::BTreeSet;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use tidegate_vocab::Batch;

use crate::{CleanerStep, DatasetError};

/// `step` and its result `cleaned`, with those of `given` that it dropped and `lets_in` names among what it kept. `lets_in` holds
/// positions in `given`.
///
/// # Errors
/// [`DatasetError::CleanedColumn`] when the cleaner changed the type of a column, so that its rows and the given ones do not go
/// together.
pub fn readmitted(given: &Batch, step: CleanerStep, cleaned: Batch, lets_in: &BTreeSet<u32>) -> Result<(CleanerStep, Batch), DatasetError> {
    let (back, dropped): (Vec<_>, Vec<_>) = step.dropped.into_iter().partition(|(row, _)| lets_in.contains(row));
    if back.is_empty() {
        return Ok((CleanerStep { dropped, ..step }, cleaned));
    }
    // Positions in what follows: the kept rows first, then all that were given.
    let own = step.kept.positions().map(|(position, row)| (row, position));
    let others = back.iter().map(|(row, _)| (*row, cleaned.row_count() as u32 + row));
    let mut order: Vec<(u32, u32)> = own.chain(others).collect();
    order.sort_unstable();
    let given = like(&cleaned.rows, given)?;
    let all = concat_batches(&cleaned.rows.schema(), [&cleaned.rows, &given]).map_err(|source| DatasetError::Rows { source })?;
    let positions = UInt32Array::from(order.iter().map(|(_, position)| *position).collect::<Vec<_>>());
    let rows = take_record_batch(&all, &positions).map_err(|source| DatasetError::Rows { source })?;
    let kept = order.into_iter().map(|(row, _)| row).collect();
    Ok((CleanerStep { kept, dropped, ..step }, Batch { rows, roles: cleaned.roles }))
}

/// The columns of `cleaned` from `given`, in its order.
fn like(cleaned: &RecordBatch, given: &Batch) -> Result<RecordBatch, DatasetError> {
    let mut columns = Vec::with_capacity(cleaned.num_columns());
    for field in cleaned.schema().fields() {
        let column = given.column(field.name()).filter(|column| column.data_type() == field.data_type());
        columns.push(std::sync::Arc::clone(column.ok_or_else(|| {
            DatasetError::CleanedColumn {
                column: field.name().clone(),
                expected: given
                    .column(field.name())
                    .and_then(|column| tidegate_vocab::DType::of(column.data_type()))
                    .map_or("nothing", |dtype| dtype.word()),
                found: field.data_type().to_string(),
            }
        })?));
    }
    RecordBatch::try_new(cleaned.schema(), columns).map_err(|source| DatasetError::Rows { source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array};
    use arrow::datatypes::Float64Type;
    use proptest::prelude::*;
    use tidegate_vocab::Role;

    use super::*;

    fn batch(values: &[f64]) -> Batch {
        Batch::new(vec![("a".to_owned(), Role::Feature, Arc::new(Float64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    fn values(batch: &Batch) -> Vec<f64> {
        batch.column("a").unwrap().as_primitive::<Float64Type>().values().to_vec()
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were_given_and_in_their_place(dropped in proptest::collection::vec(any::<bool>(), 0..40), wanted in any::<u64>()) {
            let given: Vec<f64> = (0..dropped.len()).map(|row| row as f64).collect();
            let lets_in: BTreeSet<u32> = (0..dropped.len() as u32).filter(|row| wanted >> (row % 64) & 1 == 1).collect();
            // The cleaner adds a half to what it keeps, so that both kinds of rows can be told apart.
            let kept: Vec<u32> = (0..).zip(&dropped).filter(|(_, dropped)| !**dropped).map(|(row, _)| row).collect();
            let cleaned = batch(&kept.iter().map(|row| given[*row as usize] + 0.5).collect::<Vec<_>>());
            let out = (0..).zip(&dropped).filter(|(_, dropped)| **dropped).map(|(row, _)| (row, "why".to_owned())).collect();
            let step = CleanerStep { cleaner: "half".into(), kept: kept.into_iter().collect(), dropped: out };
            let (step, rows) = readmitted(&batch(&given), step, cleaned, &lets_in).unwrap();
            let expected: Vec<(u32, f64)> = (0..).zip(&dropped).filter_map(|(row, dropped)| match dropped {
                false => Some((row, f64::from(row) + 0.5)),
                true => lets_in.contains(&row).then_some((row, f64::from(row))),
            }).collect();
            prop_assert_eq!(step.kept.iter().zip(values(&rows)).collect::<Vec<_>>(), expected);
            prop_assert_eq!(step.kept.len() + step.dropped.len(), dropped.len());
            prop_assert!(step.dropped.iter().all(|(row, _)| !lets_in.contains(row)));
        }
    }
}
