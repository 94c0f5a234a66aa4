//! Rules about files: the top-level names, how long a source file may be, paths of one machine, scenarios without an end.

use std::collections::BTreeSet;

use super::{Failure, Tree, texts};

/// Every name that may stand in the root; names that begin with a dot may too.
const TOP_LEVEL: [&str; 10] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "host", "plugins", "rust-toolchain.toml", "sdk", "tests", "wit"];

/// Where a source file has grown too long to be read.
const LINES_MAX: usize = 600;

/// Source files that are tables of data, each with the reason.
const DATA_TABLES: [(&str, &str); 0] = [];

/// First folders of absolute paths that exist on one machine only.
const MACHINE_FOLDERS: [&str; 5] = ["Users", "home", "mnt", "root", "work"];

pub fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = top_level(tree);
    for (path, text) in texts(tree) {
        failures.extend(length(path, text));
        failures.extend(machine_paths(path, text));
    }
    failures.extend(scenarios(tree));
    failures
}

fn top_level(tree: &Tree) -> Vec<Failure> {
    let names: BTreeSet<&str> = tree.keys().filter_map(|path| path.split('/').next()).collect();
    let stray = names.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    stray.map(|name| Failure::new(name, 1, format!("the root holds only {}: move `{name}` under `host/`", TOP_LEVEL.join(", ")))).collect()
}

fn length(path: &str, text: &str) -> Option<Failure> {
    let lines = text.lines().count();
    let is_long = path.ends_with(".rs") && lines > LINES_MAX && !DATA_TABLES.iter().any(|(table, _)| *table == path);
    is_long.then(|| {
        Failure::new(path, LINES_MAX + 1, format!("{lines} lines, {LINES_MAX} is the wall: give each noun in it a file of its own"))
    })
}

fn machine_paths(path: &str, text: &str) -> Vec<Failure> {
    if path.ends_with(".lock") || path.ends_with(".csv") {
        return Vec::new();
    }
    let mut failures = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in MACHINE_FOLDERS {
            let needle = format!("/{folder}/");
            // A `/` after a word, a dot or a variable's brace is the middle of a relative path or of an address.
            let is_absolute = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || "_.-}".contains(before));
            if line.match_indices(&needle).any(|(at, _)| is_absolute(at)) {
                failures.push(Failure::new(path, index + 1, format!("`{needle}…` exists on one machine only: write a relative path")));
            }
        }
    }
    failures
}

fn scenarios(tree: &Tree) -> Vec<Failure> {
    let folder = |path: &str| path.strip_prefix("tests/scenarios/").and_then(|rest| Some(rest.split_once('/')?.0.to_owned()));
    let all: BTreeSet<String> = tree.keys().filter_map(|path| folder(path)).collect();
    let open = all.into_iter().filter(|name| !tree.contains_key(&format!("tests/scenarios/{name}/expect.txt")));
    open.map(|name| {
        let message = "a scenario without `expect.txt` cannot fail: run it with UPDATE_EXPECT=1 and read what it wrote";
        Failure::new(&format!("tests/scenarios/{name}"), 1, message)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree_of};

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let shown = shown(super::check(&tree_of(files)));
        assert_eq!(shown.lines().count(), expected.len(), "{shown}");
        for (line, expected) in shown.lines().zip(expected) {
            assert!(line.contains(expected), "expected `{expected}` in `{line}`");
        }
    }

    #[test]
    fn a_name_that_is_not_fixed_does_not_stand_in_the_root() {
        check(&[("README.md", ""), (".ci/run", ""), ("host/vocab/src/lib.rs", "")], &[]);
        check(&[("docs/guide.md", ""), ("docs/more.md", "")], &["move `docs` under `host/`"]);
    }

    #[test]
    fn a_source_file_has_a_wall_and_a_picture_has_none() {
        check(&[("host/a/src/lib.rs", &"\n".repeat(600)), ("host/a/picture.svg", &"\n".repeat(900))], &[]);
        check(&[("host/a/src/lib.rs", &"\n".repeat(601))], &["host/a/src/lib.rs:601: 601 lines"]);
    }

    #[test]
    fn a_path_of_one_machine_is_found_and_a_relative_one_is_not() {
        let absolute = format!("cd /{}/me/tidegate", "home");
        check(&[("host/run.sh", &absolute)], &["home/…` exists on one machine"]);
        check(&[("host/run.sh", "cat a/home/b ../work/c https://host.example/work/")], &[]);
    }

    #[test]
    fn a_scenario_without_an_end_cannot_fail() {
        check(&[("tests/scenarios/promote/tidegate.toml", ""), ("tests/scenarios/promote/expect.txt", "")], &[]);
        check(&[("tests/scenarios/promote/tidegate.toml", ""), ("tests/scenarios/promote/input.csv", "")], &["UPDATE_EXPECT=1"]);
    }
}
