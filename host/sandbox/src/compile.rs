//! Compilation, in a child process or in this one.
//!
//! Cranelift cannot be interrupted, so a component made to compile for ever is given a process of its own: under a deadline, and
//! with limits on address space and processor time that it sets for itself before it reads a byte of the component.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_vocab::limits::SharedLimits;
use wasmtime::Engine;

use crate::call::quoted;
use crate::engine::{Compiler, Layout, engine_config};

/// Compiled code that a child may hand back: so many times the component, and some.
const COMPILED_TIMES_MAX: u64 = 16;
const COMPILED_BYTES_FREE: u64 = 16 << 20;
/// What is kept of what a child says on stderr.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// How far a compilation stands behind what serves.
const COMPILE_NICENESS: i32 = 10;
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
    /// The compiled code is much larger than the component.
    #[error("its compiled code has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
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
/// What comes before the component: bytes of memory and milliseconds that the child may use, and the layout.
const HEADER_BYTES: usize = 17;

pub(crate) fn compile(
    compiler: &Compiler,
    limits: &SharedLimits,
    engine: &Engine,
    layout: Layout,
    component: &[u8],
) -> Result<Vec<u8>, CompileError> {
    match compiler {
        Compiler::InProcess => engine.precompile_component(component).map_err(|error| invalid(&error)),
        Compiler::Child { program, args } => {
            let mut command = Command::new(program);
            command.args(args);
            compile_in_child(command, limits, layout, component)
        }
    }
}

fn invalid(error: &wasmtime::Error) -> CompileError {
    CompileError::Invalid { why: quoted(&format!("{error:#}"), MESSAGE_BYTES_MAX as u32) }
}

/// Runs the child: what it may use, the layout and the component go in, compiled bytes come out.
fn compile_in_child(mut command: Command, limits: &SharedLimits, layout: Layout, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let deadline = Duration::from_millis(limits.compile_ms_max);
    let bytes_max = COMPILED_TIMES_MAX.saturating_mul(component.len() as u64).saturating_add(COMPILED_BYTES_FREE);
    let child = |what| move |error: std::io::Error| CompileError::Child { what, why: error.to_string() };
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(child("start"))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (process.stdin.take(), process.stdout.take(), process.stderr.take()) else {
        return Err(CompileError::Child { what: "connect to", why: "a pipe is missing".into() });
    };
    let mut request = Vec::with_capacity(component.len() + HEADER_BYTES);
    request.extend_from_slice(&limits.compile_memory_bytes_max.to_le_bytes());
    request.extend_from_slice(&limits.compile_ms_max.to_le_bytes());
    request.push(layout_byte(layout));
    request.extend_from_slice(component);
    std::thread::spawn(move || {
        // A child that died early has closed its end; how it died is what gets reported.
        let _ = stdin.write_all(&request);
    });
    // One byte more than there may be: code that was cut off must never be taken for whole.
    let (code, words) = (read_all(stdout, bytes_max + 1), read_all(stderr, MESSAGE_BYTES_MAX));
    let code = match code.recv_timeout(deadline) {
        Ok(code) => code,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            end(&mut process);
            return Err(CompileError::TooSlow { ms: deadline.as_millis().try_into().unwrap_or(u64::MAX) });
        }
    };
    if code.len() as u64 > bytes_max {
        end(&mut process);
        return Err(CompileError::TooLarge { bytes_max });
    }
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
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(|error| (1, format!("expected limits, a layout byte and a component: {error}")))?;
    let ([memory, ms], [layout]) = header.as_chunks::<8>() else { return Err((1, "the header is too short".into())) };
    let (memory_bytes, ms) = (u64::from_le_bytes(*memory), u64::from_le_bytes(*ms));
    let processor_seconds = ms.div_ceil(1000).saturating_mul(COMPILE_PROCESSORS_MAX);
    for (resource, most) in [(Resource::As, memory_bytes), (Resource::Cpu, processor_seconds), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| (1, format!("could not limit {resource:?}: {error}")))?;
    }
    // What serves goes first. A process that may not be made to wait compiles all the same.
    let _ = rustix::process::nice(COMPILE_NICENESS);
    let layout = if *layout == layout_byte(Layout::Wide) { Layout::Wide } else { Layout::Narrow };
    // As much as the limits of the process allow.
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(|error| (1, format!("could not read the component: {error}")))?;
    let engine = Engine::new(&engine_config(layout)).map_err(|error| (1, format!("{error:#}")))?;
    let code = engine.precompile_component(&component).map_err(|error| (EXIT_INVALID, format!("{error:#}")))?;
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

    const LIMITS: SharedLimits = SharedLimits { compile_ms_max: 60_000, ..SharedLimits::DEFAULT };

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let limits = SharedLimits { compile_ms_max: 50, ..LIMITS };
        let result = compile_in_child(shell("exec /bin/sleep 600"), &limits, Layout::Wide, b"");
        assert_eq!(result, Err(CompileError::TooSlow { ms: 50 }));
    }

    #[test]
    fn code_without_end_is_not_taken_for_whole() {
        let result = compile_in_child(shell("exec cat /dev/zero"), &LIMITS, Layout::Wide, b"");
        assert_eq!(result, Err(CompileError::TooLarge { bytes_max: COMPILED_BYTES_FREE }));
        // Exactly one byte too many, which the pipe still takes from a child that ends well.
        let result = compile_in_child(shell("head -c 16777217 /dev/zero"), &LIMITS, Layout::Wide, b"");
        assert_eq!(result, Err(CompileError::TooLarge { bytes_max: COMPILED_BYTES_FREE }));
    }

    #[test]
    fn a_child_that_dies_is_reported_with_its_words() {
        let result = compile_in_child(shell("echo out of memory >&2; kill -9 $$"), &LIMITS, Layout::Wide, &[0; 1 << 20]);
        let Err(CompileError::Died { how, why }) = result else { panic!("{result:?}") };
        assert_eq!((how.contains("9"), why.as_str()), (true, "out of memory"));
    }

    #[test]
    fn a_child_gets_layout_and_component_and_gives_code() {
        let result = compile_in_child(shell("exec tail -c +9"), &LIMITS, Layout::Narrow, b"abc");
        assert_eq!(result, Ok([&60_000_u64.to_le_bytes()[..], b"nabc"].concat()));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let result = compile_in_child(Command::new("/nonexistent"), &LIMITS, Layout::Wide, b"");
        assert!(matches!(result, Err(CompileError::Child { what: "start", .. })), "{result:?}");
    }
}
