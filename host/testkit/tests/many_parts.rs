//! That reads by row number stay a look-up, whatever the number of parts.

use tidegate_store::{MetaStore as _, SqliteStore, Write};
use tidegate_testkit::samples::{clean_part, digest, pipeline, raw_part};
use tidegate_vocab::Timestamp;

#[tokio::test]
async fn one_commit_of_many_parts_is_read_back_from_any_row() {
    const PARTS: u64 = 5_000;
    let (store, p) = (SqliteStore::in_memory().await.unwrap(), pipeline());
    let fence = store.take_fence("test").await.unwrap();
    let writes = (0..PARTS).flat_map(|number| {
        let raw = raw_part(10 * number, 10);
        [Write::RawPart(raw.clone()), Write::CleanPart(clean_part(&raw, 1))]
    });
    store.commit(fence, &p, Timestamp(0), writes.collect()).await.unwrap();
    for row in [0, 9, 10, 25_001, 10 * PARTS - 1, 10 * PARTS] {
        let expected = PARTS - row / 10;
        assert_eq!(store.raw_parts(&p, row).await.unwrap().len() as u64, expected, "from row {row}");
        assert_eq!(store.clean_parts(&p, &digest(1), row).await.unwrap().len() as u64, expected, "from row {row}");
    }
}
