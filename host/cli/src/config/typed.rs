//! What was typed, key by key: for saying what differs between two settings files, in the words of the file.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_vocab::Digest;
use toml::de::{DeTable, DeValue};

use super::live::{When, when};
use super::section::shown;

/// One step from a table to a key in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key.
    Name(String),
    /// A place in a list of tables, from 0.
    At(usize),
}

/// The way from the whole file to one value, such as `pipeline.rain.cleaners[1].damage.mean_shift_max`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<Step>);

/// Every value of a file by its key, as a person would write it. Comments, the order of keys and how tables are written down
/// make no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed(BTreeMap<Key, String>);

/// One key that two files have differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its value before; none where it was not written.
    pub old: Option<String>,
    /// Its value now; none where it is not written any more.
    pub new: Option<String>,
    /// What a running host makes of it.
    pub when: When,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if place == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::At(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "not written".to_owned(), shown);
        write!(f, "`{}`: {} to {}", self.key, value(&self.old), value(&self.new))?;
        if self.when == When::NextRun { f.write_str(" (from the next run on)") } else { Ok(()) }
    }
}

impl Key {
    /// Its names, without places in lists.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| if let Step::Name(name) = step { Some(name.as_str()) } else { None })
    }

    /// Whether it lies at or under `names`.
    pub fn is_under(&self, names: &[&str]) -> bool {
        let mut own = self.names();
        names.iter().all(|name| own.next() == Some(*name))
    }
}

impl Typed {
    /// The values of a file.
    pub fn of(document: &DeTable<'_>) -> Typed {
        let mut typed = Typed::default();
        typed.table(&mut Vec::new(), document);
        typed
    }

    fn table(&mut self, path: &mut Vec<Step>, table: &DeTable<'_>) {
        if table.is_empty() {
            self.0.insert(Key(path.clone()), "{}".to_owned());
        }
        for (key, value) in table {
            path.push(Step::Name(key.get_ref().to_string()));
            self.value(path, value.get_ref());
            path.pop();
        }
    }

    fn value(&mut self, path: &mut Vec<Step>, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.table(path, table),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::At(index));
                    self.value(path, item.get_ref());
                    path.pop();
                }
            }
            value => {
                self.0.insert(Key(path.clone()), super::section::json_of(value).to_string());
            }
        }
    }

    /// A digest of all of it: two files with the same one ask for the same.
    pub fn digest(&self) -> Digest {
        let lines: Vec<String> = self.0.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        Digest::of(lines.concat())
    }

    /// Keeps only keys that `keeps` wants.
    pub fn retain(&mut self, keeps: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| keeps(key));
    }

    /// What `new` has differently, by key; `stays` are keys that need a restart whatever the table of keys says of them.
    pub fn changes(&self, new: &Typed, stays: impl Fn(&Key) -> bool) -> Vec<Change> {
        let keys: std::collections::BTreeSet<&Key> = self.0.keys().chain(new.0.keys()).collect();
        let differs = keys.into_iter().filter(|key| self.0.get(key) != new.0.get(key));
        let change = |key: &Key| {
            // A key that the table does not know stays as it is: that is always safe.
            let when = if stays(key) { When::Restart } else { when(key).unwrap_or(When::Restart) };
            Change { key: key.to_string(), old: self.0.get(key).cloned(), new: new.0.get(key).cloned(), when }
        };
        differs.map(change).collect()
    }

    /// These values, but those of `new` where that is `taken`.
    pub fn adopting(&self, new: &Typed, taken: impl Fn(&Key) -> bool) -> Typed {
        let own = self.0.iter().filter(|(key, _)| !taken(key));
        let others = new.0.iter().filter(|(key, _)| taken(key));
        Typed(own.chain(others).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
