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
