//! The reader over files in memory.

use proptest::prelude::*;
use tidegate_plugin::testing::{self, Pulled};
use tidegate_plugin::{Failure, Source};

use crate::Jsonl;
use crate::reader::JsonlReader;

const ROWS_MAX: u32 = 65_536;
const BYTES_MAX: u64 = 64 << 20;
const PLAIN: &str = r#"{"input":"f"}"#;
const ENDS: &str = r#"{"input":"f","follow":false}"#;

type Rows = Vec<Vec<Option<String>>>;

fn open(config: &str, cursor: Option<&[u8]>) -> Result<JsonlReader, Failure> {
    Jsonl::configure(testing::config(config).unwrap()).unwrap().open(cursor)
}

/// Everything there is before the reader idles, and the last cursor.
fn drain(reader: &mut JsonlReader, rows_max: u32) -> Result<(Rows, Option<Vec<u8>>), Failure> {
    let (mut rows, mut last) = (Vec::new(), None);
    while let Pulled::Rows(table, cursor) = testing::next(reader, rows_max, BYTES_MAX)? {
        assert!(table.row_count() > 0 && table.row_count() <= rows_max as usize, "{} rows", table.row_count());
        rows.extend(table.text_rows());
        last = Some(cursor);
    }
    Ok((rows, last))
}

fn rows_of(file: &[u8], config: &str) -> Result<Rows, Failure> {
    let _lent = testing::lend("f", file);
    Ok(drain(&mut open(config, None)?, ROWS_MAX)?.0)
}

/// `expected`: a row an entry, cells between `|`, `-` = missing.
#[track_caller]
fn check(file: &str, config: &str, expected: &[&str]) {
    let cell = |cell: &str| if cell == "-" { None } else { Some(cell.to_owned()) };
    let expected: Rows = expected.iter().map(|row| row.split('|').map(cell).collect()).collect();
    assert_eq!(rows_of(file.as_bytes(), config).map_err(|failure| failure.message), Ok(expected), "{file:?}");
}

#[track_caller]
fn check_failure(file: &[u8], config: &str, code: u16, expected: &str) {
    let failure = rows_of(file, config).unwrap_err();
    assert!(failure.message.contains(expected), "{}", failure.message);
    assert_eq!((failure.code, failure.retryable), (code, false), "{}", failure.message);
}

#[test]
fn a_line_is_a_row() {
    check("{\"a\":1.50,\"b\":\"x\"}\n{\"b\":null}\r\n", PLAIN, &["1.50|x", "-|-"]);
    check("\u{feff}{\"a\":\"ä\\n\"}\n\n  \n{\"a\":true}\n", PLAIN, &["ä\n", "true"]);
    check("{\"a\":1,\"deep\":{\"x\":[1]}}\n{\"b\":2}\n", r#"{"input":"f","columns":["b","a"]}"#, &["-|1", "2|-"]);
    check("", ENDS, &[]);
    check("\n\n", PLAIN, &[]);
}

#[test]
fn a_last_line_is_a_row_when_its_brace_is_there() {
    check("{\"a\":1}\n{\"a\":2}", PLAIN, &["1", "2"]);
    check("{\"a\":1}\n{\"a\":2", PLAIN, &["1"]);
    check("{\"a\":1}\n{\"a\":\"\u{e4}", PLAIN, &["1"]);
    check("{\"a\":1}", PLAIN, &[]);
    check("{\"a\":1}", ENDS, &["1"]);
    check_failure(b"{\"a\":1}\n{\"a\":2", r#"{"input":"f","follow":false}"#, 2, "line 2 of input `f`: expected one JSON object: EOF");
}

#[test]
fn what_is_no_row_is_named_with_its_line() {
    check_failure(b"{\"a\":1}\n\n{a:2}\n", PLAIN, 2, "line 3 of input `f`: expected one JSON object: key must be a string at column 2");
    check_failure(b"{\"a\":1}\n{\"a\":2}{\"a\":3}\n", PLAIN, 2, "line 2 of input `f`: expected one JSON object: trailing characters");
    check_failure(b"{\"a\":1}\n{\"b\":2}\n", PLAIN, 2, "line 2 of input `f`: the key `b` is not one of the first row's");
    check_failure(b"{\"a\":[]}\n", PLAIN, 2, "line 1 of input `f`: the value of `a` is an object or a list");
    check_failure(b"{\"a\":\"\xff\"}\n", PLAIN, 2, "line 1 of input `f`: expected one JSON object: byte 7 is not UTF-8");
    check_failure(b"{}\n", PLAIN, 2, "the first row has no key");
    check_failure(b"{\"a\":1}\n{\"a\":12345678}\n", r#"{"input":"f","line_bytes_max":10}"#, 3, "line 2 of input `f` starts at byte 8");
}

#[test]
fn the_good_rows_before_a_bad_line_come_first() {
    let _lent = testing::lend("f", "{\"a\":1}\n{\"a\":2}\n[]\n");
    let mut reader = open(PLAIN, None).unwrap();
    let Pulled::Rows(table, cursor) = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap() else { panic!("no rows") };
    assert_eq!(table.row_count(), 2);
    for mut reader in [reader, open(PLAIN, Some(&cursor)).unwrap()] {
        let failure = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err();
        assert!(failure.message.starts_with("line 3 of input"), "{}", failure.message);
    }
}

#[test]
fn bad_lines_can_be_left_out_but_not_in_silence() {
    let config = r#"{"input":"f","bad_line":"skip"}"#;
    check("{\"a\":1}\nnot json\n{\"b\":1}\n{\"a\":2}\n", config, &["1", "2"]);
    let expected =
        "warn: left out 2 lines that are no rows, 2 so far; the first is line 2: expected one JSON object: expected ident at column 2";
    assert_eq!(testing::log_lines(), [expected]);
}

#[test]
fn a_line_without_end_fails_in_bounded_memory() {
    let mut file = b"{\"a\":1}\n{\"a\":\"".to_vec();
    file.resize(16 << 20, b'x');
    let _lent = testing::lend("f", file);
    let mut reader = open(r#"{"input":"f","line_bytes_max":4194304}"#, None).unwrap();
    let Pulled::Rows(table, _) = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap() else { panic!("no rows") };
    assert_eq!(table.row_count(), 1);
    let failure = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err();
    assert!(failure.code == 3 && failure.message.contains("line 2 of input `f` starts at byte 8"), "{}", failure.message);
}

#[test]
fn a_growing_file_is_followed_across_restarts() {
    let lent = testing::lend("f", "{\"a\":1,\"b\":2}\n{\"a\":3");
    let mut reader = open(PLAIN, None).unwrap();
    let (rows, cursor) = drain(&mut reader, ROWS_MAX).unwrap();
    assert_eq!(rows.len(), 1);
    lent.append("}\n{\"b\":5}");
    for mut reader in [reader, open(PLAIN, cursor.as_deref()).unwrap()] {
        let (rows, next) = drain(&mut reader, 1).unwrap();
        assert_eq!(rows, [[Some("3".to_owned()), None], [None, Some("5".to_owned())]]);
        assert_eq!(drain(&mut open(PLAIN, next.as_deref()).unwrap(), 1).unwrap().0, Rows::new());
    }
}

#[test]
fn a_replaced_or_shortened_file_is_noticed_once_rows_were_taken() {
    let lent = testing::lend("f", "{\"a\":1");
    let mut reader = open(PLAIN, None).unwrap();
    assert_eq!(drain(&mut reader, ROWS_MAX).unwrap().0, Rows::new());
    lent.replace("{\"b\":1}\n{\"b\":2}\n");
    let (rows, cursor) = drain(&mut reader, ROWS_MAX).unwrap();
    assert_eq!(rows.len(), 2, "nothing had been taken of the file that went");
    lent.replace("{\"b\":1}\n{\"b\":2}\n{\"b\":3}\n");
    let failures = [testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err(), open(PLAIN, cursor.as_deref()).err().unwrap()];
    for failure in failures {
        assert_eq!(failure.code, 1);
        assert!(
            failure.message.contains("input `f` was replaced or cut") && failure.message.contains("lines up to 2"),
            "{}",
            failure.message
        );
    }
}

#[test]
fn a_cursor_of_something_else_is_refused() {
    let _lent = testing::lend("f", "{\"a\":1}\n");
    let old = br#"{"v":9,"offset":0,"line":1,"generation":"0","columns":[],"skipped":0}"#;
    for cursor in [&b"\xff"[..], b"{}", old] {
        assert_eq!(open(PLAIN, Some(cursor)).err().unwrap().code, 4);
    }
}

#[test]
fn a_batch_keeps_to_its_rows_and_bytes() {
    let file: String = (0..1_000).map(|row| format!("{{\"a\":\"{row:04}{}\"}}\n", "x".repeat(87))).collect();
    let _lent = testing::lend("f", file);
    let mut reader = open(PLAIN, None).unwrap();
    for (rows_max, bytes_max, expected) in [(7, BYTES_MAX, 7), (1_000, 1_000, 10), (1_000, 0, 1), (0, 0, 1)] {
        let Pulled::Rows(table, _) = testing::next(&mut reader, rows_max, bytes_max).unwrap() else { panic!("no rows") };
        assert_eq!(table.row_count(), expected, "rows_max {rows_max}, bytes_max {bytes_max}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (config, pointer) in [
        (r#"{"input":"f","columns":["x","x"]}"#, "/columns"),
        (r#"{"input":"f","columns":[]}"#, "/columns"),
        (r#"{"input":"f","line_bytes_max":0}"#, "/line_bytes_max"),
    ] {
        assert_eq!(Jsonl::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer, "{config}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_in_any_portions(
        rows in proptest::collection::vec(proptest::option::of("[a\"\\\\\n\u{e4}{}]{0,12}"), 1..40),
        rows_max in 1u32..50,
        cut in 0usize..2_000,
    ) {
        let file: String = rows.iter().map(|text| serde_json::json!({ "a": text }).to_string() + "\n").collect();
        let cut = cut.min(file.len());
        let lent = testing::lend("f", &file.as_bytes()[..cut]);
        let mut reader = open(PLAIN, None).unwrap();
        let (mut found, cursor) = drain(&mut reader, rows_max).unwrap();
        lent.append(&file.as_bytes()[cut..]);
        if cursor.is_some() {
            reader = open(PLAIN, cursor.as_deref()).unwrap();
        }
        found.extend(drain(&mut reader, rows_max).unwrap().0);
        let expected: Rows = rows.into_iter().map(|text| vec![text]).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(file in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'\n'), Just(b'"'), Just(b'}'), any::<u8>()], 0..100)) {
        let _ = rows_of(&file, r#"{"input":"f","bad_line":"skip","follow":false}"#);
        let _ = rows_of(&file, PLAIN);
    }
}
