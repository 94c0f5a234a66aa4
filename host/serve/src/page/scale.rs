//! Axes: from values to places, and where the ticks go.

use jiff::tz::TimeZone;
use jiff::{ToSpan as _, civil};
use tidegate_vocab::Timestamp;

/// Ticks of one axis at most, whatever the data.
const TICKS_MAX: usize = 40;

/// A linear scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// Values at the two ends.
    pub domain: (f64, f64),
    /// Places of the two ends, in units of the drawing.
    pub range: (f64, f64),
}

/// A place on an axis that has a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The value.
    pub value: f64,
    /// What to write there.
    pub label: String,
}

impl Scale {
    /// Where `value` is, to a tenth of a unit so that pages stay small.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        let place = self.range.0 + share * (self.range.1 - self.range.0);
        (place * 10.0).round() / 10.0
    }
}

/// The domain of shares around `low..high`, widened to whole ticks, and the ticks in per cent: at most seven.
pub(super) fn share_axis(low: f64, high: f64) -> ((f64, f64), Vec<Tick>) {
    let (low, high) = if low < high { (low.max(0.0), high.min(1.0)) } else { ((low - 0.05).max(0.0), (high + 0.05).min(1.0)) };
    let step = [0.01, 0.02, 0.05, 0.1, 0.2].into_iter().find(|step| (high - low) / step <= 5.0).unwrap_or(0.25);
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let ticks = (0..=TICKS_MAX)
        .map(|index| first + index as f64)
        .take_while(|index| *index <= last)
        .map(|index| Tick { value: index * step, label: format!("{:.0} %", index * step * 100.0) })
        .collect();
    ((first * step, last * step), ticks)
}

/// Ticks on whole years, months, days, hours or minutes between two instants, at most about `ticks_max`.
pub(super) fn time_ticks(low: Timestamp, high: Timestamp, ticks_max: u32) -> Vec<Tick> {
    const STEPS: [(i64, &str); 24] = [
        (60, "%H:%M"),
        (300, "%H:%M"),
        (900, "%H:%M"),
        (1_800, "%H:%M"),
        (3_600, "%H:%M"),
        (10_800, "%H:%M"),
        (21_600, "%H:%M"),
        (43_200, "%-d %b"),
        (86_400, "%-d %b"),
        (172_800, "%-d %b"),
        (604_800, "%-d %b"),
        (1_209_600, "%-d %b"),
        (2_629_800, "%b %Y"),
        (5_259_600, "%b %Y"),
        (7_889_400, "%b %Y"),
        (15_778_800, "%b %Y"),
        (31_557_600, "%Y"),
        (63_115_200, "%Y"),
        (157_788_000, "%Y"),
        (315_576_000, "%Y"),
        (631_152_000, "%Y"),
        (1_577_880_000, "%Y"),
        (3_155_760_000, "%Y"),
        (31_557_600_000, "%Y"),
    ];
    let span_s = high.0.saturating_sub(low.0) / 1_000_000;
    let fits = |(step, _): &(i64, &str)| span_s / step <= i64::from(ticks_max);
    let (step_s, format) = STEPS.into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1]);
    let starts = if step_s < 2_629_800 { even(low, step_s) } else { months(low, (step_s / 2_629_800) as i16) };
    let tick = |at: jiff::Timestamp| Tick { value: at.as_microsecond() as f64, label: at.strftime(format).to_string() };
    starts.into_iter().filter(|at| (low.0..=high.0).contains(&at.as_microsecond())).map(tick).collect()
}

/// Instants from just before `low`, `step_s` seconds apart and counted from 1970.
fn even(low: Timestamp, step_s: i64) -> Vec<jiff::Timestamp> {
    let first = low.0.div_euclid(1_000_000).div_euclid(step_s);
    (0..TICKS_MAX as i64).filter_map(|index| jiff::Timestamp::from_second((first + index) * step_s).ok()).collect()
}

/// First days of every `step`th month from the beginning of the year of `low`.
fn months(low: Timestamp, step: i16) -> Vec<jiff::Timestamp> {
    let Ok(at) = jiff::Timestamp::from_microsecond(low.0) else { return Vec::new() };
    let years = (step / 12).max(1);
    let year = at.to_zoned(TimeZone::UTC).year().div_euclid(years) * years;
    let Ok(first) = civil::Date::new(year, 1, 1) else { return Vec::new() };
    let date = |index: usize| first.checked_add((index as i32 * i32::from(step)).months()).ok();
    (0..TICKS_MAX).map_while(date).filter_map(|date| Some(date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn time(from: &str, to: &str, ticks_max: u32, expected: &str) {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let ticks = time_ticks(at(from), at(to), ticks_max);
        assert_eq!(ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn time_axes() {
        time("1954-06-01T00:00:00Z", "1998-09-19T00:00:00Z", 10, "1955 1960 1965 1970 1975 1980 1985 1990 1995");
        time("2020-01-15T00:00:00Z", "2020-12-20T00:00:00Z", 7, "Mar 2020 May 2020 Jul 2020 Sep 2020 Nov 2020");
        time("2020-01-01T00:00:00Z", "2020-01-05T00:00:00Z", 6, "1 Jan 2 Jan 3 Jan 4 Jan 5 Jan");
        time("2020-01-01T00:00:00Z", "2020-01-01T06:00:00Z", 6, "00:00 01:00 02:00 03:00 04:00 05:00 06:00");
        time("2020-01-01T00:00:30Z", "2020-01-01T00:00:40Z", 6, "");
    }

    #[test]
    fn share_axes() {
        let shown = |low, high| share_axis(low, high).1.into_iter().map(|tick| tick.label).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(0.642, 0.823), "60 % 65 % 70 % 75 % 80 % 85 %");
        assert_eq!(shown(0.0, 1.0), "0 % 20 % 40 % 60 % 80 % 100 %");
        assert_eq!(shown(0.5, 0.5), "45 % 50 % 55 %");
        assert_eq!(shown(1.0, 1.0), "94 % 96 % 98 % 100 %");
    }
}
