//! `http`: requests to what the operator granted. A denial prints the line that would grant it.
//!
//! Invariant: every hop is checked as if it were the first, redirects included; a secret is put in at the last moment, goes only to
//! the host and path it is bound to, and nothing of it comes back to the guest.

use std::sync::Arc;

use tidegate_vocab::limits::REDIRECTS_MAX;

use crate::bindings::shared::failures::Failure;
use crate::bindings::shared::http::{Header, Host, Request, Response};
use crate::call::quoted;
use crate::egress::{Answer, EgressError, Exchange, SecretValue};
use crate::limiter::LimitHit;

use super::http_rules::{self, Target, redacted};
use super::{BAD_VALUE, DENIED, HostState};

/// The code of a failure on the way to the other side or back.
const EGRESS_FAILED: u16 = 11;

/// One request, as far as it has come.
struct Hop {
    method: String,
    target: Target,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The name of the secret it was asked to be sent with.
    secret: Option<String>,
    /// The secrets that went out so far.
    sent: Vec<SecretValue>,
}

/// Why there is no response: a value that the guest sees, or the end of its call.
enum Stop {
    Failure(Failure),
    Trap(wasmtime::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<LimitHit> for Stop {
    fn from(hit: LimitHit) -> Stop {
        Stop::Trap(hit.into())
    }
}

impl Host for HostState {
    fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Failure>> {
        self.count_call()?;
        match self.respond(request) {
            Ok(response) => Ok(Ok(response)),
            Err(Stop::Failure(failure)) => Ok(Err(failure)),
            Err(Stop::Trap(error)) => Err(error),
        }
    }
}

impl HostState {
    fn respond(&mut self, request: Request) -> Result<Response, Stop> {
        let mut hop = read(request).map_err(|why| refused(BAD_VALUE, why))?;
        let mut hops = 0;
        loop {
            let answer = self.hop(&mut hop, hops == 0)?;
            let Some(location) = redirect(&hop.method, &answer) else { return Ok(response(answer, &hop.sent)) };
            if hops == REDIRECTS_MAX {
                let message = format!("`{}` redirects on after {REDIRECTS_MAX} redirects", hop.target.host);
                return Err(refused(EGRESS_FAILED, message).into());
            }
            let next = hop.target.redirected(&location).map_err(|why| refused(DENIED, why))?;
            if !next.is_same_origin(&hop.target) {
                http_rules::forget_origin(&mut hop.headers);
            }
            hop.target = next;
            hops += 1;
        }
    }

    /// Checks one hop, sends it and waits for its answer.
    fn hop(&mut self, hop: &mut Hop, is_first: bool) -> Result<Answer, Stop> {
        if !self.grants.allows_http(&hop.method, &hop.target) {
            let line = self.grants.http_line(self.plugin.as_str(), &hop.method, &hop.target);
            let what = if is_first { "a request" } else { "a redirect" };
            let what = format!("{what} to `{}`", quoted(&hop.target.host, self.limits.metadata_bytes_max));
            return Err(self.deny(&what, line).into());
        }
        let mut headers = hop.headers.clone();
        if let Some(name) = &hop.secret {
            match self.grants.secret(self.plugin.as_str(), name, &hop.method, &hop.target) {
                Ok(secret) => {
                    headers.retain(|(header, _)| *header != secret.header);
                    headers.push((secret.header.clone(), secret.value.reveal().to_owned()));
                    hop.sent.push(secret.value.clone());
                }
                // A redirect leads away from where the secret belongs: it goes on without.
                Err(_) if !is_first => {}
                Err(denied) => return Err(self.deny(&denied.what, denied.line).into()),
            }
        }
        self.exchange(hop, headers)
    }

    fn exchange(&mut self, hop: &Hop, headers: Vec<(String, String)>) -> Result<Answer, Stop> {
        let left = self.egress_bytes_left.checked_sub(hop.body.len() as u64).ok_or_else(|| self.out_of_bytes())?;
        self.egress_connections_left = self.egress_connections_left.checked_sub(1).ok_or_else(|| self.out_of_connections())?;
        // What is left of the call after a request that failed is the guest's, to say so and to end well.
        let within = self.time_left()?.mul_f64(0.9);
        let exchange = Exchange {
            is_tls: hop.target.is_tls(),
            host: hop.target.host.clone(),
            port: hop.target.port,
            method: hop.method.clone(),
            target: hop.target.path_and_query(),
            headers,
            body: hop.body.clone(),
            answer_bytes_max: left,
            within,
        };
        let egress = Arc::clone(&self.egress);
        let answered = self.waited_for(move || egress.send(&exchange)).map_err(Stop::Trap)?;
        let broken = || EgressError::Failed { message: "the request broke off inside the host".into(), retryable: false };
        match answered.unwrap_or_else(|| Err(broken())) {
            Ok(answer) if answer.body.len() as u64 <= left => {
                self.egress_bytes_left = left - answer.body.len() as u64;
                Ok(answer)
            }
            Ok(_) | Err(EgressError::TooLarge { .. }) => Err(self.out_of_bytes().into()),
            Err(EgressError::Forbidden { message, address }) => {
                let line = self.grants.http_line(self.plugin.as_str(), &hop.method, &hop.target.at_address(&address));
                let message = quoted(&message, self.limits.metadata_bytes_max);
                Err(self.deny(&format!("{message}: that"), line).into())
            }
            Err(error) => Err(self.egress_failure(&hop.target, &error).into()),
        }
    }

    fn out_of_bytes(&self) -> LimitHit {
        let most = self.limits.egress_bytes_max;
        LimitHit { limit: "egress_bytes_max", at: format!("its requests and their answers have more than {most} bytes in one call") }
    }

    fn out_of_connections(&self) -> LimitHit {
        let most = self.limits.egress_connections_max;
        LimitHit { limit: "egress_connections_max", at: format!("its requests and their redirects need more than {most} connections") }
    }

    fn egress_failure(&self, target: &Target, error: &EgressError) -> Failure {
        let (code, retryable) = match error {
            EgressError::Forbidden { .. } => (DENIED, false),
            EgressError::TooLarge { .. } => (EGRESS_FAILED, false),
            EgressError::TimedOut { .. } => (EGRESS_FAILED, true),
            EgressError::Failed { retryable, .. } => (EGRESS_FAILED, *retryable),
        };
        let message = quoted(&format!("a request to `{}:{}` failed: {error}", target.host, target.port), self.limits.metadata_bytes_max);
        Failure { code, message, retryable, retry_after_ms: None }
    }
}

fn read(request: Request) -> Result<Hop, String> {
    let Request { method, url, headers, body, secret } = request;
    let (method, target, headers) = (http_rules::method(&method)?, Target::read(&url)?, http_rules::headers(headers)?);
    Ok(Hop { method, target, headers, body, secret, sent: Vec::new() })
}

/// Where an answer sends on to. What changes something is sent on only where the answer says that it keeps its method and body; any
/// other redirect is the guest's to look at.
fn redirect(method: &str, answer: &Answer) -> Option<String> {
    let is_read = matches!(method, "GET" | "HEAD");
    let follows = matches!(answer.status, 307 | 308) || (is_read && matches!(answer.status, 301..=303));
    let location = || answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.clone());
    if follows { location() } else { None }
}

fn response(answer: Answer, secrets: &[SecretValue]) -> Response {
    let clean = |text: String| String::from_utf8_lossy(&redacted(text.into_bytes(), secrets)).into_owned();
    let headers = answer.headers.into_iter().map(|(name, value)| Header { name: clean(name), value: clean(value) }).collect();
    Response { status: answer.status, headers, body: redacted(answer.body, secrets) }
}

fn refused(code: u16, message: String) -> Failure {
    Failure { code, message, retryable: false, retry_after_ms: None }
}

#[cfg(test)]
mod tests;
