//! `[[pipeline.NAME.trigger]]`: when a run starts.

use super::section::{self, Section};
use super::value::parse_duration_us;

/// `[[pipeline.NAME.trigger]]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// By the calendar, in UTC.
    Schedule {
        /// A cron expression.
        cron: String,
        /// Microseconds after a run in which it stays quiet.
        cooldown_us: i64,
    },
    /// When enough rows have arrived since the last run.
    Volume {
        /// How many.
        new_rows: u64,
    },
    /// When the champion's errors change.
    Error {
        /// How a change is found.
        detector: Detector,
        /// Rows after a run in which it stays quiet.
        cooldown_rows: u64,
        /// Rows that must have arrived since the last run.
        new_rows_min: u64,
    },
    /// By hand only.
    Manual,
}

/// How a change in a stream of errors is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detector {
    /// Adaptive windowing.
    Adwin {
        /// Confidence of a change; smaller is slower to say so.
        delta: f64,
    },
}

const KINDS: [(&str, &str); 4] = [("schedule", "schedule"), ("volume", "volume"), ("error", "error"), ("manual", "manual")];

pub(super) fn trigger(section: Section<'_>) -> Option<Trigger> {
    if !section.has("kind") {
        section.missing("kind", "what it waits for", "kind = \"volume\"");
    }
    let trigger = match section.choice("kind", &KINDS)? {
        "schedule" => schedule(&section),
        "volume" => {
            if !section.has("new_rows") {
                section.missing("new_rows", "how many rows have to arrive", "new_rows = 1000");
            }
            section.integer("new_rows", 1..=1_000_000_000).map(|new_rows| Trigger::Volume { new_rows })
        }
        "error" => Some(error(&section)),
        _ => Some(Trigger::Manual),
    };
    section.finish();
    trigger
}

fn schedule(section: &Section<'_>) -> Option<Trigger> {
    if !section.has("cron") {
        section.missing("cron", "when, in UTC", "cron = \"0 6 * * 1\"");
    }
    let cooldown_us = section.parsed("cooldown", "a duration such as `1d` or `12h`", parse_duration_us).unwrap_or(0);
    let cron = section.text("cron")?;
    if let Err(error) = cron.value.parse::<croner::Cron>() {
        let message = format!("{} is not a cron expression: {}", section.named("cron"), section::shown(&error.to_string()));
        let hint = "five fields: minute, hour, day of month, month, day of week, such as `0 6 * * 1`".to_owned();
        section.problem(cron.span, message, "not a cron expression", Some(hint));
        return None;
    }
    Some(Trigger::Schedule { cron: cron.value, cooldown_us })
}

fn error(section: &Section<'_>) -> Trigger {
    section.choice("detector", &[("adwin", ())]);
    let delta = section.number("delta", 1e-9..=0.5).unwrap_or(0.002);
    Trigger::Error {
        detector: Detector::Adwin { delta },
        cooldown_rows: section.integer("cooldown_rows", 0..=1_000_000_000).unwrap_or(0),
        new_rows_min: section.integer("new_rows_min", 0..=1_000_000_000).unwrap_or(0),
    }
}
