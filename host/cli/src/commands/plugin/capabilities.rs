//! What a plugin asks, what it imports and what it was granted, side by side in the same words, and where they differ.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_sandbox::{ColumnGrant, HttpGrant, Manifest, PluginKind, StateKind};
use tidegate_vocab::PluginName;

use crate::config::{Grants, SecretGrant};

/// The word for what there is nothing of.
const NO: &str = "no";
const YES: &str = "yes";

/// One capability.
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name, as manifests and settings have it.
    pub name: &'static str,
    /// Whether its manifest asks for it; for what a kind has by itself, what that is.
    pub asked: String,
    /// Whether the component imports it.
    pub imported: String,
    /// What the settings lend it, or the host gives to all.
    pub granted: String,
    /// Where the three differ.
    pub differs: Option<Difference>,
}

/// Where asked, imported and granted differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// In a few words.
    pub what: &'static str,
    /// The line to write or to take out, in a sentence.
    pub way_out: String,
}

/// What is known of a plugin.
pub struct Plugin<'a> {
    /// Its name.
    pub name: &'a PluginName,
    /// What it says of itself.
    pub manifest: &'a Manifest,
    /// Names of everything that it imports.
    pub imports: &'a [String],
    /// What the settings lend it.
    pub granted: &'a Grants,
    /// Names of the inputs of the settings.
    pub inputs: Vec<&'a str>,
}

impl Plugin<'_> {
    /// All capabilities there are.
    pub fn capabilities(&self) -> Vec<Capability> {
        let Grants { inputs, http, secrets, clock, columns } = self.granted;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let latency = self.manifest.kind == PluginKind::Evaluator && self.asks("latency");
        let keeps = self.manifest.state == StateKind::Keyed;
        let row = |name, asked: &str, imported: String, granted: &str| Capability {
            name,
            asked: asked.to_owned(),
            imported,
            granted: granted.to_owned(),
            differs: None,
        };
        let yes = |is: bool| if is { YES } else { NO };
        vec![
            self.lent("http", listed(http.iter().map(http_text))),
            self.secrets(secrets),
            self.lent("inputs", listed(inputs.into_iter().map(str::to_owned))),
            row(
                "columns",
                of_kind(self.manifest.kind),
                yes(self.imports("tidegate:plugin/rows@")).to_owned(),
                &self.columns(columns.as_ref()),
            ),
            self.lent("clock", yes(*clock).to_owned()),
            row("randomness", NO, yes(self.imports("wasi:random/")).to_owned(), "from a fixed seed"),
            row("latency", yes(self.asks("latency")), NO.to_owned(), yes(latency)),
            row(
                "state",
                if keeps { self.manifest.state.word() } else { NO },
                yes(self.imports("tidegate:plugin/state@")).to_owned(),
                yes(keeps),
            ),
            row("WASI", NO, self.wasi(), "nothing behind it"),
        ]
    }

    fn asks(&self, capability: &str) -> bool {
        self.manifest.capabilities.iter().any(|asked| asked == capability)
    }

    fn imports(&self, beginning: &str) -> bool {
        self.imports.iter().any(|import| import.starts_with(beginning))
    }

    /// A capability that is there to be asked for and granted.
    fn lent(&self, name: &'static str, granted: String) -> Capability {
        let (asked, imported) = (self.asks(name), self.imports(&format!("tidegate:plugin/{name}@")));
        let plugin = self.name;
        let differs = match (asked, imported, granted != NO) {
            (true, _, false) => {
                Some(("asked, not granted", format!("to grant it, write `[plugin.{plugin}.grant] {}`", self.example(name))))
            }
            (false, _, true) => Some(("granted, not asked", format!("to take it back, take `{name}` out of `[plugin.{plugin}.grant]`"))),
            (false, true, false) => {
                let way_out = format!("it is denied; if the plugin needs it, its author adds \"{name}\" to `capabilities` in its manifest");
                Some(("imported, not asked", way_out))
            }
            _ => None,
        };
        let differs = differs.map(|(what, way_out)| Difference { what, way_out });
        let yes = |is: bool| if is { YES } else { NO }.to_owned();
        Capability { name, asked: yes(asked), imported: yes(imported), granted, differs }
    }

    /// Secrets go with requests: a plugin asks for these, and names the secret in its configuration.
    fn secrets(&self, granted: &[SecretGrant]) -> Capability {
        let with_http = |is: bool| if is { "with http" } else { NO }.to_owned();
        let (asked, imported) = (self.asks("http"), self.imports("tidegate:plugin/http@"));
        let way_out = || format!("to take it back, take `secrets` out of `[plugin.{}.grant]`", self.name);
        let differs = (!asked && !granted.is_empty()).then(|| Difference { what: "granted, not asked", way_out: way_out() });
        let granted =
            listed(granted.iter().map(|secret| format!("{} as {} to {}{}", secret.name, secret.header, secret.host, secret.path)));
        Capability { name: "secrets", asked: with_http(asked), imported: with_http(imported), granted, differs }
    }

    fn columns(&self, granted: Option<&ColumnGrant>) -> String {
        let Some(granted) = granted else { return of_kind(self.manifest.kind).to_owned() };
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        match (granted.read.is_empty(), granted.write.is_empty()) {
            (true, true) => NO.to_owned(),
            (false, true) => format!("read {}", list(&granted.read)),
            (true, false) => format!("write {}", list(&granted.write)),
            (false, false) => format!("read {}; write {}", list(&granted.read), list(&granted.write)),
        }
    }

    /// The packages of WASI that it imports.
    fn wasi(&self) -> String {
        let package = |import: &String| Some(import.strip_prefix("wasi:")?.split('/').next()?.to_owned());
        let packages: BTreeSet<String> = self.imports.iter().filter_map(package).collect();
        listed(packages.into_iter())
    }

    /// What a grant may look like.
    fn example(&self, name: &str) -> String {
        match name {
            "http" => "http = [{ host = \"HOST\", methods = [\"GET\"], path = \"/\" }]".to_owned(),
            "inputs" => format!("inputs = [\"{}\"]", self.inputs.first().unwrap_or(&"NAME")),
            _ => format!("{name} = true"),
        }
    }
}

/// The columns that a plugin of a kind sees where nothing is granted.
fn of_kind(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Cleaner => "features",
        PluginKind::Evaluator => "answers, labels",
        PluginKind::Source => "its own",
        PluginKind::Alerter => NO,
    }
}

fn listed(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { NO.to_owned() } else { entries.join(", ") }
}

fn http_text(place: &HttpGrant) -> String {
    format!("{} {}:{}{}", place.methods.join("/"), place.host, place.port, place.path)
}

impl Capability {
    /// The row of the table.
    pub fn row(&self) -> Vec<String> {
        let differs = self.differs.as_ref().map_or("", |differs| differs.what);
        vec![self.name.to_owned(), self.asked.clone(), self.imported.clone(), self.granted.clone(), differs.to_owned()]
    }

    /// For `--json`.
    pub fn value(&self) -> Value {
        let differs = self.differs.as_ref().map(|differs| json!({ "what": differs.what, "way_out": differs.way_out }));
        json!({ "capability": self.name, "asked": self.asked, "imported": self.imported, "granted": self.granted, "differs": differs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kind: PluginKind, capabilities: &[&str]) -> Manifest {
        Manifest {
            name: "web".into(),
            kind,
            version: "1".into(),
            interface: "0.1".into(),
            summary: String::new(),
            config_schema: json!({}),
            capabilities: capabilities.iter().map(|asked| (*asked).to_owned()).collect(),
            reasons: Vec::new(),
            state: StateKind::None,
        }
    }

    /// The rows that are not all `no`, and the ways out.
    fn shown(kind: PluginKind, asked: &[&str], imports: &[&str], granted: &Grants) -> (Vec<String>, Vec<String>) {
        let (manifest, name) = (manifest(kind, asked), "web".parse().unwrap());
        let imports: Vec<String> = imports.iter().map(|import| (*import).to_owned()).collect();
        let plugin = Plugin { name: &name, manifest: &manifest, imports: &imports, granted, inputs: vec!["days"] };
        let capabilities = plugin.capabilities();
        let rows = capabilities.iter().map(|capability| capability.row().join(" | ")).filter(|row| !row.contains("| no | no | no |"));
        let ways = capabilities.iter().filter_map(|capability| Some(capability.differs.as_ref()?.way_out.clone()));
        (rows.collect(), ways.collect())
    }

    #[test]
    fn what_is_asked_imported_and_granted_is_told_in_the_same_words() {
        let place = |host: &str| HttpGrant { host: host.into(), port: 443, methods: vec!["GET".into(), "POST".into()], path: "/in".into() };
        let secret = SecretGrant {
            name: "key".into(),
            header: "x-key".into(),
            host: "a.example".into(),
            path: "/in".into(),
            from: crate::config::SecretOrigin::Env("KEY".into()),
        };
        let granted = Grants { http: vec![place("a.example")], secrets: vec![secret], ..Grants::default() };
        let imports =
            ["tidegate:plugin/http@0.1.0", "wasi:cli/exit@0.2.6", "wasi:io/poll@0.2.6", "wasi:random/random@0.2.6", "wasi:cli/stdin@0.2.6"];
        let (rows, ways) = shown(PluginKind::Alerter, &["http"], &imports, &granted);
        assert_eq!(
            rows,
            [
                "http | yes | yes | GET/POST a.example:443/in | ",
                "secrets | with http | with http | key as x-key to a.example/in | ",
                "randomness | no | yes | from a fixed seed | ",
                "WASI | no | cli, io, random | nothing behind it | ",
            ]
        );
        assert!(ways.is_empty(), "{ways:?}");
        let write = BTreeSet::from(["heat".to_owned()]);
        let narrowed = Grants { columns: Some(ColumnGrant { read: BTreeSet::new(), write }), ..Grants::default() };
        let (rows, _) = shown(PluginKind::Cleaner, &[], &["tidegate:plugin/rows@0.1.0"], &narrowed);
        assert_eq!(rows[0], "columns | features | yes | write heat | ");
    }

    #[test]
    fn every_difference_is_marked_with_the_line_to_write_or_to_take_out() {
        let nothing = Grants::default();
        for (asked, imports, granted, what, way_out) in [
            (
                vec!["inputs"],
                vec!["tidegate:plugin/inputs@0.1.0"],
                &nothing,
                "asked, not granted",
                "write `[plugin.web.grant] inputs = [\"days\"]`",
            ),
            (vec!["http"], vec![], &nothing, "asked, not granted", "http = [{ host = \"HOST\", methods = [\"GET\"], path = \"/\" }]`"),
            (vec!["clock"], vec![], &nothing, "asked, not granted", "write `[plugin.web.grant] clock = true`"),
            (vec![], vec!["tidegate:plugin/clock@0.1.0"], &nothing, "imported, not asked", "adds \"clock\" to `capabilities`"),
            (
                vec![],
                vec![],
                &Grants { clock: true, ..Grants::default() },
                "granted, not asked",
                "take `clock` out of `[plugin.web.grant]`",
            ),
        ] {
            let (rows, ways) = shown(PluginKind::Source, &asked, &imports, granted);
            assert!(rows.iter().any(|row| row.ends_with(what)), "{rows:?}");
            assert!(ways.len() == 1 && ways[0].contains(way_out), "{ways:?}");
        }
    }
}
