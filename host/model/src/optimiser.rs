//! AdamW whose whole state can be saved: candle's keeps its moments to itself.

use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var};

use crate::kernel::{self, AdamwStep};
use crate::network::slice;

/// Decay of the first moment.
pub const BETA1: f64 = 0.9;
/// Decay of the second moment.
pub const BETA2: f64 = 0.999;
/// Added to the denominator.
pub const EPSILON: f64 = 1e-8;

/// AdamW between two steps.
#[derive(Debug)]
pub(crate) struct Adamw {
    /// First and second moment of each parameter.
    moments: Vec<Moments>,
    /// [`BETA1`] to the power of the steps done.
    pub beta1_power: f64,
    /// [`BETA2`] to the power of the steps done.
    pub beta2_power: f64,
}

#[derive(Debug)]
enum Moments {
    /// Beside the parameters in the memory of the CPU.
    Host(Mutex<(Vec<f32>, Vec<f32>)>),
    /// On another device.
    Device(Tensor, Tensor),
}

impl Adamw {
    /// The state before the first step.
    pub(crate) fn new(parameters: &[(&Var, bool)]) -> Result<Adamw> {
        let zeros = |parameter: &Var| vec![0.0; parameter.elem_count()];
        let moments = parameters.iter().map(|(parameter, _)| (zeros(parameter), zeros(parameter))).collect();
        Adamw::restore(parameters, moments, (1.0, 1.0))
    }

    /// The state after some steps.
    pub(crate) fn restore(parameters: &[(&Var, bool)], moments: Vec<(Vec<f32>, Vec<f32>)>, powers: (f64, f64)) -> Result<Adamw> {
        let mut placed = Vec::with_capacity(parameters.len());
        for ((parameter, _), (first, second)) in parameters.iter().zip(moments) {
            let (shape, device) = (parameter.shape(), parameter.device());
            placed.push(match device.is_cpu() {
                true => Moments::Host(Mutex::new((first, second))),
                false => Moments::Device(Tensor::from_vec(first, shape, device)?, Tensor::from_vec(second, shape, device)?),
            });
        }
        Ok(Adamw { moments: placed, beta1_power: powers.0, beta2_power: powers.1 })
    }

    /// First and second moment of each parameter.
    pub(crate) fn moments(&self) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let read = |moments: &Moments| match moments {
            Moments::Host(pair) => Ok(lock(pair).clone()),
            Moments::Device(first, second) => Ok((first.flatten_all()?.to_vec1()?, second.flatten_all()?.to_vec1()?)),
        };
        self.moments.iter().map(read).collect()
    }

    /// Moves `parameters` against `gradients`; those marked `true` decay.
    pub(crate) fn step(&mut self, parameters: &[(&Var, bool)], gradients: &GradStore, learning_rate: f64, weight_decay: f64) -> Result<()> {
        self.beta1_power *= BETA1;
        self.beta2_power *= BETA2;
        for ((parameter, decays), moments) in parameters.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(parameter.as_tensor()) else { continue };
            let step = AdamwStep {
                learning_rate,
                weight_decay: if *decays { weight_decay } else { 0.0 },
                beta1: BETA1,
                beta2: BETA2,
                epsilon: EPSILON,
                beta1_power: self.beta1_power,
                beta2_power: self.beta2_power,
            };
            match moments {
                Moments::Host(pair) => parameter.as_tensor().inplace_op2(gradient, &Fused { moments: pair, step })?,
                Moments::Device(first, second) => composed(parameter, gradient, first, second, step)?,
            }
        }
        Ok(())
    }
}

fn lock(pair: &Mutex<(Vec<f32>, Vec<f32>)>) -> std::sync::MutexGuard<'_, (Vec<f32>, Vec<f32>)> {
    pair.lock().expect("no holder of this lock panics")
}

/// The same update in candle's own operations.
fn composed(parameter: &Var, gradient: &Tensor, first: &mut Tensor, second: &mut Tensor, step: AdamwStep) -> Result<()> {
    *first = ((&*first * step.beta1)? + (gradient * (1.0 - step.beta1))?)?;
    *second = ((&*second * step.beta2)? + (gradient.sqr()? * (1.0 - step.beta2))?)?;
    let root = (1.0 - step.beta2_power).sqrt();
    let denominator = ((second.sqrt()? / root)? + step.epsilon)?;
    let movement = (first.div(&denominator)? * (step.learning_rate / (1.0 - step.beta1_power)))?;
    parameter.set(&((parameter.as_tensor() * (1.0 - step.learning_rate * step.weight_decay))? - movement)?)
}

struct Fused<'a> {
    moments: &'a Mutex<(Vec<f32>, Vec<f32>)>,
    step: AdamwStep,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "tidegate-adamw"
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, layout: &Layout, gradient: &CpuStorage, gradient_layout: &Layout) -> Result<()> {
        let gradient = slice(gradient, gradient_layout)?;
        let (start, end) = layout.contiguous_offsets().ok_or_else(|| candle_core::Error::Msg("parameters lie in one piece".into()))?;
        let CpuStorage::F32(values) = parameter else { candle_core::bail!("parameters have the type f32") };
        let mut moments = lock(self.moments);
        let (first, second) = &mut *moments;
        kernel::adamw(&mut values[start..end], gradient, first, second, self.step);
        Ok(())
    }
}
