//! The small notations of the file: durations, sizes, dates.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const UNITS_US: [(&str, i64); 7] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000), ("w", 604_800_000_000)];

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Microseconds of a duration such as `1d`, `12h`, `90min` or `1d12h`; `None` for anything else, and past 1,000 years.
pub fn parse_duration_us(text: &str) -> Option<i64> {
    const DURATION_US_MAX: i64 = 365_250 * 86_400_000_000;
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let unit = rest[digits..unit_end].trim();
        let (_, micros) = UNITS_US.iter().find(|(word, _)| *word == unit)?;
        total = total.checked_add(number.checked_mul(*micros)?)?;
        rest = rest[unit_end..].trim_start();
    }
    (total <= DURATION_US_MAX).then_some(total)
}

/// Bytes of a size such as `256MiB`, `20 GB` or `4096`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, bytes) = SIZES.iter().find(|(word, _)| word.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*bytes)
}

/// A number of bytes for people: `256MiB`.
pub fn show_bytes(bytes: u64) -> String {
    let whole = SIZES[5..].iter().rev().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    whole.map_or_else(|| format!("{bytes}B"), |(word, size)| format!("{}{word}", bytes / size))
}

/// A duration for people, in its largest whole unit: `1d`.
pub fn show_duration_us(micros: i64) -> String {
    let whole = UNITS_US[..6].iter().rev().find(|(_, unit)| micros != 0 && micros % unit == 0);
    whole.map_or_else(|| "0s".to_owned(), |(word, unit)| format!("{}{word}", micros / unit))
}

/// Microseconds since 1970 of an instant: `1949-01-01`, `1949-01-01T06:00` (both UTC) or with an offset.
pub fn parse_instant_us(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    // A date alone is read as its midnight.
    let civil = text.parse::<DateTime>().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        const DAY: i64 = 86_400_000_000;
        let cases = [
            ("1d", Some(DAY)),
            ("12h", Some(DAY / 2)),
            ("1d12h", Some(DAY * 3 / 2)),
            ("1d 12h", Some(DAY * 3 / 2)),
            ("250ms", Some(250_000)),
            ("2w", Some(14 * DAY)),
            ("0", Some(0)),
            ("", None),
            ("d", None),
            ("1", None),
            ("1.5d", None),
            ("-1d", None),
            ("1 day", None),
            ("99999999999999w", None),
            ("9999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration_us(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("20GiB", Some(20 << 30)),
            ("256 MiB", Some(256 << 20)),
            ("1kb", Some(1_000)),
            ("4096", Some(4_096)),
            ("", None),
            ("GiB", None),
            ("-1MiB", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
        assert_eq!(show_bytes(256 << 20), "256MiB");
        assert_eq!(show_bytes(1_000), "1000B");
    }

    #[test]
    fn instants() {
        let cases = [
            ("1970-01-02", Some(86_400_000_000)),
            ("1949-01-01", Some(-662_688_000_000_000)),
            ("1970-01-01T01:00", Some(3_600_000_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1949-13-01", None),
            ("yesterday", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_instant_us(text), expected, "{text}");
        }
    }
}
