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

/// Sends a request and waits for the answer.
///
/// # Errors
/// When the operator did not grant it, or there was no answer.
pub fn send(request: Request) -> Result<Response, Failure> {
    let headers = request.headers.into_iter().map(|(name, value)| http::Header { name, value }).collect();
    let Request { method, url, body, secret, .. } = Request { headers: Vec::new(), ..request };
    let answer = http::send(&http::Request { method, url, headers, body, secret }).map_err(Failure::from_host)?;
    let headers = answer.headers.into_iter().map(|header| (header.name, header.value)).collect();
    Ok(Response { status: answer.status, headers, body: answer.body })
}
