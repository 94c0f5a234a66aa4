//! The reader over files in memory.

use proptest::prelude::*;
use tidegate_plugin::testing::{self, Lent, Pulled};
use tidegate_plugin::{Failure, Source};

use crate::Csv;
use crate::reader::CsvReader;

const ROWS_MAX: u32 = 65_536;
const BYTES_MAX: u64 = 64 << 20;

type Rows = Vec<Vec<Option<String>>>;

fn csv(config: &str) -> Csv {
    Csv::configure(testing::config(config).unwrap()).unwrap()
}

fn open(config: &str, cursor: Option<&[u8]>) -> Result<CsvReader, Failure> {
    csv(config).open(cursor)
}

/// Everything there is before the reader idles, and the last cursor.
fn drain(reader: &mut CsvReader, rows_max: u32) -> Result<(Rows, Option<Vec<u8>>), Failure> {
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

fn row(text: &str) -> Vec<Option<String>> {
    text.split('|').map(|cell| if cell == "-" { None } else { Some(cell.replace("~", "")) }).collect()
}

/// `expected`: a row an entry, cells between `|`, `-` = missing, `~` = empty text.
#[track_caller]
fn check(file: &str, config: &str, expected: &[&str]) {
    let expected: Rows = expected.iter().map(|text| row(text)).collect();
    assert_eq!(rows_of(file.as_bytes(), config).map_err(|failure| failure.message), Ok(expected), "{file:?}");
}

#[track_caller]
fn check_failure(file: &[u8], config: &str, code: u16, expected: &str) {
    let failure = rows_of(file, config).unwrap_err();
    assert!(failure.message.contains(expected), "{}", failure.message);
    assert_eq!((failure.code, failure.retryable), (code, false), "{}", failure.message);
}

const PLAIN: &str = r#"{"input":"f"}"#;

#[test]
fn cells_are_read_as_they_were_written() {
    check("a,b\n1,2\n3,4\n", PLAIN, &["1|2", "3|4"]);
    check("a,b\r\n1,2\r\n\"3\",4\r\n", PLAIN, &["1|2", "3|4"]);
    check("\u{feff}a,b\n1,2\n", PLAIN, &["1|2"]);
    check("a,b\n,\"\"\n x , y\n", PLAIN, &["-|~", " x | y"]);
    check("a,b\n\"x,y\",\"l1\nl2\"\n\"say \"\"hi\"\"\",\"\"\"\"\n", PLAIN, &["x,y|l1\nl2", "say \"hi\"|\""]);
    check("a,b\n5\" disk,x\"y\"\n", PLAIN, &["5\" disk|x\"y\""]);
    check("a,b\n\n1,2\n\r\n3,4\n\n", PLAIN, &["1|2", "3|4"]);
    check("a\n1\n\n3\n", PLAIN, &["1", "-", "3"]);
    check("ä;b\nö;'x;y'\n", r#"{"input":"f","delimiter":";","quote":"'"}"#, &["ö|x;y"]);
    check("a\tb\n\"1\t2\n", r#"{"input":"f","delimiter":"\t","quote":""}"#, &["\"1|2"]);
    check("1,2\n", r#"{"input":"f","header":false,"columns":["x","y"]}"#, &["1|2"]);
    check("a,a\n1,2\n", r#"{"input":"f","columns":["x","y"]}"#, &["1|2"]);
}

#[test]
fn a_file_without_rows_is_waited_for_or_finished() {
    for file in ["", "a,b", "a,b\n", "\u{feff}"] {
        let _lent = testing::lend("f", file);
        let first = testing::next(&mut open(PLAIN, None).unwrap(), ROWS_MAX, BYTES_MAX).unwrap();
        assert_eq!(first, Pulled::Idle(1_000), "{file:?}");
        let first = testing::next(&mut open(r#"{"input":"f","follow":false}"#, None).unwrap(), ROWS_MAX, BYTES_MAX).unwrap();
        assert_eq!(first, Pulled::Finished, "{file:?}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named_with_its_line() {
    check_failure(b"a,b\n1\n", PLAIN, 3, "line 2 has 1 cells, expected 2");
    check_failure(b"a,b\n\"1\n\",2\n1,2,3\n", PLAIN, 3, "line 4 has 3 cells, expected 2");
    check_failure(b"a,b\n1,\xff\n", PLAIN, 4, "line 2: byte 6 of input `f` is not UTF-8");
    check_failure(b"a,\xff\n1,2\n", PLAIN, 4, "line 1: byte 2");
    check_failure(b"a,b\n\"1\"x,2\n", PLAIN, 6, "line 2: a quoted cell ends at byte 6 but more text follows");
    check_failure(b"a,b\n\"1,2\n", r#"{"input":"f","follow":false}"#, 6, "line 2: a quote is opened and never closed");
    check_failure(b"a,b,a\n", PLAIN, 2, "line 1: two columns are named `a`");
    check_failure(b"a,,c\n", PLAIN, 2, "line 1: column 2 has no name");
    check_failure(b"a,b\n1,2\n", r#"{"input":"f","columns":["x"]}"#, 2, "the header names 2 columns, `columns` names 1");
    check_failure(b"a,b\n1,2345678\n", r#"{"input":"f","line_bytes_max":8}"#, 5, "line 2 of input `f` starts at byte 4");
}

#[test]
fn the_good_rows_before_a_bad_line_come_first() {
    let _lent = testing::lend("f", "a,b\n1,2\n3,4\nx\n");
    let mut reader = open(PLAIN, None).unwrap();
    let Pulled::Rows(table, cursor) = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap() else { panic!("no rows") };
    assert_eq!(table.row_count(), 2);
    for mut reader in [reader, open(PLAIN, Some(&cursor)).unwrap()] {
        let failure = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err();
        assert!(failure.message.starts_with("line 4 has 1 cells"), "{}", failure.message);
    }
}

#[test]
fn a_line_without_end_fails_in_bounded_memory() {
    let mut file = b"a,b\n1,2\n\"".to_vec();
    file.resize(16 << 20, b'x');
    let _lent = testing::lend("f", file);
    let mut reader = open(r#"{"input":"f","line_bytes_max":4194304}"#, None).unwrap();
    let Pulled::Rows(table, _) = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap() else { panic!("no rows") };
    assert_eq!(table.row_count(), 1);
    let failure = testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err();
    assert_eq!(failure.code, 5);
    assert!(failure.message.contains("line 3 of input `f` starts at byte 8"), "{}", failure.message);
    assert!(failure.message.ends_with("may never be closed"), "{}", failure.message);
    assert!(reader.window_bytes() < 8 << 20, "{} bytes are held", reader.window_bytes());
}

#[test]
fn bad_bytes_and_bad_lines_can_be_let_through_but_not_in_silence() {
    let config = r#"{"input":"f","invalid_utf8":"replace","wrong_width":"skip"}"#;
    let rows = rows_of(b"a,b\n1,\xffx\n1\n\"\xc3\",\n5,6,7\nok,ok\n", config).unwrap();
    assert_eq!(rows, [row("1|\u{fffd}x"), row("\u{fffd}|-"), row("ok|ok")]);
    let expected = "warn: left out 2 lines of the wrong width, 2 so far; the first is line 3 with 1 cells, expected 2";
    assert_eq!(testing::log_lines(), [expected]);
}

#[test]
fn a_growing_file_is_followed_across_restarts() {
    let lent = testing::lend("f", "a,b\n1,2\n3,");
    let mut reader = open(PLAIN, None).unwrap();
    let (rows, cursor) = drain(&mut reader, ROWS_MAX).unwrap();
    assert_eq!(rows, [row("1|2")]);
    lent.append("4\n5,6\n");
    for mut reader in [reader, open(PLAIN, cursor.as_deref()).unwrap()] {
        let (rows, next) = drain(&mut reader, 1).unwrap();
        assert_eq!(rows, [row("3|4"), row("5|6")]);
        assert_eq!(drain(&mut open(PLAIN, next.as_deref()).unwrap(), 1).unwrap().0, Rows::new());
    }
}

fn look(reader: &mut CsvReader) -> Rows {
    match testing::next(reader, ROWS_MAX, BYTES_MAX).unwrap() {
        Pulled::Rows(table, _) => table.text_rows(),
        _ => Vec::new(),
    }
}

#[test]
fn a_last_line_without_an_end_counts_when_it_is_whole_and_the_file_rests() {
    check("a,b\n1,2\n3,4", PLAIN, &["1|2", "3|4"]);
    check("a,b\n3,4", PLAIN, &["3|4"]);
    check("a,b\n1,2\n3", PLAIN, &["1|2"]);
    check("a,b\n1,2\n3,", PLAIN, &["1|2"]);
    check("a,b\n1,2\n3,\"\"", PLAIN, &["1|2", "3|~"]);
    check("a,b\n1,2\n3,4\r", PLAIN, &["1|2"]);
    check("a,b\n1,2\n3,\"4", PLAIN, &["1|2"]);
    assert_eq!(rows_of(b"a,b\n1,2\n3,\xc3", PLAIN).unwrap(), [row("1|2")]);
    check("a,b\n1,2\n3,4", r#"{"input":"f","follow":false}"#, &["1|2", "3|4"]);
    check_failure(b"a,b\n1,2\n3", r#"{"input":"f","follow":false}"#, 3, "line 3 has 1 cells");

    testing::log_lines();
    let lent = testing::lend("f", "a,b\n1,2\n3");
    let mut reader = open(PLAIN, None).unwrap();
    assert_eq!(look(&mut reader), [row("1|2")]);
    assert_eq!((look(&mut reader), look(&mut reader)), (Rows::new(), Rows::new()));
    assert_eq!(testing::log_lines(), ["info: line 3 has no line end and does not look whole; it is read when it does"]);
    lent.append(",4");
    assert_eq!(look(&mut reader), Rows::new(), "it has just grown");
    lent.append("5");
    assert_eq!(look(&mut reader), Rows::new(), "it has just grown again");
    assert_eq!(look(&mut reader), [row("3|45")]);
    lent.append("\r\n6,7\n");
    assert_eq!(look(&mut reader), [row("6|7")]);
}

fn torn(lent: &Lent) -> Vec<u8> {
    let (_, cursor) = drain(&mut open(PLAIN, None).unwrap(), ROWS_MAX).unwrap();
    lent.append("5\n");
    cursor.unwrap()
}

#[test]
fn a_row_that_goes_on_after_it_was_taken_is_a_failure() {
    let lent = testing::lend("f", "a,b\n1,2\n3,4");
    let cursor = torn(&lent);
    let failure = testing::next(&mut open(PLAIN, Some(&cursor)).unwrap(), ROWS_MAX, BYTES_MAX).unwrap_err();
    assert_eq!(failure.code, 8);
    assert!(failure.message.starts_with("line 3 was taken as complete at byte 11"), "{}", failure.message);
}

#[test]
fn a_replaced_or_shortened_file_is_noticed() {
    let lent = testing::lend("f", "a,b\n1,2\n3,4\n");
    let mut reader = open(PLAIN, None).unwrap();
    let (_, cursor) = drain(&mut reader, ROWS_MAX).unwrap();
    lent.replace("a,b\n1,2\n3,4\n5,6\n");
    let failures = [testing::next(&mut reader, ROWS_MAX, BYTES_MAX).unwrap_err(), open(PLAIN, cursor.as_deref()).err().unwrap()];
    for failure in failures {
        assert_eq!(failure.code, 1);
        assert!(failure.message.contains("input `f` was replaced or cut"), "{}", failure.message);
        assert!(failure.message.contains("lines up to 3"), "{}", failure.message);
    }
}

#[test]
fn another_header_under_an_old_cursor_is_noticed() {
    let (_, cursor) = {
        let _lent = testing::lend("f", "a,b\n1,2\n");
        drain(&mut open(PLAIN, None).unwrap(), ROWS_MAX).unwrap()
    };
    for (file, found) in [("a,c\n1,2\n3,4\n", "a,c"), ("1,2\n3,4\n", "1,2")] {
        let _lent = testing::lend("f", file);
        let failure = open(PLAIN, cursor.as_deref()).err().unwrap();
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains(&format!("was `a,b` and is `{found}`")), "{}", failure.message);
    }
}

#[test]
fn a_cursor_of_something_else_is_refused() {
    let _lent = testing::lend("f", "a,b\n1,2\n");
    let old = br#"{"v":9,"offset":0,"line":1,"generation":"0","header":[],"skipped":0,"open_end":false}"#;
    for cursor in [&b"\xff"[..], b"{}", old] {
        assert_eq!(open(PLAIN, Some(cursor)).err().unwrap().code, 7);
    }
}

#[test]
fn a_batch_keeps_to_its_rows_and_bytes() {
    let file: String = std::iter::once("a,b\n".to_owned()).chain((0..1_000).map(|row| format!("{row},{}\n", "x".repeat(100)))).collect();
    let _lent = testing::lend("f", file);
    let mut reader = open(PLAIN, None).unwrap();
    for (rows_max, bytes_max, expected) in [(7, BYTES_MAX, 7), (1_000, 1_130, 10), (1_000, 0, 1), (0, 0, 1)] {
        let Pulled::Rows(table, _) = testing::next(&mut reader, rows_max, bytes_max).unwrap() else { panic!("no rows") };
        assert_eq!(table.row_count(), expected, "rows_max {rows_max}, bytes_max {bytes_max}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let cases = [
        (r#"{"input":"f","delimiter":",,"}"#, "/delimiter"),
        (r#"{"input":"f","delimiter":"\n"}"#, "/delimiter"),
        (r#"{"input":"f","quote":"ä"}"#, "/quote"),
        (r#"{"input":"f","quote":","}"#, "/quote"),
        (r#"{"input":"f","header":false}"#, "/columns"),
        (r#"{"input":"f","columns":["x","x"]}"#, "/columns"),
        (r#"{"input":"f","line_bytes_max":0}"#, "/line_bytes_max"),
    ];
    for (config, pointer) in cases {
        let issues = Csv::configure(testing::config(config).unwrap()).err().unwrap();
        assert_eq!(issues.0[0].pointer, pointer, "{config}");
    }
    let issues = testing::config::<crate::Config>(r#"{"input":"f","separator":";"}"#).err().unwrap();
    assert!(issues.0[0].message.contains("unknown field `separator`"), "{issues}");
}

/// Writes cells so that they can be read back: a missing one as nothing, the others in quotes where they need them or `quoted` says so.
fn written(rows: &[Vec<Option<String>>], quoted: bool, line_end: &str) -> String {
    let cell = |cell: &Option<String>| match cell {
        None => String::new(),
        Some(text) if quoted || text.is_empty() || text.contains([',', '"', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Some(text) => text.clone(),
    };
    let line = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join(",") + line_end;
    format!("a,b,c{line_end}{}", rows.iter().map(line).collect::<String>())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_in_any_portions(
        rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of("[ab,\"\n\rä]{0,20}"), 3), 0..40),
        quoted in any::<bool>(),
        crlf in any::<bool>(),
        rows_max in 1u32..50,
        cut in 0usize..2_000,
    ) {
        let file = written(&rows, quoted, if crlf { "\r\n" } else { "\n" });
        let cut = cut.min(file.len());
        let lent = testing::lend("f", &file.as_bytes()[..cut]);
        // The file is cut anywhere and grows between two looks; the reader is opened anew in between. A tail that happens to look whole
        // must not be taken before it is, so each part is looked at only while it still grows.
        let mut reader = open(PLAIN, None).unwrap();
        let (mut found, mut cursor) = (Vec::new(), None);
        while let Pulled::Rows(table, next) = testing::next(&mut reader, rows_max, BYTES_MAX).unwrap() {
            found.extend(table.text_rows());
            cursor = Some(next);
            if found.len() + 2 > rows.len() / 2 { break; }
        }
        lent.append(&file.as_bytes()[cut..]);
        if cursor.is_some() {
            let late = open(PLAIN, cursor.as_deref());
            if let Ok(late) = late { reader = late; }
        }
        match drain(&mut reader, rows_max) {
            Ok((rest, _)) => {
                found.extend(rest);
                prop_assert_eq!(found, rows);
            }
            // The one failure there may be: the cut fell inside a row that looked whole when the file rested.
            Err(failure) => prop_assert_eq!(failure.code, 8),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(file in proptest::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), Just(b'\r'), any::<u8>()], 0..200), follow in any::<bool>()) {
        let config = format!(r#"{{"input":"f","follow":{follow},"invalid_utf8":"replace","wrong_width":"skip"}}"#);
        let _ = rows_of(&file, &config);
        let _ = rows_of(&file, PLAIN);
    }
}
