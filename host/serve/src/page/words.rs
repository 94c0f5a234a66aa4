//! Numbers, instants and names as the page writes them.

use maud::{Markup, html};
use tidegate_vocab::{DecisionKind, Timestamp, Verdict};

/// Digits of a digest that are shown; the whole of it is in its title.
const DIGEST_DIGITS: usize = 12;

/// `18159` as `18,159`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `0.7794` as `77.9`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// `1 Jan 2026, 00:00`, in UTC.
pub(super) fn instant(at: Timestamp) -> String {
    formatted(at, "%-d %b %Y, %H:%M")
}

/// `1 Jan 2026`, in UTC.
pub(super) fn day(at: Timestamp) -> String {
    formatted(at, "%-d %b %Y")
}

fn formatted(at: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.to_string(), |at| at.strftime(format).to_string())
}

/// How long it is from `from` to `to`, in the unit that leaves few digits: a number and its unit.
pub(super) fn duration(from: Timestamp, to: Timestamp) -> (u64, &'static str) {
    let seconds = u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0) / 1_000_000;
    let (count, one, many) = match seconds {
        0..120 => (seconds, "second", "seconds"),
        120..7_200 => (seconds / 60, "minute", "minutes"),
        7_200..172_800 => (seconds / 3_600, "hour", "hours"),
        172_800..63_072_000 => (seconds / 86_400, "day", "days"),
        _ => (seconds / 31_557_600, "year", "years"),
    };
    (count, if count == 1 { one } else { many })
}

/// The beginning of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..DIGEST_DIGITS).unwrap_or(digest)
}

/// A sentence that begins with a capital letter and ends with a full stop; what stands in backticks is set as code.
pub(super) fn sentence(text: &str) -> Markup {
    let text = text.trim();
    // Names such as `v3` and `run-4` keep their letters.
    let first_word = text.split(' ').next().unwrap_or_default();
    let is_name = first_word.contains(|letter: char| letter.is_ascii_digit() || letter == '`' || letter == '_');
    let mut letters = text.chars();
    let sentence: String = match letters.next() {
        Some(first) if !is_name => first.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    };
    let ends = sentence.is_empty() || sentence.ends_with(['.', '!', '?', ':']);
    html! { (code(&sentence)) @if !ends { "." } }
}

/// A text in which what stands in backticks is set as code.
pub(super) fn code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A text of at most `chars_max` letters.
pub(super) fn clipped(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// A number of a verdict, with as many digits as tell.
pub(super) fn number(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 { 1 } else { 4 };
    format!("{value:.decimals$}")
}

/// What a decision is called.
pub(super) fn decision(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Promote => "promote",
        DecisionKind::Reject => "reject",
        DecisionKind::Hold => "hold",
        DecisionKind::RollBack => "roll back",
    }
}

/// What a verdict is called, and its class.
pub(super) fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "pass"),
        Verdict::Fail => ("fail", "fail"),
        Verdict::Inconclusive => ("inconclusive", "open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (18_159, "18,159"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn durations_have_few_digits() {
        let after = |seconds: i64| duration(Timestamp(0), Timestamp(seconds * 1_000_000));
        assert_eq!([after(1), after(150), after(7_200), after(41 * 86_400)], [(1, "second"), (2, "minutes"), (2, "hours"), (41, "days")]);
        assert_eq!(after(-5), (0, "seconds"));
    }

    #[test]
    fn sentences_begin_and_end() {
        let shown = |text: &str| sentence(text).into_string();
        assert_eq!(shown("waits for `csv` & more"), "Waits for <code>csv</code> &amp; more.");
        assert_eq!(shown("v3 is better."), "v3 is better.");
        assert_eq!(shown(""), "");
        assert_eq!(clipped("temperature", 6), "tempe…");
    }
}
