//! Makes components of pieces of WAT, and the settings to run them with.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, StringArray};
use tidegate_sandbox::{Compiler, Grants, LogLine, NoEgress, NoInputs, Plugin, PluginKind, PluginSettings, Sandbox, SandboxConfig};
use tidegate_vocab::limits::SharedLimits;
use tidegate_vocab::{Batch, PluginName, Role, SimulatedClock, Timestamp};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Returns the zeroed result area: `ok`.
pub const OK: &str = "(i32.const 1024)";
/// Never ends.
pub const ENDLESS: &str = "(loop $spin (br $spin))";
/// Never ends, where a result is expected.
pub const SPIN: &str = "(loop $spin (br $spin)) (i32.const 1024)";

/// The pieces of a guest; every function returns the address of its result unless a piece says otherwise.
pub struct Guest {
    pub kind: PluginKind,
    /// Core imports and anything else at the level of the module that must come first.
    pub imports: String,
    /// Anything else at the level of the module.
    pub fields: String,
    pub memory_pages: u32,
    /// Body of `cabi_realloc`; `None` for one that works.
    pub realloc: Option<String>,
    pub configure: String,
    pub probe: String,
    /// `open` of a source, `metrics` of an evaluator.
    pub first: String,
    /// `next`, `clean`, `evaluate` or `notify`.
    pub main: String,
    pub manifest: String,
}

impl Guest {
    /// A guest of `kind` that does nothing and does it well.
    pub fn new(kind: PluginKind) -> Guest {
        let manifest = format!(
            "name = 'test'\nkind = '{kind}'\nversion = '0.1.0'\ninterface = '0.1'\nreasons = ['bad']\n[config]\ntype = 'object'\nproperties.n.type = 'integer'"
        );
        // A source that gives a reader, then nothing any more: `finished` is case 2 of the variant at 1032.
        let first = match kind {
            PluginKind::Source => "(i32.store (i32.const 1032) (call $new-reader (i32.const 1))) (i32.const 1024)",
            _ => OK,
        };
        let main = match kind {
            PluginKind::Source => "(i32.store8 (i32.const 1032) (i32.const 2)) (i32.const 1024)",
            _ => OK,
        };
        Guest {
            kind,
            imports: String::new(),
            fields: String::new(),
            memory_pages: 1,
            realloc: None,
            configure: OK.into(),
            probe: OK.into(),
            first: first.into(),
            main: main.into(),
            manifest,
        }
    }

    /// A cleaner that does `body` with batches of any number of rows but one, and nothing with one row.
    pub fn cleaner(imports: &str, body: &str) -> Guest {
        let imports = format!(
            r#"{imports} (import "tidegate:plugin/rows@0.1.0" "[method]batch.row-count" (func $row-count (param i32) (result i32)))"#
        );
        let main = format!("(if (i32.ne (call $row-count (local.get 0)) (i32.const 1)) (then {body})) (i32.const 1024)");
        Guest { imports, main, ..Guest::new(PluginKind::Cleaner) }
    }

    fn exports(&self) -> String {
        let Guest { first, main, .. } = self;
        match self.kind {
            PluginKind::Cleaner | PluginKind::Evaluator => {
                let (lent, interface) = match self.kind {
                    PluginKind::Cleaner => ("[resource-drop]editor", "rows"),
                    _ => ("[resource-drop]report", "measurements"),
                };
                let export = if self.kind == PluginKind::Cleaner { "cleaner@0.1.0#clean" } else { "evaluator@0.1.0#evaluate" };
                let metrics = if self.kind == PluginKind::Cleaner {
                    String::new()
                } else {
                    format!(r#"(func (export "tidegate:plugin/evaluator@0.1.0#metrics") (result i32) {first})"#)
                };
                let imports = format!(
                    r#"(import "tidegate:plugin/rows@0.1.0" "[resource-drop]batch" (func $drop-batch (param i32)))
                       (import "tidegate:plugin/{interface}@0.1.0" "{lent}" (func $drop-lent (param i32)))"#
                );
                format!(
                    r#"{imports} ;;split
                    {metrics}
                    (func $main (param i32 i32) (result i32) (local $i i32) {main})
                    (func (export "tidegate:plugin/{export}") (param i32 i32) (result i32)
                      (call $main (local.get 0) (local.get 1))
                      (call $drop-lent (local.get 1)) (call $drop-batch (local.get 0)))"#
                )
            }
            PluginKind::Source => format!(
                r#"(import "[export]tidegate:plugin/source@0.1.0" "[resource-new]reader" (func $new-reader (param i32) (result i32))) ;;split
                (func (export "tidegate:plugin/source@0.1.0#open") (param i32 i32 i32) (result i32) (local $i i32) {first})
                (func (export "tidegate:plugin/source@0.1.0#[method]reader.next") (param i32 i32 i64) (result i32) (local $i i32) {main})"#
            ),
            PluginKind::Alerter => format!(
                r#";;split
                (func (export "tidegate:plugin/alerter@0.1.0#notify")
                  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32) (result i32) {main})"#
            ),
        }
    }

    fn module(&self) -> String {
        let exports = self.exports();
        let (imports, functions) = exports.split_once(";;split").unwrap();
        let realloc = self.realloc.clone().unwrap_or_else(|| {
            "(local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
             (global.set $free (i32.add (local.get $at) (local.get 3)))
             (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
               (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))))))
             (local.get $at)"
                .into()
        });
        format!(
            r#"(module
                {} {imports}
                (memory (export "memory") {})
                (global $free (mut i32) (i32.const 8192))
                {}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32) {realloc})
                (func (export "tidegate:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32) {})
                (func (export "tidegate:plugin/lifecycle@0.1.0#probe") (result i32) {})
                {functions})"#,
            self.imports, self.memory_pages, self.fields, self.configure, self.probe
        )
    }

    /// The component, with its manifest.
    pub fn bytes(&self) -> Vec<u8> {
        let mut component = self.without_manifest();
        component.extend(custom_section("tidegate:manifest", self.manifest.as_bytes()));
        component
    }

    pub fn without_manifest(&self) -> Vec<u8> {
        component_of(&self.module(), &format!("{}-plugin", self.kind), WIT.as_ref(), None)
    }

    /// The component as one of another world, a package of its own.
    pub fn in_world(&self, package: &str) -> Vec<u8> {
        let mut component = component_of(&self.module(), "test", WIT.as_ref(), Some(package));
        component.extend(custom_section("tidegate:manifest", self.manifest.as_bytes()));
        component
    }

    pub fn load(&self, sandbox: &Sandbox) -> Plugin {
        sandbox.load(&name(), &self.bytes()).unwrap()
    }
}

/// The interface, for the packages beside this one too.
const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

/// The component of a core module for a world of the package in `wit`, or of another package that uses it.
pub fn component_of(module: &str, world: &str, wit: &std::path::Path, other: Option<&str>) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    let mut resolve = Resolve::default();
    let (mut package, _) = resolve.push_dir(wit).unwrap();
    if let Some(other) = other {
        package = resolve.push_str("test.wit", other).unwrap();
    }
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap_or_else(|error| panic!("{error:#}"))
}

pub fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = leb(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    let mut section = vec![0];
    section.extend(leb(body.len()));
    section.extend(body);
    section
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

pub fn name() -> PluginName {
    "test".parse().unwrap()
}

pub fn sandbox_config() -> SandboxConfig {
    let limits = SharedLimits { memory_bytes_max: 64 << 20, ..SharedLimits::DEFAULT };
    SandboxConfig { limits, compiled: None, mac_key: [7; 32], compiler: Compiler::InProcess, epoch_tick_ms: 5 }
}

pub fn sandbox() -> Sandbox {
    Sandbox::new(sandbox_config()).unwrap()
}

/// Settings with a deadline that a test can wait for, and the lines that were logged.
pub fn settings(kind: PluginKind) -> (PluginSettings, Arc<Mutex<Vec<LogLine>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let mut limits = kind.default_limits();
    limits.memory_bytes_max = 4 << 20;
    let settings = PluginSettings {
        config: serde_json::json!({}),
        grants: Grants::default(),
        limits,
        inputs: Arc::new(NoInputs),
        egress: Arc::new(NoEgress),
        clock: Arc::new(SimulatedClock::new(Timestamp(42))),
        log: Arc::new(move |line| sink.lock().unwrap().push(line)),
    };
    (settings, lines)
}

/// A batch of `rows` rows: an id, a label and two features, one of which has a null and a NaN when it has room.
pub fn batch(rows: usize) -> Batch {
    let text = |prefix: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{prefix}{row}")))) };
    let values = |row: usize| match row {
        1 => None,
        2 => Some(f64::NAN),
        row => Some(row as f64),
    };
    let with_gaps: ArrayRef = Arc::new((0..rows).map(values).collect::<Float64Array>());
    let whole: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64)));
    let columns = vec![
        ("id".into(), Role::Id, text("id")),
        ("a".into(), Role::Feature, with_gaps),
        ("label".into(), Role::Label, text("class")),
        ("b".into(), Role::Feature, whole),
    ];
    Batch::new(columns).unwrap()
}
