//! Axes: from values to places, and where the ticks go.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tidegate_vocab::Timestamp;

use crate::config::section::grouped;

/// A linear scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Values at the two ends.
    pub domain: (f64, f64),
    /// Places of the two ends, in units of the drawing.
    pub range: (f64, f64),
}

/// A place on an axis that has a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// What to write there.
    pub label: String,
}

impl Scale {
    /// Where `value` is, to a tenth of a unit so that pages stay small.
    pub fn place(&self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        let place = self.range.0 + share * (self.range.1 - self.range.0);
        (place * 10.0).round() / 10.0
    }
}

/// The domain of shares around `low..high`, widened to whole ticks, and the ticks: at most eight.
pub fn share_axis(low: f64, high: f64) -> ((f64, f64), Vec<Tick>) {
    let (low, high) = if low < high { (low, high) } else { (low - 0.05, high + 0.05) };
    let steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
    let step = steps.into_iter().find(|step| (high - low) / step <= 6.0).unwrap_or(0.25);
    let first = ((low / step).floor()).max(0.0);
    let last = ((high / step).ceil()).min((1.0 / step).round());
    let decimals = if step < 0.01 { 3 } else { 2 };
    let count = (last - first).round().max(1.0);
    let ticks = (0..)
        .map(f64::from)
        .take_while(|index| *index <= count)
        .map(|index| Tick { value: (first + index) * step, label: format!("{:.decimals$}", (first + index) * step) })
        .collect();
    ((first * step, last * step), ticks)
}

/// Ticks of an axis of rows, at most `ticks_max`.
pub fn row_ticks(low: f64, high: f64, ticks_max: u32) -> Vec<Tick> {
    let span = (high - low).max(1.0);
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if span / step <= f64::from(ticks_max.max(2)) {
            break;
        }
        step *= factor;
    }
    let first = (low / step).ceil() as u64;
    let last = (high / step).floor() as u64;
    (first..=last).map(|index| index as f64 * step).map(|value| Tick { value, label: grouped(value as u64) }).collect()
}

/// Ticks of an axis of microseconds since 1970, on whole years, months, days or hours, at most `ticks_max`.
pub fn time_ticks(low: f64, high: f64, ticks_max: u32) -> Vec<Tick> {
    const DAY_US: f64 = 86_400e6;
    let days = ((high - low) / DAY_US).max(0.0);
    let fits = |step_days: f64| days / step_days <= f64::from(ticks_max.max(2));
    let Some((start, end)) = date_of(low).zip(date_of(high)) else { return Vec::new() };
    if days > 365.0 * 2.0 {
        let years = [1i16, 2, 5, 10, 20, 25, 50, 100, 200, 500].into_iter().find(|years| fits(f64::from(*years) * 365.25)).unwrap_or(1_000);
        let first = start.year().div_euclid(years).saturating_mul(years);
        let dates = (0..).map_while(|index: i16| Date::new(first.checked_add(index.checked_mul(years)?)?, 1, 1).ok());
        return ticks(dates, end, low, high, "%Y");
    }
    if days > 60.0 {
        let months = [1i32, 2, 3, 6].into_iter().find(|months| fits(f64::from(*months) * 30.4)).unwrap_or(12);
        let Ok(first) = Date::new(start.year(), 1, 1) else { return Vec::new() };
        let dates = (0..).map_while(|index: i32| first.checked_add((index * months).months()).ok());
        return ticks(dates, end, low, high, "%b %Y");
    }
    if days > 2.0 {
        let step = [1i32, 2, 5, 7, 10, 14].into_iter().find(|step| fits(f64::from(*step))).unwrap_or(30);
        let dates = (0..).map_while(|index: i32| start.checked_add((index * step).days()).ok());
        return ticks(dates, end, low, high, "%-d %b");
    }
    hour_ticks(low, high, ticks_max)
}

fn hour_ticks(low: f64, high: f64, ticks_max: u32) -> Vec<Tick> {
    const MINUTE_US: f64 = 60e6;
    let minutes = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 360.0, 720.0];
    let fits = |step: f64| (high - low) / (step * MINUTE_US) <= f64::from(ticks_max.max(2));
    let step = minutes.into_iter().find(|step| fits(*step)).unwrap_or(1_440.0) * MINUTE_US;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let label = |value: f64| jiff::Timestamp::from_microsecond(value as i64).map(|at| at.strftime("%H:%M").to_string());
    (first..=last.min(first + 64))
        .map(|index| index as f64 * step)
        .filter_map(|value| Some(Tick { value, label: label(value).ok()? }))
        .collect()
}

fn ticks(dates: impl Iterator<Item = Date>, end: Date, low: f64, high: f64, format: &str) -> Vec<Tick> {
    const TICKS_MAX: usize = 200;
    dates
        .take(TICKS_MAX)
        .take_while(|date| *date <= end)
        .filter_map(|date| Some((date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond() as f64, date)))
        .filter(|(value, _)| (low..=high).contains(value))
        .map(|(value, date)| Tick { value, label: date.strftime(format).to_string() })
        .collect()
}

fn date_of(micros: f64) -> Option<Date> {
    let at = jiff::Timestamp::from_microsecond(micros as i64).ok()?;
    Some(at.to_zoned(TimeZone::UTC).date())
}

/// The place of an instant on an axis of microseconds.
pub fn micros(at: Timestamp) -> f64 {
    at.0 as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> String {
        ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn time(from: &str, to: &str, ticks_max: u32, expected: &str) {
        let at = |text: &str| crate::config::value::parse_instant_us(text).map_or(f64::NAN, |micros| micros as f64);
        assert_eq!(labels(&time_ticks(at(from), at(to), ticks_max)), expected, "{from} {to} {ticks_max}");
    }

    #[test]
    fn time_axes() {
        time("1954-06-01", "1998-09-19", 10, "1955 1960 1965 1970 1975 1980 1985 1990 1995");
        time("1954-06-01", "1998-09-19", 4, "1960 1980");
        time("2020-01-15", "2020-12-20", 6, "Mar 2020 May 2020 Jul 2020 Sep 2020 Nov 2020");
        time("2020-01-01", "2020-01-11", 6, "1 Jan 3 Jan 5 Jan 7 Jan 9 Jan 11 Jan");
        time("2020-01-01T00:00", "2020-01-01T06:00", 6, "00:00 01:00 02:00 03:00 04:00 05:00 06:00");
        time("2020-01-01", "2020-01-01", 6, "00:00");
    }

    #[test]
    fn share_axes() {
        let (domain, ticks) = share_axis(0.642, 0.823);
        assert_eq!(labels(&ticks), "0.60 0.65 0.70 0.75 0.80 0.85");
        assert!((domain.0 - 0.6).abs() < 1e-9 && (domain.1 - 0.85).abs() < 1e-9);
        assert_eq!(share_axis(0.0, 1.0).0, (0.0, 1.0));
        assert!(!share_axis(0.5, 0.5).1.is_empty());
    }

    #[test]
    fn row_axes() {
        assert_eq!(labels(&row_ticks(1_816.0, 18_159.0, 8)), "5,000 10,000 15,000");
        assert_eq!(labels(&row_ticks(0.0, 3.0, 8)), "0 1 2 3");
    }
}
