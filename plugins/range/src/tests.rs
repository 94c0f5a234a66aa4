//! The cleaner over rows in memory.

use tidegate_plugin::Cleaner;
use tidegate_plugin::testing::{self, Cleaned, Table};

use crate::Ranges;

fn rows() -> Table {
    let x = [Some(-9.0), None, Some(9.0), Some(4.0), Some(f64::NAN)];
    Table::new().f64("x", x).i64("n", [Some(-9), Some(2), None, Some(9), Some(0)]).text("t", [None; 5])
}

fn clean(config: &str) -> Cleaned {
    testing::clean(&Ranges::configure(testing::config(config).unwrap()).unwrap(), &rows()).unwrap()
}

#[test]
fn values_outside_are_clipped() {
    let cleaned = clean(r#"{"columns":{"x":{"low":-8,"high":8,"outside":"clip"},"n":{"high":3,"outside":"clip"}}}"#);
    cleaned.rows.lend(|rows| {
        let x: Vec<_> = rows.column("x").unwrap().f64().unwrap().iter().take(4).collect();
        assert_eq!(x, [Some(-8.0), None, Some(8.0), Some(4.0)]);
        assert!(rows.column("x").unwrap().f64().unwrap()[4].is_nan());
        let n: Vec<_> = rows.column("n").unwrap().i64().unwrap().iter().collect();
        assert_eq!(n, [Some(-9), Some(2), None, Some(3), Some(0)]);
    });
    assert_eq!(cleaned.dropped, []);
}

#[test]
fn rows_outside_are_dropped() {
    let reason = |row: usize| (row, "out-of-range".to_owned());
    let cleaned = clean(r#"{"columns":{"*":{"low":-8,"high":8,"outside":"drop-row"}}}"#);
    assert_eq!(cleaned.dropped, [reason(0), reason(2), reason(3)]);
    let cleaned = clean(r#"{"columns":{"*":{"low":-8,"high":8,"outside":"drop-row"},"n":{"low":-10,"outside":"drop-row"}}}"#);
    assert_eq!(cleaned.dropped, [reason(0), reason(2)]);
}

#[test]
fn values_outside_are_blanked() {
    let cleaned = clean(r#"{"columns":{"*":{"low":-8,"high":8,"outside":"null"}}}"#);
    cleaned.rows.lend(|rows| {
        let x: Vec<_> = rows.column("x").unwrap().f64().unwrap().iter().take(4).collect();
        assert_eq!(x, [None, None, None, Some(4.0)]);
        assert!(rows.column("x").unwrap().f64().unwrap().is_present(4), "NaN is not outside");
        let n: Vec<_> = rows.column("n").unwrap().i64().unwrap().iter().collect();
        assert_eq!(n, [None, Some(2), None, None, Some(0)]);
    });
    assert_eq!(cleaned.dropped, []);
}

#[test]
fn blanking_works_in_every_window() {
    let rows = Table::new().f64("x", (0..200_000).map(|row| Some(f64::from(row % 10))));
    let ranges = Ranges::configure(testing::config(r#"{"columns":{"x":{"high":4,"outside":"null"}}}"#).unwrap()).unwrap();
    let cleaned = testing::clean(&ranges, &rows).unwrap();
    let expected = (0..200_000).map(|row| f64::from(row % 10)).map(|value| (value <= 4.0).then_some(value));
    assert!(cleaned.rows == Table::new().f64("x", expected));
}

#[test]
fn what_cannot_be_done_is_a_failure_that_names_the_column() {
    let cases = [
        (r#"{"columns":{"z":{"low":0,"outside":"clip"}}}"#, "there is no column `z`; the batch has `x`, `n`, `t`"),
        (r#"{"columns":{"t":{"low":0,"outside":"clip"}}}"#, "column `t` is `utf8`; expected `f64` or `i64`"),
    ];
    for (config, expected) in cases {
        let ranges = Ranges::configure(testing::config(config).unwrap()).unwrap();
        assert_eq!(testing::clean(&ranges, &rows()).unwrap_err().message, expected);
    }
}

#[test]
fn a_range_that_is_none_is_refused() {
    for range in [r#"{"low":2,"high":1,"outside":"clip"}"#, r#"{"outside":"clip"}"#] {
        let issues = Ranges::configure(testing::config(&format!(r#"{{"columns":{{"a/b":{range}}}}}"#)).unwrap()).err().unwrap();
        assert_eq!(issues.0[0].pointer, "/columns/a~1b");
    }
    let issues = testing::config::<crate::Config>(r#"{"columns":{"x":{"low":0,"outside":"clip","hi":1}}}"#).err().unwrap();
    assert!(issues.0[0].message.contains("unknown field `hi`"), "{issues}");
}
