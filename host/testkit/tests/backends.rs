//! Every backend against the suite of its trait.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tidegate_store::{ObjectBlobs, SqliteStore};
use tidegate_testkit::{MemoryStore, conformance};

/// A folder, and a new name in it at every call.
struct Folder(TempDir, AtomicU64);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap(), AtomicU64::new(0))
    }

    fn next(&self) -> std::path::PathBuf {
        self.0.path().join(self.1.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

#[tokio::test]
async fn sqlite_file_is_a_meta_store() {
    let folder = Folder::new();
    conformance::meta_store(async || SqliteStore::open(&folder.next()).await.unwrap()).await;
}

#[tokio::test]
async fn sqlite_memory_is_a_meta_store() {
    conformance::meta_store(async || SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn the_model_is_a_meta_store() {
    conformance::meta_store(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn a_local_folder_keeps_blobs() {
    let folder = Folder::new();
    conformance::blobs(async || ObjectBlobs::in_folder(&folder.next()).unwrap()).await;
}

#[tokio::test]
async fn objects_in_memory_keep_blobs() {
    conformance::blobs(async || ObjectBlobs::in_memory()).await;
}

#[tokio::test]
async fn the_model_keeps_blobs() {
    conformance::blobs(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_file_is_a_work_queue() {
    let folder = Folder::new();
    conformance::work_queue(async || SqliteStore::open(&folder.next()).await.unwrap()).await;
}

#[tokio::test]
async fn sqlite_memory_is_a_work_queue() {
    conformance::work_queue(async || SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn the_model_is_a_work_queue() {
    conformance::work_queue(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_file_keeps_feedback() {
    let folder = Folder::new();
    conformance::feedback(async || SqliteStore::open(&folder.next()).await.unwrap()).await;
}

#[tokio::test]
async fn sqlite_memory_keeps_feedback() {
    conformance::feedback(async || SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn the_model_keeps_feedback() {
    conformance::feedback(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_file_can_be_looked_after() {
    let folder = Folder::new();
    conformance::upkeep(async || SqliteStore::open(&folder.next()).await.unwrap()).await;
}

#[tokio::test]
async fn the_model_can_be_looked_after() {
    conformance::upkeep(async || MemoryStore::new()).await;
}
