//! Asking the other side, and what its answer means.

use tidegate_plugin::Failure;
use tidegate_plugin::http::{self, Request, Response};

use crate::Config;
use crate::cursor::Mark;

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
            let header = |name: &str| response.header(name).map(str::to_owned);
            let mark = Mark { etag: header("etag"), modified: header("last-modified") };
            Ok(Fetched::Body(response.body, mark))
        }
        _ => Err(refused(config, &response)),
    }
}

fn refused(config: &Config, response: &Response) -> Failure {
    let advice = if matches!(response.status, 401 | 403) { "; check `secret` and the value behind it" } else { "" };
    let failure = response.failure(&config.url);
    Failure { message: failure.message + advice, ..failure }
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
