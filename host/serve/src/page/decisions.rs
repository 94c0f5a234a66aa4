//! The latest decisions, each with the numbers that it rests on.

use maud::{Markup, html};
use tidegate_vocab::{Decision, DecisionKind, RuleVerdict};

use super::words::{decision, grouped, instant, number, sentence, verdict};

/// Decisions that the page lists.
const DECISIONS_MAX: usize = 12;

/// The decisions, newest first; the newest is open.
pub(super) fn decisions(decisions: &[(u64, Decision)]) -> Markup {
    html! {
        h2 { "Decisions" }
        @if decisions.is_empty() { p class="empty" { "None yet. The first comes when a trained version has been compared on labelled rows." } }
        @for (index, (number, decided)) in decisions.iter().take(DECISIONS_MAX).enumerate() {
            details class="decision" id=(format!("decision-{number}")) open[index == 0] {
                summary {
                    svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true" { (shape(decided.kind)) }
                    span class="kind" { (decision(decided.kind)) }
                    span class="version" { (decided.version) }
                    span class="reason" { (sentence(&decided.reason)) }
                    span class="when" { (instant(decided.at)) }
                }
                p class="note" {
                    "Decided by " (decided.author())
                    @if let Some(run) = decided.run { " in " (run) }
                    @if decided.look > 0 { ", look " (decided.look) }
                    @if let Some(parent) = decided.parent { ", while " (parent) " served" }
                    "."
                }
                @if !decided.rules.is_empty() { (verdicts(&decided.rules)) }
            }
        }
    }
}

fn verdicts(rules: &[RuleVerdict]) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Verdicts of the rules" {
            table class="verdicts" {
                thead {
                    tr {
                        th scope="col" { "Rule" }
                        th scope="col" { "Verdict" }
                        th scope="col" { "Metric" }
                        th scope="col" { "Against" }
                        th scope="col" class="n" { "Estimate" }
                        th scope="col" class="n" { "Bounds" }
                        th scope="col" class="n" { "Threshold" }
                        th scope="col" class="n" { "Rows" }
                    }
                }
                tbody {
                    @for rule in rules {
                        @let (word, class) = verdict(rule.verdict);
                        tr title=(rule.reason) {
                            th scope="row" { (rule.rule) }
                            td class=(format!("verdict {class}")) { (word) }
                            td { (rule.metric) }
                            td { (rule.against) }
                            td class="n" { (rule.estimate.map_or_else(|| "–".to_owned(), number)) }
                            td class="n" { @match rule.interval { Some((low, high)) => { (number(low)) " to " (number(high)) }, None => "–" } }
                            td class="n" { (number(rule.threshold)) }
                            td class="n" { (grouped(rule.rows)) }
                        }
                    }
                }
            }
        }
    }
}

/// Shapes tell decisions apart, colour only helps.
fn shape(kind: DecisionKind) -> Markup {
    match kind {
        DecisionKind::Promote => super::chart::mark(false),
        DecisionKind::RollBack => super::chart::mark(true),
        DecisionKind::Hold => html! { circle class="hold" r="4" {} },
        DecisionKind::Reject => html! { path class="reject" d="M-4 -4L4 4M4 -4L-4 4" {} },
    }
}
