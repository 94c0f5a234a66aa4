//! Which keys a running host takes up when the file changes, and which need a restart; and the settings that come of taking up the
//! former.
//!
//! Invariant: the table [`KEYS`] and [`Config::adopting`] say the same. A test changes every key and compares.

use serde::{Deserialize, Serialize};
use tidegate_vocab::limits::{PluginLimits, SharedLimits};
use tidegate_vocab::{PipelineId, PluginName};

use super::typed::{Change, Key};
use super::{Config, PipelineConfig, PluginUse, PluginsConfig, StoreConfig};

/// What a running host makes of a key that has changed in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// It is taken up at once.
    Live,
    /// It is taken up by the next run: what judges a run is written down before it.
    NextRun,
    /// It stays as it was until the host is started again.
    Restart,
    /// A host has no use for it: commands of their own read it each time.
    Elsewhere,
}

/// Every key of the file, with `*` for names that people give. What lies under a key goes with it. The limits of plugins are named by
/// their own tables: those of one plugin are live, those that all share need a restart.
pub const KEYS: [(&str, When); 62] = [
    ("backtest.seeds", When::Elsewhere),
    ("backtest.step_rows", When::Restart),
    ("backtest.warmup_share", When::Elsewhere),
    ("input.*.path", When::Live),
    ("pipeline.*.alerters.config", When::Live),
    ("pipeline.*.alerters.plugin", When::Restart),
    ("pipeline.*.cleaners.config", When::Live),
    ("pipeline.*.cleaners.damage", When::Live),
    ("pipeline.*.cleaners.plugin", When::Restart),
    ("pipeline.*.cleaners.serving", When::Live),
    ("pipeline.*.contract", When::Restart),
    ("pipeline.*.drift.effect_min", When::Restart),
    ("pipeline.*.drift.q", When::Restart),
    ("pipeline.*.drift.window_rows", When::Restart),
    ("pipeline.*.estimate.window_rows", When::Restart),
    ("pipeline.*.evaluators.config", When::Live),
    ("pipeline.*.evaluators.plugin", When::Restart),
    ("pipeline.*.gate.approval", When::NextRun),
    ("pipeline.*.gate.confidence", When::NextRun),
    ("pipeline.*.gate.dependence", When::NextRun),
    ("pipeline.*.gate.interval", When::NextRun),
    ("pipeline.*.gate.looks_max", When::NextRun),
    ("pipeline.*.gate.maturity_min", When::NextRun),
    ("pipeline.*.gate.resamples", When::NextRun),
    ("pipeline.*.gate.rows", When::NextRun),
    ("pipeline.*.gate.rows_min", When::NextRun),
    ("pipeline.*.gate.rows_per_class_min", When::NextRun),
    ("pipeline.*.gate.rule", When::NextRun),
    ("pipeline.*.gate.slice", When::NextRun),
    ("pipeline.*.guard.alpha", When::Restart),
    ("pipeline.*.guard.margin", When::Restart),
    ("pipeline.*.guard.rows_max", When::Restart),
    ("pipeline.*.model", When::Restart),
    ("pipeline.*.rollout", When::Restart),
    ("pipeline.*.source.config", When::Live),
    ("pipeline.*.source.plugin", When::Restart),
    ("pipeline.*.trigger", When::Live),
    ("plugin.*.from", When::Live),
    ("plugin.*.grant.clock", When::Live),
    ("plugin.*.grant.columns", When::Live),
    ("plugin.*.grant.http", When::Live),
    ("plugin.*.grant.inputs", When::Live),
    ("plugin.*.grant.secrets", When::Live),
    ("plugins.dead_letters_max", When::Live),
    ("plugins.folder", When::Restart),
    ("plugins.locked", When::Live),
    ("plugins.probation_calls", When::Live),
    ("plugins.shadow_batches", When::Live),
    ("plugins.shadow_change_max", When::Live),
    ("plugins.strike_window_minutes", When::Live),
    ("plugins.strikes_max", When::Live),
    ("plugins.trusted_keys", When::Live),
    ("serve.hosts", When::Restart),
    ("serve.listen", When::Restart),
    ("serve.tokens", When::Restart),
    ("store.blobs", When::Restart),
    ("store.disk_bytes_max", When::Live),
    ("store.folder", When::Restart),
    ("store.metadata", When::Restart),
    ("store.retention_days", When::Live),
    // Tables of which only the header was typed.
    ("plugin.*.grant", When::Live),
    ("plugin.*", When::Live),
];

/// What the table of keys says of `key`; `None` where it does not know it.
pub fn when(key: &Key) -> Option<When> {
    let names: Vec<&str> = key.names().collect();
    let is = |limits: &[tidegate_vocab::limits::LimitKey], name: &str| limits.iter().any(|limit| limit.key == name);
    match names[..] {
        ["plugin", _, limit] if is(PluginLimits::KEYS, limit) => return Some(When::Live),
        ["plugins", limit] if is(SharedLimits::KEYS, limit) => return Some(When::Restart),
        _ => {}
    }
    KEYS.iter().find(|(pattern, _)| matches(pattern, &names)).map(|(_, when)| *when)
}

/// Whether `names` lie at or under what `pattern` names. A pattern that ends with a name that people give covers that table alone.
pub fn matches(pattern: &str, names: &[&str]) -> bool {
    let wanted: Vec<&str> = pattern.split('.').collect();
    let fits = wanted.len() <= names.len() && wanted.iter().zip(names).all(|(wanted, name)| *wanted == "*" || wanted == name);
    fits && (!pattern.ends_with('*') || wanted.len() == names.len())
}

impl Config {
    /// What `file` has differently, by key.
    pub fn changes(&self, file: &Config) -> Vec<Change> {
        self.typed.changes(&file.typed, |key| stays(self, file, key))
    }

    /// These settings with everything of `file` that can be taken up without a restart.
    pub fn adopting(&self, file: &Config) -> Config {
        let pipeline = |running: &PipelineConfig| match file.pipelines.iter().find(|other| other.id == running.id) {
            Some(other) => running.adopting(other),
            None => PipelineConfig { span: 0..0, ..running.unplaced() },
        };
        let taken = |key: &Key| !stays(self, file, key) && when(key).is_some_and(|when| when != When::Restart);
        Config {
            file: file.file.clone(),
            typed: self.typed.adopting(&file.typed, taken),
            store: StoreConfig { folder: self.store.folder.clone(), ..file.store.clone() },
            serve: self.serve.clone(),
            plugins: PluginsConfig { folder: self.plugins.folder.clone(), limits: self.plugins.limits, ..file.plugins.clone() },
            plugin: file.plugin.clone(),
            inputs: file.inputs.clone(),
            pipelines: self.pipelines.iter().map(pipeline).collect(),
            backtest: super::BacktestConfig { step_rows: self.backtest.step_rows, ..file.backtest.clone() },
        }
    }

    /// Leaves every pipeline out but `only`, for a host that was started for one.
    pub fn retain(&mut self, only: &PipelineId) {
        self.pipelines.retain(|pipeline| pipeline.id == *only);
        self.typed.retain(|key| !key.is_under(&["pipeline"]) || key.is_under(&["pipeline", only.as_str()]));
    }

    /// The digest of everything that these settings say.
    pub fn digest(&self) -> tidegate_vocab::Digest {
        self.typed.digest()
    }
}

/// Whether `key` stays as it is because of what it belongs to: a pipeline that only one of the two has, or a list of plugins that
/// names others. A plugin takes the place of itself only.
fn stays(running: &Config, file: &Config, key: &Key) -> bool {
    let mut names = key.names();
    let (Some("pipeline"), Some(id)) = (names.next(), names.next()) else { return false };
    let of = |config: &Config| config.pipelines.iter().position(|pipeline| pipeline.id.as_str() == id);
    let (Some(old), Some(new)) = (of(running), of(file)) else { return true };
    let (old, new) = (&running.pipelines[old], &file.pipelines[new]);
    match names.next() {
        Some("source") => old.source.plugin != new.source.plugin,
        Some("cleaners") => !is_same(&old.cleaners, &new.cleaners),
        Some("evaluators") => !is_same(&old.evaluators, &new.evaluators),
        Some("alerters") => !is_same(&old.alerters, &new.alerters),
        _ => false,
    }
}

fn is_same(old: &[PluginUse], new: &[PluginUse]) -> bool {
    let names = |used: &[PluginUse]| -> Vec<PluginName> { used.iter().map(|used| used.plugin.clone()).collect() };
    names(old) == names(new)
}

impl PipelineConfig {
    fn adopting(&self, file: &PipelineConfig) -> PipelineConfig {
        let list = |old: &[PluginUse], new: &[PluginUse]| -> Vec<PluginUse> {
            if is_same(old, new) { new.to_vec() } else { old.iter().map(PluginUse::unplaced).collect() }
        };
        let source = if self.source.plugin == file.source.plugin { file.source.clone() } else { self.source.unplaced() };
        PipelineConfig {
            id: self.id.clone(),
            source,
            cleaners: list(&self.cleaners, &file.cleaners),
            evaluators: list(&self.evaluators, &file.evaluators),
            alerters: list(&self.alerters, &file.alerters),
            contract: self.contract.clone(),
            model: self.model.clone(),
            triggers: file.triggers.clone(),
            gate: file.gate.clone(),
            gate_rows: file.gate_rows,
            rollout: self.rollout.clone(),
            drift: self.drift,
            guard: self.guard,
            estimate: self.estimate,
            span: file.span.clone(),
        }
    }

    /// The same without places in a file that is not the one in force.
    fn unplaced(&self) -> PipelineConfig {
        let list = |used: &[PluginUse]| -> Vec<PluginUse> { used.iter().map(PluginUse::unplaced).collect() };
        PipelineConfig {
            source: self.source.unplaced(),
            cleaners: list(&self.cleaners),
            evaluators: list(&self.evaluators),
            alerters: list(&self.alerters),
            ..self.clone()
        }
    }
}

impl PluginUse {
    fn unplaced(&self) -> PluginUse {
        PluginUse { span: 0..0, config_span: 0..0, ..self.clone() }
    }
}
