//! `[pipeline.NAME.contract]`: what the columns of the dataset must be.

use std::collections::BTreeSet;

use tidegate_vocab::{Contract, ContractColumn, DType, LabelColumn, Role, TimeColumn, TimeUnit};

use super::section::{self, Section};
use super::value::{parse_duration_us, parse_instant_us};

const COLUMNS_MAX: usize = 4_096;
const CLASSES_MAX: usize = 1_024;
const TIME_UNITS: [(&str, TimeUnit); 6] =
    [("d", TimeUnit::D), ("h", TimeUnit::H), ("min", TimeUnit::Min), ("s", TimeUnit::S), ("ms", TimeUnit::Ms), ("us", TimeUnit::Us)];

pub(super) fn contract(section: Section<'_>) -> Option<Contract> {
    let id = section.text("id").map(|id| id.value);
    let time = section.section("time").and_then(time);
    if !section.has("label") {
        section.missing("label", "the column of ground truth", "label = { column = \"rain\", classes = [\"0\", \"1\"] }");
    }
    let label = section.section("label").and_then(label);
    if !section.has("columns") {
        section.missing(
            "columns",
            "the columns a model learns from; `tidegate contract infer` writes them",
            "columns = { temperature = \"f64\" }",
        );
    }
    let columns = section.section("columns").map(columns);
    if id.is_none() && label.as_ref().is_some_and(|label| label.by_id) {
        section.missing("id", "the column that labels name their rows by", "id = \"day\"");
    }
    section.finish();
    let contract = Contract { id, time, label: label?, columns: columns? };
    Some(contract)
}

fn column_name(section: &Section<'_>) -> Option<String> {
    if !section.has("column") {
        section.missing("column", "the name of the column", "column = \"day\"");
    }
    section.text("column").map(|column| column.value)
}

fn time(section: Section<'_>) -> Option<TimeColumn> {
    let column = column_name(&section);
    let unit = section.choice("unit", &TIME_UNITS);
    let origin_us = section.parsed("origin", "a date such as `1949-01-01`, or an instant", parse_instant_us);
    if unit.is_none() && section.has("origin") && !section.has("unit") {
        let hint = "add `unit = \"d\"` (or h, min, s, ms, us), or remove `origin` where the column holds instants".to_owned();
        section.problem(section.place("origin"), "an `origin` needs a `unit`", "no unit", Some(hint));
    }
    section.finish();
    Some(TimeColumn { column: column?, unit, origin_us: origin_us.unwrap_or(0) })
}

fn label(section: Section<'_>) -> Option<LabelColumn> {
    let column = column_name(&section);
    if !section.has("classes") {
        section.missing("classes", "the values a label can have", "classes = [\"0\", \"1\"]");
    }
    let classes = section.texts("classes");
    if let Some(classes) = &classes {
        if !(2..=CLASSES_MAX).contains(&classes.len()) {
            let message = format!("{} must list 2 to {CLASSES_MAX} classes, found {}", section.named("classes"), classes.len());
            section.problem(section.place("classes"), message, "classes", None);
        }
        let mut seen = BTreeSet::new();
        for class in classes.iter().filter(|class| !seen.insert(class.value.as_str())) {
            section.problem(class.span.clone(), format!("the class `{}` is listed twice", section::shown(&class.value)), "again", None);
        }
    }
    let delay_us = section.parsed("delay", "a duration such as `1d` or `12h`", parse_duration_us).unwrap_or(0);
    let by_id = section.flag("by_id").unwrap_or(false);
    section.finish();
    Some(LabelColumn { column: column?, classes: classes?.into_iter().map(|class| class.value).collect(), delay_us, by_id })
}

fn columns(section: Section<'_>) -> Vec<ContractColumn> {
    let names = section.keys();
    if names.is_empty() || names.len() > COLUMNS_MAX {
        let message = format!("`[{}]` must name 1 to {COLUMNS_MAX} columns, found {}", section.path, names.len());
        section.problem(section.span.clone(), message, "columns", None);
    }
    let dtypes = DType::ALL.map(|dtype| (dtype.word(), dtype));
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let plain = |dtype| ContractColumn {
            name: name.value.clone(),
            dtype,
            role: Role::Feature,
            nullable: false,
            low: None,
            high: None,
            categories: None,
        };
        if section.is_text(&name.value) {
            columns.extend(section.choice(&name.value, &dtypes).map(plain));
        } else if let Some(table) = section.section(&name.value) {
            columns.extend(column(table, plain, &dtypes));
        }
    }
    if !columns.is_empty() && columns.iter().all(|column| column.role != Role::Feature) {
        section.problem(section.span.clone(), "no column is a feature: a model has nothing to learn from", "features", None);
    }
    columns
}

fn column(section: Section<'_>, plain: impl Fn(DType) -> ContractColumn, dtypes: &[(&str, DType)]) -> Option<ContractColumn> {
    const ROLES: [(&str, Role); 3] = [("feature", Role::Feature), ("weight", Role::Weight), ("slice", Role::Slice)];
    if !section.has("dtype") {
        section.missing("dtype", "what its values are", "dtype = \"f64\"");
    }
    let dtype = section.choice("dtype", dtypes);
    let role = section.choice("role", &ROLES).unwrap_or(Role::Feature);
    let nullable = section.flag("nullable").unwrap_or(false);
    let any = f64::NEG_INFINITY..=f64::INFINITY;
    let (low, high) = (section.number("low", any.clone()), section.number("high", any));
    let categories = section.texts("categories").map(|texts| texts.into_iter().map(|text| text.value).collect::<Vec<_>>());
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        section.problem(section.place("high"), format!("`low` ({low}) is above `high` ({high})"), "below `low`", None);
    }
    let is_text = dtype == Some(DType::Utf8);
    for key in ["low", "high"].into_iter().filter(|key| section.has(key) && is_text) {
        section.problem(section.place(key), format!("{} means nothing for a text column", section.named(key)), "not for text", None);
    }
    if section.has("categories") && dtype.is_some() && !is_text {
        section.problem(
            section.place("categories"),
            format!("{} is for text columns", section.named("categories")),
            "only for `utf8`",
            None,
        );
    }
    section.finish();
    Some(ContractColumn { role, nullable, low, high, categories, ..plain(dtype?) })
}
