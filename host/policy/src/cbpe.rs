//! Quality without labels: confidence-based performance estimation (CBPE).
//!
//! Where probabilities are calibrated, they say how often answers are right, so the confusion matrix can be expected before a label
//! has come. The band is three sampling errors wide on either side; it says nothing about concept drift, of which CBPE is blind by
//! design. So an estimate may start a run and never promotes a version, and [`EstimateScore`] keeps how far estimates were from what
//! came out.
//!
//! Formulas and sampling errors are those of nannyml 0.13, but for ties in scores, which count half here.

use serde::{Deserialize, Serialize};

use crate::calibration::{Isotonic, calibration_error};
use crate::delong::Placements;
use crate::moments::Moments;

/// Sampling errors on either side of an estimate.
const BAND_ERRORS: f64 = 3.0;

/// Folds of the reference rows that decide whether calibration helps, and bins of the error they are compared by.
const FOLDS: usize = 10;
const FOLD_BINS: usize = 10;

/// Variances of one-versus-rest areas fall short of the spread of their mean by a fifth, as nannyml's authors measured.
const MULTICLASS_AREA_FACTOR: f64 = 1.2;

/// A model's answers to some rows.
#[derive(Debug, Clone, Copy)]
pub struct ScoredRows<'a> {
    /// The probability of each class, row-major.
    pub probabilities: &'a [f64],
    /// The predicted class of each row.
    pub predicted: &'a [u32],
    /// Number of classes.
    pub class_count: usize,
}

/// When the reference rows calibrate the probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibrate {
    /// For a class whose error on held-out folds gets smaller.
    WhereItHelps,
    /// For every class.
    Always,
    /// For none.
    Never,
}

/// What is needed to estimate the quality of one version: calibration, and sampling errors of a single row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cbpe {
    class_count: usize,
    positive: Option<u32>,
    calibrators: Vec<Option<Isotonic>>,
    accuracy: f64,
    f1: f64,
    auroc: f64,
}

/// An estimate and its band; `None` where the rows do not determine it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// The estimate.
    pub value: f64,
    /// Three sampling errors below and above it, within 0 and 1.
    pub band: (f64, f64),
}

/// Estimated quality of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CbpeEstimate {
    /// Rows that were estimated.
    pub rows: u64,
    /// Share of right answers.
    pub accuracy: Option<Estimated>,
    /// F1 of the positive class, or the mean over classes.
    pub f1: Option<Estimated>,
    /// Area under the ROC curve of the positive class, or the mean over classes against the rest.
    pub auroc: Option<Estimated>,
}

impl Cbpe {
    /// Fits on reference rows with their labels. With `positive`, F1 and the area are about that class, and its probability alone is used;
    /// otherwise they are means over classes. `None` without rows, with lists that do not fit, or a class beyond the count.
    pub fn fit(reference: ScoredRows<'_>, labels: &[u32], positive: Option<u32>, calibrate: Calibrate) -> Option<Cbpe> {
        let classes = reference.class_count;
        let beyond = |class: &u32| *class as usize >= classes;
        if !reference.fits() || labels.len() != reference.predicted.len() || labels.is_empty() || positive.as_ref().is_some_and(beyond) {
            return None;
        }
        let mut cbpe = Cbpe { class_count: classes, positive, calibrators: Vec::new(), accuracy: 0.0, f1: 0.0, auroc: 0.0 };
        let (mut f1, mut auroc) = (0.0, 0.0);
        let judged = cbpe.judged();
        for class in &judged {
            let scores = reference.scores(*class);
            let is: Vec<bool> = labels.iter().map(|label| label == class).collect();
            let said: Vec<bool> = reference.predicted.iter().map(|predicted| predicted == class).collect();
            cbpe.calibrators.push(calibrator(&scores, &is, calibrate));
            f1 += f1_variance(&is, &said, positive.is_some());
            auroc += area_variance(&is, &scores);
        }
        let right = labels.iter().zip(reference.predicted).map(|(label, predicted)| match positive {
            Some(positive) => (*label == positive) == (*predicted == positive),
            None => label == predicted,
        });
        let share = right.filter(|right| *right).count() as f64 / labels.len() as f64;
        let count = judged.len() as f64;
        cbpe.accuracy = (share * (1.0 - share)).sqrt();
        cbpe.f1 = f1.sqrt() / count;
        cbpe.auroc = auroc.sqrt() / count * if positive.is_some() { 1.0 } else { MULTICLASS_AREA_FACTOR };
        Some(cbpe)
    }

    /// Estimates the quality of answers whose labels are not known; `None` when the lists do not fit.
    pub fn estimate(&self, rows: ScoredRows<'_>) -> Option<CbpeEstimate> {
        if !rows.fits() || rows.class_count != self.class_count {
            return None;
        }
        let calibrated = self.calibrated(rows);
        let (mut f1, mut areas, mut right) = (Vec::new(), Vec::new(), 0.0);
        for (class, probabilities) in self.judged().iter().zip(&calibrated) {
            let answers = || rows.predicted.iter().map(|predicted| predicted == class).zip(probabilities);
            right += answers().filter(|(said, _)| *said).map(|(_, p)| p).sum::<f64>();
            if self.positive.is_some() {
                right += answers().filter(|(said, _)| !said).map(|(_, p)| 1.0 - p).sum::<f64>();
            }
            f1.push(expected_f1(answers()));
            areas.push(expected_area(&rows.scores(*class), probabilities));
        }
        let count = rows.predicted.len() as f64;
        let banded = |value: Option<f64>, deviation: f64| banded(value, deviation, count);
        Some(CbpeEstimate {
            rows: rows.predicted.len() as u64,
            accuracy: banded((count > 0.0).then(|| right / count), self.accuracy),
            f1: banded(mean_of(&f1), self.f1),
            auroc: banded(mean_of(&areas), self.auroc),
        })
    }

    /// The expected number of right answers; sums of parts are that of the whole. `None` when the lists do not fit.
    pub fn expected_right(&self, rows: ScoredRows<'_>) -> Option<f64> {
        let estimate = self.estimate(rows)?;
        Some(estimate.accuracy.map_or(0.0, |accuracy| accuracy.value * estimate.rows as f64))
    }

    /// The estimate for `rows` rows of which so many are expected to be right.
    pub fn accuracy_of(&self, expected_right: f64, rows: u64) -> Option<Estimated> {
        banded((rows > 0).then(|| expected_right / rows as f64), self.accuracy, rows as f64)
    }

    /// The classes that F1 and the area are about.
    fn judged(&self) -> Vec<u32> {
        self.positive.map_or_else(|| (0..self.class_count as u32).collect(), |positive| vec![positive])
    }

    /// Calibrated probabilities by class; several classes are made to add up to 1 again, and to be equal where all are 0.
    fn calibrated(&self, rows: ScoredRows<'_>) -> Vec<Vec<f64>> {
        let apply = |(class, calibrator): (u32, &Option<Isotonic>)| -> Vec<f64> {
            let scores = rows.scores(class);
            calibrator.as_ref().map_or_else(|| scores.clone(), |calibrator| scores.iter().map(|score| calibrator.value(*score)).collect())
        };
        let mut columns: Vec<Vec<f64>> = self.judged().into_iter().zip(&self.calibrators).map(apply).collect();
        if self.positive.is_none() {
            for row in 0..rows.predicted.len() {
                let total: f64 = columns.iter().map(|column| column[row]).sum();
                let equal = 1.0 / columns.len() as f64;
                columns.iter_mut().for_each(|column| column[row] = if total == 0.0 { equal } else { column[row] / total });
            }
        }
        columns
    }
}

impl ScoredRows<'_> {
    fn fits(&self) -> bool {
        self.class_count > 0 && self.probabilities.len() == self.predicted.len() * self.class_count
    }

    fn scores(&self, class: u32) -> Vec<f64> {
        self.probabilities.iter().skip(class as usize).step_by(self.class_count.max(1)).copied().collect()
    }
}

/// A value and its band, for so many rows whose sampling error is `deviation` each.
fn banded(value: Option<f64>, deviation: f64, rows: f64) -> Option<Estimated> {
    let error = BAND_ERRORS * deviation / rows.sqrt();
    let value = value.filter(|value| value.is_finite() && error.is_finite())?;
    Some(Estimated { value, band: ((value - error).max(0.0), (value + error).min(1.0)) })
}

/// How far estimates were from what came out, once labels had come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EstimateScore {
    /// Estimate less realised value: its mean is the estimator's bias.
    pub error: Moments,
    /// Its size, whichever its sign.
    pub distance: Moments,
    /// How many realised values lay in the band.
    pub within: u64,
}

impl EstimateScore {
    /// Takes in one estimate and what came out.
    pub fn record(&mut self, estimated: &Estimated, realised: f64) {
        if !realised.is_finite() {
            return;
        }
        self.error.add(estimated.value - realised);
        self.distance.add((estimated.value - realised).abs());
        self.within += u64::from((estimated.band.0..=estimated.band.1).contains(&realised));
    }
}

/// The calibration of one class, where it is wanted.
fn calibrator(scores: &[f64], is: &[bool], calibrate: Calibrate) -> Option<Isotonic> {
    let targets: Vec<f64> = is.iter().map(|is| f64::from(u8::from(*is))).collect();
    let helps = || {
        let one_class = is.iter().all(|is| *is) || is.iter().all(|is| !is);
        let mut held_out = vec![f64::NAN; scores.len()];
        for fold in 0..FOLDS {
            let weights: Vec<f64> = (0..scores.len()).map(|row| f64::from(u8::from(row % FOLDS != fold))).collect();
            let Some(fitted) = Isotonic::fit(scores, &targets, &weights) else { return false };
            (fold..scores.len()).step_by(FOLDS).for_each(|row| held_out[row] = fitted.value(scores[row]));
        }
        let (before, after) = (calibration_error(scores, is, FOLD_BINS), calibration_error(&held_out, is, FOLD_BINS));
        !one_class && before.zip(after).is_some_and(|(before, after)| after < before)
    };
    let wanted = match calibrate {
        Calibrate::Always => true,
        Calibrate::Never => false,
        Calibrate::WhereItHelps => helps(),
    };
    if wanted { Isotonic::fit(scores, &targets, &[]) } else { None }
}

/// The variance that one row brings to F1: of hits among the rows that are the class or were said to be, over their share. With
/// `scaled`, hits weigh as much as F1 weighs them.
fn f1_variance(is: &[bool], said: &[bool], scaled: bool) -> f64 {
    let both = is.iter().zip(said).filter(|(is, said)| **is && **said).count() as f64;
    let either = is.iter().zip(said).filter(|(is, said)| **is || **said).count() as f64;
    let factor = if scaled { either / (0.5 * (either - both) + both) } else { 1.0 };
    let share = both / either;
    factor * factor * share * (1.0 - share) / (either / is.len() as f64)
}

/// The variance that one row brings to the area: of the placements of the rarer side, over its share.
fn area_variance(is: &[bool], scores: &[f64]) -> f64 {
    let labels: Vec<u8> = is.iter().map(|is| u8::from(*is)).collect();
    let Some(placements) = Placements::new(&labels, scores) else { return f64::NAN };
    let rarer = if placements.positives.len() * 2 > is.len() { placements.negatives } else { placements.positives };
    let mean = rarer.iter().sum::<f64>() / rarer.len() as f64;
    let variance = rarer.iter().map(|place| (place - mean) * (place - mean)).sum::<f64>() / rarer.len() as f64;
    variance / (rarer.len() as f64 / is.len() as f64)
}

/// F1 of the expected confusion matrix.
fn expected_f1<'p>(answers: impl Iterator<Item = (bool, &'p f64)>) -> Option<f64> {
    let (mut hits, mut wrong) = (0.0, 0.0);
    for (said, probability) in answers {
        hits += if said { *probability } else { 0.0 };
        wrong += if said { 1.0 - probability } else { *probability };
    }
    let of = hits + 0.5 * wrong;
    (of > 0.0).then(|| hits / of)
}

/// The area under the curve of the expected hits and false alarms in the order of the scores, equal scores counting half.
fn expected_area(scores: &[f64], probabilities: &[f64]) -> Option<f64> {
    let mut rows: Vec<(f64, f64)> = scores.iter().map(|score| score + 0.0).zip(probabilities.iter().copied()).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ordered, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let is: f64 = tied.iter().map(|(_, probability)| probability).sum();
        let is_not = tied.len() as f64 - is;
        ordered += is * (negatives + 0.5 * is_not);
        positives += is;
        negatives += is_not;
    }
    (positives > 0.0 && negatives > 0.0).then(|| ordered / (positives * negatives))
}

/// The mean; a class that is not determined leaves nothing to say.
fn mean_of(values: &[Option<f64>]) -> Option<f64> {
    let known: Option<Vec<f64>> = values.iter().copied().collect();
    known.filter(|known| !known.is_empty()).map(|known| known.iter().sum::<f64>() / known.len() as f64)
}
