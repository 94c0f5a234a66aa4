//! `tidegate gate`: the gate before and after it decides, one file a question.

mod aa;
mod explain;
mod import;
mod power;
mod replay;
mod run;

use serde_json::json;
use tidegate_pipeline::{StoredTerms, Stores};
use tidegate_policy::Gate;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{Decision, VersionNo};

use super::{chosen, config};
use crate::args::{GateCommand, Global};
use crate::compose::{self, clock::SystemClock};
use crate::config::{PipelineConfig, lint};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// Does what was asked about the gate.
///
/// # Errors
/// A [`Failure`] when settings or state cannot be read.
pub fn gate(global: &Global, command: &GateCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        GateCommand::Lint => {
            let config = config(global)?;
            Ok(show_lint(&chosen(&config, global)?.gate, terminal))
        }
        GateCommand::Power { disagreement, difference } => power::power(global, *disagreement, *difference, terminal),
        GateCommand::Explain { version } => explain::explain(global, *version, terminal),
        GateCommand::Run { version, against } => run::run(global, *version, *against, terminal),
        GateCommand::Aa { version, seeds } => aa::aa(global, *version, *seeds, terminal),
        GateCommand::Replay => replay::replay(global, terminal),
        // What another tool says has nothing to do with the settings here, which may not be written yet.
        GateCommand::Import { from, file } => import::import(*from, file, terminal),
    }
}

fn show_lint(gate: &Gate, terminal: &Terminal) -> Exit {
    let advice = lint(gate);
    let text = || match advice.as_slice() {
        [] => "nothing is unwise about these rules\n".to_owned(),
        advice => advice.iter().map(|line| format!("{line}\n")).collect(),
    };
    terminal.result(text, || json!(advice));
    if advice.is_empty() { Exit::Ok } else { Exit::Rejected }
}

/// A decision of the gate with what it was made on, where that can be read.
struct Judged {
    number: u64,
    decision: Decision,
    terms: Option<StoredTerms>,
}

/// All decisions that a gate made, oldest first.
async fn judged(state: &StateFolder, chosen: &PipelineConfig) -> Result<Vec<Judged>, Failure> {
    let stores: Stores = compose::stores(state, std::sync::Arc::new(SystemClock));
    let mut judged = Vec::new();
    for (number, decision) in state.meta.decisions(&chosen.id, None).await? {
        let Some(evidence) = &decision.evidence else { continue };
        // Terms may have gone with their version, or be of a build that stored less.
        let terms = match stores.blobs.get(&evidence.terms).await {
            Ok(bytes) => StoredTerms::decode(&bytes).ok(),
            Err(_) => None,
        };
        judged.push(Judged { number, decision, terms });
    }
    Ok(judged)
}

/// The newest decision that a gate made, about `version` if one is named.
///
/// # Errors
/// A [`Failure`] when there is none.
async fn newest(state: &StateFolder, chosen: &PipelineConfig, version: Option<VersionNo>) -> Result<(u64, Decision), Failure> {
    let decisions = state.meta.decisions(&chosen.id, version).await?;
    let none = || match version {
        Some(version) => Failure::usage(format!("no gate has decided about {version}"), "`tidegate models` lists the versions"),
        None => Failure::usage("no gate has decided yet", "`tidegate run` trains a version and has it judged"),
    };
    decisions.into_iter().rev().find(|(_, decision)| decision.evidence.is_some()).ok_or_else(none)
}
