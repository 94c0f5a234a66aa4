//! Taking up settings: which plugins are used otherwise under them, and whether everything may be so.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_vocab::{PipelineId, PluginName};
use tokio::time::Instant;

use super::attempt::{End, Phase};
use super::probation::Probation;
use super::settings_attempt::SettingsAttempt;
use super::trial::{Stop, Trial, Way, aside, spots_of};
use crate::compose::lock::grant_lines;
use crate::compose::stands::Registry;
use crate::compose::{self, Loaded, Maker};
use crate::config::{Config, KeyOrigin, PipelineConfig, PluginUse};
use crate::failure::Failure;
use crate::shadow::Spot;

/// Settings on their way into force.
pub struct Taking<'a> {
    /// From which settings to which.
    pub trial: &'a Trial<'a>,
    /// The whole file, those keys with it that need a restart.
    pub file: Arc<Config>,
    /// The builds in use.
    pub plugins: Vec<Arc<Loaded>>,
}

impl Taking<'_> {
    /// Everything up to the probations, which have begun.
    ///
    /// # Errors
    /// How it ended instead; nothing has changed then.
    pub async fn carry_out(&self, attempt: &mut SettingsAttempt) -> Result<Vec<(PluginName, Arc<Probation>)>, End> {
        let start = Instant::now();
        let refused = |phase: Phase| move |failure: Failure| Stop::refused(0, phase, &failure).end;
        self.check_restart(attempt).await.map_err(refused(Phase::Policy))?;
        if attempt.changes.is_empty() {
            return Ok(Vec::new());
        }
        let lent = self.policy().await.map_err(refused(Phase::Policy))?;
        attempt.seconds.push((Phase::Policy, start.elapsed().as_secs_f64()));
        if let Some(why) = lent.filter(|_| !self.trial.accept) {
            return Err(End::Held { why });
        }
        self.check_gates().await.map_err(refused(Phase::Configure))?;
        let mut ways = self.ways();
        let done = match self.trial.prepare(&mut ways).await {
            Ok(()) => self.trial.publish(&mut ways).await,
            Err(stop) => Err(stop),
        };
        let mut probations = Vec::with_capacity(ways.len());
        for way in ways {
            attempt.seconds.extend(way.seconds);
            attempt.differences.extend(way.differences);
            probations.push((way.name, way.probation));
        }
        done.map(|()| probations).map_err(|stop| stop.end)
    }

    /// Puts settings back that were in force before: nothing is asked of them again.
    ///
    /// # Errors
    /// Why they could not be put back.
    pub async fn go_back(&self) -> Result<(), End> {
        let mut ways = self.ways();
        self.trial.configure(&mut ways).await.map_err(|stop| stop.end)?;
        self.trial.publish(&mut ways).await.map_err(|stop| stop.end)
    }

    /// A pipeline with keys that need a restart must start by them: whoever restarts the host finds that out now.
    async fn check_restart(&self, attempt: &SettingsAttempt) -> Result<(), Failure> {
        let is_new = |pipeline: &PipelineConfig| {
            let prefix = format!("pipeline.{}.", pipeline.id);
            attempt.waiting.iter().any(|change| change.key.starts_with(&prefix))
        };
        let ids: Vec<PipelineId> = self.file.pipelines.iter().filter(|of| is_new(of)).map(|of| of.id.clone()).collect();
        let (file, sandbox) = (Arc::clone(&self.file), self.trial.reloader.sandbox.clone());
        aside(move || {
            let clock: Arc<dyn tidegate_vocab::Clock> = Arc::new(compose::clock::SystemClock);
            for id in ids {
                compose::plugins(&file, file.pipeline(Some(id.as_str()))?, &sandbox, &clock)?;
            }
            Ok(())
        })
        .await
    }

    /// Whether the builds in use may be used under the new settings; what these let through that the old ones did not: plugins that
    /// nobody has looked at, and what plugins are lent beyond what they were, where nobody has locked them to it.
    async fn policy(&self) -> Result<Option<String>, Failure> {
        let (old, new, plugins) = (Arc::clone(&self.trial.old), Arc::clone(&self.trial.new), self.plugins.clone());
        aside(move || {
            let registry = Registry::read(&new)?;
            let mut lent: Vec<String> = trusts_more(&old, &new).into_iter().collect();
            for loaded in plugins {
                let name = loaded.plugin.name();
                registry.check(&new, &loaded)?;
                let (before, now) = (lent_lines(&old, name), lent_lines(&new, name));
                let mut more: Vec<String> = now.difference(&before).map(|line| format!("`{line}`")).collect();
                if old.plugin(name).grants.columns.is_some() && new.plugin(name).grants.columns.is_none() {
                    more.push("every column that its kind is shown".to_owned());
                }
                if !more.is_empty() && !registry.is_locked(name) {
                    lent.push(format!("they lend `{name}` {}, which it was not lent before", more.join(", ")));
                }
            }
            Ok((!lent.is_empty()).then(|| lent.join("; ")))
        })
        .await
    }

    /// Every metric that a changed gate judges by is one that an evaluator reports.
    async fn check_gates(&self) -> Result<(), Failure> {
        for pipeline in &self.trial.new.pipelines {
            let Some(place) = self.trial.reloader.places.get(&pipeline.id) else { continue };
            let running = self.trial.old.pipeline(Some(pipeline.id.as_str()))?;
            let is_used_as = |(old, new): (&PluginUse, &PluginUse)| old.is_used_as(new);
            if running.gate == pipeline.gate && running.evaluators.iter().zip(&pipeline.evaluators).all(is_used_as) {
                continue;
            }
            let (config, id, clock, plugins) =
                (Arc::clone(&self.trial.new), pipeline.id.clone(), Arc::clone(&place.clock), self.plugins.clone());
            aside(move || {
                let pipeline = config.pipeline(Some(id.as_str()))?;
                let make = Maker { config: &config, clock: &clock };
                let mut evaluators = Vec::with_capacity(pipeline.evaluators.len());
                for used in &pipeline.evaluators {
                    let loaded = plugins.iter().find(|loaded| *loaded.plugin.name() == used.plugin);
                    let loaded = loaded.ok_or_else(|| Failure::from(anyhow::anyhow!("`{}` is not in use", used.plugin)))?;
                    evaluators.push(make.evaluator(used, loaded)?);
                }
                compose::check_metrics(&config, pipeline, &mut evaluators)
            })
            .await?;
        }
        Ok(())
    }

    /// The plugins that are used otherwise, and where.
    fn ways(&self) -> Vec<Way> {
        let (old, new) = (&self.trial.old, &self.trial.new);
        let changed = |name: &PluginName, id: &PipelineId, spot: Spot| {
            let used = |config: &Config| Some(spot.used(config.pipeline(Some(id.as_str())).ok()?)?.clone());
            let is_same_use = used(old).zip(used(new)).is_some_and(|(old, new)| old.is_used_as(&new));
            !is_same_use || old.plugin(name) != new.plugin(name) || lent_lines(old, name) != lent_lines(new, name)
        };
        let way = |loaded: &Arc<Loaded>| {
            let name = loaded.plugin.name();
            let spots: Vec<_> = spots_of(new, name).into_iter().filter(|(id, spot)| changed(name, id, *spot)).collect();
            (!spots.is_empty()).then(|| Way::new(Arc::clone(loaded), Arc::clone(loaded), spots))
        };
        self.plugins.iter().filter_map(way).collect()
    }
}

/// How more builds may be used than before, if they may.
fn trusts_more(old: &Config, new: &Config) -> Option<String> {
    let keys = |config: &Config| -> Vec<KeyOrigin> { config.plugins.trusted_keys.iter().map(|key| key.value.clone()).collect() };
    let (before, now) = (keys(old), keys(new));
    if old.plugins.locked && !new.plugins.locked {
        return Some("they take away `[plugins] locked`".to_owned());
    }
    let is_more = !before.is_empty() && (now.is_empty() || now.iter().any(|key| !before.contains(key)));
    is_more.then(|| "they trust other keys in `[plugins] trusted_keys`".to_owned())
}

/// What a plugin is lent, with the places of its inputs.
fn lent_lines(config: &Config, plugin: &PluginName) -> BTreeSet<String> {
    let own = config.plugin(plugin);
    let place = |name: &String| Some(format!("input {name} from {}", config.inputs.get(name)?.path.display()));
    let places: Vec<String> = own.grants.inputs.iter().filter_map(place).collect();
    let mut lines = grant_lines(&own);
    lines.extend(places);
    lines
}
