//! Calls into plugins beside the same work done natively; the sandbox measures itself, because only it knows its engine.

use std::process::Command;

use anyhow::{Context, Result};

use super::row::Row;
use crate::command::{capture, run};
use crate::repo::Repo;

pub fn measure(repo: &Repo) -> Result<Vec<Row>> {
    // Built with the whole workspace's features, like everything else, so that no dependency is built a second time for it.
    run(repo.cargo().args(["build", "--quiet", "--workspace", "--example", "bench_sandbox"]))?;
    let text = capture(example(repo, "bench_sandbox").arg("--json"))?;
    serde_json::from_str(&text).with_context(|| format!("`bench_sandbox` wrote `{}`", text.trim()))
}

/// An example of the sandbox that was built, as cargo would run it: it reads the WIT from its crate's folder.
pub fn example(repo: &Repo, name: &str) -> Command {
    let mut example = Command::new(repo.target.join("debug/examples").join(name));
    example.current_dir(repo.root.join("host/sandbox"));
    example.env("TIDEGATE_PLUGINS", repo.plugin_folder()).env("TIDEGATE_TEST_GUESTS", repo.test_guest_folder());
    example
}
