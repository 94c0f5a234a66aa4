//! `[[pipeline.NAME.trigger]]`: when a run starts.

use tidegate_policy::{Brakes, Detector, Period, QuietHours, TriggerKind, TriggerRule};

use super::section::{self, Section};
use super::value::parse_duration_us;

const ROWS_MAX: u64 = 1_000_000_000;
/// Rows that a rule about quality keeps in memory.
const QUALITY_ROWS_MAX: u64 = 100_000;
const KINDS: [&str; 14] = [
    "schedule",
    "volume",
    "growth",
    "watermark",
    "labels",
    "error",
    "quality",
    "estimate",
    "drift",
    "prediction-drift",
    "staleness",
    "code",
    "webhook",
    "manual",
];
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
    let kinds = KINDS.map(|word| (word, word));
    let kind = match section.choice("kind", &kinds)? {
        "schedule" => schedule(&section),
        "volume" => {
            let new_rows = needed_rows(&section, "new_rows", "how many rows have to arrive", "new_rows = 1000");
            new_rows.map(|new_rows| TriggerKind::Volume { new_rows })
        }
        "growth" => growth(&section),
        "watermark" => {
            let advance =
                needed_period(&section, "advance", "how far rows have to reach beyond those of the last run", "advance = \"30d\"");
            advance.map(|advance| TriggerKind::Watermark { advance })
        }
        "labels" => {
            let new_labels = needed_rows(&section, "new_labels", "how many labels have to become known", "new_labels = 1000");
            new_labels.map(|new_labels| TriggerKind::Labels { new_labels })
        }
        "error" => Some(error(&section)),
        "quality" => quality(&section),
        "estimate" => estimate(&section),
        "drift" => Some(TriggerKind::Drift),
        "prediction-drift" => Some(TriggerKind::PredictionDrift),
        "staleness" => {
            let age = needed_period(&section, "age", "how long a champion may serve", "age = \"90d\"");
            age.map(|age| TriggerKind::Staleness { age })
        }
        "code" => Some(TriggerKind::Code),
        "webhook" => webhook(&section),
        _ => Some(TriggerKind::Manual),
    };
    let brakes = brakes(&section);
    section.finish();
    kind.map(|kind| TriggerRule { kind, brakes })
}

fn brakes(section: &Section<'_>) -> Brakes {
    let narrow = |key: &str| section.integer(key, 1..=1_000_000).and_then(|count| u32::try_from(count).ok());
    Brakes {
        cooldown_rows: section.integer("cooldown_rows", 0..=ROWS_MAX),
        cooldown: period(section, "cooldown"),
        min_new_rows: section.integer("min_new_rows", 0..=ROWS_MAX),
        rejections_max: narrow("rejections_max"),
        budget_per_day: narrow("budget_per_day"),
        coalesce: period(section, "coalesce"),
        quiet: section.parsed("quiet", "hours in UTC such as `22:00-06:00`", |text| QuietHours::try_from(text.to_owned()).ok()),
    }
}

fn period(section: &Section<'_>, key: &str) -> Option<Period> {
    section.parsed(key, "a duration such as `1d` or `12h`", parse_duration_us).map(|micros| Period { micros })
}

fn needed_period(section: &Section<'_>, key: &str, what: &str, example: &str) -> Option<Period> {
    if !section.has(key) {
        section.missing(key, what, example);
    }
    period(section, key)
}

fn needed_rows(section: &Section<'_>, key: &str, what: &str, example: &str) -> Option<u64> {
    if !section.has(key) {
        section.missing(key, what, example);
    }
    section.integer(key, 1..=ROWS_MAX)
}

fn growth(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("new_percent") {
        section.missing("new_percent", "how many rows have to arrive, in per cent of those there were", "new_percent = 10");
    }
    let new_percent = section.integer("new_percent", 1..=10_000)?;
    u32::try_from(new_percent).ok().map(|new_percent| TriggerKind::Growth { new_percent })
}

fn quality(section: &Section<'_>) -> Option<TriggerKind> {
    for (key, what, example) in [
        ("drop", "by how much accuracy may fall", "drop = 0.02"),
        ("rows", "how many labelled rows of a champion's beginning are compared with as many of its last ones", "rows = 1000"),
    ] {
        if !section.has(key) {
            section.missing(key, what, example);
        }
    }
    let (drop, rows) = (section.number("drop", 0.0..=1.0), section.integer("rows", 30..=QUALITY_ROWS_MAX));
    Some(TriggerKind::Quality { drop: drop?, rows: rows? })
}

fn estimate(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("drop") {
        section.missing("drop", "by how much estimated accuracy may fall, beyond its band", "drop = 0.02");
    }
    section.number("drop", 0.0..=1.0).map(|drop| TriggerKind::Estimate { drop })
}

fn webhook(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("name") {
        section.missing("name", "the last part of the path that somebody posts to", "name = \"nightly\"");
    }
    let is_name = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.to_owned())
    };
    let name = section.parsed("name", "1 to 64 small letters, digits and hyphens", is_name)?;
    Some(TriggerKind::Webhook { name })
}

fn schedule(section: &Section<'_>) -> Option<TriggerKind> {
    if !section.has("cron") {
        section.missing("cron", "when, in UTC", "cron = \"0 6 * * 1\"");
    }
    let cron = section.text("cron")?;
    if let Some(issue) = TriggerKind::cron_issue(&cron.value) {
        let message = format!("{} {}", section.named("cron"), section::shown(&issue));
        let hint = "five fields: minute, hour, day of month, month, day of week, such as `0 6 * * 1`".to_owned();
        section.problem(cron.span, message, "no such instants", Some(hint));
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
