//! `tidegate backtest --tune`: the settings of a grid, each a whole settings file with some values changed.
//!
//! Invariant: a changed file is checked like any other, so that nothing is replayed that `tidegate check` would refuse.

use tidegate_policy::TriggerKind;
use toml::{Table, Value};

use crate::config::{Config, File, PipelineConfig};
use crate::failure::Failure;

/// Settings of one grid at most: each is a replay for every seed.
pub const GRID_MAX: usize = 64;

/// A key below `[pipeline.NAME]` and the values to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Varied {
    key: String,
    values: Vec<Value>,
}

impl std::str::FromStr for Varied {
    type Err = String;

    fn from_str(text: &str) -> Result<Varied, String> {
        let expected = || format!("expected KEY=VALUE,VALUE such as `model.window_rows=2000,4000`, found `{text}`");
        let (key, values) = text.split_once('=').ok_or_else(expected)?;
        let value = |word: &str| {
            // A word that is no TOML by itself is text.
            let parsed: Result<Table, _> = format!("value = {word}").parse();
            parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(word.to_owned()))
        };
        let values: Vec<Value> = values.split(',').map(str::trim).filter(|word| !word.is_empty()).map(value).collect();
        if key.trim().is_empty() || values.is_empty() {
            return Err(expected());
        }
        Ok(Varied { key: key.trim().to_owned(), values })
    }
}

/// What is varied where nobody says: the window that is learned from and, where rows start a run, how many.
pub fn usual(chosen: &PipelineConfig) -> Vec<Varied> {
    let around = |value: u64| [value / 2, value, value * 2].map(|value| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))).to_vec();
    let window = Varied { key: "model.window_rows".to_owned(), values: around(chosen.model.window_rows) };
    let volume = chosen.triggers.iter().find_map(|trigger| match trigger.kind {
        TriggerKind::Volume { new_rows } => Some(Varied { key: "trigger.volume.new_rows".to_owned(), values: around(new_rows) }),
        _ => None,
    });
    std::iter::once(window).chain(volume).collect()
}

/// Every combination of the values, with a name that says it.
///
/// # Errors
/// A [`Failure`] when a key leads nowhere, the grid is too large, or a combination is no valid configuration.
pub fn grid(config: &Config, chosen: &PipelineConfig, varied: &[Varied]) -> Result<Vec<(String, Config)>, Failure> {
    let size: usize = varied.iter().map(|one| one.values.len()).product();
    if size > GRID_MAX {
        let text = format!("the grid has {size} settings, more than {GRID_MAX}");
        return Err(Failure::usage(text, "give fewer values, or tune some keys after the others"));
    }
    let table: Table =
        config.file.text.parse().map_err(|error: toml::de::Error| Failure::usage(error.to_string(), "mend the file first"))?;
    let mut settings = vec![(Vec::new(), table)];
    for Varied { key, values } in varied {
        let mut next = Vec::with_capacity(settings.len() * values.len());
        for (names, table) in &settings {
            for value in values {
                let mut table = table.clone();
                set(&mut table, chosen, key, value.clone())?;
                let mut names: Vec<String> = names.clone();
                names.push(format!("{}={}", key.rsplit('.').next().unwrap_or(key), bare(value)));
                next.push((names, table));
            }
        }
        settings = next;
    }
    let checked = |(names, table): (Vec<String>, Table)| {
        let name = names.join(" ");
        let text = toml::to_string(&table).map_err(|error| Failure::usage(error.to_string(), "give values that TOML can hold"))?;
        let file = File { path: config.file.path.clone(), text };
        let refused = |error: crate::config::ConfigError| Failure::usage(format!("with {name}: {error}"), "give other values to `--tune`");
        let config = file.check().map_err(refused)?;
        Ok((name, config))
    };
    settings.into_iter().map(checked).collect()
}

/// Text as it is said, without quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Puts `value` at `key`. Elements of a list are named by their `id` or `kind`, or by their place from 0.
fn set(table: &mut Table, chosen: &PipelineConfig, key: &str, value: Value) -> Result<(), Failure> {
    let mut at = table.get_mut("pipeline").and_then(|pipelines| pipelines.get_mut(chosen.id.as_str()));
    let segments: Vec<&str> = key.split('.').collect();
    let (last, path) = segments.split_last().expect("a split text has a part");
    for segment in path {
        at = at.and_then(|value| match value {
            Value::Table(table) => table.get_mut(*segment),
            Value::Array(list) => named(list, segment),
            _ => None,
        });
    }
    match at {
        Some(Value::Table(table)) => table.insert((*last).to_owned(), value),
        _ => {
            let text = format!("`{}` is nowhere in `[pipeline.{}]`", path.join("."), chosen.id);
            let hint = "name tables as in the file, a rule by its `id` and a trigger by its `kind`: `gate.rule.not-worse.margin`";
            return Err(Failure::usage(text, hint));
        }
    };
    Ok(())
}

fn named<'a>(list: &'a mut [Value], name: &str) -> Option<&'a mut Value> {
    let is_named = |value: &Value| ["id", "kind"].iter().any(|key| value.get(key).and_then(Value::as_str) == Some(name));
    let place = list.iter().position(is_named).or_else(|| name.parse().ok())?;
    list.get_mut(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let found = text.parse::<Varied>();
            let values = |found: &Varied| found.values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ");
            let found = found.as_ref().map(|found| (found.key.clone(), values(found))).map_err(String::as_str);
            assert_eq!(found, expected.map(|(key, values)| (key.to_owned(), values.to_owned())));
        };
        check("model.window_rows=2000, 4000", Ok(("model.window_rows", "2000 4000")));
        check("gate.rule.not-worse.margin=0.01,0.02", Ok(("gate.rule.not-worse.margin", "0.01 0.02")));
        check("model.family=linear,mlp", Ok(("model.family", "\"linear\" \"mlp\"")));
        check("trigger.error.cooldown=\"6h\"", Ok(("trigger.error.cooldown", "\"6h\"")));
        let refused = "expected KEY=VALUE,VALUE such as `model.window_rows=2000,4000`, found `";
        check("model.window_rows", Err(&format!("{refused}model.window_rows`")));
        check("model.window_rows=,", Err(&format!("{refused}model.window_rows=,`")));
        check("=3", Err(&format!("{refused}=3`")));
    }
}
