//! One document: the places of its records, and what it says about the next page.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;
use tidegate_plugin::Failure;

use crate::cursor::{Mark, Taken};
use crate::{Config, Fault, Format, delimited, failure};

/// A document that was fetched.
pub struct Document {
    text: String,
    records: Vec<Range<usize>>,
    /// The names in its first record, of delimited text.
    pub header: Option<Vec<String>>,
    /// The name of the next page.
    pub next: Option<String>,
    /// What the other side calls it.
    pub mark: Mark,
    /// Records that were taken.
    pub taken: Taken,
}

impl Document {
    /// Finds the records in the body of an answer.
    pub fn read(config: &Config, body: Vec<u8>, mark: Mark) -> Result<Document, Failure> {
        let wrong = |why: String| failure(Fault::Document, format!("the answer of `{}` {why}", bare(&config.url)));
        let text = String::from_utf8(body).map_err(|error| wrong(format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
        let (mut header, mut next) = (None, None);
        let records = match config.format {
            Format::Jsonl => {
                let lines = text.split_inclusive('\n').scan(0, |end, line| {
                    *end += line.len();
                    Some(*end - line.len()..*end)
                });
                lines.map(|line| trimmed(&text, line)).filter(|line| !line.is_empty()).collect()
            }
            Format::Csv => {
                let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
                let moved = |record: Range<usize>| record.start + start..record.end + start;
                let mut records: Vec<Range<usize>> = delimited::records(&text[start..]).into_iter().map(moved).collect();
                if records.is_empty() {
                    return Err(wrong("has no header".into()));
                }
                let cells = delimited::cells(&text[records.remove(0)]).map_err(|why| wrong(format!("has no header: {why}")))?;
                header = Some(cells.into_iter().map(Option::unwrap_or_default).map(String::from).collect());
                records
            }
            Format::Json => {
                let items = pointed(&text, &config.items).map_err(wrong)?;
                let items = items.ok_or_else(|| wrong(format!("has nothing at `{}`; set `items`", config.items)))?;
                let found: Vec<&RawValue> =
                    serde_json::from_str(items).map_err(|error| wrong(format!("has no list at `{}`: {error}", config.items)))?;
                if let Some(pages) = &config.pages {
                    next = page_name(&text, &pages.next).map_err(wrong)?;
                }
                found.into_iter().map(|item| place(&text, item.get())).collect()
            }
        };
        Ok(Document { text, records, header, next, mark, taken: Taken::NOTHING })
    }

    /// Goes behind the records that were taken before; `false` when it does not begin with them.
    pub fn resume(&mut self, before: Taken) -> bool {
        let count = usize::try_from(before.rows).unwrap_or(usize::MAX);
        let Some(first) = self.records.get(..count) else { return false };
        let found = first.iter().fold(Taken::NOTHING, |taken, record| taken.and(&self.text[record.clone()]));
        if found == before {
            self.taken = before;
        }
        found == before
    }

    /// The next record.
    pub fn peek(&self) -> Option<&str> {
        self.records.get(self.taken.rows as usize).map(|record| &self.text[record.clone()])
    }

    /// Goes behind the next record.
    pub fn take(&mut self) {
        if let Some(record) = self.peek() {
            self.taken = self.taken.and(record);
        }
    }
}

/// An address without its query, which may hold what is nobody's business.
pub fn bare(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

fn trimmed(text: &str, line: Range<usize>) -> Range<usize> {
    place(text, text[line].trim_matches(|character: char| character.is_ascii_whitespace() || character == '\u{feff}'))
}

/// Where `part`, a piece of `text`, is in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// The JSON at a pointer; `None` where there is none.
fn pointed<'a>(text: &'a str, pointer: &str) -> Result<Option<&'a str>, String> {
    let mut at: &'a RawValue = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let found = match at.get().as_bytes().first() {
            Some(b'{') => {
                let object: BTreeMap<String, &'a RawValue> =
                    serde_json::from_str(at.get()).map_err(|error| format!("is not JSON: {error}"))?;
                object.get(&token).copied()
            }
            Some(b'[') => {
                let list: Vec<&'a RawValue> = serde_json::from_str(at.get()).map_err(|error| format!("is not JSON: {error}"))?;
                token.parse::<usize>().ok().and_then(|index| list.get(index).copied())
            }
            _ => None,
        };
        match found {
            Some(found) => at = found,
            None => return Ok(None),
        }
    }
    Ok(Some(at.get()))
}

/// The name at a pointer: a text or a number; `None` where there is nothing, null, or empty text.
fn page_name(text: &str, pointer: &str) -> Result<Option<String>, String> {
    let Some(found) = pointed(text, pointer)? else { return Ok(None) };
    match serde_json::from_str::<serde_json::Value>(found) {
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::String(name)) => Ok(Some(name).filter(|name| !name.is_empty())),
        Ok(serde_json::Value::Number(_)) => Ok(Some(found.to_owned())),
        _ => Err(format!("has neither a text nor a number at `{pointer}`, where the next page is named")),
    }
}
