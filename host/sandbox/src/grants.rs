//! What the host lends a plugin: settings, grants, named byte streams, the log.
//!
//! Invariant: everything is denied that the configuration does not grant, at the call and not at the link, and a denial prints
//! the line that would grant it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_vocab::limits::PluginLimits;
use tidegate_vocab::{Clock, PluginName};

use crate::columns::ColumnGrant;
use crate::egress::{Egress, SecretValue};

/// How one plugin is to be used.
#[derive(Clone)]
pub struct PluginSettings {
    /// Its configuration, a JSON object.
    pub config: serde_json::Value,
    /// What it may use.
    pub grants: Grants,
    /// What it may not exceed.
    pub limits: PluginLimits,
    /// Where granted inputs come from.
    pub inputs: Arc<dyn Inputs>,
    /// Who carries its requests out of the host.
    pub egress: Arc<dyn Egress>,
    /// The time that a plugin with the `clock` grant sees.
    pub clock: Arc<dyn Clock>,
    /// Where its log goes. Called on the thread of the call.
    pub log: Arc<dyn Fn(LogLine) + Send + Sync>,
}

/// What a plugin may use. `Default` grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Names of inputs.
    pub inputs: BTreeSet<String>,
    /// Whether it may read the clock.
    pub clock: bool,
    /// Requests it may make.
    pub http: Vec<HttpGrant>,
    /// Secrets that are put into its requests on the way out. It knows their names only.
    pub secrets: Vec<SecretGrant>,
    /// The columns that it sees and edits; where nothing is said, those of its kind by their role.
    pub columns: Option<ColumnGrant>,
}

/// Requests to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// Name or IP address. An address that is not public is reached only where it is named itself.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Methods, in capitals.
    pub methods: Vec<String>,
    /// The path, or what it lies beneath.
    pub path: String,
}

/// One secret, and the only requests it is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretGrant {
    /// The name the plugin knows.
    pub name: String,
    /// The header it is put into, in lower case.
    pub header: String,
    /// The host it is sent to.
    pub host: String,
    /// The path, or what it lies beneath.
    pub path: String,
    /// The header's value.
    pub value: SecretValue,
    /// Where the settings have it from, such as `env:HOOK_KEY`.
    pub from: String,
}

/// Byte streams by name. The implementation opens them; the sandbox has checked the grant.
pub trait Inputs: Send + Sync {
    /// The entries of a lent folder or prefix; for a single input its own name.
    ///
    /// # Errors
    /// When the input cannot be listed.
    fn entries(&self, name: &str) -> Result<Vec<String>, InputError>;
    /// Opens one entry.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, entry: &str) -> Result<Box<dyn Input>, InputError>;
}

/// One open byte stream, read by ranges.
pub trait Input: Send {
    /// Bytes now.
    ///
    /// # Errors
    /// When it cannot be told.
    fn byte_count(&self) -> Result<u64, InputError>;
    /// A text that changes when bytes before the end changed, not when the input grew.
    ///
    /// # Errors
    /// When it cannot be told.
    fn generation(&self) -> Result<String, InputError>;
    /// At most `count` bytes from `offset`; fewer only at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, offset: u64, count: u32) -> Result<Vec<u8>, InputError>;
}

/// An input that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InputError {
    /// What went wrong, in words fit for the plugin.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: bool,
}

/// An [`Inputs`] that has none.
#[derive(Debug, Clone, Copy)]
pub struct NoInputs;

impl Inputs for NoInputs {
    fn entries(&self, name: &str) -> Result<Vec<String>, InputError> {
        Err(InputError { message: format!("there is no input `{name}`"), retryable: false })
    }

    fn open(&self, entry: &str) -> Result<Box<dyn Input>, InputError> {
        Err(InputError { message: format!("there is no input `{entry}`"), retryable: false })
    }
}

/// One message of a plugin: capped and without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Who said it.
    pub plugin: PluginName,
    /// How grave it is.
    pub level: LogLevel,
    /// What was said.
    pub message: String,
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// Odd, carried on.
    Warn,
    /// State changed.
    Info,
    /// Why.
    Debug,
    /// Per batch.
    Trace,
}

impl LogLevel {
    /// The level in a word.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl Grants {
    /// Whether `entry` is a granted input or lies under one.
    pub(crate) fn allows_input(&self, entry: &str) -> bool {
        let plain = !entry.split('/').any(|part| part == ".." || part == "." || part.is_empty()) && !entry.contains(['\\', '\0']);
        let granted = |name: &String| entry == name || entry.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'));
        plain && self.inputs.iter().any(granted)
    }

    /// The line that would grant `input` to `plugin` besides what it has.
    pub(crate) fn input_line(&self, plugin: &PluginName, input: &str) -> String {
        let name = input.split('/').next().unwrap_or(input);
        let mut names: BTreeSet<&str> = self.inputs.iter().map(String::as_str).collect();
        names.insert(name);
        let list: Vec<String> = names.into_iter().map(toml_text).collect();
        format!("[plugin.{plugin}.grant] inputs = [{}]", list.join(", "))
    }
}

/// A TOML basic string.
pub(crate) fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
