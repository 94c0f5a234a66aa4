//! Bytes that are not plugins, and each one's sentence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidegate_sandbox::{Compiled, CompiledCache, LoadError, PluginKind, Sandbox};

use crate::guest::{Guest, component_of, custom_section, name, sandbox, sandbox_config};

#[track_caller]
fn check(bytes: &[u8], expected: &str, hint: &str) {
    let error = sandbox().load(&name(), bytes).unwrap_err();
    let text = match &error {
        LoadError::Compile { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    };
    assert!(text.contains(expected), "{text}");
    assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
}

#[test]
fn every_kind_loads_and_says_what_it_is() {
    for kind in PluginKind::ALL {
        let plugin = Guest::new(kind).load(&sandbox());
        assert_eq!((plugin.kind(), plugin.compiled()), (kind, Compiled::Now));
        assert_eq!(plugin.manifest().reasons, ["bad"]);
    }
}

#[test]
fn bytes_that_are_no_component() {
    check(b"", "is empty: 0 bytes", "rebuild");
    check(b"not wasm", "found other bytes", "wasm32-wasip2");
    check(&wat::parse_str("(module)").unwrap(), "found a core module", "wasm32-wasip2");
    check(b"(component)", "found other bytes", "wasm32-wasip2");
    check(&vec![0; (64 << 20) + 1], "`component_bytes_max` is 67108864", "strip");
    let mut whole = Guest::new(PluginKind::Cleaner).bytes();
    check(&whole[..whole.len() - 20], "is damaged", "copy the file again");
    check(&whole[..40], "is damaged", "copy the file again");
    // The body `i32.const 1024 end`, with an end that is no instruction.
    let body = whole.windows(4).position(|bytes| bytes == [0x41, 0x80, 0x08, 0x0b]).unwrap();
    whole[body + 3] = 0xff;
    check(&whole, "could not compile plugin `test`: the component is not valid", "");
}

#[test]
fn no_flipped_bit_panics_the_host() {
    let whole = Guest::new(PluginKind::Cleaner).bytes();
    let sandbox = sandbox();
    for at in (0..whole.len()).step_by(23) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        // Some flips are in names and do no harm; the point is that each ends in a plugin or an error.
        let _ = sandbox.load(&name(), &flipped);
    }
}

#[test]
fn a_manifest_is_needed_and_checked() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    check(&guest.without_manifest(), "it has none", "tidegate plugin pack FILE --manifest plugin.toml");
    guest.manifest = guest.manifest.replace("type = 'object'", "type = 'objectt'");
    check(&guest.bytes(), "`config` is not a JSON Schema", "");
    guest.manifest = "name = 1".into();
    check(&guest.bytes(), "cannot be used", "tidegate plugin pack FILE");
}

#[test]
fn a_manifest_in_a_core_module_is_found() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    let manifest = guest.manifest.replace('\n', "\\n").replace('"', "\\\"");
    guest.fields = format!(r#"(@custom "tidegate:manifest" "{manifest}")"#);
    assert!(sandbox().load(&name(), &guest.without_manifest()).is_ok());
}

#[test]
fn the_kind_must_be_that_of_the_world() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.manifest = guest.manifest.replace("'cleaner'", "'source'");
    check(&guest.bytes(), "says that it is a source, but it does not export `source`: it was built for the world of a cleaner", "kind");
    let mut other = wat::parse_str("(component)").unwrap();
    other.extend(custom_section("tidegate:manifest", guest.manifest.as_bytes()));
    check(&other, "none of the plugin worlds", "kind");
}

#[test]
fn another_interface_version_is_told_by_name() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("wit-0.2");
    std::fs::create_dir_all(&folder).unwrap();
    let wit = "package tidegate:plugin@0.2.0; interface lifecycle { probe: func(); } world cleaner-plugin { export lifecycle; }";
    #[expect(clippy::disallowed_methods, reason = "a fixture")]
    std::fs::write(folder.join("world.wit"), wit).unwrap();
    let module = r#"(module (func (export "tidegate:plugin/lifecycle@0.2.0#probe")))"#;
    let component = component_of(module, "cleaner-plugin", &folder, None);
    check(&component, "was built for interface 0.2, this host serves 0.1", "rebuild `test` with the SDK of interface 0.1");
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.manifest = guest.manifest.replace("'0.1'", "'0.2'");
    check(&guest.bytes(), "was built for interface 0.2", "rebuild");
}

#[test]
fn a_cleaner_has_no_clock() {
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.imports = r#"(import "tidegate:plugin/clock@0.1.0" "now-us" (func (result i64)))"#.into();
    let world = "package test:test; world test {
        import tidegate:plugin/clock@0.1.0;
        export tidegate:plugin/lifecycle@0.1.0;
        export tidegate:plugin/cleaner@0.1.0;
    }";
    check(&guest.in_world(world), "says that it is a cleaner, but it imports `clock`, which that world does not have", "kind");
}

#[derive(Default)]
struct Cache(Mutex<HashMap<String, Vec<u8>>>);

impl CompiledCache for Cache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(key.to_owned(), bytes.to_owned());
    }
}

#[test]
fn a_compiled_plugin_is_used_again_unless_its_mac_is_bad() {
    let cache = Arc::new(Cache::default());
    let open = |mac_key| {
        let mut config = sandbox_config();
        config.compiled = Some(Arc::clone(&cache) as Arc<dyn CompiledCache>);
        config.mac_key = mac_key;
        Sandbox::new(config).unwrap()
    };
    let guest = Guest::new(PluginKind::Cleaner);
    let load = |mac_key| guest.load(&open(mac_key)).compiled();
    assert_eq!(load([1; 32]), Compiled::Now);
    assert_eq!(load([1; 32]), Compiled::Before);
    assert_eq!(load([2; 32]), Compiled::Now, "an entry of another key");
    assert_eq!(load([2; 32]), Compiled::Before);
    for entry in cache.0.lock().unwrap().values_mut() {
        let last = entry.len() - 1;
        entry[last] ^= 1;
    }
    assert_eq!(load([2; 32]), Compiled::Now, "an altered entry");
    assert_eq!(load([2; 32]), Compiled::Before);
    assert_eq!(cache.0.lock().unwrap().len(), 1);
}
