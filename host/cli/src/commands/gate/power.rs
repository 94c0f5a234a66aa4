//! `tidegate gate power`: rows that each rule needs, and who passes it.

use serde_json::json;
use tidegate_policy::{ASSUMED_DISAGREEMENT, Against, Gate, Rule, Test, alpha_per_look, chance_to_pass, power_rows, rows_for_look};
use tidegate_vocab::Terms;

use super::{Judged, judged};
use crate::args::Global;
use crate::commands::{chosen, config};
use crate::compose;
use crate::config::section::grouped;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Prints what the rules can show.
///
/// # Errors
/// A [`Failure`] when settings or state cannot be read, or a number is none.
pub fn power(global: &Global, disagreement: Option<f64>, difference: f64, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    let within = |value: f64| value.is_finite() && value > 0.0 && value <= 1.0;
    if !within(difference) || disagreement.is_some_and(|share| !within(share)) {
        return Err(Failure::usage("shares and differences lie above 0 and are at most 1", "`--disagreement 0.08 --difference 0.01`"));
    }
    let measured = match disagreement {
        None if config.store.folder.is_dir() => {
            compose::with_state_to_read(&config, async |state| Ok(judged(state, chosen).await?.iter().rev().find_map(disagreed)))?
        }
        _ => None,
    };
    show_power(&chosen.gate, disagreement.or(measured), measured.is_some(), difference, terminal);
    Ok(Exit::Ok)
}

/// The share of rows on which challenger and champion were right and wrong in different ways.
fn disagreed(judged: &Judged) -> Option<f64> {
    let terms = judged.terms.as_ref()?;
    let right = |metrics: &[tidegate_vocab::MetricTerms]| -> Option<Vec<f64>> {
        metrics.iter().find_map(|one| match &one.terms {
            Terms::Mean { values } if one.metric.name == "accuracy" => Some(values.clone()),
            _ => None,
        })
    };
    let (own, other) = (right(&terms.challenger)?, right(terms.others.get(&Against::Champion)?)?);
    let differ = own.iter().zip(&other).filter(|(own, other)| own != other).count();
    (differ > 0).then(|| differ as f64 / own.len() as f64)
}

/// What one rule can show.
struct Power {
    rule: String,
    test: String,
    rows_needed: Option<u64>,
    /// At the first look and at the last: rows, and the chances of an equal, a better and a worse version.
    looks: [(u64, [f64; 3]); 2],
}

impl Power {
    /// `None` for a rule that does not compare two versions row by row: how a baseline disagrees with a version is another share.
    fn of(gate: &Gate, rule: &Rule, disagreement: f64, difference: f64) -> Option<Power> {
        if !matches!(rule.against, Against::Champion | Against::Anchor) {
            return None;
        }
        let threshold = match rule.test {
            Test::NonInferior { margin } => -margin,
            Test::Superior => 0.0,
            _ => return None,
        };
        // To show that it is no worse, equal is the case that should pass; to show that it is better, it must be better.
        let aim = if threshold < 0.0 { -threshold } else { difference };
        let alpha = alpha_per_look(gate);
        let chances = |look: u32| {
            let rows = rows_for_look(gate, look);
            (rows, [0.0, difference, -difference].map(|true_one| chance_to_pass(true_one, threshold, disagreement, rows, alpha)))
        };
        let rows_needed = Some(power_rows(aim, disagreement, gate.confidence, gate.looks_max));
        let test = format!("{} against {}", rule.test.word(), rule.against);
        Some(Power { rule: rule.id.clone(), test, rows_needed, looks: [chances(1), chances(gate.looks_max)] })
    }
}

fn show_power(gate: &Gate, disagreement: Option<f64>, is_measured: bool, difference: f64, terminal: &Terminal) {
    let share = disagreement.unwrap_or(ASSUMED_DISAGREEMENT);
    let powers: Vec<Power> = gate.rules.iter().filter_map(|rule| Power::of(gate, rule, share, difference)).collect();
    let text = || {
        let source = match (disagreement, is_measured) {
            (None, _) => "assumed, since no decision tells",
            (_, true) => "as in the last decision",
            _ => "as you say",
        };
        let percent = |chance: f64| format!("{:.0} %", 100.0 * chance);
        let header = ["rule", "test", "rows for 80 %", "look at", "equal passes", "better passes", "worse passes"];
        let rows = powers.iter().flat_map(|power| {
            power.looks.iter().enumerate().map(|(index, (rows, chances))| {
                let first = |text: String| if index == 0 { text } else { String::new() };
                let needed = power.rows_needed.map_or_else(|| "–".to_owned(), grouped);
                let named = [first(power.rule.clone()), first(power.test.clone()), first(needed), format!("{} rows", grouped(*rows))];
                named.into_iter().chain(chances.iter().copied().map(percent)).collect()
            })
        });
        let about = format!(
            "The two versions disagree on {:.1} % of the rows, {source}; better and worse are by {difference}. The first and the last of {} looks,\n\
             each of which may err with {:.4}. A rule passes an equal version in 80 of 100 cases with the rows for 80 %; one that asks for\n\
             better passes a better one.\n\n",
            100.0 * share,
            gate.looks_max,
            alpha_per_look(gate)
        );
        format!("{about}{}", table(&header, rows.collect(), 2))
    };
    let value = || {
        let look =
            |(rows, chances): &(u64, [f64; 3])| json!({ "rows": rows, "equal": chances[0], "better": chances[1], "worse": chances[2] });
        let rule = |power: &Power| {
            json!({ "rule": power.rule, "test": power.test, "rows_for_80_percent": power.rows_needed,
                    "first_look": look(&power.looks[0]), "last_look": look(&power.looks[1]) })
        };
        json!({ "disagreement": share, "difference": difference, "rules": powers.iter().map(rule).collect::<Vec<_>>() })
    };
    terminal.result(text, value);
}
