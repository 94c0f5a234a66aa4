use proptest::prelude::*;
use tidegate_vocab::{LabelColumn, Role};

use super::*;

/// A committed row: number, event time, when its label was known, value, label.
type Row = (i64, i64, Option<i64>, f64, Option<&'static str>);

fn contract() -> Contract {
    let feature = |name: &str, dtype| ContractColumn {
        name: name.into(),
        dtype,
        role: Role::Feature,
        nullable: false,
        low: None,
        high: None,
        categories: None,
    };
    let label = LabelColumn { column: "y".into(), classes: vec!["a".into(), "b".into()], delay_us: 0, by_id: false };
    Contract { id: None, time: None, label, columns: vec![feature("x", DType::F64), feature("n", DType::I64)] }
}

fn history(rows: &[Row]) -> Batch {
    let instants = |values: Vec<Option<i64>>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    let numbers: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let values: arrow::array::Float64Array = rows.iter().map(|row| Some(row.3)).collect();
    let labels: arrow::array::StringArray = rows.iter().map(|row| row.4).collect();
    Batch::new(vec![
        (RowColumns::ROW.into(), Role::Id, Arc::new(numbers.clone())),
        (RowColumns::EVENT_TIME.into(), Role::Time, instants(rows.iter().map(|row| Some(row.1)).collect())),
        (RowColumns::KNOWN_TIME.into(), Role::Time, instants(rows.iter().map(|row| row.2).collect())),
        ("x".into(), Role::Feature, Arc::new(values)),
        ("n".into(), Role::Feature, Arc::new(numbers)),
        ("y".into(), Role::Label, Arc::new(labels)),
    ])
    .expect("a batch")
}

fn lags(rows: &[u32], labels: &[u32]) -> Lags {
    Lags { rows: rows.to_vec(), columns: Some(vec!["x".into()]), labels: labels.to_vec() }
}

fn numbers(batch: &Batch, name: &str) -> Vec<Option<f64>> {
    batch.column(name).expect("the lag").as_primitive::<arrow::datatypes::Float64Type>().iter().collect()
}

fn words(batch: &Batch, name: &str) -> Vec<Option<String>> {
    batch.column(name).expect("the lag").as_string::<i32>().iter().map(|word| word.map(str::to_owned)).collect()
}

#[test]
fn a_row_sees_the_values_before_it_and_the_labels_known_by_then() {
    // Labels are known two instants later; row 3 never got one.
    let rows =
        [(0, 0, Some(2), 10.0, Some("a")), (1, 1, Some(3), 11.0, Some("b")), (2, 2, Some(4), 12.0, Some("a")), (3, 3, None, 13.0, None)];
    let lagged = lags(&[1, 2], &[1]).attach(&contract(), &history(&rows)).expect("lags");
    assert_eq!(numbers(&lagged.rows, "x@1"), [None, Some(10.0), Some(11.0), Some(12.0)]);
    assert_eq!(numbers(&lagged.rows, "x@2"), [None, None, Some(10.0), Some(11.0)]);
    assert_eq!(words(&lagged.rows, "y@1"), [None, None, Some("a".into()), Some("b".into())]);
    assert_eq!(lagged.complete, [false, false, true, true]);
    let roles: Vec<&Role> =
        ["x@1", "x@2", "y@1"].map(|name| &lagged.rows.roles[lagged.rows.rows.schema().index_of(name).unwrap()]).to_vec();
    assert_eq!(roles, [&Role::Feature; 3]);
}

#[test]
fn a_row_that_came_late_is_not_seen_from_before_its_time() {
    // Row 1 came second and is of a later time than row 2.
    let rows =
        [(0, 0, Some(0), 10.0, Some("a")), (1, 9, Some(9), 11.0, Some("b")), (2, 5, Some(5), 12.0, Some("a")), (3, 9, Some(9), 13.0, None)];
    let lagged = lags(&[1], &[1]).attach(&contract(), &history(&rows)).expect("lags");
    assert_eq!(numbers(&lagged.rows, "x@1"), [None, Some(10.0), Some(10.0), Some(12.0)]);
    assert_eq!(words(&lagged.rows, "y@1"), [None, Some("a".into()), Some("a".into()), Some("a".into())]);
}

#[test]
fn rows_too_far_back_are_not_seen_however_much_was_read() {
    let far = LOOKBACK_ROWS_MAX as i64;
    let rows = [(0, 0, Some(0), 10.0, Some("a")), (far, 1, None, 11.0, None), (far + 1, 2, None, 12.0, None)];
    let lagged = lags(&[1], &[1]).attach(&contract(), &history(&rows)).expect("lags");
    assert_eq!(numbers(&lagged.rows, "x@1"), [None, Some(10.0), Some(11.0)]);
    assert_eq!(words(&lagged.rows, "y@1"), [None, Some("a".into()), None]);
}

#[test]
fn what_cannot_be_made_is_named() {
    let check = |lags: Lags, expected: &str| {
        let contract = contract();
        let issue = lags.check().into_iter().next().or_else(|| lags.issue_with(&contract));
        assert_eq!(issue.map(|issue| issue.to_string()).unwrap_or_default(), expected);
    };
    check(lags(&[1, 2], &[1]), "");
    check(lags(&[0], &[]), "`lags.rows` is [0]; expected at most 16 rising numbers from 1 to 1000");
    check(lags(&[1], &[2, 2]), "`lags.labels` is [2, 2]; expected at most 16 rising numbers from 1 to 1000");
    check(lags(&[], &[1]), "`lags.columns` is given without `rows`; expected `rows` beside it, which say how far back");
    let unknown = Lags { columns: Some(vec!["z".into()]), ..lags(&[1], &[]) };
    check(unknown, "`lags.columns` is `z`; expected features of the contract (x, n)");
    let missing = history(&[]).columns().skip(1).map(|(name, role, array)| (name.to_owned(), role.clone(), Arc::clone(array))).collect();
    let refused = lags(&[1], &[]).attach(&contract(), &Batch::new(missing).unwrap()).unwrap_err();
    assert!(refused.to_string().starts_with("column `tidegate_row` is missing"), "{refused}");
}

/// Rows with rising numbers, gaps, times in any order, labels known whenever.
fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (1..4i64, 0..40i64, proptest::option::of(0..50i64), 0..100u32, 0..3usize);
    proptest::collection::vec(row, 1..40).prop_map(|rows| {
        let mut number = 0;
        let made = rows.into_iter().map(|(gap, event, known, value, label)| {
            number += gap;
            let label = known.map(|_| ["a", "b", "a"][label]);
            (number, event, known, f64::from(value), label)
        });
        made.collect()
    })
}

proptest! {
    /// Whatever is changed of what was not known at a row's moment, the row's lags stay as they are.
    #[test]
    fn nothing_from_after_a_moment_reaches_it(rows in any_rows(), at in 0..40usize, noise in 0..1_000u32) {
        let at = at % rows.len();
        let (number, time, ..) = rows[at];
        let lags = lags(&[1, 3], &[1, 2]);
        let before = lags.attach(&contract(), &history(&rows)).unwrap().rows.slice(at, 1);
        let mut changed = rows.clone();
        for row in &mut changed {
            if row.0 >= number || row.1 > time {
                row.3 = f64::from(noise) + 1_000.0;
            }
            if row.0 >= number || row.2.is_none_or(|known| known > time) {
                row.4 = row.4.map(|label| if label == "a" { "b" } else { "a" });
            }
        }
        // Rows that came later do not exist yet, and neither do labels that nobody knows.
        let after = lags.attach(&contract(), &history(&changed)).unwrap().rows.slice(at, 1);
        let alone = lags.attach(&contract(), &history(&rows[..=at])).unwrap().rows.slice(at, 1);
        for name in ["x@1", "x@3", "y@1", "y@2"] {
            prop_assert_eq!(before.column(name), after.column(name));
            prop_assert_eq!(before.column(name), alone.column(name));
        }
    }

    /// A request that comes at the moment of a row that is committed next is given what training gives that row.
    #[test]
    fn a_request_is_given_what_training_gives_the_row(rows in any_rows()) {
        let lags = lags(&[1, 2], &[1, 3]);
        let last = rows.len() - 1;
        let trained = lags.attach(&contract(), &history(&rows)).unwrap();
        let request = history(&rows).slice(last, 1);
        // Numbers of a service have no gap before the next row.
        let known = history(&rows[..last]);
        let served = lags.attach_now(&contract(), &known, Timestamp(rows[last].1), &request).unwrap();
        for name in ["x@1", "x@2", "y@1", "y@3"] {
            let (trained, served) = (trained.rows.slice(last, 1), &served.rows);
            prop_assert_eq!(trained.column(name), served.column(name));
        }
        prop_assert_eq!(trained.complete[last], served.complete[0]);
    }
}
