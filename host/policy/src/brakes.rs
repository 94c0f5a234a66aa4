//! What holds a trigger back, whatever it waits for.

use serde::{Deserialize, Serialize};
use tidegate_vocab::Timestamp;

use crate::Period;

/// A day in microseconds.
pub(crate) const DAY_US: i64 = 86_400_000_000;
const MINUTE_US: i64 = 60_000_000;

/// The brakes of one trigger; absent ones hold nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Brakes {
    /// Rows that must arrive after the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_rows: Option<u64>,
    /// Time that must pass after the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Period>,
    /// Rows that must have arrived since the last run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_new_rows: Option<u64>,
    /// Rejections in a row after which the rule is silent, until a promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejections_max: Option<u32>,
    /// Runs, by whatever trigger, that may start within 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_per_day: Option<u32>,
    /// How long the rule stays due before it asks, so that what comes close behind is one run with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<Period>,
    /// Hours of the day in which nothing starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
}

/// Hours of every day, in UTC, written as `22:00-06:00`; the end is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuietHours {
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight; before `from` where midnight lies between.
    until: u16,
}

impl QuietHours {
    /// Whether `now` is among them.
    pub fn hold(self, now: Timestamp) -> bool {
        let minute = now.0.rem_euclid(DAY_US) / MINUTE_US;
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until }
    }
}

impl TryFrom<String> for QuietHours {
    type Error = String;

    fn try_from(text: String) -> Result<QuietHours, String> {
        let minutes = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes) = (is_number(hours).then_some(hours)?, is_number(minutes).then_some(minutes)?);
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let both = text.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
        match both {
            Some((from, until)) if from != until => Ok(QuietHours { from, until }),
            _ => Err(format!("expected hours such as `22:00-06:00`, found `{}`", text.chars().take(80).collect::<String>())),
        }
    }
}

impl From<QuietHours> for String {
    fn from(hours: QuietHours) -> String {
        hours.to_string()
    }
}

impl std::fmt::Display for QuietHours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.until / 60, self.until % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_hold_inside_and_over_midnight() {
        let check = |text: &str, held: &[i64]| {
            let hours = QuietHours::try_from(text.to_owned()).expect("hours");
            assert_eq!(hours.to_string(), text);
            let found: Vec<i64> = (0..24).filter(|hour| hours.hold(Timestamp((hour - 24 * 3) * 60 * MINUTE_US))).collect();
            assert_eq!(found, held, "{text}");
        };
        check("09:00-12:00", &[9, 10, 11]);
        check("22:00-02:30", &[0, 1, 2, 22, 23]);
        check("00:00-00:01", &[0]);
        for bad in ["", "22-6", "22:00", "24:00-01:00", "22:60-23:00", "05:00-05:00", "+1:00-02:00"] {
            assert!(QuietHours::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
