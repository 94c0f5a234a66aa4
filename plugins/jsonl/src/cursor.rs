//! Where the reader stands, as the host keeps it.

use serde::{Deserialize, Serialize};
use tidegate_plugin::Failure;

use crate::{Fault, failure};

/// Version of the layout below.
const VERSION: u32 = 1;

/// The place behind the last row that was returned. Versioned, because a plugin may be replaced between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    v: u32,
    /// Byte at which the next row starts.
    pub offset: u64,
    /// Line number of the next row, from 1: line ends before it, and one.
    pub line: u64,
    /// The input's generation when the rows were read.
    pub generation: String,
    /// The columns of the rows; empty before the first.
    pub columns: Vec<String>,
    /// Lines that were left out so far.
    pub skipped: u64,
}

impl Cursor {
    /// The beginning of an input.
    pub fn start(generation: String) -> Cursor {
        Cursor { v: VERSION, offset: 0, line: 1, generation, columns: Vec::new(), skipped: 0 }
    }

    /// Reads what `to_bytes` wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Cursor, Failure> {
        let unreadable = |why: String| failure(Fault::Cursor, format!("the cursor is not one of this plugin: {why}"));
        let cursor: Cursor = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        if cursor.v == VERSION { Ok(cursor) } else { Err(unreadable(format!("its version is {}, expected {VERSION}", cursor.v))) }
    }

    /// As the host keeps it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        Ok(serde_json::to_vec(self)?)
    }
}
