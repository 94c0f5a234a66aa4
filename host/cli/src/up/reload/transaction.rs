//! The steps of one reload, of one plugin or of several that stand or fall together.
//!
//! Invariant: nothing that serves is touched before the step `publish`, and when that fails everywhere is again what was.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_pipeline::{PluginStep, Replacement, SampleSize};
use tidegate_sandbox::Plugin;
use tidegate_vocab::{Clock, Digest, PipelineId, PluginName};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::attempt::{Attempt, End, Phase};
use super::probation::{Band, Probation, Watched};
use super::{Place, Reloader};
use crate::compose::lock::grant_lines;
use crate::compose::{Loaded, Maker, check_evaluator, load_component};
use crate::config::{Config, PipelineConfig, PluginUse};
use crate::failure::Failure;
use crate::shadow::{self, Builds, Difference};
use crate::up::actor::{Message, Samples, SamplesOf};

/// Rows that are tried at most.
const SHADOW_ROWS_MAX: usize = 10_000;
/// How far the share of dropped rows of one batch may be from that of the shadow run: batches differ, too.
const DROPPED_BAND: f64 = 0.3;

/// A build that wants to take the place of another.
pub struct Candidate {
    /// The plugin.
    pub name: PluginName,
    /// The build in use.
    pub old: Arc<Loaded>,
    /// Its component.
    pub component: Bytes,
    /// The digest of that.
    pub digest: Digest,
    /// Seconds that it took to read it and to find that it may be used.
    pub policy_s: f64,
    /// The signature that came with it, which was checked.
    pub signature: Option<String>,
}

/// One candidate on its way.
struct Way {
    candidate: Candidate,
    new: Option<Arc<Loaded>>,
    differences: Vec<Difference>,
    seconds: Vec<(Phase, f64)>,
}

/// What the transaction came to: an attempt a candidate, and the builds that are in use now with their probations.
pub struct Outcome {
    /// What a person is told.
    pub attempts: Vec<Attempt>,
    /// What is in use now.
    pub published: Vec<(Arc<Loaded>, Arc<Probation>)>,
}

/// Why it stopped.
struct Stop {
    /// Whose fault it was.
    index: usize,
    end: End,
}

/// Replacements for each pipeline.
type Ready = BTreeMap<PipelineId, Vec<Replacement>>;

/// Puts all candidates in place, or none. What only an operator may let through is let through with `accept`.
pub async fn transact(reloader: &Reloader, candidates: Vec<Candidate>, accept: bool) -> Outcome {
    let way = |candidate: Candidate| {
        let seconds = vec![(Phase::Policy, candidate.policy_s)];
        Way { candidate, new: None, differences: Vec::new(), seconds }
    };
    let mut ways: Vec<Way> = candidates.into_iter().map(way).collect();
    let stopped = prepare(reloader, &mut ways, accept).await;
    let published = match stopped {
        Ok(()) => publish(reloader, &mut ways).await,
        Err(stop) => Err(stop),
    };
    match published {
        Ok(published) => {
            let attempts = ways.into_iter().map(|way| attempt(way, End::Replaced)).collect();
            Outcome { attempts, published }
        }
        Err(Stop { index, end }) => {
            let guilty = ways[index].candidate.name.clone();
            let end_of = |at: usize| match &end {
                end if at == index => end.clone(),
                End::Refused { phase, .. } => {
                    End::Refused { phase: *phase, why: format!("it goes together with `{guilty}`, which was refused") }
                }
                _ => End::Held { why: format!("it goes together with `{guilty}`, which waits for an operator") },
            };
            let attempts = ways.into_iter().enumerate().map(|(at, way)| attempt(way, end_of(at))).collect();
            Outcome { attempts, published: Vec::new() }
        }
    }
}

fn attempt(way: Way, end: End) -> Attempt {
    let Way { candidate, differences, seconds, .. } = way;
    Attempt { plugin: candidate.name, from: candidate.old.plugin.digest(), to: Some(candidate.digest), end, seconds, differences }
}

fn refused(index: usize, phase: Phase, failure: &Failure) -> Stop {
    Stop { index, end: End::Refused { phase, why: failure.line() } }
}

/// Compiles, configures and tries every candidate.
async fn prepare(reloader: &Reloader, ways: &mut [Way], accept: bool) -> Result<(), Stop> {
    for (index, way) in ways.iter_mut().enumerate() {
        let start = Instant::now();
        let (sandbox, name, component) = (reloader.sandbox.clone(), way.candidate.name.clone(), way.candidate.component.clone());
        let signature = way.candidate.signature.take();
        let loaded = aside(move || Ok(Loaded { signature, ..load_component(&sandbox, &name, component)? })).await;
        way.seconds.push((Phase::Compile, start.elapsed().as_secs_f64()));
        let loaded = Arc::new(loaded.map_err(|failure| refused(index, Phase::Compile, &failure))?);
        way.new = Some(Arc::clone(&loaded));
        if let Some(why) = new_wishes(&reloader.config, &way.candidate.old.plugin, &loaded.plugin).filter(|_| !accept) {
            return Err(Stop { index, end: End::Held { why } });
        }
    }
    for (index, way) in ways.iter_mut().enumerate() {
        let start = Instant::now();
        // An instance for each place, before anything is tried: a build that does not start says so at once.
        let made = replacements(reloader, way, &Probation::new(0, Band::default())).await;
        way.seconds.push((Phase::Configure, start.elapsed().as_secs_f64()));
        made.map_err(|failure| refused(index, Phase::Configure, &failure))?;
    }
    if reloader.config.plugins.shadow_batches == 0 {
        return Ok(());
    }
    for (index, way) in ways.iter_mut().enumerate() {
        let start = Instant::now();
        let tried = shadowed(reloader, way).await;
        way.seconds.push((Phase::Shadow, start.elapsed().as_secs_f64()));
        way.differences = tried.map_err(|failure| refused(index, Phase::Shadow, &failure))?;
        if let Some(why) = too_different(reloader, &way.differences).filter(|_| !accept) {
            return Err(Stop { index, end: End::Held { why } });
        }
    }
    Ok(())
}

/// What the new build asks for and the old one did not, where the settings would give it.
fn new_wishes(config: &Config, old: &Plugin, new: &Plugin) -> Option<String> {
    let granted = grant_lines(&config.plugin(new.name()));
    let is_lent = |wish: &str| granted.iter().any(|line| line.split(' ').next() == Some(wish.trim_end_matches('s')));
    let wishes = new.manifest().capabilities.iter().filter(|wish| !old.manifest().capabilities.contains(wish) && is_lent(wish));
    let wishes: Vec<String> = wishes.map(|wish| format!("`{wish}`")).collect();
    (!wishes.is_empty()).then(|| format!("it asks for {}, which the old one did not, and the settings grant it", wishes.join(", ")))
}

/// A difference that an operator should have seen first.
fn too_different(reloader: &Reloader, differences: &[Difference]) -> Option<String> {
    let most = reloader.config.plugins.shadow_change_max;
    let found = differences.iter().find(|difference| !difference.metrics.is_empty() || difference.share() > most)?;
    let why = if found.metrics.is_empty() {
        format!("{:.1} % of what comes out differs, `[plugins] shadow_change_max` is {:.1} %", found.share() * 1e2, most * 1e2)
    } else {
        "it measures differently, and the gate decides by what it measures".to_owned()
    };
    Some(format!("{why} ({})", found.sentence()))
}

/// Runs `work` on a thread where it may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::from(anyhow::Error::new(error)))?
}

/// The pipelines that use a plugin, and the way to each.
fn users<'a>(reloader: &'a Reloader, name: &'a PluginName) -> impl Iterator<Item = (&'a PipelineConfig, &'a Place)> {
    let using = reloader.config.pipelines.iter().filter(move |pipeline| pipeline.plugins().any(|(_, used)| used.plugin == *name));
    using.filter_map(|pipeline| Some((pipeline, reloader.places.get(&pipeline.id)?)))
}

/// An instance for every place that uses the candidate.
async fn replacements(reloader: &Reloader, way: &Way, probation: &Arc<Probation>) -> Result<Ready, Failure> {
    let Some(loaded) = &way.new else { return Ok(Ready::new()) };
    instances(reloader, loaded, probation).await
}

/// An instance of `loaded` for every place that uses it.
pub async fn instances(reloader: &Reloader, loaded: &Arc<Loaded>, probation: &Arc<Probation>) -> Result<Ready, Failure> {
    let mut ready = Ready::new();
    for (pipeline, place) in users(reloader, loaded.plugin.name()) {
        let (config, of, clock) = (Arc::clone(&reloader.config), pipeline.clone(), Arc::clone(&place.clock));
        let (loaded, probation) = (Arc::clone(loaded), Arc::clone(probation));
        let made = aside(move || instances_of(&config, &of, &clock, &loaded, &probation)).await?;
        ready.insert(pipeline.id.clone(), made);
    }
    Ok(ready)
}

fn instances_of(
    config: &Config,
    pipeline: &PipelineConfig,
    clock: &Arc<dyn Clock>,
    loaded: &Loaded,
    probation: &Arc<Probation>,
) -> Result<Vec<Replacement>, Failure> {
    let make = Maker { config, clock };
    let name = loaded.plugin.name();
    let is = |used: &PluginUse| used.plugin == *name;
    let mut ready = Vec::new();
    if is(&pipeline.source) {
        let step = make.source(&pipeline.source, loaded)?;
        ready.push(Replacement::Source(watched(step, |port| Box::new(Watched { port, probation: Arc::clone(probation) }))));
    }
    for (index, used) in pipeline.cleaners.iter().enumerate().filter(|(_, used)| is(used)) {
        let step = make.cleaner(used, loaded)?;
        ready.push(Replacement::Cleaner(index, watched(step, |port| Box::new(Watched { port, probation: Arc::clone(probation) }))));
    }
    for (index, used) in pipeline.evaluators.iter().enumerate().filter(|(_, used)| is(used)) {
        let mut step = make.evaluator(used, loaded)?;
        check_evaluator(pipeline, &mut step)?;
        ready.push(Replacement::Evaluator(index, watched(step, |port| Box::new(Watched { port, probation: Arc::clone(probation) }))));
    }
    for (index, used) in pipeline.alerters.iter().enumerate().filter(|(_, used)| is(used)) {
        let step = make.alerter(used, loaded)?;
        ready.push(Replacement::Alerter(index, watched(step, |port| Box::new(Watched { port, probation: Arc::clone(probation) }))));
    }
    Ok(ready)
}

fn watched<P: ?Sized>(mut step: PluginStep<P>, watch: impl FnOnce(Box<P>) -> Box<P>) -> PluginStep<P> {
    step.port = step.port.map(watch);
    step
}

/// The candidate beside the build in use, at every place.
async fn shadowed(reloader: &Reloader, way: &Way) -> Result<Vec<Difference>, Failure> {
    let Some(new) = &way.new else { return Ok(Vec::new()) };
    let mut differences = Vec::new();
    for (pipeline, place) in users(reloader, &way.candidate.name) {
        for wanted in places_of(pipeline, &way.candidate.name) {
            let (answer, samples) = oneshot::channel();
            let size = SampleSize { parts_max: reloader.config.plugins.shadow_batches as usize, rows_max: SHADOW_ROWS_MAX };
            let asked = place.inbox.send(Message::Samples(wanted, size, answer)).await;
            // Where there is nothing to try it on (no rows yet, a cleaner before it that fails), its probation has to do.
            let (Ok(()), Ok(Ok(samples))) = (asked, samples.await) else { continue };
            let (config, of, clock) = (Arc::clone(&reloader.config), pipeline.clone(), Arc::clone(&place.clock));
            let (old, new) = (Arc::clone(&way.candidate.old), Arc::clone(new));
            differences.extend(aside(move || tried(&config, &of, &clock, wanted, [&old, &new], samples)).await?);
        }
    }
    Ok(differences)
}

fn places_of(pipeline: &PipelineConfig, name: &PluginName) -> Vec<SamplesOf> {
    let source = (pipeline.source.plugin == *name).then_some(SamplesOf::Source);
    let of = |used: &[PluginUse]| -> Vec<usize> {
        used.iter().enumerate().filter(|(_, used)| used.plugin == *name).map(|(index, _)| index).collect()
    };
    let cleaners = of(&pipeline.cleaners).into_iter().map(SamplesOf::Cleaner);
    let evaluators = of(&pipeline.evaluators).into_iter().map(SamplesOf::Evaluator);
    // An alert that is tried is an alert that is sent.
    source.into_iter().chain(cleaners).chain(evaluators).collect()
}

fn tried(
    config: &Config,
    pipeline: &PipelineConfig,
    clock: &Arc<dyn Clock>,
    wanted: SamplesOf,
    [old, new]: [&Loaded; 2],
    samples: Samples,
) -> Result<Option<Difference>, Failure> {
    let make = Maker { config, clock };
    let gone = || Failure::from(anyhow::anyhow!("a plugin has no instance"));
    let place = |index: usize, count: usize, kind: &str| match count {
        1 => format!("{kind} of `{}`", pipeline.id),
        _ => format!("{kind} {} of `{}`", index + 1, pipeline.id),
    };
    Ok(match (wanted, samples) {
        (SamplesOf::Cleaner(index), Samples::Cleaner(batches)) if !batches.is_empty() => {
            let used = &pipeline.cleaners[index];
            let port = |loaded: &Loaded| make.cleaner(used, loaded)?.port.ok_or_else(gone);
            let builds = Builds { old: port(old)?, new: port(new)? };
            Some(shadow::cleaners(place(index, pipeline.cleaners.len(), "cleaner"), builds, &batches)?)
        }
        (SamplesOf::Evaluator(index), Samples::Evaluator(Some(scored))) => {
            let used = &pipeline.evaluators[index];
            let port = |loaded: &Loaded| make.evaluator(used, loaded)?.port.ok_or_else(gone);
            let builds = Builds { old: port(old)?, new: port(new)? };
            Some(shadow::evaluators(place(index, pipeline.evaluators.len(), "evaluator"), builds, &scored)?)
        }
        (SamplesOf::Source, Samples::Source(cursor)) => {
            let port = make.source(&pipeline.source, new)?.port.ok_or_else(gone)?;
            Some(shadow::source(place(0, 1, "source"), port, cursor.as_deref(), &pipeline.contract, clock.now())?)
        }
        _ => None,
    })
}

/// Swaps all candidates in, everywhere.
async fn publish(reloader: &Reloader, ways: &mut [Way]) -> Result<Vec<(Arc<Loaded>, Arc<Probation>)>, Stop> {
    let start = Instant::now();
    let (mut published, mut ready) = (Vec::new(), Ready::new());
    for (index, way) in ways.iter().enumerate() {
        let probation = Probation::new(reloader.config.plugins.probation_calls, band(&way.differences));
        let made = replacements(reloader, way, &probation).await.map_err(|failure| refused(index, Phase::Publish, &failure))?;
        made.into_iter().for_each(|(pipeline, made)| ready.entry(pipeline).or_default().extend(made));
        published.extend(way.new.clone().map(|loaded| (loaded, probation)));
    }
    let mut done: Vec<PipelineId> = Vec::new();
    for (pipeline, replacements) in ready {
        if let Err(failure) = swap(reloader, &pipeline, replacements).await {
            put_back(reloader, ways, &done).await;
            return Err(refused(0, Phase::Publish, &failure));
        }
        done.push(pipeline);
    }
    let seconds = start.elapsed().as_secs_f64();
    ways.iter_mut().for_each(|way| way.seconds.push((Phase::Publish, seconds)));
    Ok(published)
}

/// Puts the old builds back where the new ones are in use already.
async fn put_back(reloader: &Reloader, ways: &[Way], done: &[PipelineId]) {
    for way in ways {
        let old = instances(reloader, &way.candidate.old, &Probation::new(0, Band::default())).await;
        let old = old.unwrap_or_else(|failure| {
            tracing::error!(plugin = %way.candidate.name, "the old build does not start any more: {}", failure.line());
            Ready::new()
        });
        for (pipeline, replacements) in old.into_iter().filter(|(pipeline, _)| done.contains(pipeline)) {
            if let Err(failure) = swap(reloader, &pipeline, replacements).await {
                tracing::error!(%pipeline, "the old build could not be put back: {}", failure.line());
            }
        }
    }
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

/// Swaps plugins of one pipeline between two of its steps: all, or none and the reason.
pub async fn swap(reloader: &Reloader, pipeline: &PipelineId, replacements: Vec<Replacement>) -> Result<(), Failure> {
    let gone = || Failure::from(anyhow::anyhow!("pipeline `{pipeline}` has stopped"));
    let place = reloader.places.get(pipeline).ok_or_else(gone)?;
    let (done, replaced) = oneshot::channel();
    place.inbox.send(Message::Replace(replacements, done)).await.map_err(|_| gone())?;
    replaced.await.map_err(|_| gone())?.map_err(|why| Failure::from(anyhow::anyhow!(why)))
}
