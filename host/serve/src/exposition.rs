//! The state of the host in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::status::{PipelineStatus, Status, StruckStatus};

/// Series of one pipeline that name who kept rows out and why; the rarer ones are added up as `other`.
const REASONS_MAX: usize = 30;

/// Features of one pipeline that have series of their own: those that moved most.
const DRIFT_FEATURES_MAX: usize = 50;

/// What kind of number a family holds.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// One family: its header, and a line a series.
struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

/// Appends the families that describe `status`.
pub(crate) fn write(out: &mut String, status: &Status) {
    let mut build = family(out, "tidegate_build_info", Kind::Gauge, "The version of the host; always 1.");
    build.series(&[("version", &status.host_version)], 1);
    let mut started = family(out, "tidegate_start_time_seconds", Kind::Gauge, "When the host was started, in seconds since 1970.");
    started.series(&[], seconds(status.started_at.0));
    champions(out, status);
    rollouts(out, status);
    quality(out, status);
    drift(out, status);
    data(out, status);
    work(out, status);
    plugins(out, status);
}

fn rollouts(out: &mut String, status: &Status) {
    let rollouts = || status.pipelines.iter().filter_map(|pipeline| pipeline.rollout.as_ref().map(|rollout| (pipeline, rollout)));
    let help = "The share of requests that a version answers which is rolled out; 0 before its canary.";
    let mut share = family(out, "tidegate_rollout_share", Kind::Gauge, help);
    for (pipeline, rollout) in rollouts() {
        let version = rollout.version.to_string();
        share.series(&[("model", pipeline.id.as_str()), ("version", &version), ("stage", &rollout.stage)], rollout.share);
    }
    let help = "Requests of this step of a rollout: mirrored ones, or those of the smaller arm.";
    let mut requests = family(out, "tidegate_rollout_requests", Kind::Gauge, help);
    for (pipeline, rollout) in rollouts() {
        requests.series(&[("model", pipeline.id.as_str()), ("version", &rollout.version.to_string())], rollout.requests);
    }
}

fn champions(out: &mut String, status: &Status) {
    let champions = || status.pipelines.iter().filter_map(|pipeline| pipeline.champion.as_ref().map(|champion| (pipeline, champion)));
    let mut info = family(out, "tidegate_champion_info", Kind::Gauge, "The version that serves, and the digest of its weights; always 1.");
    for (pipeline, champion) in champions() {
        let version = champion.version.to_string();
        info.series(&[("model", pipeline.id.as_str()), ("version", &version), ("sha256", &champion.weights)], 1);
    }
    let mut age = family(out, "tidegate_champion_age_seconds", Kind::Gauge, "How long the champion has served, on the pipeline's clock.");
    for (pipeline, champion) in champions() {
        age.series(&[("model", pipeline.id.as_str())], seconds(pipeline.now.0.saturating_sub(champion.since.0).max(0)));
    }
    let mut versions = family(out, "tidegate_model_versions", Kind::Gauge, "Versions trained.");
    for pipeline in &status.pipelines {
        versions.series(&[("model", pipeline.id.as_str())], pipeline.versions);
    }
    let help = "Moves of the champion, forward and back.";
    let mut moves = family(out, "tidegate_champion_moves_total", Kind::Counter, help);
    for pipeline in &status.pipelines {
        let back = pipeline.moves.iter().filter(|step| step.is_rollback).count();
        moves.series(&[("model", pipeline.id.as_str()), ("direction", "back")], back);
        moves.series(&[("model", pipeline.id.as_str()), ("direction", "forward")], pipeline.moves.len() - back);
    }
}

fn quality(out: &mut String, status: &Status) {
    let help = "What the champion has reached since it serves, with its 95 % interval; and what its newest answers seem to be worth.";
    let mut quality = family(out, "tidegate_quality", Kind::Gauge, help);
    let mut labelled = Vec::new();
    for pipeline in &status.pipelines {
        let Some(champion) = pipeline.champion.as_ref().filter(|champion| champion.rows > 0) else { continue };
        let share = champion.right as f64 / champion.rows as f64;
        let bounds = champion.interval.map_or(vec![], |(low, high)| vec![("lower", low), ("upper", high)]);
        for (bound, value) in std::iter::once(("point", share)).chain(bounds) {
            let labels = [("model", pipeline.id.as_str()), ("metric", "accuracy"), ("kind", "realised"), ("bound", bound)];
            quality.series(&labels, value);
        }
        labelled.push((pipeline.id.as_str(), champion.rows));
    }
    for pipeline in &status.pipelines {
        let Some(estimate) = &pipeline.estimate else { continue };
        for (bound, value) in [("point", estimate.accuracy), ("lower", estimate.band.0), ("upper", estimate.band.1)] {
            let labels = [("model", pipeline.id.as_str()), ("metric", "accuracy"), ("kind", "estimated"), ("bound", bound)];
            quality.series(&labels, value);
        }
    }
    let mut rows = family(out, "tidegate_quality_rows", Kind::Gauge, "Answered and labelled rows behind `tidegate_quality`.");
    for (model, count) in labelled {
        rows.series(&[("model", model)], count);
    }
}

fn drift(out: &mut String, status: &Status) {
    let shown = || {
        let drifts = status.pipelines.iter().filter_map(|pipeline| pipeline.drift.as_ref().map(|drift| (pipeline.id.as_str(), drift)));
        drifts.flat_map(|(model, drift)| drift.features.iter().take(DRIFT_FEATURES_MAX).map(move |feature| (model, feature)))
    };
    let mut effect =
        family(out, "tidegate_drift_effect", Kind::Gauge, "How far a feature has moved, in its spreads; those that moved most.");
    for (model, (feature, value, ..)) in shown() {
        effect.series(&[("model", model), ("feature", feature)], value);
    }
    let mut usual = family(out, "tidegate_drift_effect_threshold", Kind::Gauge, "What 99 of 100 windows without drift stay below.");
    for (model, (feature, _, value, _)) in shown() {
        usual.series(&[("model", model), ("feature", feature)], if value.is_finite() { *value } else { f64::MAX });
    }
    let mut drifts = family(out, "tidegate_drift", Kind::Gauge, "1 for a feature that drifts, 0 for any other.");
    for (model, (feature, .., is)) in shown() {
        drifts.series(&[("model", model), ("feature", feature)], u8::from(*is));
    }
}

fn data(out: &mut String, status: &Status) {
    type Count = fn(&PipelineStatus) -> u64;
    let families: [(&'static str, &str, Count); 3] = [
        ("tidegate_rows_total", "Rows committed.", |pipeline| pipeline.rows),
        ("tidegate_labels_total", "Labels that came by row id.", |pipeline| pipeline.labels),
        ("tidegate_predictions_logged_total", "Rows answered and logged.", |pipeline| pipeline.predictions),
    ];
    for (name, help, count) in families {
        let mut counter = family(out, name, Kind::Counter, help);
        for pipeline in &status.pipelines {
            counter.series(&[("pipeline", pipeline.id.as_str())], count(pipeline));
        }
    }
    let help = "Rows kept out of the dataset, by who kept them out and why.";
    let mut quarantined = family(out, "tidegate_rows_quarantined_total", Kind::Counter, help);
    for pipeline in &status.pipelines {
        for ((by, reason), rows) in reasons(pipeline) {
            quarantined.series(&[("pipeline", pipeline.id.as_str()), ("by", by), ("reason", reason)], rows);
        }
    }
    let mut waiting = family(out, "tidegate_dead_letters", Kind::Gauge, "Batches that were set aside and wait.");
    for pipeline in &status.pipelines {
        waiting.series(&[("pipeline", pipeline.id.as_str())], pipeline.dead_letters.len());
    }
    let mut rows = family(out, "tidegate_dead_letter_rows", Kind::Gauge, "Rows of the batches that were set aside and wait.");
    for pipeline in &status.pipelines {
        rows.series(&[("pipeline", pipeline.id.as_str())], pipeline.dead_letters.iter().map(|letter| letter.rows).sum::<u64>());
    }
    let help = "When rows were last committed, in seconds since 1970.";
    let mut last = family(out, "tidegate_last_rows_timestamp_seconds", Kind::Gauge, help);
    for (pipeline, at) in status.pipelines.iter().filter_map(|pipeline| pipeline.last_rows_at.map(|at| (pipeline, at))) {
        last.series(&[("pipeline", pipeline.id.as_str())], seconds(at.0));
    }
}

/// Rows kept out by who and why. Plugins write the reasons, so their number is bounded here.
fn reasons(pipeline: &PipelineStatus) -> BTreeMap<(&str, &str), u64> {
    let mut reasons = BTreeMap::new();
    for (index, (by, reason, rows)) in pipeline.quarantined.iter().enumerate() {
        let key = if index < REASONS_MAX { (by.as_str(), reason.as_str()) } else { ("other", "other") };
        *reasons.entry(key).or_default() += rows;
    }
    reasons
}

fn work(out: &mut String, status: &Status) {
    let mut stalled = family(out, "tidegate_pipeline_stalled", Kind::Gauge, "1 while the pipeline does not get on, else 0.");
    for pipeline in &status.pipelines {
        stalled.series(&[("pipeline", pipeline.id.as_str())], u8::from(pipeline.stalled.is_some()));
    }
    let mut running = family(out, "tidegate_run_active", Kind::Gauge, "1 while a run is under way, else 0.");
    for pipeline in &status.pipelines {
        running.series(&[("pipeline", pipeline.id.as_str())], u8::from(pipeline.run.is_some()));
    }
    let help = "Rows that the gate still waits for before it looks, while it does.";
    let mut waiting = family(out, "tidegate_gate_rows_awaited", Kind::Gauge, help);
    for pipeline in &status.pipelines {
        if let Some(rows) = pipeline.run.as_ref().and_then(|run| run.waiting_rows) {
            waiting.series(&[("pipeline", pipeline.id.as_str())], rows);
        }
    }
}

fn plugins(out: &mut String, status: &Status) {
    let mut info = family(out, "tidegate_plugin_info", Kind::Gauge, "A loaded plugin, and the digest of its component; always 1.");
    for plugin in &status.plugins {
        let labels = [("plugin", plugin.name.as_str()), ("kind", &plugin.kind), ("version", &plugin.version), ("sha256", &plugin.digest)];
        info.series(&labels, 1);
    }
    let mut strikes = family(out, "tidegate_plugin_strikes", Kind::Gauge, "Strikes of a plugin that count now, where it has any.");
    for (plugin, struck) in struck(status) {
        strikes.series(&[("pipeline", struck.pipeline.as_str()), ("plugin", plugin)], struck.strikes);
    }
    let help = "1 while a plugin is quarantined for its failures, where it has strikes; else 0.";
    let mut quarantined = family(out, "tidegate_plugin_quarantined", Kind::Gauge, help);
    for (plugin, struck) in struck(status) {
        quarantined.series(&[("pipeline", struck.pipeline.as_str()), ("plugin", plugin)], u8::from(struck.quarantined.is_some()));
    }
    let help = "Attempts to replace a plugin since the start, by whether the new one serves.";
    let mut reloads = family(out, "tidegate_plugin_reloads_total", Kind::Counter, help);
    for plugin in &status.plugins {
        let refused = plugin.reloads.iter().filter(|reload| reload.refused.is_some()).count();
        reloads.series(&[("plugin", plugin.name.as_str()), ("outcome", "ok")], plugin.reloads.len() - refused);
        reloads.series(&[("plugin", plugin.name.as_str()), ("outcome", "refused")], refused);
    }
}

fn struck(status: &Status) -> impl Iterator<Item = (&str, &StruckStatus)> {
    status.plugins.iter().flat_map(|plugin| plugin.struck.iter().map(|struck| (plugin.name.as_str(), struck)))
}

fn family<'a>(out: &'a mut String, name: &'static str, kind: Kind, help: &str) -> Family<'a> {
    let word = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {word}");
    Family { out, name }
}

impl Family<'_> {
    fn series(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            for letter in value.chars() {
                match letter {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
