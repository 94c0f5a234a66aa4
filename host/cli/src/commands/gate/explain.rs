//! `tidegate gate explain`: the gate in words, and how its newest decision came about.

use serde_json::{Value, json};
use tidegate_policy::{Gate, GateRows, Rule};
use tidegate_vocab::{Decision, RuleVerdict, Verdict, VersionNo};

use super::newest;
use crate::args::Global;
use crate::commands::{chosen, config};
use crate::compose;
use crate::config::{Config, PipelineConfig};
use crate::failure::{Exit, Failure};
use crate::report::{decision_word, verdict_word};
use crate::terminal::{Terminal, table, wrapped};

/// Explains the gate, and the newest decision, or that about `version`.
///
/// # Errors
/// A [`Failure`] when settings or state cannot be read, or nothing was decided about `version`.
pub fn explain(global: &Global, version: Option<VersionNo>, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    let decided = match config.store.folder.is_dir() {
        true => compose::with_state_to_read(&config, async |state| match newest(state, chosen, version).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if version.is_some() => Err(failure),
            Err(_) => Ok(None),
        })?,
        false => None,
    };
    let explained =
        Explained { id: chosen.id.to_string(), gate: &chosen.gate, decided: decided.map(|found| Decided::of(found, &config, chosen)) };
    terminal.result(|| explained.text(), || explained.value());
    Ok(Exit::Ok)
}

struct Explained<'a> {
    id: String,
    gate: &'a Gate,
    decided: Option<Decided>,
}

struct Decided {
    number: u64,
    decision: Decision,
    /// Whether the rules in the settings are those that it was made by.
    by_these_rules: bool,
}

impl Decided {
    fn of((number, decision): (u64, Decision), config: &Config, chosen: &PipelineConfig) -> Decided {
        // A single run judges on other rows than a running host, by the same rules.
        let today =
            [GateRows::Arriving, GateRows::HeldOut].map(|rows| compose::settings(chosen, rows, config.plugins.failures).gate_digest());
        let by_these_rules = decision.evidence.as_ref().is_some_and(|evidence| today.contains(&evidence.gate));
        Decided { number, decision, by_these_rules }
    }
}

impl Explained<'_> {
    fn text(&self) -> String {
        let mut out = format!("The gate of `{}`\n\n", self.id);
        for said in self.gate.in_words() {
            out.push_str(&wrapped(&said, 2));
        }
        out.push('\n');
        let rules = self.gate.rules.iter().map(|rule| vec![rule.id.clone(), rule.asks()]);
        out.push_str(&table(&["rule", "asks that"], rules.collect(), 2));
        let Some(Decided { number, decision, by_these_rules }) = &self.decided else {
            out.push_str("\nIt has not decided yet.\n");
            return out;
        };
        let (version, kind) = (decision.version, decision_word(decision.kind));
        out.push_str(&format!("\nDecision {number}, about {version}, {}: {kind} at look {}\n\n", decision.at, decision.look));
        out.push_str(&wrapped(&format!("{}.", decision.reason), 2));
        if !by_these_rules {
            out.push_str(&wrapped("The rules in the settings are others by now; `tidegate gate replay` says what they would decide.", 2));
        }
        for verdict in &decision.rules {
            out.push_str(&format!("\n  {}: {}\n", verdict.rule, verdict_word(verdict.verdict)));
            if let Some(rule) = self.rule_of(verdict).filter(|_| *by_these_rules) {
                out.push_str(&wrapped(&format!("asks that {}", rule.asks()), 4));
            }
            out.push_str(&wrapped(found(verdict), 4));
            if let Some(otherwise) = self.otherwise(verdict) {
                out.push_str(&wrapped(&otherwise, 4));
            }
        }
        out
    }

    fn value(&self) -> Value {
        let rules: Vec<Value> = self.gate.rules.iter().map(|rule| json!({ "rule": rule.id, "asks": rule.asks() })).collect();
        let verdict = |verdict: &RuleVerdict| json!({ "rule": verdict.rule, "verdict": verdict.verdict, "found": found(verdict), "otherwise": self.otherwise(verdict) });
        let decided = self.decided.as_ref().map(|Decided { number, decision, by_these_rules }| {
            json!({
                "number": number, "version": decision.version, "at": decision.at, "decision": decision_word(decision.kind),
                "look": decision.look, "reason": decision.reason, "by_these_rules": by_these_rules,
                "verdicts": decision.rules.iter().map(verdict).collect::<Vec<_>>(),
            })
        });
        json!({ "gate": self.gate.in_words(), "rules": rules, "decision": decided })
    }

    /// The rule that a verdict is about, on all rows or on a slice of them.
    fn rule_of(&self, verdict: &RuleVerdict) -> Option<&Rule> {
        self.gate.rules.iter().find(|rule| {
            let rest = verdict.rule.strip_prefix(rule.id.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ["))
        })
    }

    fn otherwise(&self, verdict: &RuleVerdict) -> Option<String> {
        let by_these_rules = self.decided.as_ref().is_some_and(|decided| decided.by_these_rules);
        self.rule_of(verdict).filter(|_| by_these_rules)?.otherwise(verdict)
    }
}

/// What was found, without the verdict's word at its beginning, which is told beside it.
fn found(verdict: &RuleVerdict) -> &str {
    let word = match verdict.verdict {
        Verdict::Pass => "passes: ",
        Verdict::Fail => "fails: ",
        Verdict::Inconclusive => "inconclusive: ",
    };
    verdict.reason.strip_prefix(word).unwrap_or(&verdict.reason)
}
