//! The part of the file in memory, and the rows in it.

use tidegate_plugin::{Failure, Input};

use crate::fault::{Fault, failure};
use crate::marks;

/// Bytes of one read.
pub const READ_BYTES: u32 = 2 << 20;

/// Bytes of the input from `base` on. Rows before `at` are done with.
pub struct Window {
    delimiter: u8,
    quote: Option<u8>,
    bytes: Vec<u8>,
    base: u64,
    at: usize,
    /// Positions of delimiters, line ends and quotes from `at` on.
    marks: Vec<u32>,
    mark: usize,
    /// The bytes before this are UTF-8.
    checked: usize,
}

/// One cell of a row: a range of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// First byte, behind the opening quote.
    pub start: usize,
    /// Behind the last byte, before the closing quote.
    pub end: usize,
    /// How it was written.
    pub written: Written,
}

/// How a cell was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Without quotes.
    Plain,
    /// In quotes, with none inside.
    Quoted,
    /// In quotes, with doubled quotes inside.
    Doubled,
}

/// What a look for a row found. Nothing is consumed before [`Window::consume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A row.
    Row(Row),
    /// The window ends before the row does.
    Unfinished,
}

/// The extent of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Number of cells.
    pub cells: usize,
    /// Line ends in it, its own among them.
    pub lines: u64,
    /// Whether it is an empty line.
    pub blank: bool,
    end: usize,
    mark: usize,
}

impl Window {
    /// A window that starts at byte `base`.
    pub fn new(delimiter: u8, quote: Option<u8>, base: u64) -> Window {
        Window { delimiter, quote, bytes: Vec::new(), base, at: 0, marks: Vec::new(), mark: 0, checked: 0 }
    }

    /// The byte of the input at which the next row starts.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The byte of the input behind the window.
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes that are not consumed.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// All bytes, for the ranges of cells.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads on, at most to byte `end` of the input, and forgets what is consumed.
    pub fn fill(&mut self, input: &Input, end: u64) -> Result<(), Failure> {
        let count = u64::from(READ_BYTES).min(end - self.end()) as u32;
        let read = input.read(self.end(), count)?;
        if read.is_empty() {
            let message = format!("reading {count} bytes at {} gave none though the input has {end}", self.end());
            return Err(failure(Fault::Replaced, message));
        }
        let read_bytes = read.len();
        self.base += self.at as u64;
        self.checked = self.checked.saturating_sub(self.at);
        if self.at == self.bytes.len() {
            self.marks.clear();
            self.bytes = read;
        } else {
            self.marks.drain(..self.mark);
            self.marks.iter_mut().for_each(|mark| *mark -= self.at as u32);
            self.bytes.drain(..self.at);
            self.bytes.extend_from_slice(&read);
        }
        let fresh = self.bytes.len() - read_bytes;
        self.at = 0;
        self.mark = 0;
        marks::find(&self.bytes, fresh, [self.delimiter, b'\n', self.quote.unwrap_or(b'\n')], &mut self.marks);
        self.checked += match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        Ok(())
    }

    /// Skips bytes between rows.
    pub fn skip(&mut self, count: usize) {
        self.at += count;
        while self.marks.get(self.mark).is_some_and(|mark| (*mark as usize) < self.at) {
            self.mark += 1;
        }
        self.checked = self.checked.max(self.at);
    }

    /// Looks for the next row and tells its cells to `on_cell`, which gets the cell's number. With `at_end` the window's end ends the row.
    #[inline]
    pub fn row(&self, at_end: bool, mut on_cell: impl FnMut(usize, Cell)) -> Result<Found, Failure> {
        let (mut start, mut mark, mut cells, mut lines) = (self.at, self.mark, 0, 0);
        loop {
            let quoted = self.quote.is_some() && self.bytes.get(start).copied() == self.quote;
            let (cell, next) = if quoted {
                match self.quoted(start, &mut mark, &mut lines, at_end)? {
                    Some(found) => found,
                    None => return Ok(Found::Unfinished),
                }
            } else {
                match self.plain(start, &mut mark, at_end) {
                    Some(found) => found,
                    None => return Ok(Found::Unfinished),
                }
            };
            on_cell(cells, cell);
            cells += 1;
            match next {
                Next::Cell(at) => start = at,
                Next::End(end) => {
                    let blank = cells == 1 && cell.written == Written::Plain && cell.start == cell.end;
                    return Ok(Found::Row(Row { cells, lines: lines + 1, blank, end, mark }));
                }
            }
        }
    }

    /// Goes behind `row`.
    pub fn consume(&mut self, row: &Row) {
        self.at = row.end;
        self.mark = row.mark;
    }

    /// Bytes of `row`, the next one, with its line end.
    pub fn byte_count(&self, row: &Row) -> usize {
        row.end - self.at
    }

    /// The byte of the input at which `row`, the next one, stops being UTF-8.
    pub fn invalid(&self, row: &Row) -> Option<u64> {
        (row.end > self.checked).then(|| self.base + self.checked.max(self.at) as u64)
    }

    /// Takes the rows before the next one as checked, whatever is in them, and checks on from there.
    pub fn check_on(&mut self) {
        if self.checked < self.at {
            self.checked = self.at;
            self.checked += match std::str::from_utf8(&self.bytes[self.at..]) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
        }
    }

    #[inline]
    fn plain(&self, start: usize, mark: &mut usize, at_end: bool) -> Option<(Cell, Next)> {
        let at = loop {
            let Some(&at) = self.marks.get(*mark) else {
                return at_end.then(|| self.last_cell(start));
            };
            *mark += 1;
            // A quote inside a cell that did not start with one is text, as everyone reads it.
            if self.quote.is_none_or(|quote| self.bytes[at as usize] != quote) {
                break at as usize;
            }
        };
        if self.bytes[at] == self.delimiter {
            return Some((Cell { start, end: at, written: Written::Plain }, Next::Cell(at + 1)));
        }
        let end = if at > start && self.bytes[at - 1] == b'\r' { at - 1 } else { at };
        Some((Cell { start, end, written: Written::Plain }, Next::End(at + 1)))
    }

    fn last_cell(&self, start: usize) -> (Cell, Next) {
        let all = self.bytes.len();
        let end = if all > start && self.bytes[all - 1] == b'\r' { all - 1 } else { all };
        (Cell { start, end, written: Written::Plain }, Next::End(all))
    }

    #[inline(never)]
    fn quoted(&self, open: usize, mark: &mut usize, lines: &mut u64, at_end: bool) -> Result<Option<(Cell, Next)>, Failure> {
        let mut written = Written::Quoted;
        // The mark at hand is the opening quote.
        *mark += 1;
        let close = loop {
            let Some(&at) = self.marks.get(*mark) else { return Ok(None) };
            let at = at as usize;
            *mark += 1;
            if self.bytes[at] == b'\n' {
                *lines += 1;
            }
            if Some(self.bytes[at]) != self.quote {
                continue;
            }
            if self.bytes.get(at + 1).copied() != self.quote {
                break at;
            }
            written = Written::Doubled;
            *mark += 1;
        };
        let cell = Cell { start: open + 1, end: close, written };
        let after = close + 1;
        let next = match (self.bytes.get(after), self.bytes.get(after + 1)) {
            (Some(b'\n'), _) => Next::End(after + 1),
            (Some(b'\r'), Some(b'\n')) => Next::End(after + 2),
            (Some(byte), _) if *byte == self.delimiter => Next::Cell(after + 1),
            (None, _) | (Some(b'\r'), None) if !at_end => return Ok(None),
            (None, _) | (Some(b'\r'), None) => return Ok(Some((cell, Next::End(self.bytes.len())))),
            (Some(_), _) => {
                let message = format!(
                    "a quoted cell ends at byte {} but more text follows; expected a delimiter or a line end",
                    self.base + close as u64
                );
                return Err(failure(Fault::Quote, message));
            }
        };
        *mark += 1;
        Ok(Some((cell, next)))
    }
}

enum Next {
    Cell(usize),
    End(usize),
}
