//! `cargo xtask`: what is done to this repository, as one command each, so that a fresh clone needs only Rust.
//!
//! Invariant: no command asks a question, and whatever changes something outside the target folder says so before and says
//! how to undo it after. Only `setup`, and the Python peers of `bench`, fetch anything.
//!
//! Read [`Repo`] first: it knows the folders. Then one file a command.
#![expect(clippy::print_stdout, reason = "automation talks to a person through its standard output")]
#![expect(clippy::disallowed_methods, reason = "automation reads files and measures time; the ban is for the product")]

mod bench;
mod command;
mod demo;
mod fuzz;
mod plugins;
mod repo;
mod scripts;
mod servers;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::repo::Repo;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows, checks and measures Tidegate", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the `wasm32-wasip2` target available to the pinned toolchain
    Setup,
    /// Build the plugins (and the guests of the tests) and list them
    Plugins,
    /// Build everything and replay fifty years of weather through the loop
    Demo(demo::Options),
    /// Run everything that must pass, in order; stops at the first failure
    Test(test::Options),
    /// Measure, side by side with a peer, and hold the figures against their bars
    Bench(bench::Options),
    /// Feed the sandbox what nobody would write, for a bounded time
    Fuzz(fuzz::Options),
    /// Check what no compiler checks: dependency arrows, sizes, names, where `unsafe` is
    Tidy,
}

fn main() -> ExitCode {
    if let Some(compiled) = fuzz::as_compiler() {
        return compiled;
    }
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Every line of an error is for the person at the terminal; where in this program it arose is not.
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  caused by: {cause}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    let repo = Repo::find()?;
    match task {
        Task::Setup => setup::setup(&repo),
        Task::Plugins => plugins::all(&repo).map(|built| plugins::print(&built)),
        Task::Demo(options) => demo::demo(&repo, &options),
        Task::Test(options) => test::test(&repo, &options),
        Task::Bench(options) => bench::bench(&repo, &options),
        Task::Fuzz(options) => fuzz::fuzz(&repo, &options),
        Task::Tidy => tidy::tidy(&repo),
    }
}
