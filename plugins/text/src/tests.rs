//! The cleaner over rows in memory.

use tidegate_plugin::Cleaner;
use tidegate_plugin::testing::{self, Table};

use crate::Texts;

fn plugin(config: &str) -> Texts {
    Texts::configure(testing::config(config).unwrap()).unwrap()
}

/// `rule` is what is done to the one column.
#[track_caller]
fn check(rule: &str, before: Option<&str>, expected: Option<&str>) {
    let plugin = plugin(&format!(r#"{{"columns":{{"t":{rule}}}}}"#));
    let once = testing::clean(&plugin, &Table::new().text("t", [before])).unwrap();
    assert_eq!(once.rows, Table::new().text("t", [expected]), "{rule} {before:?}");
    assert_eq!(once.dropped, []);
    let twice = testing::clean(&plugin, &once.rows).unwrap();
    assert_eq!(twice.rows, once.rows, "cleaning twice is cleaning once: {rule} {before:?}");
}

#[test]
fn unicode_forms_are_those_of_uax_15() {
    let (nfc, nfkc) = (r#"{"unicode":"nfc"}"#, r#"{"unicode":"nfkc"}"#);
    check(nfc, Some("u\u{308}ber"), Some("über"));
    check(nfc, Some("\u{212b}ngstr\u{f6}m"), Some("\u{c5}ngström"));
    check(nfc, Some("\u{fb01}ne \u{ff21}²"), Some("\u{fb01}ne \u{ff21}²"));
    check(nfkc, Some("\u{fb01}ne \u{ff21}²"), Some("fine A2"));
    check(nfkc, Some("\u{3a9}\u{2126}"), Some("\u{3a9}\u{3a9}"));
    check(nfc, Some("plain"), Some("plain"));
}

/// What is taken for composed without a look at the tables is composed: every letter before U+0300, and between others.
#[test]
fn texts_of_early_letters_are_composed() {
    let letters: Vec<char> = (0..0x300).filter_map(char::from_u32).collect();
    let text: String = letters.iter().collect();
    assert!(crate::largest_byte(&text) < 0xCC && crate::largest_byte("\u{300}") >= 0xCC);
    let pairs = letters.iter().flat_map(|a| ['a', '\u{c4}', '\u{2ff}'].map(|b| String::from_iter([*a, b])));
    for text in pairs.chain([text]) {
        assert_eq!(unicode_normalization::UnicodeNormalization::nfc(text.as_str()).collect::<String>(), text);
    }
    check(r#"{"unicode":"nfc"}"#, Some("a\u{300}"), Some("\u{e0}"));
}

#[test]
fn whitespace_is_that_of_unicode() {
    check(r#"{"whitespace":"trim"}"#, Some("\u{a0} a  b\t\r\n"), Some("a  b"));
    check(r#"{"whitespace":"collapse"}"#, Some("\u{2003}a \t\n b\u{3000}c "), Some("a b c"));
    check(r#"{"whitespace":"collapse"}"#, Some(" \t "), Some(""));
    check(r#"{"whitespace":"collapse","empty":"missing"}"#, Some(" \t "), None);
    check(r#"{"empty":"missing"}"#, Some(""), None);
    check(r#"{"empty":"missing"}"#, Some(" "), Some(" "));
}

#[test]
fn case_and_form_go_together() {
    check(r#"{"case":"lower"}"#, Some("STRASSE Ä İ"), Some("strasse ä i\u{307}"));
    check(r#"{"case":"upper"}"#, Some("straße"), Some("STRASSE"));
    check(r#"{"case":"lower","unicode":"nfc"}"#, Some("\u{c4}A\u{308}"), Some("ää"));
    // A superscript T is no capital letter, but what it stands for is.
    check(r#"{"case":"lower","unicode":"nfkc"}"#, Some("x\u{1d40}"), Some("xt"));
    check(r#"{"case":"upper","unicode":"nfkc","whitespace":"collapse"}"#, Some(" \u{fb01}\u{a0}n "), Some("FI N"));
}

#[test]
fn a_missing_text_stays_missing() {
    for rule in [r#"{"unicode":"nfkc"}"#, r#"{"whitespace":"collapse","case":"upper","empty":"missing"}"#] {
        check(rule, None, None);
    }
}

#[test]
fn all_stands_for_features_of_text_that_are_not_named() {
    let plugin = plugin(r#"{"columns":{"*":{"case":"upper"},"b":{"case":"lower"}}}"#);
    let rows = |a, b| Table::new().text("a", [Some(a)]).text("b", [Some(b)]).i64("n", [Some(1)]).text("y", [Some("no")]).role("label");
    assert_eq!(testing::clean(&plugin, &rows("aA", "bB")).unwrap().rows, rows("AA", "bb"));
}

#[test]
fn rows_beyond_one_window_are_cleaned_too() {
    let many = |text: &'static str| Table::new().text("t", (0..150_000).map(|row| if row % 7 == 0 { None } else { Some(text) }));
    let cleaned = testing::clean(&plugin(r#"{"columns":{"t":{"whitespace":"trim"}}}"#), &many(" x")).unwrap();
    assert_eq!(cleaned.rows, many("x"));
}

#[test]
fn what_cannot_be_done_names_the_column() {
    let rows = Table::new().text("t", [Some("x")]).f64("x", [Some(1.0)]);
    for (config, expected) in [
        (r#"{"columns":{"x":{"case":"lower"}}}"#, "column `x` is `f64`; expected `utf8`"),
        (r#"{"columns":{"z":{"case":"lower"}}}"#, "there is no column `z`; the batch has `t`, `x`"),
    ] {
        assert_eq!(testing::clean(&plugin(config), &rows).unwrap_err().message, expected);
    }
    for (config, pointer) in [(r#"{"columns":{}}"#, "/columns"), (r#"{"columns":{"a/b":{"case":"keep"}}}"#, "/columns/a~1b")] {
        assert_eq!(Texts::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer);
    }
}
