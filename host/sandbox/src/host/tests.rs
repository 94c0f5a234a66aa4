//! Every denial in one table: what a guest does, and the line that would grant it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tidegate_vocab::limits::{PluginLimits, SharedLimits};
use tidegate_vocab::{SimulatedClock, Timestamp};

use super::shared::{clock::Host as _, http, inputs::Host as _};
use super::*;
use crate::columns::{self, ColumnGrant};
use crate::egress::{Answer, EgressError, Exchange, SecretValue};
use crate::grants::{HttpGrant, LogLine, NoInputs, SecretGrant};
use crate::limiter::Budget;

/// A way out whose every host leads into the network.
struct Inwards;

impl Egress for Inwards {
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError> {
        let message = format!("`{}` leads to `10.0.0.7`, which is in a private network", exchange.host);
        Err(EgressError::Forbidden { message, address: "10.0.0.7".to_owned() })
    }
}

fn http(host: &str, port: u16) -> HttpGrant {
    HttpGrant { host: host.into(), port, methods: vec!["GET".into()], path: "/".into() }
}

/// What the guest of these tests was granted, next to nothing.
fn grants() -> Grants {
    let secret = SecretGrant {
        name: "key".into(),
        header: "x-key".into(),
        host: "a.example".into(),
        path: "/in/".into(),
        value: SecretValue::new("0123456789").unwrap(),
        from: "env:KEY".into(),
    };
    Grants {
        inputs: BTreeSet::from(["storms".to_owned()]),
        clock: false,
        http: vec![http("a.example", 80), http("b.example", 443)],
        secrets: vec![secret],
        columns: Some(ColumnGrant { read: BTreeSet::from(["heat".to_owned()]), write: BTreeSet::new() }),
    }
}

fn state() -> (HostState, Arc<Mutex<Vec<LogLine>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let settings = PluginSettings {
        config: serde_json::json!({}),
        grants: grants(),
        limits: PluginLimits::SOURCE,
        inputs: Arc::new(NoInputs),
        egress: Arc::new(Inwards),
        clock: Arc::new(SimulatedClock::new(Timestamp(7))),
        log: Arc::new(move |line| sink.lock().unwrap().push(line)),
    };
    let place = Budget::new(&SharedLimits::DEFAULT).place().unwrap();
    let mut state = HostState::new(&"web".parse().unwrap(), &settings, Arc::new([]), Arc::default(), place, false);
    state.start_call(monotonic_now());
    (state, lines)
}

fn send(state: &mut HostState, method: &str, url: &str, secret: Option<&str>) -> Option<String> {
    let (method, url, secret) = (method.to_owned(), url.to_owned(), secret.map(str::to_owned));
    let request = http::Request { method, url, headers: Vec::new(), body: Vec::new(), secret };
    Some(http::Host::send(state, request).unwrap().unwrap_err().message)
}

type Act = fn(&mut HostState) -> Option<String>;

const HTTP: &str = r#"http = [{ host = "a.example", port = 80, methods = ["GET"], path = "/" }, { host = "b.example", port = 443, methods = ["GET"], path = "/" }, "#;
const SECRETS: &str = r#"secrets = [{ name = "key", header = "x-key", host = "a.example", path = "/in/", from = "env:KEY" }, "#;

#[test]
fn every_denial_names_the_line_that_would_grant_it() {
    let table: [(&str, Act, String); 12] = [
        ("the clock", |state| state.now_us().map(|_| None).unwrap(), "clock = true".into()),
        (
            "an input",
            |state| state.open("weather/1".into()).unwrap().err().map(|it| it.message),
            r#"inputs = ["storms", "weather"]"#.into(),
        ),
        (
            "a list of inputs",
            |state| state.entries("weather".into()).unwrap().err().map(|it| it.message),
            r#"inputs = ["storms", "weather"]"#.into(),
        ),
        (
            "another host",
            |state| send(state, "GET", "https://c.example/x", None),
            format!(r#"{HTTP}{{ host = "c.example", port = 443, methods = ["GET"], path = "/x" }}]"#),
        ),
        (
            "another method",
            |state| send(state, "POST", "http://a.example/", None),
            format!(r#"{HTTP}{{ host = "a.example", port = 80, methods = ["POST"], path = "/" }}]"#),
        ),
        (
            "a name that leads inwards",
            |state| send(state, "GET", "https://b.example/", None),
            format!(r#"{HTTP}{{ host = "10.0.0.7", port = 443, methods = ["GET"], path = "/" }}]"#),
        ),
        (
            "a secret",
            |state| send(state, "GET", "https://b.example/", Some("other")),
            format!(r#"{SECRETS}{{ name = "other", header = "authorization", host = "b.example", path = "/", from = "env:NAME" }}]"#),
        ),
        (
            "a secret to another host",
            |state| send(state, "GET", "https://b.example/", Some("key")),
            format!(r#"{SECRETS}{{ name = "key", header = "x-key", host = "b.example", path = "/", from = "env:KEY" }}]"#),
        ),
        (
            "a secret without TLS",
            |state| send(state, "GET", "http://a.example/in/x", Some("key")),
            format!(r#"{HTTP}{{ host = "a.example", port = 443, methods = ["GET"], path = "/in/x" }}]"#),
        ),
        ("an edit", |state| Some(state.deny_edit("heat").message), r#"columns = { read = ["heat"], write = ["heat"] }"#.into()),
        (
            "another column",
            |state| state.refuse_added("cold").unwrap().map(|it| it.message),
            r#"columns = { read = ["heat"], write = ["cold"] }"#.into(),
        ),
        ("a column that it misses", missed, r#"columns = { read = ["heat", "rain"] }"#.into()),
    ];
    for (what, act, key) in table {
        let (mut state, lines) = state();
        let told = act(&mut state);
        let line = format!("[plugin.web.grant] {key}");
        assert_eq!(state.denied.as_deref(), Some(line.as_str()), "{what}");
        let logged = lines.lock().unwrap().iter().any(|logged| logged.level == LogLevel::Warn && logged.message.contains(&line));
        assert!(logged, "{what}: {:?}", lines.lock().unwrap());
        assert!(told.is_none_or(|told| told.contains(&line)), "{what}");
        // What stands behind the header of the table can be pasted as it is.
        toml::from_str::<toml::Table>(&key).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

fn missed(state: &mut HostState) -> Option<String> {
    let text: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["1"]));
    let rows = Batch::new(vec![("rain".into(), Role::Label, text)]).unwrap();
    let grants = grants();
    state.missed_column(Lens::new(&grants, columns::cleaners), &rows, "there is no column `rain`");
    None
}

#[test]
fn what_no_line_grants_says_what_to_do_instead() {
    for (url, expected) in [
        ("ftp://a.example/", "expected `http` or `https`"),
        ("https://user:word@a.example/", "use a granted secret instead"),
        ("a.example", "is not a whole address"),
    ] {
        let (mut state, _) = state();
        let said = send(&mut state, "GET", url, None).unwrap();
        assert!(said.contains(expected) && state.denied.is_none(), "{said}");
    }
}
