//! What every store of blobs must do.

#![expect(clippy::unwrap_used, reason = "a suite of tests says what is wrong by panicking")]

use bytes::Bytes;
use tidegate_store::{Blob, Blobs, StoreError};
use tidegate_vocab::{Digest, Timestamp};

/// Runs the suite; `make` gives an empty store.
///
/// # Panics
/// When the store does not do what it must.
pub async fn blobs<S: Blobs>(make: impl AsyncFn() -> S) {
    let store = make().await;
    assert!(store.list().await.unwrap().is_empty());
    let missing = Digest::of("missing");
    assert!(!store.has(&missing).await.unwrap());
    assert!(matches!(store.get(&missing).await, Err(StoreError::BlobMissing { digest }) if digest == missing));
    store.remove(&missing).await.unwrap();

    let contents = [Bytes::new(), Bytes::from_static(b"a"), Bytes::from((0..=255).collect::<Vec<u8>>()), Bytes::from(vec![7; 1 << 20])];
    let mut names = Vec::new();
    for content in &contents {
        let digest = store.put(content.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(content), "a blob is named by its digest");
        assert_eq!(store.put(content.clone()).await.unwrap(), digest, "putting it again changes nothing");
        store.put_blob(Blob::new(content.clone())).await.unwrap();
        assert_eq!(store.get(&digest).await.unwrap(), *content);
        assert!(store.has(&digest).await.unwrap());
        names.push((digest, content.len() as u64));
    }
    names.sort_unstable();
    let named = Blob::new(Bytes::from_static(b"named before"));
    store.put_blob(named.clone()).await.unwrap();
    assert_eq!(store.get(&named.digest()).await.unwrap(), *named.bytes());
    store.remove(&named.digest()).await.unwrap();
    assert_eq!(store.list().await.unwrap(), names);

    let (gone, _) = names.remove(1);
    store.remove(&gone).await.unwrap();
    store.remove(&gone).await.unwrap();
    assert!(!store.has(&gone).await.unwrap());
    assert_eq!(store.list().await.unwrap(), names);

    let aged = store.list_aged().await.unwrap();
    assert_eq!(aged.iter().map(|blob| (blob.digest, blob.byte_count)).collect::<Vec<_>>(), names);
    let oldest = aged[0];
    assert!(!store.remove_older(&oldest.digest, oldest.put_at).await.unwrap(), "what was put at the instant itself stays");
    assert!(store.has(&oldest.digest).await.unwrap());
    // Putting makes a blob young again, so that garbage collection does not take what is about to be named.
    let again = store.put(store.get(&oldest.digest).await.unwrap()).await.unwrap();
    let young = store.list_aged().await.unwrap().into_iter().find(|blob| blob.digest == again).unwrap();
    assert!(young.put_at >= oldest.put_at);
    assert!(store.remove_older(&again, Timestamp(i64::MAX)).await.unwrap());
    assert!(!store.remove_older(&again, Timestamp(i64::MAX)).await.unwrap(), "it is gone");
    assert!(!store.has(&again).await.unwrap());
}
