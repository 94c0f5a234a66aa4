//! Runs a plugin's logic in ordinary unit tests, over a host in memory.
//!
//! ```
//! use tidegate_plugin::testing::{self, Table};
//! # use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues};
//! # struct Drop;
//! # impl Cleaner for Drop {
//! #     type Config = ();
//! #     fn configure((): ()) -> Result<Drop, Issues> { Ok(Drop) }
//! #     fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> { edit.keep_present(&rows.column("x")?, "missing") }
//! # }
//! let cleaned = testing::clean(&Drop, &Table::new().f64("x", [Some(1.0), None])).expect("it cleans");
//! assert_eq!(cleaned.rows, Table::new().f64("x", [Some(1.0)]));
//! assert_eq!(cleaned.dropped, [(1, "missing".to_owned())]);
//! ```

use std::collections::BTreeMap;

use crate::host::{clock, http, inputs, log, measurements, rows, state};
use crate::{Batch, Cleaner, Edit, Evaluator, Failure, Issues, Pull, Reader, Report};

/// Rows of a test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    batch: rows::Batch,
}

impl Table {
    /// No columns yet.
    pub fn new() -> Table {
        Table::default()
    }

    fn with(mut self, name: &str, dtype: &str, cells: rows::Cells) -> Table {
        self.batch.columns.push(rows::Column { name: name.into(), dtype: dtype.into(), role: "feature".into(), nullable: true });
        self.batch.cells.push(cells);
        self
    }

    /// Adds a feature of floating-point values.
    pub fn f64(self, name: &str, cells: impl IntoIterator<Item = Option<f64>>) -> Table {
        self.with(name, "f64", rows::Cells::F64(cells.into_iter().collect()))
    }

    /// Adds a feature of integers.
    pub fn i64(self, name: &str, cells: impl IntoIterator<Item = Option<i64>>) -> Table {
        self.with(name, "i64", rows::Cells::I64(cells.into_iter().collect()))
    }

    /// Adds a feature that is true or false.
    pub fn bool(self, name: &str, cells: impl IntoIterator<Item = Option<bool>>) -> Table {
        self.with(name, "bool", rows::Cells::Bool(cells.into_iter().collect()))
    }

    /// Adds a feature of text.
    pub fn text<'a>(self, name: &str, cells: impl IntoIterator<Item = Option<&'a str>>) -> Table {
        let cells = cells.into_iter().map(|cell| cell.map(str::to_owned)).collect();
        self.with(name, "utf8", rows::Cells::Text(cells))
    }

    /// Gives the column added last another role.
    pub fn role(mut self, role: &str) -> Table {
        if let Some(column) = self.batch.columns.last_mut() {
            column.role = role.into();
        }
        self
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.batch.row_count() as usize
    }

    /// Names of the columns.
    pub fn names(&self) -> Vec<&str> {
        self.batch.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The text of each row, cell by cell; `None` for a missing cell or one that is not text.
    pub fn text_rows(&self) -> Vec<Vec<Option<String>>> {
        let cell = |cells: &rows::Cells, row: usize| match cells {
            rows::Cells::Text(cells) => cells[row].clone(),
            _ => None,
        };
        (0..self.row_count()).map(|row| self.batch.cells.iter().map(|cells| cell(cells, row)).collect()).collect()
    }

    /// Lends the rows as the host would.
    pub fn lend<R>(&self, use_rows: impl FnOnce(&Batch) -> R) -> R {
        use_rows(&Batch::new(&self.batch))
    }
}

/// Reads a configuration from JSON as the host hands it over: errors and unknown keys are issues.
///
/// # Errors
/// Everything wrong with it.
pub fn config<C: serde::de::DeserializeOwned>(json: &str) -> Result<C, Issues> {
    crate::config::read(json)
}

/// What a cleaner made of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The rows that were kept, with all edits.
    pub rows: Table,
    /// Number and first reason of each row that was not.
    pub dropped: Vec<(usize, String)>,
}

/// Runs a cleaner on rows. What it keeps in its [`state`](crate::state) is kept for this thread, unless it fails.
///
/// # Errors
/// The cleaner's failure.
pub fn clean<P: Cleaner>(cleaner: &P, table: &Table) -> Result<Cleaned, Failure> {
    let editor = rows::Editor::new(&table.batch);
    let before = state::KEPT.with_borrow(Clone::clone);
    cleaner.clean(&Batch::new(&table.batch), &Edit::new(&editor)).inspect_err(|_| state::KEPT.set(before))?;
    let dropped = editor.dropped.into_inner();
    let mut batch = editor.edited.into_inner();
    let kept: Vec<usize> = (0..dropped.len()).filter(|row| dropped[*row].is_none()).collect();
    batch.cells.iter_mut().for_each(|cells| cells.keep_rows(&kept));
    let dropped = dropped.into_iter().enumerate().filter_map(|(row, reason)| Some((row, reason?))).collect();
    Ok(Cleaned { rows: Table { batch }, dropped })
}

/// What cleaners have kept in their state on this thread; it is forgotten then.
pub fn take_state() -> BTreeMap<Vec<u8>, Vec<u8>> {
    state::KEPT.take()
}

/// Terms of one metric, one a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Terms {
    /// Values.
    Mean(Vec<f64>),
    /// Numerators and denominators.
    Ratio(Vec<f64>, Vec<f64>),
    /// Which quantile, of which values.
    Quantile(f64, Vec<f64>),
    /// Values and labels.
    Ranking(Vec<f64>, Vec<u8>),
    /// A number and how many rows it was made from.
    Opaque(f64, u64),
}

/// What an evaluator told: terms by metric and class, the class being empty where there is none.
pub type Told = BTreeMap<(String, String), Terms>;

/// Runs an evaluator on scored rows.
///
/// # Errors
/// The evaluator's failure.
pub fn evaluate<P: Evaluator>(evaluator: &P, table: &Table) -> Result<Told, Failure> {
    let report = measurements::Report { rows: table.row_count(), ..Default::default() };
    evaluator.evaluate(&Batch::new(&table.batch), &Report::new(&report))?;
    Ok(report.told.into_inner().into_iter().map(|(metric, class, terms)| ((metric, class), terms)).collect())
}

/// What a reader had.
#[derive(Debug, Clone, PartialEq)]
pub enum Pulled {
    /// Rows, and the cursor behind them.
    Rows(Table, Vec<u8>),
    /// Nothing now, ask again after so many milliseconds.
    Idle(u32),
    /// Nothing ever again.
    Finished,
}

/// Asks a reader for rows.
///
/// # Errors
/// The reader's failure.
pub fn next<R: Reader>(reader: &mut R, rows_max: u32, bytes_max: u64) -> Result<Pulled, Failure> {
    Ok(match reader.next(rows_max, bytes_max)? {
        Pull::Rows(builder, cursor) => Pulled::Rows(Table { batch: builder.finish()? }, cursor),
        Pull::Idle { retry_ms } => Pulled::Idle(retry_ms),
        Pull::Finished => Pulled::Finished,
    })
}

/// A byte stream that the test lends and can change. It is lent to this thread until it is dropped.
pub struct Lent {
    name: String,
    stream: inputs::Shared,
}

/// Lends `bytes` under `name`.
pub fn lend(name: &str, bytes: impl Into<Vec<u8>>) -> Lent {
    let stream = inputs::Shared::default();
    stream.borrow_mut().bytes = bytes.into();
    inputs::LENT.with_borrow_mut(|lent| lent.insert(name.to_owned(), stream.clone()));
    Lent { name: name.to_owned(), stream }
}

impl Lent {
    /// Lets the stream grow.
    pub fn append(&self, bytes: impl AsRef<[u8]>) {
        self.stream.borrow_mut().bytes.extend_from_slice(bytes.as_ref());
    }

    /// Puts other bytes in its place: it has another generation then.
    pub fn replace(&self, bytes: impl Into<Vec<u8>>) {
        let mut stream = self.stream.borrow_mut();
        stream.bytes = bytes.into();
        stream.generation += 1;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        inputs::LENT.with_borrow_mut(|lent| lent.remove(&self.name));
    }
}

/// The log lines that this thread has written, each as `level: message`; they are forgotten then.
pub fn log_lines() -> Vec<String> {
    let lines = log::LINES.take();
    lines.into_iter().map(|(level, message)| format!("{}: {message}", format!("{level:?}").to_lowercase())).collect()
}

/// Sets the clock of this thread, in microseconds since 1970.
pub fn set_clock(now_us: i64) {
    clock::NOW_US.set(now_us);
}

/// Queues the answer to the next request of this thread that has none yet.
pub fn answer(response: crate::http::Response) {
    let headers = response.headers.into_iter().map(|(name, value)| http::Header { name, value }).collect();
    let response = http::Response { status: response.status, headers, body: response.body };
    http::ANSWERS.with_borrow_mut(|answers| answers.push_back(response));
}

/// The requests that this thread has sent, oldest first; they are forgotten then.
pub fn requests() -> Vec<crate::http::Request> {
    let sent = http::SENT.take().into_iter();
    sent.map(|request| crate::http::Request {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: request.body,
        secret: request.secret,
    })
    .collect()
}
