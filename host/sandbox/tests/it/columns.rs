//! Column grants at every way to a column: what is listed, what can be read by number, and what can be edited.

use std::collections::BTreeSet;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Float64Type;
use tidegate_sandbox::{CallError, ColumnGrant, Failure, PluginKind};

use crate::guest::{Guest, batch, sandbox, settings};

const COLUMNS: &str = r#"(import "tidegate:plugin/rows@0.1.0" "[method]batch.columns" (func $columns (param i32 i32)))"#;
/// Refuses with the number of columns as the code, and the names of the first and the last as the message.
const LIST: &str = "(call $columns (local.get 0) (i32.const 2048))
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store16 (i32.const 1032) (i32.load (i32.const 2052)))
    (if (i32.load (i32.const 2052)) (then
      (i32.store (i32.const 1036) (i32.load (i32.load (i32.const 2048))))
      (i32.store (i32.const 1040) (i32.load offset=4 (i32.load (i32.const 2048))))))
    (return (i32.const 1024))";
/// Passes on what the host said, if it said no.
const PASS_ON: &str = "(if (i32.load8_u (i32.const 2048)) (then
      (i32.store8 (i32.const 1024) (i32.const 1))
      (i32.store16 (i32.const 1032) (i32.load16_u (i32.const 2052)))
      (i32.store (i32.const 1036) (i32.load (i32.const 2056)))
      (i32.store (i32.const 1040) (i32.load (i32.const 2060)))
      (return (i32.const 1024))))";
/// The line that would grant what was denied: the code of the interface for it.
const NOT_GRANTED: u16 = 5;
const NO_SUCH_COLUMN: u16 = 1;

fn grant(read: &[&str], write: &[&str]) -> Option<ColumnGrant> {
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    Some(ColumnGrant { read: names(read), write: names(write) })
}

fn failure(guest: &Guest, columns: Option<ColumnGrant>) -> Option<Failure> {
    let (mut settings, _) = settings(guest.kind);
    settings.grants.columns = columns;
    let plugin = guest.load(&sandbox());
    let ended = match guest.kind {
        PluginKind::Evaluator => plugin.evaluator(&settings).unwrap().evaluate(&batch(3)).map(drop),
        _ => plugin.cleaner(&settings).unwrap().clean(&batch(3)).map(drop),
    };
    match ended {
        Ok(()) => None,
        Err(CallError::Refused { failure, .. }) => Some(failure),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_withheld_column_is_not_listed_and_has_no_number() {
    let cleaner = Guest::cleaner(COLUMNS, LIST);
    let mut evaluator = Guest::new(PluginKind::Evaluator);
    (evaluator.imports, evaluator.main) = (COLUMNS.to_owned(), LIST.to_owned());
    for (guest, columns, count, first) in [
        (&cleaner, None, 2, "a"),
        (&cleaner, grant(&["b"], &[]), 1, "b"),
        (&cleaner, grant(&[], &["b"]), 1, "b"),
        (&cleaner, grant(&["*", "id"], &[]), 3, "id"),
        (&cleaner, grant(&["l*"], &["label"]), 0, ""),
        (&evaluator, None, 2, "id"),
        (&evaluator, grant(&["label"], &[]), 1, "label"),
        (&evaluator, grant(&[], &[]), 0, ""),
    ] {
        let failure = failure(guest, columns.clone()).unwrap();
        assert_eq!((failure.code, failure.message.as_str()), (count, first), "{columns:?}");
    }
    let reads = [("f64", "a number"), ("i64", "a number"), ("text", "text"), ("raw", "bytes"), ("valid", "validity")];
    for (read, what) in reads {
        let import =
            format!(r#"(import "tidegate:plugin/rows@0.1.0" "[method]batch.read-{read}" (func $read (param i32 i32 i32 i32 i32)))"#);
        let body = format!("(call $read (local.get 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 2048)) {PASS_ON}");
        let failure = failure(&Guest::cleaner(&import, &body), grant(&["b"], &[])).unwrap();
        assert_eq!((failure.code, failure.message.as_str()), (NO_SUCH_COLUMN, "there is no column 1: the batch has 1"), "{what}");
    }
}

/// A call of one method of `editor`: its parameters behind the handle, and the arguments.
fn edit(method: &str, parameters: &str, arguments: &str) -> Guest {
    let import = format!(r#"(import "tidegate:plugin/rows@0.1.0" "[method]editor.{method}" (func $edit (param i32 {parameters} i32)))"#);
    let mut guest = Guest::cleaner(&import, &format!("(call $edit (local.get 1) {arguments} (i32.const 2048)) {PASS_ON}"));
    guest.fields = r#"(data (i32.const 128) "newf64featurebad")"#.to_owned();
    guest
}

#[test]
fn what_is_read_only_is_edited_in_no_way() {
    let window = "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)";
    let text = format!("{window} (i32.const 0) (i32.const 0)");
    let added = "(i32.const 128) (i32.const 3) (i32.const 131) (i32.const 3) (i32.const 134) (i32.const 7) (i32.const 1)";
    for (method, parameters, arguments, column) in [
        ("clip", "i32 f64 f64", "(i32.const 0) (f64.const 0) (f64.const 1)", "editing the column `a`"),
        ("fill-missing", "i32 f64", "(i32.const 0) (f64.const 0)", "editing the column `a`"),
        ("write-f64", "i32 i32 i32 i32 i32 i32", window, "editing the column `a`"),
        ("write-i64", "i32 i32 i32 i32 i32 i32", window, "editing the column `a`"),
        ("write-raw", "i32 i32 i32 i32 i32 i32", window, "editing the column `a`"),
        ("write-text", "i32 i32 i32 i32 i32 i32 i32 i32", &text, "editing the column `a`"),
        ("drop-column", "i32", "(i32.const 0)", "editing the column `a`"),
        ("add-column", "i32 i32 i32 i32 i32 i32 i32", added, "adding the column `new`"),
    ] {
        let failure = failure(&edit(method, parameters, arguments), grant(&["a"], &["b"])).unwrap();
        let name = column.split('`').nth(1).unwrap();
        let mut write = ["b", name];
        write.sort_unstable();
        let line = format!(r#"[plugin.test.grant] columns = {{ read = ["a"], write = ["{}", "{}"] }}"#, write[0], write[1]);
        assert_eq!(failure.code, NOT_GRANTED, "{method}");
        assert_eq!(failure.message, format!("{column} is not granted; to grant it, write `{line}`"), "{method}");
        assert_eq!(failure.grant, Some(line), "{method}");
    }
}

#[test]
fn a_column_to_read_decides_over_rows_and_one_to_write_is_edited() {
    let reason = "(i32.const 141) (i32.const 3)";
    let present = edit("keep-present", "i32 i32 i32", &format!("(i32.const 0) {reason}"));
    assert_eq!(failure(&present, grant(&["a"], &["b"])), None);
    let between = edit("keep-between", "i32 f64 f64 i32 i32", &format!("(i32.const 0) (f64.const 0) (f64.const 9) {reason}"));
    assert_eq!(failure(&between, grant(&["a"], &["b"])), None);

    let clip = edit("clip", "i32 f64 f64", "(i32.const 1) (f64.const 0) (f64.const 1)");
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.grants.columns = grant(&["a"], &["b"]);
    let cleaned = clip.load(&sandbox()).cleaner(&settings).unwrap().clean(&batch(4)).unwrap();
    assert_eq!(cleaned.rows.column("b").unwrap().as_primitive::<Float64Type>().values(), &[0.0, 1.0, 1.0, 1.0]);
    assert!(cleaned.rows.column("label").unwrap().len() == 4, "what is withheld passes through");
}

#[test]
fn a_label_that_was_granted_is_read_and_never_edited() {
    let clip = edit("clip", "i32 f64 f64", "(i32.const 1) (f64.const 0) (f64.const 1)");
    let failure = failure(&clip, grant(&["*", "label"], &["*"])).unwrap();
    assert_eq!(failure.code, NOT_GRANTED);
    assert!(failure.message.contains("the column `label` has the role `label`; a cleaner edits features"), "{}", failure.message);
}

#[test]
fn a_plugin_that_misses_a_column_is_not_told_and_the_operator_is() {
    let mut guest = Guest::cleaner(
        "",
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 128))
         (i32.store (i32.const 1040) (i32.const 26)) (return (i32.const 1024))",
    );
    guest.fields = r#"(data (i32.const 128) "there is no column `label`")"#.to_owned();
    let line = |columns| failure(&guest, columns).unwrap().grant;
    assert_eq!(line(None).as_deref(), Some(r#"[plugin.test.grant] columns = { read = ["*", "label"], write = ["*"] }"#));
    assert_eq!(line(grant(&["b"], &[])).as_deref(), Some(r#"[plugin.test.grant] columns = { read = ["b", "label"] }"#));
    assert_eq!(line(grant(&["label"], &[])), None, "it has it");
}
