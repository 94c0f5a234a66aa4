//! The cleaner over rows in memory.

use tidegate_plugin::Cleaner;
use tidegate_plugin::testing::{self, Table};

use crate::Dedup;

fn plugin(config: &str) -> Dedup {
    Dedup::configure(testing::config(config).unwrap()).unwrap()
}

/// `expected`: the numbers of the rows dropped.
#[track_caller]
fn check(rows: &Table, config: &str, expected: &[usize]) {
    let expected: Vec<(usize, String)> = expected.iter().map(|row| (*row, "duplicate".into())).collect();
    assert_eq!(testing::clean(&plugin(config), rows).unwrap().dropped, expected, "{config}");
}

fn rows() -> Table {
    let ids = [Some("a"), Some("b"), Some("a"), None, None, Some("a")];
    let days = [Some(1), Some(1), Some(1), Some(2), Some(2), Some(2)];
    let x = [Some(0.0), Some(1.5), Some(-0.0), Some(f64::NAN), Some(f64::NAN), None];
    let up = [Some(true), Some(true), Some(false), None, Some(true), Some(false)];
    Table::new().text("id", ids).i64("day", days).f64("x", x).bool("up", up)
}

#[test]
fn the_first_or_the_last_row_of_a_key_stays() {
    check(&rows(), r#"{"key":["id"]}"#, &[2, 5]);
    check(&rows(), r#"{"key":["id"],"keep":"last"}"#, &[0, 2]);
    check(&rows(), r#"{"key":["id","day"]}"#, &[2]);
    check(&rows(), r#"{"key":["day"]}"#, &[1, 2, 4, 5]);
}

#[test]
fn every_type_can_be_part_of_a_key_and_a_missing_value_is_nobodys_duplicate() {
    check(&rows(), r#"{"key":["x"]}"#, &[2]);
    check(&rows(), r#"{"key":["up"]}"#, &[1, 4, 5]);
    check(&rows(), r#"{"key":["id","x"],"keep":"last"}"#, &[0]);
    let texts = Table::new().text("a", [Some("ab"), Some("a")]).text("b", [Some("c"), Some("bc")]);
    check(&texts, r#"{"key":["a","b"]}"#, &[]);
}

#[test]
fn keys_are_compared_across_windows() {
    let days = (0..150_000).map(|row| Some(row % 149_000));
    let expected: Vec<usize> = (149_000..150_000).collect();
    check(&Table::new().i64("day", days), r#"{"key":["day"]}"#, &expected);
}

#[test]
fn nothing_is_remembered_from_part_to_part() {
    let plugin = plugin(r#"{"key":["id"]}"#);
    let first = testing::clean(&plugin, &rows()).unwrap().dropped;
    assert_eq!(testing::clean(&plugin, &rows()).unwrap().dropped, first);
}

#[test]
fn what_cannot_be_a_key_is_named() {
    for (config, pointer) in [(r#"{"key":[]}"#, "/key"), (r#"{"key":["a","b","a"]}"#, "/key/2")] {
        assert_eq!(Dedup::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer);
    }
    let error = testing::clean(&plugin(r#"{"key":["z"]}"#), &rows()).unwrap_err();
    assert_eq!(error.message, "there is no column `z`; shown are `id`, `day`, `x`, `up`");
}
