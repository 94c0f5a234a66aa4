//! Progress of long work whose end is not known: a spinner on a terminal, a line at every doubling elsewhere, JSON events with
//! `--json`.
//!
//! Invariant: progress goes to stderr and never changes a result.

use std::io::Write as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::Terminal;

/// Units after which work says something for the first time where there is no terminal.
const FIRST_MARK: u64 = 1_000;

/// One piece of work that is under way.
#[derive(Debug)]
pub struct Progress {
    label: String,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Spinner(ProgressBar),
    Marks { next: u64, is_json: bool },
    Silent,
}

impl Progress {
    /// Starts showing work called `label`.
    pub fn start(terminal: &Terminal, label: &str) -> Progress {
        let display = match (terminal.progress, terminal.interactive && !terminal.json) {
            (false, _) => Display::Silent,
            (true, true) => Display::Spinner(spinner(label)),
            (true, false) => Display::Marks { next: FIRST_MARK, is_json: terminal.json },
        };
        Progress { label: label.to_owned(), display }
    }

    /// Says that `done` units are done, and what is going on.
    pub fn at(&mut self, done: u64, message: &str) {
        match &mut self.display {
            Display::Spinner(bar) => {
                bar.set_message(message.to_owned());
                bar.tick();
            }
            Display::Marks { next, is_json } if done >= *next => {
                while *next <= done {
                    *next = next.saturating_mul(2);
                }
                let event = || serde_json::json!({ "progress": self.label, "done": done, "message": message }).to_string();
                let line = if *is_json { event() } else { format!("{} {message}", self.label) };
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            Display::Marks { .. } | Display::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Display::Spinner(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn spinner(label: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}").expect("the template is one of ours"));
    bar.set_prefix(label.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_every_doubling() {
        let terminal = Terminal { json: false, color_err: false, interactive: false, progress: true };
        let mut progress = Progress::start(&terminal, "x");
        let due = |progress: &Progress| match progress.display {
            Display::Marks { next, .. } => next,
            _ => 0,
        };
        progress.at(999, "");
        assert_eq!(due(&progress), 1_000);
        progress.at(1_000, "");
        assert_eq!(due(&progress), 2_000);
        progress.at(65_536, "");
        assert_eq!(due(&progress), 128_000);
    }
}
