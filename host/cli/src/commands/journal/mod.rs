//! `tidegate journal`: what happened, and whether the account of it is whole.

mod story;

use serde_json::json;
use tidegate_store::MetaStore as _;

use super::config;
use crate::args::{Global, JournalCommand};
use crate::compose;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Shows or verifies the journal.
///
/// # Errors
/// A [`Failure`] that names the first entry that does not fit.
pub fn journal(global: &Global, command: &JournalCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    compose::with_state_to_read(&config, async |state| {
        match command {
            JournalCommand::Show { from } => {
                let pipeline = global.pipeline.as_deref().map(str::parse).transpose();
                let pipeline =
                    pipeline.map_err(|error: tidegate_vocab::IdError| Failure::usage(error.to_string(), "see `tidegate check`"))?;
                let entries = state.meta.journal(pipeline.as_ref(), *from).await?;
                let row = |entry: &tidegate_store::JournalEntry| {
                    let said = story::sentence(&entry.kind, &entry.body);
                    vec![entry.seq.to_string(), entry.at.to_string(), entry.pipeline.to_string(), entry.kind.clone(), said]
                };
                let text = || table(&["entry", "at", "pipeline", "what", "in words"], entries.iter().map(row).collect(), 9);
                let value = |entry: &tidegate_store::JournalEntry| {
                    json!({
                        "entry": entry.seq, "at": entry.at.to_string(), "pipeline": entry.pipeline, "kind": entry.kind,
                        "body": entry.body, "previous": entry.previous, "digest": entry.digest,
                    })
                };
                terminal.result(text, || entries.iter().map(value).collect());
            }
            JournalCommand::Verify => {
                let head = state.meta.verify_journal().await?;
                let text = || format!("the journal is whole: {} entries, head {}\n", grouped(head.entries), head.digest);
                terminal.result(text, || json!({ "entries": head.entries, "head": head.digest }));
            }
        }
        Ok(Exit::Ok)
    })
}
