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
    /// The page that the rows are of; `None` = the first, or the only document.
    pub page: Option<String>,
    /// Rows taken of it, and their digest.
    pub taken: Taken,
    /// What the other side called the document, once all of it was taken.
    pub mark: Mark,
    /// The columns of the rows; empty before the first.
    pub columns: Vec<String>,
}

/// The first records of a document: how many, and their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// How many.
    pub rows: u64,
    digest: u64,
}

/// What the other side calls a state of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

impl Cursor {
    /// The beginning.
    pub fn start() -> Cursor {
        Cursor { v: VERSION, page: None, taken: Taken::NOTHING, mark: Mark::default(), columns: Vec::new() }
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

impl Taken {
    /// No record.
    pub const NOTHING: Taken = Taken { rows: 0, digest: 0xcbf2_9ce4_8422_2325 };

    /// These and one more. The digest is FNV-1a with 64 bits: it tells a change from none, and nobody gains by a collision.
    pub fn and(self, record: &str) -> Taken {
        let step = |digest: u64, byte: u8| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        // Behind each record a byte that no UTF-8 text has, so that records cannot run together.
        Taken { rows: self.rows + 1, digest: record.bytes().chain([0xff]).fold(self.digest, step) }
    }
}
