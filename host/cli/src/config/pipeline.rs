//! `[pipeline.NAME]`: the configured loop for one model.

use std::ops::Range;

use serde_json::{Map, Value};
use tidegate_pipeline::DamageBounds;
use tidegate_policy::{DriftSettings, Gate, GuardSettings, TriggerKind, TriggerRule};
use tidegate_vocab::limits::ROWS_DROPPED_SHARE_MAX;
use tidegate_vocab::{Contract, PipelineId, PluginName};

use super::drift;
use super::estimate::{self, EstimateConfig};
use super::guard;
use super::model::{self, ModelConfig};
use super::rollout::{self, RolloutConfig};
use super::section::Section;
use super::{contract, gate, trigger};

const PLUGINS_OF_A_KIND_MAX: usize = 64;

/// `[pipeline.NAME]`.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// Its name.
    pub id: PipelineId,
    /// Where rows come from.
    pub source: PluginUse,
    /// What they go through, in order.
    pub cleaners: Vec<PluginUse>,
    /// Who measures models.
    pub evaluators: Vec<PluginUse>,
    /// Who tells people.
    pub alerters: Vec<PluginUse>,
    /// What the columns must be.
    pub contract: Contract,
    /// What is trained.
    pub model: ModelConfig,
    /// When; a run is always possible by hand too.
    pub triggers: Vec<TriggerRule>,
    /// What a challenger has to show.
    pub gate: Gate,
    /// Which rows judge, where the file says so; else `run` holds rows out and `backtest` waits for arriving ones.
    pub gate_rows: Option<tidegate_policy::GateRows>,
    /// How a blessed version takes over traffic.
    pub rollout: Option<RolloutConfig>,
    /// `guard`; `None` where no champion is guarded.
    pub guard: Option<GuardSettings>,
    /// `drift`; `None` where it is not watched.
    pub drift: Option<DriftSettings>,
    /// `estimate`.
    pub estimate: EstimateConfig,
    /// Where the file has it.
    pub span: Range<usize>,
}

/// One plugin at one step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginUse {
    /// Which.
    pub plugin: PluginName,
    /// Its configuration, an object; its own schema judges it.
    pub config: Value,
    /// For a cleaner: whether requests go through it too.
    pub serving: bool,
    /// For a cleaner: how much it may change of a batch.
    pub damage: DamageBounds,
    /// Where the file names it.
    pub span: Range<usize>,
    /// Where the file configures it.
    pub config_span: Range<usize>,
}

impl PipelineConfig {
    /// All plugins it uses, with the kind each has to be of.
    pub fn plugins(&self) -> impl Iterator<Item = (&'static str, &PluginUse)> {
        let source = std::iter::once(("source", &self.source));
        let cleaners = self.cleaners.iter().map(|plugin| ("cleaner", plugin));
        let evaluators = self.evaluators.iter().map(|plugin| ("evaluator", plugin));
        source.chain(cleaners).chain(evaluators).chain(self.alerters.iter().map(|plugin| ("alerter", plugin)))
    }
}

impl PluginUse {
    /// Whether `other` uses the same plugin the same way, wherever in the file either is written.
    pub fn is_used_as(&self, other: &PluginUse) -> bool {
        let how = |used: &PluginUse| (used.plugin.clone(), used.config.clone(), used.serving, used.damage);
        how(self) == how(other)
    }
}

pub(super) fn pipeline(id: PipelineId, section: Section<'_>) -> Option<PipelineConfig> {
    for (key, what, example) in [
        ("source", "where rows come from", "source = { plugin = \"csv\", config = { input = \"rows\" } }"),
        ("contract", "what the columns must be; `tidegate contract infer` writes it", "[pipeline.NAME.contract]"),
        ("model", "what is trained", "[pipeline.NAME.model]"),
    ] {
        if !section.has(key) {
            section.missing(key, what, example);
        }
    }
    let source = section.section("source").and_then(|table| plugin_use(table, false));
    let cleaners = plugin_uses(&section, "cleaners", true);
    let evaluators = plugin_uses(&section, "evaluators", false);
    if evaluators.is_empty() && !section.has("evaluators") {
        section.missing("evaluators", "who measures models", "evaluators = [{ plugin = \"classification\" }]");
    }
    let alerters = plugin_uses(&section, "alerters", false);
    let contract = section.section("contract").and_then(contract::contract);
    let model = section.section("model").map(model::model);
    let triggers: Vec<TriggerRule> = section.sections("trigger").into_iter().filter_map(trigger::trigger).collect();
    let gate = gate::gate(&section);
    let rows_given = section.section("gate").is_some_and(|table| table.has("rows"));
    let rollout = section.section("rollout").map(rollout::rollout);
    let guard = guard::guard(&section);
    let drift = drift::drift(&section);
    let waits = |rule: &TriggerRule| matches!(rule.kind, TriggerKind::Drift | TriggerKind::PredictionDrift);
    if drift.is_none() && triggers.iter().any(waits) {
        let message = format!("`[{}.drift] window_rows` is 0, and a trigger waits for drift", section.path);
        section.problem(section.place("drift"), message, "drift is not watched", Some("500 is usual".to_owned()));
    }
    let estimate = estimate::estimate(&section);
    if estimate.window_rows == 0 && triggers.iter().any(|rule| matches!(rule.kind, TriggerKind::Estimate { .. })) {
        let message = format!("`[{}.estimate] window_rows` is 0, and a trigger waits for an estimate", section.path);
        section.problem(section.place("estimate"), message, "nothing is estimated", Some("500 is usual".to_owned()));
    }
    let span = section.span.clone();
    if let Some(contract) = &contract {
        label_among_columns(&section, contract);
        lags_of_the_contract(&section, contract, model.as_ref());
        gate::slices_of_the_contract(&section, contract, &gate);
    }
    section.finish();
    Some(PipelineConfig {
        id,
        source: source?,
        cleaners,
        evaluators,
        alerters,
        contract: contract?,
        model: model?,
        triggers,
        gate_rows: rows_given.then_some(gate.rows),
        gate,
        rollout,
        guard,
        drift,
        estimate,
        span,
    })
}

/// Lags are made of features, and their columns are in no contract.
fn lags_of_the_contract(section: &Section<'_>, contract: &Contract, model: Option<&ModelConfig>) {
    let Some(issue) = model.and_then(|model| model.spec.lags.issue_with(contract)) else { return };
    if let Some(lags) = section.section("model").and_then(|model| model.section("lags")) {
        model::lag_problem(&lags, &issue);
    }
}

/// A label among the features is the commonest leak there is.
fn label_among_columns(section: &Section<'_>, contract: &Contract) {
    let label = &contract.label.column;
    let Some(table) = section.section("contract").filter(|_| contract.columns.iter().any(|column| column.name == *label)) else { return };
    let hint = "remove it from `columns`: a model that sees the label learns nothing else".to_owned();
    let message = format!("the label `{label}` is also among the columns a model learns from");
    table.problem(table.place("columns"), message, "has the label in it", Some(hint));
}

fn plugin_uses(section: &Section<'_>, key: &str, is_cleaner: bool) -> Vec<PluginUse> {
    let tables = section.sections(key);
    if tables.len() > PLUGINS_OF_A_KIND_MAX {
        let message = format!("{} lists {} plugins, more than {PLUGINS_OF_A_KIND_MAX}", section.named(key), tables.len());
        section.problem(section.place(key), message, "too many", None);
    }
    tables.into_iter().filter_map(|table| plugin_use(table, is_cleaner)).collect()
}

fn plugin_use(section: Section<'_>, is_cleaner: bool) -> Option<PluginUse> {
    if !section.has("plugin") {
        section.missing("plugin", "the stem of its file in the plugin folder", "plugin = \"csv\"");
    }
    let name = section.text("plugin");
    let config = section.json("config");
    let serving = is_cleaner && section.flag("serving").unwrap_or(false);
    let damage = if is_cleaner { damage(&section) } else { DamageBounds::default() };
    let own_span = section.span.clone();
    let plugin = name.as_ref().and_then(|name| match PluginName::try_from(name.value.clone()) {
        Ok(plugin) => Some(plugin),
        Err(error) => {
            section.problem(name.span.clone(), error.to_string(), "not a plugin name", None);
            None
        }
    });
    section.finish();
    let config_span = config.as_ref().map_or(own_span, |config| config.span.clone());
    let config = config.map_or_else(|| Value::Object(Map::new()), |config| config.value);
    Some(PluginUse { plugin: plugin?, config, serving, damage, span: name?.span, config_span })
}

fn damage(section: &Section<'_>) -> DamageBounds {
    let mut bounds = DamageBounds { rows_dropped_share_max: Some(ROWS_DROPPED_SHARE_MAX), ..DamageBounds::default() };
    if let Some(table) = section.section("damage") {
        bounds.rows_dropped_share_max = table.number("rows_dropped_share_max", 0.0..=1.0).or(bounds.rows_dropped_share_max);
        bounds.cells_changed_share_max = table.number("cells_changed_share_max", 0.0..=1.0);
        bounds.mean_shift_max = table.number("mean_shift_max", 0.0..=1e6);
        bounds.spread_factor_max = table.number("spread_factor_max", 1.0..=1e6);
        table.finish();
    }
    bounds
}
