//! Realised quality over time: rows whose labels have become known, in points of so many rows a version.

use serde::{Deserialize, Serialize};
use tidegate_vocab::{QualityPoint, Timestamp};

use crate::ScoredRow;

/// Rows of one point at first; each halving of the history doubles it.
const POINT_ROWS: u64 = 50;
/// Points kept at most. When there are more, neighbours of the same version become one.
const POINTS_MAX: usize = 240;

/// The points, oldest first. Part of what a pipeline remembers, so that no row is counted twice across a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityHistory {
    points: Vec<QualityPoint>,
    /// How often neighbours were joined: a point holds `POINT_ROWS × 2^joined` rows.
    joined: u32,
}

impl QualityHistory {
    /// The points, oldest first.
    pub fn points(&self) -> &[QualityPoint] {
        &self.points
    }

    /// Counts rows that were answered and labelled; others say nothing about quality.
    pub(crate) fn add(&mut self, rows: &[ScoredRow], at: Timestamp) {
        for row in rows {
            let (Some(truth), Some(predicted), Some(version)) = (row.truth, row.predicted, row.version) else { continue };
            let point_rows = POINT_ROWS << self.joined.min(40);
            let open = self.points.last().is_some_and(|point| point.version == version && point.rows < point_rows);
            if !open {
                self.points.push(QualityPoint { at, event_time: row.event_time, version, rows: 0, right: 0, served: 0 });
            }
            if let Some(point) = self.points.last_mut() {
                point.at = at;
                point.event_time = row.event_time;
                point.rows += 1;
                point.right += u64::from(truth == predicted);
                point.served += u64::from(row.served);
            }
            if self.points.len() > POINTS_MAX {
                self.join_neighbours();
            }
        }
    }

    fn join_neighbours(&mut self) {
        self.joined += 1;
        let mut joined: Vec<QualityPoint> = Vec::with_capacity(self.points.len());
        let point_rows = POINT_ROWS << self.joined.min(40);
        for point in self.points.drain(..) {
            match joined.last_mut() {
                Some(last) if last.version == point.version && last.rows + point.rows <= point_rows => {
                    last.at = point.at;
                    last.event_time = point.event_time;
                    last.rows += point.rows;
                    last.right += point.right;
                    last.served += point.served;
                }
                _ => joined.push(point),
            }
        }
        // Versions that change all the time leave neighbours that cannot be joined; then the oldest go.
        let over = joined.len().saturating_sub(POINTS_MAX * 3 / 4);
        joined.drain(..over);
        self.points = joined;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_vocab::VersionNo;

    use super::*;

    fn row(version: u32, right: bool) -> ScoredRow {
        let predicted = Some(u32::from(!right));
        ScoredRow {
            row: None,
            event_time: Timestamp(0),
            truth: Some(0),
            predicted,
            version: Some(VersionNo(version)),
            served: true,
            arm: None,
        }
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_point(stretches in prop::collection::vec((1u32..5, 1usize..4_000, any::<bool>()), 1..12)) {
            let mut history = QualityHistory::default();
            let (mut rows, mut right) = (0, 0);
            for (version, count, is_right) in &stretches {
                history.add(&vec![row(*version, *is_right); *count], Timestamp(1));
                rows += *count as u64;
                right += if *is_right { *count as u64 } else { 0 };
            }
            let points = history.points();
            prop_assert!(points.len() <= POINTS_MAX);
            prop_assert_eq!(points.iter().map(|point| point.rows).sum::<u64>(), rows);
            prop_assert_eq!(points.iter().map(|point| point.right).sum::<u64>(), right);
        }
    }

    #[test]
    fn rows_without_answer_or_label_are_not_counted() {
        let mut history = QualityHistory::default();
        history.add(&[ScoredRow { truth: None, ..row(1, true) }, ScoredRow { predicted: None, ..row(1, true) }], Timestamp(0));
        assert!(history.points().is_empty());
        history.add(&[row(1, true), row(2, false)], Timestamp(0));
        assert_eq!(history.points().iter().map(|point| (point.version.0, point.right)).collect::<Vec<_>>(), [(1, 1), (2, 0)]);
        assert_eq!(history.points().last().map(|point| point.served), Some(1));
    }
}
