//! One step of AdamW in one pass over memory.

use super::level::{self, Body};

/// The numbers of one AdamW step (Loshchilov and Hutter 2019, with the bias correction and the order of operations of
/// PyTorch's `torch.optim.AdamW`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdamwStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// `beta1` to the power of the step's number, counted from 1.
    pub beta1_power: f64,
    /// `beta2` to the power of the step's number.
    pub beta2_power: f64,
}

/// Updates `parameter` and its moments by `gradient`; all four have one length.
pub(crate) fn adamw(parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], step: AdamwStep) {
    level::run(Update { parameter, gradient, first, second, step });
}

struct Update<'a> {
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    step: AdamwStep,
}

impl Body for Update<'_> {
    #[inline(always)]
    fn run(self) {
        let step = self.step;
        let keep = (1.0 - step.learning_rate * step.weight_decay) as f32;
        let (beta1, beta2) = (step.beta1 as f32, step.beta2 as f32);
        let (fresh1, fresh2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
        let size = (step.learning_rate / (1.0 - step.beta1_power)) as f32;
        let root = (1.0 - step.beta2_power).sqrt() as f32;
        let epsilon = step.epsilon as f32;
        let moments = self.first.iter_mut().zip(self.second.iter_mut());
        for ((parameter, gradient), (first, second)) in self.parameter.iter_mut().zip(self.gradient).zip(moments) {
            *first = beta1 * *first + fresh1 * gradient;
            *second = beta2 * *second + fresh2 * (gradient * gradient);
            let denominator = second.sqrt() / root + epsilon;
            *parameter = *parameter * keep - size * (*first / denominator);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        rate: f64,
        decay: f64,
        begin: Vec<f64>,
        gradients: Vec<Vec<f64>>,
        after: Vec<Vec<f64>>,
    }

    #[test]
    fn steps_agree_with_the_reference() {
        let reference: Reference = serde_json::from_str(include_str!("../../tests/fixtures/adamw.json")).unwrap();
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        let mut parameter = single(&reference.begin);
        let (mut first, mut second) = (vec![0.0; 20], vec![0.0; 20]);
        let (mut beta1_power, mut beta2_power) = (1.0, 1.0);
        for (gradient, after) in reference.gradients.iter().zip(&reference.after) {
            beta1_power *= 0.9;
            beta2_power *= 0.999;
            let (learning_rate, weight_decay) = (reference.rate, reference.decay);
            let step = AdamwStep { learning_rate, weight_decay, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, beta1_power, beta2_power };
            adamw(&mut parameter, &single(gradient), &mut first, &mut second, step);
            for (found, expected) in parameter.iter().zip(after) {
                assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} {expected}");
            }
        }
    }
}
