//! `[store]`: where the state lives.

use std::path::{Path, PathBuf};

use super::section::Section;

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The state folder: database, blobs, key, compiled plugins.
    pub folder: PathBuf,
    /// Days after which rows that nothing refers to may be dropped; never, when absent.
    pub retention_days: Option<u32>,
    /// Bytes that the state folder may take; as many as there are, when absent.
    pub disk_bytes_max: Option<u64>,
}

pub(super) fn store(root: &Section<'_>, folder: &Path) -> StoreConfig {
    let mut config = StoreConfig { folder: folder.join("state"), retention_days: None, disk_bytes_max: None };
    let Some(section) = root.section("store") else { return config };
    if let Some(path) = section.text("folder") {
        config.folder = folder.join(path.value);
    }
    config.retention_days = section.integer("retention_days", 1..=36_500).and_then(|days| u32::try_from(days).ok());
    config.disk_bytes_max = section.bytes("disk_bytes_max", 64 << 20..=1 << 50);
    for (key, schemes) in [("metadata", "postgres://"), ("blobs", "s3://")] {
        // Refused, not noted: going on with a folder would put the state where nobody looks for it.
        if let Some(url) = section.text(key) {
            let message = format!("`[store] {key}` is not served by this build, which keeps its state in a folder");
            let hint = format!("remove `{key}` and set `folder`; `{schemes}` comes with the cluster backends");
            section.problem(url.span, message, "not served", Some(hint));
        }
    }
    section.finish();
    config
}
