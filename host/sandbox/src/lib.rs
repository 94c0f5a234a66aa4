//! Plugins run here: WebAssembly components behind one typed handle a kind. The only crate that knows wasmtime.
//!
//! Invariant: a guest can fail a step, never the host. It has no authority that its settings do not grant, every one of its
//! limits is enforced here, and an instance whose call did not end well is never used again. What it says is quoted.
//!
//! It is handed bytes and streams ([`Sandbox::load`], [`Inputs`]), never paths, and opens no connection ([`Egress`]); bindings do not leave the crate. It refuses threads,
//! 64-bit memories, interface versions it does not serve, and everything a plugin returns that its interface does not allow.
//!
//! Read [`Sandbox`], [`Plugin`] and [`CallError`] first, then one handle: [`Cleaner`]. A new limit goes into `limiter` or the
//! host function it bounds, with a guest that exceeds it in `tests/it/limits.rs`; a new plugin kind is a world in `wit/`, a line in
//! `bindings` and `instance`, and a handle.

mod alerter;
mod aot;
mod bindings;
mod call;
mod cleaner;
mod columns;
mod compile;
mod egress;
mod engine;
mod evaluator;
mod grants;
mod guest_time;
mod host;
mod instance;
mod last_words;
mod limiter;
mod load;
mod manifest;
mod pack;
mod source;
mod telemetry;
mod ticker;

pub use alerter::{Alert, Alerter, Severity};
pub use aot::Compiled;
pub use call::{CallError, ConfigIssue, Failure};
pub use cleaner::{Cleaned, Cleaner, Damage};
pub use columns::ColumnGrant;
pub use compile::{CompileError, compile_child_main};
pub use egress::{Answer, Egress, EgressError, Exchange, NoEgress, SecretValue};
pub use engine::{CompiledCache, Compiler, Sandbox, SandboxConfig, SandboxError};
pub use evaluator::Evaluator;
pub use grants::{Grants, HttpGrant, Input, InputError, Inputs, LogLevel, LogLine, NoInputs, PluginSettings, SecretGrant};
pub use last_words::LastWords;
pub use load::{INTERFACE, LoadError, Plugin, examine};
pub use manifest::{Manifest, PluginKind, StateKind};
pub use pack::{PackError, pack, read_manifest};
pub use source::{CURSOR_BYTES_MAX, Pull, Source};
