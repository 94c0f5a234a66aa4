//! `tidegate gate replay`: old decisions under the rules of today.

use serde_json::Value;
use serde_json::json;
use tidegate_policy::Gate;
use tidegate_vocab::{DecisionKind, Seed};

use super::{Judged, judged};
use crate::args::Global;
use crate::commands::{chosen, config};
use crate::compose;
use crate::failure::{Exit, Failure};
use crate::report::decision_word;
use crate::terminal::{Terminal, table};

/// Judges every version again, on what it was judged on.
///
/// # Errors
/// A [`Failure`] when settings or state cannot be read.
pub fn replay(global: &Global, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let judged = judged(state, chosen).await?;
        let replayed: Vec<Replayed> = judged.iter().map(|judged| Replayed::of(judged, &chosen.gate)).collect();
        terminal.result(|| replay_table(&replayed), || replayed.iter().map(Replayed::json).collect());
        Ok(Exit::Ok)
    })
}

/// One decision, and what the rules of today make of the same rows.
struct Replayed {
    number: u64,
    version: String,
    look: u32,
    then: DecisionKind,
    /// What it would be now, or why that cannot be said.
    now: Result<DecisionKind, String>,
    reason: String,
}

impl Replayed {
    fn of(judged: &Judged, gate: &Gate) -> Replayed {
        let Judged { number, decision, terms } = judged;
        let seed = Seed(decision.evidence.as_ref().map_or(0, |evidence| evidence.seed));
        let again = match terms {
            Some(terms) => terms.judge(gate, decision.look, seed).map_err(|error| error.to_string()),
            None => Err("its terms are not kept any more, or were stored without labels".to_owned()),
        };
        let (now, reason) = match again {
            Ok(verdict) => (Ok(verdict.kind), verdict.reason),
            Err(why) => (Err(why.clone()), why),
        };
        Replayed { number: *number, version: decision.version.to_string(), look: decision.look, then: decision.kind, now, reason }
    }

    fn is_changed(&self) -> bool {
        self.now.as_ref().is_ok_and(|now| *now != self.then)
    }

    fn json(&self) -> Value {
        let now = self.now.as_ref().map_or(Value::Null, |now| decision_word(*now).into());
        json!({ "decision": self.number, "version": self.version, "look": self.look, "then": decision_word(self.then), "now": now,
                "changed": self.is_changed(), "reason": self.reason })
    }
}

fn replay_table(replayed: &[Replayed]) -> String {
    if replayed.is_empty() {
        return "no gate has decided yet\n".to_owned();
    }
    let rows = replayed.iter().map(|one| {
        let now = one.now.as_ref().map_or("–", |now| decision_word(*now));
        let mark = if one.is_changed() { "◂" } else { "" };
        vec![
            one.version.clone(),
            one.look.to_string(),
            decision_word(one.then).to_owned(),
            format!("{now} {mark}").trim_end().to_owned(),
            one.reason.clone(),
        ]
    });
    let changed = replayed.iter().filter(|one| one.is_changed()).count();
    let table = table(&["version", "look", "then", "now", "why"], rows.collect(), 9);
    format!("{table}\n{changed} of {} decisions would be others\n", replayed.len())
}
