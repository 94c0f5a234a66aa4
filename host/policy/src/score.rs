//! Scores for reports: how often predictions were right, beside what a naive baseline would have reached.
//!
//! These are point values for tables and pictures. Gates never use them; gates use terms and intervals.

use serde::{Deserialize, Serialize};

/// The scores of one list of predictions. A score that the rows do not determine (0/0) is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Rows that were scored.
    pub rows: u64,
    /// Share of right predictions; prequential when every row was predicted before it was learned from.
    pub accuracy: Option<f64>,
    /// F1 of the positive class.
    pub f1: Option<f64>,
    /// Mean of the classes' F1.
    pub f1_macro: Option<f64>,
    /// Improvement over no-change as a share of what was left to improve.
    pub kappa_no_change: Option<f64>,
    /// Accuracy of predicting the label before.
    pub accuracy_no_change: Option<f64>,
    /// Accuracy of always predicting `majority`.
    pub accuracy_majority: Option<f64>,
}

impl Scores {
    /// Scores `predicted` against `labels`, beside the predictions of the two naive baselines, each one class a row.
    /// Rows beyond the shortest list are left out.
    pub fn of(labels: &[u32], predicted: &[u32], no_change: &[u32], majority: &[u32], positive: u32) -> Scores {
        let accuracy_own = accuracy(labels, predicted);
        let accuracy_no_change = accuracy(labels, no_change);
        Scores {
            rows: labels.len().min(predicted.len()) as u64,
            accuracy: accuracy_own,
            f1: f1(labels, predicted, positive),
            f1_macro: macro_f1(labels, predicted),
            kappa_no_change: accuracy_own.zip(accuracy_no_change).and_then(|(own, naive)| kappa_no_change(own, naive)),
            accuracy_no_change,
            accuracy_majority: accuracy(labels, majority),
        }
    }
}

/// Share of rows whose prediction is the label; `None` without rows.
pub fn accuracy(labels: &[u32], predicted: &[u32]) -> Option<f64> {
    let rows = labels.len().min(predicted.len());
    let right = labels.iter().zip(predicted).filter(|(label, predicted)| label == predicted).count();
    (rows > 0).then(|| right as f64 / rows as f64)
}

/// F1 of one class, `2 tp / (2 tp + fp + fn)`; `None` when the class occurs in neither list.
pub fn f1(labels: &[u32], predicted: &[u32], positive: u32) -> Option<f64> {
    let (mut both, mut either) = (0u64, 0u64);
    for (label, predicted) in labels.iter().zip(predicted) {
        let (is, said) = (*label == positive, *predicted == positive);
        both += u64::from(is && said);
        either += u64::from(is) + u64::from(said);
    }
    (either > 0).then(|| 2.0 * both as f64 / either as f64)
}

/// Mean of the F1 of all classes that occur in either list; `None` without rows.
pub fn macro_f1(labels: &[u32], predicted: &[u32]) -> Option<f64> {
    let mut classes: Vec<u32> = labels.iter().zip(predicted).flat_map(|(label, predicted)| [*label, *predicted]).collect();
    classes.sort_unstable();
    classes.dedup();
    let values: Vec<f64> = classes.iter().filter_map(|class| f1(labels, predicted, *class)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// `(accuracy - accuracy_no_change) / (1 - accuracy_no_change)`: 1 is perfect, 0 is no better than repeating the last label;
/// `None` where repeating it is never wrong.
pub fn kappa_no_change(accuracy: f64, accuracy_no_change: f64) -> Option<f64> {
    let left = 1.0 - accuracy_no_change;
    (left > 0.0).then(|| (accuracy - accuracy_no_change) / left)
}
