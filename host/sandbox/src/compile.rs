//! Compilation, in a child process or in this one.
//!
//! Cranelift cannot be interrupted, so a component made to compile for ever is given a process of its own: under a deadline, and
//! with limits on address space and processor time that it sets for itself before it reads a byte.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_vocab::limits::{COMPILE_MEMORY_BYTES_MAX, COMPILE_MS_MAX, COMPONENT_BYTES_MAX};
use wasmtime::Engine;

use crate::call::quoted;
use crate::engine::{Compiler, Layout, engine_config};

/// Compiled code that a child may hand back.
const COMPILED_BYTES_MAX: u64 = 16 * COMPONENT_BYTES_MAX;
/// What is kept of what a child says on stderr.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Processors that a compilation may keep busy for its whole deadline.
const COMPILE_PROCESSORS_MAX: u64 = 4;

/// A component that was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not a valid component.
    #[error("the component is not valid: {why}")]
    Invalid {
        /// The compiler's words.
        why: String,
    },
    /// The compiler took too long.
    #[error("compiling it did not end within {ms} ms")]
    TooSlow {
        /// The deadline.
        ms: u64,
    },
    /// The compiler was ended by its limits of memory or processor time, or crashed.
    #[error("the compiling process ended without a result ({how}): {why}")]
    Died {
        /// Its exit status.
        how: String,
        /// The end of what it said.
        why: String,
    },
    /// The child process could not be used.
    #[error("could not {what} the compiling process: {why}")]
    Child {
        /// What was tried.
        what: &'static str,
        /// The cause.
        why: String,
    },
}

/// Exit status of a child that found the component invalid.
const EXIT_INVALID: u8 = 3;

pub(crate) fn compile(compiler: &Compiler, engine: &Engine, layout: Layout, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    match compiler {
        Compiler::InProcess => engine.precompile_component(component).map_err(|error| invalid(&error)),
        Compiler::Child { program, args } => {
            let mut command = Command::new(program);
            command.args(args);
            compile_in_child(command, layout, component, Duration::from_millis(COMPILE_MS_MAX))
        }
    }
}

fn invalid(error: &wasmtime::Error) -> CompileError {
    CompileError::Invalid { why: quoted(&format!("{error:#}"), MESSAGE_BYTES_MAX as u32) }
}

/// Runs the child: one byte of layout and the component go in, compiled bytes come out.
fn compile_in_child(mut command: Command, layout: Layout, component: &[u8], deadline: Duration) -> Result<Vec<u8>, CompileError> {
    let child = |what| move |error: std::io::Error| CompileError::Child { what, why: error.to_string() };
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(child("start"))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (process.stdin.take(), process.stdout.take(), process.stderr.take()) else {
        return Err(CompileError::Child { what: "connect to", why: "a pipe is missing".into() });
    };
    let mut request = Vec::with_capacity(component.len() + 1);
    request.push(layout_byte(layout));
    request.extend_from_slice(component);
    std::thread::spawn(move || {
        // A child that died early has closed its end; how it died is what gets reported.
        let _ = stdin.write_all(&request);
    });
    let (code, words) = (read_all(stdout, COMPILED_BYTES_MAX), read_all(stderr, MESSAGE_BYTES_MAX));
    let code = match code.recv_timeout(deadline) {
        Ok(code) => code,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            end(&mut process);
            return Err(CompileError::TooSlow { ms: deadline.as_millis().try_into().unwrap_or(u64::MAX) });
        }
    };
    // It has closed its output, so that it is about to end; one that does not is ended.
    let words = words.recv_timeout(deadline).unwrap_or_default();
    if words.is_empty() && code.is_empty() {
        end_if_alive(&mut process);
    }
    let status = process.wait().map_err(child("wait for"))?;
    let why = quoted(String::from_utf8_lossy(&words).trim(), MESSAGE_BYTES_MAX as u32);
    match status.code() {
        Some(0) => Ok(code),
        Some(exit) if exit == i32::from(EXIT_INVALID) => Err(CompileError::Invalid { why }),
        _ => Err(CompileError::Died { how: status.to_string(), why }),
    }
}

fn end(process: &mut Child) {
    // Both fail only when it has ended already.
    let _ = process.kill();
    let _ = process.wait();
}

fn end_if_alive(process: &mut Child) {
    if matches!(process.try_wait(), Ok(None)) {
        let _ = process.kill();
    }
}

fn read_all(stream: impl Read + Send + 'static, bytes_max: u64) -> Receiver<Vec<u8>> {
    let (send, receive) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the bytes; the exit status says whether they are whole.
        let _ = stream.take(bytes_max).read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

fn layout_byte(layout: Layout) -> u8 {
    match layout {
        Layout::Wide => b'w',
        Layout::Narrow => b'n',
    }
}

/// The body of the child process: limits itself, compiles what comes on `input`, and gives the exit status.
///
/// Call it first thing in `main`, before any other thread exists.
pub fn compile_child_main(mut input: impl Read, mut output: impl Write, mut errors: impl Write) -> u8 {
    match compile_child(&mut input, &mut output) {
        Ok(()) => 0,
        Err((status, why)) => {
            // Nobody is left to tell when this fails.
            let _ = errors.write_all(why.as_bytes());
            status
        }
    }
}

fn compile_child(input: &mut impl Read, output: &mut impl Write) -> Result<(), (u8, String)> {
    let processor_seconds = COMPILE_MS_MAX / 1000 * COMPILE_PROCESSORS_MAX;
    for (resource, most) in [(Resource::As, COMPILE_MEMORY_BYTES_MAX), (Resource::Cpu, processor_seconds), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| (1, format!("could not limit {resource:?}: {error}")))?;
    }
    let mut request = Vec::new();
    let read = input.take(COMPONENT_BYTES_MAX + 2).read_to_end(&mut request);
    read.map_err(|error| (1, format!("could not read the component: {error}")))?;
    let (layout, component) = match request.split_first() {
        Some((b'w', component)) => (Layout::Wide, component),
        Some((b'n', component)) => (Layout::Narrow, component),
        _ => return Err((1, "expected a layout byte and a component".into())),
    };
    if component.len() as u64 > COMPONENT_BYTES_MAX {
        return Err((EXIT_INVALID, format!("it is larger than {COMPONENT_BYTES_MAX} bytes")));
    }
    let engine = Engine::new(&engine_config(layout)).map_err(|error| (1, format!("{error:#}")))?;
    let code = engine.precompile_component(component).map_err(|error| (EXIT_INVALID, format!("{error:#}")))?;
    output.write_all(&code).and_then(|()| output.flush()).map_err(|error| (1, format!("could not hand back the result: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let result = compile_in_child(shell("exec /bin/sleep 600"), Layout::Wide, b"", Duration::from_millis(50));
        assert_eq!(result, Err(CompileError::TooSlow { ms: 50 }));
    }

    #[test]
    fn a_child_that_dies_is_reported_with_its_words() {
        let result = compile_in_child(shell("echo out of memory >&2; kill -9 $$"), Layout::Wide, &[0; 1 << 20], Duration::from_secs(60));
        let Err(CompileError::Died { how, why }) = result else { panic!("{result:?}") };
        assert_eq!((how.contains("9"), why.as_str()), (true, "out of memory"));
    }

    #[test]
    fn a_child_gets_layout_and_component_and_gives_code() {
        let result = compile_in_child(shell("exec cat"), Layout::Narrow, b"abc", Duration::from_secs(60));
        assert_eq!(result, Ok(b"nabc".to_vec()));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let result = compile_in_child(Command::new("/nonexistent"), Layout::Wide, b"", Duration::from_secs(60));
        assert!(matches!(result, Err(CompileError::Child { what: "start", .. })), "{result:?}");
    }
}
