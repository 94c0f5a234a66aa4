//! `[plugin.NAME.grant] columns`: the columns that a plugin sees and edits, where it is less or more than its kind gives it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_sandbox::ColumnGrant;
use tidegate_vocab::{Contract, PluginName, Role};

use super::section::{self, Problem, Problems, Section};
use super::{PipelineConfig, PluginConfig, PluginUse};

/// Names of one list.
const NAMES_MAX: usize = 4_096;

pub(super) fn columns(section: &Section<'_>) -> Option<ColumnGrant> {
    let section = section.section("columns")?;
    if !section.has("read") && !section.has("write") {
        section.missing("read", "the columns it sees", "read = [\"temperature\", \"wind_*\"]");
    }
    let grant = ColumnGrant { read: names(&section, "read"), write: names(&section, "write") };
    section.finish();
    Some(grant)
}

fn names(section: &Section<'_>, key: &str) -> BTreeSet<String> {
    let names = section.texts(key).unwrap_or_default();
    if names.len() > NAMES_MAX {
        let message = format!("{} names {} columns, at most {NAMES_MAX} are read", section.named(key), names.len());
        section.problem(section.place(key), message, "too many", Some("use beginnings, such as `wind_*`".to_owned()));
    }
    for name in &names {
        let inside = name.value.strip_suffix('*').unwrap_or(&name.value);
        if name.value.is_empty() || inside.contains('*') {
            let message = format!("{} holds `{}`, which names no column", section.named(key), section::shown(&name.value));
            let hint = "name a column, or a beginning with `*` behind it; `*` alone stands for all".to_owned();
            section.problem(name.span.clone(), message, "neither a name nor a beginning", Some(hint));
        }
    }
    names.into_iter().map(|name| name.value).collect()
}

/// Whether every grant of columns fits where its plugin is used.
pub(super) fn check(plugins: &BTreeMap<PluginName, PluginConfig>, pipelines: &[PipelineConfig], problems: &Problems) {
    for pipeline in pipelines {
        for (kind, used) in pipeline.plugins() {
            let Some(grant) = plugins.get(&used.plugin).and_then(|plugin| plugin.grants.columns.as_ref()) else { continue };
            if let Some((message, hint)) = misfit(kind, used, grant, &pipeline.contract) {
                problems.push(Problem { message, label: "used here".to_owned(), span: used.span.clone(), hint: Some(hint) });
            }
        }
    }
}

/// What is wrong with a grant where the plugin is used as `kind`, and the way out.
fn misfit(kind: &str, used: &PluginUse, grant: &ColumnGrant, contract: &Contract) -> Option<(String, String)> {
    let plugin = &used.plugin;
    let without = |what: &str| format!("take {what} out of `[plugin.{plugin}.grant] columns`");
    if matches!(kind, "source" | "alerter") {
        return Some((
            format!("`{plugin}` is granted columns, and as {kind} it is handed none"),
            "take `columns` out of its grant".to_owned(),
        ));
    }
    if kind == "evaluator" && !grant.write.is_empty() {
        return Some((format!("`{plugin}` is granted columns to write, and as evaluator it edits none"), without("`write`")));
    }
    let role = |name: &String| role_of(contract, name).filter(|role| kind == "cleaner" && *role != Role::Feature);
    if let Some((name, role)) = grant.write.iter().find_map(|name| Some((name, role(name)?))) {
        let shown = section::shown(name);
        let message = format!("`{plugin}` is granted to write `{shown}`, whose role is `{}`: a cleaner edits features", role.word());
        return Some((message, without(&format!("`{shown}`"))));
    }
    let (name, role) = grant.read.iter().filter(|_| used.serving).find_map(|name| Some((name, role(name)?)))?;
    let shown = section::shown(name);
    let message =
        format!("`{plugin}` is granted to read `{shown}`, whose role is `{}`: a request has none, and it cleans requests", role.word());
    Some((message, format!("{}, or `serving = true` out of its step", without(&format!("`{shown}`")))))
}

/// The role that a contract gives to a column.
fn role_of(contract: &Contract, name: &str) -> Option<Role> {
    if contract.id.as_deref() == Some(name) {
        return Some(Role::Id);
    }
    if contract.time.as_ref().is_some_and(|time| time.column == name) {
        return Some(Role::Time);
    }
    if contract.label.column == name {
        return Some(Role::Label);
    }
    contract.columns.iter().find(|column| column.name == name).map(|column| column.role.clone())
}
