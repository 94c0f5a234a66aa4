//! From what a pipeline does to what is shown, logged and counted.

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

/// Says what the counters mean, once.
pub fn describe() {
    use metrics::describe_counter;
    describe_counter!("tidegate_rows_scored_total", "Rows whose label was compared with an answer since the host started.");
    describe_counter!("tidegate_runs_total", "Runs started since the host started.");
    describe_counter!("tidegate_decisions_total", "Decisions since the host started, by kind.");
    describe_counter!("tidegate_plugin_calls_total", "Calls of a plugin since the host started, by how they ended.");
    describe_counter!("tidegate_pipeline_errors_total", "Steps of a pipeline that failed since the host started, and were tried again.");
}
