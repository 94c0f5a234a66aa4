//! A reload as a transaction: a new build is tried on real rows, waits for an operator where it does something else, is taken back when
//! its first calls go wrong, and several stand or fall together.

use serde_json::Value;

use crate::host::{Ended, World, built};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait};

/// Base settings with the turncoat behind the shipped cleaners, and `more` at their end.
pub fn settings(plugins: &str) -> String {
    let cleaners = "cleaners = [";
    assert_eq!(BASE.matches(cleaners).count(), 1, "the base settings list cleaners once");
    let settings = BASE.replace(cleaners, "cleaners = [\n  { plugin = \"turncoat-cleaner\", config = {} },");
    assert_eq!(settings.matches("[plugins]\n").count(), 1);
    settings.replace("[plugins]\n", &format!("[plugins]\n{plugins}\n"))
}

/// A build of the turncoat that behaves as `word` says.
pub fn build(word: &str) -> Vec<u8> {
    let mut component = std::fs::read(built().guests.join("turncoat-cleaner.wasm")).unwrap();
    let mark = b"turncoat-behaviour:";
    let at = component.windows(mark.len()).position(|window| window == mark).expect("the component holds its word") + mark.len();
    let padded = format!("{word:.<13}");
    component[at..at + 13].copy_from_slice(padded.as_bytes());
    component
}

pub fn install(world: &World, component: &[u8]) {
    world.write("new.wasm", component);
    std::fs::rename(world.path("new.wasm"), world.path("plugins/turncoat-cleaner.wasm")).unwrap();
}

/// A host with 400 rows that went through a plain turncoat, and the digest of that.
fn started(plugins: &str) -> (World, Service, String) {
    let world = World::new(&settings(plugins));
    install(&world, &build("plain"));
    world.write("input.csv", format!("{HEADER}{}", lines(0, 400)));
    let service = Service::start(&world);
    service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 400);
    let plain = digest(&service);
    (world, service, plain)
}

pub fn lines(first_day: u64, count: u64) -> String {
    Rows { first_day, count, seed: first_day + 1, noise: 0.1, flipped: false }.lines()
}

pub fn append(world: &World, text: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(world.path("input.csv")).unwrap().write_all(text.as_bytes()).unwrap();
}

fn turncoat(service: &Service) -> Value {
    wait("the turncoat is in use", || {
        let status = service.status();
        status["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "turncoat-cleaner").cloned()
    })
}

/// The digest of the build in use.
pub fn digest(service: &Service) -> String {
    turncoat(service)["digest"].as_str().unwrap().to_owned()
}

/// Waits until the newest attempt ended as `result`; it.
pub fn attempt(service: &Service, result: &str) -> Value {
    wait(&format!("an attempt that is {result}"), || Some(turncoat(service)["reloads"][0].clone()).filter(|last| last["result"] == result))
}

/// Results and reasons of the journal's entries about plugins.
fn story(world: &World) -> Vec<(String, String)> {
    let journal = world.json(&["journal", "show"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plugins = journal.as_array().unwrap().iter().filter(|entry| entry["kind"] == "plugin");
    plugins.map(|entry| (text(&entry["body"]["result"]), text(&entry["body"]["why"]))).collect()
}

#[test]
fn a_build_that_does_something_else_waits_for_an_operator() {
    let (world, service, plain) = started("shadow_change_max = 0.4");
    install(&world, &build("half"));
    let held = attempt(&service, "held");
    let why = held["refused"].as_str().unwrap();
    assert!(why.starts_with("50.0 % of what comes out differs, `[plugins] shadow_change_max` is 40.0 %"), "{why}");
    let differences = held["differences"][0].as_str().unwrap();
    assert!(differences.contains("kept 400 rows before and 200 now"), "{differences}");
    assert_eq!(digest(&service), plain, "the old one serves on");
    // Looking again changes nothing; accepting does.
    let Ended { code, stdout, .. } = world.run(["plugin", "reload"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("the old one stays until you accept the new one (`tidegate plugin reload turncoat-cleaner --accept`)"),
        "{stdout}"
    );
    let Ended { code, stdout, .. } = world.run(["plugin", "reload", "turncoat-cleaner", "--accept"]);
    assert_eq!((code, stdout.lines().next()), (Some(0), Some("turncoat-cleaner: replaced")));
    service.until("harbour", "half the rows are quarantined", |pipeline| {
        pipeline["quarantined"].as_array().unwrap().iter().any(|group| group[1] == "listed" && group[2] == 200)
    });
    service.stop();
    let story = story(&world);
    let results: Vec<&str> = story.iter().map(|(result, _)| result.as_str()).collect();
    assert_eq!(results, ["held", "held", "replaced"]);
}

#[test]
fn a_build_whose_results_depend_on_its_past_is_refused() {
    let (world, service, _) = started("");
    install(&world, &build("moody"));
    let refused = attempt(&service, "refused");
    let why = refused["refused"].as_str().unwrap();
    assert!(why.starts_with("given the same batch twice, it gave two results"), "{why}");
    service.stop();
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The shipped alerter, asking for the time; the words that this takes are saved in its summary.
fn log_that_asks_for_the_time() -> Vec<u8> {
    let mut component = std::fs::read(built().plugins.join("log.wasm")).unwrap();
    let mut asked = 0;
    // The manifest lies in the component, and in the module within it.
    while let Some(start) = position(&component, b"summary = \"W") {
        let end = start + position(&component[start..], b"reasons = ").unwrap();
        let manifest = String::from_utf8(component[start..end].to_vec()).unwrap();
        let asking = manifest.replacen("summary = \"", "summary = \" \" # ", 1).replace("capabilities = []", "capabilities = [\"clock\"]");
        // The remark that the summary has become is as long as it has to be.
        let (longer, remark) = (asking.len() - manifest.len(), asking.find("# ").unwrap() + 2);
        let asking = format!("{}{}", &asking[..remark], &asking[remark + longer..]);
        component[start..end].copy_from_slice(asking.as_bytes());
        asked += 1;
    }
    assert!(asked > 0);
    component
}

#[test]
fn a_build_that_asks_for_more_waits_for_an_operator() {
    let world = World::new(&BASE.replace("[pipeline.harbour]\n", "[plugin.log.grant]\nclock = true\n\n[pipeline.harbour]\n"));
    world.write("input.csv", format!("{HEADER}{}", lines(0, 10)));
    let service = Service::start(&world);
    world.write("new.wasm", log_that_asks_for_the_time());
    std::fs::rename(world.path("new.wasm"), world.path("plugins/log.wasm")).unwrap();
    let log = |service: &Service| service.status()["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "log").cloned();
    let held = wait("the build is held", || log(&service).filter(|log| log["reloads"][0]["result"] == "held"));
    let why = held["reloads"][0]["refused"].as_str().unwrap();
    assert_eq!(why, "it asks for `clock`, which the old one did not, and the settings grant it");
    assert_eq!(world.run(["plugin", "reload", "log", "--accept"]).stdout.lines().next(), Some("log: replaced"));
    service.stop();
}

#[test]
fn without_a_shadow_run_a_build_is_used_unseen() {
    let (world, service, _) = started("shadow_batches = 0\nprobation_calls = 0");
    install(&world, &build("half"));
    let replaced = attempt(&service, "proven");
    assert_eq!(replaced["differences"], serde_json::json!([]));
    service.stop();
}

#[test]
fn a_build_whose_first_calls_go_wrong_is_taken_back() {
    let (world, service, plain) = started("");
    install(&world, &build("brittle"));
    attempt(&service, "replaced");
    // Rows such as it was not tried on.
    append(&world, &format!("{}400,95.0,0.5,1\n", lines(401, 9)));
    let back = attempt(&service, "taken back");
    assert!(back["refused"].as_str().unwrap().contains("crashed in step `clean`"), "{back}");
    service
        .until("harbour", "the rows are cleaned by the old one", |pipeline| pipeline["rows"] == 410 && pipeline["stalled"] == Value::Null);
    assert_eq!(digest(&service), plain);
    // Its file is still there, and is not used again: not by the running host, and not by the next.
    assert_eq!(world.run(["plugin", "reload"]).stdout, "no plugin has changed\n");
    service.stop();
    let service = Service::start(&world);
    assert_eq!(digest(&service), plain);
    service.stop();
    let story = story(&world);
    let results: Vec<&str> = story.iter().map(|(result, _)| result.as_str()).collect();
    assert_eq!(results, ["replaced", "taken back"]);
}

#[test]
fn a_build_that_stands_its_probation_is_proven() {
    let (world, service, plain) = started("probation_calls = 2");
    install(&world, &build("brittle"));
    attempt(&service, "replaced");
    // Rows that wait are cleaned again by the new build: one call; these make the second.
    append(&world, &lines(400, 10));
    append(&world, &lines(410, 10));
    attempt(&service, "proven");
    // From here on it is the plugin's own affair.
    let back = world.run(["plugin", "rollback", "turncoat-cleaner", "--reason", "I liked it better"]);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    assert!(
        back.stdout.starts_with("turncoat-cleaner: the new one was taken back:") && back.stdout.contains("I liked it better"),
        "{}",
        back.stdout
    );
    assert_eq!(digest(&service), plain);
    let none = world.run(["plugin", "rollback", "turncoat-cleaner"]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("no build of `turncoat-cleaner` before the one in use is kept"), "{}", none.stderr);
    service.stop();
}

#[test]
fn plugins_that_are_named_together_stand_or_fall_together() {
    let (world, service, _) = started("");
    let missing = std::fs::read(built().plugins.join("missing.wasm")).unwrap();
    // Held at what is in use, so that the watcher of the folder leaves them to the operator.
    for name in ["missing", "turncoat-cleaner"] {
        assert_eq!(world.run(["plugin", "pin", name]).code, Some(0));
    }
    install(&world, &build("moody"));
    let mut again = missing.clone();
    again.extend([0, 2, 1, b'x']);
    std::fs::remove_file(world.path("plugins/missing.wasm")).unwrap();
    world.write("plugins/missing.wasm", &again);
    for name in ["missing", "turncoat-cleaner"] {
        assert_eq!(world.run(["plugin", "lock", name]).code, Some(0));
    }
    let Ended { code, stdout, .. } = world.run(["plugin", "reload", "missing", "turncoat-cleaner"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("missing: the old one stays (shadow): it goes together with `turncoat-cleaner`, which was refused"),
        "{stdout}"
    );
    install(&world, &build("brittle"));
    assert_eq!(world.run(["plugin", "lock", "turncoat-cleaner"]).code, Some(0));
    let Ended { code, stdout, .. } = world.run(["plugin", "reload", "missing", "turncoat-cleaner"]);
    assert_eq!((code, stdout.matches(": replaced\n").count()), (Some(0), 2), "{stdout}");
    service.stop();
}

#[test]
fn a_pinned_plugin_stays_whatever_lies_in_the_folder() {
    let (world, service, plain) = started("");
    assert_eq!(world.run(["plugin", "pin", "turncoat-cleaner"]).code, Some(0));
    install(&world, &build("brittle"));
    assert_eq!(world.run(["plugin", "reload"]).stdout, "no plugin has changed\n");
    service.stop();
    // The next start finds another file, and uses the one that is kept.
    let service = Service::start(&world);
    assert_eq!(digest(&service), plain);
    assert_eq!(world.run(["plugin", "unpin", "turncoat-cleaner"]).code, Some(0));
    let Ended { code, stdout, .. } = world.run(["plugin", "reload"]);
    assert_eq!((code, stdout.lines().next()), (Some(0), Some("turncoat-cleaner: replaced")));
    // And back, by the first characters of the digest.
    assert_eq!(world.run(["plugin", "pin", "turncoat-cleaner", &plain[..12]]).code, Some(0));
    assert_eq!(world.run(["plugin", "reload"]).code, Some(0));
    assert_eq!(digest(&service), plain);
    service.stop();
}
