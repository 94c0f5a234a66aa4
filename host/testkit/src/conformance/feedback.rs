//! What every prediction log and store of late labels must do.

#![expect(clippy::unwrap_used, reason = "a suite of tests says what is wrong by panicking")]

use tidegate_store::{ArrivedLabel, Feedback, Fence, LabelsKept, MetaStore, Write};
use tidegate_vocab::{LateLabel, PipelineId, Timestamp};

use super::Refusal;
use crate::samples::{label, named, pipeline, prediction, raw_part};

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// Runs the suite; `make` gives a store on which nobody has taken a fence.
///
/// # Panics
/// When the store does not do what it must.
pub async fn feedback<S: Feedback + MetaStore>(make: impl AsyncFn() -> S) {
    predictions_are_a_log(&make().await).await;
    labels_find_their_rows(&make().await).await;
    labels_are_kept_together(&make().await).await;
    labels_are_as_of_an_instant(&make().await).await;
    a_stale_fence_writes_nothing(&make().await).await;
    what_is_old_can_be_let_go(&make().await).await;
}

fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn rows(names: &[(&str, u64)]) -> Vec<(String, u64)> {
    names.iter().map(|(name, row)| ((*name).to_owned(), *row)).collect()
}

async fn predictions_are_a_log<S: Feedback + MetaStore>(store: &S) {
    let (fence, p, other) = (store.take_fence("suite").await.unwrap(), pipeline(), named("other"));
    assert_eq!(store.prediction_count(&p).await.unwrap(), 0);
    store.log_predictions(fence, &p, &[]).await.unwrap();
    let many: Vec<_> = (0..4_500).map(|number| prediction(&format!("r{number}"), number)).collect();
    store.log_predictions(fence, &p, &many).await.unwrap();
    store.log_predictions(fence, &other, &[prediction("r1", 9)]).await.unwrap();
    let again = tidegate_vocab::LoggedPrediction { predicted: "0".into(), ..prediction("r1", 7) };
    store.log_predictions(fence, &p, std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(store.prediction_count(&p).await.unwrap(), 4_501);

    // Page by page, in order, whatever other pipelines wrote in between.
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = store.predictions(&p, after, 1_000).await.unwrap();
        assert!(page.len() <= 1_000 && page.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let Some((last, _)) = page.last() else { break };
        after = *last;
        seen.extend(page.into_iter().map(|(_, row)| row));
    }
    assert_eq!(seen, many.into_iter().chain([again.clone()]).collect::<Vec<_>>());

    let found = store.predictions_of(&p, &ids(&["r1", "r2", "nobody"])).await.unwrap();
    assert_eq!(found.len(), 2, "an id that was never answered is left out");
    assert_eq!((&found["r1"], &found["r2"]), (&again, &prediction("r2", 2)), "the last answer counts");
    assert!(store.predictions_of(&p, &[]).await.unwrap().is_empty());
}

async fn labels_find_their_rows<S: Feedback + MetaStore>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    store.name_rows(fence, &p, &rows(&[("a", 3), ("b", 4), ("a", 7)])).await.unwrap();
    store.log_predictions(fence, &p, &[prediction("served", 1)]).await.unwrap();
    let labels = [label("a", "1", 10), label("served", "0", 11)];
    assert_eq!(store.add_labels(fence, &p, AT, &labels).await.unwrap(), LabelsKept::Kept { added: 2, unchanged: 0 });
    let kept = store.labels(&p, 0, 10).await.unwrap();
    let shown: Vec<(&LateLabel, Option<u64>)> = kept.iter().map(|ArrivedLabel { label, row, .. }| (label, *row)).collect();
    assert_eq!(shown, [(&labels[0], Some(7)), (&labels[1], None)], "the later row of an id is the one that is meant");
    assert_eq!(store.labels(&p, kept[0].number, 10).await.unwrap(), kept[1..]);
    assert_eq!(store.labels(&p, 0, 1).await.unwrap(), kept[..1]);
    // A row that comes after its label has it from then on.
    store.name_rows(fence, &p, &rows(&[("served", 9)])).await.unwrap();
    assert_eq!(store.labels(&p, kept[0].number, 10).await.unwrap()[0].row, Some(9));
    assert!(store.labels(&named("other"), 0, 10).await.unwrap().is_empty());
}

async fn labels_are_kept_together<S: Feedback + MetaStore>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    store.name_rows(fence, &p, &rows(&[("a", 0), ("b", 1)])).await.unwrap();
    let add = async |labels: &[LateLabel]| store.add_labels(fence, &p, AT, labels).await.unwrap();
    let unknown = add(&[label("x", "1", 1), label("a", "1", 1), label("y", "1", 1)]).await;
    assert_eq!(unknown, LabelsKept::Unknown(ids(&["x", "y"])));
    assert_eq!(store.label_count(&p).await.unwrap(), 0, "one unknown id keeps all of them out");
    let other: PipelineId = named("other");
    assert_eq!(store.add_labels(fence, &other, AT, &[label("a", "1", 1)]).await.unwrap(), LabelsKept::Unknown(ids(&["a"])));
    assert_eq!(add(&[label("a", "1", 1), label("b", "0", 1)]).await, LabelsKept::Kept { added: 2, unchanged: 0 });
    // The same again changes nothing, another class corrects, and both can come in one go.
    assert_eq!(add(&[label("a", "1", 5), label("b", "1", 6)]).await, LabelsKept::Kept { added: 1, unchanged: 1 });
    assert_eq!(add(&[label("a", "0", 7), label("a", "0", 8), label("a", "1", 9)]).await, LabelsKept::Kept { added: 2, unchanged: 1 });
    assert_eq!(store.label_count(&p).await.unwrap(), 5);
}

async fn labels_are_as_of_an_instant<S: Feedback + MetaStore>(store: &S) {
    let (fence, p) = (store.take_fence("suite").await.unwrap(), pipeline());
    store.name_rows(fence, &p, &rows(&[("a", 0), ("b", 1), ("c", 2)])).await.unwrap();
    for (id, class, known_at) in [("c", "1", 30), ("a", "0", 10), ("b", "1", 20), ("a", "1", 25)] {
        store.add_labels(fence, &p, AT, &[label(id, class, known_at)]).await.unwrap();
    }
    let check = async |from_row, until, expected: &[(u64, &str, i64)]| {
        let found = store.labels_of_rows(&p, from_row, Timestamp(until)).await.unwrap();
        let found: Vec<(u64, &str, i64)> = found.iter().map(|(row, class, known)| (*row, class.as_str(), known.0)).collect();
        assert_eq!(found, expected, "from row {from_row}, known until {until}");
    };
    check(0, 9, &[]).await;
    check(0, 10, &[(0, "0", 10)]).await;
    check(0, 24, &[(0, "0", 10), (1, "1", 20)]).await;
    check(0, 30, &[(0, "1", 25), (1, "1", 20), (2, "1", 30)]).await;
    check(1, 30, &[(1, "1", 20), (2, "1", 30)]).await;
    check(3, i64::MAX, &[]).await;
}

async fn a_stale_fence_writes_nothing<S: Feedback + MetaStore>(store: &S) {
    let p = pipeline();
    let stale: Fence = store.take_fence("first").await.unwrap();
    let fence = store.take_fence("second").await.unwrap();
    store.name_rows(fence, &p, &rows(&[("a", 0)])).await.unwrap();
    let refused = [
        Refusal::of(&store.log_predictions(stale, &p, &[prediction("a", 1)]).await),
        Refusal::of(&store.name_rows(stale, &p, &rows(&[("b", 1)])).await),
        Refusal::of(&store.add_labels(stale, &p, AT, &[label("a", "1", 1)]).await),
    ];
    assert_eq!(refused, [Some(Refusal::Fenced); 3]);
    assert_eq!((store.prediction_count(&p).await.unwrap(), store.label_count(&p).await.unwrap()), (0, 0));
    assert_eq!(store.add_labels(fence, &p, AT, &[label("b", "1", 1)]).await.unwrap(), LabelsKept::Unknown(ids(&["b"])));
}

async fn what_is_old_can_be_let_go<S: Feedback + MetaStore>(store: &S) {
    let (fence, p, other) = (store.take_fence("suite").await.unwrap(), pipeline(), named("other"));
    let parts = vec![Write::RawPart(raw_part(0, 10)), Write::RawPart(raw_part(10, 10))];
    for name in [&p, &other] {
        store.commit(fence, name, AT, parts.clone()).await.unwrap();
        store.name_rows(fence, name, &rows(&[("old", 3), ("new", 12)])).await.unwrap();
        store.log_predictions(fence, name, &[prediction("served", 5), prediction("late", 15)]).await.unwrap();
        let labels = [label("old", "1", 1), label("new", "1", 1), label("served", "1", 1)];
        store.add_labels(fence, name, Timestamp(6), &labels).await.unwrap();
        store.add_labels(fence, name, Timestamp(16), &[label("late", "1", 1)]).await.unwrap();
    }
    store.commit(fence, &p, AT, vec![Write::DropRows { below: 10 }, Write::DropFeedback { before: Timestamp(10) }]).await.unwrap();
    let left = async |name: &PipelineId| -> Vec<String> {
        store.labels(name, 0, 10).await.unwrap().into_iter().map(|label| label.label.row_id).collect()
    };
    assert_eq!(left(&p).await, ids(&["new", "late"]), "labels of rows that stay are kept, however old");
    assert_eq!(left(&other).await.len(), 4, "other pipelines keep theirs");
    assert_eq!((store.prediction_count(&p).await.unwrap(), store.prediction_count(&other).await.unwrap()), (1, 2));
    // Its row is forgotten, so that a label finds nothing; numbers are never given out again.
    assert_eq!(store.add_labels(fence, &p, AT, &[label("old", "0", 2)]).await.unwrap(), LabelsKept::Unknown(ids(&["old"])));
    let last = store.labels(&other, 0, 10).await.unwrap().last().unwrap().number;
    store.add_labels(fence, &p, AT, &[label("new", "0", 2)]).await.unwrap();
    assert!(store.labels(&p, 0, 10).await.unwrap().last().unwrap().number > last);
}
