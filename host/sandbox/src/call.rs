//! The four ways a call to a plugin ends badly.
//!
//! Invariant: each of them fails the step and never the host, names plugin and step, and costs the instance. What the guest said
//! is quoted: capped, and without control characters.

use tidegate_vocab::PluginName;
use tidegate_vocab::limits::PluginLimits;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::limiter::LimitHit;

/// Why a call to a plugin did not give a result. The instance it ran in is gone; the next call gets a fresh one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin said that it could not do it.
    #[error("plugin `{plugin}` refused in step `{step}`: {failure}")]
    Refused {
        /// The plugin.
        plugin: PluginName,
        /// The function that was called.
        step: &'static str,
        /// What it said.
        failure: Failure,
    },
    /// The plugin crashed.
    #[error("plugin `{plugin}` crashed in step `{step}`: {why}")]
    Trapped {
        /// The plugin.
        plugin: PluginName,
        /// The function that was called.
        step: &'static str,
        /// The trap.
        why: String,
    },
    /// The plugin reached one of its limits.
    #[error("plugin `{plugin}` reached `{limit}` in step `{step}`: {at}")]
    OverLimit {
        /// The plugin.
        plugin: PluginName,
        /// The function that was called.
        step: &'static str,
        /// The key of the limit in `[plugin.NAME]`, or `plugins.…` for one that all plugins share.
        limit: &'static str,
        /// What happened.
        at: String,
    },
    /// The plugin and the host do not fit, or it returned what the interface does not allow.
    #[error("plugin `{plugin}` does not fit in step `{step}`: expected {wants}, found {offers}")]
    Incompatible {
        /// The plugin.
        plugin: PluginName,
        /// The function that was called.
        step: &'static str,
        /// What the host expected.
        wants: String,
        /// What the plugin has.
        offers: String,
    },
}

/// What a plugin says when it could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The plugin's own number.
    pub code: u16,
    /// Its own words, capped and without control characters.
    pub message: String,
    /// Whether the plugin thinks that trying again can help.
    pub retryable: bool,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What is wrong with its configuration; empty in every other step.
    pub issues: Vec<ConfigIssue>,
    /// The line of configuration that would have granted what the host denied in this call.
    pub grant: Option<String>,
}

/// One thing wrong with the configuration of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// A JSON pointer into the configuration.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for issue in &self.issues {
            let pointer = if issue.pointer.is_empty() { "/" } else { &issue.pointer };
            write!(f, "; at `{pointer}`: {}", issue.message)?;
        }
        Ok(())
    }
}

impl CallError {
    /// The plugin that was called.
    pub fn plugin(&self) -> &PluginName {
        match self {
            CallError::Refused { plugin, .. }
            | CallError::Trapped { plugin, .. }
            | CallError::OverLimit { plugin, .. }
            | CallError::Incompatible { plugin, .. } => plugin,
        }
    }

    /// How the call ended, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            CallError::Refused { .. } => "refused",
            CallError::Trapped { .. } => "trapped",
            CallError::OverLimit { .. } => "over-limit",
            CallError::Incompatible { .. } => "incompatible",
        }
    }

    /// Whether the plugin is to blame: it crashed, went over a limit of its own or returned what it may not. A refusal is an answer,
    /// and a limit that all plugins share may be another's doing.
    pub fn is_fault(&self) -> bool {
        match self {
            CallError::Refused { .. } => false,
            CallError::Trapped { .. } | CallError::Incompatible { .. } => true,
            CallError::OverLimit { limit, .. } => !limit.starts_with("plugins."),
        }
    }

    /// Whether the plugin said of these rows that it will not do them, now or later.
    pub fn is_final_refusal(&self) -> bool {
        matches!(self, CallError::Refused { failure, .. } if !failure.retryable && failure.grant.is_none())
    }

    /// When the plugin asked to be tried again, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            CallError::Refused { failure, .. } => failure.retry_after_ms,
            _ => None,
        }
    }

    /// What to change, naming the key.
    pub fn hint(&self) -> Option<String> {
        match self {
            CallError::Refused { failure: Failure { grant: Some(line), .. }, .. } => Some(format!("to grant it, write `{line}`")),
            CallError::Refused { failure: Failure { issues, .. }, .. } if !issues.is_empty() => {
                Some("correct `config` where this plugin is used; `tidegate plugin inspect` shows what it takes".into())
            }
            CallError::Refused { .. } => None,
            CallError::Trapped { plugin, .. } => {
                Some(format!("this is a fault of the plugin; its last words are in the log under `{plugin}`"))
            }
            CallError::OverLimit { limit, .. } if limit.starts_with("plugins.") => {
                Some(format!("raise `[plugins] {}`, or use fewer plugins at once", limit.trim_start_matches("plugins.")))
            }
            CallError::OverLimit { plugin, limit, step, .. } => {
                // Before its first call it has seen no rows.
                let sees_rows = !matches!(*step, "instantiate" | "configure" | "probe");
                let other = if *limit == "call_ms_max" && sees_rows { "give it smaller batches" } else { "mend the plugin" };
                Some(format!("raise `[plugin.{plugin}] {limit}`, or {other}"))
            }
            CallError::Incompatible { .. } => Some(
                "use a plugin of the kind that the step takes, built against this host's `wit/`; `tidegate plugin list` shows their kinds"
                    .into(),
            ),
        }
    }
}

/// Text from a guest, fit to be shown: at most `bytes_max` bytes, control characters replaced.
pub(crate) fn quoted(text: &str, bytes_max: u32) -> String {
    let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut quoted = String::with_capacity(text.len().min(most));
    for character in text.chars() {
        let shown = if is_unshowable(character) { ' ' } else { character };
        if quoted.len() + shown.len_utf8() > most {
            quoted.push('…');
            break;
        }
        quoted.push(shown);
    }
    quoted
}

/// Control characters, and those that turn the direction of the text around them.
fn is_unshowable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Sorts the error that ended a call into one of the four ways. `hit` is the limit that was reached during the call.
pub(crate) fn classify(
    plugin: &PluginName,
    step: &'static str,
    limits: &PluginLimits,
    error: &wasmtime::Error,
    hit: Option<LimitHit>,
) -> CallError {
    let over = |hit: LimitHit| CallError::OverLimit { plugin: plugin.clone(), step, limit: hit.limit, at: hit.at };
    let named = |limit, at: String| over(LimitHit { limit, at });
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return over(hit.clone());
    }
    if let Some(hit) = hit {
        return over(hit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return named("resources_max", format!("it held {} resources of the host at once", limits.resources_max));
    }
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return named("plugins.instances_max", "no room for another instance is left in the pool".into());
    }
    // wasmtime has no types for these; its texts are pinned by a test each. Only the cause itself is read: what stands around it
    // names functions of the guest, whose names are the guest's to choose.
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return named("host_call_bytes_max", format!("it handed more than {} bytes to one host function", limits.host_call_bytes_max));
    }
    if cause.contains("resource limit exceeded") {
        let most = limits.instances_max;
        return named("instances_max", format!("it is made of more than {most} core instances, tables or memories"));
    }
    if cause.contains("handle") && cause.contains("limit") {
        return named("resources_max", format!("it held {} handles at once", limits.resources_max));
    }
    let text = quoted(&format!("{error:#}"), limits.metadata_bytes_max);
    CallError::Trapped { plugin: plugin.clone(), step, why: trap_text(error, text) }
}

fn trap_text(error: &wasmtime::Error, text: String) -> String {
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return format!("it called exit with code {}", exit.0);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it stopped itself (`unreachable`: a panic, or memory that it could not get)".into(),
        Some(Trap::StackOverflow) => "its stack overflowed".into(),
        Some(trap) => trap.to_string(),
        None => text,
    }
}
