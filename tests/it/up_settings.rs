//! The settings file edited under a running host: what can be taken up is, as one transaction; what cannot is named; what is wrong
//! changes nothing.

use serde_json::Value;

use crate::harbour::{ask, with_champion};
use crate::host::{Ended, World};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::service::{Service, wait, wait_or};

/// The base settings with a second cleaner, that lets everything pass.
fn settings() -> String {
    changed(
        BASE,
        "serving = true }]",
        "serving = true }, { plugin = \"range\", config = { columns = { wind = { high = 1000.0, outside = \"drop-row\" } } } }]",
    )
}

fn changed(text: &str, find: &str, replacement: &str) -> String {
    assert_eq!(text.matches(find).count(), 1, "`{find}` must occur once");
    text.replace(find, replacement)
}

fn lines(first_day: u64, count: u64) -> String {
    Rows { first_day, count, seed: first_day + 1, noise: 0.1, flipped: false }.lines()
}

fn append(world: &World, text: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(world.path("input.csv")).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A host with 400 rows under `settings`.
fn started(settings: &str) -> (World, Service) {
    let world = World::new(settings);
    world.write("input.csv", format!("{HEADER}{}", lines(0, 400)));
    let service = Service::start(&world);
    service.until("harbour", "the rows are in", |pipeline| pipeline["rows"] == 400);
    (world, service)
}

/// Puts the file in place at once, as careful editors do.
fn edit(world: &World, settings: &str) {
    world.write("tidegate.new", settings);
    std::fs::rename(world.path("tidegate.new"), world.path("tidegate.toml")).unwrap();
}

/// Waits until the newest attempt ended as `result`; how the settings stand then.
fn attempt(service: &Service, result: &str) -> Value {
    until(service, result, |settings| settings["reloads"][0]["result"] == result)
}

/// Waits until the settings stand as `is` wants it.
fn until(service: &Service, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_or(
        &format!("the settings are {what}"),
        || Some(service.status()["settings"].clone()).filter(&is),
        || format!("{:#}\n{:#?}", service.status()["settings"], service.said()),
    )
}

/// Whether the reason against the file says `text`.
fn says(settings: &Value, text: &str) -> bool {
    settings["refused"].as_str().is_some_and(|why| why.contains(text))
}

fn digest(service: &Service) -> Value {
    service.status()["settings"]["digest"].clone()
}

fn contains(value: &Value, text: &str) -> bool {
    let found = value.as_str().is_some_and(|value| value.contains(text));
    assert!(found, "{value} does not say `{text}`");
    found
}

/// What the journal tells of settings: results, and the sentences.
fn story(world: &World) -> Vec<(String, String)> {
    let journal = world.json(&["journal", "show"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = journal.as_array().unwrap().iter().filter(|entry| entry["kind"] == "settings");
    entries.map(|entry| (text(&entry["body"]["result"]), text(&entry["body"]["told"]))).collect()
}

fn results(world: &World) -> Vec<String> {
    story(world).into_iter().map(|(result, _)| result).collect()
}

fn kept_out(pipeline: &Value, reason: &str) -> u64 {
    let groups = pipeline["quarantined"].as_array().unwrap();
    groups.iter().filter(|group| group[1] == reason).filter_map(|group| group[2].as_u64()).sum()
}

#[test]
fn a_plugin_is_configured_anew_once_an_operator_has_seen_the_difference() {
    let (world, service) = started(&settings());
    let before = digest(&service);
    // Winds lie between −1 and 1: about half of the rows would go.
    edit(&world, &changed(&settings(), "high = 1000.0", "high = 0.0"));
    let held = attempt(&service, "held");
    contains(&held["refused"], "% of what comes out differs, `[plugins] shadow_change_max` is 10.0 %");
    contains(&held["reloads"][0]["differences"][0], "`pipeline.harbour.cleaners[1].config.columns.wind.high`: 1000.0 to 0.0");
    assert_eq!(held["digest"], before, "the old ones are in force");
    let Ended { code, stdout, .. } = world.run(["reload"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.starts_with("settings: the old ones stay until you accept the new ones (`tidegate reload --accept`)"), "{stdout}");
    let Ended { code, stdout, .. } = world.run(["reload", "--accept"]);
    let change = "`pipeline.harbour.cleaners[1].config.columns.wind.high`: 1000.0 to 0.0";
    assert_eq!((code, stdout.lines().take(2).collect::<Vec<_>>()), (Some(0), vec!["settings: taken up", &format!("  {change}")]));
    // Rows that wait for a label or a snapshot are cleaned again by what is in force now.
    service.until("harbour", "the rows are kept out", |pipeline| kept_out(pipeline, "out-of-range") > 0);
    assert_ne!(digest(&service), before);
    let settings = &service.status()["settings"];
    assert_eq!((&settings["refused"], &settings["waiting"]), (&Value::Null, &serde_json::json!([])));
    assert_eq!(world.run(["reload"]).stdout, "the settings in force are those of the file\n");
    let metrics = service.client().get("/metrics").body;
    assert!(metrics.contains("tidegate_settings_reloads_total{result=\"applied\"} 1"), "{metrics}");
    service.stop();
    assert_eq!(results(&world), ["held", "held", "applied"]);
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_of_once() {
    let (world, service) = started(&settings());
    let before = digest(&service);
    let broken = changed(&settings(), "[plugins]\n", "[plugins]\nstrike_max = 5\n");
    edit(&world, &broken);
    let refused = attempt(&service, "refused");
    contains(&refused["refused"], "tidegate.toml:6:1: unknown key `strike_max` in `[plugins]` (hint: did you mean `strikes_max`?)");
    assert_eq!(refused["digest"], before);
    // The command shows it as `check` does.
    let (reload, check) = (world.run(["reload"]), world.run(["check"]));
    assert_eq!((reload.code, &reload.stderr), (Some(2), &check.stderr));
    assert!(service.client().get("/").body.contains("The file as it is now is not in force."));
    // The same text again says nothing new; another fault does; and so does the end of it.
    edit(&world, &broken);
    edit(&world, &changed(&settings(), "high = 1000.0", "hihg = 1000.0"));
    until(&service, "refused by the plugin", |settings| says(settings, "tidegate.toml:16:") && says(settings, "hihg"));
    edit(&world, "[plugins");
    until(&service, "no TOML", |settings| says(settings, "not TOML"));
    edit(&world, &settings());
    until(&service, "right again", |settings| settings["refused"].is_null());
    assert_eq!(digest(&service), before);
    service.stop();
    assert_eq!(results(&world), ["refused", "refused", "refused"]);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken_up() {
    let (world, service) = started(&settings());
    let mixed = changed(&settings(), "[plugins]\n", "[serve]\nhosts = [\"tide.example\"]\n\n[plugins]\nshadow_batches = 2\n");
    edit(&world, &mixed);
    let applied = attempt(&service, "applied");
    assert_eq!(applied["waiting"], serde_json::json!(["`serve.hosts`: not written to [\"tide.example\"]"]));
    assert_eq!(applied["reloads"][0]["differences"], serde_json::json!(["`plugins.shadow_batches`: not written to 2"]));
    let check = world.run(["check"]).stdout;
    assert!(check.contains("these need a restart\n  `serve.hosts`: not written to [\"tide.example\"]\n"), "{check}");
    assert!(!check.contains("shadow_batches"), "it is in force: {check}");
    // Other plugins in a list need a restart, and what else changes of that list goes with them.
    let fewer = "cleaners = [{ plugin = \"missing\", config = { columns = { \"*\" = \"mean\" } }, serving = true }]";
    let line = mixed.lines().find(|line| line.starts_with("cleaners")).unwrap().to_owned();
    edit(&world, &changed(&mixed, &line, &changed(fewer, "mean", "drop-row")));
    let waiting = attempt(&service, "needs a restart");
    let keys: Vec<&str> = waiting["waiting"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(keys.iter().any(|key| key.starts_with("`pipeline.harbour.cleaners[1].plugin`: \"range\" to not written")), "{keys:?}");
    assert_eq!(service.pipeline("harbour")["cleaners"], serde_json::json!(["missing", "range"]));
    service.stop();
    let service = Service::start(&world);
    assert_eq!(service.status()["settings"]["waiting"], serde_json::json!([]));
    assert_eq!(service.pipeline("harbour")["cleaners"], serde_json::json!(["missing"]));
    service.stop();
    let story = story(&world);
    assert_eq!(
        story[0].1,
        "settings: taken up; changed: `plugins.shadow_batches`: not written to 2; needs a restart: `serve.hosts`: not written to [\"tide.example\"]"
    );
}

#[test]
fn settings_whose_first_calls_go_wrong_are_taken_back_whole() {
    let (world, service) = started(&settings());
    let before = digest(&service);
    // No row so far has such a wind; with it goes a rule that has nothing to do with it.
    edit(&world, &changed(&changed(&settings(), "high = 1000.0", "high = 50.0"), "[plugins]\n", "[plugins]\nstrikes_max = 7\n"));
    attempt(&service, "applied");
    let storm: String = (400..550).map(|day| format!("{day},80.0,0.5,1\n")).collect();
    append(&world, &storm);
    let back = attempt(&service, "taken back");
    contains(&back["refused"], "`range`: it dropped 100.0 % of");
    assert_eq!(back["digest"], before, "all of it is taken back");
    service.until("harbour", "the old settings let the rows in", |pipeline| {
        pipeline["rows"] == 550 && kept_out(pipeline, "out-of-range") == 0 && pipeline["stalled"] == Value::Null
    });
    let check = world.run(["check"]).stdout;
    assert!(check.contains("it did not take the file up: `range`: it dropped 100.0 %"), "{check}");
    service.stop();
    let story = story(&world);
    assert_eq!(results(&world), ["applied", "taken back"]);
    assert!(story[1].1.starts_with("settings: the old ones are in force again, and the file asks for what was taken back"), "{story:?}");
}

#[test]
fn plugins_whose_settings_change_together_stand_or_fall_together() {
    let (world, service) = started(&settings());
    let before = digest(&service);
    let one = changed(&settings(), "high = 1000.0", "high = 900.0");
    // One of the two is asked for a column that there is none of.
    edit(&world, &changed(&one, "\"*\" = \"drop-row\"", "gusts = \"drop-row\""));
    let refused = attempt(&service, "refused");
    contains(&refused["refused"], "gusts");
    assert_eq!(digest(&service), before);
    edit(&world, &one);
    attempt(&service, "applied");
    service.stop();
}

#[test]
fn limits_of_a_plugin_hold_from_the_next_call_on() {
    let (world, service) = started(&settings());
    let limited = |limit: &str| format!("{}\n[plugin.range]\n{limit}\n", settings());
    edit(&world, &limited("host_calls_max = 1"));
    let refused = attempt(&service, "refused");
    contains(&refused["refused"], "host_calls_max");
    edit(&world, &limited("memory_bytes_max = \"64KiB\""));
    until(&service, "too little to start in", |settings| says(settings, "memory_bytes_max"));
    edit(&world, &limited("call_ms_max = 4000"));
    let applied = attempt(&service, "applied");
    assert_eq!(applied["reloads"][0]["differences"][0], "`plugin.range.call_ms_max`: not written to 4000");
    service.stop();
}

#[test]
fn limits_hold_for_what_requests_pass_through_too() {
    let rules = changed(&crate::harbour::settings(), "[plugins]\n", "[plugins]\nshadow_batches = 0\n");
    let world = World::new(&rules);
    let (service, minutes) = with_champion(&world);
    let mut client = service.client();
    assert_eq!(ask(&mut client, &minutes[..1]).status, 200);
    // It starts under this limit, and cannot do its work: without a try on real rows only the calls show it.
    edit(&world, &format!("{rules}\n[plugin.missing]\nhost_calls_max = 1\n"));
    attempt(&service, "applied");
    let reply = ask(&mut client, &minutes[..1]);
    assert!(reply.status != 200 && reply.body.contains("host_calls_max"), "{} {}", reply.status, reply.body);
    edit(&world, &rules);
    wait("requests are answered again", || (ask(&mut client, &minutes[..1]).status == 200).then_some(()));
    service.stop();
}

#[test]
fn more_that_is_lent_waits_for_an_operator() {
    let (world, service) = started(&settings());
    let lending = format!("{}\n[plugin.log.grant]\nclock = true\n", settings());
    edit(&world, &lending);
    let held = attempt(&service, "held");
    contains(&held["refused"], "they lend `log` `clock`, which it was not lent before");
    assert_eq!(world.run(["reload", "--accept"]).code, Some(0));
    // Less needs nobody.
    edit(&world, &settings());
    until(&service, "looked at once more", |settings| settings["reloads"].as_array().unwrap().len() == 3);
    // Another file under the name of an input is something else that is lent.
    std::fs::hard_link(world.path("input.csv"), world.path("other.csv")).unwrap();
    let other = |name: &str| changed(&settings(), "path = \"input.csv\"", &format!("path = \"{name}\""));
    edit(&world, &other("other.csv"));
    let held = attempt(&service, "held");
    contains(&held["refused"], "they lend `csv` `input days from other.csv`");
    let accepted = world.run(["reload", "--accept"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.stdout);
    append(&world, &lines(400, 20));
    service.until("harbour", "its rows come from there", |pipeline| pipeline["rows"] == 420);
    // Other rows are not those that the source stands in the middle of.
    world.write("rows.csv", format!("{HEADER}{}", lines(7, 500)));
    edit(&world, &other("rows.csv"));
    until(&service, "looked at once more", |settings| settings["reloads"].as_array().unwrap().len() == 6);
    let refused = world.run(["reload", "--accept"]);
    assert!(refused.stdout.contains("the old ones stay (shadow): plugin `csv` refused in step `open`"), "{}", refused.stdout);
    service.stop();
    assert_eq!(results(&world), ["held", "applied", "applied", "held", "applied", "held", "refused"]);
}

#[test]
fn the_rules_for_plugins_hold_from_the_next_look_on() {
    let (world, service) = started(&settings());
    let ruled = |rules: &str| changed(&settings(), "[plugins]\n", &format!("[plugins]\n{rules}\n"));
    edit(&world, &ruled("locked = true"));
    contains(
        &attempt(&service, "refused")["refused"],
        "has no entry in `plugins.lock`, which it must have because `[plugins] locked` is set",
    );
    edit(&world, &ruled("trusted_keys = [\"team.pub\"]"));
    until(&service, "about a key that is not there", |settings| says(settings, "team.pub"));
    // With an entry for each it is allowed; nothing tells the host so but the signal.
    edit(&world, &ruled("locked = true"));
    until(&service, "looked at once more", |settings| settings["reloads"].as_array().unwrap().len() == 3);
    assert_eq!(world.run(["plugin", "lock"]).code, Some(0));
    service.hang_up();
    attempt(&service, "applied");
    // What lets more plugins in is for an operator to say.
    edit(&world, &settings());
    contains(&attempt(&service, "held")["refused"], "they take away `[plugins] locked`");
    // What differs is no longer tried or watched: a configuration that drops half of the rows is taken up, and is proven at once.
    let unseen = ruled("locked = true\nshadow_batches = 0\nprobation_calls = 0");
    edit(&world, &unseen);
    attempt(&service, "applied");
    edit(&world, &changed(&unseen, "high = 1000.0", "high = 0.0"));
    attempt(&service, "proven");
    service.stop();
    assert_eq!(results(&world)[3..], ["applied", "held", "applied", "applied", "proven"]);
}

#[test]
fn triggers_and_the_gate_change_between_runs() {
    let (world, service) = started(&settings());
    let unknown = changed(&settings(), "id = \"not-naive\"\nmetric = \"accuracy\"", "id = \"not-naive\"\nmetric = \"acuity\"");
    edit(&world, &unknown);
    contains(
        &attempt(&service, "refused")["refused"],
        "gate rule `not-naive` judges `acuity`, which no evaluator of pipeline `harbour` reports",
    );
    assert_eq!(service.pipeline("harbour")["versions"], 0, "400 rows are not 500");
    // A gate that nothing passes, and a trigger that is due.
    let strict = changed(&settings(), "against = \"majority\"\ntest = \"superior\"", "test = \"lower-bound\"\nbound = 1.0");
    edit(&world, &changed(&strict, "new_rows = 500", "new_rows = 300"));
    let applied = attempt(&service, "applied");
    let changes = applied["reloads"][0]["differences"].as_array().unwrap();
    assert!(changes.iter().any(|change| change == "`pipeline.harbour.trigger[0].new_rows`: 500 to 300"), "{changes:?}");
    contains(&changes[0], "(from the next run on)");
    service.until("harbour", "a version was trained", |pipeline| pipeline["versions"] == 1);
    append(&world, &lines(400, 300));
    let judged = service.until("harbour", "it was judged", |pipeline| !pipeline["decisions"].as_array().unwrap().is_empty());
    assert_eq!(judged["champion"], Value::Null, "the gate in force lets nothing pass: {judged:#}");
    service.stop();
}

#[test]
fn whatever_lies_where_the_settings_were_changes_nothing_and_holds_nobody_up() {
    let (world, service) = started(&settings());
    let (before, path) = (digest(&service), world.path("tidegate.toml"));
    let pipe = |at: &std::path::Path| assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
    let check = |expected: &str, make: &dyn Fn(&std::path::Path)| {
        make(&world.path("odd"));
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(world.path("odd"), &path).unwrap();
        until(&service, expected, |settings| says(settings, "tidegate.toml`") && says(settings, expected));
        assert_eq!(world.run(["reload"]).code, Some(2), "it is answered");
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
        }
        edit(&world, &settings());
        until(&service, "right again", |settings| settings["refused"].is_null());
    };
    // Nobody ever writes into the pipe.
    check("it is no plain file", &pipe);
    check("symbolic links", &|odd| std::os::unix::fs::symlink("tidegate.toml", odd).unwrap());
    check("has 1099511627776 bytes", &|odd| std::fs::File::create(odd).unwrap().set_len(1 << 40).unwrap());
    check("not UTF-8", &|odd| std::fs::write(odd, [0xff, 0xfe]).unwrap());
    check("Is a directory", &|odd| std::fs::create_dir(odd).unwrap());
    // A component that is a pipe holds up nobody either.
    std::fs::remove_file(world.path("plugins/range.wasm")).unwrap();
    pipe(&world.path("plugins/range.wasm"));
    let reload = world.run(["plugin", "reload", "range"]);
    assert!(reload.stdout.contains("no plain file") || reload.stderr.contains("no plain file"), "{reload:?}");
    assert_eq!(digest(&service), before);
    append(&world, &lines(400, 20));
    service.until("harbour", "rows go on coming in", |pipeline| pipeline["rows"] == 420);
    service.stop();
}
