//! The rule about the root manifest: every dependency has a reason.
//!
//! A comment gives the reason of all that follows it up to the next blank line, so that a family of crates needs one.

use super::{Failure, Tree};

const MANIFEST: &str = "Cargo.toml";
const TABLE: &str = "[workspace.dependencies]";

pub fn check(tree: &Tree) -> Vec<Failure> {
    let Some(Some(text)) = tree.get(MANIFEST) else { return vec![Failure::new(MANIFEST, 1, "the root manifest is not there")] };
    let mut failures = Vec::new();
    let (mut in_table, mut has_reason) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            (in_table, has_reason) = (line == TABLE, false);
        } else if line.is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if let Some((name, _)) = line.split_once(" =")
            && in_table
            && !has_reason
            && !name.starts_with("tidegate-")
            && !name.starts_with('"')
        {
            let message = format!("`{name}` has no reason: say in a comment above it what it is in the build for");
            failures.push(Failure::new(MANIFEST, index + 1, message));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree_of};

    #[track_caller]
    fn check(dependencies: &str, expected: &str) {
        let text = format!("[workspace]\nresolver = \"3\"\n\n[workspace.dependencies]\n{dependencies}\n[profile.dev]\ndebug = false\n");
        assert_eq!(shown(super::check(&tree_of(&[("Cargo.toml", &text)]))), expected);
    }

    #[test]
    fn a_dependency_needs_a_reason_in_its_paragraph() {
        check("tidegate-vocab = { path = \"host/vocab\" }\n\n# Digests.\nsha2 = \"1\"\nhex = \"1\"\n", "");
        check(
            "# Digests.\nsha2 = \"1\"\n\nhex = \"1\"\n",
            "Cargo.toml:8: `hex` has no reason: say in a comment above it what it is in the build for",
        );
    }
}
