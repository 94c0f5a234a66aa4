//! The prediction log: answered rows go into a bounded queue, and from there to the store in groups.
//!
//! Stated loss: rows answered within the last [`GROUP_MS`] before a host is killed may not be in the log; a host that is stopped
//! writes them all. When the store falls behind by more than [`QUEUE_ROWS_MAX`] rows or [`QUEUE_REQUESTS_MAX`] requests, further
//! rows are shed and counted; a reply is never held up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_pipeline::Stores;
use tidegate_serve::PredictionSink;
use tidegate_vocab::{LoggedPrediction, PipelineId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long rows wait for others, so that one commit takes many.
const GROUP_MS: u64 = 100;
/// Rows that wait at most.
const QUEUE_ROWS_MAX: usize = 100_000;
/// Requests that wait at most.
const QUEUE_REQUESTS_MAX: usize = 65_536;
/// Time between two attempts to write when the store fails.
const RETRY_MS: u64 = 1_000;

enum Item {
    Rows(PipelineId, Vec<LoggedPrediction>),
    Flush(oneshot::Sender<()>),
}

/// Where the server puts answered rows.
#[derive(Clone)]
pub struct PredictionLog {
    queue: mpsc::Sender<Item>,
    waiting: Arc<AtomicUsize>,
    shed: Arc<AtomicU64>,
}

/// Writes what is in the queue.
pub struct Writer {
    queue: mpsc::Receiver<Item>,
    waiting: Arc<AtomicUsize>,
    stores: Stores,
}

/// A log over `stores`, and its writer.
pub fn prediction_log(stores: Stores) -> (PredictionLog, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    let log = PredictionLog { queue: sender, waiting: Arc::clone(&waiting), shed: Arc::default() };
    (log, Writer { queue: receiver, waiting, stores })
}

impl PredictionLog {
    /// Rows shed since the start.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Waits until everything that was logged before is in the store, or the writer has gone.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

impl PredictionSink for PredictionLog {
    fn log(&self, pipeline: &PipelineId, predictions: Vec<LoggedPrediction>) -> bool {
        let rows = predictions.len();
        let fits = self.waiting.fetch_add(rows, Ordering::Relaxed) + rows <= QUEUE_ROWS_MAX;
        if fits && self.queue.try_send(Item::Rows(pipeline.clone(), predictions)).is_ok() {
            return true;
        }
        self.waiting.fetch_sub(rows, Ordering::Relaxed);
        self.shed.fetch_add(rows as u64, Ordering::Relaxed);
        false
    }
}

impl Writer {
    /// Writes until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                item = self.queue.recv() => item,
                () = stop.cancelled() => None,
            };
            let Some(first) = first else { break };
            if matches!(first, Item::Rows(..)) {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(GROUP_MS)) => {}
                    () = stop.cancelled() => {}
                }
            }
            self.write(Some(first), &stop).await;
        }
        self.queue.close();
        self.write(None, &stop).await;
    }

    /// Writes `first` and all that waits behind it.
    async fn write(&mut self, first: Option<Item>, stop: &CancellationToken) {
        let (mut groups, mut flushed): (BTreeMap<PipelineId, Vec<LoggedPrediction>>, _) = (BTreeMap::new(), Vec::new());
        let mut next = first.or_else(|| self.queue.try_recv().ok());
        while let Some(item) = next {
            match item {
                Item::Rows(pipeline, rows) => groups.entry(pipeline).or_default().extend(rows),
                Item::Flush(done) => flushed.push(done),
            }
            next = self.queue.try_recv().ok();
        }
        for (pipeline, rows) in groups {
            self.keep(&pipeline, &rows, stop).await;
            self.waiting.fetch_sub(rows.len(), Ordering::Relaxed);
        }
        for done in flushed {
            let _ = done.send(());
        }
    }

    /// Tries until the rows are kept. While the host stops, there is one attempt.
    async fn keep(&self, pipeline: &PipelineId, rows: &[LoggedPrediction], stop: &CancellationToken) {
        loop {
            match self.stores.feedback.log_predictions(self.stores.fence, pipeline, rows).await {
                Ok(()) => return,
                Err(error) if stop.is_cancelled() => {
                    tracing::error!(%pipeline, rows = rows.len(), %error, "predictions not logged");
                    return;
                }
                Err(error) => tracing::error!(%pipeline, rows = rows.len(), %error, "predictions not logged yet; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
