//! Times how long a guest that spins outlives its deadline, and prints JSON rows as `bench_sandbox` does.
//!
//! Tie it to one processor to see the worst of it, where the thread that stops guests waits behind them:
//! `cargo build --workspace --example bench_deadline && taskset -c 0 <target>/debug/examples/bench_deadline`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench: it times, prints and stops at the first error"
)]
#![expect(dead_code, reason = "it uses a part of what makes guests")]

#[path = "../tests/it/guest.rs"]
mod guest;

use std::time::{Duration, Instant};

use tidegate_sandbox::{CallError, PluginKind, Sandbox, SandboxConfig};
use tidegate_vocab::limits::EPOCH_TICK_MS;

use guest::{ENDLESS, Guest, batch, sandbox_config, settings};

/// Calls that run into their deadline.
const CALLS: usize = 200;
/// The deadline of each.
const CALL_MS: u64 = 35;

fn main() {
    let sandbox = Sandbox::new(SandboxConfig { epoch_tick_ms: EPOCH_TICK_MS, ..sandbox_config() }).unwrap();
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.call_ms_max = CALL_MS;
    let mut cleaner = Guest::cleaner("", ENDLESS).load(&sandbox).cleaner(&settings).unwrap();
    let mut overruns: Vec<f64> = (0..CALLS)
        .map(|_| {
            // A fresh instance first, so that the time is that of the call alone.
            cleaner.clean(&batch(1)).unwrap();
            let rows = batch(2);
            let began = Instant::now();
            let error = cleaner.clean(&rows).unwrap_err();
            let over = began.elapsed().saturating_sub(Duration::from_millis(CALL_MS));
            assert!(matches!(error, CallError::OverLimit { limit: "call_ms_max", .. }), "{error}");
            over.as_secs_f64() * 1000.0 / EPOCH_TICK_MS as f64
        })
        .collect();
    overruns.sort_by(f64::total_cmp);
    let row = |what: &str, value: f64| {
        serde_json::json!({
            "figure": format!("end of a spinning guest after its deadline, {what} of {CALLS}"),
            "value": value, "unit": "ticks", "against": "at most 2 ticks", "ratio": value / 2.0, "bar": 1.0,
        })
    };
    let rows = [row("median", overruns[CALLS / 2]), row("p99", overruns[CALLS * 99 / 100]), row("longest", overruns[CALLS - 1])];
    println!("{}", serde_json::Value::from(rows.to_vec()));
}
