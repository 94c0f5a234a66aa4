//! What changed between two contracts, line by line, and what that means for versions that were trained under the first.

use tidegate_vocab::{Contract, ContractColumn, Role};

use crate::contract_toml::{column_value, duration, list, time_value};

/// The way from one contract to another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContractDifference {
    /// What changed, one thing a line: `+` came, `-` went, `~` is another. Empty when nothing did.
    pub lines: Vec<String>,
    /// Why versions trained under the first contract cannot answer rows of the second; `None` when they can.
    pub unanswerable: Option<String>,
}

impl ContractDifference {
    /// Whether the two contracts are one.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// What `wanted` changes about `accepted`.
pub fn contract_difference(accepted: &Contract, wanted: &Contract) -> ContractDifference {
    let mut lines = Vec::new();
    let nothing = || "none".to_owned();
    let name = |contract: &Contract| contract.id.as_ref().map_or_else(nothing, |id| format!("`{id}`"));
    changed(&mut lines, "id", name(accepted), name(wanted));
    let time = |contract: &Contract| contract.time.as_ref().map_or_else(nothing, time_value);
    changed(&mut lines, "time", time(accepted), time(wanted));
    let (before, after) = (&accepted.label, &wanted.label);
    changed(&mut lines, "label column", format!("`{}`", before.column), format!("`{}`", after.column));
    changed(&mut lines, "label classes", list(&before.classes), list(&after.classes));
    changed(&mut lines, "label delay", duration(before.delay_us), duration(after.delay_us));
    changed(&mut lines, "label by_id", before.by_id.to_string(), after.by_id.to_string());
    columns(&mut lines, &accepted.columns, &wanted.columns);
    let unanswerable = (!lines.is_empty()).then(|| unanswerable(accepted, wanted)).flatten();
    ContractDifference { lines, unanswerable }
}

fn changed(lines: &mut Vec<String>, what: &str, before: String, after: String) {
    if before != after {
        lines.push(format!("~ {what}: {before} -> {after}"));
    }
}

fn columns(lines: &mut Vec<String>, before: &[ContractColumn], after: &[ContractColumn]) {
    let find = |columns: &[ContractColumn], name: &str| columns.iter().find(|column| column.name == name).cloned();
    for column in before {
        match find(after, &column.name) {
            None => lines.push(format!("- column `{}`: {}", column.name, column_value(column))),
            Some(now) => changed(lines, &format!("column `{}`", column.name), column_value(column), column_value(&now)),
        }
    }
    for column in after.iter().filter(|column| find(before, &column.name).is_none()) {
        lines.push(format!("+ column `{}`: {}", column.name, column_value(column)));
    }
    // Models number their inputs in this order, so that another order is another contract.
    let order = |columns: &[ContractColumn], others: &[ContractColumn]| -> Vec<String> {
        columns.iter().filter(|column| find(others, &column.name).is_some()).map(|column| column.name.clone()).collect()
    };
    changed(lines, "order of columns", list(&order(before, after)), list(&order(after, before)));
}

/// The first reason why a version trained under `accepted` has no answer for rows of `wanted`.
fn unanswerable(accepted: &Contract, wanted: &Contract) -> Option<String> {
    if accepted.label.classes != wanted.label.classes {
        return Some(format!("it answers with the classes {}", list(&accepted.label.classes)));
    }
    let features = accepted.columns.iter().filter(|column| column.role == Role::Feature);
    features.into_iter().find_map(|column| {
        let now = wanted.columns.iter().find(|now| now.name == column.name && now.role == Role::Feature);
        match now {
            None => Some(format!("it needs feature `{}`, which is gone", column.name)),
            Some(now) if now.dtype != column.dtype => {
                Some(format!("it needs feature `{}` as {}, which is {} now", column.name, column.dtype.word(), now.dtype.word()))
            }
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use tidegate_vocab::{DType, LabelColumn};

    use super::*;

    fn column(name: &str, dtype: DType) -> ContractColumn {
        ContractColumn { name: name.into(), dtype, role: Role::Feature, nullable: false, low: None, high: None, categories: None }
    }

    fn contract() -> Contract {
        let label = LabelColumn { column: "closed".into(), classes: vec!["0".into(), "1".into()], delay_us: 86_400_000_000, by_id: false };
        Contract { id: None, time: None, label, columns: vec![column("wind", DType::F64), column("swell", DType::F64)] }
    }

    fn check(change: impl FnOnce(&mut Contract), lines: &[&str], unanswerable: Option<&str>) {
        let mut wanted = contract();
        change(&mut wanted);
        let found = contract_difference(&contract(), &wanted);
        assert_eq!((found.lines, found.unanswerable.as_deref()), (lines.iter().map(|line| (*line).to_owned()).collect(), unanswerable));
        assert_eq!(contract_difference(&wanted, &contract()).is_empty(), lines.is_empty(), "a difference is one from either side");
    }

    #[test]
    fn every_change_is_a_line_and_says_whether_old_versions_can_answer() {
        check(|_| {}, &[], None);
        check(|wanted| wanted.columns.push(column("tide", DType::I64)), &["+ column `tide`: \"i64\""], None);
        let gone = Some("it needs feature `swell`, which is gone");
        check(|wanted| wanted.columns.truncate(1), &["- column `swell`: \"f64\""], gone);
        let retyped = Some("it needs feature `wind` as f64, which is utf8 now");
        check(|wanted| wanted.columns[0].dtype = DType::Utf8, &["~ column `wind`: \"f64\" -> \"utf8\""], retyped);
        let slice = Some("it needs feature `wind`, which is gone");
        let role = "~ column `wind`: \"f64\" -> { dtype = \"f64\", role = \"slice\" }";
        check(|wanted| wanted.columns[0].role = Role::Slice, &[role], slice);
        let bounds = "~ column `wind`: \"f64\" -> { dtype = \"f64\", nullable = true, low = 0.0 }";
        check(|wanted| (wanted.columns[0].nullable, wanted.columns[0].low) = (true, Some(0.0)), &[bounds], None);
        let order = "~ order of columns: [\"wind\", \"swell\"] -> [\"swell\", \"wind\"]";
        check(|wanted| wanted.columns.reverse(), &[order], None);
        let classes = Some("it answers with the classes [\"0\", \"1\"]");
        let lines = ["~ label classes: [\"0\", \"1\"] -> [\"no\", \"yes\"]", "~ label delay: 1d -> 2h"];
        check(
            |wanted| {
                wanted.label.classes = vec!["no".into(), "yes".into()];
                wanted.label.delay_us = 7_200_000_000;
            },
            &lines,
            classes,
        );
        check(|wanted| wanted.id = Some("day".into()), &["~ id: none -> `day`"], None);
        check(|wanted| wanted.label.by_id = true, &["~ label by_id: false -> true"], None);
    }
}
