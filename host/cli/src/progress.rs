//! Progress of long work: a bar on a terminal, a line now and then elsewhere, JSON events with `--json`.
//!
//! Invariant: progress goes to stderr and never changes a result.

use std::io::Write as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::Terminal;

/// Share of the work after which a line is due where no bar can be drawn.
const LINE_EVERY_PERCENT: u64 = 10;
/// Units after which work without a known end says something for the first time.
const FIRST_MARK: u64 = 1_000;

/// The progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines { next_percent: u64 },
    Json { next_percent: u64 },
    /// Lines at every doubling, for work whose end is not known.
    Marks { next: u64, is_json: bool },
    Silent,
}

impl Progress {
    /// Starts showing work called `label` of `total` units.
    pub fn start(terminal: &Terminal, label: &str, total: u64) -> Progress {
        let display = match (terminal.progress, terminal.json, terminal.interactive) {
            (false, _, _) => Display::Silent,
            (true, true, _) => Display::Json { next_percent: 0 },
            (true, false, true) => Display::Bar(bar(label, total)),
            (true, false, false) => Display::Lines { next_percent: LINE_EVERY_PERCENT },
        };
        Progress { label: label.to_owned(), total, display }
    }

    /// Says that `done` units are done, and what is going on.
    pub fn at(&mut self, done: u64, message: &str) {
        let percent = done.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(message.to_owned());
            }
            Display::Lines { next_percent } if percent >= *next_percent => {
                *next_percent = (percent / LINE_EVERY_PERCENT + 1) * LINE_EVERY_PERCENT;
                write_line(&line(&self.label, percent, message));
            }
            Display::Json { next_percent } if percent >= *next_percent => {
                *next_percent = (percent / LINE_EVERY_PERCENT + 1) * LINE_EVERY_PERCENT;
                write_line(&event(&self.label, done, self.total, message));
            }
            Display::Lines { .. } | Display::Json { .. } | Display::Marks { .. } | Display::Silent => {}
        }
    }

    /// Starts showing work called `label` whose end is not known.
    pub fn open_ended(terminal: &Terminal, label: &str) -> Progress {
        let display = match (terminal.progress, terminal.json, terminal.interactive) {
            (false, _, _) => Display::Silent,
            (true, _, true) if !terminal.json => Display::Bar(spinner(label)),
            (true, is_json, _) => Display::Marks { next: FIRST_MARK, is_json },
        };
        Progress { label: label.to_owned(), total: 0, display }
    }

    /// Says that `done` units of work without a known end are done, and what is going on.
    pub fn so_far(&mut self, done: u64, message: &str) {
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(message.to_owned());
                bar.tick();
            }
            Display::Marks { next, is_json } if done >= *next => {
                while *next <= done {
                    *next = next.saturating_mul(2);
                }
                let event = serde_json::json!({ "progress": self.label, "done": done, "message": message });
                write_line(&if *is_json { event.to_string() } else { format!("{} {message}", self.label) });
            }
            _ => {}
        }
    }

    /// Takes the bar away; lines stay where they are.
    pub fn finish(self) {
        if let Display::Bar(bar) = self.display {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:24} {percent:>3}%  {human_pos}/{human_len}  {eta:>4} left  {wide_msg:.dim}";
    let style = ProgressStyle::with_template(template).expect("the template is one of ours").progress_chars("━╸─");
    bar.set_style(style);
    bar.set_prefix(label.to_owned());
    bar
}

fn spinner(label: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}").expect("the template is one of ours"));
    bar.set_prefix(label.to_owned());
    bar
}

fn line(label: &str, percent: u64, message: &str) -> String {
    let gap = if message.is_empty() { "" } else { "  " };
    format!("{label} {percent:>3}%{gap}{message}")
}

fn event(label: &str, done: u64, total: u64, message: &str) -> String {
    serde_json::json!({ "progress": label, "done": done, "total": total, "message": message }).to_string()
}

fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_events() {
        assert_eq!(line("backtest", 10, "3 trainings"), "backtest  10%  3 trainings");
        assert_eq!(line("ingest", 100, ""), "ingest 100%");
        assert_eq!(event("ingest", 5, 10, ""), r#"{"done":5,"message":"","progress":"ingest","total":10}"#);
    }

    #[test]
    fn a_line_is_due_every_tenth_and_work_of_no_units_is_done() {
        let terminal = Terminal { json: false, color_out: false, color_err: false, interactive: false, progress: true };
        let mut progress = Progress::start(&terminal, "x", 1_000);
        let due = |progress: &Progress| match progress.display {
            Display::Lines { next_percent } => next_percent,
            _ => 0,
        };
        progress.at(99, "");
        assert_eq!(due(&progress), 10);
        progress.at(250, "");
        assert_eq!(due(&progress), 30);
        let mut empty = Progress::start(&terminal, "x", 0);
        empty.at(0, "");
        assert_eq!(due(&empty), 110);
    }
}
