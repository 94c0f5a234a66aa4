//! What needs a process of its own: compilation in a child, and a sandbox where address space is short.
//!
//! This test is its own child: with an argument it is the compiler, or the process that has little room.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(dead_code, reason = "it uses a part of what makes guests")]

#[path = "it/guest.rs"]
mod guest;

use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_sandbox::{CompileError, Compiled, Compiler, LoadError, PluginKind, Sandbox, compile_child_main};

use guest::{Guest, batch, name, sandbox_config, settings};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("compile-plugin") => ExitCode::from(compile_child_main(std::io::stdin(), std::io::stdout(), std::io::stderr())),
        Some("little-room") => {
            little_room();
            ExitCode::SUCCESS
        }
        _ => {
            a_child_compiles();
            a_child_says_what_is_invalid();
            let room = Command::new(std::env::current_exe().unwrap()).arg("little-room").status().unwrap();
            assert!(room.success(), "the process with little room: {room}");
            ExitCode::SUCCESS
        }
    }
}

fn with_child() -> Sandbox {
    let mut config = sandbox_config();
    config.compiler = Compiler::Child { program: std::env::current_exe().unwrap(), args: vec!["compile-plugin".into()] };
    Sandbox::new(config).unwrap()
}

fn clean_with(sandbox: &Sandbox) {
    let (settings, _) = settings(PluginKind::Cleaner);
    let plugin = Guest::new(PluginKind::Cleaner).load(sandbox);
    assert_eq!(plugin.compiled(), Compiled::Now);
    assert_eq!(plugin.cleaner(&settings).unwrap().clean(&batch(3)).unwrap().kept, [0, 1, 2]);
}

fn a_child_compiles() {
    clean_with(&with_child());
}

fn a_child_says_what_is_invalid() {
    let mut bytes = Guest::new(PluginKind::Cleaner).bytes();
    let body = bytes.windows(4).position(|bytes| bytes == [0x41, 0x80, 0x08, 0x0b]).unwrap();
    bytes[body + 3] = 0xff;
    let error = with_child().load(&name(), &bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Compile { source: CompileError::Invalid { .. }, .. }), "{error}");
}

/// Six GiB of address space: too little for a pool.
fn little_room() {
    let most = 6 << 30;
    setrlimit(Resource::As, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
    let sandbox = Sandbox::new(sandbox_config()).unwrap();
    assert!(!sandbox.is_pooled());
    clean_with(&sandbox);
    clean_with(&with_child());
}
