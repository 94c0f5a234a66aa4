use arrow::array::{AsArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use tidegate_vocab::{ContractColumn, DType};

use super::*;
use crate::sample::{DAY, column, contract, raw_part, text};
use crate::{decode_clean, typed};

fn kept(rows: &Batch, kept: &[u32]) -> Batch {
    let taken = take_record_batch(&rows.rows, &UInt32Array::from(kept.to_vec())).unwrap();
    Batch { rows: taken, roles: rows.roles.clone() }
}

/// Rows of `x` and label, through no cleaner: which rows stay, and why the others do not.
fn check_contract(columns: Vec<ContractColumn>, cells: &[(&str, &str)], expected: &str) {
    let days: Vec<String> = (0..cells.len()).map(|day| day.to_string()).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let (x, rain): (Vec<&str>, Vec<&str>) = cells.iter().copied().unzip();
    let contract = contract(columns);
    let typed = typed(&text(&[("day", &days), ("rain", &rain), ("x", &x)]), &contract, Timestamp(7)).unwrap();
    let out = assemble(&raw_part(100, cells.len()), KnownTime::AfterDelay, &contract, &typed, &[], &typed.rows).unwrap();
    let numbers = out.rows.column(RowColumns::ROW).unwrap().as_primitive::<Int64Type>().values().to_vec();
    let reasons: Vec<String> = out.quarantined.iter().map(|q| format!(" {}:{}{:?}", q.by, q.reason, q.rows)).collect();
    assert_eq!(format!("{numbers:?}{}", reasons.concat()), expected);
}

#[test]
fn every_rule_of_the_contract_has_its_reason() {
    let x = |dtype| column("x", dtype);
    check_contract(
        vec![x(DType::F64)],
        &[("1", "0"), ("", "0"), ("NaN", "1"), ("inf", "0"), ("a", "0")],
        "[100] contract:infinite:x[103] contract:null:x[101, 102] contract:type:x[104]",
    );
    let nullable = ContractColumn { nullable: true, low: Some(1.0), high: Some(2.0), ..x(DType::F64) };
    check_contract(
        vec![nullable],
        &[("1", "0"), ("", "0"), ("NaN", "1"), ("0.9", "0"), ("2", "0"), ("-inf", "0")],
        "[100, 101, 102, 104] contract:infinite:x[105] contract:range:x[103]",
    );
    let whole = ContractColumn { nullable: true, low: Some(1.0), ..x(DType::I64) };
    check_contract(vec![whole], &[("0", "0"), ("", "0"), ("1", "1")], "[101, 102] contract:range:x[100]");
    let colour = ContractColumn { nullable: true, categories: Some(vec!["red".into()]), ..x(DType::Utf8) };
    check_contract(vec![colour], &[("red", "0"), ("blue", "0"), ("", "1")], "[100, 102] contract:category:x[101]");
    // A late label is let through; one that is no class is not. The column's reason stands before the label's.
    check_contract(vec![x(DType::F64)], &[("1", ""), ("1", "2"), ("", "2")], "[100] contract:class:rain[101] contract:null:x[102]");
}

#[test]
fn times_and_numbers_are_those_of_the_pipeline() {
    let contract = contract(vec![column("x", DType::F64)]);
    let raw = text(&[("day", &["5", "bad", "3", "4"]), ("rain", &["0", "0", "-", "1"]), ("x", &["1", "1", "2", "3"])]);
    let typed = typed(&raw, &contract, Timestamp(7)).unwrap();
    let step = |kept: &[u32], dropped: &[u32]| CleanerStep {
        cleaner: "dry".into(),
        kept: KeptRows::These(kept.to_vec()),
        dropped: dropped.iter().map(|row| (*row, "wet".to_owned())).collect(),
    };
    let of = |known, steps: &[CleanerStep], cleaned: &Batch| assemble(&raw_part(10, 4), known, &contract, &typed, steps, cleaned);
    let out = of(KnownTime::AfterDelay, &[step(&[1, 2], &[0])], &kept(&typed.rows, &[1, 2])).unwrap();
    assert_eq!(out.rows.column(RowColumns::ROW).unwrap().as_primitive::<Int64Type>().values().to_vec(), [12, 13]);
    assert_eq!(out.event_time, Some((Timestamp(3 * DAY), Timestamp(4 * DAY))));
    let known = out.rows.column(RowColumns::KNOWN_TIME).unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    assert!(known.is_null(0) && known.value(1) == 5 * DAY, "a missing label is not known");
    let quarantined: Vec<_> = out.quarantined.iter().map(|q| (q.by.as_str(), q.reason.as_str(), &q.rows[..])).collect();
    assert_eq!(quarantined, [("contract", "time:day", &[11][..]), ("dry", "wet", &[10][..])]);
    let out = of(KnownTime::WhenPolled, &[step(&[0, 1, 2], &[])], &typed.rows).unwrap();
    assert_eq!(out.rows.column(RowColumns::KNOWN_TIME).unwrap().as_primitive::<TimestampMicrosecondType>().value(0), 7);

    // A cleaner that loses, doubles, invents or turns rows round is refused.
    for (kept_rows, dropped) in
        [(&[0, 1][..], &[][..]), (&[0, 1, 2], &[2]), (&[0, 1, 1], &[]), (&[0, 2, 1], &[]), (&[0, 1, 9], &[]), (&[0, 1], &[0])]
    {
        let refused = of(KnownTime::AfterDelay, &[step(kept_rows, dropped)], &typed.rows).unwrap_err();
        assert!(matches!(&refused, DatasetError::CleanerRows { cleaner, .. } if cleaner == "dry"), "{kept_rows:?} {dropped:?}: {refused}");
    }
    let refused = of(KnownTime::AfterDelay, &[step(&[1, 2], &[0])], &typed.rows).unwrap_err();
    assert!(matches!(refused, DatasetError::CleanerRows { .. }));
    let renamed = Batch::new(vec![("z".into(), Role::Feature, Arc::clone(typed.rows.column("x").unwrap()))]).unwrap();
    let refused = of(KnownTime::AfterDelay, &[], &renamed).unwrap_err();
    assert!(matches!(refused, DatasetError::CleanedColumn { .. }));
    let other_part = assemble(&raw_part(10, 5), KnownTime::AfterDelay, &contract, &typed, &[], &typed.rows).unwrap_err();
    assert!(matches!(other_part, DatasetError::RawRows { expected: 5, found: 4 }));
}

#[test]
fn a_part_of_no_rows_has_a_file_too() {
    let contract = contract(vec![column("x", DType::F64)]);
    let typed = typed(&text(&[("day", &["0"]), ("rain", &["0"]), ("x", &["a"])]), &contract, Timestamp(7)).unwrap();
    let (part, file, _) =
        clean_part(&raw_part(0, 1), &Digest::of("c"), KnownTime::AfterDelay, &contract, &typed, &[], &typed.rows).unwrap();
    assert_eq!((part.row_count, part.event_time, part.quarantined.len()), (0, None, 1));
    assert_eq!(decode_clean(file.bytes()).unwrap().row_count(), 0);
}

proptest! {
    /// Rows with a fate each: 0 kept, 1 type, 2 first cleaner, 3 second cleaner, 4 contract.
    #[test]
    fn every_row_is_kept_or_quarantined_once(fates in prop::collection::vec(0u8..5, 0..60), first_row in 0u64..1000) {
        let days: Vec<String> = (0..fates.len()).map(|day| day.to_string()).collect();
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        let x: Vec<&str> = fates.iter().map(|fate| match fate { 1 => "bad", 4 => "inf", _ => "1" }).collect();
        let contract = contract(vec![column("x", DType::F64)]);
        let raw = text(&[("day", &days), ("rain", &vec!["1"; fates.len()]), ("x", &x)]);
        let Ok(typed) = typed(&raw, &contract, Timestamp(7)) else { return Ok(()) };
        let (mut rows, mut indexes, mut steps) = (typed.rows.clone(), typed.row_index.clone(), Vec::new());
        for fate in [2, 3] {
            let (stay, go): (Vec<u32>, Vec<u32>) =
                (0..indexes.len() as u32).partition(|row| fates[indexes[*row as usize] as usize] != fate);
            rows = kept(&rows, &stay);
            indexes = stay.iter().map(|row| indexes[*row as usize]).collect();
            steps.push(CleanerStep { cleaner: format!("c{fate}"), kept: KeptRows::These(stay), dropped: go.into_iter().map(|row| (row, "r".into())).collect() });
        }
        let out = assemble(&raw_part(first_row, fates.len()), KnownTime::AfterDelay, &contract, &typed, &steps, &rows).unwrap();
        let mut seen: Vec<u64> = out.rows.column(RowColumns::ROW).unwrap().as_primitive::<Int64Type>().values().iter().map(|row| *row as u64).collect();
        prop_assert!(seen.iter().all(|row| fates[(*row - first_row) as usize] == 0));
        for quarantined in &out.quarantined {
            prop_assert!(quarantined.rows.is_sorted());
            seen.extend(&quarantined.rows);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (first_row..first_row + fates.len() as u64).collect::<Vec<_>>());
    }
}
