//! Calls into plugins beside the same work done natively; the sandbox measures itself, because only it knows its engine.

use std::process::Command;

use anyhow::{Context, Result};

use super::row::Row;
use crate::command::{capture, run};
use crate::repo::Repo;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    // Built with the whole workspace's features, like everything else, so that no dependency is built a second time for it.
    run(repo.cargo().args(["build", "--quiet", "--workspace", "--example", "bench_sandbox"]))?;
    let mut example = Command::new(repo.target.join("debug/examples/bench_sandbox"));
    // Where cargo would run it: it reads the WIT from there.
    example.arg("--json").current_dir(repo.root.join("host/sandbox"));
    example.env("TIDEGATE_PLUGINS", repo.plugin_folder()).env("TIDEGATE_TEST_GUESTS", repo.test_guest_folder());
    let text = capture(&mut example)?;
    serde_json::from_str(&text).with_context(|| format!("`bench_sandbox` wrote `{}`", text.trim()))
}
