//! Requests of a guest over an egress that answers from a script and keeps what it was handed.

use std::collections::VecDeque;
use std::sync::Mutex;

use tidegate_vocab::limits::{PluginLimits, SharedLimits};
use tidegate_vocab::{SimulatedClock, Timestamp};

use super::*;
use crate::egress::Egress;
use crate::grants::{Grants, HttpGrant, NoInputs, PluginSettings, SecretGrant};
use crate::limiter::Budget;
use crate::ticker::monotonic_now;

/// Answers in order; a request without an answer panics, as a broken implementation might.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Answer, EgressError>>>,
    sent: Mutex<Vec<Exchange>>,
}

impl Egress for Script {
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError> {
        self.sent.lock().unwrap().push(exchange.clone());
        self.answers.lock().unwrap().pop_front().expect("an answer is left in the script")
    }
}

fn grant(host: &str, methods: &[&str], path: &str) -> HttpGrant {
    HttpGrant { host: host.into(), port: 443, methods: methods.iter().map(|method| (*method).to_owned()).collect(), path: path.into() }
}

fn state(answers: Vec<Result<Answer, EgressError>>) -> (HostState, Arc<Script>) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into()), ..Script::default() });
    let secret = SecretGrant {
        name: "key".into(),
        header: "authorization".into(),
        host: "a.example".into(),
        path: "/in/".into(),
        value: SecretValue::new("Bearer 0123456789").unwrap(),
        from: "env:KEY".into(),
    };
    let http = vec![grant("a.example", &["GET", "POST"], "/in/"), grant("b.example", &["GET"], "/")];
    let limits = PluginLimits { egress_bytes_max: 100, ..PluginLimits::ALERTER };
    let settings = PluginSettings {
        config: serde_json::json!({}),
        grants: Grants { http, secrets: vec![secret], ..Grants::default() },
        limits,
        inputs: Arc::new(NoInputs),
        egress: Arc::clone(&script) as _,
        clock: Arc::new(SimulatedClock::new(Timestamp(0))),
        log: Arc::new(|_| {}),
    };
    let mut state = HostState::new(
        &"web".parse().unwrap(),
        &settings,
        Arc::new([]),
        Arc::default(),
        Budget::new(&SharedLimits::DEFAULT).place().unwrap(),
        false,
    );
    state.start_call(monotonic_now());
    (state, script)
}

fn request(method: &str, url: &str, secret: Option<&str>) -> Request {
    let header = Header { name: "Cookie".into(), value: "c=1".into() };
    Request { method: method.into(), url: url.into(), headers: vec![header], body: Vec::new(), secret: secret.map(str::to_owned) }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Answer, EgressError> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Answer { status, headers, body: body.into() })
}

/// The failure of the one request that is made.
fn failure(answers: Vec<Result<Answer, EgressError>>, request: Request) -> (Failure, usize) {
    let (mut state, script) = state(answers);
    let failure = state.send(request).unwrap().unwrap_err();
    let sent = script.sent.lock().unwrap().len();
    (failure, sent)
}

#[test]
fn a_granted_request_is_answered_and_its_secret_does_not_come_back() {
    let echo = answer(201, &[("x-seen", "Bearer 0123456789")], r#"{"key":"0123456789"}"#);
    let (mut state, script) = state(vec![echo]);
    let response = state.send(request("post", "https://a.example/in/x?y=1", Some("key"))).unwrap().unwrap();
    assert_eq!((response.status, response.body), (201, br#"{"key":"[redacted]"}"#.to_vec()));
    assert_eq!(response.headers[0].value, "[redacted]");
    let sent = script.sent.lock().unwrap();
    assert_eq!(format!("{:?}", sent[0]), "POST https://a.example:443/in/x?y=1");
    assert_eq!(sent[0].headers[1], ("authorization".to_owned(), "Bearer 0123456789".to_owned()));
    assert_eq!(sent[0].answer_bytes_max, 100);
}

#[test]
fn what_is_not_granted_is_not_sent() {
    for (method, url, secret, expected) in [
        ("PUT", "https://a.example/in/", None, r#"methods = ["PUT"], path = "/in/" }]`"#),
        ("GET", "https://c.example/", None, r#"{ host = "c.example", port = 443, methods = ["GET"], path = "/" }]`"#),
        ("GET", "https://a.example/in/", Some("other"), r#"{ name = "other", header"#),
        ("GET", "https://b.example/", Some("key"), "bound to `a.example/in/`"),
        ("GET", "ftp://b.example/", None, "scheme `ftp`"),
    ] {
        let (failure, sent) = failure(Vec::new(), request(method, url, secret));
        assert!(failure.message.contains(expected) && !failure.retryable, "{}", failure.message);
        assert_eq!(sent, 0, "{url}");
    }
}

#[test]
fn a_redirect_is_a_request_of_its_own() {
    let to = |place: &str| answer(302, &[("location", place)], "");
    let (mut state, script) = state(vec![to("next"), to("https://b.example/"), answer(200, &[], "done")]);
    let response = state.send(request("GET", "https://a.example/in/x", Some("key"))).unwrap().unwrap();
    assert_eq!(response.body, b"done");
    let names = |exchange: &Exchange| exchange.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let sent = script.sent.lock().unwrap();
    assert_eq!(names(&sent[1]), ["cookie", "authorization"], "the same place");
    assert_eq!(names(&sent[2]), [""; 0], "another place learns neither the secret nor who asks");
}

#[test]
fn a_redirect_to_what_is_not_granted_is_denied_with_its_line() {
    for (place, expected) in [
        ("https://169.254.169.254/latest", r#"host = "169.254.169.254", port = 443, methods = ["GET"], path = "/latest""#),
        ("/out/", r#"host = "a.example", port = 443, methods = ["GET"], path = "/out/""#),
        ("http://a.example/in/", "from https"),
        ("file:///etc/passwd", "scheme `file`"),
    ] {
        let (failure, sent) = failure(vec![answer(301, &[("location", place)], "")], request("GET", "https://a.example/in/x", None));
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert_eq!((failure.code, sent), (DENIED, 1));
    }
}

#[test]
fn redirects_end_and_those_of_a_post_are_the_guests() {
    let again = || answer(307, &[("location", "/in/x")], "");
    let (ended, sent) = failure((0..20).map(|_| again()).collect(), request("GET", "https://a.example/in/x", None));
    assert!(ended.message.contains("after 5 redirects"), "{}", ended.message);
    assert_eq!(sent, 6);
    let (mut state, _) = state(vec![answer(303, &[("location", "/in/seen")], "")]);
    assert_eq!(state.send(request("POST", "https://a.example/in/x", None)).unwrap().unwrap().status, 303);
}

#[test]
fn bytes_are_counted_over_the_call() {
    let half = || answer(200, &[], &"x".repeat(60));
    let (mut state, script) = state(vec![half(), half(), half()]);
    state.send(request("GET", "https://b.example/", None)).unwrap().unwrap();
    let error = state.send(request("GET", "https://b.example/", None)).unwrap_err();
    assert_eq!(error.downcast_ref::<LimitHit>().unwrap().limit, "egress_bytes_max");
    assert_eq!(script.sent.lock().unwrap()[1].answer_bytes_max, 40);
    state.start_call(monotonic_now());
    state.send(request("GET", "https://b.example/", None)).unwrap().unwrap();
    let mut large = request("POST", "https://a.example/in/", None);
    large.body = vec![0; 41];
    assert!(state.send(large).unwrap_err().downcast_ref::<LimitHit>().is_some(), "nothing that is too large is sent");
    assert_eq!(script.sent.lock().unwrap().len(), 3);
}

#[test]
fn what_goes_wrong_on_the_way_is_the_guests_to_handle() {
    for (error, retryable, expected) in [
        (EgressError::TimedOut { within_ms: 900 }, true, "no whole answer within 900 ms"),
        (EgressError::Failed { message: "connection refused".into(), retryable: true }, true, "connection refused"),
        (
            EgressError::Forbidden { message: "10.0.0.1 is private".into(), address: "10.0.0.1".into() },
            false,
            "10.0.0.1 is private: that is not",
        ),
    ] {
        let (failure, _) = failure(vec![Err(error)], request("GET", "https://b.example/", None));
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert_eq!(failure.retryable, retryable, "{expected}");
    }
    let (failure, _) = failure(Vec::new(), request("GET", "https://b.example/", None));
    assert!(failure.message.contains("broke off inside the host"), "{}", failure.message);
}
