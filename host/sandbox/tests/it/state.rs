//! The state that a cleaner is lent: what was committed stays as it is, what a call changes comes back with its result or not at all,
//! and nobody has it who did not ask for it.

use std::sync::Arc;

use tidegate_sandbox::{CallError, LoadError, PluginKind};
use tidegate_vocab::{StateChanges, StateEntries, StateSeen};

use crate::contained::seen;
use crate::guest::{Guest, batch, name, sandbox, settings};

const STATE: &str = "tidegate:plugin/state@0.1.0";

/// A cleaner whose manifest asks for state, and that does `body` with it. Texts lie at 128, results at 2048.
pub fn keeping(body: &str, data: &str) -> Guest {
    let imports = format!(
        r#"(import "{STATE}" "get" (func $get (param i32 i32 i32)))
           (import "{STATE}" "set" (func $set (param i32 i32 i32 i32 i32)))
           (import "{STATE}" "remove" (func $remove (param i32 i32 i32)))
           (import "{STATE}" "get-many" (func $get-many (param i32 i32 i32 i32 i32)))
           (import "{STATE}" "add-many" (func $add-many (param i32 i32 i32 i32 i32)))"#
    );
    let mut guest = Guest::cleaner(&imports, body);
    guest.fields = format!(r#"(data (i32.const 128) "{data}")"#);
    guest.manifest = guest.manifest.replace("reasons =", "state = 'keyed'\nreasons =");
    guest
}

/// Dies unless the last result was `ok`.
const OR_DIE: &str = "(if (i32.load8_u (i32.const 2048)) (then (unreachable)))";

fn entries(of: &[(&str, &str)]) -> Arc<StateEntries> {
    let mut entries = StateEntries::default();
    entries.apply(changes(&of.iter().map(|(key, value)| (*key, Some(*value))).collect::<Vec<_>>()));
    Arc::new(entries)
}

fn changes(of: &[(&str, Option<&str>)]) -> StateChanges {
    let bytes = |text: &str| Box::from(text.as_bytes());
    StateChanges(of.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect())
}

#[test]
fn a_call_reads_what_was_kept_and_its_changes_come_back_with_its_result() {
    // Sets `b` to the value of `a`, whose length and address are at 2060 and 2056, and removes `a`.
    let body = format!(
        "(call $get (i32.const 128) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (if (i32.eqz (i32.load8_u (i32.const 2052))) (then (unreachable)))
         (call $set (i32.const 129) (i32.const 1) (i32.load (i32.const 2056)) (i32.load (i32.const 2060)) (i32.const 2048)) {OR_DIE}
         (call $remove (i32.const 128) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (call $get (i32.const 128) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (if (i32.load8_u (i32.const 2052)) (then (unreachable)))"
    );
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = keeping(&body, "ab").load(&sandbox()).cleaner(&settings).unwrap();
    assert!(cleaner.keeps_state());
    let kept = entries(&[("a", "one"), ("c", "three")]);
    let expected = changes(&[("a", None), ("b", Some("one"))]);
    for _ in 0..2 {
        let (cleaned, changed) = cleaner.clean_keeping(&batch(2), &kept).unwrap();
        assert_eq!((cleaned.kept.len(), &changed), (2, &expected), "the same state, the same changes");
    }
    assert_eq!((kept.entry_count(), kept.get(b"a")), (2, Some(&b"one"[..])), "what was kept is not touched");
    let keys: Vec<Box<[u8]>> = ["a", "b", "a", "a"].map(|key| Box::from(key.as_bytes())).into();
    assert_eq!(cleaner.state_keys(), keys);
    // With one row it does nothing, and changes nothing.
    assert_eq!(cleaner.clean_keeping(&batch(1), &kept).unwrap().1, StateChanges::default());
    assert!(cleaner.state_keys().is_empty());
}

#[test]
fn a_trap_in_the_middle_leaves_the_state_as_it_was() {
    let body = format!("(call $set (i32.const 128) (i32.const 1) (i32.const 129) (i32.const 1) (i32.const 2048)) {OR_DIE} (unreachable)");
    let (settings, _) = settings(PluginKind::Cleaner);
    let sandbox = sandbox();
    let mut cleaner = keeping(&body, "ab").load(&sandbox).cleaner(&settings).unwrap();
    let kept = entries(&[("a", "before")]);
    for _ in 0..2 {
        assert!(matches!(cleaner.clean_keeping(&batch(2), &kept).unwrap_err(), CallError::Trapped { .. }));
        assert_eq!(cleaner.state_keys(), [Box::from(&b"a"[..])], "whoever makes the call again needs to know");
        // Neither the state nor the next call knows of it.
        assert_eq!((kept.get(b"a"), kept.entry_count()), (Some(&b"before"[..]), 1));
        assert_eq!(cleaner.clean_keeping(&batch(1), &kept).unwrap().1, StateChanges::default());
    }
    drop(cleaner);
    assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0), "what the overlay took is given back");
}

#[test]
fn many_keys_cross_at_once() {
    // Keys `a`, `bb`, `a`: offsets 0, 1, 3, 4 at 256; one byte each comes back at the address in 2052.
    let data = r#"abba") (data (i32.const 256) "\00\00\00\00\01\00\00\00\03\00\00\00\04\00\00\00"#;
    let body = format!(
        "(call $add-many (i32.const 256) (i32.const 4) (i32.const 128) (i32.const 4) (i32.const 2048)) {OR_DIE}
         (if (i32.ne (i32.load (i32.const 2056)) (i32.const 3)) (then (unreachable)))
         (local.set $i (i32.load (i32.const 2052)))
         (if (i32.load8_u (local.get $i)) (then (unreachable)))
         (if (i32.eqz (i32.load8_u (i32.add (local.get $i) (i32.const 1)))) (then (unreachable)))
         (if (i32.load8_u (i32.add (local.get $i) (i32.const 2))) (then (unreachable)))"
    );
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = keeping(&body, data).load(&sandbox()).cleaner(&settings).unwrap();
    let (_, changed) = cleaner.clean_keeping(&batch(2), &entries(&[("a", "kept")])).unwrap();
    assert_eq!(changed, changes(&[("bb", Some(""))]));
}

#[test]
fn offsets_that_are_none_are_refused_and_harm_nobody() {
    // Falling, beyond the end, not from 0, huge.
    for offsets in [[0, 3, 1, 4], [0, 1, 3, 9], [1, 2, 3, 4], [0, u32::MAX, 3, 4]] {
        let bytes: String = offsets.iter().flat_map(|offset: &u32| offset.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
        let data = format!(r#"abba") (data (i32.const 256) "{bytes}"#);
        for call in ["$add-many", "$get-many"] {
            // Code 4, wrong length, at 2052.
            let body = format!(
                "(call {call} (i32.const 256) (i32.const 4) (i32.const 128) (i32.const 4) (i32.const 2048))
                 (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (unreachable)))
                 (if (i32.ne (i32.load16_u (i32.const 2052)) (i32.const 4)) (then (unreachable)))"
            );
            let (settings, _) = settings(PluginKind::Cleaner);
            let mut cleaner = keeping(&body, &data).load(&sandbox()).cleaner(&settings).unwrap();
            let (_, changed) = cleaner.clean_keeping(&batch(2), &entries(&[])).unwrap();
            assert_eq!(changed, StateChanges::default(), "{offsets:?}");
        }
    }
}

#[test]
fn keys_beyond_what_the_host_may_hold_are_not_noted_however_often_they_are_asked_for() {
    // 8,192 empty keys at a time, a hundred times, whatever comes back.
    let body = "(loop $again
        (call $get-many (i32.const 65536) (i32.const 8193) (i32.const 128) (i32.const 0) (i32.const 2048))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
        (unreachable)";
    let mut guest = keeping(body, "");
    guest.memory_pages = 8;
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.output_bytes_max = 1 << 20;
    let mut cleaner = guest.load(&sandbox()).cleaner(&settings).unwrap();
    let error = cleaner.clean_keeping(&batch(2), &entries(&[])).unwrap_err();
    assert!(seen(&error).1.contains("output_bytes_max"), "{error}");
    assert_eq!(cleaner.state_keys().len(), 16_384, "two times were within the limit");
}

#[test]
fn a_call_over_many_keys_is_stopped_among_them() {
    const KEYS: usize = 8 << 20;
    let body = format!("(call $get-many (i32.const 65536) (i32.const {}) (i32.const 128) (i32.const 0) (i32.const 2048))", KEYS + 1);
    let mut guest = keeping(&body, "");
    guest.memory_pages = 1024;
    let (mut settings, _) = settings(PluginKind::Cleaner);
    (settings.limits.memory_bytes_max, settings.limits.output_bytes_max) = (128 << 20, 1 << 30);
    settings.limits.call_ms_max = 20;
    let mut cleaner = guest.load(&sandbox()).cleaner(&settings).unwrap();
    let error = cleaner.clean_keeping(&batch(2), &entries(&[])).unwrap_err();
    assert!(seen(&error).1.contains("call_ms_max"), "{error}");
    assert!(cleaner.state_keys().len() < KEYS, "it went through all keys before anybody asked for the time");
}

#[test]
fn what_was_never_there_leaves_no_trace_when_it_is_removed() {
    let body = format!(
        "(call $remove (i32.const 128) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (call $set (i32.const 129) (i32.const 1) (i32.const 128) (i32.const 2) (i32.const 2048)) {OR_DIE}
         (call $remove (i32.const 129) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (call $remove (i32.const 130) (i32.const 1) (i32.const 2048)) {OR_DIE}"
    );
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = keeping(&body, "abc").load(&sandbox()).cleaner(&settings).unwrap();
    let (_, changed) = cleaner.clean_keeping(&batch(2), &entries(&[("c", "kept")])).unwrap();
    assert_eq!(changed, changes(&[("c", None)]));
}

#[test]
fn counts_of_a_state_that_cannot_be_harm_nobody() {
    let body = format!(
        "(call $remove (i32.const 128) (i32.const 1) (i32.const 2048)) {OR_DIE}
         (call $set (i32.const 129) (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 2048))"
    );
    let (settings, _) = settings(PluginKind::Cleaner);
    let mut cleaner = keeping(&body, "ab").load(&sandbox()).cleaner(&settings).unwrap();
    for (count, expected) in [(0, &[("a", None), ("b", Some("a"))][..]), (u64::MAX, &[("a", None)])] {
        // As a replay bundle of somebody else's making may say.
        let forged = StateSeen { read: changes(&[("a", Some("1"))]), entry_count: count, byte_count: count };
        let (_, changed) = cleaner.clean_keeping(&batch(2), &Arc::new(forged.into())).unwrap();
        assert_eq!(changed, changes(expected), "{count}");
    }
}

#[test]
fn who_did_not_ask_for_state_is_denied_it_with_the_line_that_asks() {
    let refuses = r#"(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1032) (i32.const 7))
        (i32.store (i32.const 1036) (i32.const 128)) (i32.store (i32.const 1040) (i32.const 4))"#;
    let body = format!(
        "(call $get (i32.const 128) (i32.const 1) (i32.const 2048))
         (if (i32.ne (i32.load16_u (i32.const 2052)) (i32.const 5)) (then (unreachable))) {refuses}"
    );
    let mut guest = keeping(&body, "none");
    guest.manifest = guest.manifest.replace("state = 'keyed'\n", "");
    let (settings, lines) = settings(PluginKind::Cleaner);
    let mut cleaner = guest.load(&sandbox()).cleaner(&settings).unwrap();
    assert!(!cleaner.keeps_state());
    let error = cleaner.clean(&batch(2)).unwrap_err();
    assert_eq!(seen(&error), ("clean", "refused: none".to_owned()));
    assert_eq!(error.hint().unwrap(), "to grant it, write `state = \"keyed\" # in the plugin's own plugin.toml`");
    let said = lines.lock().unwrap()[0].message.clone();
    assert!(said.starts_with("the host's state is not granted; to grant it, write `state = \"keyed\""), "{said}");
}

#[test]
fn it_is_lent_to_clean_alone() {
    let mut guest = keeping("", "a");
    guest.configure = "(call $get (i32.const 128) (i32.const 1) (i32.const 2048))
        (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (unreachable)))
        (if (i32.ne (i32.load16_u (i32.const 2052)) (i32.const 5)) (then (unreachable))) (i32.const 1024)"
        .into();
    let (settings, lines) = settings(PluginKind::Cleaner);
    assert!(guest.load(&sandbox()).cleaner(&settings).unwrap().clean(&batch(2)).is_ok());
    assert!(lines.lock().unwrap().is_empty(), "there is nothing to grant");
}

#[test]
fn a_word_for_state_that_this_host_does_not_lend_is_refused_at_load() {
    for (word, expected) in [("global", "the host lends no state that pipelines share"), ("some", "expected `none`, `per-part` or `keyed`")]
    {
        let mut guest = Guest::new(PluginKind::Cleaner);
        guest.manifest = guest.manifest.replace("reasons =", &format!("state = '{word}'\nreasons ="));
        let error = sandbox().load(&name(), &guest.bytes()).unwrap_err();
        assert!(matches!(&error, LoadError::Manifest { why, .. } if why.contains(expected)), "{error:?}");
    }
}
