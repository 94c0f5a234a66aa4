//! Numbers as people read them, for the reasons in verdicts and triggers.

/// Four decimals, or three significant digits where four decimals would show nothing; more than four digits before the point
/// are grouped.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if (10_000.0..9e15).contains(&size) {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(size.round() as u64));
    }
    if (size > 0.0 && size < 0.000_5) || size >= 9e15 {
        return format!("{value:.2e}");
    }
    format!("{value:.4}")
}

/// Digits in groups of three.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as per cent with one decimal.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(0.77123, "0.7712");
        check(-0.02, "-0.0200");
        check(0.0, "0.0000");
        check(0.000_012_3, "1.23e-5");
        check(1_234_567.8, "1,234,568");
        check(-12_345.0, "-12,345");
        check(f64::NAN, "NaN");
        assert_eq!((count(0), count(999), count(1_000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!(percent(0.98333), "98.3 %");
    }
}
