//! What is fuzzed: the manifest, the component around it, and the boundary between a running guest and the host.
//!
//! Invariant: no input panics, hangs or exhausts the host, and whatever fails has a name: each target ends in a value or in an error
//! of the sandbox. `cargo xtask fuzz` runs the targets under libFuzzer; a plain test replays the corpus, so that what was found once
//! stays found.

mod program;

#[expect(dead_code, reason = "it uses a part of what makes guests")]
#[expect(clippy::unwrap_used, reason = "it makes the guests of tests")]
#[path = "../../sandbox/tests/it/guest.rs"]
mod guest;

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use tidegate_sandbox::{CallError, Cleaner, PluginKind, PluginSettings, Sandbox, examine};
use tidegate_vocab::limits::{STATE_ENTRY_BYTES, SharedLimits};
use tidegate_vocab::{Batch, KeptRows, StateChanges, StateEntries};

use guest::{Guest, custom_section, name};

/// What is fed bytes; it panics when it found something.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 3] = [("manifest", manifest), ("boundary", boundary), ("component", component)];

/// Patches of one component that are applied.
const PATCHES_MAX: usize = 64;

/// Any bytes as the manifest of a component that is whole otherwise.
pub fn manifest(data: &[u8]) {
    static BARE: LazyLock<Vec<u8>> = LazyLock::new(|| Guest::new(PluginKind::Cleaner).without_manifest());
    let mut bytes = BARE.clone();
    bytes.extend(custom_section("tidegate:manifest", data));
    // The same bytes as a file of their own: they are a component only by accident.
    for bytes in [bytes.as_slice(), data] {
        if let Err(error) = examine(&name(), bytes, &SharedLimits::DEFAULT) {
            assert!(error.to_string().len() < 8_192, "{error}");
        }
    }
}

/// A component with bytes changed: four bytes of input put one byte at one place.
pub fn component(data: &[u8]) {
    static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| Guest::new(PluginKind::Cleaner).bytes());
    let mut bytes = WHOLE.clone();
    let (patches, rest) = data.as_chunks::<4>();
    for [high, low, value, how] in patches.iter().take(PATCHES_MAX) {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        match how % 3 {
            0 => bytes[at] = *value,
            1 => bytes[at] ^= 1 << (value % 8),
            _ => bytes[at] = bytes[at].wrapping_add(*value),
        }
    }
    if !rest.is_empty() {
        let whole = bytes.len();
        bytes.truncate(whole - (usize::from(rest[0]) * whole) / 256);
    }
    thread_local!(static SANDBOX: Sandbox = guest::sandbox());
    SANDBOX.with(|sandbox| {
        if let Ok(plugin) = sandbox.load(&name(), &bytes) {
            let cleaned = plugin.cleaner(&settings()).and_then(|mut cleaner| cleaner.clean(&guest::batch(3)));
            cleaned.map_or_else(|error| named(&error), drop);
        }
        assert_eq!(sandbox.memory_bytes(), 0);
    });
}

/// A cleaner that calls whatever host functions the input says, with whatever arguments.
pub fn boundary(data: &[u8]) {
    thread_local!(static CLEANER: RefCell<(Sandbox, Cleaner)> = RefCell::new(interpreter()));
    let input = program::batch(data);
    static KEPT: LazyLock<Arc<StateEntries>> = LazyLock::new(|| Arc::new(kept()));
    CLEANER.with_borrow_mut(|(sandbox, cleaner)| match cleaner.clean_keeping(&input, &KEPT) {
        Ok((cleaned, changes)) => {
            check_cleaned(&input, &cleaned.rows, &cleaned.kept, cleaned.dropped.len());
            check_changes(&KEPT, changes);
            assert!((cleaner.state_keys().len() as u64) <= settings().limits.output_bytes_max / STATE_ENTRY_BYTES);
        }
        Err(error) => {
            named(&error);
            assert_eq!(sandbox.memory_bytes(), 0, "an instance whose call failed is gone with all it held");
        }
    });
}

fn interpreter() -> (Sandbox, Cleaner) {
    let sandbox = guest::sandbox();
    let cleaner = program::interpreter().load(&sandbox).cleaner(&settings());
    (sandbox, cleaner.unwrap_or_else(|error| panic!("the interpreter starts: {error}")))
}

fn settings() -> PluginSettings {
    let (mut settings, _) = guest::settings(PluginKind::Cleaner);
    // Small limits, so that what grows without bounds is seen soon.
    settings.limits.call_ms_max = 500;
    settings.limits.host_call_bytes_max = 1 << 20;
    settings.limits.output_bytes_max = 1 << 20;
    settings.limits.metadata_entries_max = 64;
    settings.limits.resources_max = 64;
    (settings.limits.state_entries_max, settings.limits.state_bytes_max) = (16, 4_096);
    (settings.limits.state_key_bytes_max, settings.limits.state_value_bytes_max) = (64, 1_024);
    settings
}

/// What the cleaner kept before: of the words that a program can point at, the first letters.
fn kept() -> StateEntries {
    let entry = |key: &str| (Box::from(key.as_bytes()), Some(Box::from(key.as_bytes())));
    let mut kept = StateEntries::default();
    kept.apply(StateChanges(["", "b", "bad", "f64"].map(entry).into()));
    kept
}

/// Whatever a cleaner did with its state, it is within its limits, and nothing is removed that was not there.
fn check_changes(kept: &StateEntries, changes: StateChanges) {
    let limits = settings().limits;
    for (key, value) in &changes.0 {
        assert!(key.len() <= limits.state_key_bytes_max as usize);
        match value {
            Some(value) => assert!(value.len() <= limits.state_value_bytes_max as usize),
            None => assert!(kept.get(key).is_some(), "{key:?} was never there"),
        }
    }
    let mut after = kept.clone();
    after.apply(changes);
    assert!(after.entry_count() <= limits.state_entries_max && after.byte_count() <= limits.state_bytes_max);
}

/// What every cleaner leaves alone, whatever it did.
fn check_cleaned(input: &Batch, rows: &Batch, kept: &KeptRows, dropped: usize) {
    assert_eq!((kept.len(), kept.len() + dropped), (rows.row_count(), input.row_count()));
    assert!(kept.iter().is_sorted() && kept.iter().all(|row| (row as usize) < input.row_count()));
    let (before, after) = (input.column("label"), rows.column("label"));
    let (Some(before), Some(after)) = (before, after) else { panic!("the label is there") };
    for (row, kept) in kept.positions() {
        assert_eq!(after.slice(row as usize, 1).as_ref(), before.slice(kept as usize, 1).as_ref());
    }
}

/// Whether an error says what happened, and blames the right side.
fn named(error: &CallError) {
    let text = error.to_string();
    assert!(!text.contains("fault of the host") && text.len() < 8_192, "{text}");
}
