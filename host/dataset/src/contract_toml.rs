//! A contract as a section of `tidegate.toml`, in the shape in which the configuration reads it.
//!
//! Invariant: every name and text is quoted where TOML asks for it, so that no column name can write configuration of its own.

use std::fmt::Write as _;

use tidegate_vocab::{Contract, ContractColumn, PipelineId, Role, TimeColumn, TimeUnit, Timestamp};

/// Columns that still are written on one line.
const INLINE_COLUMNS_MAX: usize = 12;

/// The section `[pipeline.<pipeline>.contract]`.
pub fn to_toml(contract: &Contract, pipeline: &PipelineId) -> String {
    let mut toml = format!("[pipeline.{}.contract]\n", key(pipeline.as_str()));
    let mut line = |name: &str, value: String| writeln!(toml, "{name} = {value}").expect("writing to a string cannot fail");
    if let Some(id) = &contract.id {
        line("id", text(id));
    }
    if let Some(time) = &contract.time {
        line("time", time_value(time));
    }
    let label = &contract.label;
    let (classes, by_id) = (list(&label.classes), if label.by_id { ", by_id = true" } else { "" });
    line(
        "label",
        format!("{{ column = {}, classes = {classes}, delay = {}{by_id} }}", text(&label.column), text(&duration(label.delay_us))),
    );
    let columns: Vec<String> = contract.columns.iter().map(|column| format!("{} = {}", key(&column.name), column_value(column))).collect();
    if columns.is_empty() {
        line("columns", "{}".into());
    } else if columns.len() <= INLINE_COLUMNS_MAX {
        line("columns", format!("{{ {} }}", columns.join(", ")));
    } else {
        writeln!(toml, "\n[pipeline.{}.contract.columns]\n{}", key(pipeline.as_str()), columns.join("\n"))
            .expect("writing to a string cannot fail");
    }
    toml
}

pub(crate) fn time_value(time: &TimeColumn) -> String {
    let mut value = format!("{{ column = {}", text(&time.column));
    if let Some(unit) = time.unit {
        value += &format!(", unit = {}, origin = {}", text(unit_word(unit)), text(&origin(time.origin_us)));
    }
    value + " }"
}

pub(crate) fn column_value(column: &ContractColumn) -> String {
    let plain = !column.nullable && column.role == Role::Feature && column.low.is_none() && column.high.is_none();
    if plain && column.categories.is_none() {
        return text(column.dtype.word());
    }
    let mut value = format!("{{ dtype = {}", text(column.dtype.word()));
    if column.role != Role::Feature {
        value += &format!(", role = {}", text(&column.role.word()));
    }
    if column.nullable {
        value += ", nullable = true";
    }
    for (name, bound) in [("low", column.low), ("high", column.high)] {
        if let Some(bound) = bound {
            value += &format!(", {name} = {bound:?}");
        }
    }
    if let Some(categories) = &column.categories {
        value += &format!(", categories = {}", list(categories));
    }
    value + " }"
}

fn unit_word(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::D => "d",
        TimeUnit::H => "h",
        TimeUnit::Min => "min",
        TimeUnit::S => "s",
        TimeUnit::Ms => "ms",
        TimeUnit::Us => "us",
    }
}

/// A date where the origin is a midnight, else an instant.
fn origin(origin_us: i64) -> String {
    let text = Timestamp(origin_us).to_string();
    text.strip_suffix("T00:00:00Z").map_or(text.clone(), str::to_owned)
}

/// A whole number of the largest unit that gives one, such as `1d` or `90min`.
pub(crate) fn duration(micros: i64) -> String {
    let units = [TimeUnit::D, TimeUnit::H, TimeUnit::Min, TimeUnit::S, TimeUnit::Ms];
    let whole = units.into_iter().find(|unit| micros % unit.micros() == 0).unwrap_or(TimeUnit::Us);
    format!("{}{}", micros / whole.micros(), unit_word(whole))
}

pub(crate) fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|item| text(item)).collect::<Vec<_>>().join(", "))
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { text(name) }
}

/// A basic string of TOML.
fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
