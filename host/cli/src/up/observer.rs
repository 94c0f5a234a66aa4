//! From what a pipeline does to what is shown, logged and counted.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tidegate_model::Progress;
use tidegate_pipeline::{Observer, ScoredRow};
use tidegate_serve::Node;
use tidegate_vocab::{Decision, PipelineId, Run, RunState};

use super::board::Board;

/// Writes what a pipeline does to its board, the log and the counters.
pub struct Watch {
    /// Which pipeline.
    pub pipeline: PipelineId,
    /// Its board.
    pub board: Board,
}

impl Observer for Watch {
    fn committed(&mut self, _rows: u64, total: u64) {
        self.board.write(|live| live.rows = total);
    }

    fn scored(&mut self, rows: &[ScoredRow]) {
        let known = rows.iter().filter(|row| row.truth.is_some() && row.predicted.is_some()).count();
        metrics::counter!("tidegate_rows_scored_total", "pipeline" => self.pipeline.to_string()).increment(known as u64);
    }

    fn run(&mut self, run: &Run, _at_row: u64) {
        let pipeline = &self.pipeline;
        match run.state {
            RunState::Queued => {
                metrics::counter!("tidegate_runs_total", "pipeline" => pipeline.to_string()).increment(1);
                tracing::info!(%pipeline, run = %run.id, trigger = %run.trigger, "run started");
            }
            RunState::Failed => tracing::error!(%pipeline, run = %run.id, cause = run.note.as_deref().unwrap_or_default(), "run failed"),
            state => tracing::debug!(%pipeline, run = %run.id, ?state, "run moved"),
        }
        let (at, doing) = match run.state {
            RunState::Queued | RunState::Snapshotted | RunState::Training => (Node::Train, format!("{} trains", run.id)),
            RunState::Evaluating | RunState::Gating => (Node::Gate, format!("{} is judged", run.id)),
            _ => (Node::Monitor, format!("{} ended", run.id)),
        };
        self.board.write(|live| (live.at, live.doing) = (at, doing));
    }

    fn training(&mut self, run: &Run, progress: &Progress<'_>) {
        show_training(&self.board, run, progress);
    }

    fn decided(&mut self, decision: &Decision, _at_row: u64) {
        let pipeline = &self.pipeline;
        let kind = crate::report::decision_word(decision.kind);
        metrics::counter!("tidegate_decisions_total", "pipeline" => pipeline.to_string(), "kind" => kind).increment(1);
        tracing::info!(%pipeline, version = %decision.version, decision = kind, reason = %decision.reason, "decided");
    }
}

/// Shows how far a training is.
pub fn show_training(board: &Board, run: &Run, progress: &Progress<'_>) {
    let of_member = f64::from(progress.epoch) / f64::from(progress.epochs_max.max(1));
    let share = (progress.member as f64 + of_member) / progress.members.max(1) as f64;
    let moved = board.read().progress.is_none_or(|before| (share - before).abs() >= 0.01);
    if moved {
        let doing = format!("{} trains: epoch {} of at most {}, loss {:.4}", run.id, progress.epoch, progress.epochs_max, progress.loss);
        board.write(|live| {
            live.at = Node::Train;
            live.progress = Some(share.clamp(0.0, 1.0));
            live.doing = doing;
        });
    }
}

/// Seconds between two times that histograms are put away.
const PUT_AWAY_S: u64 = 5;

/// Upper bounds of the buckets of calls, in seconds: from an empty batch to the longest call that a limit allows by default.
pub const CALL_BUCKETS_S: [f64; 14] = [50e-6, 200e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Puts away what histograms have gathered, so that a host that nobody scrapes does not grow; for as long as it is polled.
pub async fn put_away(counters: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(PUT_AWAY_S)).await;
        counters.run_upkeep();
    }
}

/// Says what the counters mean, once.
pub fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("tidegate_rows_scored_total", "Rows whose label was compared with an answer since the host started.");
    describe_counter!("tidegate_runs_total", "Runs started since the host started.");
    describe_counter!("tidegate_decisions_total", "Decisions since the host started, by kind.");
    describe_counter!("tidegate_plugin_calls_total", "Calls of a plugin since the host started, by how they ended.");
    describe_histogram!("tidegate_plugin_call_seconds", "Time of a plugin's call as its caller waits for it, by function.");
    describe_histogram!("tidegate_plugin_guest_seconds", "Of that, the time in the plugin itself; the rest is host functions and copying.");
    describe_counter!("tidegate_plugin_host_calls_total", "Functions of the host that a plugin called since the host started.");
    describe_counter!(
        "tidegate_plugin_instances_total",
        "Instances of a plugin that were started: one a use, and one more for each call that ended badly."
    );
    describe_gauge!("tidegate_plugin_memory_bytes", "Linear memory of the plugin's instance that was called last; 0 where it is gone.");
    describe_gauge!("tidegate_plugin_state_entries", "Entries of what a cleaner keeps from batch to batch.");
    describe_gauge!("tidegate_plugin_state_bytes", "Bytes of what a cleaner keeps from batch to batch, as its limit counts them.");
    describe_counter!("tidegate_plugin_reloads_total", "Attempts to replace a plugin since the host started, by how they ended.");
    describe_counter!(
        "tidegate_settings_reloads_total",
        "Attempts to take up the settings file since the host started, by how they ended."
    );
    describe_gauge!("tidegate_plugin_reload_seconds", "Time of each step of the last attempt to replace a plugin.");
    describe_counter!("tidegate_plugin_strikes_total", "Strikes charged to a plugin since the host started.");
    describe_counter!("tidegate_plugin_rows_in_total", "Rows given to a cleaner since the host started, those of repeated calls too.");
    describe_counter!("tidegate_plugin_rows_out_total", "Rows that a cleaner kept since the host started.");
    describe_counter!("tidegate_plugin_rows_dropped_total", "Rows that a cleaner dropped since the host started.");
    describe_counter!("tidegate_plugin_cells_changed_total", "Cells of features that a cleaner changed since the host started.");
    describe_gauge!(
        "tidegate_plugin_mean_shift",
        "How far a cleaner moved the mean of a feature of its last batch, in standard deviations."
    );
    describe_gauge!("tidegate_plugin_spread_factor", "By what factor a cleaner changed the spread of a feature of its last batch.");
    describe_counter!("tidegate_dead_letters_total", "Batches that were set aside since the host started.");
    describe_counter!("tidegate_alerts_unsent_total", "Alerts that an alerter could not send since the host started; the log has them.");
    describe_counter!("tidegate_pipeline_errors_total", "Steps of a pipeline that failed since the host started, and were tried again.");
}
