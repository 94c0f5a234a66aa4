//! What the status page and the metrics show: the boards, and what the store says beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use tidegate_pipeline::{DeadLetter, Stores, Struck};
use tidegate_policy::wilson;
use tidegate_serve::{ChampionStatus, DeadLetterStatus, Move, PipelineStatus, PluginStatus, RunStatus, Status, StruckStatus, Views};
use tidegate_store::StoreError;
use tidegate_vocab::{Alias, Decision, DecisionKind, PipelineId, PluginName, QualityPoint, Timestamp, VersionNo};
use tokio::sync::watch;

use super::board::{Board, Live, PluginBook, PluginFacts};
use super::prediction_log::PredictionLog;
use super::reload::SettingsStand;
use crate::config::{Config, PipelineConfig};

/// Decisions that are shown.
const DECISIONS_SHOWN_MAX: usize = 20;
/// The confidence of the interval around the champion's accuracy.
const CONFIDENCE: f64 = 0.95;

/// Everything that can be shown of a host.
pub struct HostViews {
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Config>>,
    /// How the settings stand.
    pub stand: watch::Receiver<SettingsStand>,
    /// Where the rest is read.
    pub stores: Stores,
    /// One a pipeline.
    pub boards: BTreeMap<PipelineId, Board>,
    /// What is known of the plugins in use.
    pub plugins: Arc<PluginBook>,
    /// The log of predictions.
    pub log: PredictionLog,
    /// What the host counts.
    pub counters: PrometheusHandle,
    /// Whether time is simulated.
    pub replayed: bool,
    /// When the host was started.
    pub started_at: Timestamp,
}

#[async_trait]
impl Views for HostViews {
    async fn status(&self) -> Status {
        let mut pipelines = Vec::with_capacity(self.boards.len());
        let mut used: BTreeMap<PluginName, (String, Vec<PipelineId>)> = BTreeMap::new();
        let mut struck: BTreeMap<PluginName, Vec<StruckStatus>> = BTreeMap::new();
        let in_force = Arc::clone(&self.settings.borrow());
        for (id, board) in &self.boards {
            let Some(config) = in_force.pipelines.iter().find(|pipeline| pipeline.id == *id) else { continue };
            let live = board.read();
            for (name, digest) in &live.components {
                let (known, by) = used.entry(name.clone()).or_default();
                *known = digest.to_string();
                if !by.contains(id) {
                    by.push(id.clone());
                }
            }
            for Struck { plugin, strikes, quarantined } in &live.struck {
                let quarantined = quarantined.as_ref().map(|held| (held.at, held.why.clone()));
                let status = StruckStatus { pipeline: id.clone(), strikes: *strikes, quarantined };
                struck.entry(plugin.clone()).or_default().push(status);
            }
            pipelines.push(match self.pipeline(config, &live).await {
                Ok(status) => status,
                Err(error) => PipelineStatus { stalled: Some(error.to_string()), ..self.bare(config, &live) },
            });
        }
        let plugins = used.into_iter().map(|(name, (digest, pipelines))| {
            let PluginFacts { kind, version, reloads } = self.plugins.of(&name);
            let struck = struck.remove(&name).unwrap_or_default();
            PluginStatus { name, kind, version, digest, pipelines, struck, reloads }
        });
        Status {
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            settings: self.stand.borrow().status(&in_force),
            pipelines,
            plugins: plugins.collect(),
        }
    }

    fn unready(&self) -> Vec<String> {
        let stalled = |(id, board): (&PipelineId, &Board)| board.read().stalled.map(|why| format!("pipeline `{id}` is stalled: {why}"));
        self.boards.iter().filter_map(stalled).collect()
    }

    fn counters(&self) -> String {
        self.counters.render()
    }
}

impl HostViews {
    /// What the board and the settings say.
    fn bare(&self, config: &PipelineConfig, live: &Live) -> PipelineStatus {
        let names = |used: &[crate::config::PluginUse]| used.iter().map(|used| used.plugin.clone()).collect();
        PipelineStatus {
            id: config.id.clone(),
            now: live.now,
            replayed: self.replayed,
            at: live.at,
            doing: live.doing.clone(),
            stalled: live.stalled.clone(),
            source: config.source.plugin.clone(),
            cleaners: names(&config.cleaners),
            evaluators: names(&config.evaluators),
            alerters: names(&config.alerters),
            family: config.model.spec.family.word().to_owned(),
            features: config.contract.columns.iter().map(|column| column.name.clone()).collect(),
            classes: config.contract.label.classes.clone(),
            rows: live.rows,
            quarantined: Vec::new(),
            dead_letters: live.dead_letters.waiting.iter().map(dead_letter).collect(),
            last_rows_at: live.last_rows_at,
            predictions: 0,
            predictions_shed: self.log.shed(),
            labels: 0,
            champion: None,
            run: None,
            rollout: live.rollout.clone(),
            drift: live.drift.clone(),
            estimate: live.estimate.clone(),
            guard: live.guard.clone(),
            quality: live.quality.to_vec(),
            moves: Vec::new(),
            decisions: Vec::new(),
            versions: 0,
            next: live.next.clone(),
        }
    }

    async fn pipeline(&self, config: &PipelineConfig, live: &Live) -> Result<PipelineStatus, StoreError> {
        let (id, meta, feedback) = (&config.id, &self.stores.meta, &self.stores.feedback);
        let mut decisions = meta.decisions(id, None).await?;
        let history = meta.alias_history(id, Alias::Champion).await?;
        let back = |number: u64| decisions.iter().any(|(n, decision)| *n == number && decision.kind == DecisionKind::RollBack);
        let moves: Vec<Move> = history
            .iter()
            .map(|step| Move { at: step.at, row: None, from: step.from, to: step.to, is_rollback: back(step.decision) })
            .collect();
        let champion = match history.last() {
            Some(last) => {
                let decision = decisions.iter().find(|(number, _)| *number == last.decision).map(|(_, decision)| decision.clone());
                self.champion(id, last.to, last.at, decision, &live.quality).await?
            }
            None => None,
        };
        decisions.reverse();
        decisions.truncate(DECISIONS_SHOWN_MAX);
        let run = meta.open_run(id).await?.map(|run| RunStatus {
            id: run.id.to_string(),
            state: serde_json::to_value(run.state).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default(),
            trigger: run.trigger,
            started_at: run.started_at,
            version: run.version,
            progress: live.progress,
            waiting_rows: live.waiting_rows,
            looks: run.looks,
        });
        let mut quarantined: BTreeMap<(String, String), u64> = BTreeMap::new();
        if let Some(chain) = &live.chain {
            for (_, group) in meta.quarantined(id, chain).await? {
                *quarantined.entry((group.by, group.reason)).or_default() += group.rows.len() as u64;
            }
        }
        let mut quarantined: Vec<_> = quarantined.into_iter().map(|((by, reason), rows)| (by, reason, rows)).collect();
        quarantined.sort_by_key(|(.., rows)| std::cmp::Reverse(*rows));
        // The board may be a moment older than the store.
        let serves = champion.as_ref().map(|champion: &ChampionStatus| champion.version);
        Ok(PipelineStatus {
            quarantined,
            rollout: live.rollout.clone().filter(|rollout| Some(rollout.version) != serves),
            predictions: feedback.prediction_count(id).await?,
            labels: feedback.label_count(id).await?,
            champion,
            run,
            moves,
            decisions,
            versions: meta.versions(id).await?.len() as u32,
            ..self.bare(config, live)
        })
    }

    async fn champion(
        &self,
        id: &PipelineId,
        version: VersionNo,
        since: Timestamp,
        decision: Option<Decision>,
        quality: &[QualityPoint],
    ) -> Result<Option<ChampionStatus>, StoreError> {
        let Some(record) = self.stores.meta.version(id, version).await? else { return Ok(None) };
        let (by, reason) = match decision {
            Some(decision) => (decision.author(), decision.reason),
            None => (String::new(), String::new()),
        };
        let own = quality.iter().rev().take_while(|point| point.version == version);
        let (rows, right) = own.fold((0, 0), |(rows, right), point| (rows + point.rows, right + point.right));
        let interval = (rows > 0).then(|| wilson(right as f64, rows as f64, (1.0 - CONFIDENCE) / 2.0));
        let weights = record.weights.to_string();
        Ok(Some(ChampionStatus { version, weights, since, by, reason, rows, right, interval }))
    }
}

fn dead_letter(letter: &DeadLetter) -> DeadLetterStatus {
    let DeadLetter { number, first_row, row_count, plugin, at, error, .. } = letter.clone();
    DeadLetterStatus { number, first_row, rows: row_count, plugin, at, error }
}
