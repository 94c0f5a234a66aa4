//! Reads rows on from a cursor.

use json_rows::{Columns, Wrong};
use tidegate_plugin::{Failure, Input, Pull, Reader, log};

use crate::cursor::Cursor;
use crate::lines::Lines;
use crate::{BadLine, Config, Fault, failure};

/// Bytes of text in one batch, whatever the host allows: columns double as they grow, and all of it has to fit the plugin's memory.
const BATCH_BYTES_MAX: u64 = 32 << 20;
/// When to look again at a file that has not grown.
const RETRY_MS: u32 = 1_000;
/// The mark that some programs put before the first byte of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the rows of one input.
pub struct JsonlReader {
    config: Config,
    input: Input,
    lines: Lines,
    /// The place behind the last row returned.
    cursor: Cursor,
    /// `None` until the first row has come, unless the configuration names the columns.
    columns: Option<Columns>,
    /// Bytes of the input at the last look.
    byte_count: u64,
}

/// What became of one line.
enum Step {
    Row,
    Blank,
    Skipped(String),
    /// There is no more whole line.
    Unfinished,
}

impl JsonlReader {
    /// A reader behind `cursor`, or at the beginning.
    pub fn open(config: Config, cursor: Option<&[u8]>) -> Result<JsonlReader, Failure> {
        let input = Input::open(&config.input)?;
        let (byte_count, generation) = (input.byte_count()?, input.generation()?);
        let before = cursor.map(Cursor::from_bytes).transpose()?;
        let columns = match (&config.columns, &before) {
            (Some(names), _) => Some(Columns::selected(names.clone())),
            (None, Some(before)) if !before.columns.is_empty() => Some(Columns::all(before.columns.clone())),
            (None, _) => None,
        };
        let cursor = before.unwrap_or_else(|| Cursor::start(generation.clone()));
        let lines = Lines::new(cursor.offset);
        let reader = JsonlReader { config, input, lines, cursor, columns, byte_count };
        if reader.cursor.generation != generation || reader.cursor.offset > byte_count { Err(reader.replaced()) } else { Ok(reader) }
    }

    /// Looks at the input again.
    fn look(&mut self) -> Result<(), Failure> {
        self.byte_count = self.input.byte_count()?;
        self.is_same_input()?;
        if self.byte_count < self.lines.end() { Err(self.replaced()) } else { Ok(()) }
    }

    /// Whether what was read is of the input that is there now. While no row was returned, another one is begun with: the first
    /// line, which tells one file from another, may only just have come whole.
    fn is_same_input(&mut self) -> Result<bool, Failure> {
        let generation = self.input.generation()?;
        if generation == self.cursor.generation {
            return Ok(true);
        }
        if self.cursor.offset > 0 {
            return Err(self.replaced());
        }
        self.lines = Lines::new(0);
        self.cursor = Cursor::start(generation);
        self.columns = self.config.columns.clone().map(Columns::selected);
        Ok(false)
    }

    /// Takes the next line, or leaves everything as it was. A line without an end is taken when it is a whole object: nothing but
    /// blanks can follow a closing brace.
    fn step(&mut self) -> Result<Step, Failure> {
        let is_first = self.cursor.line == 1;
        let at_end = self.lines.end() >= self.byte_count;
        if self.lines.offset() == 0 && self.lines.next().bytes.starts_with(BYTE_ORDER_MARK) {
            self.lines.skip(BYTE_ORDER_MARK.len());
        }
        let line = self.lines.next();
        let ended = line.ended;
        if line.bytes.len() as u64 > u64::from(self.config.line_bytes_max) {
            let length = line.bytes.len();
            return Err(self.too_long(length));
        }
        let is_blank = line.bytes.iter().all(u8::is_ascii_whitespace);
        if !ended && (is_blank || !at_end || (is_first && self.config.follow)) {
            return Ok(Step::Unfinished);
        }
        let read = if is_blank { Ok(()) } else { row(line.bytes, &mut self.columns) };
        let step = match read {
            Ok(()) if is_blank => Step::Blank,
            Ok(()) => Step::Row,
            Err(Wrong::Json(_)) if !ended && self.config.follow => return Ok(Step::Unfinished),
            Err(wrong) if self.config.bad_line == BadLine::Skip => {
                self.cursor.skipped += 1;
                Step::Skipped(format!("line {}: {wrong}", self.cursor.line))
            }
            Err(wrong) => return Err(failure(Fault::Row, format!("line {} of input `{}`: {wrong}", self.cursor.line, self.config.input))),
        };
        self.lines.consume(ended);
        self.cursor.line += u64::from(ended);
        Ok(step)
    }

    /// Reads on; says whether there was more. A line that is longer than the limit is not read to its end.
    fn more(&mut self) -> Result<bool, Failure> {
        if self.lines.pending_count() as u64 > u64::from(self.config.line_bytes_max) {
            return Err(self.too_long(self.lines.pending_count()));
        }
        if self.lines.end() >= self.byte_count {
            return Ok(false);
        }
        self.lines.fill(&self.input, self.byte_count)?;
        Ok(true)
    }

    /// Fills the columns, up to `rows_max` rows; the number of rows.
    fn gather(&mut self, rows_max: u32, bytes_max: u64) -> Result<u32, Failure> {
        let (mut rows, mut skipped, mut first) = (0, 0_u64, None);
        let room = bytes_max.min(BATCH_BYTES_MAX);
        let start = self.lines.offset();
        while rows < rows_max.max(1) && (rows == 0 || self.lines.offset() - start < room) {
            let step = match self.step() {
                Ok(Step::Unfinished) => match self.more() {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => Err(error),
                },
                step => step,
            };
            match step {
                Ok(Step::Row) => rows += 1,
                Ok(Step::Blank) => {}
                Ok(Step::Skipped(why)) => {
                    skipped += 1;
                    first.get_or_insert(why);
                }
                Ok(Step::Unfinished) => break,
                // The rows before the bad line are good: they go first, and the next call comes upon the line again.
                Err(_) if rows > 0 => break,
                Err(error) => return Err(error),
            }
        }
        // Rows are never lost in silence.
        if let Some(first) = first {
            log::warn!("left out {skipped} lines that are no rows, {} so far; the first is {first}", self.cursor.skipped);
        }
        Ok(rows)
    }

    fn too_long(&self, bytes: usize) -> Failure {
        let message = format!(
            "line {} of input `{}` starts at byte {} and has {bytes} bytes or more; `line_bytes_max` is {}",
            self.cursor.line,
            self.config.input,
            self.lines.offset(),
            self.config.line_bytes_max
        );
        failure(Fault::Long, message)
    }

    fn replaced(&self) -> Failure {
        let message = format!(
            "input `{}` was replaced or cut: it is not the file whose lines up to {} are ingested already; put that file back, or give the \
             new one an input name and a pipeline of its own",
            self.config.input,
            self.cursor.line.saturating_sub(1)
        );
        failure(Fault::Replaced, message)
    }
}

/// Reads one line into the columns, which are those of the first row unless they were named.
fn row(line: &[u8], columns: &mut Option<Columns>) -> Result<(), Wrong> {
    let text = std::str::from_utf8(line).map_err(|error| Wrong::Json(format!("byte {} is not UTF-8", error.valid_up_to() + 1)))?;
    match columns {
        Some(columns) => columns.push_object(text),
        None => {
            let mut made = Columns::all(Columns::keys_of(text)?);
            if made.names().is_empty() {
                return Err(Wrong::Json("the first row has no key; name the columns with the key `columns`".into()));
            }
            made.push_object(text)?;
            *columns = Some(made);
            Ok(())
        }
    }
}

impl Reader for JsonlReader {
    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, Failure> {
        self.look()?;
        let rows = self.gather(rows_max, bytes_max)?;
        let is_same = self.is_same_input()?;
        match &mut self.columns {
            Some(columns) if rows > 0 && is_same => {
                let rows = columns.take()?;
                self.cursor.columns = columns.names().to_vec();
                self.cursor.offset = self.lines.offset();
                Ok(Pull::Rows(rows, self.cursor.to_bytes()?))
            }
            _ if self.config.follow || !is_same => Ok(Pull::Idle { retry_ms: RETRY_MS }),
            _ => Ok(Pull::Finished),
        }
    }
}
