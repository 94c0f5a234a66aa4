//! `tidegate`, the one binary: reads the settings, wires the crates together, prints.
//!
//! Invariant: stdout is what was asked for, stderr is everything else, the exit code says how it ended. Everything that can be
//! wrong with the settings is said before anything is opened. No rule lives here: what is decided is decided in `policy`.

mod args;
mod author;
mod commands;
mod compose;
mod config;
mod failure;
mod logging;
mod memory;
mod plain_file;
mod progress;
mod report;
mod shadow;
mod terminal;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    memory::bound_pools();
    let arguments = args::Arguments::parse();
    let terminal = terminal::Terminal::new(&arguments.global);
    logging::start(&arguments.global, &terminal);
    match commands::dispatch(&arguments, &terminal) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            terminal.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}
