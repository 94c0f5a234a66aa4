//! Accuracy over a window that moves along the rows.

use tidegate_vocab::Timestamp;

use super::Point;

/// One row that was predicted before it was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoredRow {
    /// Its number.
    pub row: u64,
    /// Its event time.
    pub at: Timestamp,
    /// Whether the prediction was right.
    pub is_right: bool,
}

/// At most `points_max` points of accuracy over the last `window_rows` rows, evenly spaced, the last row among them. A history
/// shorter than the window gives one point over all of it.
pub fn rolling_accuracy(rows: &[ScoredRow], window_rows: u64, points_max: usize) -> Vec<Point> {
    let window = usize::try_from(window_rows).unwrap_or(usize::MAX).clamp(1, rows.len().max(1));
    if rows.is_empty() || points_max == 0 {
        return Vec::new();
    }
    let mut right_before = Vec::with_capacity(rows.len() + 1);
    right_before.push(0u64);
    for row in rows {
        right_before.push(right_before[right_before.len() - 1] + u64::from(row.is_right));
    }
    let ends = rows.len() - window + 1;
    let step = ends.div_ceil(points_max).max(1);
    // Counted back from the last row, so that the newest point is never left out.
    let mut points: Vec<Point> = (0..ends)
        .step_by(step)
        .map(|back| {
            let end = rows.len() - back;
            let right = right_before[end] - right_before[end - window];
            let last = rows[end - 1];
            Point { row: last.row, at: last.at, accuracy: right as f64 / window as f64, rows: window as u64 }
        })
        .collect();
    points.reverse();
    points
}

/// Two-sided 95 % Wilson interval of a share of `rows` rows. Formula: Wilson, JASA 22 (1927).
pub fn wilson_95(share: f64, rows: u64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let n = rows.max(1) as f64;
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(right: &str) -> Vec<ScoredRow> {
        let scored = |(row, c): (usize, char)| ScoredRow { row: row as u64, at: Timestamp(row as i64), is_right: c == '1' };
        right.chars().enumerate().map(scored).collect()
    }

    fn check(right: &str, window: u64, points_max: usize, expected: &[(u64, f64)]) {
        let points = rolling_accuracy(&rows(right), window, points_max);
        let found: Vec<(u64, f64)> = points.iter().map(|point| (point.row, point.accuracy)).collect();
        assert_eq!(found, expected, "{right} {window} {points_max}");
    }

    #[test]
    fn windows() {
        check("1100", 2, 10, &[(1, 1.0), (2, 0.5), (3, 0.0)]);
        check("1100", 2, 2, &[(1, 1.0), (3, 0.0)]);
        check("1100", 2, 1, &[(3, 0.0)]);
        check("110", 100, 10, &[(2, 2.0 / 3.0)]);
        check("", 2, 10, &[]);
        check("1", 1, 0, &[]);
    }

    #[test]
    fn wilson_matches_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(780, 1000, method="wilson")
        let (low, high) = wilson_95(0.78, 1_000);
        assert!((low - 0.753_279).abs() < 1e-5 && (high - 0.804_580).abs() < 1e-5, "{low} {high}");
        assert!((wilson_95(1.0, 10).1 - 1.0).abs() < 1e-12);
        assert_eq!(wilson_95(0.0, 0).0, 0.0);
    }
}
