//! Logistic and softmax regression with a ridge penalty, trained to convergence.
//!
//! The objective is scikit-learn's `LogisticRegression` with `C = 1 / l2`, divided by the total weight: the mean of the
//! weighted losses plus `l2 / (2 × total weight) × |coefficients|²`; intercepts are not penalised. Two classes have one row of
//! coefficients, more have one each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_vocab::Digest;

use crate::checkpoint::{Checkpoint, Saved};
use crate::error::TrainError;
use crate::examples::Examples;
use crate::kernel::{ln, softmax};
use crate::lbfgs::{self, Lbfgs};
use crate::preprocessing::Inputs;
use crate::progress::{Progress, Watch};
use crate::tensors::Stored;

/// Steps of the optimiser at most; with standardised inputs it needs some tens.
pub const LINEAR_STEPS_MAX: u64 = 1_000;

/// A fitted linear model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    /// Rows of coefficients: 1 for two classes, else one a class.
    pub outputs: usize,
    /// `outputs × width`.
    pub coefficients: Vec<f64>,
    /// One an output.
    pub intercepts: Vec<f64>,
}

/// How many rows of coefficients `class_count` classes need.
pub(crate) fn outputs(class_count: usize) -> usize {
    if class_count == 2 { 1 } else { class_count }
}

impl Linear {
    /// Probabilities of `class_count` classes, row-major. Every row has the same bits in any batch.
    pub(crate) fn probabilities(&self, inputs: &Inputs, class_count: usize) -> Vec<f64> {
        let mut probabilities = vec![0.0; inputs.rows * class_count];
        for (row, out) in inputs.values.chunks_exact(inputs.width).zip(probabilities.chunks_exact_mut(class_count)) {
            self.scores(row, out);
            softmax(out);
        }
        probabilities
    }

    fn scores(&self, row: &[f64], out: &mut [f64]) {
        let first = out.len() - self.outputs;
        let lines = self.coefficients.chunks_exact(row.len()).zip(&self.intercepts);
        // Of two classes the first has the score 0, which makes the softmax a logistic function.
        for (out, (coefficients, intercept)) in out[first..].iter_mut().zip(lines) {
            *out = coefficients.iter().zip(row).fold(*intercept, |sum, (coefficient, value)| sum + coefficient * value);
        }
    }
}

/// What a linear training says about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearOutcome {
    /// Steps of the optimiser.
    pub steps: u64,
    /// The objective at the end.
    pub loss: f64,
    /// Whether the gradient vanished.
    pub converged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    steps: u64,
    loss: f64,
    pairs: usize,
}

/// Fits a linear model, from the beginning or from a checkpoint.
pub(crate) fn fit(
    train: &Examples,
    class_count: usize,
    l2: f64,
    training: Digest,
    resume: Option<&Checkpoint>,
    watch: &mut Watch<'_>,
) -> Result<(Linear, LinearOutcome), TrainError> {
    let outputs = outputs(class_count);
    let count = outputs * (train.inputs.width + 1);
    let objective = |point: &[f64]| objective(train, class_count, l2, point);
    let mut state = match resume {
        Some(checkpoint) => restore(checkpoint, training, count)?,
        None => Lbfgs::new(vec![0.0; count], &objective),
    };
    let mut converged = false;
    while state.steps < LINEAR_STEPS_MAX {
        if !state.loss.is_finite() {
            return Err(TrainError::Diverged { loss: state.loss, epoch: 1, step: state.steps, learning_rate: 1.0 });
        }
        if lbfgs::step(&mut state, &objective) == lbfgs::Outcome::Converged {
            converged = true;
            break;
        }
        let progress = Progress {
            member: 0,
            members: 1,
            epoch: 1,
            epochs_max: 1,
            step: state.steps,
            loss: state.loss,
            validation_loss: None,
            checkpoint: None,
        };
        watch.report(progress, &|| save(&state, training))?;
    }
    let (coefficients, intercepts) = state.point.split_at(outputs * train.inputs.width);
    let linear = Linear { outputs, coefficients: coefficients.to_vec(), intercepts: intercepts.to_vec() };
    Ok((linear, LinearOutcome { steps: state.steps, loss: state.loss, converged }))
}

/// The objective and its gradient at `point`: coefficients, then intercepts.
fn objective(train: &Examples, class_count: usize, l2: f64, point: &[f64]) -> (f64, Vec<f64>) {
    let (outputs, width) = (outputs(class_count), train.inputs.width);
    let linear = Linear { outputs, coefficients: point[..outputs * width].to_vec(), intercepts: point[outputs * width..].to_vec() };
    let total: f64 = train.weights.iter().sum();
    let mut gradient = vec![0.0; point.len()];
    let mut loss = 0.0;
    let mut row_scores = vec![0.0; class_count];
    let rows = train.inputs.values.chunks_exact(width).zip(train.classes.iter().zip(&train.weights));
    for (row, (class, weight)) in rows {
        row_scores.fill(0.0);
        linear.scores(row, &mut row_scores);
        let (top, own) = (row_scores.iter().copied().fold(f64::NEG_INFINITY, f64::max), row_scores[*class as usize]);
        softmax(&mut row_scores);
        let first = class_count - outputs;
        // ln Σ exp(score) = top - ln p(top): softmax leaves the largest probability well above 0.
        let largest = row_scores.iter().copied().fold(0.0, f64::max);
        loss += weight * (top - ln(largest) - own);
        row_scores[*class as usize] -= 1.0;
        for (output, difference) in row_scores[first..].iter().enumerate() {
            let scaled = weight * difference / total;
            for (gradient, value) in gradient[output * width..][..width].iter_mut().zip(row) {
                *gradient += scaled * value;
            }
            gradient[outputs * width + output] += scaled;
        }
    }
    let mut square = 0.0;
    for (gradient, coefficient) in gradient.iter_mut().zip(&linear.coefficients) {
        *gradient += l2 / total * coefficient;
        square += coefficient * coefficient;
    }
    (loss / total + l2 / (2.0 * total) * square, gradient)
}

fn save(state: &Lbfgs, training: Digest) -> Result<Checkpoint, TrainError> {
    let count = state.point.len();
    let mut tensors = BTreeMap::from([
        ("point".to_owned(), Stored::f64([count], state.point.clone())),
        ("gradient".to_owned(), Stored::f64([count], state.gradient.clone())),
    ]);
    for (index, (moved, changed)) in state.pairs.iter().enumerate() {
        tensors.insert(format!("pair.{index}.moved"), Stored::f64([count], moved.clone()));
        tensors.insert(format!("pair.{index}.changed"), Stored::f64([count], changed.clone()));
    }
    Saved { training, header: Header { steps: state.steps, loss: state.loss, pairs: state.pairs.len() }, tensors }.encode()
}

fn restore(checkpoint: &Checkpoint, training: Digest, count: usize) -> Result<Lbfgs, TrainError> {
    let mut saved = Saved::<Header>::decode(checkpoint, training)?;
    let mut pairs = std::collections::VecDeque::new();
    for index in 0..saved.header.pairs.min(lbfgs::PAIRS_MAX) {
        let moved = saved.take_f64(&format!("pair.{index}.moved"), count)?;
        pairs.push_back((moved, saved.take_f64(&format!("pair.{index}.changed"), count)?));
    }
    let (point, gradient) = (saved.take_f64("point", count)?, saved.take_f64("gradient", count)?);
    Ok(Lbfgs { point, gradient, loss: saved.header.loss, pairs, steps: saved.header.steps })
}
