//! Which columns a plugin sees and edits.
//!
//! Where nothing is said a cleaner sees and edits the features, and an evaluator sees what a version answered and what was true. A
//! grant narrows that, and may show a column of another role by its name. Nothing lets a plugin edit what is no feature.

use std::collections::BTreeSet;

use tidegate_vocab::{Batch, PluginName, Role};

use crate::grants::{Grants, toml_text};

/// The columns of one plugin, by name.
///
/// A name that ends in `*` stands for all that begin with what is before it, of the roles that a plugin of its kind sees where
/// nothing is said. A whole name in `read` shows its column whatever the role, so that a label is granted by its name only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnGrant {
    /// Columns that it sees.
    pub read: BTreeSet<String>,
    /// Features that it sees, edits, drops and adds.
    pub write: BTreeSet<String>,
}

/// The columns that a call shows, and may edit.
#[derive(Clone, Copy)]
pub(crate) struct Lens<'a> {
    grant: Option<&'a ColumnGrant>,
    by_role: fn(&Role) -> bool,
}

/// What a cleaner sees where nothing is said.
pub(crate) fn cleaners(role: &Role) -> bool {
    *role == Role::Feature
}

/// What an evaluator sees where nothing is said.
pub(crate) fn evaluators(role: &Role) -> bool {
    !matches!(role, Role::Feature | Role::Weight)
}

impl ColumnGrant {
    /// Whether a list of the grant covers a name, in whole or by its beginning.
    fn covers(names: &BTreeSet<String>, column: &str) -> bool {
        names.contains(column) || names.iter().any(|name| name.strip_suffix('*').is_some_and(|beginning| column.starts_with(beginning)))
    }
}

impl<'a> Lens<'a> {
    pub(crate) fn new(grants: &'a Grants, by_role: fn(&Role) -> bool) -> Lens<'a> {
        Lens { grant: grants.columns.as_ref(), by_role }
    }

    /// Whether the plugin sees a column.
    pub(crate) fn sees(self, name: &str, role: &Role) -> bool {
        let of_its_kind = (self.by_role)(role);
        match self.grant {
            None => of_its_kind,
            Some(grant) if of_its_kind => ColumnGrant::covers(&grant.read, name) || ColumnGrant::covers(&grant.write, name),
            // One that is named like a beginning was not named whole: `*` must not show a label that somebody called `*`.
            Some(grant) => !name.ends_with('*') && grant.read.contains(name),
        }
    }

    /// The first column of `rows` that is withheld and that `said` names, as every SDK does: between backticks.
    pub(crate) fn missed<'b>(self, rows: &'b Batch, said: &str) -> Option<&'b str> {
        let withheld = rows.columns().filter(|(name, role, _)| !self.sees(name, role));
        let named = |text: &str| said.contains(&format!("`{text}`"));
        withheld.into_iter().find(|(name, role, _)| named(name) || named(&role.word())).map(|(name, ..)| name)
    }
}

impl Grants {
    /// Whether a cleaner may edit, drop and add the feature `name`.
    pub(crate) fn edits(&self, name: &str, role: &Role) -> bool {
        *role == Role::Feature && self.columns.as_ref().is_none_or(|grant| ColumnGrant::covers(&grant.write, name))
    }

    /// The line that would let `plugin` see `column` besides what it may, and edit it too if `to_edit`.
    pub(crate) fn column_line(&self, plugin: &PluginName, column: &str, to_edit: bool) -> String {
        let all = || BTreeSet::from(["*".to_owned()]);
        let mut lists = self.columns.clone().unwrap_or_else(|| ColumnGrant { read: all(), write: all() });
        let list = if to_edit { &mut lists.write } else { &mut lists.read };
        list.insert(column.to_owned());
        let texts = |names: &BTreeSet<String>| names.iter().map(|name| toml_text(name)).collect::<Vec<_>>().join(", ");
        let write = if lists.write.is_empty() { String::new() } else { format!(", write = [{}]", texts(&lists.write)) };
        format!("[plugin.{plugin}.grant] columns = {{ read = [{}]{write} }}", texts(&lists.read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn check(grant: Option<(&[&str], &[&str])>, by_role: fn(&Role) -> bool, seen: &[&str], edited: &[&str]) {
        let columns = grant.map(|(read, write)| ColumnGrant { read: names(read), write: names(write) });
        let grants = Grants { columns, ..Grants::default() };
        let all = [
            ("*", Role::Label),
            ("id", Role::Id),
            ("rain", Role::Label),
            ("wind_min", Role::Feature),
            ("wind_max", Role::Feature),
            ("heat", Role::Feature),
            ("w", Role::Weight),
        ];
        let lens = Lens::new(&grants, by_role);
        let of = |is: &dyn Fn(&str, &Role) -> bool| -> Vec<&str> {
            all.iter().filter(|(name, role)| is(name, role)).map(|(name, _)| *name).collect()
        };
        assert_eq!(of(&|name, role| lens.sees(name, role)), seen, "{grants:?}");
        assert_eq!(of(&|name, role| grants.edits(name, role)), edited, "{grants:?}");
    }

    #[test]
    fn a_grant_narrows_the_roles_of_the_kind_and_a_whole_name_goes_beyond_them() {
        let features = ["wind_min", "wind_max", "heat"];
        check(None, cleaners, &features, &features);
        check(None, evaluators, &["*", "id", "rain"], &features);
        check(Some((&[], &[])), cleaners, &[], &[]);
        check(Some((&["*"], &[])), cleaners, &features, &[]);
        check(Some((&["*"], &["*"])), cleaners, &features, &features);
        check(Some((&["heat"], &["wind_*"])), cleaners, &features, &["wind_min", "wind_max"]);
        check(Some((&["*", "rain"], &["heat"])), cleaners, &["rain", "wind_min", "wind_max", "heat"], &["heat"]);
        // Neither a beginning nor the right to write shows a label, and nothing lets one be edited.
        check(Some((&["ra*", "*"], &["rain", "*"])), cleaners, &features, &features);
        check(Some((&["rain"], &[])), evaluators, &["rain"], &[]);
        check(Some((&["*", "w"], &[])), evaluators, &["*", "id", "rain", "w"], &[]);
        // What looks like a name to a person is another name.
        check(Some((&["wind_m\u{131}n", "wınd*", "HEAT", "heat "], &["*heat", "w*t"])), cleaners, &[], &[]);
    }

    #[test]
    fn the_line_that_grants_keeps_what_was_granted() {
        let plugin = "tame".parse().unwrap();
        let line = |columns: Option<ColumnGrant>, to_edit| Grants { columns, ..Grants::default() }.column_line(&plugin, "ra\"in", to_edit);
        assert_eq!(line(None, false), r#"[plugin.tame.grant] columns = { read = ["*", 'ra"in'], write = ["*"] }"#);
        let own = ColumnGrant { read: names(&["heat"]), write: names(&[]) };
        assert_eq!(line(Some(own.clone()), false), r#"[plugin.tame.grant] columns = { read = ["heat", 'ra"in'] }"#);
        assert_eq!(line(Some(own), true), r#"[plugin.tame.grant] columns = { read = ["heat"], write = ['ra"in'] }"#);
    }
}
