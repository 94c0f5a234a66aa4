//! The four handles with guests that behave.

use tidegate_sandbox::{CallError, Damage, PluginKind, Pull};
use tidegate_vocab::{DType, Role, Terms};

use crate::guest::{Guest, batch, sandbox, settings};

const ROWS: &str = "tidegate:plugin/rows@0.1.0";

#[test]
fn a_cleaner_edits_features_and_drops_rows_with_a_reason() {
    // Column 0 is the first feature, `a`, although it is the second column of the batch; column 1 is `b`, and there is no third.
    let imports = format!(
        r#"(import "{ROWS}" "[method]editor.keep-present" (func $present (param i32 i32 i32 i32 i32)))
           (import "{ROWS}" "[method]editor.clip" (func $clip (param i32 i32 f64 f64 i32)))"#
    );
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.imports = imports;
    guest.fields = r#"(data (i32.const 128) "bad")"#.into();
    guest.main = "(call $present (local.get 1) (i32.const 0) (i32.const 128) (i32.const 3) (i32.const 2048))
        (call $clip (local.get 1) (i32.const 1) (f64.const 1) (f64.const 3) (i32.const 2064))
        (call $clip (local.get 1) (i32.const 2) (f64.const 1) (f64.const 3) (i32.const 2080))
        (if (i32.or (i32.load8_u (i32.const 2048)) (i32.load8_u (i32.const 2064))) (then (unreachable)))
        (if (i32.ne (i32.load16_u (i32.const 2084)) (i32.const 1)) (then (unreachable)))
        (i32.const 1024)"
        .into();
    let (settings, _) = settings(PluginKind::Cleaner);
    let input = batch(6);
    let cleaned = guest.load(&sandbox()).cleaner(&settings).unwrap().clean(&input).unwrap();
    assert_eq!(cleaned.kept, [0, 3, 4, 5]);
    assert_eq!(cleaned.dropped, [(1, "bad".to_owned()), (2, "bad".to_owned())]);
    assert_eq!((cleaned.damage.rows_dropped, cleaned.damage.cells_changed()), (2, 3));
    assert_eq!(cleaned.rows.roles, input.roles);
    let b: Vec<f64> = cleaned.rows.column("b").unwrap().to_data().buffers()[0].typed_data::<f64>().to_vec();
    assert_eq!(b, [1.0, 3.0, 3.0, 3.0]);
    assert_eq!(cleaned.rows.column("label").unwrap().len(), 4);
}

#[test]
fn a_cleaner_that_does_nothing_gives_the_input_itself() {
    let (settings, _) = settings(PluginKind::Cleaner);
    let input = batch(5);
    let cleaned = Guest::new(PluginKind::Cleaner).load(&sandbox()).cleaner(&settings).unwrap().clean(&input).unwrap();
    assert_eq!((cleaned.damage, cleaned.kept.len()), (Damage::default(), 5));
    for (kept, given) in cleaned.rows.rows.columns().iter().zip(input.rows.columns()) {
        assert!(std::sync::Arc::ptr_eq(kept, given));
    }
}

#[test]
fn no_rows_are_rows_too() {
    let (settings, _) = settings(PluginKind::Cleaner);
    let cleaned = Guest::new(PluginKind::Cleaner).load(&sandbox()).cleaner(&settings).unwrap().clean(&batch(0)).unwrap();
    assert_eq!((cleaned.rows.row_count(), cleaned.kept.len()), (0, 0));
}

/// A source of three rows with one column, and a cursor.
fn source_of_three() -> Guest {
    let mut guest = Guest::new(PluginKind::Source);
    guest.imports = format!(
        r#"(import "{ROWS}" "[constructor]builder" (func $builder (param i32 i32) (result i32)))
           (import "{ROWS}" "[method]builder.push-f64" (func $push (param i32 i32 i32 i32 i32 i32 i32)))
           (import "{ROWS}" "[static]builder.finish" (func $finish (param i32 i32)))"#
    );
    guest.fields = r#"(data (i32.const 128) "x...f64.feature.cursor..") (data (i32.const 256) "\80\00\00\00\01\00\00\00\84\00\00\00\03\00\00\00\88\00\00\00\07\00\00\00\00\00\00\00")"#.into();
    guest.main = "(local.set $i (call $builder (i32.const 256) (i32.const 1)))
        (call $push (local.get $i) (i32.const 0) (i32.const 4096) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 2048))
        (call $finish (local.get $i) (i32.const 2048))
        (i32.store8 (i32.const 1032) (i32.const 0)) (i32.store (i32.const 1036) (i32.load (i32.const 2052)))
        (i32.store (i32.const 1040) (i32.const 144)) (i32.store (i32.const 1044) (i32.const 6))
        (i32.const 1024)"
        .into();
    guest
}

#[test]
fn a_source_gives_rows_with_their_cursor() {
    let guest = source_of_three();
    let (settings, _) = settings(PluginKind::Source);
    let mut source = guest.load(&sandbox()).source(&settings).unwrap();
    source.open(Some(b"before")).unwrap();
    let Pull::Rows { rows, cursor } = source.next(10, 1000).unwrap() else { panic!("expected rows") };
    assert_eq!((rows.row_count(), rows.roles.as_slice(), cursor.as_slice()), (3, &[Role::Feature][..], &b"cursor"[..]));
    assert_eq!(DType::of(rows.rows.column(0).data_type()), Some(DType::F64));
    let error = source.next(2, 1000).unwrap_err();
    assert!(matches!(&error, CallError::Incompatible { step: "next", offers, .. } if offers == "3 rows"), "{error}");
    // The instance is gone; the next call opens a fresh one where the last rows ended.
    assert!(matches!(source.next(10, 1000), Ok(Pull::Rows { .. })));
}

/// A NaN that no operation of any processor gives by itself.
const ODD_NAN: &str = "(i64.const 0xfff4000000001234)";

#[test]
fn nans_leave_a_guest_with_the_same_bits_on_every_processor() {
    let is_canonical = |values: &[f64]| values.iter().all(|value| value.to_bits() == f64::NAN.to_bits());
    let mut cleaner = Guest::new(PluginKind::Cleaner);
    cleaner.imports = format!(r#"(import "{ROWS}" "[method]editor.write-f64" (func $write (param i32 i32 i32 i32 i32 i32 i32 i32)))"#);
    cleaner.main = format!(
        "(i64.store (i32.const 4096) {ODD_NAN})
         (call $write (local.get 1) (i32.const 0) (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
         (i32.const 1024)"
    );
    let (calm, _) = settings(PluginKind::Cleaner);
    let cleaned = cleaner.load(&sandbox()).cleaner(&calm).unwrap().clean(&batch(1)).unwrap();
    assert!(is_canonical(cleaned.rows.column("a").unwrap().to_data().buffers()[0].typed_data::<f64>()));

    let mut source = source_of_three();
    let stores = [4096, 4104, 4112].map(|address| format!("(i64.store (i32.const {address}) {ODD_NAN})"));
    source.main.insert_str(0, &stores.concat());
    let (calm, _) = settings(PluginKind::Source);
    let Pull::Rows { rows, .. } = source.load(&sandbox()).source(&calm).unwrap().next(10, 1000).unwrap() else { panic!("expected rows") };
    assert!(is_canonical(rows.rows.column(0).to_data().buffers()[0].typed_data::<f64>()));

    let (calm, _) = settings(PluginKind::Evaluator);
    let odd = mean_of(1, &format!("f64.reinterpret_i64 {ODD_NAN}"), "");
    let terms = odd.load(&sandbox()).evaluator(&calm).unwrap().evaluate(&batch(1)).unwrap();
    let Terms::Mean { values } = &terms[0].terms else { panic!("{terms:?}") };
    assert!(is_canonical(values));
}

#[test]
fn a_source_is_idle_or_finished() {
    let (settings, _) = settings(PluginKind::Source);
    let mut guest = Guest::new(PluginKind::Source);
    assert_eq!(guest.load(&sandbox()).source(&settings).unwrap().next(1, 1).unwrap(), Pull::Finished);
    guest.main = "(i32.store8 (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 250)) (i32.const 1024)".into();
    assert_eq!(guest.load(&sandbox()).source(&settings).unwrap().next(1, 1).unwrap(), Pull::Idle { retry_ms: 250 });
}

/// An evaluator with one metric, `m`, which hands `length` values to `mean`, the first of them `value`.
fn mean_of(length: u32, value: &str, fields: &str) -> Guest {
    let mut guest = Guest::new(PluginKind::Evaluator);
    guest.imports =
        r#"(import "tidegate:plugin/measurements@0.1.0" "[method]report.mean" (func $mean (param i32 i32 i32 i32 i32 i32)))"#.into();
    guest.fields = format!(
        r#"(data (i32.const 128) "m.one") {fields} (data (i32.const 300) "\00\01\00\00\01\00\00\00")
        (data (i32.const 256) "\80\00\00\00\01\00\00\00\82\00\00\00\03\00\00\00\01\00\00\00")"#
    );
    // A list of one record at 256.
    guest.first = "(i32.store (i32.const 1040) (i32.const 256)) (i32.store (i32.const 1044) (i32.const 1)) (i32.const 1040)".into();
    guest.main = format!(
        "(f64.store (i32.const 4096) ({value}))
         (call $mean (local.get 1) (i32.const 128) (i32.const 1) (i32.const 4096) (i32.const {length}) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
         (i32.const 1024)"
    );
    guest
}

#[test]
fn an_evaluator_gives_terms_by_row() {
    let (settings, _) = settings(PluginKind::Evaluator);
    let mut evaluator = mean_of(3, "f64.const nan", "").load(&sandbox()).evaluator(&settings).unwrap();
    let metrics = evaluator.metrics().unwrap();
    assert_eq!((metrics[0].name.as_str(), metrics[0].unit.as_str(), metrics[0].higher_is_better), ("m", "one", true));
    let terms = evaluator.evaluate(&batch(3)).unwrap();
    let Terms::Mean { values } = &terms[0].terms else { panic!("{terms:?}") };
    assert!(values[0].is_nan() && values[1..] == [0.0, 0.0]);
}

#[test]
fn terms_that_are_infinite_or_too_few_are_refused() {
    let (settings, _) = settings(PluginKind::Evaluator);
    for guest in [mean_of(3, "f64.const inf", ""), mean_of(2, "f64.const 0", "")] {
        let error = guest.load(&sandbox()).evaluator(&settings).unwrap().evaluate(&batch(3)).unwrap_err();
        assert!(matches!(error, CallError::Trapped { step: "evaluate", .. }), "{error}");
    }
}

#[test]
fn a_configuration_is_checked_before_the_plugin_sees_it() {
    let plugin = Guest::new(PluginKind::Cleaner).load(&sandbox());
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.config = serde_json::json!({ "n": "three" });
    let error = plugin.cleaner(&settings).map(drop).unwrap_err();
    let CallError::Refused { step: "configure", failure, .. } = &error else { panic!("{error}") };
    assert_eq!(failure.issues[0].pointer, "/n");
    assert!(error.to_string().contains("at `/n`"), "{error}");
    settings.config = serde_json::json!({ "n": 3 });
    assert!(plugin.cleaner(&settings).is_ok());
}

#[test]
fn a_plugins_own_issues_are_listed() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    // result: error, one issue at 256: pointer "/n" and message "odd".
    guest.fields = r#"(data (i32.const 128) "/nodd") (data (i32.const 256) "\80\00\00\00\02\00\00\00\82\00\00\00\03\00\00\00")
        (data (i32.const 1024) "\01\00\00\00\00\01\00\00\01\00\00\00")"#
        .into();
    guest.probe = "(unreachable)".into();
    let (settings, _) = settings(PluginKind::Cleaner);
    let error = guest.load(&sandbox()).cleaner(&settings).map(drop).unwrap_err();
    let CallError::Refused { step: "configure", failure, .. } = &error else { panic!("{error}") };
    assert_eq!((failure.issues[0].pointer.as_str(), failure.issues[0].message.as_str()), ("/n", "odd"));
}

#[test]
fn a_handle_of_another_kind_is_refused() {
    let (settings, _) = settings(PluginKind::Cleaner);
    let error = Guest::new(PluginKind::Cleaner).load(&sandbox()).source(&settings).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::Incompatible { wants, offers, .. } if wants == "source" && offers == "cleaner"), "{error}");
}
