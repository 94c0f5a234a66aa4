//! The hostile suite: what a guest does wrong, wherever it can, and the name that each gets.

use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier, Mutex};

use tidegate_sandbox::{Answer, CallError, Egress, EgressError, Exchange, PluginKind, PluginSettings};

use crate::contained::{Bystander, alert, check_any, check_clean, seen, use_it};
use crate::guest::{ENDLESS, Guest, SPIN, batch, sandbox, sandbox_config, settings};
use crate::lent;
use crate::limits::builder_guest;

const ROWS: &str = "tidegate:plugin/rows@0.1.0";

fn spinner(kind: PluginKind, place: impl FnOnce(&mut Guest)) -> Guest {
    let mut guest = Guest::new(kind);
    place(&mut guest);
    guest
}

/// Guests that spin in every place where a guest has code, and the step that each is stopped in.
fn spinners() -> Vec<(Guest, &'static str)> {
    let spin = || SPIN.to_owned();
    let start = |guest: &mut Guest| guest.fields = format!("(func $start {ENDLESS}) (start $start)");
    let mut cases = vec![];
    for kind in PluginKind::ALL {
        let (interface, main) = match kind {
            PluginKind::Source => ("source", "next"),
            PluginKind::Cleaner => ("cleaner", "clean"),
            PluginKind::Evaluator => ("evaluator", "evaluate"),
            PluginKind::Alerter => ("alerter", "notify"),
        };
        let function = if kind == PluginKind::Source { "[method]reader.next" } else { main };
        let after = format!(r#"(func (export "cabi_post_tidegate:plugin/{interface}@0.1.0#{function}") (param i32) {ENDLESS})"#);
        cases.push((spinner(kind, start), "instantiate"));
        cases.push((spinner(kind, |guest| guest.realloc = Some(spin())), "configure"));
        cases.push((spinner(kind, |guest| guest.configure = spin()), "configure"));
        cases.push((spinner(kind, |guest| guest.probe = spin()), "probe"));
        cases.push((spinner(kind, |guest| guest.main = spin()), main));
        cases.push((spinner(kind, |guest| guest.fields = after), main));
    }
    cases.push((spinner(PluginKind::Source, |guest| guest.first = spin()), "open"));
    cases.push((spinner(PluginKind::Evaluator, |guest| guest.first = spin()), "metrics"));
    // A destructor, which runs when the guest drops a reader of its own.
    let destructor = |guest: &mut Guest| {
        guest.imports = r#"(import "[export]tidegate:plugin/source@0.1.0" "[resource-drop]reader" (func $drop-reader (param i32)))"#.into();
        guest.fields = format!(r#"(func (export "tidegate:plugin/source@0.1.0#[dtor]reader") (param i32) {ENDLESS})"#);
        guest.main = "(call $drop-reader (call $new-reader (i32.const 7))) (i32.const 1024)".into();
    };
    cases.push((spinner(PluginKind::Source, destructor), "next"));
    cases
}

#[test]
fn a_guest_that_spins_is_stopped_wherever_it_does() {
    let sandbox = sandbox();
    let mut bystander = Bystander::new(&sandbox);
    for (guest, expected) in spinners() {
        let (mut settings, _) = settings(guest.kind);
        settings.limits.call_ms_max = 100;
        let error = use_it(&sandbox, &guest, &settings).unwrap_err();
        assert_eq!(seen(&error), (expected, "call_ms_max".into()), "{}: {error}", guest.kind);
        settings.limits.call_ms_max = 60_000;
        use_it(&sandbox, &Guest::new(guest.kind), &settings).unwrap();
        bystander.is_unharmed();
    }
    assert!(sandbox.ticker_age().as_secs() < 5);
}

/// The same, and the limits of time, in a process that has one processor: the thread that stops guests shares it with them.
#[cfg(target_os = "linux")]
#[test]
fn one_processor_is_enough_to_stop_a_guest_that_spins() {
    let this = std::env::current_exe().unwrap();
    let tests = ["hostile::a_guest_that_spins_is_stopped_wherever_it_does", "limits::call_ms_max", "limits::call_cpu_ms_max"];
    let run = Command::new("taskset").args(["-c", "0"]).arg(this).args(tests).arg("--exact").output();
    let run = run.expect("`taskset` of util-linux ties a process to a processor");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("3 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn a_guest_that_stops_itself_is_a_trap() {
    let calm = |_: &mut PluginSettings| {};
    check_clean(&Guest::cleaner("", "(unreachable)"), calm, "trap: it stopped itself");
    check_clean(&Guest::cleaner("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), calm, "trap: ");
    let mut deep = Guest::cleaner("", "(drop (call $deep (i32.const 0)))");
    deep.fields = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))".into();
    check_clean(&deep, calm, "trap: its stack overflowed");
    check_clean(&Guest::cleaner("", "(drop (i32.load (i32.const -8)))"), calm, "trap: ");
    let mut indirect = Guest::cleaner("", "(call_indirect (i32.const 3))");
    indirect.fields = "(table 4 funcref)".into();
    check_clean(&indirect, calm, "trap: ");
}

/// A guest can give its functions any name, and a backtrace shows them.
#[test]
fn a_trap_is_a_trap_whatever_the_function_is_called() {
    for name in ["fuel allocated for hostcalls", "resource limit exceeded", "handle limit"] {
        let mut guest = Guest::cleaner("", "(call $named)");
        guest.fields = format!(r#"(func $named (@name "{name}") (unreachable))"#);
        check_clean(&guest, |_| {}, "trap: it stopped itself");
    }
}

#[test]
fn a_forged_handle_is_a_trap() {
    let keep = format!(r#"(import "{ROWS}" "[method]editor.keep" (func $keep (param i32 i32 i32 i32 i32 i32 i32)))"#);
    let zeros = "(i32.const 0)".repeat(5);
    for body in [
        // Numbers that nobody gave it.
        "(drop (call $row-count (i32.const 99)))".to_owned(),
        "(drop (call $row-count (i32.const 0)))".to_owned(),
        "(drop (call $row-count (i32.const -1)))".to_owned(),
        // One that was given for something else.
        "(drop (call $row-count (local.get 1)))".to_owned(),
        format!("(call $keep (local.get 0) {zeros} (i32.const 2048))"),
        // One that it gave back, and one that it gives back twice.
        "(call $drop-batch (local.get 0)) (drop (call $row-count (local.get 0)))".to_owned(),
        "(call $drop-batch (local.get 0)) (call $drop-batch (local.get 0))".to_owned(),
    ] {
        check_clean(&Guest::cleaner(&keep, &body), |_| {}, "trap: ");
    }
}

/// A handle of a former call is worth nothing in the next, whatever number it had.
#[test]
fn a_borrowed_handle_that_is_kept_ends_the_call() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    // The wrapper around `main` drops both handles after it; this one returns past the wrapper.
    guest.fields = "(global $kept (mut i32) (i32.const 0))".into();
    guest.main = "(if (global.get $kept) (then (call $drop-batch (global.get $kept))))
        (global.set $kept (local.get 0)) (call $drop-batch (local.get 0)) (i32.const 1024)"
        .into();
    let sandbox = sandbox();
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = guest.load(&sandbox).cleaner(&settings).unwrap();
    for _ in 0..3 {
        assert_eq!(seen(&cleaner.clean(&batch(2)).unwrap_err()).0, "clean");
    }
}

/// Text and lists that point at memory which is not there, or at all that is there.
#[test]
fn a_text_of_a_gigabyte_is_never_copied() {
    let refusing = |at: &str, length: &str| {
        format!(
            "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1036) (i32.const {at}))
             (i32.store (i32.const 1040) (i32.const {length}))"
        )
    };
    let calm = |_: &mut PluginSettings| {};
    check_clean(&Guest::cleaner("", &refusing("0", "0x40000000")), calm, "trap: ");
    check_clean(&Guest::cleaner("", &refusing("-1", "16")), calm, "trap: ");
    // Three MiB that are there, of what a host function takes at most 100 KB.
    let mut large = Guest::cleaner("", &refusing("0", "0x300000"));
    large.memory_pages = 50;
    check_clean(&large, |settings| settings.limits.host_call_bytes_max = 100_000, "host_call_bytes_max");
    // The same three MiB a thousand times over: a list of issues that all point at them.
    let mut many = Guest::new(PluginKind::Cleaner);
    many.memory_pages = 50;
    many.configure = "(local.set 0 (i32.const 0))
        (loop $more
          (i32.store (i32.add (i32.const 65536) (local.get 0)) (i32.const 131072))
          (i32.store (i32.add (i32.const 65540) (local.get 0)) (i32.const 3000000))
          (local.set 0 (i32.add (local.get 0) (i32.const 8)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 16000))))
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1028) (i32.const 65536)) (i32.store (i32.const 1032) (i32.const 1000))
        (i32.const 1024)"
        .into();
    check_any(&many, calm, "configure", "host_call_bytes_max");
}

#[test]
fn a_text_that_is_not_utf8_is_a_trap() {
    let import = r#"(import "tidegate:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let mut guest = Guest::cleaner(import, "(call $log (i32.const 1) (i32.const 128) (i32.const 3))");
    guest.fields = r#"(data (i32.const 128) "a\ffb")"#.into();
    check_clean(&guest, |_| {}, "trap: ");
    let odd_level = Guest::cleaner(import, "(call $log (i32.const 77) (i32.const 128) (i32.const 1))");
    check_clean(&odd_level, |_| {}, "trap: ");
}

/// A cleaner that makes one call with an editor and dies of whatever it is told.
fn editing(function: &str, parameters: &str, arguments: &str) -> Guest {
    let import = format!(r#"(import "{ROWS}" "[method]editor.{function}" (func $edit (param i32 {parameters} i32)))"#);
    let body = format!(
        "(call $edit (local.get 1) {arguments} (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (i32.store8 (i32.const 1024) (i32.const 1))
           (i32.store (i32.const 1036) (i32.load (i32.const 2056))) (i32.store (i32.const 1040) (i32.load (i32.const 2060)))))"
    );
    let mut guest = Guest::cleaner(&import, &body);
    guest.fields = r#"(data (i32.const 128) "badlabelf64featurezz")"#.into();
    guest
}

/// Wrong places, lengths, types, names and roles are told to the guest in so many words, and change nothing.
#[test]
fn output_that_does_not_fit_is_refused_in_words() {
    let number = |value: i64| format!("(i32.const {value})");
    let numbers = |values: &[i64]| values.iter().map(|value| number(*value)).collect::<String>();
    let column = |name: (i64, i64), role: (i64, i64)| numbers(&[name.0, name.1, 136, 3, role.0, role.1, 1]);
    let seven = "i32 ".repeat(7);
    for (function, parameters, arguments, expected) in [
        // At row -1, and more values than there are rows.
        ("write-f64", "i32 i32 i32 i32 i32 i32", numbers(&[0, -1, 4096, 1, 0, 0]), "outside the batch"),
        ("write-f64", "i32 i32 i32 i32 i32 i32", numbers(&[0, 0, 4096, 3, 0, 0]), "outside the batch"),
        ("write-f64", "i32 i32 i32 i32 i32 i32", numbers(&[0, 0, 4096, 2, 4096, 1]), "`valid` has 1 entries for 2 values"),
        ("write-raw", "i32 i32 i32 i32 i32 i32", numbers(&[0, 0, 4096, 13, 0, 0]), "not whole values"),
        ("write-i64", "i32 i32 i32 i32 i32 i32", numbers(&[0, 0, 4096, 2, 0, 0]), "the column is f64, not i64"),
        ("write-f64", "i32 i32 i32 i32 i32 i32", numbers(&[7, 0, 4096, 2, 0, 0]), "there is no column 7"),
        ("keep", "i32 i32 i32 i32 i32", numbers(&[0, 4096, 3, 128, 3]), "outside the batch"),
        ("keep", "i32 i32 i32 i32 i32", numbers(&[0, 4096, 2, 128, 2]), "does not list this quarantine reason"),
        ("drop-column", "i32", number(-1), "there is no column 4294967295"),
        // A label: one that is there, and one of its own.
        ("add-column", &seven, column((131, 5), (139, 7)), "a column of this name already"),
        ("add-column", &seven, column((146, 2), (131, 5)), "columns of the role `feature` and no others"),
        ("add-column", &seven, column((146, 0), (139, 7)), "a column's name is"),
        ("clip", "i32 f64 f64", format!("{}(f64.const nan)(f64.const 1)", number(0)), "not a range"),
        ("clip", "i32 f64 f64", format!("{}(f64.const 2)(f64.const 1)", number(0)), "not a range"),
    ] {
        check_clean(&editing(function, parameters, &arguments), |_| {}, expected);
    }
}

#[test]
fn a_batch_that_is_none_is_refused() {
    // Two columns of one name.
    let mut twice = builder_guest(2);
    twice.fields = twice.fields.replace(r"\81\00\00\00", r"\80\00\00\00");
    check_clean(&twice, |_| {}, "trap: it stopped itself");
    let mut control = builder_guest(1);
    control.fields = control.fields.replace("abcdef", r"\0abcdef");
    check_clean(&control, |_| {}, "trap: it stopped itself");
}

/// A way out that waits until it is told to go on.
struct Gate {
    is_waiting: Barrier,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Egress for Gate {
    fn send(&self, _exchange: &Exchange) -> Result<Answer, EgressError> {
        self.is_waiting.wait();
        let _ = self.go_on.lock().unwrap().recv();
        Ok(Answer { status: 200, ..Answer::default() })
    }
}

#[test]
fn a_trap_leaves_a_call_that_is_under_way_alone() {
    let sandbox = sandbox();
    let (send, receive) = sync_channel(0);
    let gate = Arc::new(Gate { is_waiting: Barrier::new(2), go_on: Mutex::new(receive) });
    let (mut alerting, _) = settings(PluginKind::Alerter);
    lent::answered(&mut alerting, b"");
    alerting.egress = Arc::clone(&gate) as _;
    alerting.limits.call_ms_max = 600_000;
    let mut alerter = lent::sending(1).load(&sandbox).alerter(&alerting).unwrap();
    let under_way = std::thread::spawn(move || alerter.notify(&alert()));
    gate.is_waiting.wait();
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.call_ms_max = 50;
    for guest in [Guest::cleaner("", "(unreachable)"), Guest::cleaner("", ENDLESS)] {
        assert!(use_it(&sandbox, &guest, &settings).is_err());
    }
    send.send(()).unwrap();
    assert_eq!(under_way.join().unwrap().unwrap(), None);
}

/// What was taken from the pool, the budget and the places of all instances is back after every failure.
#[test]
fn a_thousand_failures_leave_nothing_behind() {
    let mut config = sandbox_config();
    config.limits.instances_max = 2;
    let sandbox = tidegate_sandbox::Sandbox::new(config).unwrap();
    let mut bystander = Bystander::new(&sandbox);
    let (held, alive) = (sandbox.memory_bytes(), sandbox.instance_count());
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.memory_bytes_max = 8 << 20;
    let grow = "(drop (memory.grow (i32.const 60))) (unreachable)";
    let builder = format!(r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))"#);
    let leak = "(drop (call $builder (i32.const 0) (i32.const 0))) (unreachable)";
    for guest in [Guest::cleaner("", grow), Guest::cleaner(&builder, leak)] {
        let mut cleaner = guest.load(&sandbox).cleaner(&settings).unwrap();
        for _ in 0..500 {
            let error = cleaner.clean(&batch(2)).unwrap_err();
            assert!(matches!(error, CallError::Trapped { .. }), "{error}");
            assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (held, alive));
        }
        assert_eq!(cleaner.clean(&batch(1)).unwrap().kept, [0]);
    }
    bystander.is_unharmed();
}
