//! A length of time as it is written in the configuration.

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};

/// A length of time, written as `90s`, `6h`, `1d` or ISO 8601 (`PT6H`); a day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    /// Its length in microseconds; not negative.
    pub micros: i64,
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Period, String> {
        let expected = || format!("expected a length of time such as `6h` or `1d`, found `{}`", text.chars().take(80).collect::<String>());
        let span: Span = text.parse().map_err(|_| expected())?;
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
        let micros = i64::try_from(length.as_micros()).map_err(|_| expected())?;
        if micros < 0 { Err(expected()) } else { Ok(Period { micros }) }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(i64, &str); 6] =
            [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
        let whole = UNITS.iter().find(|(micros, _)| self.micros >= *micros && self.micros % micros == 0);
        match whole {
            Some((micros, unit)) => write!(f, "{}{unit}", self.micros / micros),
            None => write!(f, "0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_and_write() {
        let check = |text: &str, micros: i64, written: &str| {
            let period = Period::try_from(text.to_owned()).expect("a period");
            assert_eq!((period.micros, period.to_string().as_str()), (micros, written), "{text}");
            assert_eq!(Period::try_from(period.to_string()), Ok(period), "{text}");
        };
        check("0s", 0, "0s");
        check("90s", 90_000_000, "90s");
        check("6h", 21_600_000_000, "6h");
        check("PT6H", 21_600_000_000, "6h");
        check("1d", 86_400_000_000, "1d");
        check("1d 12h", 129_600_000_000, "36h");
        check("1500us", 1_500, "1500us");
        for bad in ["", "soon", "-1h", "1", "1 month"] {
            assert!(Period::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
