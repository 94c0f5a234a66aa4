//! What a contract asks of a request, worked out once a contract and not once a request.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, Role};

use super::column;
use super::request::{Cell, Cells, Tensor};
use crate::refusal::Refusal;

/// The name of the output, and of no column, that holds the rows' ids.
pub(crate) const ROW_ID: &str = "row_id";
/// The name of the output that holds the probability of each class.
pub(crate) const PROBABILITY: &str = "probability";

/// What to do with the tensors of a request.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The features, in the order of the contract.
    pub features: Vec<ContractColumn>,
    schema: Arc<Schema>,
    slots: HashMap<String, Slot>,
}

/// What a tensor of some name is for.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Feature(usize),
    Id,
    /// The model does not look at it, but whole rows may be sent as they lie.
    Unused,
    Label,
}

/// The rows of a request.
#[derive(Debug)]
pub(crate) struct RequestRows<'a> {
    /// The features.
    pub batch: Batch,
    /// The ids that the caller gave.
    pub ids: Vec<Option<String>>,
    /// The features as they came, in the order of the contract.
    pub cells: Vec<Cells<'a>>,
}

impl Plan {
    /// The plan for `contract`.
    pub(crate) fn new(contract: &Contract) -> Plan {
        let features: Vec<ContractColumn> = contract.columns.iter().filter(|column| column.role == Role::Feature).cloned().collect();
        let fields: Vec<Field> = features.iter().map(|column| Field::new(&column.name, column.dtype.arrow(), true)).collect();
        let mut slots: HashMap<String, Slot> = contract.columns.iter().map(|column| (column.name.clone(), Slot::Unused)).collect();
        slots.extend(contract.time.iter().map(|time| (time.column.clone(), Slot::Unused)));
        slots.extend(contract.id.iter().map(|id| (id.clone(), Slot::Id)));
        slots.insert(contract.label.column.clone(), Slot::Label);
        slots.extend(features.iter().enumerate().map(|(index, column)| (column.name.clone(), Slot::Feature(index))));
        Plan { features, schema: Arc::new(Schema::new(fields)), slots }
    }

    /// Sorts the tensors of a request into the columns of the contract.
    pub(crate) fn rows<'a>(&self, tensors: Vec<Tensor<'a>>, rows_max: usize) -> Result<RequestRows<'a>, Refusal> {
        let rows = row_count(&tensors, rows_max)?;
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.features.len()];
        let mut cells: Vec<Cells<'a>> = (0..self.features.len()).map(|_| Cells::default()).collect();
        let mut ids = None;
        let mut unused = Vec::new();
        for (position, tensor) in tensors.into_iter().enumerate() {
            check_shape(&tensor, rows)?;
            let name = tensor.name.0.as_ref();
            let slot = self.slot(position, name);
            let is_second = match slot {
                Some(Slot::Feature(index)) => arrays[index].is_some(),
                Some(Slot::Id) => ids.is_some(),
                _ => unused.contains(&tensor.name.0),
            };
            if is_second {
                return Err(Refusal::bad(format!("there are two tensors named `{}`; expected one a column", shortened(name))));
            }
            match slot {
                Some(Slot::Feature(index)) => {
                    arrays[index] = Some(feature(&tensor, &self.features[index])?);
                    cells[index] = tensor.data;
                }
                Some(Slot::Id) => ids = Some(row_ids(&tensor)?),
                Some(Slot::Unused) => unused.push(tensor.name.0),
                Some(Slot::Label) => {
                    return Err(Refusal::bad(format!(
                        "`{name}` is what the model answers; leave it out, and send labels to POST /v1/labels"
                    )));
                }
                None => return Err(self.unknown(name)),
            }
        }
        let arrays = self.complete(arrays)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows_of = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Refusal::fault(format!("the columns do not form a batch: {error}")))?;
        let batch = Batch { rows: rows_of, roles: vec![Role::Feature; self.features.len()] };
        Ok(RequestRows { batch, ids: ids.unwrap_or_else(|| vec![None; rows]), cells })
    }

    /// What the tensor `name` is for. Most callers send the features in the order of the contract, and need no look-up.
    fn slot(&self, position: usize, name: &str) -> Option<Slot> {
        match self.features.get(position) {
            Some(column) if column.name == name => Some(Slot::Feature(position)),
            _ => self.slots.get(name).copied(),
        }
    }

    fn complete(&self, arrays: Vec<Option<ArrayRef>>) -> Result<Vec<ArrayRef>, Refusal> {
        let missing: Vec<String> =
            self.features.iter().zip(&arrays).filter(|(_, array)| array.is_none()).map(|(column, _)| describe(column)).collect();
        if missing.is_empty() {
            return Ok(arrays.into_iter().flatten().collect());
        }
        let noun = if missing.len() == 1 { "column" } else { "columns" };
        Err(Refusal::bad(format!("no tensor for {noun} {}; the model needs every feature of its contract", missing.join(", "))))
    }

    fn unknown(&self, name: &str) -> Refusal {
        let known: Vec<String> = self.features.iter().map(|column| format!("`{}`", column.name)).collect();
        Refusal::bad(format!("there is no column `{}`; expected {}", shortened(name), known.join(", ")))
    }
}

fn row_count(tensors: &[Tensor<'_>], rows_max: usize) -> Result<usize, Refusal> {
    let Some(first) = tensors.first() else {
        return Err(Refusal::bad("`inputs` is empty; expected one tensor a column, as GET /v2/models/NAME lists them"));
    };
    check_shape(first, first.data.0.len())?;
    match first.data.0.len() {
        0 => Err(Refusal::bad(format!("tensor `{}` has no values; expected at least one row", shortened(&first.name.0)))),
        rows if rows > rows_max => Err(Refusal::new(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            format!("there are {rows} rows; expected at most {rows_max} in one request"),
        )),
        rows => Ok(rows),
    }
}

fn check_shape(tensor: &Tensor<'_>, rows: usize) -> Result<(), Refusal> {
    let name = shortened(&tensor.name.0);
    let extent = match (tensor.shape.count, tensor.shape.first) {
        (1, [extent, _]) | (2, [extent, 1]) => extent,
        _ => return Err(Refusal::bad(format!("tensor `{name}` has the shape {}; expected [rows] or [rows, 1]", tensor.shape))),
    };
    let found = tensor.data.0.len();
    if extent != found as u64 {
        return Err(Refusal::bad(format!("tensor `{name}` has {found} values; its shape says {extent}")));
    }
    if found != rows {
        return Err(Refusal::bad(format!("tensor `{name}` has {found} rows; the first tensor has {rows}")));
    }
    Ok(())
}

fn feature(tensor: &Tensor<'_>, column: &ContractColumn) -> Result<ArrayRef, Refusal> {
    let (name, dtype) = (&column.name, column.dtype.word());
    if let Some(expected) = column::expected_instead_of(&tensor.datatype.0, column.dtype) {
        let found = shortened(&tensor.datatype.0);
        return Err(Refusal::bad(format!("tensor `{name}` has the datatype `{found}`; column `{name}` is `{dtype}` and takes {expected}")));
    }
    column::array(&tensor.data.0, column.dtype).map_err(|misfit| {
        let found = shown(&tensor.data.0[misfit.row]);
        Refusal::bad(format!(
            "tensor `{name}` has {found} in row {}; column `{name}` is `{dtype}`, expected {}",
            misfit.row, misfit.expected
        ))
    })
}

/// The rows' ids as text; no id where there is no value.
fn row_ids(tensor: &Tensor<'_>) -> Result<Vec<Option<String>>, Refusal> {
    let text = |(row, cell): (usize, &Cell<'_>)| match cell {
        Cell::Null => Ok(None),
        Cell::Integer(number) => Ok(Some(number.to_string())),
        Cell::Text(text) if !text.is_empty() => Ok(Some(text.clone().into_owned())),
        other => Err(Refusal::bad(format!(
            "tensor `{}` names row {row} with {}; expected an integer or a text that is not empty",
            tensor.name.0,
            shown(other)
        ))),
    };
    if column::expected_instead_of(&tensor.datatype.0, DType::I64).is_some() && tensor.datatype.0 != "BYTES" {
        let (name, found) = (&tensor.name.0, shortened(&tensor.datatype.0));
        return Err(Refusal::bad(format!("tensor `{name}` has the datatype `{found}`; ids are `INT64` or `BYTES`")));
    }
    tensor.data.0.iter().enumerate().map(text).collect()
}

/// The first cell that a row of the contract may not have: the row, and what is wrong as a sentence. `true` for a missing value.
pub(crate) fn first_breach(batch: &Batch, features: &[ContractColumn]) -> Option<(usize, String, bool)> {
    use arrow::array::AsArray as _;
    use arrow::datatypes::{Float64Type, Int64Type};
    for column in features {
        let Some(array) = batch.column(&column.name) else { continue };
        let name = &column.name;
        let floats = array.as_primitive_opt::<Float64Type>();
        let is_missing = |row: usize| array.is_null(row) || floats.is_some_and(|values| values.value(row).is_nan());
        for row in 0..array.len() {
            if is_missing(row) {
                if !column.nullable {
                    return Some((row, format!("column `{name}` has no value, and the contract wants one"), true));
                }
                continue;
            }
            let number = floats.map(|values| values.value(row));
            let number = number.or_else(|| array.as_primitive_opt::<Int64Type>().map(|values| values.value(row) as f64));
            if let Some(number) = number.filter(|number| column.low.is_some_and(|low| *number < low)) {
                return Some((
                    row,
                    format!("column `{name}` is {number}, below the contract's `low = {}`", column.low.unwrap_or_default()),
                    false,
                ));
            }
            if let Some(number) = number.filter(|number| column.high.is_some_and(|high| *number > high)) {
                return Some((
                    row,
                    format!("column `{name}` is {number}, above the contract's `high = {}`", column.high.unwrap_or_default()),
                    false,
                ));
            }
            if let (Some(categories), Some(words)) = (&column.categories, array.as_string_opt::<i32>())
                && !categories.iter().any(|category| category == words.value(row))
            {
                let word = shortened(words.value(row));
                return Some((row, format!("column `{name}` is `{word}`, which is none of the contract's categories"), false));
            }
        }
    }
    None
}

fn describe(column: &ContractColumn) -> String {
    format!("`{}` ({})", column.name, column::datatype(column.dtype))
}

fn shown(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Bool(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => value.to_string(),
        Cell::Text(text) => format!("the text `{}`", shortened(text)),
    }
}

/// Text of a request as messages repeat it.
pub(crate) fn shortened(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| &text[..end])
}
