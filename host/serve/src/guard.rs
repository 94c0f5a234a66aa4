//! Who may send which request: names in `Host` and `Origin`, and tokens.
//!
//! A web page that somebody looks at can post to a loopback address, and can make its own name resolve to one. So on loopback
//! `Host` must name this machine, and whatever changes something must come from our own pages or from no page at all.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode, header};

use crate::refusal::Refusal;
use crate::token_file::TokenFile;
use crate::tokens::TokenRole;

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: health, which whatever restarts the process must see.
    Nothing,
    /// A token of the role, unless the server listens on loopback.
    TokenIfPublic(TokenRole),
    /// A token of the role, everywhere.
    Token(TokenRole),
}

/// What a request to `path` needs; anything new is for operators until it is listed here.
pub(crate) fn needs(method: &Method, path: &str) -> Needs {
    let health = ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"];
    if health.contains(&path) {
        return Needs::Nothing;
    }
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match path {
        "/v1/labels" => Needs::Token(TokenRole::Label),
        path if path.starts_with("/v2/models/") && path.ends_with("/infer") => Needs::TokenIfPublic(TokenRole::Predict),
        _ if is_read => Needs::TokenIfPublic(TokenRole::Read),
        _ => Needs::Token(TokenRole::Operate),
    }
}

/// The rules of one server.
#[derive(Debug)]
pub(crate) struct Guard {
    listen: SocketAddr,
    hosts: Vec<String>,
    tokens: TokenFile,
}

impl Guard {
    /// Rules for a server on `listen` that is also known as `hosts`.
    pub(crate) fn new(listen: SocketAddr, hosts: &[String], tokens: TokenFile) -> Guard {
        Guard { listen, hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(), tokens }
    }

    /// Lets a request through, or says why not.
    pub(crate) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = self.check_host(headers)?;
        if *method != Method::GET && *method != Method::HEAD {
            self.check_origin(host, headers)?;
        }
        match needs(method, path) {
            Needs::Nothing => Ok(()),
            Needs::TokenIfPublic(_) if self.listen.ip().is_loopback() => Ok(()),
            Needs::TokenIfPublic(role) | Needs::Token(role) => self.check_token(role, headers),
        }
    }

    fn check_host<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.listen.ip().is_loopback() || self.is_ours(host) {
            return Ok(host);
        }
        let sentence = format!(
            "`Host` is `{}`, which is not a name of this server; call it by `{}`, or add the name to `[serve] hosts`",
            shortened(host),
            self.listen
        );
        Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, sentence))
    }

    fn check_origin(&self, host: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if name.is_some_and(|name| (!host.is_empty() && name.eq_ignore_ascii_case(host)) || self.is_listed(name)) {
            return Ok(());
        }
        let sentence = format!(
            "`Origin` is `{}`: a page of another site may not send this; send it from a program, or add the site to `[serve] hosts`",
            shortened(origin)
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, sentence))
    }

    fn check_token(&self, needed: TokenRole, headers: &HeaderMap) -> Result<(), Refusal> {
        let unauthorised = |sentence| Err(Refusal::new(StatusCode::UNAUTHORIZED, sentence));
        let role = needed.word();
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return unauthorised(format!(
                "this needs a token with the role `{role}`: send `Authorization: Bearer tg_{role}_…`; `tidegate token create` makes one"
            ));
        };
        let secret =
            value.to_str().ok().and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, secret)) = secret else {
            return unauthorised("`Authorization` does not hold a token; expected `Bearer` and the token".to_owned());
        };
        match self.tokens.check(secret.trim()) {
            None => unauthorised(
                "this token is not known; it may have been revoked, `tidegate token list` shows those that there are".to_owned(),
            ),
            Some(found) if found.allows(needed) => Ok(()),
            Some(found) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("this token has the role `{}`; expected `{role}` or `operate`", found.word()),
            )),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        name.eq_ignore_ascii_case("localhost")
            || name == "127.0.0.1"
            || name == "[::1]"
            || self.is_own_address(name)
            || self.is_listed(host)
    }

    fn is_own_address(&self, name: &str) -> bool {
        name.trim_matches(['[', ']']).parse() == Ok(self.listen.ip())
    }

    fn is_listed(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.iter().any(|listed| *listed == host || listed == without_port(&host))
    }
}

/// The name in `name:port`; the brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
