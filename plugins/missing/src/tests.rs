//! The cleaner over rows in memory.

use tidegate_plugin::Cleaner;
use tidegate_plugin::testing::{self, Table};

use crate::Missing;

fn missing(config: &str) -> Missing {
    Missing::configure(testing::config(config).unwrap()).unwrap()
}

fn rows() -> Table {
    let x = [Some(1.0), None, Some(f64::NAN), Some(4.0)];
    Table::new().f64("x", x).i64("n", [Some(1), Some(2), Some(3), None]).text("t", [None, Some("b"), Some("c"), Some("d")])
}

/// `expected`: the numbers of the rows dropped.
#[track_caller]
fn check(config: &str, expected: &[usize]) {
    let cleaned = testing::clean(&missing(config), &rows()).unwrap();
    let expected: Vec<(usize, String)> = expected.iter().map(|row| (*row, "missing".into())).collect();
    assert_eq!(cleaned.dropped, expected, "{config}");
}

#[test]
fn rows_are_dropped_by_the_columns_that_are_named() {
    check(r#"{"columns":{"*":"drop-row"}}"#, &[1, 2, 3]);
    check(r#"{"columns":{"*":"drop-row","x":"keep"}}"#, &[3]);
    check(r#"{"columns":{"x":"drop-row"}}"#, &[1, 2]);
    check(r#"{"columns":{"t":"drop-row"}}"#, &[0]);
    check(r#"{"columns":{"*":{"fill":0.0}}}"#, &[]);
}

#[test]
fn a_label_is_not_a_feature() {
    let rows = Table::new().f64("x", [Some(1.0)]).f64("y", [None]).role("label");
    let cleaned = testing::clean(&missing(r#"{"columns":{"*":"drop-row"}}"#), &rows).unwrap();
    assert_eq!(cleaned.dropped, []);
}

#[test]
fn missing_values_are_filled() {
    let cleaned = testing::clean(&missing(r#"{"columns":{"*":{"fill":7},"t":"keep"}}"#), &rows()).unwrap();
    let x = [Some(1.0), Some(7.0), Some(7.0), Some(4.0)];
    let n = [Some(1), Some(2), Some(3), Some(7)];
    assert_eq!(cleaned.rows, Table::new().f64("x", x).i64("n", n).text("t", [None, Some("b"), Some("c"), Some("d")]));
}

#[test]
fn what_cannot_be_done_is_a_failure_that_names_the_column() {
    let cases = [
        (r#"{"columns":{"z":"drop-row"}}"#, "there is no column `z`; the batch has `x`, `n`, `t`"),
        (r#"{"columns":{"t":{"fill":0}}}"#, "column `t` is `utf8`; 0 cannot fill it"),
        (r#"{"columns":{"n":{"fill":0.5}}}"#, "column `n` is `i64`; 0.5 cannot fill it"),
    ];
    for (config, expected) in cases {
        assert_eq!(testing::clean(&missing(config), &rows()).unwrap_err().message, expected);
    }
}

#[test]
fn a_configuration_that_says_nothing_is_refused() {
    assert_eq!(Missing::configure(testing::config(r#"{"columns":{}}"#).unwrap()).err().unwrap().0[0].pointer, "/columns");
    let issues = testing::config::<crate::Config>(r#"{"columns":{"x":"drop"}}"#).err().unwrap();
    assert_eq!(issues.0[0].pointer, "/columns/x");
}
