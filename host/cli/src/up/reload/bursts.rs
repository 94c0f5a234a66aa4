//! Changes in a folder, a burst of which is one.

use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long a folder must be quiet before a change is looked at.
const QUIET_MS: u64 = 100;
/// How long a burst may last: one who writes without end must not keep everybody else's changes from being looked at.
const BURST_MS_MAX: u64 = 2_000;
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
            // A system that lost count of changes names no paths.
            let is_due = |event: notify::Event| event.need_rescan() || event.paths.iter().any(|path| concerns(path));
            if event.is_ok_and(|event| !event.kind.is_access() && is_due(event)) {
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
        settle(&mut self.changes, Duration::from_millis(QUIET_MS), Duration::from_millis(BURST_MS_MAX)).await;
    }
}

/// Waits until no change came for as long as `quiet`, but no longer than `longest`.
async fn settle(changes: &mut mpsc::Receiver<()>, quiet: Duration, longest: Duration) {
    let end = Instant::now() + longest;
    // Asked for the end each time: there may be another change at every instant.
    while Instant::now() < end {
        let quiet_at = end.min(Instant::now() + quiet);
        if !timeout_at(quiet_at, changes.recv()).await.is_ok_and(|change| change.is_some()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_ends_though_somebody_writes_for_ever() {
        let (changed, mut changes) = mpsc::channel(CHANGES_MAX);
        let writing = tokio::spawn(async move { while changed.send(()).await.is_ok() {} });
        let settled = settle(&mut changes, Duration::from_secs(1), Duration::from_millis(10));
        assert!(tokio::time::timeout(Duration::from_secs(30), settled).await.is_ok(), "it waits as long as somebody writes");
        drop(changes);
        writing.await.unwrap();
    }
}
