//! Requests out: what a plugin may ask for, and who carries it.
//!
//! Invariant: an [`Egress`] is handed one exchange with one host, which the grants allow and which holds every header that goes out.
//! It checks the address, connects to the address that it checked, and follows no redirect: each hop is judged here again.

use std::fmt;
use std::time::Duration;

/// Carries requests of plugins out of the host.
pub trait Egress: Send + Sync {
    /// Sends one request and waits for its answer. May block the thread for as long as `exchange.within`.
    ///
    /// # Errors
    /// [`EgressError`] when there is no answer that may be shown.
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError>;
}

/// One request to one host.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Whether it goes through TLS.
    pub is_tls: bool,
    /// The granted host: a name in lower case, or an address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// In capitals.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values; secrets are among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Bytes of the answer's body that are taken.
    pub answer_bytes_max: u64,
    /// How long it may take.
    pub within: Duration,
}

/// Without headers and body: they hold secrets.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exchange { is_tls, host, port, method, target, .. } = self;
        let scheme = if *is_tls { "https" } else { "http" };
        write!(f, "{method} {scheme}://{host}:{port}{target}")
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The address behind the host is not one that a name may lead to.
    #[error("{message}")]
    Forbidden {
        /// Where the host leads, and what that is.
        message: String,
        /// The address, which would have to be granted itself.
        address: String,
    },
    /// The answer is larger than what is taken.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// There was no whole answer in time.
    #[error("there was no whole answer within {within_ms} ms")]
    TimedOut {
        /// How long was waited.
        within_ms: u64,
    },
    /// Name, connection, TLS or the answer itself.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// Whether trying again can help.
        retryable: bool,
    },
}

/// An [`Egress`] that carries nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoEgress;

impl Egress for NoEgress {
    fn send(&self, _exchange: &Exchange) -> Result<Answer, EgressError> {
        Err(EgressError::Failed { message: "this process sends no requests".to_owned(), retryable: false })
    }
}

/// The value of a secret. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

/// Bytes of a secret: a shorter one could not be taken out of an answer without taking out other text as well.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=8_192;

impl SecretValue {
    /// A secret that can stand in a header.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn new(value: impl Into<String>) -> Result<SecretValue, String> {
        let value = value.into();
        if !SECRET_BYTES.contains(&value.len()) {
            let (low, high) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            return Err(format!("it has {} bytes, expected {low} to {high}", value.len()));
        }
        let is_plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_plain || value.trim() != value {
            return Err("it cannot stand in a header: expected printable ASCII without blanks around it".to_owned());
        }
        Ok(SecretValue(value))
    }

    /// The value itself, for the header that it is put into.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The texts that must not come back: the whole value, and what stands behind a scheme such as `Bearer`.
    pub(crate) fn traces(&self) -> Vec<&str> {
        let last = self.0.rsplit(' ').next().filter(|last| *last != self.0 && last.len() >= *SECRET_BYTES.start());
        std::iter::once(self.0.as_str()).chain(last).collect()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_fits_a_header_and_is_never_shown() {
        let secret = SecretValue::new("Bearer 0123456789").unwrap();
        assert_eq!(format!("{secret:?}"), "SecretValue(…)");
        assert_eq!(secret.traces(), ["Bearer 0123456789", "0123456789"]);
        assert_eq!(SecretValue::new("Basic dG9w").unwrap().traces(), ["Basic dG9w"]);
        for (value, expected) in
            [("short", "5 bytes"), ("two\nlines here", "header"), (" blank before", "header"), ("gehëim1234", "header")]
        {
            assert!(SecretValue::new(value).unwrap_err().contains(expected), "{value}");
        }
    }

    #[test]
    fn an_exchange_shows_neither_headers_nor_body() {
        let exchange = Exchange {
            is_tls: true,
            host: "a.example".into(),
            port: 443,
            method: "POST".into(),
            target: "/x?y=1".into(),
            headers: vec![("authorization".into(), "0123456789".into())],
            body: b"body".to_vec(),
            answer_bytes_max: 1,
            within: Duration::from_secs(1),
        };
        assert_eq!(format!("{exchange:?}"), "POST https://a.example:443/x?y=1");
        assert!(NoEgress.send(&exchange).is_err());
    }
}
