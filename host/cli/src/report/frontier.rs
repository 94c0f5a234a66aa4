//! Which settings are worth their trainings, and the picture of it.
//!
//! Settings are on the frontier when no others are as accurate with fewer trainings, or more accurate with as many.

use maud::{Markup, html};

use super::scale::{Scale, row_ticks, share_axis};
use super::summary::number;
use super::{BacktestReport, SummaryRow};

/// Some settings in means over their seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Their name.
    pub settings: String,
    /// Mean accuracy.
    pub accuracy: f64,
    /// Mean trainings.
    pub trainings: f64,
    /// Whether no others are better for as little.
    pub on_frontier: bool,
}

/// All settings of a report, in its order.
pub fn tried(report: &BacktestReport) -> Vec<Tried> {
    let mean = |name: &str, value: fn(&SummaryRow) -> f64| {
        let values: Vec<f64> = report.summary.iter().filter(|row| row.settings == name).map(value).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let of = |name: &&str| Tried {
        settings: (*name).to_owned(),
        accuracy: mean(name, |row| row.accuracy),
        trainings: mean(name, |row| row.trainings as f64),
        on_frontier: false,
    };
    let all: Vec<Tried> = report.settings().iter().map(of).collect();
    let is_beaten = |one: &Tried| {
        let beats = |other: &Tried| {
            let no_worse = other.accuracy >= one.accuracy && other.trainings <= one.trainings;
            no_worse && (other.accuracy > one.accuracy || other.trainings < one.trainings)
        };
        all.iter().any(beats)
    };
    all.iter().map(|one| Tried { on_frontier: !is_beaten(one), ..one.clone() }).collect()
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const PLOT: (f64, f64, f64, f64) = (52.0, 690.0, 30.0, 300.0);

/// Accuracy against trainings, one point for each settings, with the frontier as a line.
pub(super) fn scatter(report: &BacktestReport) -> Markup {
    let tried = tried(report);
    let (left, right, top, bottom) = PLOT;
    let ends = |value: fn(&Tried) -> f64| {
        tried.iter().map(value).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (fewest, most) = ends(|one| one.trainings);
    let margin = ((most - fewest) * 0.06).max(1.0);
    let x = Scale { domain: ((fewest - margin).max(0.0), most + margin), range: (left, right) };
    let (worst, best) = ends(|one| one.accuracy);
    let (domain, y_ticks) = share_axis(worst, best);
    let y = Scale { domain, range: (bottom, top) };
    let mut frontier: Vec<&Tried> = tried.iter().filter(|one| one.on_frontier).collect();
    frontier.sort_by(|a, b| a.trainings.total_cmp(&b.trainings));
    let path: String = frontier
        .iter()
        .enumerate()
        .map(|(index, one)| format!("{}{} {}", if index == 0 { 'M' } else { 'L' }, x.place(one.trainings), y.place(one.accuracy)))
        .collect();
    html! {
        svg class="scatter" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Accuracy against trainings" {
            text class="axis-title" x="0" y="14" { "Accuracy" }
            text class="axis-title" x=(right) y=(bottom + 44.0) text-anchor="end" { "Trainings, mean over seeds" }
            g class="grid" {
                @for tick in y_ticks {
                    line x1=(left) x2=(right) y1=(y.place(tick.value)) y2=(y.place(tick.value)) {}
                    text class="tick" x=(left - 8.0) y=(y.place(tick.value) + 4.0) text-anchor="end" { (tick.label) }
                }
                @for tick in row_ticks(x.domain.0, x.domain.1, 10) {
                    text class="tick" x=(x.place(tick.value)) y=(bottom + 20.0) text-anchor="middle" { (tick.label) }
                }
            }
            line class="axis" x1=(left) x2=(right) y1=(bottom) y2=(bottom) {}
            path class="frontier" d=(path) {}
            @for one in &tried {
                circle class=(if one.on_frontier { "tried best" } else { "tried" }) cx=(x.place(one.trainings)) cy=(y.place(one.accuracy)) r="5" {
                    title { (one.settings) ": accuracy " (number(one.accuracy)) ", " (format!("{:.1}", one.trainings)) " trainings" }
                }
            }
            @for (index, one) in frontier.iter().enumerate() {
                (frontier_label(index, one, x, y))
            }
        }
    }
}

/// The number that the list under the picture gives to a point of the frontier.
fn frontier_label(index: usize, one: &Tried, x: Scale, y: Scale) -> Markup {
    html! {
        text class="frontier-label" x=(x.place(one.trainings)) y=(y.place(one.accuracy) - 11.0) text-anchor="middle" { (index + 1) }
    }
}

/// The frontier in words, fewest trainings first.
pub(super) fn frontier_list(report: &BacktestReport) -> Markup {
    let mut frontier: Vec<Tried> = tried(report).into_iter().filter(|one| one.on_frontier).collect();
    frontier.sort_by(|a, b| a.trainings.total_cmp(&b.trainings));
    html! {
        ol.frontier {
            @for one in &frontier {
                li { strong { (number(one.accuracy)) } " with " (format!("{:.1}", one.trainings)) " trainings: " (one.settings) }
            }
        }
    }
}
