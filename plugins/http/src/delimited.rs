//! Delimited text: comma, double quote, one header (RFC 4180).

use std::borrow::Cow;
use std::ops::Range;

/// The places of all records in `text`, without their line ends. Empty lines are left out.
pub fn records(text: &str) -> Vec<Range<usize>> {
    let (mut records, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => {
                records.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    records.push(start..text.len());
    let without_return = |record: Range<usize>| if text[record.clone()].ends_with('\r') { record.start..record.end - 1 } else { record };
    records.into_iter().map(without_return).filter(|record| !record.is_empty()).collect()
}

/// The cells of a record; an empty one without quotes is missing. The error says what is wrong with it.
pub fn cells(record: &str) -> Result<Vec<Option<Cow<'_, str>>>, String> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let (cell, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                ((end > 0).then(|| Cow::Borrowed(&rest[..end])), &rest[end..])
            }
        };
        cells.push(cell);
        match behind.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if behind.is_empty() => return Ok(cells),
            None => return Err(format!("cell {} is closed by a quote, but more text follows", cells.len())),
        }
    }
}

/// A cell behind its opening quote, and what follows its closing one.
fn quoted_cell(text: &str) -> Result<(Option<Cow<'_, str>>, &str), String> {
    let mut from = 0;
    loop {
        let close = from + text[from..].find('"').ok_or("a quote is opened and never closed")?;
        if !text[close + 1..].starts_with('"') {
            let cell = &text[..close];
            let cell = if from == 0 { Cow::Borrowed(cell) } else { Cow::Owned(cell.replace("\"\"", "\"")) };
            return Ok((Some(cell), &text[close + 1..]));
        }
        from = close + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_cells_are_those_of_rfc_4180() {
        let text = "a,b\r\n1,\"x,\n\"\"y\"\"\"\n\n,\"\"\r\n\"\",";
        let records: Vec<&str> = records(text).into_iter().map(|record| &text[record]).collect();
        assert_eq!(records, ["a,b", "1,\"x,\n\"\"y\"\"\"", ",\"\"", "\"\","]);
        let cells = |record| cells(record).unwrap().into_iter().map(|cell| cell.map(Cow::into_owned)).collect::<Vec<_>>();
        assert_eq!(cells(records[1]), [Some("1".to_owned()), Some("x,\n\"y\"".to_owned())]);
        assert_eq!(cells(records[2]), [None, Some(String::new())]);
        assert_eq!(cells(records[3]), [Some(String::new()), None]);
        assert!(super::cells("\"a\"b,c").unwrap_err().contains("cell 1 is closed"));
        assert!(super::cells("a,\"b").unwrap_err().contains("never closed"));
    }
}
