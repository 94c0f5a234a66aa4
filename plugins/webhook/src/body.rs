//! What is posted: the usual body, or the operator's with the alert filled in.

use serde_json::{Value, json};
use tidegate_plugin::Alert;

/// The names that stand in braces.
const FIELDS: [&str; 8] = ["title", "cause", "severity", "state", "key", "model", "link", "fired_at_us"];

/// The alert as it is.
pub fn usual(alert: &Alert) -> Value {
    let Alert { key, severity, title, cause, model, link, fired_at_us, resolved } = alert;
    json!({
        "key": key,
        "severity": severity,
        "state": state(*resolved),
        "title": title,
        "cause": cause,
        "model": model,
        "link": link,
        "fired_at_us": fired_at_us,
    })
}

/// The template with the alert in all its texts. What is filled in is not looked at again, and cannot break out of its text.
pub fn filled(template: &Value, alert: &Alert) -> Value {
    match template {
        Value::String(text) => Value::String(filled_text(text, alert)),
        Value::Array(items) => items.iter().map(|item| filled(item, alert)).collect(),
        Value::Object(entries) => entries.iter().map(|(name, value)| (name.clone(), filled(value, alert))).collect(),
        other => other.clone(),
    }
}

/// Where a template names what an alert does not have: pointer and reason.
pub fn unknown(template: &Value) -> Vec<(String, String)> {
    match template {
        Value::String(text) => {
            let names = pieces(text).filter_map(|piece| match piece {
                Piece::Field(name) if !FIELDS.contains(&name) => Some(name),
                _ => None,
            });
            let why = |name| format!("an alert has no `{{{name}}}`; it has {}", FIELDS.map(|name| format!("`{{{name}}}`")).join(", "));
            names.map(|name| (String::new(), why(name))).collect()
        }
        Value::Array(items) => below(items.iter().enumerate().map(|(index, item)| (index.to_string(), item))),
        Value::Object(entries) => below(entries.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))),
        _ => Vec::new(),
    }
}

fn below<'a>(entries: impl Iterator<Item = (String, &'a Value)>) -> Vec<(String, String)> {
    entries.flat_map(|(name, value)| unknown(value).into_iter().map(move |(pointer, why)| (format!("/{name}{pointer}"), why))).collect()
}

enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// Splits at `{name}`, where the name is of small letters and low lines; any other brace is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let named = |start: usize| {
            let end = start + rest[start..].find('}')?;
            let name = &rest[start + 1..end];
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            is_name.then_some((name, end + 1))
        };
        if let Some((name, end)) = rest.starts_with('{').then(|| named(0)).flatten() {
            rest = &rest[end..];
            return Some(Piece::Field(name));
        }
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let next = rest[first..].find('{').map_or(rest.len(), |at| first + at);
        let (text, after) = rest.split_at(next);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn filled_text(text: &str, alert: &Alert) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field("title") => out.push_str(&alert.title),
            Piece::Field("cause") => out.push_str(&alert.cause),
            Piece::Field("severity") => out.push_str(&alert.severity),
            Piece::Field("state") => out.push_str(state(alert.resolved)),
            Piece::Field("key") => out.push_str(&alert.key),
            Piece::Field("model") => out.push_str(&alert.model),
            Piece::Field("link") => out.push_str(&alert.link),
            Piece::Field("fired_at_us") => out.push_str(&alert.fired_at_us.to_string()),
            Piece::Field(other) => out.push_str(&format!("{{{other}}}")),
        }
    }
    out
}

fn state(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "fired" }
}
