//! What a component says of itself, read without compiling or running it.
//!
//! A component carries its `plugin.toml` in a custom section `tidegate:manifest`, its own or that of a core module in it. Its names
//! of imports and exports say which world of which interface version it was built for.

use serde::Deserialize;
use tidegate_vocab::limits::{PluginLimits, REASON_BYTES_MAX};
use wasmparser::{Encoding, Parser, Payload};

use crate::call::quoted;

/// Name of the custom section.
pub(crate) const SECTION: &str = "tidegate:manifest";
/// Bytes of a manifest.
pub(crate) const MANIFEST_BYTES_MAX: usize = 1 << 16;
/// Names of imports and exports that are looked at.
const NAMES_MAX: usize = 4096;
/// Reasons of one manifest: each is a series of numbers to whoever watches the rows that it cost.
const REASONS_MAX: usize = 256;
/// Levels, values and patterns of a configuration schema, which the host checks configurations against.
const SCHEMA_DEPTH_MAX: usize = 32;
const SCHEMA_VALUES_MAX: usize = 4096;
const SCHEMA_PATTERNS_MAX: usize = 64;
/// Keywords that make the host do the same work again and again: a schema of thirty lines could keep it busy for ever.
const SCHEMA_REFUSED: [&str; 5] = ["$ref", "$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems"];

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The name its author gave it.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// Its own version.
    pub version: String,
    /// The interface version it was built for, such as `0.1`.
    pub interface: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// JSON Schema of its configuration.
    pub config_schema: serde_json::Value,
    /// What it asks to be granted.
    pub capabilities: Vec<String>,
    /// Quarantine reasons that it may give.
    pub reasons: Vec<String>,
    /// What the result for a row depends on beside the row.
    pub state: StateKind,
}

/// What a plugin's result for a row depends on beside the row itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateKind {
    /// Nothing.
    #[default]
    None,
    /// The other rows of the call; nothing is kept from call to call.
    PerPart,
    /// What it has kept from earlier calls in the host's keyed store, too. Cleaners only.
    Keyed,
}

impl StateKind {
    /// All kinds.
    pub const ALL: [StateKind; 3] = [StateKind::None, StateKind::PerPart, StateKind::Keyed];

    /// The word in manifests.
    pub fn word(self) -> &'static str {
        match self {
            StateKind::None => "none",
            StateKind::PerPart => "per-part",
            StateKind::Keyed => "keyed",
        }
    }

    fn read(word: &str, kind: PluginKind) -> Result<StateKind, String> {
        let found = StateKind::ALL.into_iter().find(|state| state.word() == word);
        match (found, kind) {
            (Some(StateKind::Keyed), kind) if kind != PluginKind::Cleaner => {
                Err(format!("`state` is `keyed`, which only a cleaner can have; of the plugin's kind, {kind}, nothing is kept"))
            }
            (Some(state), _) => Ok(state),
            (None, _) => {
                let known = "expected `none`, `per-part` or `keyed`";
                let hint = if word == "global" { "; the host lends no state that pipelines share" } else { "" };
                Err(format!("`state` is `{word}`, {known}{hint}"))
            }
        }
    }
}

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Rows in.
    Source,
    /// Rows to rows.
    Cleaner,
    /// Predictions and labels to statistics.
    Evaluator,
    /// An alert out.
    Alerter,
}

impl PluginKind {
    /// All kinds.
    pub const ALL: [PluginKind; 4] = [PluginKind::Source, PluginKind::Cleaner, PluginKind::Evaluator, PluginKind::Alerter];

    /// The word in manifests and configurations.
    pub fn word(self) -> &'static str {
        match self {
            PluginKind::Source => "source",
            PluginKind::Cleaner => "cleaner",
            PluginKind::Evaluator => "evaluator",
            PluginKind::Alerter => "alerter",
        }
    }

    /// The limits of a plugin of this kind, unless its configuration says otherwise.
    pub fn default_limits(self) -> PluginLimits {
        match self {
            PluginKind::Source => PluginLimits::SOURCE,
            PluginKind::Cleaner => PluginLimits::CLEANER,
            PluginKind::Evaluator => PluginLimits::EVALUATOR,
            PluginKind::Alerter => PluginLimits::ALERTER,
        }
    }

    /// Interfaces of the package that a plugin of this kind may import.
    pub(crate) fn imports(self) -> &'static [&'static str] {
        match self {
            PluginKind::Source => &["rows", "failures", "log", "clock", "inputs", "http"],
            PluginKind::Cleaner => &["rows", "failures", "log", "state"],
            PluginKind::Evaluator => &["rows", "failures", "log", "measurements"],
            PluginKind::Alerter => &["failures", "log", "clock", "http"],
        }
    }
}

impl std::fmt::Display for PluginKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// The manifest as its author wrote it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ManifestFile {
    name: String,
    kind: PluginKind,
    version: String,
    interface: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    config: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default = "none")]
    state: String,
}

fn none() -> String {
    "none".into()
}

/// What the outside of a component says.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) manifest: Option<Vec<u8>>,
}

/// Bytes that are not a whole component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    NotWasm,
    CoreModule,
    Damaged(String),
}

/// Reads names and manifest.
pub(crate) fn outside(bytes: &[u8]) -> Result<Outside, Unreadable> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Unreadable::NotWasm);
    }
    let mut outside = Outside::default();
    let mut depth = 0_usize;
    let damaged = |error: wasmparser::BinaryReaderError| Unreadable::Damaged(quoted(&error.to_string(), 256));
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Unreadable::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    outside.imports.push(quoted(import.map_err(damaged)?.name.name, 256));
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    outside.exports.push(quoted(export.map_err(damaged)?.name.name, 256));
                }
            }
            Payload::CustomSection(section) if section.name() == SECTION && outside.manifest.is_none() => {
                outside.manifest = Some(section.data().get(..MANIFEST_BYTES_MAX + 1).unwrap_or(section.data()).to_vec());
            }
            _ => {}
        }
        if outside.imports.len() + outside.exports.len() > NAMES_MAX {
            return Err(Unreadable::Damaged(format!("it has more than {NAMES_MAX} imports and exports")));
        }
    }
    Ok(outside)
}

/// Parses and checks a manifest; the error says what is wrong with it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(format!("it is larger than {MANIFEST_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let file: ManifestFile = toml::from_str(text).map_err(|error| quoted(error.message(), 512))?;
    let limits = file.kind.default_limits();
    let words = [&file.name, &file.version, &file.interface, &file.summary, &file.state].into_iter();
    for word in words.chain(&file.capabilities).chain(&file.reasons) {
        if quoted(word, limits.metadata_bytes_max) != *word {
            return Err(format!("a text in it has control characters or more than {} bytes", limits.metadata_bytes_max));
        }
    }
    if file.capabilities.len().max(file.reasons.len()) > limits.metadata_entries_max as usize {
        return Err(format!("a list in it has more than {} entries", limits.metadata_entries_max));
    }
    if let Some(reason) = file.reasons.iter().find(|reason| reason.is_empty() || quoted(reason, REASON_BYTES_MAX) != **reason) {
        let shown = quoted(reason, REASON_BYTES_MAX);
        return Err(format!("the reason `{shown}` has {} bytes, expected 1 to {REASON_BYTES_MAX}", reason.len()));
    }
    if file.reasons.len() > REASONS_MAX {
        return Err(format!("it lists {} reasons, at most {REASONS_MAX} are kept apart", file.reasons.len()));
    }
    let config_schema = serde_json::Value::Object(file.config);
    check_schema(&config_schema)?;
    let state = StateKind::read(&file.state, file.kind)?;
    Ok(Manifest {
        name: file.name,
        kind: file.kind,
        version: file.version,
        interface: file.interface,
        summary: file.summary,
        config_schema,
        capabilities: file.capabilities,
        reasons: file.reasons,
        state,
    })
}

/// Whether checking a configuration against the schema takes no longer than reading both.
fn check_schema(schema: &serde_json::Value) -> Result<(), String> {
    let (mut values, mut patterns) = (0_usize, 0_usize);
    let mut left = vec![(schema, 1_usize)];
    while let Some((value, depth)) = left.pop() {
        values += 1;
        if depth > SCHEMA_DEPTH_MAX || values > SCHEMA_VALUES_MAX {
            return Err(format!("`config` is more than {SCHEMA_DEPTH_MAX} levels deep, or has more than {SCHEMA_VALUES_MAX} values"));
        }
        match value {
            serde_json::Value::Object(map) => {
                map.keys().try_for_each(|key| check_shown(key))?;
                if let Some(refused) = SCHEMA_REFUSED.into_iter().find(|refused| map.contains_key(*refused)) {
                    return Err(format!("`config` uses `{refused}`, which is not read: write the part out where it is needed"));
                }
                patterns += usize::from(map.contains_key("pattern"));
                patterns += map.get("patternProperties").and_then(|patterns| patterns.as_object()).map_or(0, serde_json::Map::len);
                left.extend(map.values().map(|value| (value, depth + 1)));
            }
            serde_json::Value::Array(list) => left.extend(list.iter().map(|value| (value, depth + 1))),
            serde_json::Value::String(text) => check_shown(text)?,
            _ => {}
        }
        if patterns > SCHEMA_PATTERNS_MAX {
            return Err(format!("`config` has more than {SCHEMA_PATTERNS_MAX} patterns"));
        }
    }
    Ok(())
}

/// Whether a text of the schema may be shown as it is: `plugin inspect` prints it to whoever decides whether to trust the plugin.
fn check_shown(text: &str) -> Result<(), String> {
    let one_line = text.replace(['\n', '\t'], " ");
    if quoted(&one_line, u32::MAX) == one_line {
        return Ok(());
    }
    Err(format!("a text in `config` has control characters, or such as turn the text around: `{}`", quoted(text, 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_and_its_faults_are_named() {
        let whole = "name = 'a'\nkind = 'cleaner'\nversion = '1'\ninterface = '0.1'\nreasons = ['missing']\n[config]\ntype = 'object'";
        let manifest = parse(whole.as_bytes()).unwrap();
        assert_eq!((manifest.kind, manifest.state, manifest.reasons.len()), (PluginKind::Cleaner, StateKind::None, 1));
        assert_eq!(manifest.config_schema["type"], "object");
        for (text, expected) in [
            (whole.replace("cleaner", "washer"), "unknown variant `washer`"),
            (whole.replace("'0.1'", "'0.1'\nstate = 'some'"), "`state` is `some`, expected `none`, `per-part` or `keyed`"),
            (whole.replace("'0.1'", "'0.1'\nstate = 'global'"), "the host lends no state that pipelines share"),
            (whole.replace("'0.1'", "'0.1'\nstate = 'keyed'").replace("cleaner", "evaluator"), "which only a cleaner can have"),
            (whole.replace("'missing'", "'a\\n'").replace("['a\\n']", "[\"a\\n\"]"), "control characters"),
            (whole.replace("version", "versoin"), "unknown field `versoin`"),
            (whole.replace("'missing'", &format!("'{}'", "r".repeat(65))), "has 65 bytes, expected 1 to 64"),
            (whole.replace("'missing'", &"'r',".repeat(257)), "lists 257 reasons"),
            (format!("{whole}\n'$ref' = '#/$defs/a'"), "uses `$ref`"),
            (format!("{whole}\ndescription = \"safe\\u202e\\u009b2J\""), "characters, or such as turn the text around: `safe  2J`"),
            (format!("{whole}\nproperties.\"a\\u200b\".type = 'string'"), "turn the text around"),
            (format!("{whole}\nallOf = [{{ anyOf = [{{ unevaluatedProperties = false }}] }}]"), "uses `unevaluatedProperties`"),
            (format!("{whole}\nenum = [{}]", "1,".repeat(5000)), "more than 4096 values"),
            (format!("{whole}\n[config{}]\ntype = 'object'", ".not".repeat(40)), "32 levels deep"),
            (
                format!("{whole}\n[config.patternProperties]\n{}", (0..65).map(|n| format!("'^{n}' = {{}}\n")).collect::<String>()),
                "64 patterns",
            ),
            ("#".repeat(MANIFEST_BYTES_MAX + 1), "larger than"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_component_are_told_apart() {
        assert_eq!(outside(b"").unwrap_err(), Unreadable::NotWasm);
        assert_eq!(outside(b"PK\x03\x04").unwrap_err(), Unreadable::NotWasm);
        assert_eq!(outside(b"\0asm\x01\0\0\0").unwrap_err(), Unreadable::CoreModule);
        assert!(matches!(outside(b"\0asm\x0d\0\x01\0\x05").unwrap_err(), Unreadable::Damaged(_)));
    }
}
