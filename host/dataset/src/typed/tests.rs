use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use tidegate_vocab::TimeUnit;

use super::*;
use crate::sample::{DAY, column, contract, text};

/// One column `x` of `dtype` beside sound days and labels: its values (or the error) and who was quarantined.
fn check(dtype: DType, cells: &[&str], expected: &str) {
    let days: Vec<String> = (0..cells.len()).map(|day| day.to_string()).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let raw = text(&[("day", &days), ("rain", &vec!["0"; cells.len()]), ("x", cells), ("extra", cells)]);
    assert_eq!(shown(typed(&raw, &contract(vec![column("x", dtype)]), Timestamp(7))), expected, "{cells:?} as {dtype:?}");
}

fn shown(result: Result<Typed, DatasetError>) -> String {
    let typed = match result {
        Ok(typed) => typed,
        Err(error) => return format!("{error}"),
    };
    let values = values(typed.rows.column("x").unwrap());
    let kept_out: Vec<String> = typed.quarantined.iter().map(|(row, reason)| format!(" {row}={reason}")).collect();
    format!("{values}{}", kept_out.concat())
}

fn values(array: &ArrayRef) -> String {
    let one = |row: usize| match array {
        _ if array.is_null(row) => "-".into(),
        array if array.data_type() == &DType::F64.arrow() => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        array if array.data_type() == &DType::I64.arrow() => array.as_primitive::<Int64Type>().value(row).to_string(),
        array if array.data_type() == &DType::Bool.arrow() => array.as_boolean().value(row).to_string(),
        array if array.data_type() == &DType::Utf8.arrow() => format!("'{}'", array.as_string::<i32>().value(row)),
        array => Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)).to_string(),
    };
    (0..array.len()).map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn reads_every_type_from_text() {
    check(DType::F64, &["1", " -2.5e3 ", "+0.1", "1e400", "-inf"], "1.0 -2500.0 0.1 inf -inf");
    check(DType::F64, &["", "-", "  ", "NaN", "nan", "-nan"], "- - - NaN NaN NaN");
    check(DType::F64, &["1", "one", "1,5", "2", "0x10"], "1.0 2.0 1=type:x 2=type:x 4=type:x");
    check(
        DType::I64,
        &["1", " -7", "9223372036854775807", "", "1.0", "9223372036854775808"],
        "1 -7 9223372036854775807 - 4=type:x 5=type:x",
    );
    check(DType::Bool, &["true", "False", "1", " 0 ", "", "yes", "2"], "true false true false - 5=type:x 6=type:x");
    check(DType::Utf8, &["a", "", " b ", "-", "0"], "'a' - ' b ' - '0'");
    check(
        DType::TimestampUs,
        &["1970-01-02", "2024-02-29", "2024-05-01T10:20:30", "2024-05-01 10:20:30Z", "2024-05-01T12:20:30+02:00", "5", ""],
        "1970-01-02T00:00:00Z 2024-02-29T00:00:00Z 2024-05-01T10:20:30Z 2024-05-01T10:20:30Z 2024-05-01T10:20:30Z 1970-01-01T00:00:00.000005Z -",
    );
    check(
        DType::TimestampUs,
        &["2023-02-29", "2024-13-01", "2024-05-01T25:00:00", "x", "0001-01-01"],
        "0001-01-01T00:00:00Z 0=type:x 1=type:x 2=type:x 3=type:x",
    );
    check(DType::F64, &[], "");
    check(DType::F64, &["3"], "3.0");
}

#[test]
fn a_column_that_changed_stops_the_ingest() {
    let long = "x".repeat(100);
    let mut cells = vec!["warm"; TYPE_CHANGED_ROWS_MIN];
    cells[1] = &long;
    let cut = "x".repeat(40);
    check(DType::F64, &cells, &format!("column `x` broke the contract: expected f64, found `warm`, `{cut}…`"));
    // One row that can be read, or one row fewer, and the rows are at fault.
    let mut mixed = cells.clone();
    mixed[3] = "1";
    let days = mixed.len();
    assert!(days == TYPE_CHANGED_ROWS_MIN);
    let kept_out: String = (0..days).filter(|row| *row != 3).map(|row| format!(" {row}=type:x")).collect();
    check(DType::F64, &mixed, &format!("1.0{kept_out}"));
    let kept_out: String = (0..days - 1).map(|row| format!(" {row}=type:x")).collect();
    check(DType::F64, &cells[..days - 1], &kept_out);
}

#[test]
fn a_column_that_vanished_is_named_with_what_came() {
    let raw = text(&[("day", &["0"]), ("rain", &["0"]), ("y", &["1"])]);
    let error = typed(&raw, &contract(vec![column("x", DType::F64)]), Timestamp(7)).unwrap_err();
    assert_eq!(error.to_string(), "column `x` broke the contract: expected a column of f64, found `day`, `rain`, `y`");
    assert!(error.hint().unwrap().contains("contract infer"));
    // A batch without any column, as of an empty file, names the first column of the contract.
    let error = typed(&Batch::new(vec![]).unwrap(), &contract(vec![]), Timestamp(7)).unwrap_err();
    assert!(matches!(error, DatasetError::ContractBroken { column, .. } if column == "day"));
}

fn check_typed(dtype: DType, array: ArrayRef, expected: &str) {
    let count = array.len();
    let days: Vec<String> = (0..count).map(|day| day.to_string()).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let mut columns: Vec<_> = text(&[("day", &days), ("rain", &vec!["1"; count])])
        .columns()
        .map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array)))
        .collect();
    columns.push(("x".into(), Role::Feature, array));
    assert_eq!(shown(typed(&Batch::new(columns).unwrap(), &contract(vec![column("x", dtype)]), Timestamp(7))), expected);
}

#[test]
fn converts_typed_columns_where_nothing_is_lost() {
    let floats = || Arc::new(Float64Array::from(vec![Some(1.0), Some(-0.0), None, Some(f64::NAN), Some(1.5)]));
    check_typed(DType::F64, floats(), "1.0 -0.0 - NaN 1.5");
    check_typed(DType::I64, floats(), "1 0 - - 4=type:x");
    check_typed(DType::Utf8, floats(), "'1' '0' - - '1.5'");
    check_typed(DType::Bool, floats(), "true false - - 4=type:x");
    check_typed(DType::TimestampUs, floats(), "column `x` broke the contract: expected timestamp-us, found f64");
    check_typed(DType::F64, Arc::new(Int64Array::from(vec![Some(3), None])), "3.0 -");
    check_typed(DType::F64, Arc::new(BooleanArray::from(vec![true])), "column `x` broke the contract: expected f64, found bool");
    check_typed(DType::Utf8, Arc::new(BooleanArray::from(vec![true])), "'true'");
}

#[test]
fn event_time_comes_from_the_time_column() {
    let raw = text(&[("day", &["0", "2", "", "x", "1.5", "99999999999999"]), ("rain", &["0"; 6]), ("x", &["1"; 6])]);
    let out = typed(&raw, &contract(vec![column("x", DType::F64)]), Timestamp(7)).unwrap();
    assert_eq!(out.event_time, [0, 2 * DAY, DAY * 3 / 2]);
    assert_eq!(out.row_index, [0, 1, 4]);
    let late = |row: u32| (row, "time:day".to_owned());
    assert_eq!(out.quarantined, [late(2), late(3), late(5)]);
    // `day` is both: it is held once, as the id.
    assert_eq!(out.rows.roles, [Role::Id, Role::Label, Role::Feature]);
    assert_eq!(values(out.rows.column("day").unwrap()), "'0' '2' '1.5'");

    let mut other = contract(vec![column("x", DType::F64)]);
    other.id = None;
    other.time = Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::H), origin_us: DAY });
    let out = typed(&raw, &other, Timestamp(7)).unwrap();
    assert_eq!(out.rows.roles, [Role::Time, Role::Label, Role::Feature]);
    assert_eq!(out.event_time[1], DAY + 2 * TimeUnit::H.micros());

    other.time = None;
    let out = typed(&raw, &other, Timestamp(7)).unwrap();
    assert_eq!(out.event_time, [7; 6]);

    let all_wrong = text(&[("day", &["x"; 20]), ("rain", &["0"; 20]), ("x", &["1"; 20])]);
    let error = typed(&all_wrong, &contract(vec![]), Timestamp(7)).unwrap_err();
    assert!(matches!(error, DatasetError::ContractBroken { column, .. } if column == "day"));
}

#[test]
fn labels_are_text_and_the_first_reason_wins() {
    let raw = text(&[("day", &["0", "1", "x"]), ("rain", &[" 1", "", "0"]), ("x", &["1", "b", "c"]), ("y", &["1", "b", "c"])]);
    let out = typed(&raw, &contract(vec![column("y", DType::F64), column("x", DType::F64)]), Timestamp(7)).unwrap();
    assert_eq!(values(out.rows.column("rain").unwrap()), "'1'");
    assert_eq!(out.quarantined, [(1, "type:y".to_owned()), (2, "time:day".to_owned())]);

    let mut wrong = contract(vec![column("rain", DType::F64)]);
    assert!(matches!(typed(&raw, &wrong, Timestamp(7)), Err(DatasetError::ContractAmbiguous { .. })));
    wrong.columns = vec![column("x", DType::F64), column("x", DType::I64)];
    assert!(matches!(typed(&raw, &wrong, Timestamp(7)), Err(DatasetError::ContractAmbiguous { .. })));
}

proptest! {
    #[test]
    fn numbers_read_as_the_standard_library_reads_them(value in any::<f64>(), blanks in " {0,2}") {
        let text = format!("{blanks}{value}{blanks}");
        let Cell::Value(read) = cell_of(&text) else { panic!("{text}") };
        prop_assert!(read.to_bits() == value.to_bits() || value.is_nan() && read.is_nan());
    }

    #[test]
    fn no_text_is_too_strange(cells in prop::collection::vec(".{0,12}", 0..30), threads in 1usize..4) {
        let columns: Vec<(&str, Vec<&str>)> =
            ["day", "rain", "x", "i", "b", "t"].iter().map(|name| (*name, cells.iter().map(String::as_str).collect())).collect();
        let borrowed: Vec<(&str, &[&str])> = columns.iter().map(|(name, cells)| (*name, &cells[..])).collect();
        let raw = text(&borrowed);
        let contract = contract(vec![
            column("x", DType::F64), column("i", DType::I64), column("b", DType::Bool), column("t", DType::TimestampUs),
        ]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (first, second) = (typed(&raw, &contract, Timestamp(0)), pool.install(|| typed(&raw, &contract, Timestamp(0))));
        if let (Ok(first), Ok(second)) = (&first, &second) {
            prop_assert_eq!(first.row_index.len() + first.quarantined.len(), cells.len());
            prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
        }
        prop_assert_eq!(first.is_ok(), second.is_ok());
    }

    #[test]
    fn instants_read_as_the_calendar_has_them(seconds in -60_000_000_000i64..200_000_000_000) {
        let text = Timestamp(seconds * 1_000_000).to_string();
        prop_assert_eq!(crate::cell::instant_of(text.as_bytes()), Cell::Value(seconds * 1_000_000));
    }
}

use crate::cell::Cell;

fn cell_of(text: &str) -> Cell<f64> {
    crate::cell::f64_of(text.as_bytes())
}
