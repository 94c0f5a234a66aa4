//! Trigger rules: what makes a run due, as written in the configuration.
//!
//! A trigger says when, never what. Every kind takes the same brakes: `cooldown_rows` and `cooldown` count from the end of the
//! last run, `min_new_rows` from its start, and `rejections_max` silences a rule after so many rejections in a row, until a
//! promotion. A person's request heeds `min_new_rows` and the cooldowns of a `manual` rule, if there is one, and no breaker.

use croner::Cron;
use serde::{Deserialize, Serialize};
use tidegate_vocab::Timestamp;

use crate::Period;

/// One trigger of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TriggerText", into = "TriggerText")]
pub struct TriggerRule {
    /// What it waits for.
    pub kind: TriggerKind,
    /// Rows that must arrive after the last run ended.
    pub cooldown_rows: Option<u64>,
    /// Time that must pass after the last run ended.
    pub cooldown: Option<Period>,
    /// Rows that must have arrived since the last run started.
    pub min_new_rows: Option<u64>,
    /// Rejections in a row after which the rule is silent; never when absent.
    pub rejections_max: Option<u32>,
}

/// What a trigger waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// A rise of the share of wrong predictions.
    Error {
        /// What notices it.
        detector: Detector,
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
            TriggerKind::Error { .. } => "error",
            TriggerKind::Manual => "manual",
        }
    }
}

/// A trigger as it is written in the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerText {
    kind: KindWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detector: Option<Detector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown_rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_new_rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rejections_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindWord {
    Schedule,
    Volume,
    Error,
    Manual,
}

impl TryFrom<TriggerText> for TriggerRule {
    type Error = String;

    fn try_from(text: TriggerText) -> Result<TriggerRule, String> {
        let TriggerText { kind, cron, new_rows, detector, cooldown_rows, cooldown, min_new_rows, rejections_max } = text;
        let own_key = match kind {
            KindWord::Schedule => "cron",
            KindWord::Volume => "new_rows",
            KindWord::Error => "detector",
            KindWord::Manual => "",
        };
        let given = [("cron", cron.is_some()), ("new_rows", new_rows.is_some()), ("detector", detector.is_some())];
        let word = format!("{kind:?}").to_lowercase();
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && *key != own_key) {
            return Err(format!("`{key}` does not belong to a trigger of kind `{word}`"));
        }
        let needs = |example: &str| format!("a trigger of kind `{word}` needs `{own_key}`, such as {own_key} = {example}");
        let kind = match kind {
            KindWord::Schedule => TriggerKind::Schedule { cron: cron.ok_or_else(|| needs("\"0 3 * * *\""))? },
            KindWord::Volume => TriggerKind::Volume { new_rows: new_rows.ok_or_else(|| needs("1000"))? },
            KindWord::Error => TriggerKind::Error { detector: detector.ok_or_else(|| needs("\"adwin\""))? },
            KindWord::Manual => TriggerKind::Manual,
        };
        match &kind {
            TriggerKind::Volume { new_rows: 0 } => return Err("`new_rows`: expected at least 1, found 0".into()),
            TriggerKind::Schedule { cron } => {
                let excerpt: String = cron.chars().take(80).collect();
                parse(cron).map_err(|error| format!("`cron`: `{excerpt}` is no cron pattern ({error})"))?;
                if next_occurrence(cron, Timestamp(0)).is_none() {
                    return Err(format!("`cron`: `{excerpt}` never falls due"));
                }
            }
            _ => {}
        }
        if rejections_max == Some(0) {
            return Err("`rejections_max`: expected at least 1, found 0".into());
        }
        Ok(TriggerRule { kind, cooldown_rows, cooldown, min_new_rows, rejections_max })
    }
}

impl From<TriggerRule> for TriggerText {
    fn from(rule: TriggerRule) -> TriggerText {
        let TriggerRule { kind, cooldown_rows, cooldown, min_new_rows, rejections_max } = rule;
        let (mut cron, mut new_rows, mut detector) = (None, None, None);
        let word = match kind {
            TriggerKind::Schedule { cron: pattern } => {
                cron = Some(pattern);
                KindWord::Schedule
            }
            TriggerKind::Volume { new_rows: rows } => {
                new_rows = Some(rows);
                KindWord::Volume
            }
            TriggerKind::Error { detector: chosen } => {
                detector = Some(chosen);
                KindWord::Error
            }
            TriggerKind::Manual => KindWord::Manual,
        };
        TriggerText { kind: word, cron, new_rows, detector, cooldown_rows, cooldown, min_new_rows, rejections_max }
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
