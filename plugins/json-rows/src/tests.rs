//! Objects to rows, case by case.

use tidegate_plugin::testing::{self, Pulled};
use tidegate_plugin::{Pull, Reader};

use super::*;

/// Hands the columns over as a source would.
struct Once(Columns);

impl Reader for Once {
    fn next(&mut self, _rows_max: u32, _bytes_max: u64) -> Result<Pull, Failure> {
        Ok(Pull::Rows(self.0.take()?, Vec::new()))
    }
}

fn rows(columns: Columns) -> Vec<Vec<Option<String>>> {
    let Ok(Pulled::Rows(table, _)) = testing::next(&mut Once(columns), 0, 0) else { panic!("no rows") };
    table.text_rows()
}

fn row(cells: &[Option<&str>]) -> Vec<Option<String>> {
    cells.iter().map(|cell| cell.map(str::to_owned)).collect()
}

fn columns(names: &[&str], is_selection: bool) -> Columns {
    Columns::new(names.iter().map(|name| (*name).to_owned()).collect(), is_selection)
}

#[test]
fn every_value_is_the_text_it_was_written_as() {
    let mut columns = columns(&["a", "b", "c"], false);
    columns.push_object(r#"{"a":"x","b":1.50,"c":true}"#).unwrap();
    columns.push_object(r#" {"c" : null , "a":"\u00e4\n\"q\"" } "#).unwrap();
    columns.push_object(r#"{"b":-0.10000000000000000001e+400,"c":"null","a":""}"#).unwrap();
    columns.push_object("{}").unwrap();
    assert_eq!(columns.byte_count(), 47);
    let expected = [
        row(&[Some("x"), Some("1.50"), Some("true")]),
        row(&[Some("ä\n\"q\""), None, None]),
        row(&[Some(""), Some("-0.10000000000000000001e+400"), Some("null")]),
        row(&[None, None, None]),
    ];
    assert_eq!(rows(columns), expected);
}

#[test]
fn a_selection_passes_over_what_it_did_not_ask_for() {
    let mut columns = columns(&["b", "z"], true);
    columns.push_object(r#"{"a":{"deep":[1]},"b":2}"#).unwrap();
    assert_eq!(columns.push_object(r#"{"b":[2]}"#), Err(Wrong::Nested("b".into())));
    assert_eq!(rows(columns), [row(&[Some("2"), None])]);
}

#[test]
fn what_is_no_row_is_named_and_leaves_nothing_behind() {
    let mut columns = columns(&["a", "b"], false);
    columns.push_object(r#"{"a":1,"b":2}"#).unwrap();
    for (text, expected) in [
        (r#"{"a":1,"c":2}"#, "the key `c` is not one of the first row's"),
        (r#"{"a":1,"a":2}"#, "the key `a` is there twice"),
        (r#"{"a":1,"b":{}}"#, "the value of `b` is an object or a list"),
        (r#"{"a":1"#, "expected one JSON object: EOF while parsing an object at column 6"),
        (r#"{"a":1} {"a":2}"#, "expected one JSON object: trailing characters at column 9"),
        ("[1]", "expected one JSON object: invalid type: sequence, expected an object"),
        ("", "expected one JSON object: EOF while parsing a value"),
        (r#"{"a":"\ud800"}"#, "expected one JSON object: "),
        (r#"{"a":NaN}"#, "expected one JSON object: expected value at column 6"),
    ] {
        let error = columns.push_object(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert_eq!(columns.row_count(), 1, "{text}");
    }
}

#[test]
fn the_first_row_names_the_columns() {
    assert_eq!(Columns::keys_of(r#"{"b":1,"a":{}}"#).unwrap(), ["b", "a"]);
    assert_eq!(Columns::keys_of(r#"{"b":1,"b":2}"#), Err(Wrong::Twice("b".into())));
    assert!(check_names(&["a".into(), "a".into()]).is_some() && check_names(&[]).is_some() && check_names(&[String::new()]).is_some());
    assert_eq!(check_names(&["a".into(), "b".into()]), None);
}
