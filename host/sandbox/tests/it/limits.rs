//! One guest a limit, which exceeds it: the exact error, that the next call works, and that nobody else noticed.

use std::sync::Arc;

use tidegate_sandbox::{LogLevel, PluginKind, PluginSettings};
use tidegate_vocab::limits::PluginLimits;

use crate::contained::{check_any, check_clean, use_it};
use crate::guest::{ENDLESS, Guest, batch, sandbox, settings};
use crate::lent;
use crate::state::keeping;

const ROWS: &str = "tidegate:plugin/rows@0.1.0";

/// One test a limit, named after it, and the list of them.
macro_rules! exceeded {
    ($($limit:ident $body:block)*) => {
        $(#[test] fn $limit() $body)*
        const EXCEEDED: &[&str] = &[$(stringify!($limit)),*];
    };
}

#[test]
fn every_limit_of_the_configuration_has_a_guest_that_exceeds_it() {
    let limits: Vec<&str> = PluginLimits::KEYS.iter().map(|limit| limit.key).collect();
    let forgotten: Vec<_> = limits.iter().filter(|limit| !EXCEEDED.contains(limit)).collect();
    assert!(forgotten.is_empty(), "no guest here exceeds {forgotten:?}: a limit that nothing runs into may as well be ignored");
    assert_eq!(EXCEEDED.len(), limits.len(), "a guest exceeds what is no limit");
}

exceeded! {
    memory_bytes_max {
        let body = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) (unreachable)";
        check_clean(&Guest::cleaner("", body), |settings| settings.limits.memory_bytes_max = 1 << 20, "memory_bytes_max");
        let mut guest = Guest::new(PluginKind::Cleaner);
        guest.memory_pages = 128;
        check_any(&guest, |_| {}, "instantiate", "memory_bytes_max");
    }

    table_entries_max {
        let body = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)))) (unreachable)";
        let mut guest = Guest::cleaner("", body);
        guest.fields = "(table $t 1 funcref)".into();
        check_clean(&guest, |settings| settings.limits.table_entries_max = 1000, "table_entries_max");
    }

    instances_max {
        check_any(&Guest::new(PluginKind::Cleaner), |settings| settings.limits.instances_max = 0, "instantiate", "instances_max");
    }

    call_ms_max {
        check_clean(&Guest::cleaner("", ENDLESS), |settings| settings.limits.call_ms_max = 60, "call_ms_max");
        // Blocked, which costs no processor time.
        let (_until_the_end, input) = lent::wedged();
        let limit = |settings: &mut PluginSettings| {
            settings.inputs = Arc::new(input);
            settings.grants.inputs.insert("weather".into());
            (settings.limits.call_ms_max, settings.limits.call_cpu_ms_max) = (200, 150);
        };
        check_any(&lent::reading(10), limit, "open", "call_ms_max");
    }

    call_cpu_ms_max {
        let limit = |settings: &mut PluginSettings| (settings.limits.call_ms_max, settings.limits.call_cpu_ms_max) = (600_000, 50);
        check_clean(&Guest::cleaner("", ENDLESS), limit, "call_cpu_ms_max");
    }

    row_cpu_us_max {
        let limit = |settings: &mut PluginSettings| {
            (settings.limits.call_ms_max, settings.limits.call_cpu_ms_max, settings.limits.row_cpu_us_max) = (600_000, 600_000, 10);
        };
        check_clean(&Guest::cleaner("", ENDLESS), limit, "row_cpu_us_max");
    }

    host_calls_max {
        let body = "(loop $more (drop (call $row-count (local.get 0))) (br $more))";
        let limit = |settings: &mut PluginSettings| (settings.limits.call_ms_max, settings.limits.host_calls_max) = (600_000, 1_000_000);
        check_clean(&Guest::cleaner("", body), limit, "host_calls_max");
    }

    host_call_bytes_max {
        let import = format!(r#"(import "{ROWS}" "[method]editor.keep" (func $keep (param i32 i32 i32 i32 i32 i32 i32)))"#);
        let body = "(call $keep (local.get 1) (i32.const 0) (i32.const 0) (i32.const 40000) (i32.const 0) (i32.const 0) (i32.const 2048))";
        check_clean(&Guest::cleaner(&import, body), |settings| settings.limits.host_call_bytes_max = 20_000, "host_call_bytes_max");
        // What the host would have to hold for the guest counts too.
        let limit = |settings: &mut PluginSettings| {
            settings.inputs = Arc::new(lent::wedged().1);
            settings.grants.inputs.insert("weather".into());
            settings.limits.host_call_bytes_max = 1000;
        };
        check_any(&lent::reading(1001), limit, "open", "host_call_bytes_max");
    }

    resources_max {
        let import = format!(r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))"#);
        let body = "(loop $more (drop (call $builder (i32.const 0) (i32.const 0))) (br $more))";
        check_clean(&Guest::cleaner(&import, body), |settings| settings.limits.resources_max = 20, "resources_max");
    }

    open_inputs_max {
        let mut guest = lent::reading(10);
        guest.first = "(loop $more (call $open (i32.const 128) (i32.const 7) (i32.const 1024))
            (br_if $more (i32.eqz (i32.load8_u (i32.const 1024))))) (i32.const 1024)"
            .into();
        let limit = |settings: &mut PluginSettings| {
            settings.inputs = Arc::new(lent::wedged().1);
            settings.grants.inputs.insert("weather".into());
            settings.limits.open_inputs_max = 5;
        };
        check_any(&guest, limit, "open", "open_inputs_max");
    }

    log_line_bytes_max {
        let (mut settings, lines) = settings(PluginKind::Cleaner);
        settings.limits.log_line_bytes_max = 20;
        flooding().load(&sandbox()).cleaner(&settings).unwrap().clean(&batch(2)).unwrap();
        let shown = format!(" {}…", "x".repeat(19));
        assert_eq!(lines.lock().unwrap()[0].message, shown);
    }

    log_call_bytes_max {
        let (mut settings, lines) = settings(PluginKind::Cleaner);
        (settings.limits.log_line_bytes_max, settings.limits.log_call_bytes_max) = (20, 100);
        let mut cleaner = flooding().load(&sandbox()).cleaner(&settings).unwrap();
        for _ in 0..2 {
            cleaner.clean(&batch(2)).unwrap();
            let lines = std::mem::take(&mut *lines.lock().unwrap());
            assert_eq!(lines.len(), 5);
            assert_eq!(lines[4].message, "96 more lines were dropped: `log_call_bytes_max` is 100");
            assert!(lines.iter().all(|line| line.level == LogLevel::Warn && line.plugin.as_str() == "test"));
        }
    }

    log_second_bytes_max {
        let (mut settings, lines) = settings(PluginKind::Cleaner);
        (settings.limits.log_line_bytes_max, settings.limits.log_second_bytes_max) = (20, 200);
        let plugin = flooding().load(&sandbox());
        // Two instances share the allowance of a second. One that is over says so as soon as the next second begins.
        let mut cleaners = [plugin.cleaner(&settings).unwrap(), plugin.cleaner(&settings).unwrap()];
        let said = || lines.lock().unwrap().iter().filter(|line| line.message.contains("`log_second_bytes_max` is 200")).count();
        let mut calls = 0;
        while said() < 2 {
            cleaners.iter_mut().for_each(|cleaner| drop(cleaner.clean(&batch(2)).unwrap()));
            calls += 2;
        }
        let bytes: usize = lines.lock().unwrap().iter().map(|line| line.message.len()).sum();
        let seconds = said() + 1;
        assert!(bytes <= seconds * 300 && calls * 100 * 20 > bytes, "{bytes} bytes in {calls} calls");
    }

    output_rows_max {
        check_clean(&builder_guest(1), |settings| settings.limits.output_rows_max = 99, "output_rows_max");
    }

    output_bytes_max {
        check_clean(&builder_guest(1), |settings| settings.limits.output_bytes_max = 700, "output_bytes_max");
        // Many small batches instead of a large one: the host holds all of them.
        let body = "(loop $more (local.set $i (call $builder (i32.const 256) (i32.const 1)))
            (call $push (local.get $i) (i32.const 0) (i32.const 4096) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then (unreachable))) (br $more)) (unreachable)";
        let guest = Guest { main: body.into(), ..builder_guest(1) };
        check_any(&guest, |settings| settings.limits.output_bytes_max = 50_000, "clean", "output_bytes_max");
    }

    metadata_entries_max {
        check_clean(&builder_guest(3), |settings| settings.limits.metadata_entries_max = 2, "metadata_entries_max");
    }

    metadata_bytes_max {
        let body = r#"(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1032) (i32.const 7))
            (i32.store (i32.const 1036) (i32.const 128)) (i32.store (i32.const 1040) (i32.const 40))"#;
        let mut guest = Guest::cleaner("", body);
        guest.fields = r#"(data (i32.const 128) "a\1b[31m\0ab bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")"#.into();
        // Every start configures with a text, which must fit as well.
        check_clean(&guest, |settings| settings.limits.metadata_bytes_max = 16, "refused: a [31m b bbbbbbb…");
    }

    egress_bytes_max {
        let limit = |settings: &mut PluginSettings| {
            lent::answered(settings, &[b'x'; 60]);
            settings.limits.egress_bytes_max = 100;
        };
        check_any(&lent::sending(2), limit, "notify", "egress_bytes_max");
    }

    egress_connections_max {
        let mut way_out = None;
        let limit = |settings: &mut PluginSettings| {
            way_out = Some(lent::answered(settings, b""));
            settings.limits.egress_connections_max = 3;
        };
        check_any(&lent::sending(4), limit, "notify", "egress_connections_max");
        assert_eq!(way_out.unwrap().sent.lock().unwrap().len(), 3);
    }

    state_entries_max {
        check_clean(&setting("(i32.add (i32.const 128) (local.get $i)) (i32.const 4)"), |settings| settings.limits.state_entries_max = 100, "state_entries_max");
    }

    state_bytes_max {
        // Small entries, each of which costs the host more than its key.
        let limit = |settings: &mut PluginSettings| settings.limits.state_bytes_max = 4_000;
        check_clean(&setting("(i32.add (i32.const 128) (local.get $i)) (i32.const 4)"), limit, "state_bytes_max");
    }

    state_key_bytes_max {
        check_clean(&setting("(i32.const 128) (local.get $i)"), |settings| settings.limits.state_key_bytes_max = 16, "state_key_bytes_max");
    }

    state_value_bytes_max {
        let body = "(call $set (i32.const 128) (i32.const 1) (i32.const 128) (i32.const 17) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then (unreachable)))";
        check_clean(&keeping(body, "a"), |settings| settings.limits.state_value_bytes_max = 16, "state_value_bytes_max");
    }
}

/// A cleaner that sets 400 keys, each of which lies at and is as long as `key` says for `$i`; it dies of a data error.
fn setting(key: &str) -> Guest {
    let body = format!(
        "(loop $more (call $set {key} (i32.const 128) (i32.const 0) (i32.const 2048))
           (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
           (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $more (i32.lt_u (local.get $i) (i32.const 400))))"
    );
    let bytes: String = (0..500_u32).map(|at| format!("\\{:02x}", at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 24)).collect();
    keeping(&body, &bytes)
}

/// A cleaner that logs 100 lines of 60 bytes.
fn flooding() -> Guest {
    let import = r#"(import "tidegate:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let body = "(local.set $i (i32.const 100)) (loop $more (call $log (i32.const 1) (i32.const 128) (i32.const 60))
        (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i)))";
    let mut guest = Guest::cleaner(import, body);
    guest.fields = format!(r#"(data (i32.const 128) "\0a{}")"#, "x".repeat(59));
    guest
}

/// A cleaner that makes a batch of one f64 column, `columns` times, and pushes 100 rows; it dies of a data error.
pub fn builder_guest(columns: u32) -> Guest {
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
fn what_costs_no_limit_is_no_error() {
    let (settings, _) = settings(PluginKind::Alerter);
    use_it(&sandbox(), &Guest::new(PluginKind::Alerter), &settings).unwrap();
}
