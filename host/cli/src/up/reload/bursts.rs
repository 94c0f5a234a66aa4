//! Changes in a folder, a burst of which is one.

use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long a folder must be quiet before a change is looked at.
const QUIET_MS: u64 = 100;
/// Changes that wait to be looked at; more are one.
const CHANGES_MAX: usize = 16;

/// Bursts of changes in one folder.
pub struct Bursts {
    changes: mpsc::Receiver<()>,
    /// It watches for as long as it is there.
    _watcher: RecommendedWatcher,
}

impl Bursts {
    /// Those in `folder` itself that are about a file `concerns` wants.
    ///
    /// # Errors
    /// The system's, when it cannot watch the folder.
    pub fn of(folder: &Path, concerns: impl Fn(&Path) -> bool + Send + 'static) -> notify::Result<Bursts> {
        let (changed, changes) = mpsc::channel(CHANGES_MAX);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| concerns(path))) {
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Bursts { changes, _watcher: watcher })
    }

    /// Waits for the end of the next burst.
    pub async fn next(&mut self) {
        if self.changes.recv().await.is_none() {
            // The system watches no more; nothing will come.
            std::future::pending::<()>().await;
        }
        while tokio::time::timeout(Duration::from_millis(QUIET_MS), self.changes.recv()).await.is_ok_and(|change| change.is_some()) {}
    }
}
