//! Asking the other side, and what its answer means.

use tidegate_plugin::Failure;
use tidegate_plugin::http::{self, Request, Response};

use crate::Config;
use crate::cursor::Mark;
use crate::document::bare;

/// When to try again where the other side does not say.
const RETRY_MS: u64 = 30_000;
/// The longest time that the other side may ask for: a day.
const RETRY_MS_MAX: u64 = 86_400_000;
/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;

/// What the other side answered.
pub enum Fetched {
    /// A document.
    Body(Vec<u8>, Mark),
    /// The document is the one that the mark is about.
    Unchanged,
}

/// Asks for a page, unless it is still the one that `mark` is about.
pub fn fetch(config: &Config, page: Option<&str>, mark: &Mark) -> Result<Fetched, Failure> {
    let mut headers: Vec<(String, String)> = config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    match mark {
        Mark { etag: Some(etag), .. } => headers.push(("if-none-match".into(), etag.clone())),
        Mark { modified: Some(modified), .. } => headers.push(("if-modified-since".into(), modified.clone())),
        Mark { .. } => {}
    }
    let url = match (&config.pages, page) {
        (Some(pages), Some(page)) => {
            let join = if config.url.contains('?') { '&' } else { '?' };
            format!("{}{join}{}={}", config.url, encoded(&pages.parameter), encoded(page))
        }
        _ => config.url.clone(),
    };
    let secret = config.secret.clone();
    let response = http::send(Request { method: "GET".into(), url, headers, body: Vec::new(), secret })?;
    match response.status {
        304 => Ok(Fetched::Unchanged),
        200..=299 => {
            let mark = Mark { etag: header(&response, "etag"), modified: header(&response, "last-modified") };
            Ok(Fetched::Body(response.body, mark))
        }
        status => Err(refused(config, status, &response)),
    }
}

fn refused(config: &Config, status: u16, response: &Response) -> Failure {
    let text: String = String::from_utf8_lossy(&response.body).chars().take(SHOWN_MAX).collect();
    let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
    let advice = if matches!(status, 401 | 403) { "; check `secret` and the value behind it" } else { "" };
    let failure = Failure::with_code(status, format!("`{}` answered {status}{said}{advice}", bare(&config.url)));
    if !(status == 408 || status == 429 || status >= 500) {
        return failure;
    }
    let seconds = header(response, "retry-after").and_then(|value| value.trim().parse::<u64>().ok());
    let retry_after_ms = seconds.map_or(RETRY_MS, |seconds| seconds.saturating_mul(1_000).min(RETRY_MS_MAX));
    Failure { retryable: true, retry_after_ms: Some(retry_after_ms), ..failure }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
