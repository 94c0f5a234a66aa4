//! Checking a version in a process of its own: this binary, started beside the running host.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tidegate_vocab::{PipelineId, VersionNo};
use tokio::process::Command;

use crate::commands::Checked;

/// The longest that a check may take.
const CHECK_MS_MAX: u64 = 120_000;
/// The exit code of a settings file that cannot be used, which says nothing about a version.
const USAGE: i32 = 2;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEnd {
    /// It says something about the version: what it does, or why it does not do.
    Found(Result<String, String>),
    /// It says nothing about the version, and is to be tried again.
    Again(String),
}

/// How versions are checked.
#[derive(Debug, Clone)]
pub struct Check {
    /// The settings file.
    pub settings: PathBuf,
    /// Whose versions.
    pub pipeline: PipelineId,
    /// The longest that one row may take.
    pub answer_ms_max: u64,
}

/// Checks a version.
pub async fn check(check: Check, version: VersionNo) -> CheckEnd {
    let Check { settings, pipeline, answer_ms_max } = check;
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return CheckEnd::Again(format!("the host cannot find its own binary: {error}")),
    };
    let mut command = Command::new(program);
    command.arg("--settings").arg(settings).args(["--pipeline", pipeline.as_str(), "--json", "--no-progress", "check-version"]);
    command.arg(version.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = match tokio::time::timeout(Duration::from_millis(CHECK_MS_MAX), command.output()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return CheckEnd::Again(format!("the check of {version} could not be started: {error}")),
        Err(_) => return CheckEnd::Found(Err(format!("it was not loaded and asked within {CHECK_MS_MAX} ms"))),
    };
    read(version, answer_ms_max, ended.status.code(), &ended.stdout, &ended.stderr)
}

fn read(version: VersionNo, answer_ms_max: u64, code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> CheckEnd {
    if code != Some(0) {
        let why = said(stderr);
        return match code {
            Some(USAGE) => CheckEnd::Again(format!("{version} could not be checked: {why}")),
            Some(_) => CheckEnd::Found(Err(why)),
            None => CheckEnd::Found(Err("its process was killed by a signal".to_owned())),
        };
    }
    let Ok(Checked { rows, load_ms, slowest_ms }) = serde_json::from_slice(stdout) else {
        return CheckEnd::Again(format!("the check of {version} printed no result"));
    };
    if slowest_ms > answer_ms_max as f64 {
        return CheckEnd::Found(Err(format!("a row took {slowest_ms:.0} ms, more than `answer_ms_max = {answer_ms_max}`")));
    }
    CheckEnd::Found(Ok(format!(
        "a fresh process loaded it in {load_ms:.0} ms and it answered {rows} rows, the slowest in {slowest_ms:.1} ms"
    )))
}

/// The error that a process printed as JSON, or its last line.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let error = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("error")?.as_str().map(str::to_owned);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
    text.lines().rev().find_map(error).unwrap_or_else(|| last.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(code: Option<i32>, stdout: &str, stderr: &str, expected: CheckEnd) {
        assert_eq!(read(VersionNo(3), 100, code, stdout.as_bytes(), stderr.as_bytes()), expected);
    }

    #[test]
    fn what_a_check_says_of_a_version() {
        let fine = "{\"rows\":64,\"load_ms\":80.4,\"slowest_ms\":1.26}";
        let found = "a fresh process loaded it in 80 ms and it answered 64 rows, the slowest in 1.3 ms";
        ends(Some(0), fine, "", CheckEnd::Found(Ok(found.into())));
        let slow = fine.replace("1.26", "100.2");
        ends(Some(0), &slow, "", CheckEnd::Found(Err("a row took 100 ms, more than `answer_ms_max = 100`".into())));
        ends(Some(1), "", "{\"error\":\"the weights are gone\"}\n", CheckEnd::Found(Err("the weights are gone".into())));
        ends(Some(101), "", "thread main panicked\n\n", CheckEnd::Found(Err("thread main panicked".into())));
        ends(None, "", "", CheckEnd::Found(Err("its process was killed by a signal".into())));
        ends(Some(2), "", "{\"error\":\"no such file\"}", CheckEnd::Again("v3 could not be checked: no such file".into()));
        ends(Some(0), "", "", CheckEnd::Again("the check of v3 printed no result".into()));
    }
}
