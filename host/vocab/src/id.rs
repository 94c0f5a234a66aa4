//! Ids, one type each, so that two kinds cannot be exchanged.

use serde::{Deserialize, Serialize};

const NAME_CHARS_MAX: usize = 64;

/// Why a text cannot be a name.
#[derive(Debug, thiserror::Error)]
#[error("`{found}` cannot be a {what}: expected {expected}")]
pub struct IdError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

const NAME: &str = "1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter";

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$type, IdError> {
                $type::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<$type, IdError> {
                let valid = text.len() <= NAME_CHARS_MAX
                    && text.starts_with(|c: char| c.is_ascii_lowercase())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
                if valid {
                    Ok($type(text))
                } else {
                    Err(IdError { what: $what, expected: NAME, found: text.chars().take(NAME_CHARS_MAX + 16).collect() })
                }
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a pipeline; part of every key in the store.
    PipelineId, "pipeline id"
}
name! {
    /// The name of a plugin: the stem of its file in the plugin folder.
    PluginName, "plugin name"
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub $inner);

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number! {
    /// The number of a run within its pipeline, from 1.
    RunId, u64, "run-"
}
number! {
    /// The number of a model version within its pipeline, from 1; shown as `v1`.
    VersionNo, u32, "v"
}

impl std::str::FromStr for VersionNo {
    type Err = IdError;

    fn from_str(text: &str) -> Result<VersionNo, IdError> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        let number = digits.parse().ok().filter(|number| *number > 0);
        number.map(VersionNo).ok_or_else(|| IdError {
            what: "model version",
            expected: "`v` and a number from 1, such as `v3`",
            found: text.chars().take(80).collect(),
        })
    }
}
