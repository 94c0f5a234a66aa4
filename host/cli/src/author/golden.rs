//! Golden batches: `tests/golden/NAME.input.json` and what came of it when its author last looked, `NAME.expected.json`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use tidegate_sandbox::CallError;

use super::case::{self, Case};
use super::project::Project;
use super::runner::Runner;
use super::sdk::write_file;
use crate::failure::Failure;

const INPUT: &str = ".input.json";

/// A case and where its expectation is.
pub struct Golden {
    /// The case.
    pub case: Case,
    expected: PathBuf,
}

/// The configuration of all tests: `tests/config.json`, else an empty one.
///
/// # Errors
/// A [`Failure`] when it is not JSON.
pub fn config(project: &Project) -> Result<Value, Failure> {
    let path = project.folder.join("tests/config.json");
    if !path.is_file() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let text = read(&path)?;
    serde_json::from_str(&text).map_err(|error| wrong(&path, &error.to_string()))
}

/// The golden batches of a project, by name.
///
/// # Errors
/// A [`Failure`] that names the file that cannot be used.
pub fn all(project: &Project) -> Result<Vec<Golden>, Failure> {
    let folder = project.folder.join("tests/golden");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = || format!("could not list `{}`", folder.display());
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(name) = file.strip_suffix(INPUT) else { continue };
        let case = case::read(name, project.manifest.kind, &read(&path)?).map_err(|why| wrong(&path, &why))?;
        found.push(Golden { case, expected: folder.join(format!("{name}.expected.json")) });
    }
    found.sort_by(|left, right| left.case.name.cmp(&right.case.name));
    Ok(found)
}

impl Golden {
    /// Asks the plugin and compares; with `update`, writes what came of it.
    ///
    /// # Errors
    /// What differs, as the inner one; a [`Failure`] when a file cannot be read or written.
    pub fn check(&self, runner: &Runner, update: bool) -> Result<Result<&'static str, String>, Failure> {
        let found = match runner.start(Some(&self.case)).and_then(|mut handle| handle.ask(&self.case)) {
            Ok(found) => found,
            // To refuse a batch is something that a plugin may be expected to do; to crash on it is not.
            Err(CallError::Refused { failure, .. }) => serde_json::json!({ "refused": failure.to_string() }),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if update {
            write_file(&self.expected, format!("{found:#}\n"))?;
            return Ok(Ok("written"));
        }
        if !self.expected.is_file() {
            return Ok(Err("nothing is expected of it yet: look at what `--update` writes".to_owned()));
        }
        let expected: Value = serde_json::from_str(&read(&self.expected)?).map_err(|error| wrong(&self.expected, &error.to_string()))?;
        // Through text, as the expectation went: a number that reads the same is the same.
        let found: Value = serde_json::from_str(&found.to_string()).map_err(|error| wrong(&self.expected, &error.to_string()))?;
        Ok(difference("", &expected, &found, self.case.tolerance).map_or(Ok("as expected"), Err))
    }
}

/// The first place at which two values differ by more than `tolerance`, a share of the expected number.
fn difference(pointer: &str, expected: &Value, found: &Value, tolerance: f64) -> Option<String> {
    match (expected, found) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs.find_map(|(index, (left, right))| difference(&format!("{pointer}/{index}"), left, right, tolerance))
        }
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            left.iter().find_map(|(key, value)| difference(&format!("{pointer}/{key}"), value, &right[key], tolerance))
        }
        _ if expected == found => None,
        (Value::Number(left), Value::Number(right)) if is_close(left.as_f64(), right.as_f64(), tolerance) => None,
        _ => Some(format!("at `{pointer}`: expected {}, found {}", short(expected), short(found))),
    }
}

fn is_close(expected: Option<f64>, found: Option<f64>, tolerance: f64) -> bool {
    expected.zip(found).is_some_and(|(expected, found)| tolerance > 0.0 && (expected - found).abs() <= tolerance * expected.abs())
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}

fn read(path: &Path) -> Result<String, Failure> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))?)
}

fn wrong(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("`{}`: {why}", path.display()), "`sdk/README.md` shows what a golden batch looks like")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_pointed_at() {
        let differ = |left: Value, right: Value| difference("", &left, &right, 0.0);
        assert_eq!(differ(json!({ "a": [1, 2] }), json!({ "a": [1, 2] })), None);
        assert_eq!(differ(json!({ "a": [1, 2] }), json!({ "a": [1, 3] })).unwrap(), "at `/a/1`: expected 2, found 3");
        assert_eq!(differ(json!([1]), json!([1, 2])).unwrap(), "at ``: expected [1], found [1,2]");
        assert_eq!(differ(json!({ "a": 1 }), json!({ "b": 1 })).unwrap(), "at ``: expected {\"a\":1}, found {\"b\":1}");
        assert_eq!(difference("", &json!([1.0]), &json!([1.001]), 0.01), None);
        assert_eq!(difference("", &json!(-1.0), &json!(1.0), 0.01).unwrap(), "at ``: expected -1.0, found 1.0");
    }
}
