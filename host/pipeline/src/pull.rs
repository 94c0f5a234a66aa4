//! One pull from a source, on a thread of its own.
//!
//! The next pull may be under way while the rows of the last one are stored: the source goes on from where it stands, not from
//! what is committed. Invariant: rows are committed in the order in which they were pulled; a pull that nobody waits for any more
//! is thrown away, and the source is opened again at the committed cursor.

use tidegate_sandbox::{CallError, Pull};
use tidegate_vocab::Timestamp;
use tokio::task::JoinHandle;

use crate::{PipelineError, PluginStep, Settings, SourcePort};

/// A pull under way. It has the port, and gives it back at its end.
pub(crate) struct Pulling {
    /// When it began.
    polled_at: Timestamp,
    task: JoinHandle<(Box<dyn SourcePort>, Result<Pull, CallError>)>,
}

/// Where a source stands.
pub(crate) enum Standing {
    /// Behind the rows of its last pull.
    Open,
    /// It has to be opened at this cursor.
    Closed(Option<Vec<u8>>),
}

impl Pulling {
    /// Starts a pull of at most `rows_max` rows.
    pub(crate) fn start(
        source: &mut PluginStep<dyn SourcePort>,
        standing: Standing,
        settings: &Settings,
        rows_max: u32,
        now: Timestamp,
    ) -> Result<Pulling, PipelineError> {
        let mut port = source.port.take().ok_or(PipelineError::Thread { step: "source" })?;
        let bytes_max = settings.poll_bytes_max;
        let task = tokio::task::spawn_blocking(move || {
            let opened = match standing {
                Standing::Open => Ok(()),
                Standing::Closed(cursor) => port.open(cursor.as_deref()),
            };
            let pulled = opened.and_then(|()| port.next(rows_max, bytes_max));
            (port, pulled)
        });
        Ok(Pulling { polled_at: now, task })
    }

    /// Waits for its end: when it began, and what the source had.
    pub(crate) async fn end(self, source: &mut PluginStep<dyn SourcePort>) -> Result<(Timestamp, Result<Pull, CallError>), PipelineError> {
        let (port, pulled) = self.task.await.map_err(|_| PipelineError::Thread { step: "source" })?;
        source.port = Some(port);
        Ok((self.polled_at, pulled))
    }

    /// Waits for its end and throws away what the source had; the source has to be opened again.
    pub(crate) async fn abandon(self, source: &mut PluginStep<dyn SourcePort>) {
        // Where the port is lost in a panic, the next pull says so.
        if let Ok((port, _)) = self.task.await {
            source.port = Some(port);
        }
    }
}
