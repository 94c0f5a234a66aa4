//! Running other programs: shown, captured or bounded in time; an error names the command as one would type it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a bounded command is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Runs a command with its output on the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command, lets its errors through and returns what it wrote.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("could not start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote what is not UTF-8", shown(command)))
}

/// Runs a command without output for at most `bound`; false when it is not there, failed, or was stopped.
pub fn succeeds_within(command: &mut Command, bound: Duration) -> bool {
    let Ok(mut child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return false };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < bound => std::thread::sleep(POLL),
            _ => {
                // Whether the kill works or not, the answer is no; the wait only collects what is left.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// The command as one would type it: the program's name without its folder, then the arguments.
pub fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_folder() {
        assert_eq!(shown(Command::new("/usr/bin/cargo").args(["fmt", "--check"])), "cargo fmt --check");
    }

    #[test]
    fn a_missing_program_is_a_no_and_a_late_one_too() {
        assert!(!succeeds_within(&mut Command::new("no-such-program-here"), Duration::from_secs(1)));
        assert!(!succeeds_within(Command::new("sleep").arg("60"), Duration::from_millis(1)));
        assert!(succeeds_within(&mut Command::new("true"), Duration::from_secs(60)));
    }
}
