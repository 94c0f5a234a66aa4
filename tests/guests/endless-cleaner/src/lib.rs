//! A cleaner that could take the place of the shipped `missing`, were it ever done with its configuration.

use std::collections::BTreeMap;
use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues};

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column name to a word, as `missing` takes it.
    pub columns: BTreeMap<String, String>,
}

/// The plugin.
pub struct Endless;

tidegate_plugin::export!(Endless, cleaner);

impl Cleaner for Endless {
    type Config = Config;

    fn configure(config: Config) -> Result<Endless, Issues> {
        loop {
            black_box(&config);
        }
    }

    fn clean(&self, _rows: &Batch, _edit: &Edit) -> Result<(), Failure> {
        Ok(())
    }
}
