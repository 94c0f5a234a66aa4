//! What may be requested: the address, the grants, the headers, the secrets. Pure: nothing is sent here.
//!
//! Addresses are read as browsers read them (WHATWG), before they are compared: dots in a path, other spellings of an IP address
//! and capitals in a host are gone by then, so that what is checked is what is sent.

use url::{Host, Url};

use crate::bindings::shared::http::Header;
use crate::call::quoted;
use crate::egress::SecretValue;
use crate::grants::{Grants, HttpGrant, SecretGrant, toml_text};

/// Bytes of an address.
const URL_BYTES_MAX: usize = 8_192;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of all headers of one request.
const HEADER_BYTES_MAX: usize = 65_536;
/// Headers that belong to the connection, which is the host's.
const OF_THE_HOST: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
];
/// Headers that tell the other side who asks; they do not follow a redirect to another place.
const OF_THE_ORIGIN: [&str; 2] = ["authorization", "cookie"];
/// What stands where a secret was.
const REDACTED: &[u8] = b"[redacted]";

/// A checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Reads an address; the error says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Target, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("the address has {} bytes, at most {URL_BYTES_MAX} are sent", text.len()));
        }
        let url = Url::parse(text).map_err(|error| format!("`{}` is not a whole address: {error}", quoted(text, 256)))?;
        Target::of(url)
    }

    /// Where a redirect from here leads.
    pub(crate) fn redirected(&self, location: &str) -> Result<Target, String> {
        let url = self.url.join(location).map_err(|error| format!("it redirects to `{}`: {error}", quoted(location, 256)))?;
        let target = Target::of(url)?;
        if self.is_tls() && !target.is_tls() {
            return Err(format!("it redirects from https to `{}`, which no grant allows", quoted(target.url.as_str(), 256)));
        }
        Ok(target)
    }

    fn of(url: Url) -> Result<Target, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{}` is of the scheme `{}`, expected `http` or `https`", quoted(url.as_str(), 256), url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address holds a user or a password; use a granted secret instead".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("the address has no host".to_owned()),
        };
        let port = url.port_or_known_default().unwrap_or(443);
        Ok(Target { url, host, port })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The same place over TLS, at its usual port.
    fn over_tls(&self) -> Target {
        Target { port: 443, ..self.clone() }
    }

    /// The same request, where its host is called by an address.
    pub(crate) fn at_address(&self, address: &str) -> Target {
        Target { host: address.to_owned(), ..self.clone() }
    }

    /// Path and query, as they go out.
    pub(crate) fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    pub(crate) fn is_same_origin(&self, other: &Target) -> bool {
        (self.url.scheme(), &self.host, self.port) == (other.url.scheme(), &other.host, other.port)
    }

    /// Whether nobody between here and there can read along: TLS, or this very machine.
    fn is_private(&self) -> bool {
        let is_local = match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => self.host == "localhost",
        };
        self.is_tls() || is_local
    }

    fn is_under(&self, host: &str, path: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.host.eq_ignore_ascii_case(host) && is_beneath(self.url.path(), path)
    }
}

/// Whether `path` is `prefix` or lies beneath it. A slash that is written as a number is not looked through: servers differ in what
/// they make of it.
fn is_beneath(path: &str, prefix: &str) -> bool {
    let hides_a_slash = ["%2f", "%5c"].iter().any(|hidden| path.to_ascii_lowercase().contains(hidden));
    if hides_a_slash && prefix != "/" {
        return false;
    }
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

impl Grants {
    /// Whether a request may be made.
    pub(crate) fn allows_http(&self, method: &str, target: &Target) -> bool {
        self.http.iter().any(|grant| {
            grant.port == target.port && grant.methods.iter().any(|granted| granted == method) && target.is_under(&grant.host, &grant.path)
        })
    }

    /// The line that would grant a request besides what is granted.
    pub(crate) fn http_line(&self, plugin: &str, method: &str, target: &Target) -> String {
        let wanted = HttpGrant {
            host: target.host.clone(),
            port: target.port,
            methods: vec![method.to_owned()],
            path: target.url.path().to_owned(),
        };
        let entries: Vec<String> = self.http.iter().chain([&wanted]).map(entry).collect();
        format!("[plugin.{plugin}.grant] http = [{}]", entries.join(", "))
    }

    /// The secret called `name`, if it may go where the request goes.
    pub(crate) fn secret(&self, plugin: &str, name: &str, method: &str, target: &Target) -> Result<&SecretGrant, Denied> {
        let shown = quoted(name, 128);
        let mut bound = self.secrets.iter().filter(|secret| secret.name == name).peekable();
        let Some(first) = bound.peek().copied() else {
            let line = self.secrets_line(plugin, &shown, "authorization", "env:NAME", target);
            return Err(Denied { what: format!("the secret `{shown}`"), line });
        };
        let Some(secret) = bound.find(|secret| target.is_under(&secret.host, &secret.path)) else {
            let (host, path) = (&first.host, &first.path);
            let what = format!("sending the secret `{shown}`, bound to `{host}{path}`, to `{}{}`", target.host, target.url.path());
            return Err(Denied { what, line: self.secrets_line(plugin, &shown, &first.header, &first.from, target) });
        };
        if !target.is_private() {
            let what = format!("sending the secret `{shown}` to `{}` without TLS, by `http` and not by `https`,", target.host);
            return Err(Denied { what, line: self.http_line(plugin, method, &target.over_tls()) });
        }
        Ok(secret)
    }

    /// The line that would put a secret into requests like this one besides what is granted.
    fn secrets_line(&self, plugin: &str, name: &str, header: &str, from: &str, target: &Target) -> String {
        let entry = |name: &str, header: &str, host: &str, path: &str, from: &str| {
            let [name, header, host, path, from] = [name, header, host, path, from].map(toml_text);
            format!("{{ name = {name}, header = {header}, host = {host}, path = {path}, from = {from} }}")
        };
        let granted = self.secrets.iter().map(|secret| entry(&secret.name, &secret.header, &secret.host, &secret.path, &secret.from));
        let entries: Vec<String> = granted.chain([entry(name, header, &target.host, target.url.path(), from)]).collect();
        format!("[plugin.{plugin}.grant] secrets = [{}]", entries.join(", "))
    }
}

/// What was asked for and may not be had, and the line that would grant it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) what: String,
    pub(crate) line: String,
}

fn entry(grant: &HttpGrant) -> String {
    let methods: Vec<String> = grant.methods.iter().map(|method| toml_text(method)).collect();
    format!(
        "{{ host = {}, port = {}, methods = [{}], path = {} }}",
        toml_text(&grant.host),
        grant.port,
        methods.join(", "),
        toml_text(&grant.path)
    )
}

/// A method in capitals.
pub(crate) fn method(text: &str) -> Result<String, String> {
    let method = text.to_ascii_uppercase();
    if method.is_empty() || method.len() > 16 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("`{}` is not a method", quoted(text, 64)));
    }
    Ok(method)
}

/// The headers that a plugin may set, names in lower case.
pub(crate) fn headers(given: Vec<Header>) -> Result<Vec<(String, String)>, String> {
    let bytes: usize = given.iter().map(|header| header.name.len() + header.value.len()).sum();
    if given.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(format!("{} headers of {bytes} bytes; at most {HEADERS_MAX} of {HEADER_BYTES_MAX} bytes are sent", given.len()));
    }
    given.into_iter().map(|Header { name, value }| header(&name, value)).collect()
}

fn header(name: &str, value: String) -> Result<(String, String), String> {
    let lower = name.to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if lower.is_empty() || !lower.bytes().all(is_token) {
        return Err(format!("`{}` is not the name of a header", quoted(name, 64)));
    }
    if OF_THE_HOST.contains(&lower.as_str()) {
        return Err(format!("the header `{lower}` is the host's to set"));
    }
    if !value.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80) {
        return Err(format!("the header `{lower}` holds a control character"));
    }
    Ok((lower, value))
}

/// Takes away what must not follow a redirect to another place.
pub(crate) fn forget_origin(headers: &mut Vec<(String, String)>) {
    headers.retain(|(name, _)| !OF_THE_ORIGIN.contains(&name.as_str()));
}

/// `bytes` without any trace of the secrets that went out.
///
/// One pass a trace, whatever the bytes are: the other side chooses them, and may know the secret.
pub(crate) fn redacted(bytes: Vec<u8>, secrets: &[SecretValue]) -> Vec<u8> {
    secrets.iter().flat_map(SecretValue::traces).fold(bytes, |bytes, trace| without(bytes, trace.as_bytes()))
}

/// `bytes` with [`REDACTED`] where `trace` was: the search of Knuth, Morris and Pratt.
fn without(bytes: Vec<u8>, trace: &[u8]) -> Vec<u8> {
    let borders = borders(trace);
    let (mut shown, mut rest, mut matched) = (Vec::new(), 0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        while matched > 0 && trace[matched] != *byte {
            matched = borders[matched - 1];
        }
        matched += usize::from(trace[matched] == *byte);
        if matched == trace.len() {
            shown.extend_from_slice(&bytes[rest..at + 1 - trace.len()]);
            shown.extend_from_slice(REDACTED);
            (rest, matched) = (at + 1, 0);
        }
    }
    if rest == 0 {
        return bytes;
    }
    shown.extend_from_slice(&bytes[rest..]);
    shown
}

/// For each beginning of `trace`, the length of the longest other beginning of it that it ends with.
fn borders(trace: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; trace.len()];
    let mut length = 0;
    for at in 1..trace.len() {
        while length > 0 && trace[length] != trace[at] {
            length = borders[length - 1];
        }
        length += usize::from(trace[length] == trace[at]);
        borders[at] = length;
    }
    borders
}

#[cfg(test)]
mod tests;
