//! What every reload goes through, whatever is new about a plugin, its build or its settings: instances for every place, a try
//! beside what is in use, the swap.
//!
//! Invariant: nothing that serves is touched before [`Trial::publish`], and when that fails everywhere is again what was.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_pipeline::{PluginStep, Replacement, SampleSize, Terms};
use tidegate_policy::GateRows;
use tidegate_vocab::{Clock, PipelineId, PluginName};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Reloader;
use super::attempt::{End, Phase};
use super::probation::{Band, Probation, Watched};
use crate::compose::{self, Loaded, Maker, check_evaluator};
use crate::config::{Config, PipelineConfig};
use crate::failure::Failure;
use crate::shadow::{self, Difference, Side, Spot};
use crate::up::actor::{Message, Swap};

/// Rows that are tried at most.
const SHADOW_ROWS_MAX: usize = 10_000;
/// How far the share of dropped rows of one batch may be from that of the shadow run: batches differ, too.
const DROPPED_BAND: f64 = 0.3;

/// Replacements for each pipeline.
type Ready = BTreeMap<PipelineId, Vec<Replacement>>;

/// Plugins on their way from one use to another, all of them or none.
pub struct Trial<'a> {
    /// Who asks.
    pub reloader: &'a Reloader,
    /// The settings that the old ones are used by.
    pub old: Arc<Config>,
    /// The settings that the new ones are used by; the same, where only builds change.
    pub new: Arc<Config>,
    /// What only an operator may let through is let through.
    pub accept: bool,
}

/// One plugin on its way.
pub struct Way {
    /// The plugin.
    pub name: PluginName,
    /// The build in use.
    pub old: Arc<Loaded>,
    /// The build that is to be used; the same, where only settings change.
    pub new: Arc<Loaded>,
    /// Where it is used and something changes.
    pub spots: Vec<(PipelineId, Spot)>,
    /// How long each step took, in seconds.
    pub seconds: Vec<(Phase, f64)>,
    /// What comes out differently.
    pub differences: Vec<Difference>,
    /// What its first calls come to.
    pub probation: Arc<Probation>,
    ready: Ready,
}

/// Why a trial stopped.
pub struct Stop {
    /// Whose fault it was.
    pub index: usize,
    /// How it ends for that one.
    pub end: End,
}

impl Stop {
    /// It was refused.
    pub fn refused(index: usize, phase: Phase, failure: &Failure) -> Stop {
        Stop { index, end: End::Refused { phase, why: failure.placed_line() } }
    }
}

impl Way {
    /// A way that has not begun.
    pub fn new(old: Arc<Loaded>, new: Arc<Loaded>, spots: Vec<(PipelineId, Spot)>) -> Way {
        let name = new.plugin.name().clone();
        let (probation, ready) = (Probation::resting(), Ready::new());
        Way { name, old, new, spots, seconds: Vec::new(), differences: Vec::new(), probation, ready }
    }
}

impl Trial<'_> {
    /// Configures and tries every plugin.
    ///
    /// # Errors
    /// The first [`Stop`].
    pub async fn prepare(&self, ways: &mut [Way]) -> Result<(), Stop> {
        self.configure(ways).await?;
        self.shadow(ways).await
    }

    /// Makes the instances that are to be put in place.
    ///
    /// # Errors
    /// The first [`Stop`].
    pub async fn configure(&self, ways: &mut [Way]) -> Result<(), Stop> {
        for (index, way) in ways.iter_mut().enumerate() {
            let start = Instant::now();
            // An instance for each place, before anything is tried: a plugin that does not start says so at once.
            let made = instances(self.reloader, &self.new, &way.new, &way.spots, &way.probation).await;
            way.seconds.push((Phase::Configure, start.elapsed().as_secs_f64()));
            way.ready = made.map_err(|failure| Stop::refused(index, Phase::Configure, &failure))?;
        }
        Ok(())
    }

    async fn shadow(&self, ways: &mut [Way]) -> Result<(), Stop> {
        if self.new.plugins.shadow_batches == 0 {
            return Ok(());
        }
        for (index, way) in ways.iter_mut().enumerate() {
            let start = Instant::now();
            let tried = self.shadowed(way).await;
            way.seconds.push((Phase::Shadow, start.elapsed().as_secs_f64()));
            way.differences = tried.map_err(|failure| Stop::refused(index, Phase::Shadow, &failure))?;
            if let Some(why) = too_different(&self.new, &way.differences).filter(|_| !self.accept) {
                return Err(Stop { index, end: End::Held { why } });
            }
        }
        Ok(())
    }

    /// What is new beside what is in use, at every place.
    async fn shadowed(&self, way: &mut Way) -> Result<Vec<Difference>, Failure> {
        let mut differences = Vec::new();
        for (id, spot) in &way.spots {
            let (Some(place), pipeline) = (self.reloader.places.get(id), self.new.pipeline(Some(id.as_str()))?) else { continue };
            let (answer, samples) = oneshot::channel();
            let size = SampleSize { parts_max: self.new.plugins.shadow_batches as usize, rows_max: SHADOW_ROWS_MAX };
            let asked = place.inbox.send(Message::Samples(*spot, size, answer)).await;
            // Where there is nothing to try it on (no rows yet, a cleaner before it that fails), its probation has to do.
            let (Ok(()), Ok(Ok(samples))) = (asked, samples.await) else { continue };
            let (of, spot, clock) = (pipeline.clone(), *spot, Arc::clone(&place.clock));
            let (configs, builds) = ([Arc::clone(&self.old), Arc::clone(&self.new)], [Arc::clone(&way.old), Arc::clone(&way.new)]);
            let tried = aside(move || {
                let sides = [0, 1].map(|side: usize| Side { config: &configs[side], loaded: &builds[side] });
                shadow::tried(&of, spot, sides, &clock, &samples)
            });
            differences.extend(tried.await?);
        }
        Ok(differences)
    }

    /// Puts everything in place, everywhere, and starts the probations.
    ///
    /// # Errors
    /// A [`Stop`] when a pipeline cannot take it; the others have what they had before.
    pub async fn publish(&self, ways: &mut [Way]) -> Result<(), Stop> {
        let start = Instant::now();
        let mut ready = Ready::new();
        for way in ways.iter_mut() {
            way.probation.begin(self.new.plugins.probation_calls, band(&way.differences));
            for (pipeline, made) in std::mem::take(&mut way.ready) {
                ready.entry(pipeline).or_default().extend(made);
            }
        }
        if self.changes_settings() {
            // Those that use none of the plugins are told the rest of the settings.
            for id in self.reloader.places.keys() {
                ready.entry(id.clone()).or_default();
            }
        }
        let mut done: Vec<PipelineId> = Vec::new();
        for (pipeline, replacements) in ready {
            if let Err(failure) = swap(self.reloader, &pipeline, self.swap_to(&self.new, &pipeline, replacements)).await {
                self.put_back(ways, &done).await;
                return Err(Stop::refused(0, Phase::Publish, &failure));
            }
            done.push(pipeline);
        }
        let seconds = start.elapsed().as_secs_f64();
        ways.iter_mut().for_each(|way| way.seconds.push((Phase::Publish, seconds)));
        Ok(())
    }

    fn changes_settings(&self) -> bool {
        !Arc::ptr_eq(&self.old, &self.new)
    }

    fn swap_to(&self, config: &Arc<Config>, pipeline: &PipelineId, plugins: Vec<Replacement>) -> Swap {
        Swap { plugins, under: if self.changes_settings() { under(config, pipeline) } else { None } }
    }

    /// Puts back what was in use, where what is new is in use already; what cannot be put back is said.
    async fn put_back(&self, ways: &mut [Way], done: &[PipelineId]) {
        let mut old = Ready::new();
        for way in ways {
            let made = instances(self.reloader, &self.old, &way.old, &way.spots, &Probation::resting()).await;
            let made = made.unwrap_or_else(|failure| {
                tracing::error!(plugin = %way.name, "what was in use before does not start any more: {}", failure.line());
                Ready::new()
            });
            made.into_iter().for_each(|(pipeline, made)| old.entry(pipeline).or_default().extend(made));
        }
        for pipeline in done {
            let replacements = old.remove(pipeline).unwrap_or_default();
            if let Err(failure) = swap(self.reloader, pipeline, self.swap_to(&self.old, pipeline, replacements)).await {
                tracing::error!(%pipeline, "what was in use before could not be put back: {}", failure.line());
            }
        }
    }
}

/// What a pipeline is told of settings, where they have it.
pub fn under(config: &Arc<Config>, pipeline: &PipelineId) -> Option<(Arc<Config>, Terms)> {
    let of = config.pipelines.iter().find(|of| of.id == *pipeline)?;
    Some((Arc::clone(config), compose::settings(of, GateRows::Arriving, config.plugins.failures).into()))
}

/// Why an operator should see the differences first; they are told beside it.
fn too_different(config: &Config, differences: &[Difference]) -> Option<String> {
    let most = config.plugins.shadow_change_max;
    let found = differences.iter().find(|difference| !difference.metrics.is_empty() || difference.share() > most)?;
    Some(if found.metrics.is_empty() {
        let (share, most) = (found.share() * 1e2, most * 1e2);
        format!("{share:.1} % of what comes out differs, `[plugins] shadow_change_max` is {most:.1} % (at {})", found.place)
    } else {
        format!("it measures differently, and the gate decides by what it measures (at {})", found.place)
    })
}

/// Runs `work` on a thread where it may block.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::from(anyhow::Error::new(error)))?
}

/// Every place of `name`.
pub fn spots_of(config: &Config, name: &PluginName) -> Vec<(PipelineId, Spot)> {
    let of =
        |pipeline: &PipelineConfig| -> Vec<_> { Spot::of(pipeline, name).into_iter().map(|spot| (pipeline.id.clone(), spot)).collect() };
    config.pipelines.iter().flat_map(of).collect()
}

/// An instance of `loaded` for every one of `spots`.
///
/// # Errors
/// A [`Failure`] when one does not start, or does not measure what a gate judges by.
pub async fn instances(
    reloader: &Reloader,
    config: &Arc<Config>,
    loaded: &Arc<Loaded>,
    spots: &[(PipelineId, Spot)],
    probation: &Arc<Probation>,
) -> Result<Ready, Failure> {
    let mut ready = Ready::new();
    for (id, spot) in spots {
        let Some(place) = reloader.places.get(id) else { continue };
        let (config, spot, clock) = (Arc::clone(config), *spot, Arc::clone(&place.clock));
        let (id, loaded, probation) = (id.clone(), Arc::clone(loaded), Arc::clone(probation));
        let of = id.clone();
        let made = aside(move || instance(&config, &of, spot, &clock, &loaded, &probation)).await?;
        ready.entry(id).or_default().push(made);
    }
    Ok(ready)
}

fn instance(
    config: &Config,
    pipeline: &PipelineId,
    spot: Spot,
    clock: &Arc<dyn Clock>,
    loaded: &Loaded,
    probation: &Arc<Probation>,
) -> Result<Replacement, Failure> {
    let make = Maker { config, clock };
    let of = config.pipeline(Some(pipeline.as_str()))?;
    let used = spot.used(of).ok_or_else(|| Failure::from(anyhow::anyhow!("`{pipeline}` has no {}", spot.named(of))))?;
    let probation = Arc::clone(probation);
    Ok(match spot {
        Spot::Source => Replacement::Source(watched(make.source(used, loaded)?, |port| Box::new(Watched { port, probation }))),
        Spot::Cleaner(index) => {
            Replacement::Cleaner(index, watched(make.cleaner(used, loaded)?, |port| Box::new(Watched { port, probation })))
        }
        Spot::Evaluator(index) => {
            let mut step = make.evaluator(used, loaded)?;
            check_evaluator(of, &mut step)?;
            Replacement::Evaluator(index, watched(step, |port| Box::new(Watched { port, probation })))
        }
        Spot::Alerter(index) => {
            Replacement::Alerter(index, watched(make.alerter(used, loaded)?, |port| Box::new(Watched { port, probation })))
        }
    })
}

fn watched<P: ?Sized>(mut step: PluginStep<P>, watch: impl FnOnce(Box<P>) -> Box<P>) -> PluginStep<P> {
    step.port = step.port.map(watch);
    step
}

/// What the shadow run lets expect of the first calls.
fn band(differences: &[Difference]) -> Band {
    let rows: u64 = differences.iter().map(|difference| difference.rows).sum();
    let seconds: f64 = differences.iter().map(|difference| difference.seconds.new).sum();
    let cleaner = differences.iter().find(|difference| difference.rows > 0 && difference.cells > 0);
    Band {
        seconds_per_row: (rows > 0).then(|| seconds / rows as f64),
        dropped: cleaner.map(|difference| (difference.dropped_share(), DROPPED_BAND)),
    }
}

/// Swaps plugins and settings of one pipeline between two of its steps: all, or none and the reason.
///
/// # Errors
/// A [`Failure`] when the pipeline has stopped, or could not take them.
pub async fn swap(reloader: &Reloader, pipeline: &PipelineId, swap: Swap) -> Result<(), Failure> {
    let gone = || Failure::from(anyhow::anyhow!("pipeline `{pipeline}` has stopped"));
    let place = reloader.places.get(pipeline).ok_or_else(gone)?;
    let (done, replaced) = oneshot::channel();
    place.inbox.send(Message::Swap(swap, done)).await.map_err(|_| gone())?;
    replaced.await.map_err(|_| gone())?.map_err(|why| Failure::from(anyhow::anyhow!(why)))
}
