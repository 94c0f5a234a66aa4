//! Times what epochs and limits cost: the same guests in a sandbox, and in one without checks for a deadline and without a limiter. Prints
//! JSON rows as `bench_sandbox` does.
//!
//! `TIDEGATE_PLUGINS=FOLDER cargo run -p tidegate-sandbox --example bench_limits`, where FOLDER holds the shipped plugins.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]

#[path = "../tests/it/guest.rs"]
#[expect(dead_code, reason = "the bench needs a part of what makes guests")]
mod guest;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use serde_json::{Value, json};
use tidegate_sandbox::{Cleaner, Compiler, Grants, NoEgress, NoInputs, PluginKind, PluginSettings, Sandbox, SandboxConfig};
use tidegate_vocab::limits::{EPOCH_TICK_MS, SharedLimits};
use tidegate_vocab::{Batch, Role, SimulatedClock, Timestamp};

use guest::Guest;

const ROWS: usize = 65_536;
const COLUMNS: usize = 8;
/// Calls of each side that a figure is the median of.
const ROUNDS: usize = 41;
/// Calls before the clock starts.
const WARM_UP_ROUNDS: usize = 5;
/// Ratios that are good enough.
const LOOP_MAX: f64 = 1.35;
const SHIPPED_MAX: f64 = 1.10;

/// Loops with next to nothing between two checks, over 16 MiB or 16 million turns.
const LOOPS: [(&str, &str); 3] = [
    (
        "a loop that mixes one number",
        "(loop $on
           (global.set $mixed (i32.mul (i32.xor (global.get $mixed) (local.get $i)) (i32.const 0x9e3779b1)))
           (br_if $on (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16000000))))",
    ),
    (
        "a loop that adds up numbers",
        "(loop $on
           (global.set $sum (f64.add (global.get $sum) (f64.load (i32.and (local.get $i) (i32.const 0xfff8)))))
           (br_if $on (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 64000000))))",
    ),
    (
        "a loop that looks at bytes",
        "(loop $on
           (if (i32.eq (i32.load8_u (i32.and (local.get $i) (i32.const 0xffff))) (i32.const 257)) (then (unreachable)))
           (br_if $on (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16000000))))",
    ),
];

fn main() {
    let config = SandboxConfig {
        limits: SharedLimits { memory_bytes_max: 1 << 30, ..SharedLimits::DEFAULT },
        compiled: None,
        mac_key: [0; 32],
        compiler: Compiler::InProcess,
        epoch_tick_ms: EPOCH_TICK_MS,
    };
    let sandboxes = [Sandbox::new(config.clone()).unwrap(), Sandbox::unlimited_for_bench(config).unwrap()];
    let mut rows = Vec::new();
    for (what, body) in LOOPS {
        let fields = r#"(global $mixed (mut i32) (i32.const 1)) (global $sum (mut f64) (f64.const 0))"#.to_owned();
        let bytes = Guest { fields, ..Guest::cleaner("", body) }.bytes();
        rows.push(price(what, &sandboxes, &bytes, &json!({}), &numbers(2, 1), LOOP_MAX));
    }
    let folder = PathBuf::from(std::env::var_os("TIDEGATE_PLUGINS").expect("`TIDEGATE_PLUGINS` names the folder of the shipped plugins"));
    for (plugin, what, config, batch) in shipped() {
        let bytes = std::fs::read(folder.join(format!("{plugin}.wasm"))).unwrap();
        rows.push(price(&format!("`{plugin}`, {what}"), &sandboxes, &bytes, &config, &batch, SHIPPED_MAX));
    }
    println!("{}", Value::from(rows));
}

/// The shipped cleaners with what they do most often.
fn shipped() -> Vec<(&'static str, &'static str, Value, Batch)> {
    let range = |outside: &str| json!({ "columns": { "*": { "low": -0.9, "high": 0.9, "outside": outside } } });
    let numbers = numbers(ROWS, COLUMNS);
    let text = json!({ "columns": { "*": { "unicode": "nfc", "whitespace": "collapse", "case": "lower" } } });
    vec![
        ("range", "clip", range("clip"), numbers.clone()),
        ("range", "null", range("null"), numbers.clone()),
        ("missing", "drop-row", json!({ "columns": { "*": "drop-row" } }), numbers),
        ("text", "all of it", text, texts()),
        ("dedup", "by one text", json!({ "key": ["name"] }), texts()),
    ]
}

/// One guest on both sides, in turns, so that both see the same machine.
fn price(what: &str, sandboxes: &[Sandbox; 2], bytes: &[u8], config: &Value, batch: &Batch, bar: f64) -> Value {
    let [mut limited, mut unlimited] = sandboxes.each_ref().map(|sandbox| {
        let plugin = sandbox.load(&"bench".parse().unwrap(), bytes).unwrap();
        plugin.cleaner(&settings(config)).unwrap()
    });
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP_ROUNDS + ROUNDS {
        for (side, cleaner) in [&mut limited, &mut unlimited].into_iter().enumerate() {
            let seconds = seconds(cleaner, batch);
            if round >= WARM_UP_ROUNDS {
                times[side].push(seconds);
            }
        }
    }
    let [limited, unlimited] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2] * 1e3
    });
    json!({
        "figure": format!("price of epochs and limits, {what}"), "value": limited, "unit": "ms",
        "against": format!("without: {unlimited:.3} ms"), "ratio": limited / unlimited, "bar": bar,
    })
}

fn seconds(cleaner: &mut Cleaner, batch: &Batch) -> f64 {
    let start = Instant::now();
    cleaner.clean(batch).unwrap();
    start.elapsed().as_secs_f64()
}

fn settings(config: &Value) -> PluginSettings {
    PluginSettings {
        config: config.clone(),
        grants: Grants::default(),
        limits: PluginKind::Cleaner.default_limits(),
        inputs: Arc::new(NoInputs),
        egress: Arc::new(NoEgress),
        clock: Arc::new(SimulatedClock::new(Timestamp(0))),
        log: Arc::new(|_| {}),
    }
}

/// Numbers between -1 and 1, one in a hundred missing.
fn numbers(rows: usize, columns: usize) -> Batch {
    let value = |row: usize, column: usize| (!(row + column).is_multiple_of(100)).then(|| (row * 7919 % 2003) as f64 / 1001.5 - 1.0);
    let column = |index: usize| {
        let values: Float64Array = (0..rows).map(|row| value(row, index)).collect();
        (format!("x{index}"), Role::Feature, Arc::new(values) as ArrayRef)
    };
    Batch::new((0..columns).map(column).collect()).unwrap()
}

fn texts() -> Batch {
    let texts = StringArray::from_iter_values((0..ROWS).map(|row| format!("  Station {} \u{e4} NORTH ", row * 7919 % 60_003)));
    Batch::new(vec![("name".into(), Role::Feature, Arc::new(texts) as ArrayRef)]).unwrap()
}
