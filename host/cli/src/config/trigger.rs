//! `[[pipeline.NAME.trigger]]`: when a run starts.

use tidegate_policy::{Detector, Period, TriggerKind, TriggerRule};

use super::section::{self, Section};
use super::value::parse_duration_us;

const ROWS_MAX: u64 = 1_000_000_000;
const KINDS: [(&str, &str); 4] = [("schedule", "schedule"), ("volume", "volume"), ("error", "error"), ("manual", "manual")];
const DETECTORS: [(&str, Detector); 5] = [
    ("adwin", Detector::Adwin),
    ("ddm", Detector::Ddm),
    ("eddm", Detector::Eddm),
    ("page-hinkley", Detector::PageHinkley),
    ("kswin", Detector::Kswin),
];

pub(super) fn trigger(section: Section<'_>) -> Option<TriggerRule> {
    if !section.has("kind") {
        section.missing("kind", "what it waits for", "kind = \"volume\"");
    }
    let kind = match section.choice("kind", &KINDS)? {
        "schedule" => schedule(&section),
        "volume" => volume(&section),
        "error" => Some(error(&section)),
        _ => Some(TriggerKind::Manual),
    };
    let cooldown = section.parsed("cooldown", "a duration such as `1d` or `12h`", parse_duration_us);
    let rule = TriggerRule {
        kind: kind.clone().unwrap_or(TriggerKind::Manual),
        cooldown_rows: section.integer("cooldown_rows", 0..=ROWS_MAX),
        cooldown: cooldown.map(|micros| Period { micros }),
        min_new_rows: section.integer("min_new_rows", 0..=ROWS_MAX),
        rejections_max: section.integer("rejections_max", 1..=1_000_000).and_then(|count| u32::try_from(count).ok()),
    };
    section.finish();
    kind.map(|_| rule)
}

fn volume(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("new_rows") {
        section.missing("new_rows", "how many rows have to arrive", "new_rows = 1000");
    }
    section.integer("new_rows", 1..=ROWS_MAX).map(|new_rows| TriggerKind::Volume { new_rows })
}

fn schedule(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("cron") {
        section.missing("cron", "when, in UTC", "cron = \"0 6 * * 1\"");
    }
    let cron = section.text("cron")?;
    if let Err(error) = croner::parser::CronParser::new().parse(&cron.value) {
        let message = format!("{} is not a cron expression: {}", section.named("cron"), section::shown(&error.to_string()));
        let hint = "five fields: minute, hour, day of month, month, day of week, such as `0 6 * * 1`".to_owned();
        section.problem(cron.span, message, "not a cron expression", Some(hint));
        return None;
    }
    Some(TriggerKind::Schedule { cron: cron.value })
}

fn error(section: &Section<'_>) -> TriggerKind {
    if !section.has("detector") {
        section.missing("detector", "what notices that errors change", "detector = \"adwin\"");
    }
    let detector = section.choice("detector", &DETECTORS).unwrap_or(Detector::Adwin);
    TriggerKind::Error { detector }
}
