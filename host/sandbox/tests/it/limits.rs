//! One guest a limit, which exceeds it: the exact error, and that the next call works.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tidegate_sandbox::{Alert, CallError, Input, InputError, Inputs, LogLevel, PluginKind, PluginSettings, Sandbox, Severity};
use tidegate_vocab::Timestamp;

use crate::guest::{Guest, SPIN, batch, sandbox, sandbox_config, settings};

const ROWS: &str = "tidegate:plugin/rows@0.1.0";

/// What a limit's test sees of an error.
fn seen(error: &CallError) -> (&'static str, String) {
    match error {
        CallError::OverLimit { step, limit, .. } => (step, (*limit).to_owned()),
        CallError::Trapped { step, why, .. } => (step, format!("trap: {why}")),
        CallError::Refused { step, failure, .. } => (step, format!("refused: {failure}")),
        CallError::Incompatible { step, wants, offers, .. } => (step, format!("expected {wants}, found {offers}")),
    }
}

/// Runs a cleaner that misbehaves on two rows and not on one.
#[track_caller]
fn check_clean(guest: &Guest, limit: impl FnOnce(&mut PluginSettings), expected: &str) {
    let sandbox = sandbox();
    let (mut settings, _) = settings(PluginKind::Cleaner);
    limit(&mut settings);
    let mut cleaner = guest.load(&sandbox).cleaner(&settings).unwrap();
    for _ in 0..2 {
        assert_eq!(cleaner.clean(&batch(1)).unwrap().kept, [0]);
        let error = cleaner.clean(&batch(2)).unwrap_err();
        let (step, found) = seen(&error);
        assert_eq!(step, "clean", "{error}");
        assert!(found.contains(expected), "{error}");
        if let CallError::OverLimit { limit, .. } = error {
            assert!(error.hint().unwrap().contains(&format!("raise `[plugin.test] {limit}`")), "{:?}", error.hint());
        }
    }
    assert_eq!(cleaner.clean(&batch(1)).unwrap().kept, [0]);
    drop(cleaner);
    assert_eq!(sandbox.memory_bytes(), 0);
}

#[test]
fn memory_of_one_instance() {
    let body = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) (unreachable)";
    check_clean(&Guest::cleaner("", body), |settings| settings.limits.memory_bytes_max = 1 << 20, "memory_bytes_max");
}

#[test]
fn entries_of_a_table() {
    let mut guest = Guest::cleaner(
        "",
        "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)))) (unreachable)",
    );
    guest.fields = "(table $t 1 funcref)".into();
    check_clean(&guest, |settings| settings.limits.table_entries_max = 1000, "table_entries_max");
}

#[test]
fn bytes_handed_to_a_host_function() {
    let import = format!(r#"(import "{ROWS}" "[method]editor.keep" (func $keep (param i32 i32 i32 i32 i32 i32 i32)))"#);
    let body = "(call $keep (local.get 1) (i32.const 0) (i32.const 0) (i32.const 40000) (i32.const 0) (i32.const 0) (i32.const 2048))";
    check_clean(&Guest::cleaner(&import, body), |settings| settings.limits.host_call_bytes_max = 20_000, "host_call_bytes_max");
}

#[test]
fn resources_alive_at_once() {
    let import = format!(r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))"#);
    let body = "(loop $more (drop (call $builder (i32.const 0) (i32.const 0))) (br $more))";
    check_clean(&Guest::cleaner(&import, body), |settings| settings.limits.resources_max = 20, "resources_max");
}

/// A cleaner that makes a batch of one f64 column, `columns` times, and pushes 100 rows; it dies of a data error.
fn builder_guest(columns: u32) -> Guest {
    let import = format!(
        r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))
           (import "{ROWS}" "[method]builder.push-f64" (func $push (param i32 i32 i32 i32 i32 i32 i32)))"#
    );
    let body = format!(
        "(local.set $i (call $builder (i32.const 256) (i32.const {columns})))
         (call $push (local.get $i) (i32.const 0) (i32.const 4096) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (unreachable)))"
    );
    let mut guest = Guest::cleaner(&import, &body);
    // A column is name, dtype and role (address and length each) and a flag: 28 bytes.
    let words = r#"(data (i32.const 128) "abcdef64feature")"#;
    let column = |n: u32| {
        format!(
            r#"(data (i32.const {}) "\8{n}\00\00\00\01\00\00\00\85\00\00\00\03\00\00\00\88\00\00\00\07\00\00\00\00\00\00\00")"#,
            256 + 28 * n
        )
    };
    guest.fields = format!("{words} {}", (0..columns).map(column).collect::<String>());
    guest
}

#[test]
fn a_batch_within_the_limits_is_no_error() {
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = builder_guest(1).load(&sandbox()).cleaner(&settings).unwrap();
    assert!(cleaner.clean(&batch(2)).is_ok());
}

#[test]
fn rows_of_a_batch() {
    check_clean(&builder_guest(1), |settings| settings.limits.output_rows_max = 99, "output_rows_max");
}

#[test]
fn bytes_of_a_batch() {
    check_clean(&builder_guest(1), |settings| settings.limits.output_bytes_max = 700, "output_bytes_max");
}

#[test]
fn columns_of_a_batch() {
    check_clean(&builder_guest(3), |settings| settings.limits.metadata_entries_max = 2, "metadata_entries_max");
}

#[test]
fn a_guest_that_stops_itself_is_a_trap() {
    let calm = |_: &mut PluginSettings| {};
    check_clean(&Guest::cleaner("", "(unreachable)"), calm, "trap: it stopped itself");
    check_clean(&Guest::cleaner("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), calm, "trap: ");
    let mut deep = Guest::cleaner("", "(drop (call $deep (i32.const 0)))");
    deep.fields = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))".into();
    check_clean(&deep, calm, "trap: its stack overflowed");
    let wild = "(drop (i32.load (i32.const -8)))";
    check_clean(&Guest::cleaner("", wild), calm, "trap: ");
}

#[test]
fn a_failure_is_quoted_and_capped() {
    let body = r#"(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1032) (i32.const 7))
        (i32.store (i32.const 1036) (i32.const 128)) (i32.store (i32.const 1040) (i32.const 40))"#;
    let mut guest = Guest::cleaner("", body);
    guest.fields = r#"(data (i32.const 128) "a\1b[31m\0ab bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")"#.into();
    // Every start configures with a text, which must fit as well.
    check_clean(&guest, |settings| settings.limits.metadata_bytes_max = 16, "refused: a [31m b bbbbbbb…");
}

fn spinner(kind: PluginKind, place: impl FnOnce(&mut Guest)) -> Guest {
    let mut guest = Guest::new(kind);
    place(&mut guest);
    guest
}

/// Every way into a source, cleaner, evaluator or alerter, up to the first error.
fn use_it(sandbox: &Sandbox, guest: &Guest, settings: &PluginSettings) -> Result<(), CallError> {
    let plugin = guest.load(sandbox);
    match guest.kind {
        PluginKind::Source => {
            let mut source = plugin.source(settings)?;
            source.open(None)?;
            source.next(10, 1000).map(drop)
        }
        PluginKind::Cleaner => plugin.cleaner(settings)?.clean(&batch(3)).map(drop),
        PluginKind::Evaluator => {
            let mut evaluator = plugin.evaluator(settings)?;
            evaluator.metrics()?;
            evaluator.evaluate(&batch(3)).map(drop)
        }
        PluginKind::Alerter => plugin.alerter(settings)?.notify(&alert()).map(drop),
    }
}

fn alert() -> Alert {
    let text = || "text".to_owned();
    let (key, title, cause, model, link) = (text(), text(), text(), text(), text());
    Alert { key, severity: Severity::Warning, title, cause, model, link, fired_at: Timestamp(0), resolved: false }
}

#[test]
fn a_guest_that_spins_is_stopped_wherever_it_does() {
    let spin = || SPIN.to_owned();
    let start = |guest: &mut Guest| guest.fields = "(func $start (loop $spin (br $spin))) (start $start)".into();
    let mut cases = vec![];
    for kind in PluginKind::ALL {
        let main = match kind {
            PluginKind::Source => "next",
            PluginKind::Cleaner => "clean",
            PluginKind::Evaluator => "evaluate",
            PluginKind::Alerter => "notify",
        };
        cases.push((spinner(kind, start), "instantiate"));
        cases.push((spinner(kind, |guest| guest.realloc = Some(spin())), "configure"));
        cases.push((spinner(kind, |guest| guest.configure = spin()), "configure"));
        cases.push((spinner(kind, |guest| guest.probe = spin()), "probe"));
        cases.push((spinner(kind, |guest| guest.main = spin()), main));
    }
    cases.push((spinner(PluginKind::Source, |guest| guest.first = spin()), "open"));
    cases.push((spinner(PluginKind::Evaluator, |guest| guest.first = spin()), "metrics"));
    let sandbox = sandbox();
    for (guest, expected) in cases {
        let (mut settings, _) = settings(guest.kind);
        settings.limits.call_ms_max = 100;
        let error = use_it(&sandbox, &guest, &settings).unwrap_err();
        assert_eq!(seen(&error), (expected, "call_ms_max".into()), "{}: {error}", guest.kind);
        settings.limits.call_ms_max = 60_000;
        use_it(&sandbox, &Guest::new(guest.kind), &settings).unwrap();
    }
    assert!(sandbox.ticker_age().as_secs() < 5);
}

#[test]
fn instances_in_one_plugin() {
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.instances_max = 0;
    let error = use_it(&sandbox(), &Guest::new(PluginKind::Cleaner), &settings).unwrap_err();
    assert_eq!(seen(&error), ("instantiate", "instances_max".into()), "{error}");
}

#[test]
fn memory_that_a_guest_begins_with_counts() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.memory_pages = 128;
    let (settings, _) = settings(PluginKind::Cleaner);
    let error = use_it(&sandbox(), &guest, &settings).unwrap_err();
    assert_eq!(seen(&error), ("instantiate", "memory_bytes_max".into()), "{error}");
}

#[test]
fn memory_of_all_instances_together() {
    let mut config = sandbox_config();
    config.limits.memory_bytes_max = 3 << 16;
    let sandbox = Sandbox::new(config).unwrap();
    let (settings, _) = settings(PluginKind::Cleaner);
    let plugin = Guest::new(PluginKind::Cleaner).load(&sandbox);
    let mut held: Vec<_> = (0..3).map(|_| plugin.cleaner(&settings).unwrap()).collect();
    let error = plugin.cleaner(&settings).map(drop).unwrap_err();
    assert_eq!(seen(&error), ("instantiate", "plugins.memory_bytes_max".into()));
    assert!(error.hint().unwrap().contains("`[plugins] memory_bytes_max`"));
    held.pop();
    assert!(plugin.cleaner(&settings).is_ok());
}

#[test]
fn a_log_line_is_cut_and_a_flood_is_dropped_and_counted() {
    let import = r#"(import "tidegate:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let body = "(local.set $i (i32.const 100)) (loop $more (call $log (i32.const 1) (i32.const 128) (i32.const 60))
        (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i)))";
    let mut guest = Guest::cleaner(import, body);
    guest.fields = format!(r#"(data (i32.const 128) "\0a{}")"#, "x".repeat(59));
    let (mut settings, lines) = settings(PluginKind::Cleaner);
    settings.limits.log_line_bytes_max = 20;
    settings.limits.log_call_bytes_max = 100;
    let mut cleaner = guest.load(&sandbox()).cleaner(&settings).unwrap();
    for _ in 0..2 {
        cleaner.clean(&batch(2)).unwrap();
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        let shown = format!(" {}…", "x".repeat(19));
        assert_eq!(
            lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(),
            [&shown[..], &shown, &shown, &shown, "96 more lines were dropped: `log_call_bytes_max` is 100"]
        );
        assert!(lines.iter().all(|line| line.level == LogLevel::Warn && line.plugin.as_str() == "test"));
    }
}

/// A source that opens and reads the input `weather` in `open`; a failure of it becomes its own.
fn reading(bytes: u32) -> Guest {
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
struct Wedged(Arc<Mutex<Receiver<()>>>);

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

fn wedged() -> (Sender<()>, Wedged) {
    let (send, receive) = channel();
    (send, Wedged(Arc::new(Mutex::new(receive))))
}

#[test]
fn a_blocked_host_call_is_stopped_too() {
    let (_until_the_end, input) = wedged();
    let (mut settings, _) = settings(PluginKind::Source);
    settings.inputs = Arc::new(input);
    settings.grants.inputs.insert("weather".into());
    settings.limits.call_ms_max = 200;
    let error = use_it(&sandbox(), &reading(10), &settings).unwrap_err();
    assert_eq!(seen(&error), ("open", "call_ms_max".into()), "{error}");
    settings.limits.host_call_bytes_max = 1000;
    let error = use_it(&sandbox(), &reading(1001), &settings).unwrap_err();
    assert_eq!(seen(&error), ("open", "host_call_bytes_max".into()), "{error}");
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
