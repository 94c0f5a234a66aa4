//! One run of a program: its seconds on the wall, the most memory it held, what it wrote.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::shown;

/// How often the kernel's high-water mark is read; it only grows, so little is missed between the last reading and the end.
const POLL: Duration = Duration::from_millis(5);

/// What a run was like.
pub struct Sample {
    /// From before the process was made until after it ended.
    pub seconds: f64,
    /// The most resident memory of the process itself; `None` where the kernel does not say.
    pub peak_bytes: Option<u64>,
    /// Its standard output.
    pub output: String,
}

/// Runs a program to its end; its standard error goes to the terminal.
pub fn measure(command: &mut Command) -> Result<Sample> {
    let start = Instant::now();
    let child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start `{}`", shown(command)))?;
    let id = child.id();
    let ended = AtomicBool::new(false);
    let (output, seconds, peak_bytes) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = None;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(high_water(id));
                std::thread::sleep(POLL);
            }
            peak
        });
        let output = child.wait_with_output();
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (output, seconds, watcher.join().unwrap_or(None))
    });
    let output = output.with_context(|| format!("could not wait for `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", shown(command), output.status);
    }
    Ok(Sample { seconds, peak_bytes, output: String::from_utf8_lossy(&output.stdout).into_owned() })
}

/// The high-water mark of a process's resident memory in bytes, as Linux tells it.
fn high_water(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_an_output_and_a_failed_one_is_an_error() {
        let sample = measure(Command::new("echo").arg("here")).unwrap();
        assert_eq!(sample.output, "here\n");
        assert!(sample.seconds > 0.0);
        let error = measure(&mut Command::new("false")).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("`false` ended with"), "{error}");
    }
}
