//! The list of decisions with the numbers behind each verdict.

use maud::{Markup, html};
use tidegate_vocab::{DecisionKind, RuleVerdict, Verdict};

use super::{BacktestReport, DecisionEntry, Lane, chart, day, decision_word};
use crate::config::section::grouped;

/// Decisions of one replay that are listed.
const LISTED_MAX: usize = 500;

/// The decisions of every replay; those of the first are open.
pub(super) fn decisions(report: &BacktestReport) -> Markup {
    let lanes = report.lanes();
    html! {
        @for (index, lane) in lanes.iter().enumerate() {
            @let entries: Vec<&DecisionEntry> =
                report.decisions.iter().filter(|entry| entry.settings == lane.settings && entry.seed == lane.seed).collect();
            details.replay open[index == 0] {
                summary { span.replay-name { (report.lane_name(lane)) } span.counts { (counts(report, lane, &entries)) } }
                @if entries.is_empty() { p.empty { "No challenger was judged." } }
                ol.decisions { @for entry in entries.iter().take(LISTED_MAX) { (decision(entry)) } }
                @if entries.len() > LISTED_MAX { p.empty { "and " (entries.len() - LISTED_MAX) " more" } }
            }
        }
    }
}

fn counts(report: &BacktestReport, lane: &Lane, entries: &[&DecisionEntry]) -> String {
    let of = |kind: DecisionKind| entries.iter().filter(|entry| entry.decision.kind == kind).count();
    let trainings = report.trainings.iter().filter(|mark| mark.settings == lane.settings && mark.seed == lane.seed).count();
    let parts = [
        (trainings, "training", "trainings"),
        (of(DecisionKind::Promote), "promotion", "promotions"),
        (of(DecisionKind::Hold), "hold", "holds"),
        (of(DecisionKind::Reject), "rejection", "rejections"),
    ];
    let words: Vec<String> = parts.iter().map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many })).collect();
    words.join(" · ")
}

fn decision(entry: &DecisionEntry) -> Markup {
    let decision = &entry.decision;
    html! {
        li {
            details.decision {
                summary {
                    span.glyph { (glyph(decision.kind)) }
                    span.kind { (decision_word(decision.kind)) }
                    span.version { (decision.version) }
                    span.when { (day(decision.at)) }
                    span.row { "row " (grouped(entry.row)) }
                    span.reason { (prose(&decision.reason)) }
                }
                @if decision.rules.is_empty() {
                    p.empty { "No rule was computed." }
                } @else {
                    div.scroll { (verdicts(&decision.rules)) }
                }
            }
        }
    }
}

/// A sentence whose literals stand between backticks.
fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A mark on its own, for lists and the legend.
pub(super) fn glyph(kind: DecisionKind) -> Markup {
    html! { svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true" { (chart::shape(kind)) } }
}

fn verdicts(rules: &[RuleVerdict]) -> Markup {
    html! {
        table.verdicts {
            thead { tr {
                th { "rule" } th { "verdict" } th { "metric" } th { "against" }
                th.n { "challenger" } th.n { "other" } th.n { "estimate" } th.n { "bounds" } th.n { "threshold" } th.n { "rows" }
                th { "method" }
            } }
            tbody { @for rule in rules { tr {
                td { (rule.rule) }
                td { span class=(verdict_class(rule.verdict)) { (verdict_word(rule.verdict)) } }
                td { (rule.metric) } td { (rule.against) }
                td.n { (optional(rule.challenger)) } td.n { (optional(rule.other)) } td.n { (optional(rule.estimate)) }
                td.n { (bounds(rule.interval)) } td.n { (figure(rule.threshold)) } td.n { (grouped(rule.rows)) }
                td { (rule.method) }
            } } }
        }
    }
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "verdict pass",
        Verdict::Fail => "verdict fail",
        Verdict::Inconclusive => "verdict open",
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

fn bounds(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(|| "–".to_owned(), |(low, high)| format!("{} to {}", figure(low), figure(high)))
}

/// A figure with a true minus sign, so that columns of differences line up.
fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.4}", value.abs());
    if value < 0.0 && text != "0.0000" { format!("−{text}") } else { text }
}
