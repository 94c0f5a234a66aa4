//! One cell of text to one value, and back. Pure functions; `None` means that the text is not of the type.
//!
//! Invariant: an empty cell, or one of blanks, is missing in every type. Numbers do not depend on the locale.

use tidegate_vocab::{DType, TimeUnit};

/// What a cell holds once it is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<T> {
    /// No value.
    Missing,
    /// A value of the type.
    Value(T),
    /// Text that is not of the type.
    Uncastable,
}

/// Reads a decimal number; blanks around it are ignored. Every NaN becomes the same NaN, so that bytes of parts do not depend on
/// how it was spelt. `inf` is read as such: the check after the cleaners reports it.
#[inline]
pub fn f64_of(text: &[u8]) -> Cell<f64> {
    match fast_float2::parse::<f64, _>(text) {
        Ok(value) if value.is_nan() => Cell::Value(f64::NAN),
        Ok(value) => Cell::Value(value),
        Err(_) => f64_of_padded(text),
    }
}

#[cold]
fn f64_of_padded(text: &[u8]) -> Cell<f64> {
    let trimmed = text.trim_ascii();
    match trimmed.len() {
        0 => Cell::Missing,
        length if length == text.len() => Cell::Uncastable,
        _ => f64_of(trimmed),
    }
}

/// Reads a whole number; `1.0` is none.
#[inline]
pub fn i64_of(text: &[u8]) -> Cell<i64> {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Cell::Missing;
    }
    match std::str::from_utf8(trimmed).ok().and_then(|text| text.parse().ok()) {
        Some(value) => Cell::Value(value),
        None => Cell::Uncastable,
    }
}

/// Reads `true`, `false` (in the spellings of Rust, Python and SQL), `1` or `0`.
#[inline]
pub fn bool_of(text: &[u8]) -> Cell<bool> {
    match text.trim_ascii() {
        b"" => Cell::Missing,
        b"1" | b"true" | b"True" | b"TRUE" => Cell::Value(true),
        b"0" | b"false" | b"False" | b"FALSE" => Cell::Value(false),
        _ => Cell::Uncastable,
    }
}

/// Reads an instant: ISO 8601 with or without offset (without: UTC), a date alone (its midnight), or whole microseconds since 1970.
pub fn instant_of(text: &[u8]) -> Cell<i64> {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Cell::Missing;
    }
    if let Some(micros) = iso_fast(trimmed) {
        return Cell::Value(micros);
    }
    let Ok(text) = std::str::from_utf8(trimmed) else { return Cell::Uncastable };
    if let Ok(micros) = text.parse::<i64>() {
        return Cell::Value(micros);
    }
    iso_of(text).map_or(Cell::Uncastable, Cell::Value)
}

/// Microseconds since 1970 of an ISO 8601 text.
pub fn iso_of(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// The common shapes `2024-05-01`, `2024-05-01T10:20:30` and `2024-05-01 10:20:30Z`, several times faster than the general parser,
/// which sees everything that this one declines.
fn iso_fast(text: &[u8]) -> Option<i64> {
    let digits = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    // Days beyond the 28th are left to the calendar of the general parser.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let seconds = match text.len() {
        10 => 0,
        19 | 20 if matches!(text[10], b'T' | b' ') && text[13] == b':' && text[16] == b':' && text.get(19).is_none_or(|z| *z == b'Z') => {
            let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            hour * 3600 + minute * 60 + second
        }
        _ => return None,
    };
    Some((days * 86_400 + seconds) * 1_000_000)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, by counting from 1 March so that the leap day ends the year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `origin + value × unit`, or `None` where that is not an instant.
pub fn instant_of_f64(value: f64, unit: TimeUnit, origin_us: i64) -> Option<i64> {
    // Above this, f64 no longer tells neighbouring microseconds apart and casts would saturate.
    const MICROS_MAX: f64 = 9.0e18;
    let micros = (value * unit.micros() as f64).round();
    (micros.is_finite() && micros.abs() < MICROS_MAX).then_some(micros as i64)?.checked_add(origin_us)
}

/// `origin + value × unit`, exactly, or `None` where that is not an instant.
pub fn instant_of_i64(value: i64, unit: TimeUnit, origin_us: i64) -> Option<i64> {
    value.checked_mul(unit.micros())?.checked_add(origin_us)
}

/// Reads a numeric time cell: whole numbers exactly, others as f64.
pub fn instant_of_number(text: &[u8], unit: TimeUnit, origin_us: i64) -> Cell<i64> {
    let instant = match i64_of(text) {
        Cell::Missing => return Cell::Missing,
        Cell::Value(value) => instant_of_i64(value, unit, origin_us),
        Cell::Uncastable => match f64_of(text) {
            Cell::Value(value) => instant_of_f64(value, unit, origin_us),
            Cell::Missing => return Cell::Missing,
            Cell::Uncastable => None,
        },
    };
    instant.map_or(Cell::Uncastable, Cell::Value)
}

/// A number as text, the one way: `1` for 1.0, the shortest digits that read back as the same number otherwise.
pub fn text_of_f64(value: f64) -> String {
    // Adding 0.0 turns −0 into 0; Rust prints whole f64 without a point.
    format!("{}", value + 0.0)
}

/// The first characters of `text`, quoted: cells come from outside and may be long.
pub fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let short: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let dots = if text.chars().nth(CHARS_MAX).is_some() { "…" } else { "" };
    format!("`{short}{dots}`")
}

/// What a text cell looks like.
pub fn looks_like(text: &[u8]) -> Option<DType> {
    if matches!(i64_of(text), Cell::Value(_)) {
        Some(DType::I64)
    } else if matches!(f64_of(text), Cell::Value(_)) {
        Some(DType::F64)
    } else if matches!(bool_of(text), Cell::Value(_)) {
        Some(DType::Bool)
    } else {
        let text = std::str::from_utf8(text.trim_ascii()).ok()?;
        match (text.is_empty(), iso_of(text)) {
            (true, _) => None,
            (false, Some(_)) => Some(DType::TimestampUs),
            (false, None) => Some(DType::Utf8),
        }
    }
}
