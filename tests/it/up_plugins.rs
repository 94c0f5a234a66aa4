//! A plugin's file is replaced while requests pour in: the new one is used, or the old one stays and a person is told why.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harbour::{Minute, ask, settings, with_champion};
use crate::host::{Ended, World, built};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// Predictions that are asked for in a second.
const PREDICTIONS_PER_S: u32 = 200;

/// What the status says of a plugin.
fn plugin(service: &Service, name: &str) -> Value {
    let status = service.status();
    let found = status["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("there is no plugin `{name}` in {status:#}"))
}

/// Puts `component` in the place of a plugin's file in one step, as an installer does it.
fn install(world: &World, name: &str, component: &[u8]) {
    world.write("new.wasm", component);
    std::fs::rename(world.path("new.wasm"), world.path(&format!("plugins/{name}.wasm"))).unwrap();
}

/// The same component with one more section at its end, which changes nothing but its digest.
fn another_build(component: &[u8], remark: &str) -> Vec<u8> {
    let name = "remark";
    let size = 1 + name.len() + remark.len();
    assert!(size < 128, "sizes below 128 are one byte");
    let mut other = component.to_vec();
    other.extend([0, size as u8, name.len() as u8]);
    other.extend(name.bytes().chain(remark.bytes()));
    other
}

/// Asks for predictions at a steady pace until `over`; how many were answered, and what went wrong.
fn ask_on(service: &Service, minutes: &[Minute], over: &AtomicBool) -> (u32, Vec<String>) {
    let (mut client, started) = (service.client(), Instant::now());
    let (mut asked, mut failed) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let due = Duration::from_secs(1) * asked / PREDICTIONS_PER_S;
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let reply = ask(&mut client, &minutes[asked as usize % minutes.len()..][..1]);
        asked += 1;
        if reply.status != 200 || !reply.body.contains("\"model_version\":\"v1\"") {
            failed.push(format!("request {asked}: {} {}", reply.status, reply.body));
        }
    }
    (asked, failed)
}

#[test]
fn plugins_are_replaced_without_a_failed_call() {
    let world = World::new(&settings().replace("[pipeline.harbour]\n", "[plugin.missing]\ncall_ms_max = 2000\n\n[pipeline.harbour]\n"));
    let (service, minutes) = with_champion(&world);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_on(&service, &minutes, &over));
        // However a check ends, the asking ends with it.
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replace(&world, &service)));
        over.store(true, Ordering::SeqCst);
        let (asked, failed) = asking.join().unwrap();
        if let Err(panic) = replaced {
            std::panic::resume_unwind(panic);
        }
        assert!(failed.is_empty(), "{} of {asked} requests failed: {:?}", failed.len(), &failed[..failed.len().min(3)]);
        assert!(asked > PREDICTIONS_PER_S, "only {asked} requests were asked");
    });
    service.stop();
    let journal = world.json(&["journal", "show"]);
    let plugins = journal.as_array().unwrap().iter().filter(|entry| entry["kind"] == "plugin");
    let results: Vec<&str> = plugins.map(|entry| entry["body"]["result"].as_str().unwrap()).collect();
    // Every refused file was tried a second time when somebody asked.
    assert_eq!(results, [&["replaced"][..], &["refused"; 8], &["replaced"]].concat());
}

/// A good file, those that are not, and a good one again.
fn replace(world: &World, service: &Service) {
    let shipped = std::fs::read(built().plugins.join("missing.wasm")).unwrap();
    let before = plugin(service, "missing")["digest"].clone();
    let used = taken(world, service, &before, &another_build(&shipped, "built again"));
    let refusals = [
        (shipped[..shipped.len() / 2].to_vec(), "plugin `missing` is damaged: unexpected end-of-file"),
        (b"MZ, from elsewhere".to_vec(), "plugin `missing` is not a WebAssembly component: found other bytes (hint: build it for"),
        (std::fs::read(built().plugins.join("log.wasm")).unwrap(), "expected cleaner, found alerter (hint: use a plugin of the kind"),
        (
            std::fs::read(built().guests.join("endless-cleaner.wasm")).unwrap(),
            "reached `call_ms_max` in step `configure`: the call did not end within 2000 ms",
        ),
    ];
    for (component, reason) in refusals {
        refused(world, service, &component, reason);
        assert_eq!(plugin(service, "missing")["digest"], used, "the old one serves on");
    }
    taken(world, service, &used, &another_build(&shipped, "mended"));
    assert_eq!(world.run(["plugin", "reload"]).stdout, "no plugin has changed\n");
}

/// Installs a file that takes the place of `before`; its digest.
fn taken(world: &World, service: &Service, before: &Value, component: &[u8]) -> Value {
    install(world, "missing", component);
    let missing = wait("the new build is used", || {
        let missing = plugin(service, "missing");
        (missing["digest"] != *before && missing["reloads"][0]["digest"] == missing["digest"]).then_some(missing)
    });
    let last = &missing["reloads"][0];
    assert_eq!(last["refused"], Value::Null);
    missing["digest"].clone()
}

/// Installs a file that is refused, by the host itself and once more when somebody asks for it.
fn refused(world: &World, service: &Service, component: &[u8], reason: &str) {
    let attempts = |missing: &Value| missing["reloads"].as_array().unwrap().len();
    let known = attempts(&plugin(service, "missing"));
    install(world, "missing", component);
    let missing = wait("the file is refused", || Some(plugin(service, "missing")).filter(|missing| attempts(missing) > known));
    let told = missing["reloads"][0]["refused"].as_str().unwrap();
    assert!(told.contains(reason), "{told}");
    let Ended { code, stdout, stderr } = world.run(["plugin", "reload", "missing"]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    let words = stdout.strip_prefix("missing: the old one stays (").and_then(|rest| rest.split_once("): "));
    assert_eq!(words.map(|(_step, why)| why), Some(format!("{told}\n").as_str()), "{stdout}");
}

#[test]
fn a_gate_keeps_its_rows_when_a_cleaner_is_replaced() {
    let window = "window_rows = 1000\nheld_out_rows = 300\n";
    let settings = BASE.replace(window, "window_rows = 300\nheld_out_rows = 60\n").replace("rows_min = 200", "rows_min = 500");
    let world = World::new(&settings);
    let days = |first_day: u64, count: u64| Rows { first_day, count, seed: first_day + 1, noise: 0.1, flipped: false }.lines();
    world.write("input.csv", format!("{HEADER}{}", days(0, 500)));
    let service = Service::start(&world);
    let waits = |rows: u64| {
        service.until("harbour", &format!("the gate waits for {rows} rows"), |pipeline| pipeline["run"]["waiting_rows"] == rows);
    };
    waits(500);
    // Rows come in more parts than a window has rows.
    for day in [500, 600, 700, 800] {
        append(&world, &days(day, 100));
        waits(900 - day);
    }
    let shipped = std::fs::read(built().plugins.join("missing.wasm")).unwrap();
    let before = plugin(&service, "missing")["digest"].clone();
    taken(&world, &service, &before, &another_build(&shipped, "built again"));
    append(&world, &days(900, 99));
    waits(1);
    append(&world, &days(999, 1));
    service.until("harbour", "the version serves", |pipeline| pipeline["champion"]["version"] == 1);
    service.stop();
}

fn append(world: &World, text: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(world.path("input.csv")).unwrap().write_all(text.as_bytes()).unwrap();
}
