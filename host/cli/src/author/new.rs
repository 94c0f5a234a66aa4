//! `tidegate plugin new`: the example that the SDKs share, in a folder of its own, with a test that passes.

use std::path::Path;

use serde_json::json;
use tidegate_vocab::PluginName;

use super::KindWord;
use super::project::Language;
use super::sdk::{self, write_file};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// What a plugin of one kind begins with. The three languages share all but the sources.
struct Template {
    kind: KindWord,
    manifest: &'static str,
    rust: &'static str,
    javascript: &'static str,
    python: &'static str,
    config: &'static str,
    input: &'static str,
    expected: &'static str,
}

macro_rules! template {
    ($kind:ident, $word:literal) => {
        Template {
            kind: KindWord::$kind,
            manifest: include_str!(concat!("../../../../sdk/rust/examples/", $word, ".toml")),
            rust: include_str!(concat!("../../../../sdk/rust/examples/", $word, ".rs")),
            javascript: include_str!(concat!("../../../../sdk/javascript/examples/", $word, ".js")),
            python: include_str!(concat!("../../../../sdk/python/examples/", $word, ".py")),
            config: include_str!(concat!("templates/", $word, ".config.json")),
            input: include_str!(concat!("templates/", $word, ".input.json")),
            expected: include_str!(concat!("templates/", $word, ".expected.json")),
        }
    };
}

const TEMPLATES: [Template; 4] =
    [template!(Source, "source"), template!(Cleaner, "cleaner"), template!(Evaluator, "evaluator"), template!(Alerter, "alerter")];

const CARGO: &str = include_str!("templates/Cargo.toml.txt");
const CARGO_CONFIG: &str = include_str!("../../../../plugins/.cargo/config.toml");
const PACKAGE_JSON: &str = include_str!("../../../../sdk/javascript/package.json");
const REQUIREMENTS: &str = include_str!("../../../../sdk/python/requirements.txt");

/// Writes a new plugin into the folder `name` here; never into one that is there.
///
/// # Errors
/// A [`Failure`] when the name is none, or the folder is there or cannot be written to.
pub fn new(name: &str, kind: KindWord, language: Language, terminal: &Terminal) -> Result<Exit, Failure> {
    let folder = Path::new(name);
    let wrong = |error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "choose a name such as `my-cleaner`");
    let name: PluginName = name.parse().map_err(wrong)?;
    if folder.exists() {
        return Err(Failure::usage(format!("there is a `{name}` here already"), "choose another name, or remove it"));
    }
    for (path, text) in files(&name, kind, language) {
        write_file(&folder.join(path), text)?;
    }
    if language == Language::Rust {
        // The SDK is in no registry: it lies beside the plugin, at the version of this host, with the interface where it looks for it.
        sdk::write(sdk::RUST, "", folder)?;
        sdk::write(sdk::WIT, "", folder)?;
    }
    terminal.result(
        || next_steps(&name, language),
        || json!({ "plugin": name, "kind": kind.word(), "language": language.word(), "folder": name }),
    );
    Ok(Exit::Ok)
}

/// Paths in the plugin's folder, and texts.
fn files(name: &PluginName, kind: KindWord, language: Language) -> Vec<(&'static str, String)> {
    let Some(template) = TEMPLATES.iter().find(|template| template.kind == kind) else { return Vec::new() };
    let named = |text: &str| text.replace("NAME", name.as_str());
    let manifest = template.manifest.split_once('\n').map_or_else(String::new, |(_, rest)| format!("name = \"{name}\"\n{rest}"));
    let mut files = vec![
        ("plugin.toml", manifest),
        ("tests/config.json", template.config.to_owned()),
        ("tests/golden/first.input.json", template.input.to_owned()),
        ("tests/golden/first.expected.json", template.expected.to_owned()),
    ];
    files.extend(match language {
        Language::Rust => vec![
            ("Cargo.toml", named(CARGO)),
            (".cargo/config.toml", CARGO_CONFIG.to_owned()),
            ("src/lib.rs", template.rust.replace(&format!(", \"examples/{}.toml\"", kind.word()), "")),
            (".gitignore", "/target\n".to_owned()),
        ],
        Language::Javascript => vec![
            ("plugin.js", template.javascript.to_owned()),
            ("package.json", PACKAGE_JSON.to_owned()),
            (".gitignore", "/target\n/node_modules\n".to_owned()),
        ],
        Language::Python => vec![
            ("plugin.py", template.python.to_owned()),
            ("requirements.txt", REQUIREMENTS.to_owned()),
            (".gitignore", "/target\n/.venv\n__pycache__\n".to_owned()),
        ],
    });
    files
}

fn next_steps(name: &PluginName, language: Language) -> String {
    let tools = match language {
        Language::Rust => "rustup target add wasm32-wasip2               # once",
        Language::Javascript => "npm install                                   # the build tool; needs Node 20 or newer",
        Language::Python => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt   # the build tool",
    };
    let sources = match language {
        Language::Rust => "src/lib.rs",
        other => other.main_file(),
    };
    format!(
        "wrote {name}/\n\nnext:\n  cd {name}\n  {tools}\n  tidegate plugin test                          # build it and try it in the sandbox\n  \
         # change {sources}, plugin.toml and tests/golden, and test again\n  \
         tidegate plugin build -o ../plugins/{name}.wasm   # where a host looks for it\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::case;
    use crate::author::sdk::File;

    #[test]
    fn every_template_has_a_manifest_a_case_and_sources_in_every_language() {
        let name: PluginName = "mine".parse().unwrap();
        for template in &TEMPLATES {
            let manifest = tidegate_sandbox::read_manifest(template.manifest).unwrap();
            assert_eq!(manifest.kind.word(), template.kind.word());
            case::read("first", manifest.kind, template.input).unwrap();
            for language in [Language::Rust, Language::Javascript, Language::Python] {
                let files = files(&name, template.kind, language);
                let written = |path: &str| files.iter().find(|(written, _)| *written == path).map(|(_, text)| text.as_str()).unwrap();
                assert_eq!(tidegate_sandbox::read_manifest(written("plugin.toml")).unwrap().name, "mine");
                assert!(files.iter().any(|(path, _)| *path == language.main_file()));
                for (path, text) in &files {
                    assert!(!text.contains("NAME"), "{path}");
                }
            }
        }
    }

    #[test]
    fn the_rust_sdk_finds_the_interface_beside_it() {
        let named = |(path, _): &File, prefix: &str| path.starts_with(prefix);
        assert!(sdk::WIT.iter().all(|file| named(file, "wit/")));
        assert!(sdk::RUST.iter().all(|file| named(file, "sdk/rust/")));
        assert!(sdk::RUST.iter().any(|(path, text)| path.ends_with("bindings.rs") && text.contains("\"../../wit\"")));
    }
}
