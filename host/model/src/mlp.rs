//! Training of perceptrons: epochs of shuffled steps, early stopping, a second training on all rows, ensembles.
//!
//! The newest rows are worth most, and they are the ones that early stopping holds back. So each network is trained twice: a
//! search on the training rows finds the best number of epochs, then a refit trains that many on the validation rows as well.
//! The validation rows judge and calibrate the network of the search, never one that has seen them.
//!
//! Invariant: chance is a function of seed, network, epoch and step, never of what happened before; so the position in the
//! training and the numbers of the networks are all its state.

use std::collections::BTreeMap;

use candle_core::Device;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tidegate_vocab::{Digest, Seed};

use crate::checkpoint::{Checkpoint, Saved};
use crate::error::TrainError;
use crate::examples::Examples;
use crate::kernel;
use crate::network::{LayerNumbers, Network, fresh_layers, unit};
use crate::optimiser::Adamw;
use crate::progress::{Progress, Watch};
use crate::report::{EpochLoss, MemberReport};
use crate::spec::{LearningRateDecay, ModelSpec};
use crate::tensors::Stored;

/// What a training of perceptrons works with.
pub(crate) struct MlpTask<'a> {
    /// The hyper-parameters.
    pub spec: &'a ModelSpec,
    /// Rows to learn from.
    pub train: &'a Examples,
    /// Rows that stop it; may be none.
    pub validation: &'a Examples,
    /// Both together, where networks are to be trained again on all rows.
    pub everything: Option<&'a Examples>,
    /// Number of classes.
    pub class_count: usize,
    /// The seed of everything random.
    pub seed: Seed,
    /// Where to compute.
    pub device: &'a Device,
    /// Digest of everything above: the name of the training in its checkpoints.
    pub training: Digest,
}

/// What came out of it.
pub(crate) struct MlpOutcome {
    /// The numbers of each network.
    pub networks: Vec<Vec<LayerNumbers>>,
    /// The numbers of each network as they were before they saw the validation rows.
    pub judged: Vec<Vec<LayerNumbers>>,
    /// How each training went.
    pub members: Vec<MemberReport>,
    /// Steps over all networks.
    pub steps: u64,
}

/// Where a training stands: everything but the numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    member: usize,
    phase: Phase,
    steps: u64,
    member_steps: u64,
    epoch: u32,
    batches_done: usize,
    powers: (f64, f64),
    best: Option<(f64, u32)>,
    loss_sum: f64,
    weight_sum: f64,
    curve: Vec<EpochLoss>,
    finished: Vec<MemberReport>,
}

/// Which of its two trainings a network is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// On the training rows, looking for the best epoch.
    Search,
    /// On all rows, for as many epochs.
    Refit(u32),
}

/// The numbers that go with a position.
struct Numbers {
    networks: Vec<Vec<LayerNumbers>>,
    judged: Vec<Vec<LayerNumbers>>,
    best: Option<Vec<LayerNumbers>>,
    network: Network,
    optimiser: Adamw,
}

fn tensor(doing: &'static str) -> impl Fn(candle_core::Error) -> TrainError {
    move |source| TrainError::Tensor { doing, source }
}

/// Trains every network of the ensemble, from the beginning or from a checkpoint.
pub(crate) fn fit(task: &MlpTask<'_>, resume: Option<&Checkpoint>, watch: &mut Watch<'_>) -> Result<MlpOutcome, TrainError> {
    let searched = task.train.inputs.to_f32();
    let everything = task.everything.map_or_else(Vec::new, |examples| examples.inputs.to_f32());
    let validation = task.validation.inputs.to_f32();
    let values_of = |phase: Phase| if phase == Phase::Search { &searched } else { &everything };
    let (mut position, mut numbers) = match resume {
        Some(checkpoint) => restore(task, checkpoint)?,
        None => {
            let (network, optimiser) = begin_member(task, &searched, 0)?;
            let numbers = Numbers { networks: Vec::new(), judged: Vec::new(), best: None, network, optimiser };
            (Position::new(0, Phase::Search, 0, Vec::new()), numbers)
        }
    };
    let mut order = Vec::new();
    loop {
        let values = values_of(position.phase);
        shuffle(task, &position, &mut order);
        while position.batches_done < task.batches(position.phase) {
            train_batch(task, values, &order, &mut position, &mut numbers)?;
            watch.report(position.progress(task), &|| save(task, &position, &numbers))?;
        }
        if !end_epoch(task, &validation, &mut position, &mut numbers)? {
            continue;
        }
        end_phase(task, &mut position, &mut numbers)?;
        if position.member == task.spec.ensemble {
            break;
        }
        (numbers.network, numbers.optimiser) = begin_member(task, values_of(position.phase), position.member)?;
    }
    let judged = if task.everything.is_some() { numbers.judged } else { numbers.networks.clone() };
    Ok(MlpOutcome { networks: numbers.networks, judged, members: position.finished, steps: position.steps })
}

impl Position {
    fn new(member: usize, phase: Phase, steps: u64, finished: Vec<MemberReport>) -> Position {
        Position {
            member,
            phase,
            steps,
            member_steps: 0,
            epoch: 1,
            batches_done: 0,
            powers: (1.0, 1.0),
            best: None,
            loss_sum: 0.0,
            weight_sum: 0.0,
            curve: Vec::new(),
            finished,
        }
    }

    fn progress(&self, task: &MlpTask<'_>) -> Progress<'static> {
        Progress {
            member: self.member,
            members: task.spec.ensemble,
            epoch: self.epoch,
            epochs_max: task.epochs_max(self.phase),
            step: self.steps,
            loss: self.loss_sum / self.weight_sum.max(f64::MIN_POSITIVE),
            validation_loss: self.curve.last().and_then(|losses| losses.validation),
            checkpoint: None,
        }
    }
}

impl MlpTask<'_> {
    /// The rows that a phase learns from.
    fn rows(&self, phase: Phase) -> &Examples {
        match phase {
            Phase::Search => self.train,
            Phase::Refit(_) => self.everything.unwrap_or(self.train),
        }
    }

    fn epochs_max(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Search => self.spec.epochs_max,
            Phase::Refit(epochs) => epochs,
        }
    }

    fn batches(&self, phase: Phase) -> usize {
        self.rows(phase).classes.len().div_ceil(self.spec.batch_rows)
    }

    fn member_seed(&self, member: usize) -> Seed {
        self.seed.derive(&format!("network {member}"))
    }

    fn learning_rate(&self, phase: Phase, steps: u64) -> f64 {
        match self.spec.learning_rate_decay {
            LearningRateDecay::Constant => self.spec.learning_rate,
            LearningRateDecay::Cosine => {
                let total = u64::from(self.epochs_max(phase)) * self.batches(phase) as u64;
                self.spec.learning_rate * (1.0 + kernel::cos_pi(steps as f64 / total as f64)) / 2.0
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.train.inputs.width];
        widths.extend(&self.spec.hidden);
        widths.push(self.class_count);
        widths
    }
}

fn begin_member(task: &MlpTask<'_>, values: &[f32], member: usize) -> Result<(Network, Adamw), TrainError> {
    let width = task.train.inputs.width;
    let silent: Vec<bool> = (0..width).map(|input| values[input..].iter().step_by(width).all(|value| *value == 0.0)).collect();
    let layers = fresh_layers(&task.widths(), &silent, &mut task.member_seed(member).rng("weights"));
    let network = Network::new(&layers, task.device).map_err(tensor("place the network on its device"))?;
    let optimiser = Adamw::new(&network.parameters()).map_err(tensor("place the optimiser on its device"))?;
    Ok((network, optimiser))
}

/// The order of the rows in the present epoch (Fisher and Yates).
fn shuffle(task: &MlpTask<'_>, position: &Position, order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..task.rows(position.phase).classes.len());
    let mut rng = task.member_seed(position.member).rng(&format!("order of epoch {}", position.epoch));
    for last in (1..order.len()).rev() {
        // The high half of a 128-bit product is a number from 0 to `last`, even to 2⁻⁶⁴ per row.
        let other = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
}

fn train_batch(
    task: &MlpTask<'_>,
    values: &[f32],
    order: &[usize],
    position: &mut Position,
    numbers: &mut Numbers,
) -> Result<(), TrainError> {
    let (spec, width) = (task.spec, task.train.inputs.width);
    let examples = task.rows(position.phase);
    let first = position.batches_done * spec.batch_rows;
    let rows = &order[first..order.len().min(first + spec.batch_rows)];
    let mut inputs = Vec::with_capacity(rows.len() * width);
    let mut targets = Vec::with_capacity(rows.len() * 2);
    let mut weight = 0.0;
    for row in rows {
        inputs.extend_from_slice(&values[row * width..][..width]);
        targets.extend([examples.classes[*row] as f32, examples.weights[*row] as f32]);
        weight += examples.weights[*row];
    }
    let learning_rate = task.learning_rate(position.phase, position.member_steps);
    let masks = dropout_masks(task, position, rows.len(), &numbers.network);
    let (loss, gradients) = numbers.network.gradients(inputs, targets, masks).map_err(tensor("compute the gradients of a step"))?;
    if !loss.is_finite() {
        return Err(TrainError::Diverged { loss, epoch: position.epoch, step: position.steps + 1, learning_rate });
    }
    let parameters = numbers.network.parameters();
    numbers.optimiser.step(&parameters, &gradients, learning_rate, spec.weight_decay).map_err(tensor("apply the gradients of a step"))?;
    position.powers = (numbers.optimiser.beta1_power, numbers.optimiser.beta2_power);
    position.loss_sum += loss * weight;
    position.weight_sum += weight;
    position.batches_done += 1;
    position.member_steps += 1;
    position.steps += 1;
    Ok(())
}

/// For each hidden layer: 0 for units that the step leaves out, and for the others what makes up for it on average.
fn dropout_masks(task: &MlpTask<'_>, position: &Position, rows: usize, network: &Network) -> Vec<Vec<f32>> {
    if task.spec.dropout == 0.0 {
        return Vec::new();
    }
    let mut rng = task.member_seed(position.member).rng(&format!("dropout of step {}", position.member_steps));
    let kept = (1.0 / (1.0 - task.spec.dropout)) as f32;
    let mut mask = |units: usize| (0..rows * units).map(|_| if unit(&mut rng) < task.spec.dropout { 0.0 } else { kept }).collect();
    network.hidden().into_iter().map(&mut mask).collect()
}

/// Closes an epoch; `true` when the member is done.
fn end_epoch(task: &MlpTask<'_>, validation: &[f32], position: &mut Position, numbers: &mut Numbers) -> Result<bool, TrainError> {
    let train = position.loss_sum / position.weight_sum.max(f64::MIN_POSITIVE);
    let loss = if position.phase == Phase::Search { validation_loss(task, validation, &numbers.network)? } else { None };
    let now = numbers.network.numbers().map_err(tensor("read the network back"))?;
    let finite = now.iter().all(|layer| layer.weight.iter().chain(&layer.bias).all(|value| value.is_finite()));
    if !finite || loss.is_some_and(|loss| !loss.is_finite()) {
        let learning_rate = task.learning_rate(position.phase, position.member_steps.saturating_sub(1));
        return Err(TrainError::Diverged { loss: loss.unwrap_or(f64::NAN), epoch: position.epoch, step: position.steps, learning_rate });
    }
    position.curve.push(EpochLoss { train, validation: loss });
    let better = match (loss, position.best) {
        (Some(loss), Some((best, _))) => loss < best,
        _ => true,
    };
    if better {
        position.best = Some((loss.unwrap_or(train), position.epoch));
        numbers.best = Some(now);
    }
    let best_epoch = position.best.map_or(position.epoch, |(_, epoch)| epoch);
    let stale = position.epoch - best_epoch >= task.spec.patience_epochs;
    if stale || position.epoch == task.epochs_max(position.phase) {
        return Ok(true);
    }
    position.epoch += 1;
    position.batches_done = 0;
    (position.loss_sum, position.weight_sum) = (0.0, 0.0);
    Ok(false)
}

fn validation_loss(task: &MlpTask<'_>, values: &[f32], network: &Network) -> Result<Option<f64>, TrainError> {
    let examples = task.validation;
    if examples.weights.iter().sum::<f64>() <= 0.0 {
        return Ok(None);
    }
    let scores = network.scores(values, examples.classes.len()).map_err(tensor("score the validation rows"))?;
    let targets: Vec<f32> =
        examples.classes.iter().zip(&examples.weights).flat_map(|(class, weight)| [*class as f32, *weight as f32]).collect();
    let (loss, total) = kernel::cross_entropy(&scores, &targets, task.class_count);
    Ok(Some(loss / total))
}

/// Keeps the best numbers of a phase and moves on to the next phase or network.
fn end_phase(task: &MlpTask<'_>, position: &mut Position, numbers: &mut Numbers) -> Result<(), TrainError> {
    let best = match numbers.best.take() {
        Some(best) => best,
        None => numbers.network.numbers().map_err(tensor("read the network back"))?,
    };
    let mut finished = std::mem::take(&mut position.finished);
    let (mut member, mut phase) = (position.member + 1, Phase::Search);
    if position.phase == Phase::Search {
        let best_epoch = position.best.map_or(position.epoch, |(_, epoch)| epoch);
        let refitted = task.everything.is_some();
        finished.push(MemberReport { epochs: position.epoch, best_epoch, refitted, curve: std::mem::take(&mut position.curve) });
        if refitted {
            (member, phase) = (position.member, Phase::Refit(best_epoch));
            numbers.judged.push(best);
        } else {
            numbers.networks.push(best);
        }
    } else {
        numbers.networks.push(best);
    }
    *position = Position::new(member, phase, position.steps, finished);
    Ok(())
}

/// Names and tensors of a network's layers.
pub(crate) fn layer_tensors(prefix: &str, layers: &[LayerNumbers]) -> Vec<(String, Stored)> {
    let named = |(index, layer): (usize, &LayerNumbers)| {
        let weight = Stored::f32([layer.inputs, layer.outputs], layer.weight.clone());
        let bias = Stored::f32([layer.outputs], layer.bias.clone());
        [(format!("{prefix}layer.{index}.weight"), weight), (format!("{prefix}layer.{index}.bias"), bias)]
    };
    layers.iter().enumerate().flat_map(named).collect()
}

fn save(task: &MlpTask<'_>, position: &Position, numbers: &Numbers) -> Result<Checkpoint, TrainError> {
    let read = tensor("read the training's state back");
    let mut tensors: BTreeMap<String, Stored> = BTreeMap::new();
    for (index, layers) in numbers.networks.iter().enumerate() {
        tensors.extend(layer_tensors(&format!("network.{index}."), layers));
    }
    for (index, layers) in numbers.judged.iter().enumerate() {
        tensors.extend(layer_tensors(&format!("judged.{index}."), layers));
    }
    tensors.extend(layer_tensors("present.", &numbers.network.numbers().map_err(&read)?));
    tensors.extend(numbers.best.iter().flat_map(|layers| layer_tensors("best.", layers)));
    for (index, (first, second)) in numbers.optimiser.moments().map_err(&read)?.into_iter().enumerate() {
        tensors.insert(format!("moment.{index}.first"), Stored::f32([first.len()], first));
        tensors.insert(format!("moment.{index}.second"), Stored::f32([second.len()], second));
    }
    Saved { training: task.training, header: position.clone(), tensors }.encode()
}

fn restore(task: &MlpTask<'_>, checkpoint: &Checkpoint) -> Result<(Position, Numbers), TrainError> {
    let mut saved = Saved::<Position>::decode(checkpoint, task.training)?;
    let widths = task.widths();
    let layers = |saved: &mut Saved<Position>, prefix: &str| -> Result<Vec<LayerNumbers>, TrainError> {
        let pairs = widths.windows(2).enumerate();
        let read = |(index, pair): (usize, &[usize])| {
            let weight = saved.take_f32(&format!("{prefix}layer.{index}.weight"), pair[0] * pair[1])?;
            let bias = saved.take_f32(&format!("{prefix}layer.{index}.bias"), pair[1])?;
            Ok(LayerNumbers { inputs: pair[0], outputs: pair[1], weight, bias })
        };
        pairs.map(read).collect()
    };
    let judged_count = if task.everything.is_some() { saved.header.finished.len() } else { 0 };
    let networks = (0..saved.header.member).map(|index| layers(&mut saved, &format!("network.{index}."))).collect::<Result<_, _>>()?;
    let judged = (0..judged_count).map(|index| layers(&mut saved, &format!("judged.{index}."))).collect::<Result<_, _>>()?;
    let present = layers(&mut saved, "present.")?;
    let best = saved.header.best.is_some().then(|| layers(&mut saved, "best.")).transpose()?;
    let mut moments = Vec::new();
    for (index, count) in widths.windows(2).flat_map(|pair| [pair[0] * pair[1], pair[1]]).enumerate() {
        let first = saved.take_f32(&format!("moment.{index}.first"), count)?;
        moments.push((first, saved.take_f32(&format!("moment.{index}.second"), count)?));
    }
    let network = Network::new(&present, task.device).map_err(tensor("place the network on its device"))?;
    let optimiser =
        Adamw::restore(&network.parameters(), moments, saved.header.powers).map_err(tensor("place the optimiser on its device"))?;
    Ok((saved.header, Numbers { networks, judged, best, network, optimiser }))
}
