//! The reader over answers that the test has queued.

use tidegate_plugin::http::{Request, Response};
use tidegate_plugin::testing::{self, Pulled};
use tidegate_plugin::{Failure, Source};

use crate::Http;
use crate::reader::HttpReader;

const JSONL: &str = r#"{"url":"https://a.example/rows","format":"jsonl","poll_ms":5000}"#;
const PAGES: &str = r#"{"url":"https://a.example/rows?x=1","format":"json","items":"/data/rows","pages":{"parameter":"after","next":"/next"},"secret":"key"}"#;

fn plugin(config: &str) -> Http {
    Http::configure(testing::config(config).unwrap()).unwrap()
}

fn open(config: &str, cursor: Option<&[u8]>) -> HttpReader {
    plugin(config).open(cursor).unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    testing::answer(Response { status, headers, body: body.into() });
}

/// The rows of one look, cells between `|` and rows between blanks, and the cursor; `idle` and `finished` for those.
fn look(reader: &mut HttpReader, rows_max: u32) -> Result<(String, Option<Vec<u8>>), Failure> {
    let text = |row: Vec<Option<String>>| row.into_iter().map(|cell| cell.unwrap_or("-".into())).collect::<Vec<_>>().join("|");
    Ok(match testing::next(reader, rows_max, 64 << 20)? {
        Pulled::Rows(table, cursor) => (table.text_rows().into_iter().map(text).collect::<Vec<_>>().join(" "), Some(cursor)),
        Pulled::Idle(ms) => (format!("idle {ms}"), None),
        Pulled::Finished => ("finished".into(), None),
    })
}

fn rows(reader: &mut HttpReader) -> String {
    look(reader, 100).unwrap().0
}

/// What was asked for since the last time: address and condition.
fn asked() -> Vec<String> {
    let condition = |request: &Request| request.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect::<String>();
    testing::requests().iter().map(|request| format!("{}{}", request.url, condition(request))).collect()
}

#[test]
fn a_document_gives_its_rows_once() {
    answer(200, &[("ETag", "\"1\"")], "{\"a\":1,\"b\":\"x\"}\n\n{\"a\":2}\r\n");
    let mut reader = open(JSONL, None);
    let (found, cursor) = look(&mut reader, 100).unwrap();
    assert_eq!(found, "1|x 2|-");
    assert_eq!(rows(&mut reader), "idle 5000", "nothing is asked for before its time");
    assert_eq!(asked(), ["https://a.example/rows"]);
    for mut reader in [reader, open(JSONL, cursor.as_deref())] {
        answer(304, &[], "");
        assert_eq!(rows(&mut reader), "idle 5000");
        assert_eq!(asked(), ["https://a.example/rows if-none-match: \"1\""]);
    }
}

#[test]
fn a_document_that_grew_gives_its_new_rows_and_one_that_was_replaced_all() {
    answer(200, &[("last-modified", "Mon")], "{\"a\":1}\n");
    let mut reader = open(JSONL, None);
    let (_, cursor) = look(&mut reader, 100).unwrap();
    for mut reader in [reader, open(JSONL, cursor.as_deref())] {
        let _ = (asked(), testing::log_lines());
        answer(200, &[], "{\"a\":1}\n{\"a\":2}\n");
        let first = rows(&mut reader);
        let second = if first.starts_with("idle") { rows(&mut reader) } else { first };
        assert_eq!(second, "2");
        assert_eq!(asked(), ["https://a.example/rows if-modified-since: Mon"]);
        assert_eq!(rows(&mut reader), "idle 5000");
        answer(200, &[], "{\"a\":7}\n{\"a\":2}\n");
        assert_eq!(rows(&mut reader), "7 2");
        assert!(testing::log_lines()[0].starts_with("info: the document was replaced: the 2 rows"));
    }
}

#[test]
fn a_document_that_is_taken_in_parts_is_not_marked_before_its_end() {
    let body = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n";
    answer(200, &[("etag", "e")], body);
    let mut reader = open(JSONL, None);
    let (first, cursor) = look(&mut reader, 2).unwrap();
    assert_eq!(first, "1 2");
    assert_eq!(asked().len(), 1);
    let mut later = open(JSONL, cursor.as_deref());
    answer(200, &[("etag", "e")], body);
    assert_eq!(look(&mut later, 2).unwrap().0, "3");
    assert_eq!(asked(), ["https://a.example/rows"], "without a condition: not all of it was taken");
    assert_eq!(look(&mut reader, 2).unwrap().0, "3", "from memory");
    assert_eq!(asked(), [""; 0]);
}

#[test]
fn pages_lead_on_and_the_last_is_asked_for_again() {
    answer(200, &[], r#"{"data":{"rows":[{"a":1},{"a":2}]},"next":"p 2&"}"#);
    let mut reader = open(PAGES, None);
    let (found, cursor) = look(&mut reader, 100).unwrap();
    assert_eq!(found, "1 2");
    assert_eq!(testing::requests()[0].secret.as_deref(), Some("key"));
    for mut reader in [reader, open(PAGES, cursor.as_deref())] {
        answer(200, &[], r#"{"data":{"rows":[]},"next":3}"#);
        answer(200, &[("etag", "e")], r#"{"data":{"rows":[{"a":3}]},"next":null}"#);
        let (found, last) = look(&mut reader, 100).unwrap();
        assert_eq!(found, "3");
        assert_eq!(asked(), ["https://a.example/rows?x=1&after=p%202%26", "https://a.example/rows?x=1&after=3"]);
        answer(200, &[], r#"{"data":{"rows":[{"a":3},{"a":4}]},"next":"3"}"#);
        let mut reader = open(PAGES, last.as_deref());
        assert_eq!(rows(&mut reader), "4", "a page that names itself is the last");
        assert_eq!(asked(), ["https://a.example/rows?x=1&after=3 if-none-match: e"]);
        assert_eq!(rows(&mut reader), "idle 60000");
        answer(200, &[], r#"{"data":{"rows":[{"a":9},{"a":4}]}}"#);
        let failure = look(&mut reader, 100).unwrap_err();
        assert_eq!(failure.code, 1);
        assert_eq!(failure.message, "the 2 rows taken of page `3` of `https://a.example/rows` changed");
        let _ = asked();
    }
}

#[test]
fn pages_without_an_end_and_without_rows_do_not_hold_the_call() {
    (0..200).for_each(|page| answer(200, &[], &format!(r#"{{"data":{{"rows":[]}},"next":{page}}}"#)));
    assert_eq!(rows(&mut open(PAGES, None)), "idle 60000");
    assert_eq!(asked().len(), 100);
}

#[test]
fn every_format_gives_rows() {
    for (format, body, expected) in [
        (r#""format":"json""#, r#"[{"a":"x"},{"a":null}]"#, "x -"),
        (r#""format":"json","items":"/a~1b/1""#, r#"{"a/b":[0,[{"a":1.50}]]}"#, "1.50"),
        (r#""format":"csv""#, "\u{feff}a,b\r\n1,\"x,y\"\r\n,\"\"\r\n", "1|x,y -|"),
        (r#""format":"csv","columns":["b"]"#, "a,b\n1,2\n", "2"),
        (r#""format":"jsonl","columns":["b","a"]"#, "{\"a\":1,\"deep\":{}}", "-|1"),
    ] {
        answer(200, &[], body);
        let mut reader = open(&format!(r#"{{"url":"https://a.example/","follow":false,{format}}}"#), None);
        assert_eq!(rows(&mut reader), expected, "{format}");
        assert_eq!(rows(&mut reader), "finished", "{format}");
    }
}

#[test]
fn what_is_no_document_is_named() {
    let place = "of `https://a.example/`";
    for (format, body, code, expected) in [
        (r#""format":"json""#, "<html>", 3, format!("the answer {place} is not JSON: expected value")),
        (r#""format":"json","items":"/rows""#, r#"{"row":[]}"#, 3, format!("the answer {place} has nothing at `/rows`; set `items`")),
        (r#""format":"json","items":"/rows""#, r#"{"rows":7}"#, 3, format!("the answer {place} has no list at `/rows`: invalid type")),
        (r#""format":"json""#, r#"[{"a":[1]}]"#, 2, format!("record 1 {place}: the value of `a` is an object or a list")),
        (r#""format":"jsonl""#, "{\"a\":1\n", 2, format!("record 1 {place}: expected one JSON object")),
        (r#""format":"csv""#, "", 3, format!("the answer {place} has no header")),
        (r#""format":"csv""#, "a,a\n", 3, format!("the answer {place} has no usable header: `a` is named twice")),
        (r#""format":"csv""#, "a,b\n1\n", 2, format!("record 1 {place}: it has 1 cells, expected 2")),
        (r#""format":"csv","columns":["z"]"#, "a,b\n", 3, format!("the answer {place} has the header `a,b`, expected `z`; set `columns`")),
    ] {
        answer(200, &[], body);
        let failure = look(&mut open(&format!(r#"{{"url":"https://a.example/?key=1",{format}}}"#), None), 100).unwrap_err();
        assert!(failure.message.starts_with(&expected), "{}", failure.message);
        assert_eq!((failure.code, failure.retryable), (code, false));
    }
}

#[test]
fn the_good_rows_before_a_bad_record_come_first() {
    answer(200, &[], "{\"a\":1}\n{\"a\":2}\nno\n");
    let mut reader = open(JSONL, None);
    assert_eq!(rows(&mut reader), "1 2");
    assert!(look(&mut reader, 100).unwrap_err().message.starts_with("record 3 of"));
}

#[test]
fn a_refusal_says_whether_trying_again_helps() {
    for (status, headers, retry_after_ms) in [
        (429, &[("Retry-After", "7")][..], Some(7_000)),
        (503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")][..], Some(30_000)),
        (500, &[][..], Some(30_000)),
        (404, &[][..], None),
        (302, &[("location", "/there")][..], None),
    ] {
        answer(status, headers, "no");
        let failure = look(&mut open(JSONL, None), 100).unwrap_err();
        assert_eq!((failure.code, failure.retryable, failure.retry_after_ms), (status, retry_after_ms.is_some(), retry_after_ms));
        assert_eq!(failure.message, format!("`https://a.example/rows` answered {status}: no"));
    }
    answer(401, &[], "");
    assert!(look(&mut open(JSONL, None), 100).unwrap_err().message.ends_with("answered 401; check `secret` and the value behind it"));
}

#[test]
fn a_cursor_of_something_else_is_refused() {
    for cursor in [&b"\xff"[..], b"{}"] {
        assert_eq!(plugin(JSONL).open(Some(cursor)).err().unwrap().code, 4);
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (config, pointer) in [
        (r#"{"url":"a.example","format":"csv"}"#, "/url"),
        (r#"{"url":"https://a.example/#x","format":"csv"}"#, "/url"),
        (r#"{"url":"https://a.example/","format":"csv","items":"/x"}"#, "/items"),
        (r#"{"url":"https://a.example/","format":"json","items":"x"}"#, "/items"),
        (r#"{"url":"https://a.example/","format":"jsonl","pages":{"parameter":"p","next":"/n"}}"#, "/pages"),
        (r#"{"url":"https://a.example/","format":"json","pages":{"parameter":"p","next":"n"}}"#, "/pages/next"),
        (r#"{"url":"https://a.example/","format":"json","columns":["a","a"]}"#, "/columns"),
        (r#"{"url":"https://a.example/","format":"json","poll_ms":99}"#, "/poll_ms"),
    ] {
        assert_eq!(Http::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer, "{config}");
    }
}
