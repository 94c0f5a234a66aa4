//! One figure and the bar it is held against.

use serde::{Deserialize, Serialize};

/// A figure; `ratio` and `bar` are absent where it is only shown beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// The median, in `unit`.
    pub value: f64,
    /// The unit of `value`.
    pub unit: String,
    /// What it is compared with, and what that measured.
    pub against: String,
    /// Ours over the other; smaller is better.
    pub ratio: Option<f64>,
    /// The ratio that is still good enough.
    pub bar: Option<f64>,
}

impl Row {
    /// A figure that may not pass a bound in its own unit.
    pub fn bounded(figure: &str, value: f64, unit: &str, bound: f64) -> Row {
        let against = format!("at most {bound} {unit}");
        Row { figure: figure.into(), value, unit: unit.into(), against, ratio: Some(value / bound), bar: Some(1.0) }
    }

    /// A figure beside the same one of a peer, both smaller when better.
    pub fn beside(figure: &str, value: f64, unit: &str, peer: &str, peer_value: f64, bar: f64) -> Row {
        let against = format!("{peer}: {}", shown(peer_value));
        Row { figure: figure.into(), value, unit: unit.into(), against, ratio: Some(value / peer_value), bar: Some(bar) }
    }

    /// A figure that is only shown.
    pub fn shown(figure: &str, value: f64, unit: &str) -> Row {
        Row { figure: figure.into(), value, unit: unit.into(), against: String::new(), ratio: None, bar: None }
    }

    /// Whether the ratio is within its bar; a figure without one always is, a ratio that is not a number never.
    pub fn is_reached(&self) -> bool {
        match (self.ratio, self.bar) {
            (Some(ratio), Some(bar)) => ratio <= bar,
            _ => true,
        }
    }
}

/// Prints the rows as a table.
pub fn print(rows: &[Row]) {
    let width = |text: fn(&Row) -> &str, least: usize| rows.iter().map(|row| text(row).chars().count()).fold(least, usize::max);
    let (figures, units, peers) = (width(|row| &row.figure, 6), width(|row| &row.unit, 4), width(|row| &row.against, 7));
    println!("{:figures$}  {:>10}  {:units$}  {:peers$}  {:>6}  {:>6}", "figure", "value", "unit", "against", "ratio", "bar");
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        let mark = match (row.bar.is_some(), row.is_reached()) {
            (false, _) => "",
            (true, true) => "ok",
            (true, false) => "MISSED",
        };
        let (value, ratio, bar) = (shown(row.value), number(row.ratio), number(row.bar));
        println!("{:figures$}  {value:>10}  {:units$}  {:peers$}  {ratio:>6}  {bar:>6}  {mark}", row.figure, row.unit, row.against);
    }
}

/// Four digits are more than a shared machine can promise.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The middle of some measurements; of an even number, the lower middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_reached_from_below() {
        assert!(Row::bounded("start", 200.0, "ms", 200.0).is_reached());
        assert!(!Row::bounded("start", 200.1, "ms", 200.0).is_reached());
        assert!(Row::beside("ingest", 1.0, "s", "pandas", 3.0, 1.0 / 3.0).is_reached());
        assert!(!Row::beside("ingest", 1.1, "s", "pandas", 3.0, 1.0 / 3.0).is_reached());
        assert!(!Row::beside("ingest", f64::NAN, "s", "pandas", 3.0, 1.0).is_reached());
        assert!(Row::shown("rows", 1e9, "rows/s").is_reached());
    }

    #[test]
    fn the_median_is_one_of_the_measurements() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn a_row_in_json_has_these_keys() {
        let text = serde_json::to_string(&Row::bounded("start", 100.0, "ms", 200.0)).unwrap();
        assert_eq!(text, r#"{"figure":"start","value":100.0,"unit":"ms","against":"at most 200 ms","ratio":0.5,"bar":1.0}"#);
    }
}
