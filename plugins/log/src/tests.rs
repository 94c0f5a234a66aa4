//! The alerter's lines.

use tidegate_plugin::testing;
use tidegate_plugin::{Alert, Alerter};

use crate::Log;

#[track_caller]
fn check(severity: &str, title: &str, link: &str, resolved: bool, expected: &str) {
    let (key, cause, model) = ("rain/error".into(), "errors rose from 0.20 to 0.31".into(), "rain".into());
    let (severity, title, link, fired_at_us) = (severity.into(), title.into(), link.into(), 1_500_000);
    Log.notify(&Alert { key, severity, title, cause, model, link, fired_at_us, resolved }).unwrap();
    assert_eq!(testing::log_lines(), [expected]);
}

#[test]
fn an_alert_is_one_line_at_the_level_of_its_severity() {
    let rest = "[rain/error] cause: errors rose from 0.20 to 0.31 model: rain";
    check("critical", "it drifts", "", false, &format!("error: critical fired: it drifts {rest} fired at: 1500000 us"));
    check("warning", "two\nlines", "", false, &format!("warn: warning fired: two lines {rest} fired at: 1500000 us"));
    check("info", "t", "http://h/7", true, &format!("info: info resolved: t {rest} link: http://h/7 fired at: 1500000 us"));
    check("worse", "t", "", false, &format!("warn: worse fired: t {rest} fired at: 1500000 us"));
}

#[test]
fn there_is_nothing_to_configure() {
    assert!(Log::configure(testing::config("{}").unwrap()).is_ok());
    assert!(testing::config::<crate::Config>(r#"{"level":"info"}"#).is_err());
}
