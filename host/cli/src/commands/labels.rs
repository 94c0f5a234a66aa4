//! `tidegate labels`: ground truth that comes by id, from a file.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use tidegate_serve::LabelError;
use tidegate_store::{Feedback as _, LabelsKept};
use tidegate_vocab::{Clock as _, Contract, LateLabel, Timestamp};

use super::{chosen, config};
use crate::args::Global;
use crate::compose::{self, clock::SystemClock};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::control::{self, Answer, Command};

/// Labels of one file, so that they fit into memory and one commit.
const LABELS_MAX: usize = 1_000_000;
/// Ids that are named in an error.
const IDS_SHOWN_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    label: String,
    known_at: Option<String>,
}

/// Takes labels in, through the running host if there is one.
///
/// # Errors
/// A [`Failure`] that names the line, or the ids that nobody knows; no label is kept then.
pub fn labels(global: &Global, file: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    if !chosen.contract.label.by_id {
        return Err(label_failure(&LabelError::NotById));
    }
    let labels = read(file, &chosen.contract)?;
    let asked = compose::block_on(control::ask(&config, &chosen.id, Command::Labels { labels: labels.clone() }))?;
    let (added, unchanged) = match asked {
        Some(Answer::Labelled { added, unchanged }) => (added, unchanged),
        Some(_) => return Err(control::misunderstood()),
        None => compose::with_state(&config, async |state| {
            match state.meta.add_labels(state.fence, &chosen.id, SystemClock.now(), &labels).await? {
                LabelsKept::Kept { added, unchanged } => Ok((added, unchanged)),
                LabelsKept::Unknown(ids) => Err(label_failure(&LabelError::Unknown(ids))),
            }
        })?,
    };
    let text = || format!("{added} labels kept, {unchanged} were known already\n");
    terminal.result(text, || json!({ "added": added, "unchanged": unchanged }));
    Ok(Exit::Ok)
}

/// What an operator is told whose labels were not kept.
pub fn label_failure(error: &LabelError) -> Failure {
    match error {
        LabelError::Unknown(ids) => {
            let shown: Vec<String> = ids.iter().take(IDS_SHOWN_MAX).map(|id| format!("`{id}`")).collect();
            let more = ids.len().saturating_sub(IDS_SHOWN_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("these ids were neither predicted nor ingested: {}{more}", shown.join(", "));
            Failure::usage(text, "nothing was kept; send the others without them")
        }
        LabelError::NotById => Failure::usage(error.to_string(), "write `by_id = true` into the label of the contract"),
        LabelError::Failed(_) => Failure::new(error, None),
    }
}

fn read(file: &Path, contract: &Contract) -> Result<Vec<LateLabel>, Failure> {
    let now = SystemClock.now();
    let opened: Box<dyn std::io::Read> = if file == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(super::open(file)?) };
    let mut labels = Vec::new();
    let classes = &contract.label.classes;
    for (index, line) in csv::Reader::from_reader(opened).into_deserialize::<Line>().enumerate() {
        let at = format!("line {} of `{}`", index + 2, file.display());
        let expected = "each line has `id`, `label` and perhaps `known_at`; the first line names them";
        let line = line.map_err(|error| Failure::usage(format!("{at} is not a label: {error}"), expected))?;
        if !classes.contains(&line.label) {
            let text = format!("{at} has the label `{}`, which is none of {}", line.label, classes.join(", "));
            return Err(Failure::usage(text, "correct it, or add the class to the contract"));
        }
        let known_at = line.known_at.filter(|text| !text.is_empty()).map_or(Ok(now), |text| instant(&text, &at))?;
        if known_at > now {
            return Err(Failure::usage(format!("{at} became known at {known_at}, which is in the future"), "leave it out for now"));
        }
        labels.push(LateLabel { row_id: line.id, class: line.label, known_at });
        if labels.len() > LABELS_MAX {
            return Err(Failure::usage(format!("`{}` has more than {LABELS_MAX} labels", file.display()), "split the file"));
        }
    }
    Ok(labels)
}

fn instant(text: &str, at: &str) -> Result<Timestamp, Failure> {
    let parsed = text.parse::<jiff::Timestamp>();
    let wrong = |error| Failure::usage(format!("{at} has `known_at` `{text}`: {error}"), "write an instant such as 2026-11-23T12:00:00Z");
    Ok(Timestamp(parsed.map_err(wrong)?.as_microsecond()))
}
