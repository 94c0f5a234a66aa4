use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::executor::block_on;
use proptest::prelude::*;
use tidegate_vocab::{Batch, DType, Role, RowColumns};

use super::*;
use crate::sample::{DAY, MemoryBlobs, cache, chain, column, contract, stored};
use crate::{LateLabels, PartCache, PartReader, read_history, read_rows, read_snapshot, rows_of};

fn request(contract: &Contract, window_rows: Option<u64>, known_day: i64) -> SnapshotRequest<'_> {
    SnapshotRequest {
        chain: chain(),
        cleaners: vec![],
        contract,
        window_rows,
        event_cutoff: Timestamp(i64::MAX),
        knowledge_cutoff: Timestamp(known_day * DAY),
        validation_share: 0.25,
        gate_rows: 1,
        lookback_rows: 0,
    }
}

fn reader<'a>(blobs: &'a MemoryBlobs, cache: &'a PartCache) -> PartReader<'a> {
    static NONE: std::sync::LazyLock<LateLabels> = std::sync::LazyLock::new(LateLabels::default);
    PartReader { blobs, cache, late: &NONE }
}

fn numbers(rows: &Batch) -> Vec<i64> {
    rows.column(RowColumns::ROW).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// Two parts of days 0-4 and 5-9; day 6 has no label.
fn ten_days(blobs: &MemoryBlobs) -> Vec<CleanPart> {
    let days: Vec<(i64, &str)> = (0..10).map(|day| (day, if day == 6 { "-" } else { "1" })).collect();
    vec![stored(blobs, 0, &days[..5]), stored(blobs, 5, &days[5..])]
}

/// The rows and splits of a snapshot of ten days, or the error.
fn check(window_rows: Option<u64>, known_day: i64, expected: &str) {
    let (blobs, contract) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]));
    let parts = ten_days(&blobs);
    let found = block_on(async {
        let snapshot = plan_snapshot(&reader(&blobs, &cache()), &parts, &request(&contract, window_rows, known_day)).await?;
        let rows = read_snapshot(&blobs, &cache(), &snapshot).await?;
        let splits: Vec<String> = snapshot.splits.iter().map(|split| format!(" {}={}..{}", split.name, split.start, split.end)).collect();
        Ok::<_, DatasetError>(format!("{:?}{}", numbers(&rows), splits.concat()))
    });
    assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected);
}

#[test]
fn holds_the_newest_known_rows_split_in_time() {
    check(None, 100, "[0, 1, 2, 3, 4, 5, 7, 8, 9] train=0..6 validation=6..8 gate=8..9");
    check(Some(4), 100, "[5, 7, 8, 9] train=0..2 validation=2..3 gate=3..4");
    // Labels are known a day after their day.
    check(Some(4), 8, "[3, 4, 5, 7] train=0..2 validation=2..3 gate=3..4");
    check(None, 1, "[0] train=0..1");
    check(None, 2, "[0, 1] train=0..1 gate=1..2");
    check(None, 0, "the snapshot would be empty: of 10 committed rows none has a label known by the cut-off");
    check(Some(0), 9, "the snapshot would be empty: of 10 committed rows none has a label known by the cut-off");
}

#[test]
fn reads_no_more_parts_than_the_window_needs_and_each_once() {
    let (blobs, contract, cache) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]), cache());
    let parts = ten_days(&blobs);
    for _ in 0..3 {
        block_on(plan_snapshot(&reader(&blobs, &cache), &parts, &request(&contract, Some(3), 100))).unwrap();
    }
    assert_eq!(*blobs.reads.lock().unwrap(), 1);
    assert!(cache.byte_count() > 0);
    // A cache that is too small for both parts keeps the one read last.
    let small = PartCache::new(cache.byte_count());
    for part in [0, 1, 1, 0, 1] {
        block_on(small.part(&blobs, &parts[part].digest)).unwrap();
        assert!(small.byte_count() <= cache.byte_count());
    }
    assert_eq!(*blobs.reads.lock().unwrap(), 1 + 4);
    let none = PartCache::new(0);
    block_on(none.part(&blobs, &parts[0].digest)).unwrap();
    assert_eq!(none.byte_count(), 0);
}

#[test]
fn refuses_parts_that_do_not_belong_together() {
    let (blobs, contract) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]));
    let mut parts = ten_days(&blobs);
    let plan = |parts: &[CleanPart]| block_on(plan_snapshot(&reader(&blobs, &cache()), parts, &request(&contract, None, 100)));
    parts.reverse();
    assert!(matches!(plan(&parts), Err(DatasetError::PartsDiffer { .. })));
    parts.reverse();
    parts[1].chain = Digest::of("another");
    assert!(matches!(plan(&parts), Err(DatasetError::PartsDiffer { .. })));
    parts[1].chain = chain();
    parts[1].digest = Digest::of("gone");
    assert!(matches!(plan(&parts), Err(DatasetError::Fetch { .. })));
}

#[test]
fn rows_are_read_by_number_and_knowledge() {
    let (blobs, contract) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]));
    let parts = ten_days(&blobs);
    let read = |from, to, known: Option<i64>| {
        let known = known.map(|day| Timestamp(day * DAY));
        block_on(read_rows(&reader(&blobs, &cache()), &contract, &parts, from, to, known)).unwrap()
    };
    assert_eq!(numbers(&read(3, 7, None)), [3, 4, 5, 6]);
    assert_eq!(numbers(&read(3, 7, Some(5))), [3, 4]);
    assert_eq!(numbers(&read(0, u64::MAX, Some(100))), [0, 1, 2, 3, 4, 5, 7, 8, 9]);
    let none = read(20, 30, None);
    assert_eq!((none.row_count(), none.rows.schema(), &none.roles), (0, read(0, 1, None).rows.schema(), &read(0, 1, None).roles));
    assert_eq!(read(7, 3, None).row_count(), 0);
    let empty = block_on(read_rows(&reader(&blobs, &cache()), &contract, &[], 0, 9, None)).unwrap();
    assert_eq!(empty.rows.schema(), none.rows.schema());
}

proptest! {
    /// Rows in any order of days, cut into parts anywhere, against a plain model of what a snapshot is.
    #[test]
    fn a_snapshot_is_what_the_plain_model_says(
        days in prop::collection::vec((0i64..20, prop::bool::weighted(0.8)), 1..40),
        cuts in prop::collection::vec(1usize..8, 1..10),
        window in prop::option::of(1u64..30),
        (event_day, known_day) in (0i64..22, 0i64..22),
        (share, gate_rows, lookback) in (0.0f64..0.9, 0u64..6, 1u64..12),
    ) {
        let (blobs, contract) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]));
        let labelled: Vec<(i64, &str)> = days.iter().map(|(day, label)| (*day, if *label { "1" } else { "-" })).collect();
        let (mut parts, mut at, mut cuts) = (Vec::new(), 0, cuts.iter().cycle());
        while at < labelled.len() {
            let end = (at + cuts.next().unwrap()).min(labelled.len());
            parts.push(stored(&blobs, at as u64, &labelled[at..end]));
            at = end;
        }
        let mut request = request(&contract, window, known_day);
        (request.event_cutoff, request.validation_share, request.gate_rows) = (Timestamp(event_day * DAY), share, gate_rows);

        let within = |row: &i64| {
            let (day, label) = days[*row as usize];
            label && day <= event_day && day < known_day
        };
        let all: Vec<i64> = (0..days.len() as i64).filter(within).collect();
        let mut expected = all[all.len().saturating_sub(window.unwrap_or(u64::MAX).min(1000) as usize)..].to_vec();
        expected.sort_by_key(|row| days[*row as usize].0);

        let (cache, fresh) = (cache(), cache());
        let planned = block_on(plan_snapshot(&reader(&blobs, &cache), &parts, &request));
        let Ok(snapshot) = planned else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        prop_assert_eq!(numbers(&block_on(read_snapshot(&blobs, &cache, &snapshot)).unwrap()), expected);
        prop_assert_eq!(snapshot.id(), block_on(plan_snapshot(&reader(&blobs, &fresh), &parts, &request)).unwrap().id());
        prop_assert_eq!(snapshot.splits[0].name.as_str(), "train");
        let mut end = 0;
        for split in &snapshot.splits {
            prop_assert!(split.start == end && split.end > end);
            end = split.end;
        }
        prop_assert_eq!(end, snapshot.row_count);

        // With what its rows see of others, it has the same rows; and that reaches as far back as it may.
        request.lookback_rows = lookback;
        let looking = block_on(plan_snapshot(&reader(&blobs, &cache), &parts, &request)).unwrap();
        let history = block_on(read_history(&blobs, &cache, &looking)).unwrap();
        prop_assert_eq!(rows_of(&looking, &history).unwrap(), block_on(read_snapshot(&blobs, &cache, &snapshot)).unwrap());
        let (first, last) = (looking.parts[0].first_row.saturating_sub(lookback), looking.parts[looking.parts.len() - 1].last_row);
        let seen = numbers(&history);
        prop_assert!((first..=last).all(|row| seen.contains(&(row as i64))), "{:?} of {}..={}", seen, first, last);
        request.lookback_rows = 0;

        // Another cut-off is another snapshot, even of the same rows.
        request.knowledge_cutoff = Timestamp(request.knowledge_cutoff.0 + 1);
        prop_assert_ne!(snapshot.id(), block_on(plan_snapshot(&reader(&blobs, &cache), &parts, &request)).unwrap().id());
    }
}

/// Day 6 has no label of its own and day 3 has one that is corrected.
#[test]
fn late_labels_are_laid_over_rows_and_stay_with_their_snapshot() {
    let (blobs, contract) = (MemoryBlobs::default(), contract(vec![column("x", DType::F64)]));
    let parts = ten_days(&blobs);
    let late: LateLabels = [(3, "0".to_owned(), Timestamp(20 * DAY)), (6, "1".to_owned(), Timestamp(30 * DAY))].into_iter().collect();
    let cache = cache();
    let reader = PartReader { blobs: &blobs, cache: &cache, late: &late };
    let known = |until: i64| {
        let rows = block_on(read_rows(&reader, &contract, &parts, 0, 10, Some(Timestamp(until * DAY)))).unwrap();
        let labels = rows.rows.column(rows.with_role(&Role::Label).unwrap()).as_string::<i32>().clone();
        numbers(&rows).into_iter().zip(labels.iter().map(|label| label.unwrap_or("-").to_owned())).collect::<Vec<_>>()
    };
    let of = |rows: &[(i64, String)], row: i64| rows.iter().find(|(number, _)| *number == row).map(|(_, label)| label.clone());
    assert_eq!((of(&known(40), 3), of(&known(40), 6)), (Some("0".into()), Some("1".into())));
    assert_eq!((of(&known(25), 3), of(&known(25), 6)), (Some("0".into()), None), "day 6 becomes known at day 30");

    let snapshot = block_on(plan_snapshot(&reader, &parts, &request(&contract, None, 40))).unwrap();
    assert_eq!(snapshot.row_count, 10);
    let before = block_on(read_snapshot(&blobs, &cache, &snapshot)).unwrap();
    let plain = block_on(plan_snapshot(&self::reader(&blobs, &cache), &parts, &request(&contract, None, 40))).unwrap();
    assert_eq!((plain.row_count, plain.late_labels), (9, None));
    assert_ne!(plain.id(), snapshot.id());
    let labels = before.rows.column(before.with_role(&Role::Label).unwrap()).as_string::<i32>();
    assert_eq!((labels.value(3), labels.value(6)), ("0", "1"), "a snapshot reads its own labels");
}
