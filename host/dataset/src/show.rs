//! Rows of a raw part as people read them.

use std::sync::Arc;

use arrow::array::{Array as _, StringArray};
use tidegate_vocab::{Batch, Contract, Timestamp};

use crate::typed::text_of;
use crate::{DatasetError, typed};

/// One row as its source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRow {
    /// Its position in the raw part.
    pub position: u32,
    /// Its event time, where it can be read.
    pub event_time: Option<Timestamp>,
    /// What names it, where the contract has such a column and the row a value.
    pub id: Option<String>,
    /// Every column with its cell as text; `None` for an empty one.
    pub cells: Vec<(String, Option<String>)>,
}

/// The rows of `raw` at `positions`; those beyond its end are left out. `polled_at` is the event time where the contract names no
/// time column.
///
/// # Errors
/// [`DatasetError::Batch`] when the rows cannot be taken out of their batch.
pub fn shown_rows(raw: &Batch, contract: &Contract, polled_at: Timestamp, positions: &[u32]) -> Result<Vec<ShownRow>, DatasetError> {
    let columns: Vec<(&str, StringArray)> = raw.columns().map(|(name, _, array)| (name, text_of(array))).collect();
    let mut shown = Vec::with_capacity(positions.len());
    for position in positions.iter().copied().filter(|position| (*position as usize) < raw.row_count()) {
        let row = position as usize;
        let cell = |column: &StringArray| (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row).to_owned());
        let cells: Vec<(String, Option<String>)> = columns.iter().map(|(name, column)| ((*name).to_owned(), cell(column))).collect();
        let id = contract.id.as_ref().and_then(|id| cells.iter().find(|(name, _)| name == id)?.1.clone());
        shown.push(ShownRow { position, event_time: event_time(raw, contract, polled_at, row)?, id, cells });
    }
    Ok(shown)
}

/// The event time of one row, as ingest reads it.
fn event_time(raw: &Batch, contract: &Contract, polled_at: Timestamp, row: usize) -> Result<Option<Timestamp>, DatasetError> {
    let Some(time) = &contract.time else { return Ok(Some(polled_at)) };
    let Some(index) = raw.columns().position(|(name, ..)| name == time.column) else { return Ok(None) };
    let label = contract.label.column.clone();
    // Only the time is to be read: a contract of its own, with a label that is never missing.
    let one = raw.slice(row, 1);
    let column = one.columns().nth(index).map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array)));
    let empty = arrow::array::new_null_array(&tidegate_vocab::DType::Utf8.arrow(), 1);
    let columns = column.into_iter().chain([(label, tidegate_vocab::Role::Label, empty)]).collect();
    let alone = Batch::new(columns).map_err(|source| DatasetError::Batch { source })?;
    let only_time = Contract { id: None, columns: Vec::new(), ..contract.clone() };
    Ok(typed(&alone, &only_time, polled_at).ok().and_then(|typed| typed.event_time.first().copied()).map(Timestamp))
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;
    use tidegate_vocab::{LabelColumn, Role, TimeColumn, TimeUnit};

    use super::*;

    #[test]
    fn rows_show_every_cell_and_their_time_where_it_can_be_read() {
        let text = |cells: &[&str]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
        let raw = Batch::new(vec![
            ("day".to_owned(), Role::Feature, text(&["1", "soon", "3"])),
            ("wind".to_owned(), Role::Feature, text(&["", "2.5", "storm"])),
            ("closed".to_owned(), Role::Feature, text(&["0", "1", "0"])),
        ])
        .unwrap();
        let label = LabelColumn { column: "closed".into(), classes: vec!["0".into(), "1".into()], delay_us: 0, by_id: false };
        let time = Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::D), origin_us: 0 });
        let contract = Contract { id: Some("day".into()), time, label, columns: Vec::new() };
        let shown = shown_rows(&raw, &contract, Timestamp(7), &[0, 1, 9]).unwrap();
        let cells = |wind: Option<&str>, row: &ShownRow| row.cells[1] == ("wind".to_owned(), wind.map(str::to_owned));
        assert_eq!(shown.len(), 2, "a position beyond the end is left out");
        assert_eq!((shown[0].event_time, shown[0].id.as_deref()), (Some(Timestamp(TimeUnit::D.micros())), Some("1")));
        assert!(cells(None, &shown[0]) && cells(Some("2.5"), &shown[1]));
        assert_eq!((shown[1].event_time, shown[1].id.as_deref()), (None, Some("soon")));
        let timeless = Contract { time: None, ..contract };
        assert_eq!(shown_rows(&raw, &timeless, Timestamp(7), &[2]).unwrap()[0].event_time, Some(Timestamp(7)));
    }
}
