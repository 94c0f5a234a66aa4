//! What can be wrong with a file, by number.

use tidegate_plugin::Failure;

/// What is wrong; the number is the failure's code and does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Fault {
    /// The input is not the one that was read before.
    Replaced = 1,
    /// The header is not usable, or not the one of before.
    Header = 2,
    /// A line has the wrong number of cells.
    Width = 3,
    /// Bytes are not UTF-8.
    Encoding = 4,
    /// A line is longer than the limit.
    Long = 5,
    /// A quote is misplaced or never closed.
    Quote = 6,
    /// The cursor cannot be read.
    Cursor = 7,
    /// A row that had been taken as complete went on.
    Torn = 8,
}

/// A failure about `fault`.
pub fn failure(fault: Fault, message: impl Into<String>) -> Failure {
    Failure::with_code(fault as u16, message)
}

/// What is wrong with column names: an empty one, or one that occurs twice.
pub fn check_names(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return Some("no column is named".into());
    }
    if let Some(empty) = names.iter().position(String::is_empty) {
        return Some(format!("column {} has no name", empty + 1));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("two columns are named `{}`", pair[0]))
}
