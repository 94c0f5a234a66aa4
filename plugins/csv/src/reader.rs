//! Reads rows on from a cursor.

use tidegate_plugin::{BatchBuilder, Failure, Input, NewColumn, Pull, Reader, TextBuilder, log};

use crate::cursor::Cursor;
use crate::fault::{Fault, check_names, failure};
use crate::window::{Found, Row, Window, Written};
use crate::{Csv, InvalidUtf8, WrongWidth};

/// Bytes of text in one batch, whatever the host allows: columns double as they grow, and all of it has to fit the plugin's memory.
const BATCH_BYTES_MAX: u64 = 32 << 20;
/// What a cell costs beside its text: an offset and a validity byte.
const CELL_BYTES: u64 = 5;
/// When to look again at a file that has not grown.
const RETRY_MS: u32 = 1_000;
/// The mark that some programs put before the first byte of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the rows of one input.
pub struct CsvReader {
    csv: Csv,
    input: Input,
    window: Window,
    /// The place behind the last row returned, but for its offset: that is the window's.
    cursor: Cursor,
    /// Names of the columns; empty until the header has come.
    names: Vec<String>,
    columns: Vec<TextBuilder>,
    /// Bytes of the input at the last look.
    byte_count: u64,
    /// Bytes of the input when it was last told that its last line is not whole.
    told: u64,
}

/// What became of one try for a row.
enum Step {
    Taken,
    /// A row of the wrong width: its line and its number of cells.
    Skipped(u64, usize),
    /// The rest of the window is no whole row.
    Unfinished,
}

impl CsvReader {
    /// A reader behind `cursor`, or at the beginning.
    pub fn open(csv: Csv, cursor: Option<&[u8]>) -> Result<CsvReader, Failure> {
        let input = Input::open(&csv.config.input)?;
        let (byte_count, generation) = (input.byte_count()?, input.generation()?);
        let before = cursor.map(Cursor::from_bytes).transpose()?;
        let window = Window::new(csv.delimiter, csv.quote, 0);
        let names = if csv.config.header { Vec::new() } else { csv.config.columns.clone().unwrap_or_default() };
        let columns = vec![TextBuilder::new(); names.len()];
        let mut reader = CsvReader { csv, input, window, cursor: Cursor::start(generation), names, columns, byte_count, told: 0 };
        if let Some(before) = before {
            reader.resume(before)?;
        }
        Ok(reader)
    }

    /// Goes to where `before` left off, in the very file that it is about.
    fn resume(&mut self, before: Cursor) -> Result<(), Failure> {
        if before.generation != self.cursor.generation || before.offset > self.byte_count {
            return Err(self.replaced(&before));
        }
        if self.csv.config.header && (!self.read_header()? || self.cursor.header != before.header) {
            let message = format!(
                "the header of input `{}` was `{}` and is `{}`; give the new file an input name of its own",
                self.csv.config.input,
                before.header.join(","),
                self.cursor.header.join(",")
            );
            return Err(failure(Fault::Header, message));
        }
        self.window = Window::new(self.csv.delimiter, self.csv.quote, before.offset);
        self.cursor = before;
        Ok(())
    }

    /// Reads the header if it has come whole; says whether it has.
    fn read_header(&mut self) -> Result<bool, Failure> {
        if self.window.offset() == 0 {
            self.fill_to(BYTE_ORDER_MARK.len())?;
            if self.window.pending().starts_with(BYTE_ORDER_MARK) {
                self.window.skip(BYTE_ORDER_MARK.len());
            }
        }
        let (row, cells) = loop {
            let mut cells = Vec::new();
            match self.window.row(self.ends_here(), |_, cell| cells.push(cell)).map_err(|error| self.on_line(error))? {
                Found::Row(row) if row.blank && self.window.byte_count(&row) > 0 => {
                    self.window.consume(&row);
                    self.cursor.line += row.lines;
                }
                Found::Row(row) if row.blank => return Ok(false),
                Found::Row(row) => break (row, cells),
                Found::Unfinished if self.more()? => {}
                Found::Unfinished => return Ok(false),
            }
        };
        self.check_row(&row)?;
        let text = |cell: crate::window::Cell| self.cell_text(cell.start, cell.end, cell.written);
        let header: Vec<String> = cells.into_iter().map(text).collect();
        let names = match &self.csv.config.columns {
            Some(columns) if columns.len() != header.len() => {
                let message = format!("the header names {} columns, `columns` names {}", header.len(), columns.len());
                return Err(failure(Fault::Header, message));
            }
            Some(columns) => columns.clone(),
            None => header.clone(),
        };
        if let Some(why) = check_names(&names) {
            let message = format!("line {}: {why}; name the columns with the key `columns`", self.cursor.line);
            return Err(failure(Fault::Header, message));
        }
        self.window.consume(&row);
        self.cursor.line += row.lines;
        self.cursor.header = header;
        self.columns = vec![TextBuilder::new(); names.len()];
        self.names = names;
        Ok(true)
    }

    /// Looks at the input again; says whether it has as many bytes as at the last look.
    fn look(&mut self) -> Result<bool, Failure> {
        let before = self.byte_count;
        self.byte_count = self.input.byte_count()?;
        self.check_generation()?;
        if self.byte_count < self.window.end() {
            return Err(self.replaced(&self.cursor));
        }
        Ok(self.byte_count == before)
    }

    fn check_generation(&self) -> Result<(), Failure> {
        if self.input.generation()? == self.cursor.generation { Ok(()) } else { Err(self.replaced(&self.cursor)) }
    }

    /// Skips the line end that the last row did not have; says whether the next row can be looked for.
    fn close_open_end(&mut self) -> Result<bool, Failure> {
        if !self.cursor.open_end {
            return Ok(true);
        }
        self.fill_to(2)?;
        let count = match self.window.pending() {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [] | [b'\r'] => return Ok(false),
            _ => {
                let message = format!(
                    "line {} was taken as complete at byte {}, where input `{}` ended without a line end, but the line goes on; have the \
                     writer end its lines before they can be read, and ingest that row again",
                    self.cursor.line - 1,
                    self.window.offset(),
                    self.csv.config.input
                );
                return Err(failure(Fault::Torn, message));
            }
        };
        self.window.skip(count);
        self.cursor.open_end = false;
        Ok(true)
    }

    /// Whether the file ends for good where it ends now, and all of it is in the window.
    fn ends_here(&self) -> bool {
        !self.csv.config.follow && self.window.end() == self.byte_count
    }

    /// Reads on; says whether there was more. A row that is longer than the limit is not read to its end.
    fn more(&mut self) -> Result<bool, Failure> {
        let pending = self.window.pending().len() as u64;
        if pending > u64::from(self.csv.config.line_bytes_max) {
            return Err(self.too_long(pending));
        }
        if self.window.end() >= self.byte_count {
            return Ok(false);
        }
        self.window.fill(&self.input, self.byte_count)?;
        Ok(true)
    }

    fn fill_to(&mut self, count: usize) -> Result<(), Failure> {
        while self.window.pending().len() < count && self.window.end() < self.byte_count {
            self.window.fill(&self.input, self.byte_count)?;
        }
        Ok(())
    }

    /// Takes the next row into the columns, or leaves everything as it was.
    fn step(&mut self, at_end: bool) -> Result<Step, Failure> {
        let (width, columns, bytes) = (self.names.len(), &mut self.columns, self.window.bytes());
        let quote = self.csv.quote.unwrap_or(b'"');
        let rows = columns.first().map_or(0, TextBuilder::len);
        let found = self.window.row(at_end, |number, cell| {
            let Some(column) = columns.get_mut(number) else { return };
            match cell.written {
                Written::Plain if cell.start == cell.end => column.push_missing(),
                Written::Plain | Written::Quoted => column.push_within(bytes, cell.start, cell.end),
                Written::Doubled => column.push_utf8(&undoubled(&bytes[cell.start..cell.end], quote)),
            }
        });
        let row = match found {
            Ok(Found::Row(row)) if row.cells == width || row.blank => row,
            Ok(Found::Row(row)) => {
                self.forget_from(rows);
                return self.wrong_width(&row);
            }
            Ok(Found::Unfinished) => {
                self.forget_from(rows);
                return Ok(Step::Unfinished);
            }
            Err(error) => {
                self.forget_from(rows);
                return Err(self.on_line(error));
            }
        };
        if row.blank && width > 1 {
            self.forget_from(rows);
        } else if let Err(error) = self.check_row(&row) {
            self.forget_from(rows);
            return Err(error);
        } else if self.window.invalid(&row).is_some() {
            self.forget_from(rows);
            self.take_lossy(at_end)?;
        }
        self.pass(&row);
        Ok(Step::Taken)
    }

    fn pass(&mut self, row: &Row) {
        let invalid = self.window.invalid(row).is_some();
        self.window.consume(row);
        self.cursor.line += row.lines;
        if invalid {
            self.window.check_on();
        }
    }

    /// Takes a row that holds bytes which are not UTF-8.
    fn take_lossy(&mut self, at_end: bool) -> Result<(), Failure> {
        let mut cells = Vec::new();
        self.window.row(at_end, |_, cell| cells.push(cell))?;
        for (number, cell) in cells.into_iter().enumerate() {
            if cell.written == Written::Plain && cell.start == cell.end {
                self.columns[number].push_missing();
            } else {
                let text = self.cell_text(cell.start, cell.end, cell.written);
                self.columns[number].push(&text);
            }
        }
        Ok(())
    }

    /// Refuses a row that is too long or, unless they are to be replaced, holds bytes which are not UTF-8.
    fn check_row(&self, row: &Row) -> Result<(), Failure> {
        let length = self.window.byte_count(row) as u64;
        if length > u64::from(self.csv.config.line_bytes_max) {
            return Err(self.too_long(length));
        }
        match self.window.invalid(row) {
            Some(byte) if self.csv.config.invalid_utf8 == InvalidUtf8::Refuse => {
                let message = format!(
                    "line {}: byte {byte} of input `{}` is not UTF-8; convert the file, or set `invalid_utf8 = \"replace\"`",
                    self.cursor.line, self.csv.config.input
                );
                Err(failure(Fault::Encoding, message))
            }
            _ => Ok(()),
        }
    }

    fn wrong_width(&mut self, row: &Row) -> Result<Step, Failure> {
        let line = self.cursor.line;
        if self.csv.config.wrong_width == WrongWidth::Refuse {
            let message = format!(
                "line {line} has {} cells, expected {}; correct the line, or set `wrong_width = \"skip\"`",
                row.cells,
                self.names.len()
            );
            return Err(failure(Fault::Width, message));
        }
        self.cursor.skipped += 1;
        self.pass(row);
        Ok(Step::Skipped(line, row.cells))
    }

    fn forget_from(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn cell_text(&self, start: usize, end: usize, written: Written) -> String {
        let bytes = &self.window.bytes()[start..end];
        match (written, self.csv.quote) {
            (Written::Doubled, Some(quote)) => String::from_utf8_lossy(&undoubled(bytes, quote)).into_owned(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// Fills the columns, up to `rows_max` rows; the number of rows.
    fn gather(&mut self, rows_max: u32, bytes_max: u64, stable: bool) -> Result<u32, Failure> {
        let (mut rows, mut used, mut skipped) = (0, 0, Skipped::default());
        let room = bytes_max.min(BATCH_BYTES_MAX);
        while rows < rows_max.max(1) && (rows == 0 || used < room) {
            let (offset, before) = (self.window.offset(), self.columns[0].len());
            let step = match self.step(false) {
                Ok(Step::Unfinished) => match self.more() {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => Err(error),
                },
                step => step,
            };
            match step {
                Ok(Step::Taken) => rows += (self.columns[0].len() - before) as u32,
                Ok(Step::Skipped(line, cells)) => skipped.add(line, cells),
                Ok(Step::Unfinished) => break,
                // The rows before the bad line are good: they go first, and the next call comes upon the line again.
                Err(_) if rows > 0 => break,
                Err(error) => return Err(error),
            }
            used += self.window.offset() - offset + CELL_BYTES * self.names.len() as u64;
        }
        if rows == 0 {
            rows = self.take_tail(stable)?;
        }
        skipped.log(self.names.len(), self.cursor.skipped);
        Ok(rows)
    }

    /// Takes a last line without a line end, if it can be told that it is whole: the file does not grow, or it has every cell and the file
    /// had as many bytes at the look before.
    fn take_tail(&mut self, stable: bool) -> Result<u32, Failure> {
        if self.window.pending().is_empty() || self.window.end() < self.byte_count {
            return Ok(0);
        }
        if self.csv.config.follow && !(stable && self.tail_is_whole()) {
            if stable && self.told != self.byte_count {
                log::info!("line {} has no line end and does not look whole; it is read when it does", self.cursor.line);
                self.told = self.byte_count;
            }
            return Ok(0);
        }
        let before = self.columns[0].len();
        let step = self.step(true)?;
        if let Step::Unfinished = step {
            let message = format!("line {}: a quote is opened and never closed", self.cursor.line);
            return Err(failure(Fault::Quote, message));
        }
        self.cursor.open_end = true;
        Ok((self.columns[0].len() - before) as u32)
    }

    fn tail_is_whole(&self) -> bool {
        let mut last = None;
        let row = match self.window.row(true, |_, cell| last = Some(cell)) {
            Ok(Found::Row(row)) => row,
            _ => return false,
        };
        // Behind a delimiter a cell is about to come, a carriage return is half a line end, and half a character is half a cell.
        let empty = last.is_some_and(|cell| cell.written == Written::Plain && cell.start == cell.end);
        !empty && row.cells == self.names.len() && self.window.invalid(&row).is_none() && !self.window.pending().ends_with(b"\r")
    }

    fn finish(&mut self) -> Result<Pull, Failure> {
        let mut rows = BatchBuilder::new(self.names.iter().map(NewColumn::text));
        for (number, column) in (0..).zip(&mut self.columns) {
            rows.append_text(number, column)?;
            column.clear();
        }
        self.cursor.offset = self.window.offset();
        Ok(Pull::Rows(rows, self.cursor.to_bytes()?))
    }

    /// Bytes of the file in memory.
    #[cfg(test)]
    pub(crate) fn window_bytes(&self) -> usize {
        self.window.bytes().len()
    }

    fn on_line(&self, error: Failure) -> Failure {
        Failure { message: format!("line {}: {}", self.cursor.line, error.message), ..error }
    }

    fn too_long(&self, bytes: u64) -> Failure {
        let quote = match (self.csv.quote, self.window.pending().first()) {
            (Some(quote), Some(first)) if quote == *first => "; the quote that it starts with may never be closed",
            _ => "",
        };
        let message = format!(
            "line {} of input `{}` starts at byte {} and has {bytes} bytes or more; `line_bytes_max` is {}{quote}",
            self.cursor.line,
            self.csv.config.input,
            self.window.offset(),
            self.csv.config.line_bytes_max
        );
        failure(Fault::Long, message)
    }

    fn replaced(&self, before: &Cursor) -> Failure {
        let message = format!(
            "input `{}` was replaced or cut: it is not the file whose lines up to {} are ingested already; put that file back, or give the \
             new one an input name and a pipeline of its own",
            self.csv.config.input,
            before.line - 1
        );
        failure(Fault::Replaced, message)
    }
}

impl Reader for CsvReader {
    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, Failure> {
        let stable = self.look()?;
        let idle = if self.csv.config.follow { Pull::Idle { retry_ms: RETRY_MS } } else { Pull::Finished };
        if (self.names.is_empty() && !self.read_header()?) || !self.close_open_end()? {
            return Ok(idle);
        }
        let rows = self.gather(rows_max, bytes_max, stable)?;
        // What was read belongs to the generation of the cursor only if it is the same still.
        self.check_generation()?;
        if rows > 0 { self.finish() } else { Ok(idle) }
    }
}

/// The text of a quoted cell: of two quotes, one.
fn undoubled(bytes: &[u8], quote: u8) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut after_quote = false;
    for byte in bytes {
        after_quote = *byte == quote && !after_quote;
        if !after_quote || *byte != quote {
            text.push(*byte);
        }
    }
    text
}

/// Lines that were left out in one call.
#[derive(Default)]
struct Skipped {
    count: u64,
    first: Option<(u64, usize)>,
}

impl Skipped {
    fn add(&mut self, line: u64, cells: usize) {
        self.count += 1;
        self.first.get_or_insert((line, cells));
    }

    /// Rows are never lost in silence.
    fn log(&self, width: usize, total: u64) {
        if let Some((line, cells)) = self.first {
            let count = self.count;
            log::warn!(
                "left out {count} lines of the wrong width, {total} so far; the first is line {line} with {cells} cells, expected {width}"
            );
        }
    }
}
