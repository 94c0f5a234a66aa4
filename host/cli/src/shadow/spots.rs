//! Where a pipeline uses a plugin, and on what a plugin is tried there: the one place that knows both.

use std::sync::Arc;

use tidegate_pipeline::{Pipeline, PipelineError, SampleSize};
use tidegate_vocab::{Batch, Clock, PluginName};

use super::Difference;
use super::run::{Builds, cleaners, evaluators, source};
use crate::compose::{Loaded, Maker};
use crate::config::{Config, PipelineConfig, PluginUse};
use crate::failure::Failure;

/// One use of a plugin; the number is its place among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// The source.
    Source,
    /// A cleaner.
    Cleaner(usize),
    /// An evaluator.
    Evaluator(usize),
    /// An alerter.
    Alerter(usize),
}

/// What a plugin was given lately.
pub enum Samples {
    /// Where the source stands.
    Source(Option<Vec<u8>>),
    /// Batches, oldest first.
    Cleaner(Vec<Batch>),
    /// Scored rows, if there are any.
    Evaluator(Option<Batch>),
    /// Nothing: an alert that is tried is an alert that is sent.
    Alerter,
}

/// A plugin as it is used: a build, and the settings that configure it, limit it and lend to it.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The build.
    pub loaded: &'a Loaded,
}

impl<'a> Side<'a> {
    fn maker(&self, clock: &'a Arc<dyn Clock>) -> Maker<'a> {
        Maker { config: self.config, clock }
    }
}

impl Spot {
    /// Every spot of `name` in `pipeline`, in the loop's order.
    pub fn of(pipeline: &PipelineConfig, name: &PluginName) -> Vec<Spot> {
        let source = (pipeline.source.plugin == *name).then_some(Spot::Source);
        let of = |used: &[PluginUse], spot: fn(usize) -> Spot| -> Vec<Spot> {
            used.iter().enumerate().filter(|(_, used)| used.plugin == *name).map(|(index, _)| spot(index)).collect()
        };
        let (cleaners, evaluators) = (of(&pipeline.cleaners, Spot::Cleaner), of(&pipeline.evaluators, Spot::Evaluator));
        source.into_iter().chain(cleaners).chain(evaluators).chain(of(&pipeline.alerters, Spot::Alerter)).collect()
    }

    /// What `pipeline` says of the plugin there.
    pub fn used(self, pipeline: &PipelineConfig) -> Option<&PluginUse> {
        match self {
            Spot::Source => Some(&pipeline.source),
            Spot::Cleaner(index) => pipeline.cleaners.get(index),
            Spot::Evaluator(index) => pipeline.evaluators.get(index),
            Spot::Alerter(index) => pipeline.alerters.get(index),
        }
    }

    /// It in words.
    pub fn named(self, pipeline: &PipelineConfig) -> String {
        let (kind, index, count) = match self {
            Spot::Source => ("source", 0, 1),
            Spot::Cleaner(index) => ("cleaner", index, pipeline.cleaners.len()),
            Spot::Evaluator(index) => ("evaluator", index, pipeline.evaluators.len()),
            Spot::Alerter(index) => ("alerter", index, pipeline.alerters.len()),
        };
        if count == 1 { format!("{kind} of `{}`", pipeline.id) } else { format!("{kind} {} of `{}`", index + 1, pipeline.id) }
    }
}

/// What the plugin at `spot` was given lately.
///
/// # Errors
/// What the store could not read, or a cleaner before it that failed.
pub async fn samples(pipeline: &mut Pipeline, spot: Spot, size: SampleSize) -> Result<Samples, PipelineError> {
    Ok(match spot {
        Spot::Source => Samples::Source(pipeline.committed_cursor().await?),
        Spot::Cleaner(index) => Samples::Cleaner(pipeline.cleaner_samples(index, size).await?),
        Spot::Evaluator(_) => Samples::Evaluator(pipeline.evaluator_sample(size).await?),
        Spot::Alerter(_) => Samples::Alerter,
    })
}

/// The plugin at `spot` of the pipeline `of`, as it is used and as it is to be used, on the same samples; `None` where there is
/// nothing to try it on.
///
/// # Errors
/// A [`Failure`] when the new one does not start, fails, or gives two results for the same.
pub fn tried(
    of: &PipelineConfig,
    spot: Spot,
    [old, new]: [Side<'_>; 2],
    clock: &Arc<dyn Clock>,
    samples: &Samples,
) -> Result<Option<Difference>, Failure> {
    let gone = || Failure::from(anyhow::anyhow!("a plugin has no instance"));
    let used = |side: Side<'_>| -> Result<PluginUse, Failure> {
        let pipeline = side.config.pipeline(Some(of.id.as_str()))?;
        spot.used(pipeline).cloned().ok_or_else(gone)
    };
    let place = spot.named(of);
    Ok(match (spot, samples) {
        (Spot::Cleaner(_), Samples::Cleaner(batches)) if !batches.is_empty() => {
            let port = |side: Side<'_>| side.maker(clock).cleaner(&used(side)?, side.loaded)?.port.ok_or_else(gone);
            Some(cleaners(place, Builds { old: port(old)?, new: port(new)? }, batches)?)
        }
        (Spot::Evaluator(_), Samples::Evaluator(Some(scored))) => {
            let port = |side: Side<'_>| side.maker(clock).evaluator(&used(side)?, side.loaded)?.port.ok_or_else(gone);
            Some(evaluators(place, Builds { old: port(old)?, new: port(new)? }, scored)?)
        }
        (Spot::Source, Samples::Source(cursor)) => {
            let port = new.maker(clock).source(&used(new)?, new.loaded)?.port.ok_or_else(gone)?;
            Some(source(place, port, cursor.as_deref(), &of.contract, clock.now())?)
        }
        _ => None,
    })
}
