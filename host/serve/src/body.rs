//! Reads the body of a request within its limits.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, timeout};

use crate::refusal::Refusal;
use crate::settings::{BODY_BYTES_LARGE, ServeSettings};

/// A body, and the right to hold it in memory where it is large.
pub(crate) struct Held<'a> {
    /// The bytes.
    pub bytes: Bytes,
    _large: Option<SemaphorePermit<'a>>,
}

/// The whole body, if it comes in time and is not too long.
pub(crate) async fn read<'a>(body: Body, settings: &ServeSettings, large: &'a Semaphore) -> Result<Held<'a>, Refusal> {
    match timeout(Duration::from_millis(settings.body_ms_max), collect(body, settings, large)).await {
        Ok(held) => held,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come whole within {} ms; send it faster, or in smaller requests", settings.body_ms_max),
        )),
    }
}

async fn collect<'a>(mut body: Body, settings: &ServeSettings, large: &'a Semaphore) -> Result<Held<'a>, Refusal> {
    let announced = body.size_hint().lower();
    if announced > settings.body_bytes_max as u64 {
        return Err(too_long(settings));
    }
    let (mut first, mut rest, mut permit) = (Bytes::new(), BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::bad(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + rest.len() + data.len();
        if length > settings.body_bytes_max {
            return Err(too_long(settings));
        }
        if length > BODY_BYTES_LARGE && permit.is_none() {
            permit = Some(large.try_acquire().map_err(|_| too_many(settings))?);
        }
        // Nearly every body is one frame, which is handed on as it lies.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Held { bytes, _large: permit })
}

fn too_long(settings: &ServeSettings) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is longer than {} bytes; send the rows in several requests", settings.body_bytes_max),
    )
}

fn too_many(settings: &ServeSettings) -> Refusal {
    Refusal::later(format!(
        "{} bodies above {BODY_BYTES_LARGE} bytes are being read already; try again, or send smaller requests",
        settings.bodies_large_max
    ))
}

/// Refuses the binary form of tensors, which follows the JSON of a request that says so.
pub(crate) fn refuse_binary(headers: &http::HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key("inference-header-content-length") {
        return Err(Refusal::bad(
            "binary tensors are not read; send the tensors as JSON (in tritonclient: `set_data_from_numpy(…, binary_data=False)`)",
        ));
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read; send plain JSON"));
    }
    Ok(())
}
