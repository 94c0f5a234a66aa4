//! `tidegate models`, `promote`, `rollback`, `explain`: versions and the decisions about them.

use serde_json::json;
use tidegate_pipeline::{Silent, promote as promote_version, roll_back};
use tidegate_policy::GateRows;
use tidegate_store::{MetaStore as _, StateFolder};
use tidegate_vocab::{Alias, DecidedBy, Decision, ModelVersion, VersionNo};

use super::{chosen, config, operator};
use crate::args::Global;
use crate::compose;
use crate::config::PipelineConfig;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::report::{decision_word, verdict_table};
use crate::terminal::{Terminal, table};

/// Lists the versions of a pipeline.
///
/// # Errors
/// A [`Failure`] when the state cannot be read.
pub fn models(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let versions = state.meta.versions(&chosen.id).await?;
        let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
        let anchor = state.meta.alias(&chosen.id, Alias::Anchor).await?;
        let aliases = |number: VersionNo| {
            let names = [(champion, Alias::Champion), (anchor, Alias::Anchor)];
            names.into_iter().filter(|(at, _)| *at == Some(number)).map(|(_, alias)| alias.word()).collect::<Vec<_>>()
        };
        let text = || {
            if versions.is_empty() {
                return "no version has been trained yet; `tidegate run` trains one\n".to_owned();
            }
            let rows = versions.iter().map(|version| {
                let trained = format!("rows below {}", grouped(version.trained_until_row));
                let created = version.created_at.to_string();
                vec![
                    version.number.to_string(),
                    word(version),
                    aliases(version.number).join(", "),
                    trained,
                    created,
                    version.weights.short(),
                ]
            });
            table(&["version", "state", "alias", "trained on", "at", "weights"], rows.collect(), 9)
        };
        let value = || {
            let list = versions.iter().map(|version| json!({ "version": version, "aliases": aliases(version.number) }));
            list.collect()
        };
        terminal.result(text, value);
        Ok(Exit::Ok)
    })
}

fn word(version: &ModelVersion) -> String {
    json!(version.state).as_str().unwrap_or_default().to_owned()
}

/// Makes a version champion by hand.
///
/// # Errors
/// A [`Failure`] that says why it cannot become champion.
pub fn promote(global: &Global, version: VersionNo, reason: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state(&config, async |state| {
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
        let decision = promote_version(&mut pipeline, version, &operator(), reason.unwrap_or("promoted by hand")).await?;
        show_move(&decision, terminal);
        Ok(Exit::Ok)
    })
}

/// Makes the version that served before, or `to`, champion again.
///
/// # Errors
/// A [`Failure`] when there is nothing to roll back to.
pub fn rollback(global: &Global, to: Option<VersionNo>, reason: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state(&config, async |state| {
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
        let decision = roll_back(&mut pipeline, to, &operator(), reason.unwrap_or("rolled back by hand")).await?;
        show_move(&decision, terminal);
        Ok(Exit::Ok)
    })
}

fn show_move(decision: &Decision, terminal: &Terminal) {
    let before = decision.parent.map_or_else(|| "nothing".to_owned(), |parent| parent.to_string());
    let text = || format!("{} is champion in place of {before}: {}\n", decision.version, decision.reason);
    terminal.result(text, || json!(decision));
}

/// Tells the story of a version.
///
/// # Errors
/// A [`Failure`] when there is no such version.
pub fn explain(global: &Global, version: Option<VersionNo>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let champion = state.meta.alias(&chosen.id, Alias::Champion).await?;
        let number = version.or(champion);
        let number = number.ok_or_else(|| Failure::usage("there is no champion yet", "name a version; `tidegate models` lists them"))?;
        let found = state.meta.version(&chosen.id, number).await?;
        let unknown = || Failure::usage(format!("there is no {number}"), "`tidegate models` lists the versions");
        let story = Story::of(state, chosen, found.ok_or_else(unknown)?, champion).await?;
        terminal.result(|| story.text(), || story.value());
        Ok(Exit::Ok)
    })
}

/// Everything the store says about a version.
struct Story {
    version: ModelVersion,
    champion: Option<VersionNo>,
    run: Option<tidegate_vocab::Run>,
    snapshot: Option<tidegate_vocab::Snapshot>,
    decisions: Vec<(u64, Decision)>,
}

impl Story {
    async fn of(
        state: &StateFolder,
        chosen: &PipelineConfig,
        version: ModelVersion,
        champion: Option<VersionNo>,
    ) -> Result<Story, Failure> {
        let run = state.meta.run(&chosen.id, version.run).await?;
        let snapshot = state.meta.snapshot(&version.snapshot).await?;
        let decisions = state.meta.decisions(&chosen.id, Some(version.number)).await?;
        Ok(Story { version, champion, run, snapshot, decisions })
    }

    fn text(&self) -> String {
        let version = &self.version;
        let serves = if self.champion == Some(version.number) { ", and is champion" } else { "" };
        let mut out = format!("{} is {}{serves}\n\n", version.number, word(version));
        let mut fact = |key: &str, text: String| out.push_str(&format!("  {key:10}  {text}\n"));
        if let Some(run) = &self.run {
            fact("run", format!("{}, started {} because {}", run.id, run.started_at, run.trigger));
        }
        if let Some(snapshot) = &self.snapshot {
            let splits: Vec<String> =
                snapshot.splits.iter().map(|split| format!("{} {}", grouped(split.end - split.start), split.name)).collect();
            fact("data", format!("{} rows ({}) known by {}", grouped(snapshot.row_count), splits.join(", "), snapshot.knowledge_cutoff));
            let cleaners: Vec<String> = snapshot.cleaners.iter().map(tidegate_vocab::Digest::short).collect();
            fact("cleaners", if cleaners.is_empty() { "none".to_owned() } else { cleaners.join(", ") });
        }
        fact("snapshot", version.snapshot.short());
        fact("weights", version.weights.short());
        fact("parent", version.parent.map_or_else(|| "none: no version served yet".to_owned(), |parent| parent.to_string()));
        for (number, decision) in &self.decisions {
            let by = match &decision.by {
                DecidedBy::Gate => format!("the gate, look {}", decision.look),
                DecidedBy::Operator(name) => format!("operator {name}"),
                DecidedBy::Guard => "a guard".to_owned(),
            };
            out.push_str(&format!(
                "\ndecision {number}, {}: {} by {by}\n  {}\n",
                decision.at,
                decision_word(decision.kind),
                decision.reason
            ));
            if let Some(evidence) = &decision.evidence {
                out.push_str(&format!("  gate {}, terms {}\n", evidence.gate.short(), evidence.terms.short()));
            }
            if !decision.rules.is_empty() {
                out.push_str(&verdict_table(&decision.rules));
            }
        }
        out
    }

    fn value(&self) -> serde_json::Value {
        let decisions: Vec<_> = self.decisions.iter().map(|(number, decision)| json!({ "number": number, "decision": decision })).collect();
        json!({
            "version": self.version,
            "is_champion": self.champion == Some(self.version.number),
            "run": self.run,
            "snapshot": self.snapshot,
            "decisions": decisions,
        })
    }
}
