//! Times the steps of ingest on 65,536 rows of ten text columns: `cargo run -p tidegate-dataset --example bench_dataset`.
//! One thread unless `RAYON_NUM_THREADS` says otherwise; the least of several rounds, and the memory after many parts.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark measures time and prints")]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, StringArray};
use tidegate_dataset::{KnownTime, assemble, clean_part, decode_clean, decode_raw, encode_clean, encode_raw, typed};
use tidegate_vocab::{Batch, Contract, ContractColumn, DType, Digest, LabelColumn, RawPart, Role, TimeColumn, TimeUnit, Timestamp};

const ROWS: usize = 65_536;
const ROUNDS: usize = 9;

fn main() {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool");
    }
    let (raw, contract) = (raw(), contract());
    let typed_rows = typed(&raw, &contract, Timestamp(0)).expect("sound rows");
    let raw_bytes = encode_raw(&raw).expect("a batch");
    let part = RawPart {
        digest: Digest::of(&raw_bytes),
        first_row: 0,
        row_count: ROWS as u64,
        byte_count: raw_bytes.len() as u64,
        polled_at: Timestamp(0),
    };
    let assembled = assemble(&part, KnownTime::AfterDelay, &contract, &typed_rows, &[], &typed_rows.rows).expect("sound rows").rows;
    let clean_bytes = encode_clean(&assembled, &contract).expect("a batch");
    println!("raw part {} bytes, cleaned part {} bytes", raw_bytes.len(), clean_bytes.len());

    time("encode_raw", || encode_raw(&raw).expect("a batch").len());
    time("decode_raw", || decode_raw(&raw_bytes).expect("a part").row_count());
    time("typed", || typed(&raw, &contract, Timestamp(0)).expect("sound rows").row_index.len());
    time("check + assemble", || {
        assemble(&part, KnownTime::AfterDelay, &contract, &typed_rows, &[], &typed_rows.rows).expect("sound rows").rows.row_count()
    });
    time("encode_clean", || encode_clean(&assembled, &contract).expect("a batch").len());
    time("decode_clean", || decode_clean(&clean_bytes).expect("a part").row_count());
    time("sha-256 of both", || usize::from(Digest::of(&raw_bytes).as_bytes()[0] ^ Digest::of(&clean_bytes).as_bytes()[0]));

    let begun = Instant::now();
    for round in 0..60 {
        let typed_rows = typed(&raw, &contract, Timestamp(0)).expect("sound rows");
        let bytes = encode_raw(&raw).expect("a batch");
        let cleaned = clean_part(&part, &part.digest, KnownTime::AfterDelay, &contract, &typed_rows, &[], &typed_rows.rows);
        std::hint::black_box((bytes, cleaned.expect("sound rows")));
        if round % 20 == 19 {
            let rate = (round + 1) as f64 * ROWS as f64 / begun.elapsed().as_secs_f64();
            println!("after {:2} parts: {:4.1} million rows a second, resident {}", round + 1, rate / 1e6, resident());
        }
    }
}

fn time(what: &str, mut run: impl FnMut() -> usize) {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        std::hint::black_box(run());
        least = least.min(begun.elapsed().as_secs_f64());
    }
    println!("{what:18} {:7.2} ms", least * 1e3);
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or_else(|| "unknown".into(), |kib| kib.trim().to_owned())
}

/// Days, eight numbers with six digits after the point, a label.
fn raw() -> Batch {
    let mut state = 1u64;
    let mut number = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as f64 / f64::from(1u32 << 31) * 6.0 - 3.0
    };
    let mut columns: Vec<(String, Role, ArrayRef)> = Vec::new();
    let days: StringArray = (0..ROWS).map(|day| Some(day.to_string())).collect();
    columns.push(("day".into(), Role::Feature, Arc::new(days)));
    for column in 0..8 {
        let cells: StringArray = (0..ROWS).map(|_| Some(format!("{:.6}", number()))).collect();
        columns.push((format!("x{column}"), Role::Feature, Arc::new(cells)));
    }
    let labels: StringArray = (0..ROWS).map(|_| Some(if number() > 0.0 { "1" } else { "0" })).collect();
    columns.push(("rain".into(), Role::Feature, Arc::new(labels)));
    Batch::new(columns).expect("columns of one length")
}

fn contract() -> Contract {
    let column = |index: usize| ContractColumn {
        name: format!("x{index}"),
        dtype: DType::F64,
        role: Role::Feature,
        nullable: false,
        low: Some(-8.0),
        high: Some(8.0),
        categories: None,
    };
    Contract {
        id: Some("day".into()),
        time: Some(TimeColumn { column: "day".into(), unit: Some(TimeUnit::D), origin_us: 0 }),
        label: LabelColumn { column: "rain".into(), classes: vec!["0".into(), "1".into()], delay_us: 86_400_000_000, by_id: false },
        columns: (0..8).map(column).collect(),
    }
}
