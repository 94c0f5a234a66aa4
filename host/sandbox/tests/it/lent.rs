//! What a guest is lent, and what it is told when it is lent nothing; inputs and a way out that wait, repeat or refuse.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tidegate_sandbox::{
    Answer, CallError, Egress, EgressError, Exchange, HttpGrant, Input, InputError, Inputs, LogLevel, PluginKind, PluginSettings,
};

use crate::contained::use_it;
use crate::guest::{Guest, sandbox, settings};

/// A source that opens and reads the input `weather` in `open`; a failure of it becomes its own.
pub fn reading(bytes: u32) -> Guest {
    let mut guest = Guest::new(PluginKind::Source);
    guest.imports = r#"(import "tidegate:plugin/inputs@0.1.0" "open" (func $open (param i32 i32 i32)))
        (import "tidegate:plugin/inputs@0.1.0" "[method]input.read" (func $read (param i32 i64 i32 i32)))"#
        .into();
    guest.fields = r#"(data (i32.const 128) "weather")"#.into();
    guest.first = format!(
        "(call $open (i32.const 128) (i32.const 7) (i32.const 1024))
         (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 1024))))
         (call $read (i32.load (i32.const 1032)) (i64.const 0) (i32.const {bytes}) (i32.const 2048))
         {}",
        guest.first
    );
    guest
}

/// An input whose reads wait until the test is over.
#[derive(Clone)]
pub struct Wedged(Arc<Mutex<Receiver<()>>>);

impl Inputs for Wedged {
    fn entries(&self, _name: &str) -> Result<Vec<String>, InputError> {
        Ok(Vec::new())
    }
    fn open(&self, _entry: &str) -> Result<Box<dyn Input>, InputError> {
        Ok(Box::new(self.clone()))
    }
}

impl Input for Wedged {
    fn byte_count(&self) -> Result<u64, InputError> {
        Ok(0)
    }
    fn generation(&self) -> Result<String, InputError> {
        Ok(String::new())
    }
    fn read(&self, _offset: u64, _count: u32) -> Result<Vec<u8>, InputError> {
        let _ = self.0.lock().unwrap().recv();
        Ok(Vec::new())
    }
}

pub fn wedged() -> (Sender<()>, Wedged) {
    let (send, receive) = channel();
    (send, Wedged(Arc::new(Mutex::new(receive))))
}

/// A way out that gives every request the same answer, and counts them.
pub struct Always {
    pub answer: Answer,
    pub sent: Mutex<Vec<Exchange>>,
}

impl Egress for Always {
    fn send(&self, exchange: &Exchange) -> Result<Answer, EgressError> {
        self.sent.lock().unwrap().push(exchange.clone());
        Ok(self.answer.clone())
    }
}

/// An alerter that sends the same request `times` times and does not look at the answers.
pub fn sending(times: u32) -> Guest {
    let mut guest = Guest::new(PluginKind::Alerter);
    guest.imports =
        r#"(import "tidegate:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#.into();
    guest.fields = r#"(data (i32.const 128) "POSThttps://a.example/hook")
        (func $again (param $i i32) (loop $more
          (call $send (i32.const 128) (i32.const 4) (i32.const 132) (i32.const 22) ZEROS (i32.const 2048))
          (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i))))"#
        .replace("ZEROS", &"(i32.const 0)".repeat(7));
    guest.main = format!("(call $again (i32.const {times})) (i32.const 1024)");
    guest
}

/// Lets an alerter send to `a.example`, where `body` comes back.
pub fn answered(settings: &mut PluginSettings, body: &[u8]) -> Arc<Always> {
    let answer = Answer { status: 200, headers: Vec::new(), body: body.to_vec() };
    let way_out = Arc::new(Always { answer, sent: Mutex::new(Vec::new()) });
    settings.egress = Arc::clone(&way_out) as _;
    settings.grants.http = vec![HttpGrant { host: "a.example".into(), port: 443, methods: vec!["POST".into()], path: "/".into() }];
    way_out
}

#[test]
fn a_denied_input_prints_the_line_that_would_grant_it() {
    let (mut settings, lines) = settings(PluginKind::Source);
    settings.grants.inputs.insert("storms".into());
    let error = use_it(&sandbox(), &reading(10), &settings).unwrap_err();
    let line = r#"[plugin.test.grant] inputs = ["storms", "weather"]"#;
    let CallError::Refused { step: "open", failure, .. } = &error else { panic!("{error}") };
    assert!(failure.message.contains(line), "{error}");
    assert_eq!(failure.grant.as_deref(), Some(line));
    assert!(error.hint().unwrap().contains(line));
    assert!(lines.lock().unwrap().iter().any(|logged| logged.message.contains(line) && logged.level == LogLevel::Warn));
}

#[test]
fn a_denied_clock_stands_still_and_is_logged() {
    let mut guest = Guest::new(PluginKind::Alerter);
    guest.imports = r#"(import "tidegate:plugin/clock@0.1.0" "now-us" (func $now (result i64)))"#.into();
    guest.main = "(if (i64.ne (call $now) (i64.const 42)) (then (unreachable))) (i32.const 1024)".into();
    let (mut settings, lines) = settings(PluginKind::Alerter);
    assert!(use_it(&sandbox(), &guest, &settings).is_err());
    assert!(lines.lock().unwrap().iter().any(|line| line.message.contains("[plugin.test.grant] clock = true")));
    settings.grants.clock = true;
    use_it(&sandbox(), &guest, &settings).unwrap();
}

#[test]
fn a_request_is_denied_with_its_line() {
    let mut guest = Guest::new(PluginKind::Alerter);
    guest.imports =
        r#"(import "tidegate:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#.into();
    guest.fields = r#"(data (i32.const 128) "POSThttps://a.example:8443/hooks/x?y")"#.into();
    let zeros = "(i32.const 0)".repeat(7);
    // The failure of a request and that of a notification lie at the same place in their results.
    guest.main =
        format!("(call $send (i32.const 128) (i32.const 4) (i32.const 132) (i32.const 32) {zeros} (i32.const 1024)) (i32.const 1024)");
    let (settings, _) = settings(PluginKind::Alerter);
    let error = use_it(&sandbox(), &guest, &settings).unwrap_err();
    let line = r#"[plugin.test.grant] http = [{ host = "a.example", port = 8443, methods = ["POST"], path = "/hooks/x" }]"#;
    assert!(error.hint().unwrap_or_default().contains(line), "{error} {:?}", error.hint());
}
