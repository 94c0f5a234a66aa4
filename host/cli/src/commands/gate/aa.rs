//! `tidegate gate aa`: how much of a decision was the luck of a seed. Versions are trained again by the recipe of one that was judged,
//! with other seeds, and judged on the same rows: in its place, and against it, whose equals they are.

use serde_json::{Value, json};
use tidegate_pipeline::{Recipe, Sibling, Silent};
use tidegate_policy::{GateRows, GateVerdict, wilson};
use tidegate_vocab::{DecisionKind, Verdict, VersionNo};

use super::newest;
use crate::args::Global;
use crate::commands::{chosen, config};
use crate::compose;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::report::decision_word;
use crate::terminal::{Terminal, table, wrapped};

/// The confidence of the interval around the share of other decisions.
const CONFIDENCE: f64 = 0.95;

/// Trains `seeds` versions and has them judged.
///
/// # Errors
/// A [`Failure`] when settings, state or a plugin cannot be used, or the rows of the decision are not there any more.
pub fn aa(global: &Global, version: Option<VersionNo>, seeds: u32, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let chosen = chosen(&config, global)?;
    compose::with_state_to_read(&config, async |state| {
        let (_, decision) = newest(state, chosen, version).await?;
        let mut pipeline = compose::pipeline(&config, chosen, state, GateRows::Arriving, Box::new(Silent)).await?;
        let recipe = pipeline.recipe(decision).await?;
        let mut progress = Progress::start(terminal, "gate aa");
        let mut siblings = Vec::new();
        for number in 1..=seeds {
            progress.at(u64::from(number), &format!("training {number} of {seeds}"));
            siblings.push(pipeline.sibling(&recipe, number).await?);
        }
        drop(progress);
        let told = Told { recipe, siblings };
        terminal.result(|| told.text(), || told.value());
        Ok(Exit::Ok)
    })
}

struct Told {
    recipe: Recipe,
    siblings: Vec<Sibling>,
}

impl Told {
    /// Those about whom the gate would have decided otherwise.
    fn others(&self) -> usize {
        self.siblings.iter().filter(|sibling| sibling.in_place.kind != self.recipe.decision.kind).count()
    }

    fn text(&self) -> String {
        let Told { recipe, siblings } = self;
        let (version, count) = (recipe.version.number, siblings.len());
        let decision = &recipe.decision;
        let mut out = format!(
            "{version}: {} at look {}, and {count} versions by the same recipe with other seeds\n\n",
            decision_word(decision.kind),
            decision.look
        );
        let lines = siblings.iter().map(|sibling| {
            vec![
                sibling.seed.to_string(),
                value(&sibling.in_place),
                decision_word(sibling.in_place.kind).to_owned(),
                decision_word(sibling.against.kind).to_owned(),
            ]
        });
        let metric = decision.rules.first().map_or("", |rule| rule.metric.as_str());
        let header = ["seed", metric, &format!("in the place of {version}"), &format!("against {version}")];
        out.push_str(&table(&header, lines.collect(), 4));
        let others = self.others();
        let (low, high) = wilson(others as f64, count as f64, (1.0 - CONFIDENCE) / 2.0);
        out.push_str(&format!(
            "\n{} is {}\n",
            version,
            decision
                .rules
                .first()
                .and_then(|rule| rule.challenger)
                .map_or_else(|| "–".to_owned(), |own| format!("{own:.4} by the same metric"))
        ));
        let share = format!("between {:.0} and {:.0} %", 100.0 * low, 100.0 * high);
        out.push_str(&wrapped(&format!("The decision would be another for {others} of {count}: {share} of all seeds."), 0));
        out.push_str(&wrapped(&format!("Against {version}, whose equal each of them is: {}.", passes(siblings)), 0));
        if !recipe.is_unchanged {
            out.push_str(&wrapped(
                &format!("The model's settings are others than those {version} was trained with: this is the recipe of today."),
                0,
            ));
        }
        out
    }

    fn value(&self) -> Value {
        let Told { recipe, siblings } = self;
        let verdict =
            |verdict: &GateVerdict| json!({ "decision": decision_word(verdict.kind), "reason": verdict.reason, "rules": verdict.rules });
        let sibling = |of: &Sibling| json!({ "seed": of.seed, "in_its_place": verdict(&of.in_place), "against_it": verdict(&of.against) });
        json!({
            "version": recipe.version.number, "decision": decision_word(recipe.decision.kind), "look": recipe.decision.look,
            "recipe_unchanged": recipe.is_unchanged, "other_decisions": self.others(),
            "seeds": siblings.iter().map(sibling).collect::<Vec<_>>(),
        })
    }
}

/// The value of the first rule's metric.
fn value(verdict: &GateVerdict) -> String {
    verdict.rules.first().and_then(|rule| rule.challenger).map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

/// How many pass each rule against an equal, and how many would be promoted.
fn passes(siblings: &[Sibling]) -> String {
    let count = siblings.len();
    let promoted = siblings.iter().filter(|sibling| sibling.against.kind == DecisionKind::Promote).count();
    let rules = siblings.first().map(|first| first.against.rules.len()).unwrap_or_default();
    let rule = |index: usize| {
        let of = |sibling: &&Sibling| sibling.against.rules.get(index).is_some_and(|rule| rule.verdict == Verdict::Pass);
        let name = siblings.first().map_or("", |first| first.against.rules[index].rule.as_str());
        format!("`{name}` passes {} of {count}", siblings.iter().filter(of).count())
    };
    let rules: Vec<String> = (0..rules).map(rule).collect();
    format!("{}; {promoted} would be promoted", rules.join(", "))
}
