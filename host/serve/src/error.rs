//! Why the server cannot start, or cannot use its tokens.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What goes wrong outside of any request.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("could not listen on `{listen}`: {}", why(source))]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file of tokens cannot be read or written.
    #[error("could not {doing} the tokens in `{}`", path.display())]
    TokenFile {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of tokens does not hold tokens.
    #[error("`{}` does not hold tokens: {why}", path.display())]
    TokenText {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A token of this name is there already.
    #[error("there is a token named `{name}` already")]
    TokenExists {
        /// The name.
        name: String,
    },
    /// No token has this name.
    #[error("there is no token named `{name}`; there are {found}")]
    TokenMissing {
        /// The name.
        name: String,
        /// The names that there are.
        found: String,
    },
    /// A text that cannot name a token.
    #[error("`{name}` cannot name a token: expected 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`")]
    TokenName {
        /// The text.
        name: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {why}")]
    Random {
        /// What it said.
        why: String,
    },
    /// A public address without anyone who may call it.
    #[error("`{listen}` is open to others and there is no token")]
    Unguarded {
        /// The address.
        listen: SocketAddr,
    },
}

impl ServeError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ServeError::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "stop what listens there, or give `[serve] listen` another port".into(),
                io::ErrorKind::AddrNotAvailable => "give `[serve] listen` an address of this machine, such as `127.0.0.1:7070`".into(),
                io::ErrorKind::PermissionDenied => "give `[serve] listen` a port from 1024 up".into(),
                _ => "give `[serve] listen` another address".into(),
            },
            ServeError::TokenFile { .. } => "check who may read and write the file that `[serve] tokens` names".into(),
            ServeError::TokenText { .. } => "mend the file by hand, or move it away and create the tokens again".into(),
            ServeError::TokenExists { .. } => "revoke it first, or choose another name".into(),
            ServeError::TokenMissing { .. } | ServeError::TokenName { .. } | ServeError::Random { .. } => return None,
            ServeError::Unguarded { .. } => "create a token first, or listen on `127.0.0.1`".into(),
        })
    }
}

fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens there",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        io::ErrorKind::PermissionDenied => "the system does not let this user",
        _ => "the system refused",
    }
}
