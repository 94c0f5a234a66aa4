//! The one integration binary: the built `tidegate` with real plugins, seen from outside.
//!
//! Tests here start the binary and read what it prints and what it leaves behind; none calls a crate. A missing binary or plugin fails
//! with the command that makes it. `UPDATE_EXPECT=1` rewrites the expected texts of the scenarios; read what changed before you keep it.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on panics, and says so to a person")]

mod client;
mod disk_full;
mod harbour;
mod host;
mod kill;
mod languages;
mod long_line;
mod one_process;
mod plugins_http;
mod plugins_oci;
mod prometheus;
mod rows;
mod scenarios;
mod script;
mod server;
mod service;
mod up_commands;
mod up_failures;
mod up_kill;
mod up_loop;
mod up_pipelines;
mod up_plugins;
mod up_reload;
mod up_requests;
mod up_rollout;
mod up_settings;
mod up_signed;
mod up_state;
mod up_versions;
mod volatile;
