//! What a training tells its caller, and what the caller answers.

use crate::checkpoint::Checkpoint;
use crate::error::TrainError;

/// Where a training stands after a step.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The network that is being trained, from 0.
    pub member: usize,
    /// How many networks there are to train.
    pub members: usize,
    /// The epoch, from 1.
    pub epoch: u32,
    /// Epochs at most.
    pub epochs_max: u32,
    /// Steps done, over all networks.
    pub step: u64,
    /// Loss of the step's rows.
    pub loss: f64,
    /// Loss of the validation rows after the last complete epoch.
    pub validation_loss: Option<f64>,
    /// The checkpoint that was asked for by the answer before.
    pub checkpoint: Option<&'a Checkpoint>,
}

/// What the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Hand out a checkpoint: the callback is called once more for the same step, with it; then go on.
    Checkpoint,
    /// End without a model.
    Cancel,
}

/// The caller's callback.
pub(crate) struct Watch<'a> {
    /// The callback itself.
    pub on_progress: &'a mut dyn FnMut(&Progress<'_>) -> Flow,
}

impl Watch<'_> {
    /// Reports a step, and hands out a checkpoint where one is wanted.
    pub(crate) fn report(
        &mut self,
        progress: Progress<'_>,
        checkpoint: &dyn Fn() -> Result<Checkpoint, TrainError>,
    ) -> Result<(), TrainError> {
        let mut flow = (self.on_progress)(&progress);
        if flow == Flow::Checkpoint {
            let checkpoint = checkpoint()?;
            flow = (self.on_progress)(&Progress { checkpoint: Some(&checkpoint), ..progress });
        }
        if flow == Flow::Cancel { Err(TrainError::Cancelled { step: progress.step }) } else { Ok(()) }
    }
}
