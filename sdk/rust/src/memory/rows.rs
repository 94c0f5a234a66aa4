//! Batches, editors and builders in memory.

use std::cell::RefCell;

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub dtype: String,
    pub role: String,
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextValues {
    pub offsets: Vec<u32>,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct DataError {
    pub code: u16,
    pub message: String,
}

fn refuse<T>(code: u16, message: String) -> Result<T, DataError> {
    Err(DataError { code, message })
}

/// Cells of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    F64(Vec<Option<f64>>),
    I64(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
}

impl Cells {
    pub fn empty(dtype: &str) -> Cells {
        match dtype {
            "f64" => Cells::F64(Vec::new()),
            "i64" | "timestamp-us" => Cells::I64(Vec::new()),
            "bool" => Cells::Bool(Vec::new()),
            _ => Cells::Text(Vec::new()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Cells::F64(cells) => cells.len(),
            Cells::I64(cells) => cells.len(),
            Cells::Bool(cells) => cells.len(),
            Cells::Text(cells) => cells.len(),
        }
    }

    fn is_present(&self, row: usize) -> bool {
        match self {
            Cells::F64(cells) => cells[row].is_some(),
            Cells::I64(cells) => cells[row].is_some(),
            Cells::Bool(cells) => cells[row].is_some(),
            Cells::Text(cells) => cells[row].is_some(),
        }
    }

    /// The value of a numeric cell.
    fn number(&self, row: usize) -> Option<f64> {
        match self {
            Cells::F64(cells) => cells[row].filter(|value| !value.is_nan()),
            Cells::I64(cells) => cells[row].map(|value| value as f64),
            _ => None,
        }
    }

    fn is_missing(&self, row: usize) -> bool {
        !self.is_present(row) || matches!(self, Cells::F64(cells) if cells[row].is_some_and(f64::is_nan))
    }

    pub fn keep_rows(&mut self, rows: &[usize]) {
        match self {
            Cells::F64(cells) => *cells = rows.iter().map(|row| cells[*row]).collect(),
            Cells::I64(cells) => *cells = rows.iter().map(|row| cells[*row]).collect(),
            Cells::Bool(cells) => *cells = rows.iter().map(|row| cells[*row]).collect(),
            Cells::Text(cells) => *cells = rows.iter().map(|row| cells[*row].take()).collect(),
        }
    }
}

/// Rows with all their columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub columns: Vec<Column>,
    pub cells: Vec<Cells>,
}

impl Batch {
    pub fn row_count(&self) -> u32 {
        self.cells.first().map_or(0, Cells::len) as u32
    }

    pub fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn cells(&self, column: u32, start: u32, count: u32) -> Result<&Cells, DataError> {
        let Some(cells) = self.cells.get(column as usize) else {
            return refuse(1, format!("there is no column number {column}"));
        };
        if u64::from(start) + u64::from(count) > cells.len() as u64 {
            return refuse(2, format!("rows {start} to {start} + {count} are outside the {} rows", cells.len()));
        }
        Ok(cells)
    }

    fn wrong<T>(&self, column: u32, expected: &str) -> Result<T, DataError> {
        let Column { name, dtype, .. } = &self.columns[column as usize];
        refuse(3, format!("column `{name}` is `{dtype}`; expected `{expected}`"))
    }

    pub fn read_f64(&self, column: u32, start: u32, count: u32) -> Result<Vec<f64>, DataError> {
        match self.cells(column, start, count)? {
            Cells::F64(cells) => Ok(cells[start as usize..][..count as usize].iter().map(|cell| cell.unwrap_or(0.0)).collect()),
            _ => self.wrong(column, "f64"),
        }
    }

    pub fn read_i64(&self, column: u32, start: u32, count: u32) -> Result<Vec<i64>, DataError> {
        match self.cells(column, start, count)? {
            Cells::I64(cells) => Ok(cells[start as usize..][..count as usize].iter().map(|cell| cell.unwrap_or(0)).collect()),
            _ => self.wrong(column, "i64"),
        }
    }

    pub fn read_text(&self, column: u32, start: u32, count: u32) -> Result<TextValues, DataError> {
        let Cells::Text(cells) = self.cells(column, start, count)? else {
            return self.wrong(column, "utf8");
        };
        let mut text = TextValues { offsets: vec![0], bytes: Vec::new() };
        for cell in &cells[start as usize..][..count as usize] {
            text.bytes.extend_from_slice(cell.as_deref().unwrap_or("").as_bytes());
            text.offsets.push(text.bytes.len() as u32);
        }
        Ok(text)
    }

    pub fn read_raw(&self, column: u32, start: u32, count: u32) -> Result<Vec<u8>, DataError> {
        match self.cells(column, start, count)? {
            Cells::Bool(cells) => Ok(cells[start as usize..][..count as usize].iter().map(|cell| u8::from(*cell == Some(true))).collect()),
            _ => self.wrong(column, "bool"),
        }
    }

    pub fn read_valid(&self, column: u32, start: u32, count: u32) -> Result<Vec<u8>, DataError> {
        let cells = self.cells(column, start, count)?;
        let valid: Vec<u8> = (start..start + count).map(|row| u8::from(cells.is_present(row as usize))).collect();
        Ok(if valid.contains(&0) { valid } else { Vec::new() })
    }
}

/// Edits to a copy of a batch.
#[derive(Debug, Default)]
pub struct Editor {
    pub edited: RefCell<Batch>,
    /// The first reason to drop each row.
    pub dropped: RefCell<Vec<Option<String>>>,
}

impl Editor {
    pub fn new(rows: &Batch) -> Editor {
        Editor { edited: RefCell::new(rows.clone()), dropped: RefCell::new(vec![None; rows.row_count() as usize]) }
    }

    fn drop_rows(&self, reason: &str, drops: impl Fn(usize) -> bool) {
        for (row, dropped) in self.dropped.borrow_mut().iter_mut().enumerate() {
            if dropped.is_none() && drops(row) {
                *dropped = Some(reason.to_owned());
            }
        }
    }

    fn numeric(&self, column: u32) -> Result<(), DataError> {
        let edited = self.edited.borrow();
        match edited.cells(column, 0, 0)? {
            Cells::F64(_) | Cells::I64(_) => Ok(()),
            _ => edited.wrong(column, "f64 or i64"),
        }
    }

    pub fn keep(&self, start: u32, mask: &[u8], reason: &str) -> Result<(), DataError> {
        let rows = self.dropped.borrow().len();
        if start as usize + mask.len() > rows {
            return refuse(2, format!("a mask of {} rows from {start} is outside the {rows} rows", mask.len()));
        }
        self.drop_rows(reason, |row| row.checked_sub(start as usize).is_some_and(|row| mask.get(row) == Some(&0)));
        Ok(())
    }

    pub fn keep_present(&self, column: u32, reason: &str) -> Result<(), DataError> {
        let edited = self.edited.borrow();
        let cells = edited.cells(column, 0, 0)?;
        self.drop_rows(reason, |row| cells.is_missing(row));
        Ok(())
    }

    pub fn keep_between(&self, column: u32, low: f64, high: f64, reason: &str) -> Result<(), DataError> {
        self.numeric(column)?;
        let edited = self.edited.borrow();
        let cells = &edited.cells[column as usize];
        self.drop_rows(reason, |row| cells.number(row).is_some_and(|value| value < low || value > high));
        Ok(())
    }

    pub fn fill_missing(&self, column: u32, value: f64) -> Result<(), DataError> {
        self.numeric(column)?;
        match &mut self.edited.borrow_mut().cells[column as usize] {
            Cells::F64(cells) => cells.iter_mut().filter(|cell| cell.is_none_or(f64::is_nan)).for_each(|cell| *cell = Some(value)),
            Cells::I64(cells) => cells.iter_mut().filter(|cell| cell.is_none()).for_each(|cell| *cell = Some(value as i64)),
            _ => {}
        }
        Ok(())
    }

    pub fn clip(&self, column: u32, low: f64, high: f64) -> Result<(), DataError> {
        self.numeric(column)?;
        match &mut self.edited.borrow_mut().cells[column as usize] {
            Cells::F64(cells) => cells.iter_mut().flatten().for_each(|value| *value = between(*value, low, high)),
            Cells::I64(cells) => cells.iter_mut().flatten().for_each(|value| *value = between(*value as f64, low, high) as i64),
            _ => {}
        }
        Ok(())
    }

    fn write<T>(
        &self,
        column: u32,
        start: u32,
        values: Vec<Option<T>>,
        of: fn(&mut Cells) -> Option<&mut Vec<Option<T>>>,
    ) -> Result<(), DataError> {
        let mut edited = self.edited.borrow_mut();
        edited.cells(column, start, values.len() as u32)?;
        let Some(cells) = of(&mut edited.cells[column as usize]) else {
            return edited.wrong(column, "the type of the values");
        };
        for (cell, value) in cells[start as usize..].iter_mut().zip(values) {
            *cell = value;
        }
        Ok(())
    }

    pub fn write_f64(&self, column: u32, start: u32, values: &[f64], valid: &[u8]) -> Result<(), DataError> {
        self.write(column, start, cells_of(values, valid)?, |cells| if let Cells::F64(cells) = cells { Some(cells) } else { None })
    }

    pub fn write_i64(&self, column: u32, start: u32, values: &[i64], valid: &[u8]) -> Result<(), DataError> {
        self.write(column, start, cells_of(values, valid)?, |cells| if let Cells::I64(cells) = cells { Some(cells) } else { None })
    }

    pub fn write_text(&self, column: u32, start: u32, values: &TextValues, valid: &[u8]) -> Result<(), DataError> {
        self.write(column, start, text_of(values, valid)?, |cells| if let Cells::Text(cells) = cells { Some(cells) } else { None })
    }

    pub fn add_column(&self, column: &Column) -> Result<u32, DataError> {
        let mut edited = self.edited.borrow_mut();
        let rows = edited.row_count() as usize;
        let cells = match Cells::empty(&column.dtype) {
            Cells::F64(_) => Cells::F64(vec![None; rows]),
            Cells::I64(_) => Cells::I64(vec![None; rows]),
            Cells::Bool(_) => Cells::Bool(vec![None; rows]),
            Cells::Text(_) => Cells::Text(vec![None; rows]),
        };
        edited.columns.push(column.clone());
        edited.cells.push(cells);
        Ok(edited.cells.len() as u32 - 1)
    }

    /// Takes the column away in name only, so that the numbers of the others stay.
    pub fn drop_column(&self, column: u32) -> Result<(), DataError> {
        let mut edited = self.edited.borrow_mut();
        edited.cells(column, 0, 0)?;
        edited.columns[column as usize].role = "dropped".into();
        Ok(())
    }
}

/// A batch in the making.
#[derive(Debug)]
pub struct Builder(RefCell<Batch>);

impl Builder {
    pub fn new(columns: &[Column]) -> Builder {
        let cells = columns.iter().map(|column| Cells::empty(&column.dtype)).collect();
        Builder(RefCell::new(Batch { columns: columns.to_vec(), cells }))
    }

    fn push<T>(&self, column: u32, values: Vec<Option<T>>, of: fn(&mut Cells) -> Option<&mut Vec<Option<T>>>) -> Result<(), DataError> {
        let mut batch = self.0.borrow_mut();
        batch.cells(column, 0, 0)?;
        match of(&mut batch.cells[column as usize]) {
            Some(cells) => cells.extend(values),
            None => return batch.wrong(column, "the type of the values"),
        }
        Ok(())
    }

    pub fn push_f64(&self, column: u32, values: &[f64], valid: &[u8]) -> Result<(), DataError> {
        self.push(column, cells_of(values, valid)?, |cells| if let Cells::F64(cells) = cells { Some(cells) } else { None })
    }

    pub fn push_i64(&self, column: u32, values: &[i64], valid: &[u8]) -> Result<(), DataError> {
        self.push(column, cells_of(values, valid)?, |cells| if let Cells::I64(cells) = cells { Some(cells) } else { None })
    }

    pub fn push_text(&self, column: u32, values: &TextValues, valid: &[u8]) -> Result<(), DataError> {
        self.push(column, text_of(values, valid)?, |cells| if let Cells::Text(cells) = cells { Some(cells) } else { None })
    }

    pub fn finish(builder: Builder) -> Result<Batch, DataError> {
        let batch = builder.0.into_inner();
        match batch.cells.iter().position(|cells| cells.len() != batch.row_count() as usize) {
            Some(odd) => refuse(4, format!("column `{}` has another length than the first", batch.columns[odd].name)),
            None => Ok(batch),
        }
    }
}

/// The nearest value in `low..=high`; NaN stays, which `f64::max` would replace.
fn between(value: f64, low: f64, high: f64) -> f64 {
    match value {
        value if value < low => low,
        value if value > high => high,
        value => value,
    }
}

fn cells_of<T: Copy>(values: &[T], valid: &[u8]) -> Result<Vec<Option<T>>, DataError> {
    if !valid.is_empty() && valid.len() != values.len() {
        return refuse(4, format!("{} validity bytes for {} values", valid.len(), values.len()));
    }
    let present = |row: usize| valid.get(row).is_none_or(|byte| *byte != 0);
    Ok(values.iter().enumerate().map(|(row, value)| present(row).then_some(*value)).collect())
}

fn text_of(values: &TextValues, valid: &[u8]) -> Result<Vec<Option<String>>, DataError> {
    let spans: Vec<(u32, u32)> = values.offsets.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let spans = cells_of(&spans, valid)?;
    let text = |(start, end): (u32, u32)| match values.bytes.get(start as usize..end as usize).map(std::str::from_utf8) {
        Some(Ok(text)) => Ok(text.to_owned()),
        Some(Err(_)) => refuse(7, "the text is not UTF-8".into()),
        None => refuse(4, "the offsets do not fit the bytes".into()),
    };
    spans.into_iter().map(|span| span.map(text).transpose()).collect()
}
