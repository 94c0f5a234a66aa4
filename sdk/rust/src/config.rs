//! A plugin's configuration: JSON text to the plugin's own type, with a pointer to whatever is wrong.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::{Issue, Issues};

/// Reads a configuration; keys that the type does not read are issues too.
pub(crate) fn read<C: DeserializeOwned>(text: &str) -> Result<C, Issues> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let mut unknown = Vec::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read: Result<C, serde_json::Error> = serde_ignored::deserialize(tracked, |path| unknown.push(ignored_pointer(&path)));
    let read = read.and_then(|config| json.end().map(|()| config));
    match read {
        Err(error) => Err(Issues::at(pointer(&track.path()), text_of(&error))),
        Ok(config) => {
            let issue = |pointer| Issue { pointer, message: "no such key".into() };
            Issues(unknown.into_iter().map(issue).collect()).or(config)
        }
    }
}

/// The message without serde_json's position: the operator wrote TOML, where line and column mean nothing.
fn text_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let keys: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect();
    Issues::pointer(keys.iter().map(String::as_str))
}

fn ignored_pointer(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}/{index}", ignored_pointer(parent)),
        Path::Map { parent, key } => format!("{}{}", ignored_pointer(parent), Issues::pointer([key.as_str()])),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => ignored_pointer(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, serde::Deserialize)]
    struct Bounds {
        #[expect(dead_code, reason = "read by serde only")]
        low: f64,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Config {
        #[expect(dead_code, reason = "read by serde only")]
        columns: BTreeMap<String, Bounds>,
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = match read::<Config>(text) {
            Ok(_) => Vec::new(),
            Err(issues) => issues.0.into_iter().map(|issue| (issue.pointer, issue.message)).collect(),
        };
        let expected: Vec<(String, String)> = expected.iter().map(|(at, what)| ((*at).into(), (*what).into())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn issues_point_at_what_is_wrong() {
        check(r#"{"columns":{"x":{"low":1}}}"#, &[]);
        check(r#"{"columns":{"x":{"low":"1"}}}"#, &[("/columns/x/low", r#"invalid type: string "1", expected f64"#)]);
        check(r#"{"columns":{"a/b":{"low":1,"lo":2}},"seed":1}"#, &[("/columns/a~1b/lo", "no such key"), ("/seed", "no such key")]);
        check("{}", &[("", "missing field `columns`")]);
        check(r#"{"columns":{}} x"#, &[("", "trailing characters")]);
    }
}
