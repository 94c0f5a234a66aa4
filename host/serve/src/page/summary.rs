//! Who serves and how well, what is under way, what comes next, and what has come in.

use maud::{Markup, html};

use super::words::{code, duration, grouped, instant, percent, sentence, short};
use crate::status::{ChampionStatus, EstimateStatus, PipelineStatus, RolloutStatus, RunStatus};

/// Reasons that the table of rows kept out lists.
const REASONS_MAX: usize = 12;

/// Who serves, since when and why.
pub(super) fn champion(pipeline: &PipelineStatus) -> Markup {
    let Some(champion) = &pipeline.champion else {
        return html! {
            p class="none" { "Nobody serves yet." }
            @for next in &pipeline.next { p class="note" { (sentence(next)) } }
        };
    };
    html! {
        dl class="headline" {
            div {
                dt { "Champion" }
                dd { (champion.version) }
                p { code title=(champion.weights) { (short(&champion.weights)) } }
            }
            div {
                @let (count, unit) = duration(champion.since, pipeline.now);
                dt { "Serves for" }
                dd { (grouped(count)) " " span class="unit" { (unit) } }
                p { "since " (instant(champion.since)) }
            }
            div { (accuracy(champion)) }
            @if let Some(estimate) = &pipeline.estimate { div { (expected(estimate)) } }
            div {
                dt { "Answered" }
                dd { (grouped(pipeline.predictions)) }
                p { (grouped(pipeline.labels)) " labels came by id" }
                @if pipeline.predictions_shed > 0 { p class="bad" { (grouped(pipeline.predictions_shed)) " answers were not logged" } }
            }
        }
        p class="why" { strong { "Chosen by " (champion.by) ". " } (sentence(&champion.reason)) }
        @if let Some(guard) = &pipeline.guard { p class="why" { strong { "Guard. " } (sentence(guard)) } }
    }
}

fn accuracy(champion: &ChampionStatus) -> Markup {
    html! {
        dt { "Right since then" }
        @if champion.rows == 0 {
            dd { "–" }
            p { "no answered row has a label yet" }
        } @else {
            dd { (percent(champion.right as f64 / champion.rows as f64)) " " span class="unit" { "%" } }
            p {
                @if let Some((low, high)) = champion.interval { (percent(low)) " to " (percent(high)) " % at 95 %, " }
                (grouped(champion.rows)) " rows"
            }
        }
    }
}

/// What the newest answers seem to be worth, whose labels have not come.
fn expected(estimate: &EstimateStatus) -> Markup {
    html! {
        dt { "Expected before labels" }
        dd { (percent(estimate.accuracy)) " " span class="unit" { "%" } }
        p {
            (percent(estimate.band.0)) " to " (percent(estimate.band.1)) " %, the newest " (grouped(estimate.rows)) " rows; "
            (percent(estimate.reference)) " % when " (estimate.version) " was judged"
        }
        @if let Some(distance) = estimate.distance {
            p { "off by " (percent(distance)) " points on average, over " (grouped(estimate.compared)) " estimates" }
        }
    }
}

/// The run under way, if there is one, and what would happen next.
pub(super) fn work(pipeline: &PipelineStatus) -> Markup {
    html! {
        div class="columns" {
            section aria-label="The run under way" {
                h2 { "Under way" }
                @match &pipeline.run {
                    Some(run) => (run_under_way(run)),
                    None => p class="empty" { "No run. " (grouped(u64::from(pipeline.versions))) " versions have been trained." },
                }
                @if let Some(rollout) = &pipeline.rollout { (rolled_out(rollout)) }
            }
            section aria-label="What happens next" {
                h2 { "Next" }
                @if pipeline.next.is_empty() { p class="empty" { "Nothing is due." } }
                ul class="next" { @for next in &pipeline.next { li { (sentence(next)) } } }
            }
        }
    }
}

fn run_under_way(run: &RunStatus) -> Markup {
    html! {
        p class="run" {
            strong { (run.id) } " is " (run.state)
            @if let Some(version) = run.version { " " strong { (version) } }
            @if let Some(rows) = run.waiting_rows { ", waiting for " strong { (grouped(rows)) } " labelled rows" }
            @if run.looks > 0 { ", after " (run.looks) @if run.looks == 1 { " look" } @else { " looks" } }
            "."
        }
        @if let Some(share) = run.progress {
            @let share = share.clamp(0.0, 1.0);
            svg class="progress" viewBox="0 0 100 2" preserveAspectRatio="none" role="img" aria-label=(format!("{:.0} per cent trained", share * 100.0)) {
                rect class="rail" width="100" height="2" {}
                rect class="done" width=(format!("{:.1}", share * 100.0)) height="2" {}
            }
        }
        p class="note" { "Started " (instant(run.started_at)) ". Why: " (code(&run.trigger)) "." }
    }
}

fn rolled_out(rollout: &RolloutStatus) -> Markup {
    html! {
        p class="run" {
            strong { (rollout.version) } " is rolled out: "
            @match rollout.stage.as_str() {
                "check" => { "it is checked" }
                "shadow" => { "it answers copies of requests" }
                _ => { "it answers " strong { (percent(rollout.share)) " %" } " of requests" }
            }
            @if rollout.requests_needed > 0 {
                ", " strong { (grouped(rollout.requests)) } " of " (grouped(rollout.requests_needed)) " in this step"
            }
            "."
        }
        @if rollout.requests_needed > 0 {
            @let share = (rollout.requests as f64 / rollout.requests_needed as f64).clamp(0.0, 1.0);
            svg class="progress" viewBox="0 0 100 2" preserveAspectRatio="none" role="img" aria-label=(format!("{:.0} per cent of this step", share * 100.0)) {
                rect class="rail" width="100" height="2" {}
                rect class="done" width=(format!("{:.1}", share * 100.0)) height="2" {}
            }
        }
        p class="note" { "Since " (instant(rollout.since)) ". " (sentence(&rollout.reason)) }
    }
}

/// What has moved away from the rows that the champion learned from; nothing before a window is whole.
pub(super) fn drift(pipeline: &PipelineStatus) -> Markup {
    let Some(drift) = &pipeline.drift else { return html! {} };
    html! {
        h2 { "Drift" }
        p class="note" { (sentence(&drift.reason)) " Looked at " (instant(drift.at)) ", against the rows of " (drift.version) "." }
        @let drifting: Vec<_> = drift.features.iter().filter(|(.., drifts)| *drifts).take(REASONS_MAX).collect();
        @if !drifting.is_empty() {
            table {
                thead { tr { th scope="col" { "Feature" } th scope="col" class="n" { "Moved by" } th scope="col" class="n" { "Usual up to" } } }
                tbody {
                    @for (name, effect, usual, _) in drifting {
                        tr { td { code { (name) } } td class="n" { (format!("{effect:.2}")) } td class="n" { (format!("{usual:.2}")) } }
                    }
                }
            }
        }
    }
}

/// Rows, and those kept out of the dataset.
pub(super) fn rows(pipeline: &PipelineStatus) -> Markup {
    let kept_out: u64 = pipeline.quarantined.iter().map(|(_, _, rows)| rows).sum();
    html! {
        h2 { "Rows" }
        p class="note" {
            strong { (grouped(pipeline.rows)) } " committed"
            @if let Some(at) = pipeline.last_rows_at { ", the last " (instant(at)) }
            "; " strong { (grouped(kept_out)) } " kept out of the dataset"
            @if kept_out == 0 { "." } @else { ":" }
        }
        @if kept_out > 0 {
            div class="scroll reasons" tabindex="0" role="region" aria-label="Rows kept out" {
                table {
                    thead { tr { th scope="col" { "By" } th scope="col" { "Reason" } th scope="col" class="n" { "Rows" } } }
                    tbody {
                        @for (by, reason, rows) in pipeline.quarantined.iter().take(REASONS_MAX) {
                            tr { th scope="row" { (by) } td { code { (reason) } } td class="n" { (grouped(*rows)) } }
                        }
                    }
                }
            }
            @if pipeline.quarantined.len() > REASONS_MAX { p class="note" { "and " (pipeline.quarantined.len() - REASONS_MAX) " more reasons" } }
        }
        @if !pipeline.dead_letters.is_empty() { (dead_letters(pipeline)) }
    }
}

/// The batches that were set aside, and the way out.
fn dead_letters(pipeline: &PipelineStatus) -> Markup {
    let rows: u64 = pipeline.dead_letters.iter().map(|letter| letter.rows).sum();
    html! {
        p class="note" {
            strong { (grouped(rows)) } " set aside, because a cleaner fails on their batch; "
            code { "tidegate dead-letter retry" } " cleans them again:"
        }
        div class="scroll reasons" tabindex="0" role="region" aria-label="Batches set aside" {
            table {
                thead { tr { th scope="col" { "Number" } th scope="col" { "Rows" } th scope="col" { "Cleaner" } th scope="col" { "Error" } } }
                tbody {
                    @for letter in pipeline.dead_letters.iter().take(REASONS_MAX) {
                        tr {
                            th scope="row" { (letter.number) }
                            td class="n" { (grouped(letter.first_row)) " to " (grouped(letter.first_row + letter.rows.saturating_sub(1))) }
                            td { (letter.plugin) }
                            td { (instant(letter.at)) ": " (sentence(&letter.error)) }
                        }
                    }
                }
            }
        }
        @if pipeline.dead_letters.len() > REASONS_MAX { p class="note" { "and " (pipeline.dead_letters.len() - REASONS_MAX) " more" } }
    }
}
