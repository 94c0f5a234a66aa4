//! Verdicts on a terminal.

use tidegate_vocab::{RuleVerdict, Verdict};

use crate::terminal::table;

/// The verdicts of one decision as a table, one rule a line.
pub fn verdict_table(rules: &[RuleVerdict]) -> String {
    let rows = rules.iter().map(|rule| {
        let bounds = rule.interval.map_or_else(String::new, |(lower, upper)| format!("{lower:.4} to {upper:.4}"));
        vec![
            rule.rule.clone(),
            verdict_word(rule.verdict).to_owned(),
            format!("{} against {}", rule.metric, rule.against),
            number(rule.challenger),
            number(rule.other),
            number(rule.estimate),
            bounds,
            format!("{:.4}", rule.threshold),
            rule.rows.to_string(),
        ]
    });
    let header = ["rule", "verdict", "metric", "challenger", "other", "estimate", "bounds", "threshold", "rows"];
    let mut out = table(&header, rows.collect(), 3);
    for rule in rules {
        out.push_str(&format!("  {}: {}\n", rule.rule, rule.reason));
    }
    out
}

/// The word for a verdict.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}
