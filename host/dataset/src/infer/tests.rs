use tidegate_vocab::Timestamp;

use super::*;
use crate::sample::text;
use crate::{check as check_rows, typed};

const NOTHING_KNOWN: InferOptions = InferOptions { label: None, id: None, time: None };

fn label_is(name: &str) -> InferOptions {
    InferOptions { label: Some(name.into()), ..NOTHING_KNOWN }
}

/// The contract in one line, after making sure that the sample keeps it.
fn check(columns: &[(&str, &[&str])], options: &InferOptions, expected: &str) {
    let sample = text(columns);
    let found = match infer(&sample, options) {
        Err(error) => error.to_string(),
        Ok(Inference { contract, .. }) => {
            let typed = typed(&sample, &contract, Timestamp(0)).unwrap();
            assert_eq!(typed.quarantined, []);
            assert_eq!(check_rows(&typed.rows, &contract).unwrap(), []);
            let columns: Vec<String> = contract
                .columns
                .iter()
                .map(|column| {
                    let null = if column.nullable { "?" } else { "" };
                    let categories = column.categories.as_ref().map(|all| format!("{all:?}")).unwrap_or_default();
                    format!(" {}:{}{null}{categories}", column.name, column.dtype.word())
                })
                .collect();
            let time = contract.time.map(|time| format!("{}/{:?}", time.column, time.unit)).unwrap_or_default();
            format!(
                "id={} time={time} {}={:?}{}",
                contract.id.unwrap_or_default(),
                contract.label.column,
                contract.label.classes,
                columns.concat()
            )
        }
    };
    assert_eq!(found, expected);
}

#[test]
fn types_and_gaps_come_from_all_rows() {
    check(
        &[
            ("f", &["1", "2.5", "3"]),
            ("i", &["3", "-1", "7"]),
            ("n", &["1.5", "", "NaN"]),
            ("b", &["true", "false", "True"]),
            ("t", &["x", "y", "1"]),
            ("y", &["0", "1", "0"]),
        ],
        &NOTHING_KNOWN,
        r#"id= time= y=["0", "1"] f:f64 i:i64 n:f64? b:bool t:utf8"#,
    );
    let colours: Vec<&str> = ["red", "blue"].into_iter().cycle().take(40).collect();
    check(&[("c", &colours), ("y", &colours)], &NOTHING_KNOWN, r#"id= time= y=["blue", "red"] c:utf8["blue", "red"]"#);
    check(&[("gone", &["", "-"]), ("x", &["1.5", "2"]), ("y", &["10", "9"])], &label_is("y"), r#"id= time= y=["9", "10"] x:f64"#);
}

#[test]
fn ids_and_times_are_taken_where_name_and_values_agree() {
    let y = ("y", &["0", "1", "0"][..]);
    check(&[("day", &["0", "1", "2"]), ("x", &["1.5", "2", "3"]), y], &NOTHING_KNOWN, r#"id=day time= y=["0", "1"] x:f64"#);
    check(&[("x", &["1.5", "2", "3"]), ("ID", &["7", "3", "3"]), y], &NOTHING_KNOWN, r#"id=ID time= y=["0", "1"] x:f64"#);
    check(&[("at", &["2024-01-01", "2024-01-02", "2024-01-03"]), y], &NOTHING_KNOWN, r#"id= time=at/None y=["0", "1"]"#);
    let time = |name: &str| InferOptions { time: Some(name.into()), ..NOTHING_KNOWN };
    check(&[("day", &["0", "1", "2"]), y], &time("day"), r#"id=day time=day/Some(D) y=["0", "1"]"#);
    check(&[("ts", &["1700000000", "1700000009", "1700000010"]), y], &time("ts"), r#"id= time=ts/Some(S) y=["0", "1"]"#);
    check(&[("ts", &["1700000000000", "1700000009000", "1700000010000"]), y], &time("ts"), r#"id= time=ts/Some(Ms) y=["0", "1"]"#);
}

#[test]
fn samples_that_say_nothing_are_refused() {
    check(&[], &NOTHING_KNOWN, "the sample is empty: it has no columns");
    check(&[("x", &[]), ("y", &[])], &NOTHING_KNOWN, "the sample has 2 columns and no rows");
    check(&[("x", &["1"]), ("y", &["1"])], &NOTHING_KNOWN, "no column looks like a label: none has 2 to 20 values");
    check(&[("x", &["1"]), ("y", &["1"])], &label_is("y"), "label `y` has one value in 1 rows: `1`; expected at least two classes");
    check(
        &[("x", &["1", "2"]), ("y", &["1", "1"])],
        &label_is("y"),
        "label `y` has one value in 2 rows: `1`; expected at least two classes",
    );
    check(&[("x", &["1", "2"]), ("y", &["", ""])], &label_is("y"), "label `y` has 0 values; expected 2 to 1000 classes");
    check(&[("x", &["1", "2"]), ("rain", &["1", "0"])], &label_is("Rain"), "the sample has no column `Rain`; it has x, rain");
    let error = infer(&text(&[("rain", &["1"])]), &label_is("Rain")).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `rain`?"));
    let many: Vec<String> = (0..1500).map(|value| value.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&[("y", &many)], &label_is("y"), "label `y` has 1001 values; expected 2 to 1000 classes");
}

#[test]
fn guesses_and_oddities_are_told() {
    let inference = infer(&text(&[("x", &["inf", "1"]), ("same", &["4", "4"]), ("y", &["a", "b"])]), &NOTHING_KNOWN).unwrap();
    let notes = inference.notes.join("\n");
    for part in ["`infinite:x`", "`same` has the same value", "`y` is taken as the label", "class `a` of `y` occurs 1 time"] {
        assert!(notes.contains(part), "{part} is not in:\n{notes}");
    }
}
