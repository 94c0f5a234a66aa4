//! `GET /events`: the parts of a page that have changed, as server-sent events, each named after the element that it replaces.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tidegate_vocab::Digest;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::app::App;
use crate::page;
use crate::refusal::Refusal;

/// Time after which a browser whose connection broke tries again.
const RETRY_MS: u32 = 2_000;

/// One page that follows the state.
struct Subscriber {
    app: Arc<App>,
    /// The pipeline that the page shows; all of them when absent.
    pipeline: Option<String>,
    changes: watch::Receiver<u64>,
    /// What the page was sent last, by element.
    sent: HashMap<String, Digest>,
    /// Before this the page gets nothing new.
    next: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

/// Sends the parts of a page whenever they change; first all of them, because the page may be older than the connection.
pub(crate) fn follow(app: &Arc<App>, query: Option<&str>) -> Response {
    let Ok(permit) = app.subscribers.clone().try_acquire_owned() else {
        let full = format!("{} pages follow the state already; close one, or reload this one now and then", app.settings.subscribers_max);
        return Refusal::later(full).into_response();
    };
    let pipeline = query.and_then(|query| query.strip_prefix("pipeline=")).map(str::to_owned);
    let changes = app.ports.changes.clone();
    let subscriber = Subscriber { app: app.clone(), pipeline, changes, sent: HashMap::new(), next: None, _permit: permit };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        let text = subscriber.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), subscriber))
    });
    let mut response = Response::new(Body::new(StreamBody::new(events)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

impl Subscriber {
    /// The next events; `None` when the server stops, or nothing will change any more.
    async fn next(&mut self) -> Option<String> {
        let stop = self.app.stop.clone();
        tokio::select! {
            text = self.changed() => text,
            () = stop.cancelled() => None,
        }
    }

    async fn changed(&mut self) -> Option<String> {
        let heartbeat = Duration::from_millis(self.app.settings.heartbeat_ms);
        loop {
            if let Some(next) = self.next {
                match timeout(heartbeat, self.changes.changed()).await {
                    Ok(changed) => changed.ok()?,
                    Err(_) => return Some(": still here\n\n".into()),
                }
                // What changes meanwhile is in the same update.
                sleep_until(next).await;
            }
            self.changes.mark_unchanged();
            self.next = Some(Instant::now() + Duration::from_millis(self.app.settings.update_ms_min));
            let is_first = self.sent.is_empty();
            let text = self.update().await;
            if is_first {
                return Some(format!("retry: {RETRY_MS}\n\n{text}"));
            }
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// An event for every element that is not what the page was sent last.
    async fn update(&mut self) -> String {
        let status = self.app.ports.views.status().await;
        let mut text = String::new();
        for (element, html) in page::fragments(&status, self.pipeline.as_deref()) {
            let digest = Digest::of(&html);
            if self.sent.insert(element.clone(), digest) == Some(digest) {
                continue;
            }
            text.push_str("event: ");
            text.push_str(&element);
            for line in html.lines() {
                text.push_str("\ndata: ");
                text.push_str(line);
            }
            text.push_str("\n\n");
        }
        text
    }
}
