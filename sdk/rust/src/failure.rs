//! How a plugin says that it could not do what it was asked, or that its configuration is wrong.

use std::fmt;

use crate::host;

/// Added to the code of a refusal of the host, so that it does not look like a code of the plugin's own.
const HOST_CODES: u16 = 60_000;

/// The plugin could not do what it was asked.
///
/// Any standard error turns into one with `?`, which is why this type is not itself a [`std::error::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The plugin's own number for what went wrong; 0 when it has none. Codes from 60,000 are refusals of the host.
    pub code: u16,
    /// What was being done to which thing, what was found and what was expected.
    pub message: String,
    /// Whether the same call can succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure that no retry helps.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { code: 0, message: message.into(), retryable: false, retry_after_ms: None }
    }

    /// A failure with the plugin's own code that no retry helps.
    pub fn with_code(code: u16, message: impl Into<String>) -> Failure {
        Failure { code, ..Failure::new(message) }
    }

    /// A failure that a retry after `retry_after_ms` milliseconds may help.
    pub fn retryable(message: impl Into<String>, retry_after_ms: u64) -> Failure {
        Failure { retryable: true, retry_after_ms: Some(retry_after_ms), ..Failure::new(message) }
    }

    pub(crate) fn refused(error: host::rows::DataError) -> Failure {
        Failure { code: HOST_CODES.saturating_add(error.code), ..Failure::new(error.message) }
    }

    pub(crate) fn from_host(failure: host::failures::Failure) -> Failure {
        let host::failures::Failure { code, message, retryable, retry_after_ms } = failure;
        Failure { code: HOST_CODES.saturating_add(code), message, retryable, retry_after_ms }
    }

    #[cfg(target_family = "wasm")]
    pub(crate) fn into_host(self) -> host::failures::Failure {
        host::failures::Failure { code: self.code, message: self.message, retryable: self.retryable, retry_after_ms: self.retry_after_ms }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Failure::new(message)
    }
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// A JSON pointer to it, such as `/columns/x/low`; empty for the whole.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

/// Everything wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Issues(pub Vec<Issue>);

impl Issues {
    /// One issue; `pointer` is a JSON pointer.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Issues {
        Issues(vec![Issue { pointer: pointer.into(), message: message.into() }])
    }

    /// Adds an issue; `pointer` is a JSON pointer.
    pub fn push(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Issue { pointer: pointer.into(), message: message.into() });
    }

    /// `value` when there is no issue.
    ///
    /// # Errors
    /// Itself when there is one.
    pub fn or<T>(self, value: T) -> Result<T, Issues> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// A JSON pointer made of `keys`, escaped as RFC 6901 says.
    pub fn pointer<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
        keys.into_iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|issue| format!("`{}`: {}", issue.pointer, issue.message)).collect();
        formatter.write_str(&lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_error_becomes_a_failure_with_question_mark() {
        fn parse(text: &str) -> Result<i64, Failure> {
            Ok(text.parse::<i64>()?)
        }
        assert_eq!(parse("x").map_err(|failure| failure.message), Err("invalid digit found in string".into()));
        assert_eq!(parse("12"), Ok(12));
    }

    #[test]
    fn pointers_escape_what_rfc_6901_escapes() {
        assert_eq!(Issues::pointer(["columns", "a/b~c"]), "/columns/a~1b~0c");
    }
}
