//! What is left of a call that ended badly, and what is not.

use tidegate_sandbox::PluginKind;

use crate::guest::{Guest, batch, sandbox, settings};

/// Traps in a row; more than the pool has places.
const TRAPS: u32 = 300;

#[test]
fn a_trap_returns_the_memory_and_the_place_in_the_pool() {
    let body = "(drop (memory.grow (i32.const 16))) (unreachable)";
    let sandbox = sandbox();
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = Guest::cleaner("", body).load(&sandbox).cleaner(&settings).unwrap();
    cleaner.clean(&batch(1)).unwrap();
    let held_before = sandbox.memory_bytes();
    assert!(held_before > 0);
    for trap in 0..TRAPS {
        let error = cleaner.clean(&batch(2)).unwrap_err();
        assert!(error.word() == "trapped" && error.is_fault(), "trap {trap}: {error}");
        assert_eq!(sandbox.memory_bytes(), 0, "trap {trap}: the budget has everything back");
    }
    cleaner.clean(&batch(1)).unwrap();
    assert_eq!(sandbox.memory_bytes(), held_before, "the next instance is like the first");
}

#[test]
fn the_last_words_are_the_log_and_the_functions_of_the_call_that_failed() {
    let import = r#"(import "tidegate:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let mut guest = Guest::cleaner(import, "(call $log (i32.const 1) (i32.const 128) (i32.const 9)) (call $give-up)");
    guest.fields = r#"(data (i32.const 128) "an odd row") (func $give-up (unreachable))"#.into();
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = guest.load(&sandbox()).cleaner(&settings).unwrap();
    cleaner.clean(&batch(1)).unwrap();
    assert_eq!(*cleaner.last_words(), Default::default(), "a call that went well leaves nothing");
    for _ in 0..2 {
        cleaner.clean(&batch(2)).unwrap_err();
        let words = cleaner.last_words();
        let log: Vec<(&str, &str)> = words.log.iter().map(|line| (line.level.word(), line.message.as_str())).collect();
        assert_eq!(log, [("warn", "an odd ro")], "the lines of that call, and of no other");
        assert!(words.backtrace[0].ends_with("give-up") && words.backtrace.len() > 1, "{:?}", words.backtrace);
    }
}
