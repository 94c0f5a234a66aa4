//! What a request gets that is not answered: a status and a sentence, as `{"error": "..."}`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// Seconds after which a client may try again where nothing better is known.
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whose fault it is, and of what kind.
    pub status: StatusCode,
    /// What was expected, what was found, and the way out.
    pub sentence: String,
    /// Row ids that the sentence is about.
    pub ids: Vec<String>,
    /// When to try again, where that may help.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal with `status`.
    pub(crate) fn new(status: StatusCode, sentence: impl Into<String>) -> Refusal {
        Refusal { status, sentence: sentence.into(), ids: Vec::new(), retry_after_s: None }
    }

    /// 400: the request does not say what it must.
    pub(crate) fn bad(sentence: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// 404: there is no such thing.
    pub(crate) fn missing(sentence: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    }

    /// 422: the request is well formed, but cannot be followed.
    pub(crate) fn unprocessable(sentence: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, sentence)
    }

    /// 503: not now, but perhaps later.
    pub(crate) fn later(sentence: impl Into<String>) -> Refusal {
        Refusal { retry_after_s: Some(RETRY_AFTER_S), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence) }
    }

    /// 500: a fault of the host or of a plugin.
    pub(crate) fn fault(sentence: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({ "error": self.sentence });
        if !self.ids.is_empty() {
            body["ids"] = self.ids.into();
        }
        let mut response = json(self.status, body.to_string());
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A response with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
