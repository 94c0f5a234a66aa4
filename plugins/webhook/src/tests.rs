//! The alerter over answers that the test has queued.

use serde_json::{Value, json};
use tidegate_plugin::http::{Request, Response};
use tidegate_plugin::testing;
use tidegate_plugin::{Alert, Alerter, Failure};

use crate::Webhook;

const URL: &str = "https://a.example/hooks/rain?token=x";

fn plugin(more: Value) -> Webhook {
    let mut config = json!({ "url": URL });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Webhook::configure(testing::config(&config.to_string()).unwrap()).unwrap()
}

fn alert() -> Alert {
    let (key, severity, title) = ("rain/error".into(), "warning".into(), "errors \"rose\" {cause}".into());
    let (cause, model, link) = ("from 0.20\nto 0.31".into(), "rain".into(), "http://h/7".into());
    Alert { key, severity, title, cause, model, link, fired_at_us: 1_500_000, resolved: false }
}

/// Sends one alert and gives what came of it, and the request.
fn notify(plugin: &Webhook, status: u16, headers: &[(&str, &str)], body: &str) -> (Result<Option<String>, Failure>, Request) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    testing::answer(Response { status, headers, body: body.into() });
    let answered = plugin.notify(&alert());
    (answered, testing::requests().remove(0))
}

fn posted(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn an_alert_is_posted_as_json_with_its_secret_by_name() {
    let plugin = plugin(json!({ "secret": "hook-key", "headers": { "x-team": "rain" } }));
    let (answered, request) = notify(&plugin, 204, &[], "");
    assert_eq!(answered.unwrap(), None);
    assert_eq!((request.method.as_str(), request.url.as_str(), request.secret.as_deref()), ("POST", URL, Some("hook-key")));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.headers, [header("x-team", "rain"), header("content-type", "application/json")]);
    let expected = json!({
        "key": "rain/error", "severity": "warning", "state": "fired", "title": "errors \"rose\" {cause}", "cause": "from 0.20\nto 0.31",
        "model": "rain", "link": "http://h/7", "fired_at_us": 1_500_000,
    });
    assert_eq!(posted(&request), expected);
}

#[test]
fn a_body_of_ones_own_is_filled_in_and_cannot_be_broken_out_of() {
    let body = json!({ "text": "*{title}* {cause} {x: }", "blocks": [{ "type": "ä{state}{model}" }, 7, null], "{title}": "{" });
    let (answered, request) = notify(&plugin(json!({ "body": body })), 200, &[], "ok");
    assert!(answered.is_ok());
    let text = "*errors \"rose\" {cause}* from 0.20\nto 0.31 {x: }";
    assert_eq!(posted(&request), json!({ "text": text, "blocks": [{ "type": "äfiredrain" }, 7, null], "{title}": "{" }));
}

#[test]
fn the_other_sides_name_is_kept() {
    let plugin = plugin(json!({ "reference": "/data/id" }));
    for (body, expected) in
        [(r#"{"data":{"id":"a-7"}}"#, Some("a-7")), (r#"{"data":{"id":7}}"#, Some("7")), (r#"{"data":{}}"#, None), ("thank you", None)]
    {
        assert_eq!(notify(&plugin, 201, &[], body).0.unwrap().as_deref(), expected, "{body}");
    }
}

#[test]
fn a_refusal_says_whether_trying_again_helps() {
    for (status, headers, retry_after_ms) in [
        (429, &[("Retry-After", "7")][..], Some(7_000)),
        (503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")][..], Some(30_000)),
        (500, &[("retry-after", "99999999999999999999")][..], Some(30_000)),
        (502, &[("retry-after", "9999999999")][..], Some(86_400_000)),
        (408, &[][..], Some(30_000)),
        (400, &[("retry-after", "7")][..], None),
        (404, &[][..], None),
        (302, &[("location", "/there")][..], None),
    ] {
        let failure = notify(&plugin(json!({})), status, headers, "no").0.unwrap_err();
        assert_eq!((failure.code, failure.retryable, failure.retry_after_ms), (status, retry_after_ms.is_some(), retry_after_ms));
        let expected = format!("`https://a.example/hooks/rain` answered {status}: no");
        assert!(failure.message.starts_with(&expected), "{}", failure.message);
    }
    let failure = notify(&plugin(json!({})), 401, &[], &"x".repeat(9_000)).0.unwrap_err();
    assert!(failure.message.ends_with("xx; check `secret` and the value behind it") && failure.message.len() < 400);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (more, pointer) in [
        (json!({ "url": "a.example/hook" }), "/url"),
        (json!({ "headers": { "Content-Type": "text/plain" } }), "/headers"),
        (json!({ "body": { "a/b": ["{titel}"] } }), "/body/a~1b/0"),
    ] {
        let mut config = json!({ "url": URL });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let issues = Webhook::configure(testing::config(&config.to_string()).unwrap()).err().unwrap();
        assert_eq!(issues.0[0].pointer, pointer, "{more}");
    }
}
