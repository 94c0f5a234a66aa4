//! Trigger rules: what makes a run due, as written in the configuration.
//!
//! A trigger says when, never what. Every kind takes the same [`Brakes`]. A person's request heeds the brakes of a `manual` rule, if
//! there is one, and no breaker.

use croner::Cron;
use serde::{Deserialize, Serialize};
use tidegate_vocab::Timestamp;

use crate::{Brakes, Period};

/// One trigger of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerRule {
    /// What it waits for.
    #[serde(flatten)]
    pub kind: TriggerKind,
    /// What holds it back.
    #[serde(flatten)]
    pub brakes: Brakes,
}

/// What a trigger waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TriggerKind {
    /// An instant of a calendar, in UTC.
    Schedule {
        /// A cron pattern of five fields, or six with seconds first.
        cron: String,
    },
    /// Rows that arrived since the last run started.
    Volume {
        /// How many.
        new_rows: u64,
    },
    /// Rows that arrived since the last run started, against those there were.
    Growth {
        /// Per cent of the rows that there were.
        new_percent: u32,
    },
    /// Event time that passed since the last run started: the newest row is so much newer.
    Watermark {
        /// How much newer.
        advance: Period,
    },
    /// Labels that became known since the last run started.
    Labels {
        /// How many.
        new_labels: u64,
    },
    /// A rise of the share of wrong predictions.
    Error {
        /// What notices it.
        detector: Detector,
    },
    /// The champion is less accurate than when it began.
    Quality {
        /// By how much, as a share, shown with 99 % one-sided confidence.
        drop: f64,
        /// Labelled rows of the beginning, and of the end, that are compared.
        rows: u64,
    },
    /// The champion seems to be less accurate than when it was judged, before labels come.
    Estimate {
        /// By how much, as a share, beyond the estimate's band.
        drop: f64,
    },
    /// Rows have moved away from those that the champion learned from.
    Drift,
    /// What the champion answers has moved away from what it answers to the rows that it learned from.
    PredictionDrift,
    /// The champion has served for long.
    Staleness {
        /// How long.
        age: Period,
    },
    /// Cleaners, or their settings, are others than when the last run started.
    Code,
    /// Somebody who posts to the host.
    Webhook {
        /// The name in the path.
        name: String,
    },
    /// A person.
    Manual,
}

/// What notices that predictions have become worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// See [`Adwin`](crate::Adwin).
    Adwin,
    /// See [`Ddm`](crate::Ddm).
    Ddm,
    /// See [`Eddm`](crate::Eddm).
    Eddm,
    /// See [`PageHinkley`](crate::PageHinkley).
    PageHinkley,
    /// See [`Kswin`](crate::Kswin).
    Kswin,
}

impl Detector {
    /// The word in configurations and reasons.
    pub fn word(self) -> &'static str {
        match self {
            Detector::Adwin => "adwin",
            Detector::Ddm => "ddm",
            Detector::Eddm => "eddm",
            Detector::PageHinkley => "page-hinkley",
            Detector::Kswin => "kswin",
        }
    }
}

impl TriggerKind {
    /// The word in configurations and reasons.
    pub fn word(&self) -> &'static str {
        match self {
            TriggerKind::Schedule { .. } => "schedule",
            TriggerKind::Volume { .. } => "volume",
            TriggerKind::Growth { .. } => "growth",
            TriggerKind::Watermark { .. } => "watermark",
            TriggerKind::Labels { .. } => "labels",
            TriggerKind::Error { .. } => "error",
            TriggerKind::Quality { .. } => "quality",
            TriggerKind::Estimate { .. } => "estimate",
            TriggerKind::Drift => "drift",
            TriggerKind::PredictionDrift => "prediction-drift",
            TriggerKind::Staleness { .. } => "staleness",
            TriggerKind::Code => "code",
            TriggerKind::Webhook { .. } => "webhook",
            TriggerKind::Manual => "manual",
        }
    }

    /// Why a cron pattern never makes a run due; `None` where one does.
    pub fn cron_issue(pattern: &str) -> Option<String> {
        match parse(pattern) {
            Err(error) => Some(format!("is not a cron expression: {error}")),
            Ok(_) if next_occurrence(pattern, Timestamp(0)).is_none() => Some("never falls due".to_owned()),
            Ok(_) => None,
        }
    }
}

fn parse(pattern: &str) -> Result<Cron, croner::errors::CronError> {
    croner::parser::CronParser::new().parse(pattern)
}

/// The first instant after `after` at which the pattern falls due, in UTC; `None` when there is none.
pub(crate) fn next_occurrence(pattern: &str, after: Timestamp) -> Option<Timestamp> {
    let start = jiff::Timestamp::from_microsecond(after.0).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let next = parse(pattern).ok()?.find_next_occurrence(&start.datetime(), false).ok()?;
    let instant = next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp(instant.as_microsecond()))
}
