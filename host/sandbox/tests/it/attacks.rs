//! Ways in that were tried against this host. Each of them once worked, or was close to it; the comment says how.

use std::fmt::Write as _;
use std::sync::Arc;

use tidegate_sandbox::{CallError, PluginKind, PluginSettings};

use crate::contained::{check_any, check_clean};
use crate::guest::{Guest, batch, name, sandbox, settings};
use crate::lent;

const ROWS: &str = "tidegate:plugin/rows@0.1.0";

#[track_caller]
fn check_manifest(config: &str, expected: &str) {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.manifest = format!("name = 'test'\nkind = 'cleaner'\nversion = '0.1.0'\ninterface = '0.1'\n{config}");
    match sandbox().load(&name(), &guest.bytes()) {
        Ok(plugin) => {
            assert_eq!(expected, "", "it loads");
            let nested = (0..10).fold(serde_json::json!({}), |inner, _| serde_json::json!({ "a": inner, "b": [1, 2] }));
            let _ = plugin.check_config(&nested);
        }
        Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
    }
}

/// Thirty definitions that each mention the next one twice kept the host busy for minutes over an empty configuration; the check of a
/// configuration runs in the host, where no deadline stops it.
#[test]
fn a_schema_that_doubles_its_work_is_refused() {
    let mut doubling = String::from("[config]\n'$ref' = '#/$defs/d0'\n[config.'$defs']\n");
    for number in 0..60 {
        let next = format!("{{ '$ref' = '#/$defs/d{}' }}", number + 1);
        let _ = writeln!(doubling, "d{number} = {{ allOf = [{next}, {next}] }}");
    }
    check_manifest(&doubling, "`config` uses `$ref`");
    check_manifest("[config]\nallOf = [{ '$ref' = '#' }, { '$ref' = '#' }]", "`config` uses `$ref`");
    let patterns: String = (0..100).map(|number| format!("'^((a{{90}}){{90}}){{{number}}}' = {{}}\n")).collect();
    check_manifest(&format!("[config.patternProperties]\n{patterns}"), "more than 64 patterns");
}

/// Deep nesting by dots, tables or braces must not end in a stack that overflows, which no `catch_unwind` holds.
#[test]
fn a_manifest_that_is_deep_is_refused() {
    for config in [
        format!("config.{} = 1", vec!["a"; 16_000].join(".")),
        format!("[config.{}]\ntype = 'object'", vec!["not"; 8_000].join(".")),
        format!("config = {}1{}", "{not=".repeat(6_000), "}".repeat(6_000)),
        format!("config.enum = {}1{}", "[".repeat(30_000), "]".repeat(30_000)),
    ] {
        check_manifest(&config, "the manifest of plugin `test` cannot be used");
    }
}

/// A reason is kept with every row that it costs: one of a kilobyte, for a million rows, was a gigabyte.
#[test]
fn a_reason_cannot_be_a_novel() {
    check_manifest(&format!("reasons = ['{}']", "r".repeat(1_000)), "has 1000 bytes, expected 1 to 64");
}

/// An editor that adds columns without end: each took eight bytes a row of the host's memory, on nobody's account.
#[test]
fn columns_that_are_added_count_as_output() {
    let import = format!(
        r#"(import "{ROWS}" "[method]editor.add-column" (func $add (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
           (import "{ROWS}" "[method]editor.drop-column" (func $drop (param i32 i32 i32)))"#
    );
    let body = "(loop $more
        (i32.store (i32.const 128) (i32.add (i32.const 0x30303030) (local.get $i)))
        (call $add (local.get 1) (i32.const 128) (i32.const 4) (i32.const 140) (i32.const 3) (i32.const 150) (i32.const 7) (i32.const 1) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
        (call $drop (local.get 1) (i32.load (i32.const 2052)) (i32.const 2064))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $more))";
    let mut guest = Guest::cleaner(&import, body);
    guest.fields = r#"(data (i32.const 140) "f64") (data (i32.const 150) "feature")"#.into();
    let few = |settings: &mut PluginSettings| settings.limits.output_bytes_max = 1_024;
    check_clean(&guest, few, "output_bytes_max");
}

/// A cleaner that adds a column of text, its number in `$i`, and then does `body` with `$write`.
fn writing_text(body: &str) -> Guest {
    let import = format!(
        r#"(import "{ROWS}" "[method]editor.add-column" (func $add (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
           (import "{ROWS}" "[method]editor.write-text" (func $write (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#
    );
    let body = format!(
        "(call $add (local.get 1) (i32.const 128) (i32.const 1) (i32.const 129) (i32.const 4) (i32.const 133) (i32.const 7) (i32.const 1) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
         (local.set $i (i32.load (i32.const 2052))) {body}"
    );
    let mut guest = Guest::cleaner(&import, &body);
    // The offsets 0 and 60,000 of one text, and a result that says whether a write was refused.
    guest.fields =
        r#"(data (i32.const 128) "tutf8feature") (data (i32.const 160) "\00\00\00\00\60\ea\00\00\00\00\00\00\01\00\00\00")"#.into();
    guest
}

/// Windows of text, each kept by the host until the call ends: a guest of one page of memory filled the host's with them.
#[test]
fn text_that_is_written_counts_as_output() {
    let write = "(loop $more
        (call $write (local.get 1) (local.get $i) (i32.const 0) (i32.const 160) (i32.const 2) (i32.const 200) (i32.const 60000) (i32.const 0) (i32.const 0) (i32.const 2048))
        (br_if $more (i32.eqz (i32.load8_u (i32.const 2048))))) (unreachable)";
    check_clean(&writing_text(write), |settings| settings.limits.output_bytes_max = 1 << 20, "output_bytes_max");
}

/// The role of a column was not checked as its name was: megabytes of it were kept, and control characters reached the log.
#[test]
fn a_role_is_checked_like_a_name() {
    let import = format!(
        r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))
        (import "{ROWS}" "[static]builder.finish" (func $finish (param i32 i32)))"#
    );
    let body = "(call $finish (call $builder (i32.const 256) (i32.const 1)) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then (i32.store8 (i32.const 1024) (i32.const 1))
          (i32.store (i32.const 1036) (i32.load (i32.const 2056))) (i32.store (i32.const 1040) (i32.load (i32.const 2060)))))";
    let mut guest = Guest::cleaner(&import, body);
    guest.fields = r#"(data (i32.const 128) "xf64probability:\1b[2J\0aroot")
        (data (i32.const 256) "\80\00\00\00\01\00\00\00\81\00\00\00\03\00\00\00\84\00\00\00\15\00\00\00\00\00\00\00")"#
        .into();
    check_clean(&guest, |_| {}, "a column's role is at most");
}

const WAITING: &str = "package test:test;
    world test {
        import wasi:clocks/monotonic-clock@0.2.0;
        export tidegate:plugin/lifecycle@0.1.0;
        export tidegate:plugin/cleaner@0.1.0;
    }
    package wasi:io@0.2.0 { interface poll { resource pollable { block: func(); } } }
    package wasi:clocks@0.2.0 {
        interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; }
    }";

/// A guest that waits, on a thread of the host's own runtime: the wait of WASI starts a runtime within it, which panics, and took the
/// thread along.
#[test]
fn a_wait_on_a_thread_of_the_runtime_ends_the_call_at_most() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#
        .into();
    guest.main = "(call $block (call $after (i64.const 3600000000000))) (i32.const 1024)".into();
    let sandbox = sandbox();
    let plugin = sandbox.load(&name(), &guest.in_world(WAITING)).unwrap();
    let (settings, _) = settings(PluginKind::Cleaner);
    // An hour is over at once.
    plugin.cleaner(&settings).unwrap().clean(&batch(2)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let inside = runtime.block_on(async {
        let called = tokio::spawn(async move { plugin.cleaner(&settings).unwrap().clean(&batch(2)).map(drop) });
        called.await.expect("the thread of the runtime lives on")
    });
    if let Err(error) = inside {
        assert!(matches!(&error, CallError::Trapped { why, .. } if why.contains("fault of the host")), "{error}");
    }
    assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0));
}

/// Builders that are never finished, kept from call to call until the host has no memory left.
#[test]
fn what_is_kept_from_call_to_call_stays_on_the_account() {
    let guest = crate::limits::builder_guest(1);
    let sandbox = sandbox();
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.output_bytes_max = 10_000;
    let mut cleaner = guest.load(&sandbox).cleaner(&settings).unwrap();
    let before = sandbox.memory_bytes();
    let mut last = before;
    let error = loop {
        match cleaner.clean(&batch(2)) {
            Ok(_) => assert!(std::mem::replace(&mut last, sandbox.memory_bytes()) < sandbox.memory_bytes()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CallError::OverLimit { limit: "output_bytes_max", .. }), "{error}");
    assert_eq!(sandbox.memory_bytes(), 0);
    assert!(cleaner.clean(&batch(1)).is_ok());
}

/// An input was opened again and again until the process had no file descriptor left for its own journal.
#[test]
fn inputs_that_are_dropped_make_room_again() {
    let mut guest = lent::reading(10);
    guest.imports.push_str(r#"(import "tidegate:plugin/inputs@0.1.0" "[resource-drop]input" (func $close (param i32)))"#);
    guest.first = format!(
        "(local.set $i (i32.const 100)) (loop $more (call $open (i32.const 128) (i32.const 7) (i32.const 1024))
           (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 1024))))
           (call $close (i32.load (i32.const 1032)))
           (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i)))
         {}",
        guest.first.rsplit_once("2048))").unwrap().1
    );
    let (mut settings, _) = settings(PluginKind::Source);
    settings.inputs = Arc::new(lent::wedged().1);
    settings.grants.inputs.insert("weather".into());
    settings.limits.open_inputs_max = 2;
    crate::contained::use_it(&sandbox(), &guest, &settings).unwrap();
}

/// Denials are told to the operator, once a call; asked a million times, by one call or by many, they must not be the log.
#[test]
fn a_denial_is_logged_once_a_call_and_within_the_rate() {
    let mut guest = Guest::new(PluginKind::Alerter);
    guest.imports = r#"(import "tidegate:plugin/clock@0.1.0" "now-us" (func $now (result i64)))"#.into();
    guest.fields = "(func $ask (param $i i32) (loop $more (drop (call $now))
        (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i))))"
        .into();
    guest.main = "(call $ask (i32.const 1000)) (i32.const 1024)".into();
    let (mut settings, lines) = settings(PluginKind::Alerter);
    let mut alerter = guest.load(&sandbox()).alerter(&settings).unwrap();
    alerter.notify(&crate::contained::alert()).unwrap();
    assert_eq!(lines.lock().unwrap().len(), 1);
    settings.limits.log_second_bytes_max = 16;
    let mut alerter = guest.load(&sandbox()).alerter(&settings).unwrap();
    (0..50).for_each(|_| drop(alerter.notify(&crate::contained::alert()).unwrap()));
    assert!(lines.lock().unwrap().len() < 50);
}

/// Work of the host that a guest asks for in pieces is the call's own time: no sequence of host calls outlives the deadline by more
/// than one of them.
#[test]
fn host_work_in_pieces_ends_at_the_deadline() {
    // Row 1, row 0, row 1 and so on: each window makes the host put the column together anew.
    let write = |row: u32| {
        format!(
            "(call $write (local.get 1) (local.get $i) (i32.const {row}) (i32.const 168) (i32.const 2) (i32.const 200) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 2048))"
        )
    };
    let body = format!("(loop $more {} {} (br_if $more (i32.eqz (i32.load8_u (i32.const 2048))))) (unreachable)", write(1), write(0));
    let limit = |settings: &mut PluginSettings| {
        settings.limits.call_ms_max = 100;
        settings.limits.output_bytes_max = 1 << 32;
        settings.limits.host_calls_max = u64::MAX;
    };
    check_any(&writing_text(&body), limit, "clean", "call_ms_max");
}

/// An input that never comes back costs the host a thread a call, however often the call is tried again.
#[test]
fn threads_that_wait_for_ever_are_counted() {
    let mut config = crate::guest::sandbox_config();
    config.limits.instances_max = 1;
    let sandbox = tidegate_sandbox::Sandbox::new(config).unwrap();
    let (release, input) = lent::wedged();
    let (mut settings, _) = settings(PluginKind::Source);
    settings.inputs = Arc::new(input);
    settings.grants.inputs.insert("weather".into());
    settings.limits.call_ms_max = 50;
    let used = |settings| crate::contained::use_it(&sandbox, &lent::reading(10), settings);
    for expected in ["call_ms_max", "call_ms_max", "plugins.instances_max", "plugins.instances_max"] {
        let error = used(&settings).unwrap_err();
        assert!(matches!(&error, CallError::OverLimit { limit, .. } if *limit == expected), "{error}");
    }
    // They come back after all, one after the other, and so does their room.
    drop(release);
    while used(&settings).is_err() {
        std::thread::yield_now();
    }
}
