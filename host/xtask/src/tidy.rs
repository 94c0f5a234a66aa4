//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! Each rule is a pure function from the tree (or from what cargo says about it) to failures; a failure says where, what, and
//! what to do. Reading happens here, once.

mod arrows;
mod manifest;
mod source;
mod tree;

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::capture;
use crate::repo::Repo;

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The file, from the root.
    pub file: String,
    /// The line, from 1; a rule about the whole file says 1.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Failure {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Failure {
        Failure { file: file.to_owned(), line, message: message.into() }
    }
}

/// The files of the repository by their path from the root, with `/` on every platform; `None` is a file that is not text.
pub type Tree = BTreeMap<String, Option<String>>;

/// Checks every rule and lists all that fail.
pub fn tidy(repo: &Repo) -> Result<()> {
    let tree = read(repo)?;
    let mut failures = tree::check(&tree);
    failures.extend(source::check(&tree));
    failures.extend(manifest::check(&tree));
    failures.extend(arrows::check(&arrows::read(repo)?));
    failures.sort();
    for failure in &failures {
        println!("{}:{}: {}", failure.file, failure.line, failure.message);
    }
    if !failures.is_empty() {
        bail!("{} broken rules", failures.len());
    }
    eprintln!("tidy: {} files", tree.len());
    Ok(())
}

/// Reads what git knows and what it would add; build folders are ignored, so they are not seen.
fn read(repo: &Repo) -> Result<Tree> {
    let mut list = Command::new("git");
    list.current_dir(&repo.root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut tree = Tree::new();
    for path in capture(&mut list)?.split_terminator('\0') {
        // git also lists files that were deleted and not yet committed.
        if repo.root.join(path).is_file() {
            let bytes = std::fs::read(repo.root.join(path)).with_context(|| format!("could not read `{path}`"))?;
            tree.insert(path.to_owned(), String::from_utf8(bytes).ok());
        }
    }
    Ok(tree)
}

/// The text files among `tree`.
fn texts(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
}

#[cfg(test)]
fn tree_of(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect()
}

#[cfg(test)]
fn shown(failures: Vec<Failure>) -> String {
    let lines: Vec<_> = failures.iter().map(|failure| format!("{}:{}: {}", failure.file, failure.line, failure.message)).collect();
    lines.join("\n")
}
