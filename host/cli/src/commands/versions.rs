//! `tidegate models`, `promote`, `rollback`, `explain`: versions and the decisions about them.

use serde_json::json;
use std::io::{Read as _, Write as _};
use std::path::Path;

use tidegate_pipeline::{Pipeline, PipelineError, Silent, import as import_version, promote as promote_version, roll_back};
use tidegate_policy::GateRows;
use tidegate_store::{Blobs as _, MetaStore as _, StateFolder};
use tidegate_vocab::{Alias, DecidedBy, Decision, DecisionKind, ModelVersion, VersionNo};

use super::{chosen, config, operator};
use crate::args::Global;
use crate::compose;
use crate::config::section::grouped;
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::report::{decision_word, verdict_table};
use crate::terminal::{Terminal, table};
use crate::up::control::{self, Answer, Command as Order};

/// The files of a model.
const WEIGHTS: &str = "model.safetensors";
const MANIFEST: &str = "model.json";
/// Bytes of one of them.
const MODEL_BYTES_MAX: u64 = 4 << 30;

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
    let reason = reason.unwrap_or("promoted by hand").to_owned();
    let asked = Order::Promote { version, reason: reason.clone(), operator: operator() };
    moved(&config, chosen, asked, terminal, async |pipeline| promote_version(pipeline, version, &operator(), &reason).await)
}

/// Makes the version that served before, or `to`, champion again.
///
/// # Errors
/// A [`Failure`] when there is nothing to roll back to.
pub fn rollback(global: &Global, to: Option<VersionNo>, reason: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    let reason = reason.unwrap_or("rolled back by hand").to_owned();
    let asked = Order::Rollback { version: to, reason: reason.clone(), operator: operator() };
    moved(&config, chosen, asked, terminal, async |pipeline| roll_back(pipeline, to, &operator(), &reason).await)
}

/// Makes a model that was trained elsewhere champion.
///
/// # Errors
/// A [`Failure`] when the files are not there, or do not fit the contract.
pub fn import(global: &Global, folder: &Path, reason: Option<&str>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    let reason = reason.unwrap_or("imported by hand").to_owned();
    // Read here first, so that a missing file is this command's error; and the host reads it by its whole path.
    let (weights, manifest) = model_files(folder)?;
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let asked = Order::Import { folder, reason: reason.clone(), operator: operator() };
    moved(&config, chosen, asked, terminal, async |pipeline| {
        import_version(pipeline, weights.clone().into(), manifest.clone().into(), &operator(), &reason).await
    })
}

/// The two files of a model.
///
/// # Errors
/// A [`Failure`] that names the one that cannot be read.
pub fn model_files(folder: &Path) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let read = |name: &str| -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let path = folder.join(name);
        let failed = |error| Failure::from(anyhow::Error::new(error).context(format!("could not read `{}`", path.display())));
        super::open(&path)?.take(MODEL_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    };
    Ok((read(WEIGHTS)?, read(MANIFEST)?))
}

/// Writes a version's two files.
///
/// # Errors
/// A [`Failure`] when there is no such version, or the folder cannot be written.
pub fn export(global: &Global, number: VersionNo, folder: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let version = state.meta.version(&chosen.id, number).await?;
        let unknown = || Failure::usage(format!("there is no {number}"), "`tidegate models` lists the versions");
        let version = version.ok_or_else(unknown)?;
        make_folder(folder)?;
        for (name, digest) in [(WEIGHTS, version.weights), (MANIFEST, version.manifest)] {
            let (bytes, path) = (state.blobs.get(&digest).await?, folder.join(name));
            let failed = |error| Failure::from(anyhow::Error::new(error).context(format!("could not write `{}`", path.display())));
            super::create(&path)?.write_all(&bytes).map_err(failed)?;
        }
        let text = || format!("{number} is in `{}`\n", folder.display());
        terminal.result(text, || json!({ "version": number, "folder": folder, "weights": version.weights, "manifest": version.manifest }));
        Ok(Exit::Ok)
    })
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let text = format!("could not make the folder `{}`", folder.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })
}

/// Moves the champion: through the running host if there is one, else here.
fn moved(
    config: &Config,
    chosen: &PipelineConfig,
    order: Order,
    terminal: &Terminal,
    here: impl AsyncFnOnce(&mut Pipeline) -> Result<Decision, PipelineError>,
) -> Result<Exit, Failure> {
    let decision = match compose::block_on(control::ask(config, &chosen.id, order))? {
        Some(Answer::Decided { decision }) => *decision,
        Some(_) => return Err(control::misunderstood()),
        None => compose::with_state(config, async |state| {
            let mut pipeline = compose::pipeline(config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
            Ok(here(&mut pipeline).await?)
        })?,
    };
    show_move(&decision, terminal);
    Ok(Exit::Ok)
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
        let mut decisions = state.meta.decisions(&chosen.id, None).await?;
        decisions.retain(|(_, decision)| {
            let taken_back = decision.kind == DecisionKind::RollBack && decision.parent == Some(version.number);
            decision.version == version.number || taken_back
        });
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
            let look = if decision.by == DecidedBy::Gate { format!(", look {}", decision.look) } else { String::new() };
            // A roll back is about the version that it leads to; it is part of the story of the one that it takes back.
            let to = if decision.version == version.number { String::new() } else { format!(" to {}", decision.version) };
            out.push_str(&format!(
                "\ndecision {number}, {}: {}{to} by {}{look}\n  {}\n",
                decision.at,
                decision_word(decision.kind),
                decision.author(),
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
