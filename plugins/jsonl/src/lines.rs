//! The part of the file in memory, line by line.

use tidegate_plugin::{Failure, Input};

use crate::{Fault, failure};

/// Bytes of one read.
const READ_BYTES: u32 = 2 << 20;

/// Bytes of the input from `base` on. Lines before `at` are done with.
pub struct Lines {
    bytes: Vec<u8>,
    base: u64,
    at: usize,
    /// Between `at` and here there is no line end.
    searched: usize,
}

/// A line of the window, or what there is of one.
pub struct Line<'a> {
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
    /// Whether it has a line end.
    pub ended: bool,
}

impl Lines {
    /// A window that starts at byte `base`.
    pub fn new(base: u64) -> Lines {
        Lines { bytes: Vec::new(), base, at: 0, searched: 0 }
    }

    /// The byte of the input at which the next line starts.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The byte of the input behind the window.
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Bytes of the next line, as far as they are in memory.
    pub fn pending_count(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next line; without its end when the window ends first.
    pub fn next(&mut self) -> Line<'_> {
        match self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(found) => {
                self.searched += found;
                Line { bytes: &self.bytes[self.at..self.searched], ended: true }
            }
            None => {
                self.searched = self.bytes.len();
                Line { bytes: &self.bytes[self.at..], ended: false }
            }
        }
    }

    /// Goes behind the line that `next` gave.
    pub fn consume(&mut self, ended: bool) {
        self.at = self.searched + usize::from(ended);
        self.searched = self.at;
    }

    /// Skips bytes at the front of the next line.
    pub fn skip(&mut self, count: usize) {
        self.at += count;
        self.searched = self.searched.max(self.at);
    }

    /// Reads on, at most to byte `end` of the input, and forgets what is consumed.
    pub fn fill(&mut self, input: &Input, end: u64) -> Result<(), Failure> {
        let count = u64::from(READ_BYTES).min(end - self.end()) as u32;
        let read = input.read(self.end(), count)?;
        if read.is_empty() {
            let message = format!("reading {count} bytes at {} gave none though the input has {end}", self.end());
            return Err(failure(Fault::Replaced, message));
        }
        self.base += self.at as u64;
        self.searched -= self.at;
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(&read);
        Ok(())
    }
}
