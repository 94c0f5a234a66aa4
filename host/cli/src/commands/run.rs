//! `tidegate run`: one pass from new rows to a decision.

use serde_json::json;
use tidegate_model::Progress as Training;
use tidegate_pipeline::{Observer, RunEnd, ingest_all, run_once};
use tidegate_policy::GateRows;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{DecidedBy, Decision, DecisionKind, Run};

use super::{chosen, config};
use crate::args::Global;
use crate::compose;
use crate::config::PipelineConfig;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::report::verdict_table;
use crate::terminal::Terminal;
use crate::up::control::{self, Answer, Command as Order};

/// Ingests, retrains if a trigger is due (or `force` says so), judges and decides.
///
/// # Errors
/// A [`Failure`]; the run goes on from its last commit next time, unless the data or the settings have to change first.
pub fn run(global: &Global, force: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    config.check_files()?;
    let chosen = chosen(&config, global)?;
    let order = Order::Run { force, operator: super::operator() };
    match compose::block_on(control::ask(&config, &chosen.id, order))? {
        Some(Answer::Running { rows, run, trigger }) => {
            let text = || match (&run, &trigger) {
                (Some(run), Some(trigger)) => {
                    format!("{} new rows; the running host is at {run}, because {trigger}\n", grouped(rows))
                }
                _ => format!("{} new rows; no trigger is due, nothing to do\n", grouped(rows)),
            };
            terminal.result(text, || json!({ "rows": rows, "run": run, "trigger": trigger, "decision": null }));
            return Ok(Exit::Ok);
        }
        Some(_) => return Err(control::misunderstood()),
        // A running host serves every section.
        None => config.unserved("run").iter().for_each(|note| terminal.note(note)),
    }
    compose::with_state(&config, async |state| {
        let observer = Box::new(Watch { progress: Progress::start(terminal, "run") });
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::HeldOut, observer).await?;
        compose::make_room(&config, state).await?;
        let newest = state.meta.decisions(&chosen.id, None).await?.last().map_or(0, |(number, _)| *number);
        let ingested = ingest_all(&mut pipeline).await?;
        let end = run_once(&mut pipeline, force.then_some("`run --force`")).await?;
        let guarded = guarded(state, chosen, newest).await?;
        terminal.result(
            || guarded.iter().map(|decision| format!("{}\n", decision.reason)).collect::<String>() + &text(&end, ingested.rows),
            || {
                let mut value = value(&end, ingested.rows);
                value["guard"] = json!(guarded);
                value
            },
        );
        Ok(exit(&end))
    })
}

/// What the guard has decided since decision `newest`.
async fn guarded(state: &StateFolder, chosen: &PipelineConfig, newest: u64) -> Result<Vec<Decision>, Failure> {
    let since = state.meta.decisions(&chosen.id, None).await?.into_iter().filter(|(number, _)| *number > newest);
    Ok(since.map(|(_, decision)| decision).filter(|decision| decision.by == DecidedBy::Guard).collect())
}

fn exit(end: &RunEnd) -> Exit {
    match end.decision() {
        None | Some(DecisionKind::Promote | DecisionKind::RollBack) => Exit::Ok,
        Some(DecisionKind::Reject) => Exit::Rejected,
        Some(DecisionKind::Hold) => Exit::Held,
    }
}

fn text(end: &RunEnd, rows: u64) -> String {
    let rows = grouped(rows);
    match end {
        RunEnd::NothingDue => format!("{rows} new rows; no trigger is due, nothing to do\n"),
        RunEnd::Waiting { run, rows: 0 } => format!(
            "{rows} new rows; {} is held: its held-out rows are inconclusive, and judging them again would say the same\n\
             hint: more rows decide: `rows = \"arriving\"`, a larger `held_out_rows`, or `tidegate promote VERSION`\n",
            run.id
        ),
        RunEnd::Waiting { run, rows: missing } => {
            format!("{rows} new rows; {} waits for {} more labelled rows before its gate looks again\n", run.id, grouped(*missing))
        }
        RunEnd::Decided { run, decision } => {
            format!("{rows} new rows; {}, because {}\n{}\n{}", run.id, run.trigger, decision.reason, verdict_table(&decision.rules))
        }
    }
}

fn value(end: &RunEnd, rows: u64) -> serde_json::Value {
    match end {
        RunEnd::NothingDue => json!({ "rows": rows, "run": null, "decision": null }),
        RunEnd::Waiting { run, rows: missing } => {
            json!({ "rows": rows, "run": run, "decision": null, "waiting_for_rows": missing })
        }
        RunEnd::Decided { run, decision } => json!({ "rows": rows, "run": run, "decision": decision }),
    }
}

/// Shows a run as it goes on.
struct Watch {
    progress: Progress,
}

impl Observer for Watch {
    fn committed(&mut self, _rows: u64, total: u64) {
        self.progress.at(total, &format!("{} rows", grouped(total)));
    }

    fn run(&mut self, run: &Run, _at_row: u64) {
        tracing::info!(run = %run.id, state = ?run.state, "run moved");
    }

    fn training(&mut self, _run: &Run, training: &Training<'_>) {
        let (epoch, most) = (training.epoch, training.epochs_max);
        self.progress.at(training.step, &format!("training: epoch {epoch} of at most {most}, loss {:.4}", training.loss));
    }

    fn decided(&mut self, decision: &Decision, _at_row: u64) {
        tracing::info!(version = %decision.version, decision = ?decision.kind, "decided");
    }
}
