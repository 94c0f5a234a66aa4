//! One thing that a plugin is asked in a test: a batch, byte streams to read, or an alert to send.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tidegate_sandbox::{Alert, PluginKind, Severity};
use tidegate_vocab::limits::POLL_ROWS_MAX;
use tidegate_vocab::{Batch, Timestamp};

use super::cells::{self, ColumnText};

/// What a plugin is asked.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The configuration, where it is not the one of all tests.
    pub config: Option<Value>,
    /// How far a number may be from the expected one, as a share of it: logarithms differ between languages in the last bit.
    pub tolerance: f64,
    /// The rest.
    pub asked: Asked,
}

/// What a plugin is asked, by kind.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A cleaner or an evaluator: these rows.
    Rows(Batch),
    /// A source: to read these inputs to their end.
    Inputs {
        /// Text by name.
        inputs: BTreeMap<String, String>,
        /// Rows of one pull.
        rows_max: u32,
    },
    /// An alerter: to send this.
    Alert {
        /// The alert.
        alert: Alert,
        /// The status that every request is answered with.
        status: u16,
        /// Hosts that it may reach, on port 443.
        hosts: Vec<String>,
    },
}

/// A case as it stands in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    config: Option<Value>,
    #[serde(default)]
    tolerance: f64,
    columns: Option<Vec<ColumnText>>,
    inputs: Option<BTreeMap<String, String>>,
    rows_max: Option<u32>,
    alert: Option<AlertText>,
    status: Option<u16>,
    #[serde(default)]
    hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertText {
    key: String,
    severity: String,
    title: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    fired_at_us: i64,
    #[serde(default)]
    resolved: bool,
}

/// Reads the case of a file for a plugin of `kind`.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub fn read(name: &str, kind: PluginKind, text: &str) -> Result<Case, String> {
    let file: CaseFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let lacks = |key: &str| format!("it has no `{key}`, which a {kind} is tested with");
    let asked = match kind {
        PluginKind::Cleaner | PluginKind::Evaluator => Asked::Rows(cells::batch(&file.columns.ok_or_else(|| lacks("columns"))?)?),
        PluginKind::Source => {
            let inputs = file.inputs.ok_or_else(|| lacks("inputs"))?;
            Asked::Inputs { inputs, rows_max: file.rows_max.unwrap_or(POLL_ROWS_MAX).max(1) }
        }
        PluginKind::Alerter => {
            let alert = file.alert.ok_or_else(|| lacks("alert"))?.read()?;
            Asked::Alert { alert, status: file.status.unwrap_or(200), hosts: file.hosts }
        }
    };
    Ok(Case { name: name.to_owned(), config: file.config, tolerance: file.tolerance, asked })
}

impl AlertText {
    fn read(self) -> Result<Alert, String> {
        let severity = [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|known| known.word() == self.severity);
        let severity = severity.ok_or_else(|| format!("`severity` is `{}`; expected `info`, `warning` or `critical`", self.severity))?;
        let AlertText { key, title, cause, model, link, resolved, .. } = self;
        Ok(Alert { key, severity, title, cause, model, link, fired_at: Timestamp(self.fired_at_us), resolved })
    }
}
