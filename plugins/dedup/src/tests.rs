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
fn nothing_is_remembered_from_part_to_part_unless_it_is_asked_for() {
    let plugin = plugin(r#"{"key":["id"]}"#);
    let first = testing::clean(&plugin, &rows()).unwrap().dropped;
    assert_eq!(testing::clean(&plugin, &rows()).unwrap().dropped, first);
    assert!(testing::take_state().is_empty());
}

fn days(days: impl IntoIterator<Item = i64>) -> Table {
    Table::new().i64("day", days.into_iter().map(Some))
}

#[test]
fn keys_of_earlier_parts_are_remembered() {
    let config = r#"{"key":["id"],"remember_keys":1000}"#;
    check(&rows(), config, &[2, 5]);
    // Again: what has no key is nobody's duplicate in any part.
    check(&rows(), config, &[0, 1, 2, 5]);
    check(&Table::new().text("id", [Some("c"), Some("a"), Some("c"), None]), config, &[1, 2]);
    check(&Table::new().text("id", []), config, &[]);
    check(&Table::new().text("id", [Some("c"), Some("d")]), config, &[0]);
    testing::take_state();
}

#[test]
fn the_oldest_keys_are_forgotten_and_the_state_stays_bounded() {
    let plugin = plugin(r#"{"key":["day"],"remember_keys":3000}"#);
    let mut most = 0;
    for part in 0..40 {
        let dropped = testing::clean(&plugin, &days(part * 700..(part + 1) * 700)).unwrap().dropped;
        assert!(dropped.is_empty(), "part {part}");
        let kept = testing::take_state();
        most = most.max(kept.len());
        tidegate_plugin::state::set_many(&entries(kept.keys()), &entries(kept.values())).unwrap();
    }
    assert!(most <= 3_000 + 1_024 + 700 + 8, "{most} entries");
    // The newest 3,000 of 28,000 are known, the first are not.
    let known = testing::clean(&plugin, &days(25_000..28_000)).unwrap();
    assert_eq!(known.dropped.len(), 3_000);
    assert!(testing::clean(&plugin, &days(0..700)).unwrap().dropped.is_empty());
    testing::take_state();
}

fn entries<'a>(of: impl Iterator<Item = &'a Vec<u8>>) -> tidegate_plugin::state::Entries {
    let mut entries = tidegate_plugin::state::Entries::new();
    of.for_each(|entry| entries.push(entry).unwrap());
    entries
}

#[test]
fn a_long_key_is_remembered_by_its_digest() {
    let plugin = plugin(r#"{"key":["id"],"remember_keys":2}"#);
    let long = ["a", "b", "c", "d"].map(|letter| letter.repeat(100_000));
    let table = |texts: &[&str]| Table::new().text("id", texts.iter().map(|text| Some(*text)));
    for key in &long {
        assert!(testing::clean(&plugin, &table(&[key, &key[..1], &key[..65]])).unwrap().dropped.is_empty());
    }
    assert_eq!(testing::clean(&plugin, &table(&[&long[3], "d", "e", &long[0][..64]])).unwrap().dropped.len(), 2);
    let bytes: usize = testing::take_state().iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes < 2_000, "{bytes} bytes");
}

#[test]
fn what_cannot_be_a_key_is_named() {
    for (config, pointer) in [(r#"{"key":[]}"#, "/key"), (r#"{"key":["a","b","a"]}"#, "/key/2")] {
        assert_eq!(Dedup::configure(testing::config(config).unwrap()).err().unwrap().0[0].pointer, pointer);
    }
    let both = Dedup::configure(testing::config(r#"{"key":["a"],"keep":"last","remember_keys":1}"#).unwrap()).err().unwrap();
    assert!(both.0[0].pointer == "/keep" && both.0[0].message.contains("let in already"));
    let error = testing::clean(&plugin(r#"{"key":["z"]}"#), &rows()).unwrap_err();
    assert_eq!(error.message, "there is no column `z`; shown are `id`, `day`, `x`, `up`");
}
