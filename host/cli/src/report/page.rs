//! The page around the picture: one file of HTML that loads nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tidegate_vocab::DecisionKind;

use super::chart::{Width, chart, color_class, training_shape};
use super::decisions::{decisions, glyph};
use super::frontier::{frontier_list, scatter};
use super::summary::number;
use super::{BacktestReport, Baseline, BaselineRow, SummaryRow};
use crate::config::section::grouped;

const STYLE: &str = include_str!("page.css");

/// The report as one HTML document.
pub fn page(report: &BacktestReport) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Backtest of " (report.title) " · Tidegate" }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (header(report))
                (headline(report))
                figure {
                    figcaption { h2 { "Accuracy over time" } (legend(report)) }
                    (chart(report, Width::Wide)) (chart(report, Width::Narrow))
                    (chart_note(report))
                }
                @if report.is_tuning {
                    section {
                        h2 { "Accuracy against trainings" }
                        (scatter(report)) (frontier_list(report))
                        p.note {
                            "Each point is one of the settings that were tried. No others are better than those on the line with as few "
                            "trainings; point at one for its name. The best of many looks better than it is: try it on rows that came later."
                        }
                    }
                }
                section { h2 { "Settings side by side" } div.scroll { (summary(report)) } (summary_note()) }
                section { h2 { "Decisions" } (decisions(report)) }
                footer { "Made by " code { "tidegate backtest" } " " (env!("CARGO_PKG_VERSION")) }
            } }
        }
    };
    document.into_string()
}

fn header(report: &BacktestReport) -> Markup {
    let counted = report.row_count.saturating_sub(report.warmup_rows);
    html! {
        header {
            p.kicker { "Backtest" }
            h1 { (report.title) }
            p.lead {
                (grouped(report.row_count)) " rows replayed in order on a simulated clock. The first " (grouped(report.warmup_rows))
                " only warm up; each of the other " (grouped(counted)) " was predicted before it was learned from."
            }
        }
    }
}

/// The best settings in four figures, beside the strongest naive baseline.
fn headline(report: &BacktestReport) -> Markup {
    let Some((name, rows)) = best_settings(report) else { return html! {} };
    let mean = |value: fn(&SummaryRow) -> f64| rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64;
    let accuracy = mean(|row| row.accuracy);
    let strongest = report.baselines.iter().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let over = if rows.len() == 1 { format!("seed {}", rows[0].seed) } else { format!("mean of {} seeds", rows.len()) };
    let trainings = mean(|row| row.trainings as f64);
    let settled = mean(|row| (row.holds + row.rejections) as f64);
    html! {
        dl.headline {
            div { dt { "accuracy" } dd { (number(accuracy)) } p { (name) ", " (over) } }
            @if let Some(baseline) = strongest {
                @let points = (accuracy - baseline.accuracy) * 100.0;
                div {
                    dt { "against " (baseline.baseline.word()) }
                    dd { (signed(points)) span.unit { " points" } }
                    p { (baseline.baseline.word()) " has " (number(baseline.accuracy)) }
                }
            }
            div { dt { "trainings" } dd { (count(trainings)) } p { "one every " (every(report, trainings)) " rows" } }
            div { dt { "held or rejected" } dd { (count(settled)) } p { "verdicts that kept the champion" } }
        }
    }
}

fn best_settings(report: &BacktestReport) -> Option<(String, Vec<&SummaryRow>)> {
    let group = |name: &str| report.summary.iter().filter(|row| row.settings == name).collect::<Vec<_>>();
    let mean = |rows: &[&SummaryRow]| rows.iter().map(|row| row.accuracy).sum::<f64>() / rows.len().max(1) as f64;
    let groups = report.settings().into_iter().map(|name| (name.to_owned(), group(name)));
    groups.max_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)))
}

fn signed(points: f64) -> String {
    let sign = if points < 0.0 { '−' } else { '+' };
    format!("{sign}{:.1}", points.abs())
}

fn count(mean: f64) -> String {
    if mean.fract() == 0.0 { format!("{mean:.0}") } else { format!("{mean:.1}") }
}

fn every(report: &BacktestReport, trainings: f64) -> String {
    let counted = report.row_count.saturating_sub(report.warmup_rows) as f64;
    if trainings > 0.0 { grouped((counted / trainings).round() as u64) } else { "–".to_owned() }
}

fn legend(report: &BacktestReport) -> Markup {
    let swatch = |class: &str| html! { svg class="swatch" viewBox="0 0 22 10" aria-hidden="true" { path class=(format!("line {class}")) d="M1 5H21" {} } };
    html! {
        ul.legend {
            @for (index, name) in report.shown_settings().into_iter().enumerate() { li { (swatch(&color_class(index))) (report.settings_name(name)) } }
            @for line in &report.baselines { li { (swatch(&format!("base {}", line.baseline.word()))) (line.baseline.word()) } }
            li.marks { svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true" { (training_shape()) } "training" }
            li { (glyph(DecisionKind::Promote)) "promotion" }
            li { (glyph(DecisionKind::Hold)) "hold" }
            li { (glyph(DecisionKind::Reject)) "rejection" }
        }
    }
}

fn chart_note(report: &BacktestReport) -> Markup {
    let has_seeds = report.summary.len() > report.settings().len();
    html! {
        p.note {
            "Each point is the share of the last " (grouped(report.window_rows)) " rows that were predicted rightly. "
            @if has_seeds { "The strong line is the mean over seeds, the faint ones are the seeds. " }
            "The band is the 95 % Wilson interval of one window, as if its rows were independent; neighbouring windows share rows. "
            "Point at a line or a mark for its numbers."
        }
    }
}

fn summary(report: &BacktestReport) -> Markup {
    let best = report.summary.iter().map(|row| row.accuracy).fold(f64::NEG_INFINITY, f64::max);
    html! {
        table.summary {
            thead { tr {
                th { "settings" } th.n { "seed" } th.n { "accuracy" } th.n { "F1" } th.n { "κ no-change" } th.n { "trainings" }
                th.n { "holds" } th.n { "rejections" } th.n { "seconds" }
            } }
            tbody {
                @for row in &report.summary {
                    tr {
                        th scope="row" { (row.settings) } td.n { (row.seed) }
                        td.n { (figure(row.accuracy, best)) } td.n { (number(row.f1)) } td.n { (number(row.kappa_no_change)) }
                        td.n { (row.trainings) } td.n { (row.holds) } td.n { (row.rejections) } td.n { (format!("{:.1}", row.seconds)) }
                    }
                }
            }
            tbody.baselines { @for row in &report.baselines { (baseline(row)) } }
        }
    }
}

fn figure(value: f64, best: f64) -> Markup {
    html! { @if value == best { strong { (number(value)) } } @else { (number(value)) } }
}

fn baseline(row: &BaselineRow) -> Markup {
    let meaning = match row.baseline {
        Baseline::NoChange => "as the last known label",
        Baseline::Majority => "as most known labels",
    };
    html! {
        tr {
            th scope="row" title=(meaning) { (row.baseline.word()) } td.n { "–" }
            td.n { (number(row.accuracy)) } td.n { (number(row.f1)) } td.n { (number(row.kappa_no_change)) }
            @for _ in 0..4 { td.n { "–" } }
        }
    }
}

fn summary_note() -> Markup {
    html! {
        p.note {
            "κ no-change is the share of the errors of “as the last known label” that the model avoids; 0 is no better, 1 is perfect. "
            "Every training counts, whatever came of it."
        }
    }
}
