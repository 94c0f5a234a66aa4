//! The rule about dependencies: which crate of ours may know which, and which crate owns which outside thing.
//!
//! The table is the one in `host/ARCHITECTURE.md`; arrows point up it only.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata};

use super::Failure;
use crate::command::capture;
use crate::repo::Repo;

const PREFIX: &str = "tidegate-";

/// What each crate may depend on, without the prefix. A crate that is not in the table may depend on none of ours.
const ARROWS: [(&str, &[&str]); 11] = [
    ("vocab", &[]),
    ("policy", &["vocab"]),
    ("store", &["vocab"]),
    ("sandbox", &["vocab"]),
    ("dataset", &["vocab", "store"]),
    ("model", &["vocab"]),
    ("serve", &["vocab", "model"]),
    ("pipeline", &["vocab", "policy", "store", "sandbox", "dataset", "model"]),
    ("cli", &["vocab", "policy", "store", "sandbox", "dataset", "model", "serve", "pipeline"]),
    ("testkit", &["vocab", "store", "sandbox"]),
    ("fuzz", &["vocab", "sandbox"]),
];

/// Crates that anything of ours may use in its tests, and nothing in what is shipped.
const DEV_ONLY: [&str; 1] = ["testkit"];

/// The crate of integration tests; in its tests it may use any of ours.
const INTEGRATION: &str = "tests";

/// Outside crates by the beginning of their name, and the one crate of ours that knows them.
const OWNERS: [(&str, &str); 5] =
    [("wasmtime", "sandbox"), ("wasmparser", "sandbox"), ("candle", "model"), ("sqlx", "store"), ("object_store", "store")];

/// One line of a manifest.
#[derive(Clone)]
pub struct Edge {
    /// The manifest, from the root.
    pub manifest: String,
    /// The crate of ours, without the prefix.
    pub from: String,
    /// The package it depends on, as published.
    pub to: String,
    /// Only its tests depend on it.
    pub is_dev: bool,
}

pub fn read(repo: &Repo) -> Result<Vec<Edge>> {
    let text = capture(repo.cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("could not read what cargo says about the workspace")?;
    let mut edges = Vec::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            edges.push(Edge {
                manifest: repo.short(package.manifest_path.as_std_path()).to_string(),
                from: package.name.trim_start_matches(PREFIX).to_owned(),
                to: dependency.name.clone(),
                is_dev: dependency.kind == DependencyKind::Development,
            });
        }
    }
    Ok(edges)
}

pub fn check(edges: &[Edge]) -> Vec<Failure> {
    edges.iter().filter_map(|edge| outward(edge).or_else(|| inward(edge))).map(|(edge, why)| Failure::new(&edge.manifest, 1, why)).collect()
}

/// An edge to an outside crate that another crate owns.
fn outward(edge: &Edge) -> Option<(&Edge, String)> {
    let (_, owner) = OWNERS.iter().find(|(prefix, _)| edge.to.starts_with(prefix))?;
    (edge.from != *owner).then(|| (edge, format!("only `{owner}` knows `{}`: ask it for what you need", edge.to)))
}

/// An edge between two crates of ours that the table does not have.
fn inward(edge: &Edge) -> Option<(&Edge, String)> {
    let to = edge.to.strip_prefix(PREFIX)?;
    let allowed = ARROWS.iter().find(|(name, _)| *name == edge.from).map_or(&[][..], |(_, allowed)| *allowed);
    let is_allowed = match edge.is_dev {
        true => allowed.contains(&to) || DEV_ONLY.contains(&to) || edge.from == INTEGRATION,
        false => allowed.contains(&to),
    };
    let offers = if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") };
    (!is_allowed).then(|| {
        let why =
            format!("`{}` may not depend on `{to}`, only on {offers}: put a trait where it is needed and wire it in `cli`", edge.from);
        (edge, why)
    })
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, is_dev: bool, expected: &str) {
        let edge = Edge { manifest: format!("host/{from}/Cargo.toml"), from: from.into(), to: to.into(), is_dev };
        let shown = shown(super::check(&[edge]));
        assert!(if expected.is_empty() { shown.is_empty() } else { shown.contains(expected) }, "{from} -> {to}: `{shown}`");
    }

    #[test]
    fn arrows_point_up_the_table_only() {
        check("dataset", "tidegate-store", false, "");
        check("store", "tidegate-dataset", false, "`store` may not depend on `dataset`, only on vocab");
        check("policy", "tidegate-store", true, "`policy` may not depend on `store`");
        check("serve", "tidegate-store", false, "`serve` may not depend on `store`");
        check("vocab", "tidegate-policy", false, "only on none of ours");
        check("xtask", "tidegate-vocab", false, "`xtask` may not depend on `vocab`");
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        check("store", "tidegate-testkit", true, "");
        check("store", "tidegate-testkit", false, "`store` may not depend on `testkit`");
        check("tests", "tidegate-pipeline", true, "");
        check("tests", "tidegate-pipeline", false, "`tests` may not depend on `pipeline`");
    }

    #[test]
    fn an_outside_thing_has_one_owner() {
        check("sandbox", "wasmtime-wasi", false, "");
        check("cli", "wasmtime", true, "only `sandbox` knows `wasmtime`");
        check("pipeline", "candle-core", false, "only `model` knows `candle-core`");
        check("dataset", "object_store", false, "only `store` knows `object_store`");
        check("policy", "serde", false, "");
    }
}
