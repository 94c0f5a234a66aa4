//! Strikes: failed calls charged to the plugin that failed, and the quarantine that follows.
//!
//! Invariant: the ledger is part of the pipeline's state, so that a plugin that crashes after every start is not forgiven by a
//! restart. What is charged is a plugin *as it is used*: its component, configuration, limits and grants. Another of these is
//! another plugin, which starts without a strike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_store::{MetaStore, Write};
use tidegate_vocab::{Digest, PipelineId, PluginName, Timestamp};

use crate::kept::Kept;
use crate::{Pipeline, PipelineError, PluginStep, Stores};

/// The name of the ledger in the store.
pub(crate) const KEY: &str = "plugins";
/// Bytes of a strike's reason that are kept.
const WHY_BYTES_MAX: usize = 512;

/// When a plugin is no longer called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRules {
    /// Strikes within the window that quarantine a plugin.
    pub strikes_max: u32,
    /// How long a strike counts, in milliseconds.
    pub strike_window_ms: u64,
    /// Batches within the window that one cleaner may send to the dead letters; one more quarantines it.
    pub dead_letters_max: u32,
}

impl FailureRules {
    /// What happened before this instant no longer counts.
    pub(crate) fn counts_from(&self, now: Timestamp) -> Timestamp {
        let window_us = i64::try_from(self.strike_window_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_sub(window_us))
    }
}

/// One failed call that was the plugin's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// When.
    pub at: Timestamp,
    /// `source`, `cleaner`, `evaluator` or `alerter`.
    pub step: String,
    /// How the call ended, in a word.
    pub outcome: String,
    /// What was said about it.
    pub why: String,
}

/// Why a plugin is not called, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginQuarantine {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// How a plugin stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The plugin as it was used.
    pub used: Digest,
    /// Its strikes, oldest first; no more than it takes to quarantine it.
    pub strikes: Vec<Strike>,
    /// Set while it is not called.
    pub quarantined: Option<PluginQuarantine>,
}

/// How every plugin of a pipeline stands that has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// By name.
    pub plugins: BTreeMap<PluginName, Standing>,
}

impl Ledger {
    /// Charges a strike; how many count now. The last one that is allowed quarantines the plugin.
    pub fn charge(&mut self, plugin: &PluginName, used: Digest, mut strike: Strike, rules: &FailureRules) -> u32 {
        truncate(&mut strike.why);
        let counts_from = rules.counts_from(strike.at);
        let standing = self.of_mut(plugin, used);
        standing.strikes.retain(|earlier| earlier.at >= counts_from);
        standing.strikes.push(strike);
        let surplus = standing.strikes.len().saturating_sub(rules.strikes_max.max(1) as usize);
        standing.strikes.drain(..surplus);
        let (count, minutes) = (standing.strikes.len() as u32, rules.strike_window_ms.div_ceil(60_000));
        if count >= rules.strikes_max && standing.quarantined.is_none() {
            let last = standing.strikes[standing.strikes.len() - 1].clone();
            let times = if count == 1 { "1 strike".to_owned() } else { format!("{count} strikes within {minutes} min, the last") };
            standing.quarantined = Some(PluginQuarantine { at: last.at, why: format!("{times}: {}", last.why) });
        }
        count
    }

    /// Quarantines a plugin.
    pub fn quarantine(&mut self, plugin: &PluginName, used: Digest, at: Timestamp, why: String) {
        self.of_mut(plugin, used).quarantined.get_or_insert(PluginQuarantine { at, why });
    }

    /// Why a plugin is not called; `None` when it may be.
    pub fn quarantined(&self, plugin: &PluginName, used: &Digest) -> Option<&PluginQuarantine> {
        self.plugins.get(plugin).filter(|standing| standing.used == *used)?.quarantined.as_ref()
    }

    /// Forgives a plugin everything; what it stood for, if there was anything.
    pub fn release(&mut self, plugin: &PluginName) -> Option<Standing> {
        self.plugins.remove(plugin)
    }

    fn of_mut(&mut self, plugin: &PluginName, used: Digest) -> &mut Standing {
        let fresh = || Standing { used, strikes: Vec::new(), quarantined: None };
        let standing = self.plugins.entry(plugin.clone()).or_insert_with(fresh);
        if standing.used != used {
            *standing = fresh();
        }
        standing
    }
}

impl Standing {
    /// Strikes that still count at `now`.
    pub fn strikes_at(&self, now: Timestamp, rules: &FailureRules) -> u32 {
        let counts_from = rules.counts_from(now);
        self.strikes.iter().filter(|strike| strike.at >= counts_from).count() as u32
    }
}

impl<P: ?Sized> PluginStep<P> {
    /// The plugin as it is used: what strikes are charged to.
    pub fn used(&self) -> Digest {
        let (config, circumstances) = (self.config.to_string(), self.circumstances.to_string());
        Digest::of_fields([&self.digest.as_bytes()[..], config.as_bytes(), circumstances.as_bytes()])
    }

    /// Refuses a plugin that is quarantined.
    pub(crate) fn callable(&self, step: &'static str, ledger: &Ledger) -> Result<(), PipelineError> {
        match ledger.plugins.is_empty() {
            true => Ok(()),
            false => match ledger.quarantined(&self.name, &self.used()) {
                None => Ok(()),
                Some(quarantine) => Err(PipelineError::PluginQuarantined { plugin: self.name.clone(), step, why: quarantine.why.clone() }),
            },
        }
    }
}

/// Forgives a plugin its strikes because `operator` says so, and lets it be called again.
///
/// # Errors
/// [`PipelineError::NoStrikes`] when there is nothing to forgive.
pub async fn release_plugin(pipeline: &mut Pipeline, plugin: &PluginName, operator: &str, reason: &str) -> Result<Standing, PipelineError> {
    release(&pipeline.stores, &pipeline.settings.id, &mut pipeline.ledger, plugin, operator, reason).await
}

/// The same where no pipeline is at work: none of its plugins is loaded, for one of them may be what does not load.
///
/// # Errors
/// As [`release_plugin`].
pub async fn release_plugin_at_rest(
    stores: &Stores,
    pipeline: &PipelineId,
    plugin: &PluginName,
    operator: &str,
    reason: &str,
) -> Result<Standing, PipelineError> {
    let mut ledger = Kept::of(&*stores.meta, pipeline, KEY).await?;
    release(stores, pipeline, &mut ledger, plugin, operator, reason).await
}

async fn release(
    stores: &Stores,
    pipeline: &PipelineId,
    kept: &mut Kept<Ledger>,
    plugin: &PluginName,
    operator: &str,
    reason: &str,
) -> Result<Standing, PipelineError> {
    let mut ledger = Ledger::clone(kept);
    let Some(standing) = ledger.release(plugin) else { return Err(PipelineError::NoStrikes { plugin: plugin.clone() }) };
    let was = standing.quarantined.as_ref().map(|quarantine| &quarantine.why);
    let body = json!({ "plugin": plugin, "strikes": standing.strikes.len(), "quarantined": was, "by": operator, "reason": reason });
    let writes = vec![kept.write(&ledger)?, Write::Journal { kind: "plugin-released".to_owned(), body }];
    stores.meta.commit(stores.fence, pipeline, stores.clock.now(), writes).await?;
    kept.committed(ledger);
    Ok(standing)
}

/// A plugin in use that has strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// Which.
    pub plugin: PluginName,
    /// Strikes that count now.
    pub strikes: u32,
    /// Set while it is not called.
    pub quarantined: Option<PluginQuarantine>,
}

impl Pipeline {
    /// The plugins that have strikes as they are used now.
    pub fn struck(&self) -> Vec<Struck> {
        let mut struck: Vec<Struck> = Vec::new();
        let (now, rules) = (self.now(), &self.settings.failures);
        for (plugin, used) in self.plugins.used() {
            let Some(standing) = self.ledger.plugins.get(&plugin).filter(|standing| standing.used == used) else { continue };
            let (strikes, quarantined) = (standing.strikes_at(now, rules), standing.quarantined.clone());
            if (strikes > 0 || quarantined.is_some()) && struck.iter().all(|other| other.plugin != plugin) {
                struck.push(Struck { plugin, strikes, quarantined });
            }
        }
        struck
    }
}

/// How the plugins of a pipeline stand that have failed.
///
/// # Errors
/// What the store could not read.
pub async fn plugin_standings(meta: &dyn MetaStore, pipeline: &PipelineId) -> Result<Ledger, PipelineError> {
    Ok(Kept::<Ledger>::of(meta, pipeline, KEY).await?.into_value())
}

/// Cuts a reason between two characters.
fn truncate(why: &mut String) {
    if why.len() > WHY_BYTES_MAX {
        let end = (0..=WHY_BYTES_MAX).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
        why.truncate(end);
        why.push('…');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: FailureRules = FailureRules { strikes_max: 3, strike_window_ms: 60_000, dead_letters_max: 2 };

    fn strike(at_s: i64) -> Strike {
        Strike { at: Timestamp(at_s * 1_000_000), step: "cleaner".into(), outcome: "trapped".into(), why: format!("at {at_s}") }
    }

    /// Charges strikes at these seconds, and says at which of them the plugin was quarantined first.
    fn check(at: &[i64], expected: Option<usize>) {
        let (mut ledger, name, used) = (Ledger::default(), "clip".parse().unwrap(), Digest::of("used"));
        let quarantined = at.iter().position(|second| {
            ledger.charge(&name, used, strike(*second), &RULES);
            ledger.quarantined(&name, &used).is_some()
        });
        assert_eq!(quarantined, expected, "{at:?}");
    }

    #[test]
    fn three_strikes_in_a_window_quarantine() {
        check(&[], None);
        check(&[0, 1], None);
        check(&[0, 1, 2], Some(2));
        check(&[0, 60, 61], None);
        check(&[0, 30, 60], Some(2));
        check(&[0, 40, 80, 100], Some(3));
        check(&[0, 61, 122, 183, 244], None);
    }

    #[test]
    fn another_use_starts_anew_and_a_release_forgives() {
        let (mut ledger, name, used): (_, PluginName, _) = (Ledger::default(), "clip".parse().unwrap(), Digest::of("used"));
        for second in 0..3 {
            ledger.charge(&name, used, strike(second), &RULES);
        }
        let why = &ledger.quarantined(&name, &used).unwrap().why;
        assert_eq!(why, "3 strikes within 1 min, the last: at 2");
        let mended = Digest::of("mended");
        assert_eq!(ledger.quarantined(&name, &mended), None);
        assert_eq!(ledger.charge(&name, mended, strike(4), &RULES), 1);
        assert_eq!(ledger.quarantined(&name, &used), None, "the old one is not in use any more");
        assert_eq!(ledger.release(&name).unwrap().strikes.len(), 1);
        assert_eq!(ledger.release(&name), None);
    }

    proptest! {
        #[test]
        fn a_ledger_reads_back_and_never_grows(at in proptest::collection::vec(0i64..300, 0..50), why in ".{0,900}") {
            let (mut ledger, name, used) = (Ledger::default(), "clip".parse().unwrap(), Digest::of("used"));
            for second in at {
                let count = ledger.charge(&name, used, Strike { why: why.clone(), ..strike(second) }, &RULES);
                prop_assert!((1..=3).contains(&count));
            }
            let stored = serde_json::to_vec(&ledger).unwrap();
            prop_assert!(stored.len() < 16_384);
            prop_assert_eq!(serde_json::from_slice::<Ledger>(&stored).unwrap(), ledger);
        }
    }
}
