//! What needs a process of its own: compilation in a child, a sandbox where address space is short, and the limits that all plugins
//! share.
//!
//! This test is its own child: with an argument it is the compiler, or the process that has little room.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(dead_code, reason = "it uses a part of what makes guests")]

#[path = "it/guest.rs"]
mod guest;

use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_sandbox::{CallError, CompileError, Compiled, Compiler, LoadError, PluginKind, Sandbox, SandboxConfig, compile_child_main};
use tidegate_vocab::limits::SharedLimits;

use guest::{Guest, batch, name, sandbox_config, settings};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("compile-plugin") => ExitCode::from(compile_child_main(std::io::stdin(), std::io::stdout(), std::io::stderr())),
        Some("little-room") => {
            little_room();
            ExitCode::SUCCESS
        }
        _ => {
            clean_with(&with_child(SharedLimits::DEFAULT));
            a_child_says_what_is_invalid();
            let room = Command::new(std::env::current_exe().unwrap()).arg("little-room").status().unwrap();
            assert!(room.success(), "the process with little room: {room}");
            every_shared_limit_is_exceeded();
            ExitCode::SUCCESS
        }
    }
}

fn config(limits: SharedLimits) -> SandboxConfig {
    let compiler = Compiler::Child { program: std::env::current_exe().unwrap(), args: vec!["compile-plugin".into()] };
    SandboxConfig { limits, compiler, ..sandbox_config() }
}

fn with_child(limits: SharedLimits) -> Sandbox {
    Sandbox::new(config(limits)).unwrap()
}

fn clean_with(sandbox: &Sandbox) {
    let (settings, _) = settings(PluginKind::Cleaner);
    let plugin = Guest::new(PluginKind::Cleaner).load(sandbox);
    assert_eq!(plugin.compiled(), Compiled::Now);
    assert_eq!(plugin.cleaner(&settings).unwrap().clean(&batch(3)).unwrap().kept, [0, 1, 2]);
}

fn a_child_says_what_is_invalid() {
    let mut bytes = Guest::new(PluginKind::Cleaner).bytes();
    let body = bytes.windows(4).position(|bytes| bytes == [0x41, 0x80, 0x08, 0x0b]).unwrap();
    bytes[body + 3] = 0xff;
    let error = with_child(SharedLimits::DEFAULT).load(&name(), &bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Compile { source: CompileError::Invalid { .. }, .. }), "{error}");
}

/// Six GiB of address space: too little for a pool.
fn little_room() {
    let most = 6 << 30;
    setrlimit(Resource::As, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
    let sandbox = Sandbox::new(sandbox_config()).unwrap();
    assert!(!sandbox.is_pooled());
    clean_with(&sandbox);
    clean_with(&with_child(SharedLimits::DEFAULT));
}

/// One case a limit of `[plugins]`; a limit without one fails.
const EXCEEDED: [(&str, fn()); 5] = [
    ("memory_bytes_max", memory_of_all_instances),
    ("instances_max", instances_of_all_plugins),
    ("component_bytes_max", size_of_a_component),
    ("compile_ms_max", time_of_a_compilation),
    ("compile_memory_bytes_max", memory_of_a_compilation),
];

fn every_shared_limit_is_exceeded() {
    for limit in SharedLimits::KEYS {
        let case = EXCEEDED.iter().find(|(key, _)| *key == limit.key);
        let (_, exceed) = case.unwrap_or_else(|| panic!("nothing here exceeds `{}`", limit.key));
        exceed();
    }
    assert_eq!(EXCEEDED.len(), SharedLimits::KEYS.len());
}

/// Instances of a cleaner until there is no room for another; then as many as before once one is gone.
fn fill(limits: SharedLimits, expected: &str) {
    let sandbox = Sandbox::new(SandboxConfig { limits, ..sandbox_config() }).unwrap();
    let (settings, _) = settings(PluginKind::Cleaner);
    let plugin = Guest::new(PluginKind::Cleaner).load(&sandbox);
    let mut held: Vec<_> = (0..3).map(|_| plugin.cleaner(&settings).unwrap()).collect();
    let error = plugin.cleaner(&settings).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::OverLimit { step: "instantiate", limit, .. } if limit == &expected), "{error}");
    assert!(error.hint().unwrap().contains(&format!("`[{}`", expected.replace("plugins.", "plugins] "))), "{:?}", error.hint());
    held.iter_mut().for_each(|cleaner| drop(cleaner.clean(&batch(2)).unwrap()));
    held.pop();
    assert!(plugin.cleaner(&settings).is_ok());
    drop(held);
    assert_eq!((sandbox.memory_bytes(), sandbox.instance_count()), (0, 0));
}

fn memory_of_all_instances() {
    fill(SharedLimits { memory_bytes_max: 3 << 16, ..SharedLimits::DEFAULT }, "plugins.memory_bytes_max");
}

fn instances_of_all_plugins() {
    fill(SharedLimits { instances_max: 3, ..SharedLimits::DEFAULT }, "plugins.instances_max");
}

fn size_of_a_component() {
    let bytes = Guest::new(PluginKind::Cleaner).bytes();
    let limits = SharedLimits { component_bytes_max: bytes.len() as u64 - 1, ..SharedLimits::DEFAULT };
    let error = with_child(limits).load(&name(), &bytes).unwrap_err();
    assert_eq!(error.to_string(), format!("plugin `test` has {} bytes, `component_bytes_max` is {}", bytes.len(), bytes.len() - 1));
    assert!(error.hint().unwrap().contains("raise `[plugins] component_bytes_max`"));
}

/// A plugin with a function that takes the compiler far longer than it took to write.
fn bomb(statements: usize) -> Guest {
    let mut body = String::new();
    for number in 0..statements {
        let local = number % 200;
        let _ = write!(
            body,
            "(if (local.get {local}) (then (local.set {} (i64.add (local.get $x) (i64.load (local.get {local}))))))",
            200 + local
        );
    }
    let mut guest = Guest::new(PluginKind::Cleaner);
    guest.fields = format!("(func $bomb {} {} (local $x i64) {body})", "(local i32)".repeat(200), "(local i64)".repeat(200));
    guest
}

fn time_of_a_compilation() {
    let sandbox = with_child(SharedLimits { compile_ms_max: 300, ..SharedLimits::DEFAULT });
    let error = sandbox.load(&name(), &bomb(60_000).bytes()).unwrap_err();
    let LoadError::Compile { source, .. } = &error else { panic!("{error}") };
    assert_eq!(*source, CompileError::TooSlow { ms: 300 });
    assert!(error.hint().unwrap().contains("raise `[plugins] compile_ms_max`"));
    clean_with(&with_child(SharedLimits::DEFAULT));
}

fn memory_of_a_compilation() {
    // Less than the configuration takes, so that the bomb need not be a large one.
    let sandbox = with_child(SharedLimits { compile_memory_bytes_max: 300 << 20, ..SharedLimits::DEFAULT });
    let error = sandbox.load(&name(), &bomb(30_000).bytes()).unwrap_err();
    assert!(matches!(&error, LoadError::Compile { source: CompileError::Died { .. }, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("raise `[plugins] compile_memory_bytes_max`"));
    clean_with(&with_child(SharedLimits::DEFAULT));
}
