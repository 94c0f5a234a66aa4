//! `[plugins]` and `[plugin.NAME]`: where plugins come from, what each may use, and what each was lent.
//!
//! Invariant: everything that is not written here is denied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate_pipeline::FailureRules;
use tidegate_sandbox::{ColumnGrant, HttpGrant};
use tidegate_vocab::PluginName;
use tidegate_vocab::limits::{DEAD_LETTERS_MAX, LimitKey, PluginLimits, STRIKE_WINDOW_MINUTES, STRIKES_MAX, SharedLimits};

use super::section::{self, Placed, Section};
use super::{InputConfig, OciReference};

/// `[plugins] shadow_batches`, where it is not written.
const SHADOW_BATCHES: u32 = 4;
/// `[plugins] shadow_change_max`, where it is not written.
const SHADOW_CHANGE_MAX: f64 = 0.1;
/// `[plugins] probation_calls`, where it is not written.
const PROBATION_CALLS: u32 = 20;
const MINUTE_MS: u64 = 60_000;
/// Characters of a public key in minisign's format.
const KEY_TEXT_BYTES: usize = 56;

/// `[plugins]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginsConfig {
    /// The folder of components.
    pub folder: PathBuf,
    /// Whether every plugin must have an entry in `plugins.lock`. One with http or a secret must in any case.
    pub locked: bool,
    /// Keys, one of which must have signed a plugin; none where signatures are not asked for.
    pub trusted_keys: Vec<Placed<KeyOrigin>>,
    /// Parts, newest first, that a new build is tried on beside the old one before it is used; 0 for none.
    pub shadow_batches: u32,
    /// The share of rows or cells that may come out differently before an operator has to accept it.
    pub shadow_change_max: f64,
    /// Calls after which a new build is no longer taken back by itself; 0 for none.
    pub probation_calls: u32,
    /// When a plugin that fails is no longer called.
    pub failures: FailureRules,
    /// What all plugins share.
    pub limits: SharedLimits,
    /// Where the file names the folder.
    pub span: std::ops::Range<usize>,
}

/// Where a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// In the settings themselves.
    Inline(String),
    /// In a file.
    File(PathBuf),
}

/// `[plugin.NAME]`: what one plugin was lent, and the limits that differ from those of its kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginConfig {
    /// Where it is pulled from, by digest; none where somebody puts its file into the folder.
    pub from: Option<OciReference>,
    /// What it was lent.
    pub grants: Grants,
    /// Limits that were written down.
    overrides: Vec<(&'static str, u64)>,
}

/// What a plugin was lent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Names of inputs.
    pub inputs: BTreeSet<String>,
    /// Whether it may read the time.
    pub clock: bool,
    /// Where it may connect to.
    pub http: Vec<HttpGrant>,
    /// Secrets that are put into its requests.
    pub secrets: Vec<SecretGrant>,
    /// The columns that it sees and edits; where nothing is said, those of its kind by their role.
    pub columns: Option<ColumnGrant>,
}

/// One secret, and the only requests it is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretGrant {
    /// The name the plugin knows.
    pub name: String,
    /// The header it is put into.
    pub header: String,
    /// The host it is sent to.
    pub host: String,
    /// What the path must begin with.
    pub path: String,
    /// Where its value is.
    pub from: SecretOrigin,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

impl PluginConfig {
    /// The limits of the plugin, given those of its kind.
    pub fn limits(&self, of_kind: PluginLimits) -> PluginLimits {
        let mut limits = of_kind;
        for (key, value) in &self.overrides {
            limits.set(key, *value);
        }
        limits
    }
}

/// The limits of a table that the section writes down.
fn overrides(section: &Section<'_>, keys: &'static [LimitKey]) -> Vec<(&'static str, u64)> {
    let value = |limit: &LimitKey| match limit.is_size {
        true => section.bytes(limit.key, limit.low..=limit.high),
        false => section.integer(limit.key, limit.low..=limit.high),
    };
    keys.iter().filter_map(|limit| Some((limit.key, value(limit)?))).collect()
}

pub(super) fn plugins(root: &Section<'_>, folder: &Path) -> PluginsConfig {
    let failures =
        FailureRules { strikes_max: STRIKES_MAX, strike_window_ms: STRIKE_WINDOW_MINUTES * MINUTE_MS, dead_letters_max: DEAD_LETTERS_MAX };
    let mut config = PluginsConfig {
        folder: folder.join("plugins"),
        locked: false,
        trusted_keys: Vec::new(),
        limits: SharedLimits::DEFAULT,
        shadow_batches: SHADOW_BATCHES,
        shadow_change_max: SHADOW_CHANGE_MAX,
        probation_calls: PROBATION_CALLS,
        failures,
        span: 0..0,
    };
    let Some(section) = root.section("plugins") else { return config };
    config.span = section.span.clone();
    if let Some(path) = section.text("folder") {
        config.folder = folder.join(path.value);
        config.span = path.span;
    }
    config.locked = section.flag("locked").unwrap_or(false);
    config.trusted_keys = trusted_keys(&section, folder);
    let small = |key: &str, default: u32| section.integer(key, 0..=10_000).and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    config.shadow_batches = small("shadow_batches", config.shadow_batches);
    config.probation_calls = small("probation_calls", config.probation_calls);
    config.shadow_change_max = section.number("shadow_change_max", 0.0..=1.0).unwrap_or(config.shadow_change_max);
    config.failures = failure_rules(&section, failures);
    for (key, value) in overrides(&section, SharedLimits::KEYS) {
        config.limits.set(key, value);
    }
    section.finish();
    config
}

/// A public key in minisign's format is recognised by its length; anything else is the path of a file that holds one.
fn trusted_keys(section: &Section<'_>, folder: &Path) -> Vec<Placed<KeyOrigin>> {
    let Some(keys) = section.texts("trusted_keys") else { return Vec::new() };
    if keys.is_empty() {
        let message = format!("{} names no key, so that no plugin could be used", section.named("trusted_keys"));
        let hint = "name one, such as `keys/team.pub`, or take the line out: then no signatures are asked for".to_owned();
        section.problem(section.place("trusted_keys"), message, "expected at least one key", Some(hint));
    }
    let origin = |text: String| match text.len() == KEY_TEXT_BYTES && text.starts_with("RW") {
        true => KeyOrigin::Inline(text),
        false => KeyOrigin::File(folder.join(text)),
    };
    keys.into_iter().map(|key| Placed { value: origin(key.value), span: key.span }).collect()
}

fn failure_rules(section: &Section<'_>, default: FailureRules) -> FailureRules {
    // The bounds are below 2^32, so the values always fit.
    let count = |key, low, default| section.integer(key, low..=1_000).map_or(default, |count| u32::try_from(count).unwrap_or(default));
    FailureRules {
        strikes_max: count("strikes_max", 1, default.strikes_max),
        strike_window_ms: section
            .integer("strike_window_minutes", 1..=100_000)
            .map_or(default.strike_window_ms, |minutes| minutes * MINUTE_MS),
        dead_letters_max: count("dead_letters_max", 0, default.dead_letters_max),
    }
}

pub(super) fn plugin_tables(
    root: &Section<'_>,
    folder: &Path,
    inputs: &BTreeMap<String, InputConfig>,
) -> BTreeMap<PluginName, PluginConfig> {
    let mut tables = BTreeMap::new();
    let Some(section) = root.section("plugin") else { return tables };
    for name in section.keys() {
        let Some(table) = section.section(&name.value) else { continue };
        match PluginName::try_from(name.value) {
            Ok(plugin) => {
                tables.insert(plugin, plugin_table(table, folder, inputs));
            }
            Err(error) => section.problem(name.span, error.to_string(), "not a plugin name", None),
        }
    }
    tables
}

fn plugin_table(section: Section<'_>, folder: &Path, inputs: &BTreeMap<String, InputConfig>) -> PluginConfig {
    let mut config = PluginConfig { overrides: overrides(&section, PluginLimits::KEYS), ..PluginConfig::default() };
    config.from = from(&section);
    if let Some(grant) = section.section("grant") {
        config.grants = grants(grant, folder, inputs);
    }
    section.finish();
    config
}

/// Where a plugin is pulled from. A tag is not taken: whoever may move it would choose what runs here.
fn from(section: &Section<'_>) -> Option<OciReference> {
    let text = section.text("from")?;
    let name = section.path.rsplit('.').next().unwrap_or_default();
    match OciReference::read(&text.value) {
        Ok(reference) if reference.is_pinned() => return Some(reference),
        Ok(_) => {
            let hint = format!("`tidegate plugin pull {name} --from {}`, without this line, says its digest", section::shown(&text.value));
            let message = format!("{} names no digest, so that it could become anything", section.named("from"));
            section.problem(text.span, message, "expected `…@sha256:…`", Some(hint));
        }
        Err(why) => {
            let message = format!("{} is not a place in a registry: {why}", section.named("from"));
            section.problem(text.span, message, "expected `oci://HOST/REPOSITORY@sha256:…`", None);
        }
    }
    None
}

fn grants(section: Section<'_>, folder: &Path, inputs: &BTreeMap<String, InputConfig>) -> Grants {
    let mut grants = Grants { clock: section.flag("clock").unwrap_or(false), ..Grants::default() };
    for input in section.texts("inputs").unwrap_or_default() {
        if !inputs.contains_key(&input.value) {
            unknown_input(&section, &input, inputs);
        }
        grants.inputs.insert(input.value);
    }
    grants.http = section.sections("http").into_iter().filter_map(http_grant).collect();
    grants.secrets = section.sections("secrets").into_iter().filter_map(|section| secret_grant(section, folder)).collect();
    grants.columns = super::columns::columns(&section);
    section.finish();
    grants
}

fn unknown_input(section: &Section<'_>, input: &Placed<String>, inputs: &BTreeMap<String, InputConfig>) {
    let known: Vec<&str> = inputs.keys().map(String::as_str).collect();
    let name = section::shown(&input.value);
    let hint = section::nearest_hint(&input.value, &known).unwrap_or_else(|| format!("add `[input.{name}] path = \"…\"`"));
    section.problem(input.span.clone(), format!("there is no input `{name}` to grant"), "not an input of this file", Some(hint));
}

/// A text that has to be there.
fn required(section: &Section<'_>, key: &str, what: &str, example: &str) -> Option<String> {
    if !section.has(key) {
        section.missing(key, what, &format!("{key} = \"{example}\""));
    }
    section.text(key).map(|text| text.value)
}

fn path_prefix(section: &Section<'_>) -> String {
    let Some(path) = section.text("path") else { return "/".to_owned() };
    if !path.value.starts_with('/') {
        let message = format!("{} must begin with `/`, found `{}`", section.named("path"), section::shown(&path.value));
        section.problem(path.span, message, "not a path of a URL", None);
    }
    path.value
}

fn http_grant(section: Section<'_>) -> Option<HttpGrant> {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let host = required(&section, "host", "the only host it may connect to", "alerts.example.com");
    let port = section.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
    let methods = section.texts("methods").map_or_else(
        || vec!["GET".to_owned()],
        |methods| {
            for method in methods.iter().filter(|method| !METHODS.contains(&method.value.as_str())) {
                let message = format!("`{}` is not a method that can be granted", section::shown(&method.value));
                section.problem(
                    method.span.clone(),
                    message,
                    format!("expected {}", section::one_of(&METHODS)),
                    section::nearest_hint(&method.value, &METHODS),
                );
            }
            methods.into_iter().map(|method| method.value).collect()
        },
    );
    let path = path_prefix(&section);
    section.finish();
    Some(HttpGrant { host: host?, port, methods, path })
}

fn secret_grant(section: Section<'_>, folder: &Path) -> Option<SecretGrant> {
    let name = required(&section, "name", "the name the plugin knows it by", "hook-key");
    let header = required(&section, "header", "the header it is put into", "authorization").map(|header| header.to_ascii_lowercase());
    if let Some(wrong) = header.as_deref().filter(|header| http::HeaderName::from_bytes(header.as_bytes()).is_err()) {
        let message = format!("{} is not the name of a header: `{}`", section.named("header"), section::shown(wrong));
        section.problem(section.place("header"), message, "expected one such as `authorization`", None);
    }
    let host = required(&section, "host", "the only host it is sent to", "alerts.example.com");
    let path = path_prefix(&section);
    if !section.has("from") {
        section.missing("from", "where its value is", "from = \"env:HOOK_KEY\"");
    }
    let from = section.parsed("from", "`env:NAME` or `file:PATH`", |text| {
        let (kind, place) = text.split_once(':').filter(|(_, place)| !place.is_empty())?;
        match kind {
            "env" => Some(SecretOrigin::Env(place.to_owned())),
            "file" => Some(SecretOrigin::File(folder.join(place))),
            _ => None,
        }
    });
    section.finish();
    Some(SecretGrant { name: name?, header: header?, host: host?, path, from: from? })
}
