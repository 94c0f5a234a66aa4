//! Cleaner `dedup`: drops rows whose key came before, in the same part and, where it is told to remember keys, in earlier ones.
//!
//! It remembers in the state that the host keeps, and nowhere else: there the keys of a part are committed with its rows, so that a
//! part which is cleaned twice after a crash finds none of its own. A row with a missing key is nobody's duplicate. It is shown
//! features; the id of a row can be part of a key where it is granted by its name.

mod keys;
mod remembered;

use std::collections::HashSet;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues};

use keys::Keys;

/// The reason that the manifest lists.
const REASON: &str = "duplicate";

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The columns whose values together name a row.
    pub key: Vec<String>,
    /// Which row of one key stays.
    #[serde(default)]
    pub keep: Keep,
    /// How many of the newest keys of earlier parts are remembered, at least; none, when absent.
    #[serde(default)]
    pub remember_keys: Option<u64>,
}

/// Which row of one key stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

/// The plugin.
pub struct Dedup {
    config: Config,
}

tidegate_plugin::export!(Dedup, cleaner);

impl Cleaner for Dedup {
    type Config = Config;

    fn configure(config: Config) -> Result<Dedup, Issues> {
        let mut issues = Issues::default();
        if config.key.is_empty() {
            issues.push("/key", "no column is named; name those whose values together name a row");
        }
        let mut seen = HashSet::new();
        for (index, name) in config.key.iter().enumerate().filter(|(_, name)| !seen.insert(*name)) {
            issues.push(format!("/key/{index}"), format!("`{name}` is named twice"));
        }
        if config.remember_keys.is_some() && config.keep == Keep::Last {
            let text = "`last` goes with no `remember_keys`: a row that came in an earlier part has been let in already";
            issues.push("/keep", text);
        }
        issues.or(Dedup { config })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        let shown: Vec<&str> = rows.columns().map(|column| column.name()).collect();
        if let Some(name) = self.config.key.iter().find(|name| !shown.contains(&name.as_str())) {
            let message = format!("there is no column `{name}`; shown are {}", listed(&shown));
            return Err(Failure::new(message));
        }
        let keys = Keys::of(rows, &self.config.key)?;
        let mut seen: HashSet<&[u8]> = HashSet::with_capacity(rows.row_count() as usize);
        let mut is_new = |key: Option<_>| key.is_none_or(|key| seen.insert(key));
        let mut mask: Vec<bool> = match self.config.keep {
            Keep::First => keys.iter().map(&mut is_new).collect(),
            Keep::Last => keys.iter().rev().map(&mut is_new).collect(),
        };
        if self.config.keep == Keep::Last {
            mask.reverse();
        }
        if let Some(remember_keys) = self.config.remember_keys {
            let first: Vec<(usize, &[u8])> =
                keys.iter().enumerate().filter(|(row, _)| mask[*row]).filter_map(|(row, key)| Some((row, key?))).collect();
            let once: Vec<&[u8]> = first.iter().map(|(_, key)| *key).collect();
            let are_new = remembered::are_new(&once, remember_keys)?;
            first.iter().zip(are_new).for_each(|((row, _), is_new)| mask[*row] = is_new);
        }
        if mask.iter().all(|keep| *keep) { Ok(()) } else { edit.keep(rows, &mask, REASON) }
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
