//! A dense layer, forward and backward, in as few passes over memory as it needs.

use super::level::{self, Body};
use super::matmul::{View, matmul};

/// What the backward pass of a dense layer gives.
#[derive(Debug)]
pub(crate) struct DenseGradients {
    /// By the layer's inputs, `rows × inputs`; absent when nobody asked.
    pub input: Option<Vec<f32>>,
    /// By the weights, `inputs × outputs`.
    pub weight: Vec<f32>,
    /// By the bias, `outputs`.
    pub bias: Vec<f32>,
}

/// `input · weight + bias`, then `max(0, ·)` if `rectify`; `input` is `rows × inputs`, `weight` is `inputs × outputs`.
pub(crate) fn dense(input: &[f32], weight: &[f32], bias: &[f32], rows: usize, rectify: bool) -> Vec<f32> {
    let (inputs, outputs) = (weight.len() / bias.len().max(1), bias.len());
    let mut out = matmul(View::new(input, rows, inputs), View::new(weight, inputs, outputs), Some(bias));
    if rectify {
        level::run(Rectify { values: &mut out });
    }
    out
}

/// The gradients of [`dense`], given its `output` and the gradient of the loss by that.
pub(crate) fn dense_backward(
    input: &[f32],
    weight: &[f32],
    output: &[f32],
    gradient: &[f32],
    rectify: bool,
    want_input: bool,
    outputs: usize,
) -> DenseGradients {
    let (inputs, rows) = (weight.len() / outputs.max(1), output.len() / outputs.max(1));
    let mut masked = gradient.to_vec();
    let mut bias = vec![0.0; outputs];
    level::run(MaskAndSum { masked: &mut masked, output: rectify.then_some(output), sums: &mut bias });
    let gradient = View::new(&masked, rows, outputs);
    DenseGradients {
        input: want_input.then(|| matmul(gradient, View::new(weight, inputs, outputs).transposed(), None)),
        weight: matmul(View::new(input, rows, inputs).transposed(), gradient, None),
        bias,
    }
}

struct Rectify<'a> {
    values: &'a mut [f32],
}

impl Body for Rectify<'_> {
    #[inline(always)]
    fn run(self) {
        for value in self.values {
            // Written so that NaN stays NaN: a training that diverged must be noticed, not rectified.
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }
}

struct MaskAndSum<'a> {
    masked: &'a mut [f32],
    output: Option<&'a [f32]>,
    sums: &'a mut [f32],
}

impl Body for MaskAndSum<'_> {
    #[inline(always)]
    fn run(self) {
        if let Some(output) = self.output {
            for (gradient, output) in self.masked.iter_mut().zip(output) {
                *gradient = if *output > 0.0 { *gradient } else { 0.0 };
            }
        }
        for row in self.masked.chunks_exact(self.sums.len().max(1)) {
            for (sum, gradient) in self.sums.iter_mut().zip(row) {
                *sum += gradient;
            }
        }
    }
}
