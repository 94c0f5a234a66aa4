//! The reload of new builds, of one plugin or of several that stand or fall together.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_sandbox::Plugin;
use tidegate_vocab::{Digest, PluginName};
use tokio::time::Instant;

use super::Reloader;
use super::attempt::{Attempt, End, Phase};
use super::probation::Probation;
use super::trial::{Stop, Trial, Way, aside, spots_of};
use crate::compose::lock::grant_lines;
use crate::compose::{Loaded, load_component};
use crate::config::Config;

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
    /// How long each step took so far, in seconds.
    pub seconds: Vec<(Phase, f64)>,
    /// The signature that came with it, which was checked.
    pub signature: Option<String>,
}

/// What the transaction came to: an attempt a candidate, and the builds that are in use now with their probations.
pub struct Outcome {
    /// What a person is told.
    pub attempts: Vec<Attempt>,
    /// What is in use now.
    pub published: Vec<(Arc<Loaded>, Arc<Probation>)>,
}

/// Puts all candidates in place, or none. What only an operator may let through is let through with `accept`.
pub async fn transact(reloader: &Reloader, mut candidates: Vec<Candidate>, accept: bool) -> Outcome {
    let config = reloader.config();
    let trial = Trial { reloader, old: Arc::clone(&config), new: config, accept };
    let mut ways = Vec::with_capacity(candidates.len());
    let done = carry_out(&trial, &mut candidates, &mut ways).await;
    let guilty = done.as_ref().err().map(|stop| candidates[stop.index].name.clone());
    let end_of = |at: usize| match (&done, &guilty) {
        (Ok(()), _) | (_, None) => End::Replaced,
        (Err(Stop { index, end }), _) if *index == at => end.clone(),
        (Err(Stop { end: End::Refused { phase, .. }, .. }), Some(guilty)) => {
            End::Refused { phase: *phase, why: format!("it goes together with `{guilty}`, which was refused") }
        }
        (Err(_), Some(guilty)) => End::Held { why: format!("it goes together with `{guilty}`, which waits for an operator") },
    };
    let mut attempts = Vec::with_capacity(candidates.len());
    let mut published = Vec::new();
    let mut ways = ways.into_iter();
    for (at, candidate) in candidates.into_iter().enumerate() {
        let Candidate { name, old, digest, mut seconds, .. } = candidate;
        let mut differences = Vec::new();
        if let Some(way) = ways.next() {
            seconds.extend(way.seconds);
            differences = way.differences;
            if done.is_ok() {
                published.push((way.new, way.probation));
            }
        }
        attempts.push(Attempt { plugin: name, from: old.plugin.digest(), to: Some(digest), end: end_of(at), seconds, differences });
    }
    Outcome { attempts, published }
}

async fn carry_out(trial: &Trial<'_>, candidates: &mut [Candidate], ways: &mut Vec<Way>) -> Result<(), Stop> {
    for (index, candidate) in candidates.iter_mut().enumerate() {
        let start = Instant::now();
        let (sandbox, name, component) = (trial.reloader.sandbox.clone(), candidate.name.clone(), candidate.component.clone());
        let signature = candidate.signature.take();
        let loaded = aside(move || Ok(Loaded { signature, ..load_component(&sandbox, &name, component)? })).await;
        candidate.seconds.push((Phase::Compile, start.elapsed().as_secs_f64()));
        let loaded = Arc::new(loaded.map_err(|failure| Stop::refused(index, Phase::Compile, &failure))?);
        if let Some(why) = new_wishes(&trial.new, &candidate.old.plugin, &loaded.plugin).filter(|_| !trial.accept) {
            return Err(Stop { index, end: End::Held { why } });
        }
        ways.push(Way::new(Arc::clone(&candidate.old), loaded, spots_of(&trial.new, &candidate.name)));
    }
    trial.prepare(ways).await?;
    trial.publish(ways).await
}

/// What the new build asks for and the old one did not, where the settings would give it.
fn new_wishes(config: &Config, old: &Plugin, new: &Plugin) -> Option<String> {
    let granted = grant_lines(&config.plugin(new.name()));
    let is_lent = |wish: &str| granted.iter().any(|line| line.split(' ').next() == Some(wish.trim_end_matches('s')));
    let wishes = new.manifest().capabilities.iter().filter(|wish| !old.manifest().capabilities.contains(wish) && is_lent(wish));
    let wishes: Vec<String> = wishes.map(|wish| format!("`{wish}`")).collect();
    (!wishes.is_empty()).then(|| format!("it asks for {}, which the old one did not, and the settings grant it", wishes.join(", ")))
}
