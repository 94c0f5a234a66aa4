//! `tidegate gate run`: what the gate would say of a version today. Nothing is decided.

use serde_json::json;
use tidegate_pipeline::Silent;
use tidegate_policy::GateRows;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{Alias, DecisionKind, VersionNo};

use crate::args::Global;
use crate::commands::{chosen, config};
use crate::compose;
use crate::config::PipelineConfig;
use crate::failure::{Exit, Failure};
use crate::report::{decision_word, verdict_table};
use crate::terminal::Terminal;

/// Asks the gate about `version`, or about the newest that does not serve; exits as a run that decided so.
///
/// # Errors
/// A [`Failure`] when settings, state or a plugin cannot be used, or there is nothing to judge.
pub fn run(global: &Global, version: Option<VersionNo>, against: Option<VersionNo>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let version = match version {
            Some(version) => version,
            None => newest(state, chosen).await?,
        };
        if against == Some(version) {
            return Err(Failure::usage(format!("{version} cannot be compared with itself"), "name another version with `--against`"));
        }
        let serves = state.meta.alias(&chosen.id, Alias::Champion).await? == Some(version);
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
        let tried = pipeline.try_gate(version, against).await?;
        let (verdict, champion) = (&tried.verdict, tried.champion);
        let other = champion.map_or_else(|| "no champion, since there is none".to_owned(), |champion| champion.to_string());
        let text = || {
            format!(
                "{version} against {other}, on the rows with a label from row {} on: {}\n  {}\n{}\nNothing is decided, and no look is spent{}\n",
                tried.first_row,
                decision_word(verdict.kind),
                verdict.reason,
                verdict_table(&verdict.rules),
                if serves { ".".to_owned() } else { format!("; `tidegate promote {version}` makes it champion.") }
            )
        };
        let value = || {
            json!({ "version": version, "champion": champion, "first_row": tried.first_row, "decision": decision_word(verdict.kind),
                    "reason": verdict.reason, "rules": verdict.rules })
        };
        terminal.result(text, value);
        Ok(match verdict.kind {
            DecisionKind::Promote | DecisionKind::RollBack => Exit::Ok,
            DecisionKind::Reject => Exit::Rejected,
            DecisionKind::Hold => Exit::Held,
        })
    })
}

/// The newest version that does not serve.
async fn newest(state: &StateFolder, chosen: &PipelineConfig) -> Result<VersionNo, Failure> {
    let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
    let versions = state.meta.versions(&chosen.id).await?;
    let newest = versions.iter().rev().map(|version| version.number).find(|number| Some(*number) != champion);
    newest.ok_or_else(|| Failure::usage("there is no version beside the champion", "name one; `tidegate models` lists them"))
}
