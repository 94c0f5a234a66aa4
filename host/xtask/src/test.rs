//! `cargo xtask test`: everything that must pass, in the order in which it is cheapest to fail.
//!
//! The tests of the host come last, so that a run ends with cargo's own closing lines.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::command::run;
use crate::repo::{GUEST_TARGET, Repo};
use crate::{plugins, scripts, servers, setup, tidy};

#[derive(clap::Args)]
pub struct Options {
    /// Run this step alone
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
}

/// The steps, in order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting of every workspace
    Fmt,
    /// What no compiler checks
    Tidy,
    /// The WebAssembly target, the tools that build JavaScript and Python, and the servers that tests talk to
    Setup,
    /// The components
    Plugins,
    /// clippy without a warning: the host, and the guests for both targets
    Clippy,
    /// The documentation without a warning
    Doc,
    /// The tests of the SDK and of the plugins, natively
    GuestTests,
    /// The tests of the host, with the built binary and the built plugins
    HostTests,
}

/// Runs all steps, or one, and stops at the first that fails.
pub fn test(repo: &Repo, options: &Options) -> Result<()> {
    for step in Step::value_variants() {
        if options.only.is_some_and(|only| only != *step) {
            continue;
        }
        let name = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("test: {name}");
        let start = Instant::now();
        perform(repo, *step).with_context(|| format!("step `{name}` failed; to run it alone: cargo xtask test --only {name}"))?;
        eprintln!("test: {name:12} ok {:8.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn perform(repo: &Repo, step: Step) -> Result<()> {
    match step {
        Step::Fmt => {
            run(repo.cargo().args(["fmt", "--all", "--check"]))?;
            run(repo.xtask_cargo("fmt").arg("--check"))?;
            each_guest(repo, |folder| run(repo.guest_cargo(folder).args(["fmt", "--all", "--check"])))
        }
        Step::Tidy => tidy::tidy(repo),
        Step::Setup => {
            setup::setup(repo)?;
            scripts::setup(repo)?;
            servers::prometheus(repo).map(|_| ())
        }
        Step::Plugins => plugins::plugins(repo).map(|built| plugins::print(&built)),
        Step::Clippy => {
            run(repo.xtask_cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
            run(repo.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
            each_guest(repo, |folder| {
                run(repo.guest_cargo(folder).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
                // Tests do not run in WebAssembly, so only what is shipped is checked there.
                run(repo.guest_cargo(folder).args(["clippy", "--workspace", "--target", GUEST_TARGET, "--", "-D", "warnings"]))
            })
        }
        Step::Doc => {
            run(repo.cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))?;
            each_guest(repo, |folder| {
                run(repo.guest_cargo(folder).env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
            })
        }
        Step::GuestTests => each_guest(repo, |folder| run(repo.guest_cargo(folder).args(["test", "--workspace"]))),
        Step::HostTests => {
            // The integration tests start the binary, which cargo builds for no test of another package.
            plugins::all(repo)?;
            run(&mut repo.xtask_cargo("test"))?;
            let mut tests = repo.cargo();
            tests.env("TIDEGATE_BIN", repo.tidegate()).env("TIDEGATE_PLUGINS", repo.plugin_folder());
            let prometheus = servers::prometheus(repo)?;
            tests.env("TIDEGATE_PROMETHEUS", prometheus.server).env("TIDEGATE_PROMTOOL", prometheus.promtool);
            run(tests.env("TIDEGATE_TEST_GUESTS", repo.test_guest_folder()).args(["test", "--workspace"]))
        }
    }
}

fn each_guest(repo: &Repo, mut act: impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for folder in repo.guest_workspaces()? {
        act(&folder).with_context(|| format!("in the workspace `{}`", repo.short(&folder)))?;
    }
    Ok(())
}
