//! Times the boundary and the sandbox around it, and prints one JSON row a figure: `figure, value, unit, against, ratio, bar`. A
//! bar is reached when `ratio` is at most `bar`.
//!
//! `cargo xtask bench sandbox` builds the guest and runs this with `--json`, which prints one list. By hand:
//! `TIDEGATE_TEST_GUESTS=FOLDER cargo run -p tidegate-sandbox --example bench_sandbox [FIGURE]`, where FOLDER holds `bench-cleaner.wasm`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]

#[path = "../tests/it/guest.rs"]
#[expect(dead_code, reason = "the bench needs one of its guests")]
mod guest;

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Float64Type;
use tidegate_sandbox::{Cleaner, Compiler, Grants, NoEgress, NoInputs, Plugin, PluginKind, PluginSettings, Sandbox, SandboxConfig};
use tidegate_vocab::limits::SharedLimits;
use tidegate_vocab::{Batch, Role, SimulatedClock, Timestamp};

const ROWS: usize = 65_536;
const COLUMNS: usize = 8;
const LOW: f64 = -1.0;
const HIGH: f64 = 1.0;
/// Rounds that a figure is the median of.
const ROUNDS: usize = 61;
/// Rounds before the clock starts, enough for as many results to be kept as will be.
const WARM_UP_ROUNDS: usize = 24;
/// Results of each side that are alive at once, 4 MiB each.
const RESULTS_KEPT: usize = 16;
/// Rows of the windows of a guest that reads columns in pieces.
const WINDOW: u32 = 8192;

fn main() {
    let folder = std::env::var_os("TIDEGATE_TEST_GUESTS").expect("`TIDEGATE_TEST_GUESTS` names the folder of the tests' guests");
    let bytes = std::fs::read(std::path::Path::new(&folder).join("bench-cleaner.wasm")).unwrap();
    let sandbox = Sandbox::new(SandboxConfig {
        limits: SharedLimits { memory_bytes_max: 1 << 30, ..SharedLimits::DEFAULT },
        compiled: None,
        mac_key: [0; 32],
        compiler: Compiler::InProcess,
        epoch_tick_ms: 10,
    })
    .unwrap();
    let plugin = sandbox.load(&"bench".parse().unwrap(), &bytes).unwrap();
    let mut rows = Vec::new();
    if wanted("call and instantiation") {
        calls(&sandbox, &plugin, &mut rows);
    }
    if wanted("windows") {
        windows(&plugin, &mut rows);
    }
    wasm_and_native(&plugin, &mut rows);
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::Value::from(rows));
    } else {
        rows.iter().for_each(|row| println!("{row}"));
    }
}

/// Whether the figure's name holds the argument that is not `--json`, if there is one.
fn wanted(figure: &str) -> bool {
    std::env::args().skip(1).find(|argument| argument != "--json").is_none_or(|part| figure.contains(&part))
}

fn settings(mode: &str, window: Option<u32>) -> PluginSettings {
    let mut config = serde_json::json!({ "mode": mode });
    if let Some(window) = window {
        config["window"] = window.into();
    }
    PluginSettings {
        config,
        grants: Grants::default(),
        limits: PluginKind::Cleaner.default_limits(),
        inputs: Arc::new(NoInputs),
        egress: Arc::new(NoEgress),
        clock: Arc::new(SimulatedClock::new(Timestamp(0))),
        log: Arc::new(|_| {}),
    }
}

fn cleaner(plugin: &Plugin, mode: &str, window: Option<u32>) -> Cleaner {
    plugin.cleaner(&settings(mode, window)).unwrap()
}

/// A figure against `bound` in its own unit, or against what the host itself took for the same.
fn row(figure: &str, value: f64, unit: &str, against: String, ratio: f64, bar: Option<f64>) -> serde_json::Value {
    serde_json::json!({ "figure": figure, "value": value, "unit": unit, "against": against, "ratio": ratio, "bar": bar })
}

/// Median seconds of one `run`, in rounds of `calls` each.
fn seconds(calls: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| run());
            start.elapsed().as_secs_f64() / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// Median seconds of two things in turns, so that both see the same machine.
fn in_turns(mut first: impl FnMut(), mut second: impl FnMut()) -> (f64, f64) {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    for _ in 0..WARM_UP_ROUNDS {
        first();
        second();
    }
    let (mut firsts, mut seconds): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| (time(&mut first), time(&mut second))).unzip();
    firsts.sort_by(f64::total_cmp);
    seconds.sort_by(f64::total_cmp);
    (firsts[ROUNDS / 2], seconds[ROUNDS / 2])
}

fn calls(sandbox: &Sandbox, plugin: &Plugin, rows: &mut Vec<serde_json::Value>) {
    // A source that has finished: numbers in, one case of a variant out.
    let (settings_of_source, _) = guest::settings(PluginKind::Source);
    let mut finished = guest::Guest::new(PluginKind::Source).load(sandbox).source(&settings_of_source).unwrap();
    let empty = seconds(2000, || drop(black_box(finished.next(1, 1).unwrap()))) * 1e6;
    rows.push(row("empty call", empty, "us", "at most 2 us".into(), empty / 2.0, Some(1.0)));
    let mut nothing = cleaner(plugin, "nothing", None);
    let small = batch_f64(1, 1);
    let two_borrows = seconds(2000, || drop(black_box(nothing.clean(&small).unwrap()))) * 1e6;
    rows.push(row("call with two borrows", two_borrows, "us", "at most 2 us".into(), two_borrows / 2.0, Some(1.0)));
    let settings = settings("nothing", None);
    let instance = seconds(200, || plugin.instantiate(&settings).unwrap()) * 1e6;
    rows.push(row("pooled instantiation", instance, "us", "at most 20 us".into(), instance / 20.0, Some(1.0)));
}

/// One window of 65,536 rows each way, against a copy of the same bytes in the host.
fn windows(plugin: &Plugin, rows: &mut Vec<serde_json::Value>) {
    let numbers = batch_f64(ROWS, 1);
    let texts = batch_text();
    let copy_numbers = || drop(black_box(numbers.rows.column(0).as_primitive::<Float64Type>().values().to_vec()));
    let copy_text = || {
        let text = texts.rows.column(0).as_string::<i32>();
        drop(black_box((text.value_offsets().to_vec(), text.value_data().to_vec())));
    };
    for (mode, what) in [("f64", "f64"), ("raw", "raw bytes"), ("text", "text")] {
        let batch = if mode == "text" { &texts } else { &numbers };
        let mut read = cleaner(plugin, &format!("read-{mode}"), None);
        let mut write = cleaner(plugin, &format!("write-{mode}"), None);
        let copy: &dyn Fn() = if mode == "text" { &copy_text } else { &copy_numbers };
        let (out, native) = in_turns(|| drop(read.clean(batch).unwrap()), copy);
        let against = |native: f64| format!("copy in the host: {:.1} us", native * 1e6);
        rows.push(row(&format!("65,536 rows of {what} out"), out * 1e6, "us", against(native), out / native, None));
        let (both, native) = in_turns(|| drop(write.clean(batch).unwrap()), copy);
        rows.push(row(&format!("65,536 rows of {what} out and back"), both * 1e6, "us", against(native), both / native, None));
    }
}

fn wasm_and_native(plugin: &Plugin, rows: &mut Vec<serde_json::Value>) {
    let numbers = batch_f64(ROWS, COLUMNS);
    let texts = batch_text();
    let mut check = |figure: &str, mode: &str, window: Option<u32>, batch: &Batch, bar: Option<f64>, native: &dyn Fn(&Batch) -> Batch| {
        if !wanted(figure) {
            return;
        }
        let mut guest = cleaner(plugin, mode, window);
        assert_eq!(guest.clean(batch).unwrap().rows.rows, native(batch).rows, "{figure}: guest and native differ");
        let (mut of_wasm, mut of_native) = (VecDeque::new(), VecDeque::new());
        let (wasm, native) = in_turns(|| keep(&mut of_wasm, guest.clean(batch).unwrap().rows), || keep(&mut of_native, native(batch)));
        rows.push(row(figure, wasm * 1e3, "ms", format!("native: {:.3} ms", native * 1e3), wasm / native, bar));
    };
    check("clip by host kernel", "clip-host", None, &numbers, Some(1.15), &|batch| mapped(batch, clip));
    check("clip in guest", "clip-guest", None, &numbers, Some(3.2), &|batch| mapped(batch, clip));
    check(&format!("clip in guest, {WINDOW} rows at a time"), "clip-guest", Some(WINDOW), &numbers, None, &|batch| mapped(batch, clip));
    check("z-score in guest", "z-score", None, &numbers, Some(1.7), &|batch| mapped(batch, z_score));
    check("NaN mask in guest", "nan-mask", None, &numbers, None, &nan_mask);
    check("text clean in guest", "text-clean", None, &texts, Some(1.3), &text_clean);
}

/// Keeps the last results, as the loop keeps batches until their part is written: a result that is dropped at once would give the
/// next one memory that is still in the cache, which no run of the loop has.
fn keep(results: &mut VecDeque<Batch>, result: Batch) {
    if results.len() == RESULTS_KEPT {
        results.pop_front();
    }
    results.push_back(result);
}

/// Normal-looking numbers, one in a hundred beyond the bounds of the clip, none missing.
fn batch_f64(rows: usize, columns: usize) -> Batch {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let column = |index: usize| {
        let values: Vec<f64> = (0..rows).map(|_| (next() - 0.5) * 2.02).collect();
        (format!("x{index}"), Role::Feature, Arc::new(Float64Array::from(values)) as ArrayRef)
    };
    Batch::new((0..columns).map(column).collect()).unwrap()
}

fn batch_text() -> Batch {
    let texts = StringArray::from_iter_values((0..ROWS).map(|row| format!("  Station {} NORTH ", row * 7919 % 100_003)));
    Batch::new(vec![("name".into(), Role::Feature, Arc::new(texts) as ArrayRef)]).unwrap()
}

fn mapped(batch: &Batch, map: impl Fn(&[f64]) -> Vec<f64>) -> Batch {
    let columns = batch.columns().map(|(name, role, array)| {
        let values = map(array.as_primitive::<Float64Type>().values());
        (name.to_owned(), role.clone(), Arc::new(Float64Array::from(values)) as ArrayRef)
    });
    Batch::new(columns.collect()).unwrap()
}

fn clip(values: &[f64]) -> Vec<f64> {
    let clip = |value: &f64| {
        let raised = if *value < LOW { LOW } else { *value };
        if raised > HIGH { HIGH } else { raised }
    };
    values.iter().map(clip).collect()
}

/// Sums in sixteen lanes, as the guest takes them, so that both give the same bits.
fn sums(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<16>();
    let rest: f64 = rest.iter().map(|value| of(*value)).sum();
    let mut lanes = [0.0; 16];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn z_score(values: &[f64]) -> Vec<f64> {
    let rows = values.len() as f64;
    let mean = sums(values, |value| value) / rows;
    let deviation = (sums(values, |value| (value - mean) * (value - mean)) / rows).sqrt();
    values.iter().map(|value| (value - mean) / deviation).collect()
}

fn nan_mask(batch: &Batch) -> Batch {
    let mut mask = vec![1_u8; batch.row_count()];
    for array in batch.rows.columns() {
        for (keep, value) in mask.iter_mut().zip(array.as_primitive::<Float64Type>().values()) {
            *keep &= u8::from(!value.is_nan());
        }
    }
    if !mask.contains(&0) {
        return batch.clone();
    }
    let mask = BooleanArray::new(BooleanBuffer::collect_bool(mask.len(), |row| mask[row] != 0), None);
    Batch { rows: arrow::compute::filter_record_batch(&batch.rows, &mask).unwrap(), roles: batch.roles.clone() }
}

fn text_clean(batch: &Batch) -> Batch {
    let text = batch.rows.column(0).as_string::<i32>();
    let mut bytes = Vec::with_capacity(text.value_data().len());
    let mut offsets = Vec::with_capacity(text.len() + 1);
    offsets.push(0);
    for ends in text.value_offsets().windows(2) {
        let cell = text.value_data()[ends[0] as usize..ends[1] as usize].trim_ascii();
        bytes.extend(cell.iter().map(u8::to_ascii_lowercase));
        offsets.push(bytes.len() as i32);
    }
    let array = StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), None).unwrap();
    Batch::new(vec![("name".into(), Role::Feature, Arc::new(array) as ArrayRef)]).unwrap()
}
