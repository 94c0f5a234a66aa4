//! A multi-layer perceptron as candle tensors.
//!
//! On a CPU each layer and the loss are one fused candle operation over our kernels, with a backward pass of their own; on
//! other devices they are compositions of candle's operations. Candle keeps the tensors and walks the graph backward in both.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Device, Layout, Result, Shape, Storage, Tensor, Var};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::kernel;

/// The numbers of one layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerNumbers {
    /// Inputs of the layer.
    pub inputs: usize,
    /// Outputs of the layer.
    pub outputs: usize,
    /// `inputs × outputs`, row-major.
    pub weight: Vec<f32>,
    /// One an output.
    pub bias: Vec<f32>,
}

/// A perceptron: dense layers, rectified but for the last, whose outputs are scores.
#[derive(Debug)]
pub(crate) struct Network {
    layers: Vec<Layer>,
    device: Device,
    fused: bool,
}

#[derive(Debug)]
struct Layer {
    weight: Var,
    bias: Var,
}

/// Random numbers of a new network: uniform within `±sqrt(6 / (inputs + outputs))` (Glorot and Bengio 2010), biases 0.
///
/// `silent` inputs are 0 in every training row, so their weights would stay as random as they began; they begin at 0.
pub(crate) fn fresh_layers(widths: &[usize], silent: &[bool], rng: &mut ChaCha8Rng) -> Vec<LayerNumbers> {
    let mut layers = Vec::with_capacity(widths.len().saturating_sub(1));
    for (index, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        let mut weight: Vec<f32> = (0..inputs * outputs).map(|_| ((unit(rng) * 2.0 - 1.0) * bound) as f32).collect();
        if index == 0 {
            for (line, _) in weight.chunks_exact_mut(outputs).zip(silent).filter(|(_, silent)| **silent) {
                line.fill(0.0);
            }
        }
        layers.push(LayerNumbers { inputs, outputs, weight, bias: vec![0.0; outputs] });
    }
    layers
}

/// A number from 0 to below 1 with 53 random bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Network {
    /// A network on `device` with the numbers of `layers`.
    pub(crate) fn new(layers: &[LayerNumbers], device: &Device) -> Result<Network> {
        let place = |layer: &LayerNumbers| {
            let weight = Var::from_slice(&layer.weight, (layer.inputs, layer.outputs), device)?;
            Ok(Layer { weight, bias: Var::from_slice(&layer.bias, layer.outputs, device)? })
        };
        let layers = layers.iter().map(place).collect::<Result<_>>()?;
        Ok(Network { layers, device: device.clone(), fused: device.is_cpu() })
    }

    /// The numbers of each layer.
    pub(crate) fn numbers(&self) -> Result<Vec<LayerNumbers>> {
        let read = |layer: &Layer| {
            let (inputs, outputs) = layer.weight.dims2()?;
            let weight = layer.weight.flatten_all()?.to_vec1()?;
            Ok(LayerNumbers { inputs, outputs, weight, bias: layer.bias.to_vec1()? })
        };
        self.layers.iter().map(read).collect()
    }

    /// The tensors to train; `true` for those whose size is to be kept small by weight decay.
    pub(crate) fn parameters(&self) -> Vec<(&Var, bool)> {
        self.layers.iter().flat_map(|layer| [(&layer.weight, true), (&layer.bias, false)]).collect()
    }

    /// Units of each hidden layer.
    pub(crate) fn hidden(&self) -> Vec<usize> {
        let hidden = &self.layers[..self.layers.len() - 1];
        hidden.iter().map(|layer| layer.bias.elem_count()).collect()
    }

    /// The scores of `rows` rows, `rows × classes`. On a CPU every row has the same bits in any batch.
    pub(crate) fn scores(&self, values: &[f32], rows: usize) -> Result<Vec<f32>> {
        if rows == 0 {
            return Ok(Vec::new());
        }
        if self.fused {
            return self.scores_in_place(values, rows);
        }
        let mut signal = Tensor::from_slice(values, (rows, values.len() / rows), &self.device)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let (weight, bias) = (layer.weight.as_detached_tensor(), layer.bias.as_detached_tensor());
            signal = self.dense(&signal, &weight, &bias, index)?;
        }
        signal.flatten_all()?.to_vec1()
    }

    /// The same on a CPU, by the kernels that the fused layers call, without tensors around each layer: for one row they would cost
    /// more than its products.
    fn scores_in_place(&self, values: &[f32], rows: usize) -> Result<Vec<f32>> {
        let mut signal: Option<Vec<f32>> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let (weight, weight_layout) = layer.weight.storage_and_layout();
            let (bias, bias_layout) = layer.bias.storage_and_layout();
            let (weight, bias) = (slice(cpu(&weight)?, weight_layout)?, slice(cpu(&bias)?, bias_layout)?);
            let rectify = index + 1 < self.layers.len();
            signal = Some(kernel::dense(signal.as_deref().unwrap_or(values), weight, bias, rows, rectify));
        }
        Ok(signal.unwrap_or_else(|| values.to_vec()))
    }

    /// The mean weighted loss of rows, and its gradients; `targets` holds class and weight of each row, `masks` one factor a
    /// unit of each hidden layer and row, or nothing.
    pub(crate) fn gradients(&self, values: Vec<f32>, targets: Vec<f32>, masks: Vec<Vec<f32>>) -> Result<(f64, GradStore)> {
        let rows = targets.len() / 2;
        let mut signal = Tensor::from_vec(values, (rows, self.layers[0].weight.dim(0)?), &self.device)?;
        let mut masks = masks.into_iter();
        for (index, layer) in self.layers.iter().enumerate() {
            signal = self.dense(&signal, layer.weight.as_tensor(), layer.bias.as_tensor(), index)?;
            if let Some(mask) = masks.next() {
                signal = (&signal * Tensor::from_vec(mask, signal.shape(), &self.device)?)?;
            }
        }
        let targets = Tensor::from_vec(targets, (rows, 2), &self.device)?;
        let loss = if self.fused { signal.apply_op2(&targets, CrossEntropy)? } else { cross_entropy(&signal, &targets)? };
        Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
    }

    fn dense(&self, signal: &Tensor, weight: &Tensor, bias: &Tensor, index: usize) -> Result<Tensor> {
        let rectify = index + 1 < self.layers.len();
        if self.fused {
            return signal.apply_op3(weight, bias, Dense { rectify, first: index == 0 });
        }
        let sums = signal.matmul(weight)?.broadcast_add(bias)?;
        if rectify { sums.relu() } else { Ok(sums) }
    }
}

/// The weighted mean of the cross entropy in candle's own operations.
fn cross_entropy(scores: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let classes = targets.narrow(1, 0, 1)?.to_dtype(DType::U32)?;
    let weights = targets.narrow(1, 1, 1)?.contiguous()?;
    let logarithms = candle_nn::ops::log_softmax(scores, D::Minus1)?;
    let own = logarithms.gather(&classes, 1)?;
    (own * &weights)?.sum_all()?.neg()? / weights.sum_all()?
}

/// `max(0, input · weight + bias)`; without the maximum in the last layer.
struct Dense {
    rectify: bool,
    /// The inputs of the first layer are data: nobody needs their gradient.
    first: bool,
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "tidegate-dense"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = input_layout.shape().dims2()?;
        let (_, outputs) = weight_layout.shape().dims2()?;
        let (input, weight, bias) = (slice(input, input_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        Ok((CpuStorage::F32(kernel::dense(input, weight, bias, rows, self.rectify)), Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (input_storage, input_layout) = input.storage_and_layout();
        let (weight_storage, weight_layout) = weight.storage_and_layout();
        let (output_storage, output_layout) = output.storage_and_layout();
        let (gradient_storage, gradient_layout) = gradient.storage_and_layout();
        let found = kernel::dense_backward(
            slice(cpu(&input_storage)?, input_layout)?,
            slice(cpu(&weight_storage)?, weight_layout)?,
            slice(cpu(&output_storage)?, output_layout)?,
            slice(cpu(&gradient_storage)?, gradient_layout)?,
            self.rectify,
            !self.first,
            bias.elem_count(),
        );
        let device = input.device();
        Ok((
            found.input.map(|values| Tensor::from_vec(values, input.shape(), device)).transpose()?,
            Some(Tensor::from_vec(found.weight, weight.shape(), device)?),
            Some(Tensor::from_vec(found.bias, bias.shape(), device)?),
        ))
    }
}

/// The weighted mean of the cross entropy of scores against classes and weights.
struct CrossEntropy;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "tidegate-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        scores: &CpuStorage,
        scores_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, classes) = scores_layout.shape().dims2()?;
        let (loss, total) = kernel::cross_entropy(slice(scores, scores_layout)?, slice(targets, targets_layout)?, classes);
        let mean = if total > 0.0 { loss / total } else { 0.0 };
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, scores: &Tensor, targets: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let outer = f64::from(gradient.to_scalar::<f32>()?);
        let (_, classes) = scores.dims2()?;
        let (scores_storage, scores_layout) = scores.storage_and_layout();
        let (targets_storage, targets_layout) = targets.storage_and_layout();
        let targets = slice(cpu(&targets_storage)?, targets_layout)?;
        let total: f64 = targets.chunks_exact(2).map(|target| f64::from(target[1])).sum();
        let scale = if total > 0.0 { outer / total } else { 0.0 };
        let values = kernel::cross_entropy_backward(slice(cpu(&scores_storage)?, scores_layout)?, targets, classes, scale);
        Ok((Some(Tensor::from_vec(values, scores.shape(), scores.device())?), None))
    }
}

fn cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => candle_core::bail!("the fused kernels compute on CPUs only"),
    }
}

/// The numbers of a tensor that lies in one piece.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("the fused kernels need contiguous tensors"),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_vocab::Seed;

    use super::*;
    use crate::optimiser::Adamw;

    /// Trains some steps, with the fused kernels or with candle's own operations.
    fn train(fused: bool) -> (Vec<f64>, Vec<LayerNumbers>) {
        let mut rng = Seed(5).rng("network test");
        let layers = fresh_layers(&[5, 7, 6, 3], &[false; 5], &mut rng);
        let mut network = Network::new(&layers, &Device::Cpu).unwrap();
        network.fused = fused;
        let mut optimiser = Adamw::new(&network.parameters()).unwrap();
        let mut losses = Vec::new();
        for step in 0..12 {
            let values = (0..50).map(|_| unit(&mut rng) as f32 - 0.5).collect();
            let targets = (0..10).flat_map(|row| [((row + step) % 3) as f32, 1.0 + (row % 2) as f32]).collect();
            let masks = vec![(0..70).map(|unit| if unit % 4 == 0 { 0.0 } else { 4.0 / 3.0 }).collect()];
            let (loss, gradients) = network.gradients(values, targets, masks).unwrap();
            optimiser.step(&network.parameters(), &gradients, 0.01, 0.1).unwrap();
            losses.push(loss);
        }
        (losses, network.numbers().unwrap())
    }

    #[test]
    fn scores_without_tensors_have_the_bits_of_those_with_them() {
        let mut rng = Seed(6).rng("network test");
        let network = Network::new(&fresh_layers(&[5, 7, 6, 3], &[false; 5], &mut rng), &Device::Cpu).unwrap();
        for rows in [1, 5, 6, 40] {
            let values: Vec<f32> = (0..rows * 5).map(|_| unit(&mut rng) as f32 - 0.5).collect();
            let mut signal = Tensor::from_slice(&values, (rows, 5), &Device::Cpu).unwrap();
            for (index, layer) in network.layers.iter().enumerate() {
                signal = network.dense(&signal, layer.weight.as_tensor(), layer.bias.as_tensor(), index).unwrap();
            }
            assert_eq!(network.scores(&values, rows).unwrap(), signal.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
    }

    #[test]
    fn fused_kernels_learn_as_candles_own_operations_do() {
        let ((fused_losses, fused), (losses, plain)) = (train(true), train(false));
        for (fused, plain) in fused_losses.iter().zip(&losses) {
            assert!((fused - plain).abs() < 1e-5, "{fused_losses:?} {losses:?}");
        }
        for (fused, plain) in fused.iter().zip(&plain) {
            for (fused, plain) in fused.weight.iter().chain(&fused.bias).zip(plain.weight.iter().chain(&plain.bias)) {
                assert!((fused - plain).abs() < 1e-4, "{fused} {plain}");
            }
        }
    }
}
