//! Plugins that send requests: a source that polls, an alerter that posts, and what stops them.

use std::sync::{Arc, Mutex};

use crate::host::{Ended, World};
use crate::rows::{HEADER, Rows};
use crate::scenarios::BASE;
use crate::server::{Answer, Asked, Server};

const KEY: &str = "Bearer 0123-4567-89ab";

fn days(first_day: u64, count: u64) -> String {
    Rows { first_day, count, seed: first_day + 1, noise: 0.1, flipped: false }.lines()
}

/// The usual settings, with rows from the server on `port`.
fn polling(port: u16, config: &str) -> String {
    let source = format!(r#"source = {{ plugin = "http", config = {{ url = "http://127.0.0.1:{port}/days", {config} }} }}"#);
    let grant = format!(r#"[plugin.http.grant]{}http = [{{ host = "127.0.0.1", port = {port}, path = "/days" }}]{}"#, "\n", "\n\n[store]");
    let files = "[plugin.csv.grant]\ninputs = [\"days\"]\n\n[input.days]\npath = \"input.csv\"\n";
    let settings = BASE.replace(r#"source = { plugin = "csv", config = { input = "days" } }"#, &source).replace(files, "");
    settings.replace("[store]", &grant)
}

/// Serves `text` with an `ETag`, and nothing to those who have it.
fn document(text: &Arc<Mutex<String>>) -> impl Fn(&Asked) -> Answer + Send + 'static {
    let text = Arc::clone(text);
    move |asked| {
        let text = text.lock().unwrap();
        let tag = format!("\"{}\"", text.len());
        if asked.header("if-none-match") == Some(&tag) { (304, vec![], String::new()) } else { (200, vec![("etag", tag)], text.clone()) }
    }
}

#[test]
fn a_document_is_polled_and_sent_only_when_it_changed() {
    let text = Arc::new(Mutex::new(format!("{HEADER}{}", days(0, 30))));
    let server = Server::start(document(&text));
    let world = World::new(&polling(server.port(), r#"format = "csv""#)).lock();
    for (total, conditions) in [(30, vec![None]), (30, vec![Some("\"")]), (50, vec![Some("\"")])] {
        if total == 50 {
            text.lock().unwrap().push_str(&days(30, 20));
        }
        assert_eq!(world.json(&["ingest"])["rows_total"], total);
        let asked = server.asked();
        assert_eq!(asked.len(), conditions.len(), "{asked:?}");
        for (asked, condition) in asked.iter().zip(conditions) {
            assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/days"));
            assert_eq!(asked.header("if-none-match").is_some(), condition.is_some(), "{asked:?}");
            assert_eq!(asked.header("host"), Some(format!("127.0.0.1:{}", server.port()).as_str()));
        }
    }
}

#[test]
fn pages_are_followed_across_runs() {
    let page = |first: u64, count: u64| -> String {
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            format!(r#"{{"day":{},"wind":{},"swell":{},"closed":{}}}"#, cells[0], cells[1], cells[2], cells[3])
        };
        days(first, count).lines().map(row).collect::<Vec<_>>().join(",")
    };
    let server = Server::start(move |asked| {
        let body = match asked.target.as_str() {
            "/days" => format!(r#"{{"rows":[{}],"next":"b"}}"#, page(0, 10)),
            "/days?after=b" => format!(r#"{{"rows":[{}],"next":"c"}}"#, page(10, 10)),
            "/days?after=c" => format!(r#"{{"rows":[{}],"next":null}}"#, page(20, 5)),
            _ => return (404, vec![], "no such page".to_owned()),
        };
        (200, vec![], body)
    });
    let world =
        World::new(&polling(server.port(), r#"format = "json", items = "/rows", pages = { parameter = "after", next = "/next" }"#)).lock();
    assert_eq!(world.json(&["ingest"])["rows_total"], 25);
    assert_eq!(server.asked().len(), 3);
    assert_eq!(world.json(&["ingest"])["rows_total"], 25, "the last page is asked for again, and is as it was");
    assert_eq!(server.asked()[0].target, "/days?after=c");
}

/// A run of `ingest` that fails, and what it said.
fn refused(server: &Server, config: &str) -> String {
    let world = World::new(&polling(server.port(), config)).lock();
    let Ended { code, stderr, .. } = world.run(["ingest"]);
    assert_eq!(code, Some(1), "{stderr}");
    stderr
}

#[test]
fn a_redirect_into_the_network_is_denied_with_the_line_that_would_grant_it() {
    let server = Server::start(|_| (302, vec![("location", "http://169.254.169.254/latest/meta-data".to_owned())], String::new()));
    let stderr = refused(&server, r#"format = "csv""#);
    assert!(stderr.contains("a redirect to `169.254.169.254` is not granted"), "{stderr}");
    assert!(stderr.contains(r#"{ host = "169.254.169.254", port = 80, methods = ["GET"], path = "/latest/meta-data" }]`"#), "{stderr}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_answer_that_is_too_large_names_its_limit() {
    let server = Server::start(|_| (200, vec![], format!("{HEADER}{}", days(0, 1_000))));
    let settings = polling(server.port(), r#"format = "csv""#)
        .replace("[plugin.http.grant]", "[plugin.http]\negress_bytes_max = 2048\n[plugin.http.grant]");
    let ended = World::new(&settings).lock().run(["ingest"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("reached `egress_bytes_max` in step `next`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: raise `[plugin.http] egress_bytes_max`"), "{}", ended.stderr);
}

/// The usual settings, with an alerter that posts to the server on `port` with a secret.
fn posting(port: u16) -> String {
    let alerters = format!(
        r#"alerters = [{{ plugin = "log" }}, {{ plugin = "webhook", config = {{ url = "http://127.0.0.1:{port}/hooks/rain", secret = "hook-key" }} }}]"#
    );
    let grant = format!(
        r#"[plugin.webhook.grant]
http = [{{ host = "127.0.0.1", port = {port}, methods = ["POST"], path = "/hooks/" }}]
secrets = [{{ name = "hook-key", header = "authorization", host = "127.0.0.1", path = "/hooks/", from = "env:HOOK_KEY" }}]

[store]"#
    );
    BASE.replace(r#"alerters = [{ plugin = "log" }]"#, &alerters).replace("[store]", &grant)
}

fn run_with_key(world: &World) -> Ended {
    Ended::of(world.command(["run"]).env("HOOK_KEY", KEY).output().unwrap())
}

#[test]
fn an_alert_is_posted_with_its_secret_which_is_shown_nowhere() {
    let server = Server::start(|asked| (200, vec![], format!("you sent {}", asked.header("authorization").unwrap_or("nothing"))));
    let world = World::new(&posting(server.port())).lock();
    world.write("input.csv", format!("{HEADER}{}", days(0, 1_200)));
    let ended = run_with_key(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("WARN") && !format!("{ended:?}").contains("0123-4567"), "{ended:?}");
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].target.as_str()), (1, "POST", "/hooks/rain"));
    assert_eq!((asked[0].header("authorization"), asked[0].header("content-type")), (Some(KEY), Some("application/json")));
    let alert: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((&alert["title"], &alert["state"]), (&"v1 of `harbour` is champion".into(), &"fired".into()));
}

#[test]
fn an_alert_that_is_refused_does_not_stop_the_run_and_its_echo_is_redacted() {
    let server = Server::start(|asked| (401, vec![], format!("bad key {}", asked.header("authorization").unwrap_or("nothing"))));
    let world = World::new(&posting(server.port())).lock();
    world.write("input.csv", format!("{HEADER}{}", days(0, 1_200)));
    let ended = run_with_key(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("alert not sent") && ended.stderr.contains("answered 401: bad key [redacted]"), "{}", ended.stderr);
    assert!(!format!("{ended:?}").contains("0123-4567"), "{ended:?}");

    let without = world.run(["run"]);
    assert_eq!(without.code, Some(2), "{without:?}");
    assert!(without.stderr.contains("could not be read from the environment variable `HOOK_KEY`: it is not set"), "{}", without.stderr);
}

#[test]
fn answers_are_timed_where_a_rule_asks_for_it() {
    let rule = "[[pipeline.harbour.gate.rule]]\nid = \"fast\"\nmetric = \"latency_p95\"\ntest = \"upper-bound\"\nbound = 1000.0\n";
    let settings = BASE.replace(r#"config = { positive = "1" } }]"#, r#"config = { positive = "1" } }, { plugin = "latency" }]"#) + rule;
    let world = World::new(&settings);
    world.write("input.csv", format!("{HEADER}{}", days(0, 1_200)));
    let run = world.json(&["run"]).to_string();
    assert!(run.contains("latency_p95"), "{run}");
}
