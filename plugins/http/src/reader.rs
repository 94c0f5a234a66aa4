//! Reads rows on from a cursor.

use json_rows::Columns;
use tidegate_plugin::{Failure, Pull, Reader, log};

use crate::cursor::{Cursor, Mark, Taken};
use crate::document::{Document, bare};
use crate::exchange::{Fetched, fetch};
use crate::{Config, Fault, delimited, failure};

/// Bytes of text in one batch, whatever the host allows: columns double as they grow, and all of it has to fit the plugin's memory.
const BATCH_BYTES_MAX: u64 = 32 << 20;
/// Pages without a new row that one call passes through.
const PAGES_MAX: u32 = 100;

/// Reads the rows behind one address.
pub struct HttpReader {
    config: Config,
    /// The place behind the last row returned.
    cursor: Cursor,
    /// The document at hand, until all of it was taken.
    document: Option<Document>,
    /// Whether all that was there is taken, so that the next look waits its time.
    is_done: bool,
    columns: Option<Columns>,
    /// For each column, which cell of a delimited record it is.
    cells: Vec<usize>,
}

impl HttpReader {
    /// A reader behind `cursor`, or at the beginning.
    pub fn open(config: Config, cursor: Option<&[u8]>) -> Result<HttpReader, Failure> {
        let cursor = cursor.map(Cursor::from_bytes).transpose()?.unwrap_or_else(Cursor::start);
        Ok(HttpReader { config, cursor, document: None, is_done: false, columns: None, cells: Vec::new() })
    }

    /// Fetches the document of the cursor; `false` when nothing is new in it.
    fn look(&mut self) -> Result<bool, Failure> {
        let Fetched::Body(body, mark) = fetch(&self.config, self.cursor.page.as_deref(), &self.cursor.mark)? else { return Ok(false) };
        let mut document = Document::read(&self.config, body, mark)?;
        if !document.resume(self.cursor.taken) {
            if self.config.pages.is_some() {
                let page = self.cursor.page.as_deref().unwrap_or("the first");
                let message = format!("the {} rows taken of page `{page}` of `{}` changed", self.cursor.taken.rows, bare(&self.config.url));
                return Err(failure(Fault::Replaced, message));
            }
            log::info!(
                "the document was replaced: the {} rows taken of it are not its first any more, so all are taken",
                self.cursor.taken.rows
            );
            self.cursor.taken = Taken::NOTHING;
        }
        self.columns_of(&document)?;
        self.document = Some(document);
        Ok(true)
    }

    /// Settles the columns, once there is a record or a header to tell them.
    fn columns_of(&mut self, document: &Document) -> Result<(), Failure> {
        let known = if self.cursor.columns.is_empty() { None } else { Some(self.cursor.columns.clone()) };
        if let Some(header) = &document.header {
            let names = self.config.columns.clone().or(known).unwrap_or_else(|| header.clone());
            if let Some(why) = json_rows::check_names(&names) {
                return Err(self.of_document(format!("has no usable header: {why}")));
            }
            let cell = |name: &String| header.iter().position(|found| found == name);
            self.cells = match names.iter().map(cell).collect::<Option<Vec<usize>>>() {
                Some(cells) if self.config.columns.is_some() || cells.len() == header.len() => cells,
                _ => {
                    let message = format!("has the header `{}`, expected `{}`; set `columns`", header.join(","), names.join(","));
                    return Err(self.of_document(message));
                }
            };
            self.columns = Some(Columns::selected(names));
        } else if self.columns.is_none() {
            self.columns = match (&self.config.columns, known, document.peek()) {
                (Some(names), ..) => Some(Columns::selected(names.clone())),
                (None, Some(names), _) => Some(Columns::all(names)),
                (None, None, Some(record)) => {
                    let names = Columns::keys_of(record).map_err(|wrong| self.of_record(0, &wrong.to_string()))?;
                    Some(Columns::all(names))
                }
                (None, None, None) => None,
            };
        }
        Ok(())
    }

    /// Takes records into the columns; the number of rows.
    fn gather(&mut self, rows_max: u32, bytes_max: u64) -> Result<u32, Failure> {
        let (Some(document), Some(columns)) = (&mut self.document, &mut self.columns) else { return Ok(0) };
        let room = bytes_max.min(BATCH_BYTES_MAX);
        let mut rows = 0;
        while rows < rows_max.max(1) && (rows == 0 || (columns.byte_count() as u64) < room) {
            let Some(record) = document.peek() else { break };
            let pushed = match &document.header {
                None => columns.push_object(record).map_err(|wrong| wrong.to_string()),
                Some(header) => push_cells(columns, record, header.len(), &self.cells),
            };
            match pushed {
                Ok(()) => document.take(),
                // The rows before the bad record are good: they go first, and the next call comes upon it again.
                Err(_) if rows > 0 => break,
                Err(why) => {
                    let index = document.taken.rows;
                    return Err(self.of_record(index, &why));
                }
            }
            rows += 1;
        }
        Ok(rows)
    }

    /// Leaves a document of which all was taken; `true` when there is a next page.
    fn leave(&mut self) -> bool {
        let Some(document) = self.document.take() else { return false };
        match document.next {
            Some(next) if self.cursor.page.as_deref() != Some(next.as_str()) => {
                (self.cursor.page, self.cursor.taken, self.cursor.mark) = (Some(next), Taken::NOTHING, Mark::default());
                true
            }
            _ => {
                self.cursor.taken = document.taken;
                self.cursor.mark = document.mark;
                self.is_done = true;
                false
            }
        }
    }

    fn of_document(&self, why: String) -> Failure {
        failure(Fault::Document, format!("the answer of `{}` {why}", bare(&self.config.url)))
    }

    fn of_record(&self, index: u64, why: &str) -> Failure {
        let page = self.cursor.page.as_ref().map_or(String::new(), |page| format!(" of page `{page}`"));
        failure(Fault::Row, format!("record {}{page} of `{}`: {why}", index + 1, bare(&self.config.url)))
    }
}

fn push_cells(columns: &mut Columns, record: &str, width: usize, cells: &[usize]) -> Result<(), String> {
    let found = delimited::cells(record)?;
    if found.len() != width {
        return Err(format!("it has {} cells, expected {width}", found.len()));
    }
    columns.push_cells(cells.iter().map(|cell| found[*cell].clone()));
    Ok(())
}

impl Reader for HttpReader {
    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, Failure> {
        for _ in 0..PAGES_MAX {
            if self.document.is_none() && (std::mem::take(&mut self.is_done) || !self.look()?) {
                break;
            }
            let rows = self.gather(rows_max, bytes_max)?;
            let document = self.document.as_ref().map(|document| (document.taken, document.peek().is_none()));
            let Some((taken, is_all)) = document else { break };
            self.cursor.taken = taken;
            self.cursor.columns = self.columns.as_ref().map_or_else(Vec::new, |columns| columns.names().to_vec());
            let leads_on = is_all && self.leave();
            if let (true, Some(columns)) = (rows > 0, &mut self.columns) {
                return Ok(Pull::Rows(columns.take()?, self.cursor.to_bytes()?));
            }
            if !leads_on {
                self.is_done = false;
                break;
            }
        }
        Ok(if self.config.follow { Pull::Idle { retry_ms: self.config.poll_ms } } else { Pull::Finished })
    }
}
