//! Replaying a history: settings × seeds, each through the pipeline's own backtest on a store in memory.

use std::sync::Arc;
use std::time::Instant;

use tidegate_pipeline::{Backtest as Found, BacktestSettings, MarkKind, Observer, backtest};
use tidegate_policy::{GateRows, Scores, TriggerKind};
use tidegate_sandbox::Sandbox;
use tidegate_store::StateFolder;
use tidegate_vocab::{Clock, Decision, Run, Seed, SimulatedClock, Timestamp};

use super::tune;
use crate::args::{Backtest, Global};
use crate::compose;
use crate::config::section::grouped;
use crate::config::{Config, File, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::report::{
    Axis, BacktestReport, Baseline, BaselineRow, DecisionEntry, Line, ScoredRow, SummaryRow, Training, Who, rolling_accuracy,
};
use crate::terminal::Terminal;

/// Points of one line of the chart.
const POINTS_MAX: usize = 400;

/// Replays, prints the table and writes the page.
///
/// # Errors
/// A [`Failure`] when the settings, a plugin or the data stop a replay.
pub fn replay(global: &Global, options: &Backtest, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut configs = Vec::new();
    for path in &global.settings {
        let config = File::read(path)?.check()?;
        config.check_files()?;
        config.unserved("backtest").iter().for_each(|note| terminal.note(note));
        configs.push(config);
    }
    let mut report: Option<BacktestReport> = None;
    for (name, config) in &named(configs, global, options)? {
        let chosen = super::chosen(config, global)?;
        let seeds = if options.seeds.is_empty() { config.backtest.seeds.clone() } else { options.seeds.clone() };
        let cache = compose::block_on(async { Ok(compose::open_state(config).await.ok()) })?;
        for seed in seeds {
            let (found, seconds) = one(config, chosen, cache.as_ref(), (name, seed), options, terminal)?;
            let report = report.get_or_insert_with(|| empty_report(chosen, config, &found, options.window));
            report.is_tuning = options.tune.is_some();
            add(report, name, seed, &found, seconds);
        }
    }
    let report = report.ok_or_else(|| Failure::usage("there is nothing to replay", "give at least one settings file and one seed"))?;
    super::backtest::show(&report, options.report.as_deref(), terminal)?;
    Ok(Exit::Ok)
}

/// The settings that are replayed, with their names.
fn named(configs: Vec<Config>, global: &Global, options: &Backtest) -> Result<Vec<(String, Config)>, Failure> {
    let Some(varied) = &options.tune else {
        let name = |config: &Config| if options.no_gate { format!("{} without gate", config.name()) } else { config.name() };
        return Ok(configs.into_iter().map(|config| (name(&config), config)).collect());
    };
    let [config] = configs.as_slice() else {
        return Err(Failure::usage("`--tune` varies one settings file", "name one with `--settings`"));
    };
    let chosen = super::chosen(config, global)?;
    if varied.is_empty() { tune::grid(config, chosen, &tune::usual(chosen)) } else { tune::grid(config, chosen, varied) }
}

/// One replay, and the seconds it took from loaded settings to the last decision.
fn one(
    config: &Config,
    chosen: &PipelineConfig,
    cache: Option<&StateFolder>,
    (name, seed): (&str, u64),
    options: &Backtest,
    terminal: &Terminal,
) -> Result<(Found, f64), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the seconds of a replay are reported, and decide nothing")]
    let began = Instant::now();
    let found = compose::block_on(async {
        let scratch = StateFolder::scratch().await?;
        let sandbox: Sandbox = compose::sandbox(config, cache.unwrap_or(&scratch))?;
        let start = chosen.contract.time.as_ref().map_or(0, |time| time.origin_us);
        let clock = Arc::new(SimulatedClock::new(Timestamp(start)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let plugins = compose::plugins(config, chosen, &sandbox, &shared)?;
        let mut settings = compose::settings(chosen, GateRows::Arriving, config.plugins.failures);
        settings.seed = Seed(seed);
        settings.ungated = options.no_gate;
        if options.no_gate {
            // Nobody looks at what serves, before or after.
            settings.guard = None;
        }
        let waits = |kind: fn(&TriggerKind) -> bool| settings.triggers.iter().any(|rule| kind(&rule.kind));
        if !waits(|kind| matches!(kind, TriggerKind::Drift | TriggerKind::PredictionDrift)) {
            settings.drift = None;
        }
        if !waits(|kind| matches!(kind, TriggerKind::Estimate { .. })) {
            // Nobody asks a backtest what it expected; it knows what came out.
            settings.estimate_rows = 0;
        }
        let step_rows = u32::try_from(config.backtest.step_rows).unwrap_or(u32::MAX);
        let how = BacktestSettings { step_rows, warmup_share: config.backtest.warmup_share };
        let watch = Box::new(Watch {
            progress: Progress::start(
                terminal,
                &if options.tune.is_some() { format!("{name}, seed {seed}") } else { format!("seed {seed}") },
            ),
            trainings: 0,
            decisions: 0,
        });
        Ok(backtest(settings, plugins, compose::stores(&scratch, shared), clock, how, watch).await?)
    })?;
    if found.model.rows == 0 {
        let text = format!("{} rows were replayed, and none of them is left to score after the warm-up", grouped(found.rows.len() as u64));
        return Err(Failure::usage(text, "`tidegate ingest` shows what became of the rows; `[backtest] warmup_share` sets the warm-up"));
    }
    Ok((found, began.elapsed().as_secs_f64()))
}

fn empty_report(chosen: &PipelineConfig, config: &Config, found: &Found, window_rows: u64) -> BacktestReport {
    let baseline = |baseline, scores: &Scores| BaselineRow {
        baseline,
        accuracy: figure(scores.accuracy),
        f1: figure(scores.f1),
        kappa_no_change: figure(scores.kappa_no_change),
    };
    let scored = &found.rows[found.scored_from..];
    let mut previous = found.scored_from.checked_sub(1).and_then(|before| found.rows[before].truth);
    let repeated: Vec<ScoredRow> = scored
        .iter()
        .map(|row| {
            let is_right = row.truth.is_some() && previous == row.truth;
            previous = row.truth.or(previous);
            ScoredRow { row: row.row.unwrap_or_default(), at: row.event_time, is_right }
        })
        .collect();
    let warm: Vec<u32> = found.rows[..found.scored_from].iter().filter_map(|row| row.truth).collect();
    let commonest = tidegate_policy::majority(&warm).unwrap_or(0);
    let majority: Vec<ScoredRow> = scored
        .iter()
        .map(|row| ScoredRow { row: row.row.unwrap_or_default(), at: row.event_time, is_right: row.truth == Some(commonest) })
        .collect();
    let line = |who, rows: &[ScoredRow]| Line { who: Who::Baseline(who), points: rolling_accuracy(rows, window_rows, POINTS_MAX) };
    BacktestReport {
        title: chosen.id.to_string(),
        axis: if chosen.contract.time.is_some() { Axis::Time } else { Axis::Rows },
        row_count: found.rows.len() as u64,
        warmup_rows: (found.rows.len() as f64 * config.backtest.warmup_share) as u64,
        window_rows,
        summary: Vec::new(),
        baselines: vec![baseline(Baseline::NoChange, &found.no_change), baseline(Baseline::Majority, &found.majority)],
        lines: vec![line(Baseline::NoChange, &repeated), line(Baseline::Majority, &majority)],
        trainings: Vec::new(),
        decisions: Vec::new(),
        is_tuning: false,
    }
}

fn add(report: &mut BacktestReport, name: &str, seed: u64, found: &Found, seconds: f64) {
    let settings = name.to_owned();
    report.summary.push(SummaryRow {
        settings: settings.clone(),
        seed,
        accuracy: figure(found.model.accuracy),
        f1: figure(found.model.f1),
        kappa_no_change: figure(found.model.kappa_no_change),
        trainings: u64::from(found.trainings),
        holds: u64::from(found.holds),
        rejections: u64::from(found.rejections),
        seconds,
    });
    let scored: Vec<ScoredRow> = found.rows[found.scored_from..]
        .iter()
        .map(|row| ScoredRow {
            row: row.row.unwrap_or_default(),
            at: row.event_time,
            is_right: row.truth.is_some() && row.truth == row.predicted,
        })
        .collect();
    let points = rolling_accuracy(&scored, report.window_rows, POINTS_MAX);
    report.lines.push(Line { who: Who::Replay { settings: settings.clone(), seed }, points });
    for mark in &found.marks {
        if let (MarkKind::Training, Some(version)) = (mark.kind, mark.version) {
            let (settings, trigger) = (settings.clone(), mark.reason.clone());
            report.trainings.push(Training { settings, seed, row: mark.row, at: mark.at, version, trigger });
        }
        if let Some(decision) = &mark.decision {
            report.decisions.push(DecisionEntry { settings: settings.clone(), seed, row: mark.row, decision: decision.clone() });
        }
    }
}

/// A figure of the table: a score that the rows do not determine shows as not a number.
fn figure(score: Option<f64>) -> f64 {
    score.unwrap_or(f64::NAN)
}

/// Shows a replay as it goes on.
struct Watch {
    progress: Progress,
    trainings: u32,
    decisions: u32,
}

impl Observer for Watch {
    fn committed(&mut self, _rows: u64, total: u64) {
        let message = format!("{} rows, {} trainings, {} decisions", grouped(total), self.trainings, self.decisions);
        self.progress.at(total, &message);
    }

    fn run(&mut self, run: &Run, at_row: u64) {
        self.trainings += u32::from(run.state == tidegate_vocab::RunState::Evaluating);
        tracing::info!(run = %run.id, state = ?run.state, at_row, "run moved");
    }

    fn decided(&mut self, decision: &Decision, at_row: u64) {
        self.decisions += 1;
        tracing::info!(version = %decision.version, decision = ?decision.kind, at_row, "decided");
    }
}
