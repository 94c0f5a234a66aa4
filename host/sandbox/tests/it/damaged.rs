//! Files that are cut off, altered or made to be expensive: each ends in an error, or in a plugin that is contained like any other.

use proptest::prelude::*;
use tidegate_sandbox::{LoadError, PluginKind, Sandbox};

use crate::contained::use_it;
use crate::guest::{Guest, custom_section, name, sandbox, settings};

/// Loads bytes and, should they be a plugin, uses it.
fn load_and_use(sandbox: &Sandbox, bytes: &[u8]) -> Result<(), LoadError> {
    let plugin = sandbox.load(&name(), bytes)?;
    let (mut settings, _) = settings(PluginKind::Cleaner);
    settings.limits.call_ms_max = 1_000;
    // It may well work: a bit of a name, say, harms nobody.
    let _ = plugin.cleaner(&settings).and_then(|mut cleaner| cleaner.clean(&crate::guest::batch(3)));
    Ok(())
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    let whole = Guest::new(PluginKind::Cleaner).bytes();
    let sandbox = sandbox();
    for length in (0..whole.len()).step_by(7) {
        let error = load_and_use(&sandbox, &whole[..length]).unwrap_err();
        assert!(error.hint().is_some(), "{length}: {error}");
    }
    assert_eq!(sandbox.memory_bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bits_that_flipped_end_in_an_error_or_a_contained_plugin(flips in prop::collection::vec((any::<u32>(), 0..8_u32), 1..6)) {
        let mut bytes = Guest::new(PluginKind::Cleaner).bytes();
        for (at, bit) in flips {
            let at = at as usize % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let sandbox = sandbox();
        let _ = load_and_use(&sandbox, &bytes);
        prop_assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0));
    }
}

fn component(body: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(format!("(component {body})")).unwrap();
    bytes.extend(custom_section("tidegate:manifest", Guest::new(PluginKind::Cleaner).manifest.as_bytes()));
    bytes
}

#[test]
fn ten_thousand_imports_are_not_looked_through() {
    let many: String = (0..10_000).map(|number| format!(r#"(import "i{number}" (func))"#)).collect();
    let error = load_and_use(&sandbox(), &component(&many)).unwrap_err().to_string();
    assert!(error.contains("more than 4096 imports and exports"), "{error}");
    // In a module inside, where nobody gives it what it asks for.
    let inside = format!("(core module {})", (0..10_000).map(|n| format!(r#"(import "m" "f{n}" (func))"#)).collect::<String>());
    let error = load_and_use(&sandbox(), &component(&inside)).unwrap_err().to_string();
    assert!(error.contains("none of the plugin worlds"), "{error}");
}

#[test]
fn components_in_components_without_end_are_an_error() {
    // Each layer is a section that holds the next.
    let head = b"\0asm\x0d\0\x01\0";
    let mut bytes = head.to_vec();
    for _ in 0..5_000 {
        let mut outer = head.to_vec();
        outer.push(4);
        outer.extend(leb(bytes.len()));
        outer.extend(bytes);
        bytes = outer;
    }
    let error = load_and_use(&sandbox(), &bytes).unwrap_err();
    assert!(matches!(error, LoadError::Manifest { .. } | LoadError::Damaged { .. }), "{error}");
    let mut inside = Guest::new(PluginKind::Cleaner).bytes();
    inside.push(4);
    inside.extend(leb(bytes.len()));
    inside.extend(bytes);
    // Nobody makes an instance of it, so that this may well be a plugin: what counts is that nobody goes down into it and falls.
    let _ = load_and_use(&sandbox(), &inside);
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn a_large_table_of_start_values_costs_its_own_limit() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.fields = "(table 200000 funcref)".into();
    let (settings, _) = settings(PluginKind::Cleaner);
    let error = use_it(&sandbox(), &guest, &settings).unwrap_err().to_string();
    assert!(error.contains("table_entries_max"), "{error}");
}
