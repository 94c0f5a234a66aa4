//! `tidegate plugin build` and `pack`: from a folder of sources to one component that describes itself.
//!
//! JavaScript and Python are built in a folder of their own below `target/`, where the SDK and the interface of this binary lie beside
//! the author's sources; Rust is built by cargo where it is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::{Value, json};
use tidegate_sandbox::PackError;

use super::project::{Language, Project, manifest};
use super::runner;
use super::sdk::{self, write_file};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// The tool that builds JavaScript, as its lock file pins it.
const COMPONENTIZE_JS: &str = "0.23.0";
/// The tool that builds Python.
const COMPONENTIZE_PY: &str = "0.25.1";
/// Folders in a plugin's folder that hold no sources of it.
const NOT_SOURCES: [&str; 6] = ["node_modules", "target", "tests", "tidegate", "__pycache__", ".venv"];

/// Builds the plugin of a folder and says where it is.
///
/// # Errors
/// A [`Failure`] when a tool is missing or does not accept the sources.
pub fn build(project: &Project, output: Option<&Path>, terminal: &Terminal) -> Result<Exit, Failure> {
    let bytes = component(project)?;
    let path = output.map_or_else(|| default_output(project), Path::to_owned);
    write_file(&path, &bytes)?;
    let shown = path.display().to_string();
    let text = || format!("built {shown}: {} {}, {} KiB\n", project.manifest.kind, project.name, bytes.len().div_ceil(1024));
    terminal.result(text, || json!({ "plugin": project.name, "kind": project.manifest.kind.word(), "file": shown, "bytes": bytes.len() }));
    Ok(Exit::Ok)
}

/// Packs a manifest into a component that is there, and loads it to see that this host can run it.
///
/// # Errors
/// A [`Failure`] when the component or the manifest has a fault; the file is as it was then.
pub fn pack(path: &Path, manifest_path: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let (text, manifest) = manifest(manifest_path)?;
    let bytes = std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let packed = packed(path, &bytes, &text)?;
    let wrong = |error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "change `name` in the manifest");
    let plugin = runner::load(&manifest.name.parse().map_err(wrong)?, &packed)?;
    write_file(path, &packed)?;
    let (shown, kind, digest) = (path.display().to_string(), plugin.kind(), plugin.digest());
    terminal.result(
        || format!("packed {shown}: {kind} {}, {digest}\n", manifest.name),
        || json!({ "plugin": manifest.name, "kind": kind.word(), "file": shown, "digest": digest }),
    );
    Ok(Exit::Ok)
}

/// Builds and packs; the bytes of the component.
///
/// # Errors
/// As [`build`].
pub fn component(project: &Project) -> Result<Vec<u8>, Failure> {
    let built = match project.language {
        Language::Rust => rust(project)?,
        Language::Javascript => javascript(project)?,
        Language::Python => python(project)?,
    };
    let bytes = std::fs::read(&built).with_context(|| format!("could not read `{}`", built.display()))?;
    packed(&built, &bytes, &project.manifest_text)
}

fn packed(path: &Path, bytes: &[u8], manifest: &str) -> Result<Vec<u8>, Failure> {
    tidegate_sandbox::pack(bytes, manifest).map_err(|error: PackError| {
        let hint = error.hint().unwrap_or_else(|| "correct `plugin.toml`".to_owned());
        Failure::usage(format!("could not pack `{}`: {error}", path.display()), hint)
    })
}

/// Where `build` writes when it is not told.
fn default_output(project: &Project) -> PathBuf {
    project.target().join(format!("{}.wasm", project.name))
}

fn rust(project: &Project) -> Result<PathBuf, Failure> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&project.folder).args(["build", "--release", "--target", "wasm32-wasip2"]);
    cargo.args(["--message-format", "json-render-diagnostics"]).arg("--target-dir").arg(project.target());
    let said = finished(cargo, "cargo", "install Rust from https://rustup.rs, then `rustup target add wasm32-wasip2`")?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let component = |message: Value| {
        let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str).map(PathBuf::from);
        files.into_iter().find(|file| file.extension() == Some(OsStr::new("wasm")))
    };
    messages
        .filter_map(component)
        .next_back()
        .ok_or_else(|| Failure::usage("cargo built no component", "write `[lib]` and `crate-type = [\"cdylib\"]` into `Cargo.toml`"))
}

fn javascript(project: &Project) -> Result<PathBuf, Failure> {
    let kind = project.manifest.kind.word();
    let entry = format!(
        "import Plugin from \"./plugin.js\";\nimport {{ exported }} from \"./tidegate/as-{kind}.js\";\n\n\
         const made = exported(Plugin);\nexport const lifecycle = made.lifecycle;\nexport const {kind} = made.{kind};\n"
    );
    let folder = laid_out(project, sdk::JAVASCRIPT, "sdk/javascript/", "js", "entry.js", &entry)?;
    let built = folder.join("component.wasm");
    let mut command = tool(project, "node_modules/.bin", "componentize-js");
    command.arg(folder.join("entry.js")).arg("--wit").arg(folder.join("wit")).args(["--world-name", &format!("{kind}-plugin")]);
    // Requests go through the interface: without these two, nothing of `wasi:http` is imported.
    command.args(["--disable", "http", "--disable", "fetch-event", "--out"]).arg(&built);
    let hint =
        format!("it needs Node 20 or newer; in the plugin's folder: `npm install @bytecodealliance/componentize-js@{COMPONENTIZE_JS}`");
    finished(command, "componentize-js", &hint)?;
    Ok(built)
}

fn python(project: &Project) -> Result<PathBuf, Failure> {
    let kind = project.manifest.kind.word();
    let mut classes = vec!["Lifecycle".to_owned(), kind[..1].to_uppercase() + &kind[1..]];
    if kind == "source" {
        classes.push("Reader".to_owned());
    }
    let entry =
        format!("from plugin import Plugin\nfrom tidegate.as_{kind} import exported\n\n{} = exported(Plugin)\n", classes.join(", "));
    let folder = laid_out(project, sdk::PYTHON, "sdk/python/", "py", "entry.py", &entry)?;
    let built = folder.join("component.wasm");
    let mut command = tool(project, ".venv/bin", "componentize-py");
    command.args(["--quiet", "--world", &format!("{kind}-plugin"), "--wit-path"]).arg(folder.join("wit"));
    command.arg("componentize").arg("--python-path").arg(&folder).args(["entry", "--output"]).arg(&built);
    let hint = format!(
        "it needs Python 3.10 or newer; in the plugin's folder: `python3 -m venv .venv && .venv/bin/pip install componentize-py=={COMPONENTIZE_PY}`"
    );
    finished(command, "componentize-py", &hint)?;
    Ok(built)
}

/// A fresh folder with the author's sources, the SDK, the interface and the module that exports the plugin.
fn laid_out(project: &Project, sdk: &[sdk::File], prefix: &str, ending: &str, entry: &str, text: &str) -> Result<PathBuf, Failure> {
    let folder = project.target().join("component");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("could not empty `{}`", folder.display()))?;
    }
    copy_sources(&project.folder, &folder, ending)?;
    sdk::write(sdk, prefix, &folder)?;
    sdk::write(sdk::WIT, "", &folder)?;
    write_file(&folder.join(entry), text)?;
    Ok(folder)
}

fn copy_sources(from: &Path, to: &Path, ending: &str) -> Result<(), Failure> {
    let failed = || format!("could not read `{}`", from.display());
    for entry in from.read_dir().with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_folder = entry.file_type().with_context(failed)?.is_dir();
        if is_folder && !NOT_SOURCES.iter().any(|other| name == *other) {
            copy_sources(&path, &to.join(&name), ending)?;
        } else if path.extension() == Some(OsStr::new(ending)) {
            let text = std::fs::read(&path).with_context(|| format!("could not read `{}`", path.display()))?;
            write_file(&to.join(&name), text)?;
        }
    }
    Ok(())
}

/// A tool that the author installed in the plugin's folder, else the one that the search path finds.
fn tool(project: &Project, folder: &str, name: &str) -> Command {
    let own = project.folder.join(folder).join(name);
    Command::new(if own.is_file() { own.into_os_string() } else { name.into() })
}

/// Runs a tool with its complaints on the terminal; what it wrote to stdout.
fn finished(mut command: Command, name: &str, hint: &str) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::usage(format!("`{name}`, which builds this plugin, is not there"), hint));
        }
        other => other.with_context(|| format!("could not run `{name}`"))?,
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    // cargo's lines on stdout are for programs; those of the other tools are for people.
    let last: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let last = last.iter().rev().take(20).rev().copied().collect::<Vec<_>>().join("\n");
    let text = if last.is_empty() {
        format!("`{name}` ended with {}", output.status)
    } else {
        format!("`{name}` ended with {}\n{last}", output.status)
    };
    Err(Failure::usage(text, "correct what it names above, and build again"))
}
