//! Inference over HTTP beside a bare echo; the server measures itself, in one process with its peer.

use std::process::Command;

use anyhow::{Context, Result};

use super::row::Row;
use crate::command::{capture, run};
use crate::repo::Repo;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    run(repo.cargo().args(["build", "--quiet", "--workspace", "--example", "bench_serve"]))?;
    let text = capture(Command::new(repo.target.join("debug/examples/bench_serve")).arg("--json"))?;
    serde_json::from_str(&text).with_context(|| format!("`bench_serve` wrote `{}`", text.trim()))
}
