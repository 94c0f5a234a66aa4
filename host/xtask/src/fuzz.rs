//! `cargo xtask fuzz`: the fuzz targets of `host/fuzz` under libFuzzer, for a bounded time, with the pinned toolchain.
//!
//! Coverage is asked of our own crates only: this program stands in for `rustc` while cargo builds them and adds the flags, so that
//! every dependency is the one that is built already. `cargo fuzz` works in `host/fuzz` too, and instruments everything.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::repo::Repo;

/// Set for the compiler that this program stands in for.
const AS_COMPILER: &str = "TIDEGATE_FUZZ_COMPILER";
/// What makes compiled code report where it has been.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Longest input, in bytes.
const INPUT_BYTES_MAX: u32 = 4_096;
/// Longest run of one input, in seconds: every target is bounded far below.
const INPUT_SECONDS_MAX: u32 = 10;
/// Memory of a fuzzer, in MiB: what leaks or grows without bounds ends here.
const MEMORY_MIB_MAX: u32 = 4_096;

#[derive(clap::Args)]
pub struct Options {
    /// Fuzz this target alone: `boundary`, `component` or `manifest`
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Compiles one crate with coverage when cargo called this program in the place of `rustc`.
pub fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(AS_COMPILER)?;
    let mut arguments = std::env::args_os().skip(1);
    let compiled = Command::new(arguments.next()?).args(arguments).args(COVERAGE).status();
    let is_ok = compiled.is_ok_and(|status| status.success());
    Some(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds and runs the targets; stops at the first that finds something.
pub fn fuzz(repo: &Repo, options: &Options) -> Result<()> {
    let crate_folder = repo.root.join("host/fuzz");
    let targets = targets(&crate_folder, options.target.as_deref())?;
    let this = std::env::current_exe().context("could not find this program")?;
    let mut build = repo.cargo();
    build.env("RUSTC_WORKSPACE_WRAPPER", this).env(AS_COMPILER, "1");
    run(build.args(["build", "--package", "tidegate-fuzz", "--features", "libfuzzer", "--bins"]))?;
    for target in &targets {
        let grown = repo.target.join("fuzz").join(target);
        let found = crate_folder.join("artifacts").join(target);
        for folder in [&grown, &found] {
            std::fs::create_dir_all(folder).with_context(|| format!("could not make `{}`", folder.display()))?;
        }
        eprintln!("fuzz: {target}, {} s", options.seconds);
        let mut fuzzer = Command::new(repo.target.join("debug").join(format!("fuzz-{target}")));
        // The first folder takes what is new; the corpus in the tree is read only, and grows by hand.
        fuzzer.arg(&grown).arg(crate_folder.join("corpus").join(target));
        fuzzer.arg(format!("-max_total_time={}", options.seconds)).arg(format!("-artifact_prefix={}/", found.display()));
        fuzzer.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        fuzzer.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}")).args(["-print_final_stats=1", "-verbosity=0"]);
        run(&mut fuzzer).with_context(|| {
            format!("the target `{target}` failed; the input is in `{}`: mend it, then keep the input in `corpus`", repo.short(&found))
        })?;
    }
    Ok(())
}

/// The targets in the folder, or the one that is asked for.
fn targets(crate_folder: &Path, wanted: Option<&str>) -> Result<Vec<String>> {
    let folder = crate_folder.join("corpus");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("could not read `{}`", folder.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match wanted {
        None => Ok(names),
        Some(wanted) if names.iter().any(|name| name == wanted) => Ok(vec![wanted.to_owned()]),
        Some(wanted) => bail!("there is no fuzz target `{wanted}`; there are {}", names.join(", ")),
    }
}
