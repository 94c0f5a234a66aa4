//! JSON objects as columns of text.
//!
//! A string crosses as its text, a number as the digits it was written with, `true` and `false` as these words, `null` and an absent
//! key as a missing value. What is nested has no place in a row and is refused by name, unless nobody asked for it.

mod object;

use std::borrow::Cow;
use std::fmt;

use tidegate_plugin::{BatchBuilder, Failure, NewColumn, TextBuilder};

use object::Object;

/// Why an object is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is not one JSON object.
    Json(String),
    /// The value of a key is an object or a list.
    Nested(String),
    /// No earlier row had this key.
    Key(String),
    /// A key is there twice.
    Twice(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Json(why) => write!(formatter, "expected one JSON object: {why}"),
            Wrong::Nested(key) => {
                write!(formatter, "the value of `{key}` is an object or a list; leave it out with the key `columns`, or flatten it before")
            }
            Wrong::Key(key) => {
                write!(formatter, "the key `{key}` is not one of the first row's; name the columns that are wanted with the key `columns`")
            }
            Wrong::Twice(key) => write!(formatter, "the key `{key}` is there twice"),
        }
    }
}

/// Rows in the making.
#[derive(Debug, Clone)]
pub struct Columns {
    names: Vec<String>,
    texts: Vec<TextBuilder>,
    /// Whether the columns were asked for: other keys are nobody's then.
    is_selection: bool,
    /// The row that each column was filled in last, from 1.
    filled: Vec<u64>,
    row: u64,
}

impl Columns {
    /// The columns that were asked for; other keys are passed over.
    pub fn selected(names: Vec<String>) -> Columns {
        Columns::new(names, true)
    }

    /// The columns of all rows; another key is refused.
    pub fn all(names: Vec<String>) -> Columns {
        Columns::new(names, false)
    }

    fn new(names: Vec<String>, is_selection: bool) -> Columns {
        let count = names.len();
        Columns { names, texts: vec![TextBuilder::new(); count], is_selection, filled: vec![0; count], row: 0 }
    }

    /// The keys of an object, in order: the columns of a file whose first row it is.
    ///
    /// # Errors
    /// When it is not one JSON object.
    pub fn keys_of(object: &str) -> Result<Vec<String>, Wrong> {
        let object = Object::read(object)?;
        let names: Vec<String> = object.entries.iter().map(|(key, _)| key.to_string()).collect();
        match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
            Some((_, name)) => Err(Wrong::Twice(name.clone())),
            None => Ok(names),
        }
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.texts.first().map_or(0, TextBuilder::len)
    }

    /// Bytes of text so far.
    pub fn byte_count(&self) -> usize {
        self.texts.iter().map(TextBuilder::byte_count).sum()
    }

    /// Appends an object as a row, or leaves everything as it was.
    ///
    /// # Errors
    /// Why it is no row.
    pub fn push_object(&mut self, text: &str) -> Result<(), Wrong> {
        let object = Object::read(text)?;
        let rows = self.row_count();
        let pushed = self.push_entries(&object);
        if pushed.is_err() {
            self.texts.iter_mut().for_each(|text| text.truncate(rows));
        }
        pushed
    }

    fn push_entries(&mut self, object: &Object<'_>) -> Result<(), Wrong> {
        self.row += 1;
        for (position, (key, value)) in object.entries.iter().enumerate() {
            // Rows of one writer have their keys in one order.
            let expected = self.names.get(position).is_some_and(|name| name == key).then_some(position);
            let Some(column) = expected.or_else(|| self.names.iter().position(|name| name == key)) else {
                if self.is_selection {
                    continue;
                }
                return Err(Wrong::Key(key.to_string()));
            };
            if self.filled[column] == self.row {
                return Err(Wrong::Twice(key.to_string()));
            }
            self.filled[column] = self.row;
            match value.get().as_bytes().first() {
                Some(b'{' | b'[') => return Err(Wrong::Nested(key.to_string())),
                Some(b'n') => self.texts[column].push_missing(),
                Some(b'"') => self.texts[column].push(&object::text_of(value)?),
                _ => self.texts[column].push(value.get()),
            }
        }
        let absent = self.filled.iter().zip(&mut self.texts).filter(|(filled, _)| **filled != self.row);
        absent.for_each(|(_, text)| text.push_missing());
        Ok(())
    }

    /// Appends a row of cells, one a column.
    pub fn push_cells<'a>(&mut self, cells: impl IntoIterator<Item = Option<Cow<'a, str>>>) {
        for (text, cell) in self.texts.iter_mut().zip(cells) {
            match cell {
                Some(cell) => text.push(&cell),
                None => text.push_missing(),
            }
        }
    }

    /// The rows as a batch; the columns are empty then.
    ///
    /// # Errors
    /// When the host refuses them.
    pub fn take(&mut self) -> Result<BatchBuilder, Failure> {
        let mut rows = BatchBuilder::new(self.names.iter().map(NewColumn::text));
        for (number, text) in (0..).zip(&mut self.texts) {
            rows.append_text(number, text)?;
            text.clear();
        }
        Ok(rows)
    }
}

/// What is wrong with the names that a configuration asks for, if anything.
pub fn check_names(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return Some("no column is named".into());
    }
    if names.iter().any(String::is_empty) {
        return Some("a column has no name".into());
    }
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    twice.map(|(_, name)| format!("`{name}` is named twice"))
}

#[cfg(test)]
mod tests;
