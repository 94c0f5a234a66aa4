//! Requests to the hosts that the operator granted.

use crate::Failure;
use crate::host::http;

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET` or `POST`.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The name of a granted secret that the host adds on the way out.
    pub secret: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// When to try again where the other side does not say.
const RETRY_MS: u64 = 30_000;
/// The longest time that the other side may ask for: a day.
const RETRY_MS_MAX: u64 = 86_400_000;
/// Characters of a body that a failure shows.
const SHOWN_MAX: usize = 200;

impl Response {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The failure of a call to `url` that needed another answer than this.
    ///
    /// Its code is the status, and its message shows the beginning of the body. 408, 429 and 5xx can be tried again: after as many
    /// seconds as `retry-after` says, a day at most, or after half a minute.
    pub fn failure(&self, url: &str) -> Failure {
        let text: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_MAX).collect();
        let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
        // The query of an address may hold what is nobody's business.
        let place = url.split('?').next().unwrap_or(url);
        let failure = Failure::with_code(self.status, format!("`{place}` answered {}{said}", self.status));
        if !(matches!(self.status, 408 | 429) || self.status >= 500) {
            return failure;
        }
        let seconds = self.header("retry-after").and_then(|value| value.trim().parse::<u64>().ok());
        let retry_after_ms = seconds.map_or(RETRY_MS, |seconds| seconds.saturating_mul(1_000).min(RETRY_MS_MAX));
        Failure { retryable: true, retry_after_ms: Some(retry_after_ms), ..failure }
    }
}

/// Sends a request and waits for the answer.
///
/// Any status is an answer. A redirect is followed where it is granted too, for `GET` and `HEAD`, and for other methods where it is a
/// 307 or 308; the rest is answered as it came. A secret goes only to the host and path it is bound to, and what the other side
/// repeats of it is taken out of the answer.
///
/// # Errors
/// When the operator did not grant it, or there was no answer; [`Failure::retryable`] says whether trying again can help. A body
/// beyond `egress_bytes_max` ends the call.
pub fn send(request: Request) -> Result<Response, Failure> {
    let headers = request.headers.into_iter().map(|(name, value)| http::Header { name, value }).collect();
    let Request { method, url, body, secret, .. } = Request { headers: Vec::new(), ..request };
    let answer = http::send(&http::Request { method, url, headers, body, secret }).map_err(Failure::from_host)?;
    let headers = answer.headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(Response { status: answer.status, headers, body: answer.body })
}
