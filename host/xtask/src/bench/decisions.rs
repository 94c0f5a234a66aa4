//! How often decisions are wrong, and how long one takes: simulated through the functions that make the real ones.

use anyhow::{Context, Result};

use super::row::Row;
use super::sandbox::example;
use super::service;
use crate::command::{capture, run};
use crate::repo::Repo;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    // Built with the whole workspace's features, like everything else, so that no dependency is built a second time for it.
    run(repo.cargo().args(["build", "--quiet", "--workspace", "--example", "bench_decisions"]))?;
    eprintln!("bench: thousands of simulated gates and canaries, which takes some minutes");
    let text = capture(example(repo, "bench_decisions").arg("--json"))?;
    let mut rows: Vec<Row> = serde_json::from_str(&text).with_context(|| format!("`bench_decisions` wrote `{}`", text.trim()))?;
    rows.extend(service::rollbacks(repo)?);
    Ok(rows)
}
