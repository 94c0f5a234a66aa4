use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use tidegate_vocab::{DType, LabelColumn};

use super::*;
use crate::sample::{DAY, column, contract};

/// The section as the configuration reads it; order of columns aside.
#[derive(Deserialize)]
struct File {
    pipeline: BTreeMap<String, Section>,
}

#[derive(Deserialize)]
struct Section {
    contract: ContractFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    id: Option<String>,
    time: Option<TimeFile>,
    label: LabelFile,
    columns: BTreeMap<String, ColumnFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeFile {
    column: String,
    unit: Option<TimeUnit>,
    origin: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelFile {
    column: String,
    classes: Vec<String>,
    delay: String,
    #[serde(default)]
    by_id: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ColumnFile {
    Plain(DType),
    Full(FullColumn),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullColumn {
    dtype: DType,
    role: Option<Role>,
    #[serde(default)]
    nullable: bool,
    low: Option<f64>,
    high: Option<f64>,
    categories: Option<Vec<String>>,
}

fn micros(text: &str) -> i64 {
    let split = text.find(|c: char| c.is_ascii_lowercase()).unwrap();
    let unit: TimeUnit = serde_json::from_value(text[split..].into()).unwrap();
    text[..split].parse::<i64>().unwrap() * unit.micros()
}

/// Reads a section back; its columns sorted by name.
fn read(toml: &str, pipeline: &str) -> Contract {
    let mut file: File = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let read = file.pipeline.remove(pipeline).unwrap().contract;
    let columns = read.columns.into_iter().map(|(name, file)| match file {
        ColumnFile::Plain(dtype) => column(&name, dtype),
        ColumnFile::Full(full) => ContractColumn {
            name,
            dtype: full.dtype,
            role: full.role.unwrap_or(Role::Feature),
            nullable: full.nullable,
            low: full.low,
            high: full.high,
            categories: full.categories,
        },
    });
    Contract {
        id: read.id,
        time: read.time.map(|time| TimeColumn {
            column: time.column,
            unit: time.unit,
            origin_us: time.origin.map_or(0, |origin| crate::cell::iso_of(&origin).unwrap()),
        }),
        label: LabelColumn {
            column: read.label.column,
            classes: read.label.classes,
            delay_us: micros(&read.label.delay),
            by_id: read.label.by_id,
        },
        columns: columns.collect(),
    }
}

#[test]
fn has_the_shape_of_the_configuration() {
    let mut contract = contract(vec![column("temperature", DType::F64), column("dew_point", DType::F64)]);
    contract.time.as_mut().unwrap().origin_us = crate::cell::iso_of("1949-01-01").unwrap();
    let ranged = ContractColumn { nullable: true, low: Some(-8.0), high: Some(8.5), ..column("wind speed", DType::F64) };
    contract.columns.push(ranged);
    let expected = r#"[pipeline.rain.contract]
id = "day"
time = { column = "day", unit = "d", origin = "1949-01-01" }
label = { column = "rain", classes = ["0", "1"], delay = "1d" }
columns = { temperature = "f64", dew_point = "f64", "wind speed" = { dtype = "f64", nullable = true, low = -8.0, high = 8.5 } }
"#;
    assert_eq!(to_toml(&contract, &"rain".parse().unwrap()), expected);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        names in prop::collection::btree_set(".{0,8}", 0..20),
        id in prop::option::of(".{0,6}"),
        (unit, origin_day) in (0usize..7, -20_000i64..20_000),
        delay in prop_oneof![Just(0), Just(DAY), Just(90 * 60_000_000), 0i64..10_000_000],
        (nullable, low, category) in (any::<bool>(), prop::option::of(-1e9f64..1e300), prop::option::of(".{0,6}")),
    ) {
        let units = [None, Some(TimeUnit::D), Some(TimeUnit::H), Some(TimeUnit::Min), Some(TimeUnit::S), Some(TimeUnit::Ms), Some(TimeUnit::Us)];
        let unit = units[unit];
        let columns = names.iter().enumerate().map(|(index, name)| {
            let plain = column(name, DType::ALL[index % 5]);
            if index % 2 == 0 { return plain }
            ContractColumn { nullable, low, role: Role::Slice, categories: category.clone().map(|one| vec![one]), ..plain }
        });
        let contract = Contract {
            id,
            time: Some(TimeColumn { column: "at \"x\"".into(), unit, origin_us: if unit.is_some() { origin_day * DAY + delay } else { 0 } }),
            label: LabelColumn { column: "y\n\\".into(), classes: vec!["a".into(), "\t\u{7f}é".into()], delay_us: delay, by_id: nullable },
            columns: columns.collect(),
        };
        prop_assert_eq!(read(&to_toml(&contract, &"a-b_1".parse().unwrap()), "a-b_1"), contract);
    }
}
