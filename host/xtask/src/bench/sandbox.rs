//! Calls into plugins beside the same work done natively; the sandbox measures itself, because only it knows its engine.

use anyhow::{Context, Result};

use super::row::Row;
use crate::command::capture;
use crate::repo::Repo;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    let mut example = repo.cargo();
    example.args(["run", "--quiet", "--package", "tidegate-sandbox", "--example", "bench_sandbox", "--", "--json"]);
    example.env("TIDEGATE_PLUGINS", repo.plugin_folder()).env("TIDEGATE_TEST_GUESTS", repo.test_guest_folder());
    let text = capture(&mut example)?;
    serde_json::from_str(&text).with_context(|| format!("`bench_sandbox` wrote `{}`", text.trim()))
}
