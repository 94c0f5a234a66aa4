//! Accuracy over time: a line a version with the band of its 95 % interval, and a mark wherever the champion moved.

use std::fmt::Write as _;

use maud::{Markup, html};
use tidegate_vocab::{QualityPoint, Timestamp, VersionNo};

use super::scale::{Scale, Tick, share_axis, time_ticks};
use super::words::{day, grouped, percent};
use crate::status::{Move, PipelineStatus};

/// Places along the lines; points in between are added up, which makes each of them surer too.
const PLACES_MAX: u64 = 90;

/// Some consecutive points of one version, added up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The last of them.
    pub at: Timestamp,
    /// Who answered.
    pub version: VersionNo,
    /// Rows.
    pub rows: u64,
    /// Right ones.
    pub right: u64,
}

struct Frame {
    class: &'static str,
    width: f64,
    plot: (f64, f64),
    plot_y: (f64, f64),
    ticks_max: u32,
}

const WIDE: Frame = Frame { class: "chart wide", width: 1000.0, plot: (46.0, 988.0), plot_y: (26.0, 290.0), ticks_max: 11 };
const NARROW: Frame = Frame { class: "chart narrow", width: 360.0, plot: (42.0, 352.0), plot_y: (26.0, 220.0), ticks_max: 3 };

/// The chart, wide and narrow; a sentence where there is nothing to draw yet.
pub(super) fn chart(pipeline: &PipelineStatus) -> Markup {
    let places = places(&pipeline.quality);
    if places.is_empty() {
        return html! { p class="empty" { "No answered row has a label yet. The line begins with the first." } };
    }
    html! {
        (drawn(&WIDE, &places, &pipeline.moves))
        (drawn(&NARROW, &places, &pipeline.moves))
        ul class="legend" {
            li { svg class="glyph" viewBox="-11 -6 22 12" aria-hidden="true" { path class="line" d="M-11 0H11" {} path class="band" d="M-11 -5H11V5H-11Z" {} } "accuracy, 95 % interval" }
            li { svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true" { (mark(false)) } "promotion" }
            li { svg class="glyph" viewBox="-8 -8 16 16" aria-hidden="true" { (mark(true)) } "rollback" }
        }
    }
}

/// Points of one version that lie side by side, added up to as many rows as give about [`PLACES_MAX`] places.
pub(super) fn places(points: &[QualityPoint]) -> Vec<Place> {
    let total: u64 = points.iter().map(|point| point.rows).sum();
    let rows_min = total.div_ceil(PLACES_MAX).max(1);
    let mut places: Vec<Place> = Vec::new();
    for point in points.iter().filter(|point| point.rows > 0) {
        match places.last_mut() {
            Some(last) if last.version == point.version && last.rows < rows_min => {
                *last = Place { at: point.at, version: point.version, rows: last.rows + point.rows, right: last.right + point.right };
            }
            _ => places.push(Place { at: point.at, version: point.version, rows: point.rows, right: point.right }),
        }
    }
    places
}

/// The 95 % interval of a share (Wilson 1927).
pub(super) fn wilson_95(right: u64, rows: u64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let (count, share) = (rows.max(1) as f64, right as f64 / rows.max(1) as f64);
    let middle = share + Z * Z / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + Z * Z / count;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

impl Place {
    fn share(&self) -> f64 {
        self.right as f64 / self.rows as f64
    }
}

fn drawn(frame: &Frame, places: &[Place], moves: &[Move]) -> Markup {
    let (first, last) = (places[0].at, places[places.len() - 1].at);
    let moves: Vec<&Move> = moves.iter().filter(|step| (first..=last).contains(&step.at)).collect();
    let x = Scale { domain: (first.0 as f64, last.0 as f64), range: frame.plot };
    let intervals = || places.iter().map(|place| wilson_95(place.right, place.rows));
    let low = intervals().map(|interval| interval.0).fold(1.0, f64::min);
    let high = intervals().map(|interval| interval.1).fold(0.0, f64::max);
    let (domain, y_ticks) = share_axis(low, high);
    let y = Scale { domain, range: (frame.plot_y.1, frame.plot_y.0) };
    let runs: Vec<&[Place]> = places.chunk_by(|one, other| one.version == other.version).collect();
    let end = places.last().map_or(0.0, Place::share);
    let label = format!("Accuracy from {} to {}, {} per cent at the end", day(first), day(last), percent(end));
    html! {
        svg class=(frame.class) viewBox=(format!("0 0 {} {}", frame.width, frame.plot_y.1 + 62.0)) role="img" aria-label=(label) {
            text class="axis-title" x="0" y="12" { "Right answers among labelled rows" }
            (grid(frame, x, &time_ticks(first, last, frame.ticks_max), y, &y_ticks))
            @for step in &moves { line class=(if step.is_rollback { "rule back" } else { "rule" }) x1=(x.place(step.at.0 as f64)) x2=(x.place(step.at.0 as f64)) y1=(frame.plot_y.0) y2=(frame.plot_y.1 + 38.0) {} }
            @for run in &runs { path class="band" d=(band(run, x, y)) {} }
            @for run in &runs { path class="line" d=(path(run.iter().map(|place| (place.at, place.share())), x, y)) {} }
            (tips(places, x, y))
            (marks(frame, &moves, x))
        }
    }
}

fn grid(frame: &Frame, x: Scale, x_ticks: &[Tick], y: Scale, y_ticks: &[Tick]) -> Markup {
    html! {
        g class="grid" {
            @for tick in y_ticks {
                line x1=(frame.plot.0) x2=(frame.plot.1) y1=(y.place(tick.value)) y2=(y.place(tick.value)) {}
                text x=(frame.plot.0 - 8.0) y=(y.place(tick.value) + 4.0) text-anchor="end" { (tick.label) }
            }
            @for tick in x_ticks {
                line x1=(x.place(tick.value)) x2=(x.place(tick.value)) y1=(frame.plot_y.1) y2=(frame.plot_y.1 + 5.0) {}
                text x=(x.place(tick.value).clamp(frame.plot.0 + 16.0, frame.plot.1 - 20.0)) y=(frame.plot_y.1 + 20.0) text-anchor="middle" { (tick.label) }
            }
        }
    }
}

fn path(points: impl Iterator<Item = (Timestamp, f64)>, x: Scale, y: Scale) -> String {
    let mut path = String::new();
    for (index, (at, value)) in points.enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{} {}", x.place(at.0 as f64), y.place(value));
    }
    path
}

fn band(run: &[Place], x: Scale, y: Scale) -> String {
    let upper = path(run.iter().map(|place| (place.at, wilson_95(place.right, place.rows).1)), x, y);
    let lower = path(run.iter().rev().map(|place| (place.at, wilson_95(place.right, place.rows).0)), x, y);
    format!("{upper}{}Z", lower.replacen('M', "L", 1))
}

/// Invisible discs that name the value under the pointer.
fn tips(places: &[Place], x: Scale, y: Scale) -> Markup {
    html! {
        g class="tips" {
            @for place in places {
                circle cx=(x.place(place.at.0 as f64)) cy=(y.place(place.share())) r="6" {
                    @let (low, high) = wilson_95(place.right, place.rows);
                    title {
                        (day(place.at)) ", " (place.version) ": " (percent(place.share())) " % of " (grouped(place.rows)) " rows (95 % " (percent(low)) " to " (percent(high)) ")"
                    }
                }
            }
        }
    }
}

/// A lane of marks beneath the plot; a name is left out where it would lie on the one before it.
fn marks(frame: &Frame, moves: &[&Move], x: Scale) -> Markup {
    const NAME_WIDTH: f64 = 40.0;
    let lane = frame.plot_y.1 + 46.0;
    let mut free_from = f64::NEG_INFINITY;
    let mut placed = Vec::with_capacity(moves.len());
    for step in moves {
        let place = x.place(step.at.0 as f64);
        let is_named = place >= free_from && place < frame.plot.1 - NAME_WIDTH / 2.0;
        if is_named {
            free_from = place + NAME_WIDTH;
        }
        placed.push((step, place, is_named));
    }
    html! {
        @for (step, place, is_named) in placed {
            g class="mark" transform=(format!("translate({place} {lane})")) {
                title { (day(step.at)) ": " @if step.is_rollback { "rolled back to " } @else { "promoted " } (step.to) }
                (mark(step.is_rollback))
                @if is_named { text x="10" y="4" { (step.to) } }
            }
        }
    }
}

/// Up for a promotion, down for a rollback.
pub(super) fn mark(is_rollback: bool) -> Markup {
    html! {
        @if is_rollback { path class="roll-back" d="M0 5.5L5.5 -4.5H-5.5Z" {} } @else { path class="promote" d="M0 -5.5L5.5 4.5H-5.5Z" {} }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, version: u32, rows: u64, right: u64) -> QualityPoint {
        QualityPoint { at: Timestamp(at), event_time: Timestamp(at), version: VersionNo(version), rows, right, served: rows }
    }

    #[test]
    fn points_are_added_up_but_never_over_a_change_of_version() {
        let points: Vec<QualityPoint> = (0..1_000).map(|index| point(index, 1 + u32::from(index >= 505), 10, 7)).collect();
        let places = places(&points);
        assert!((85..=92).contains(&places.len()), "{}", places.len());
        assert_eq!(
            places.iter().map(|place| (place.rows, place.right)).fold((0, 0), |sum, place| (sum.0 + place.0, sum.1 + place.1)),
            (10_000, 7_000)
        );
        let first_of_second = places.iter().find(|place| place.version == VersionNo(2)).unwrap();
        assert!(first_of_second.at >= Timestamp(505));
        assert_eq!(super::places(&[point(1, 1, 0, 0)]), []);
    }

    #[test]
    fn the_interval_is_wilsons() {
        // R: prop.test(81, 263, correct = FALSE)$conf.int
        let (low, high) = wilson_95(81, 263);
        assert!((low - 0.255_29).abs() < 5e-5 && (high - 0.366_24).abs() < 5e-5, "{low} {high}");
        assert_eq!(wilson_95(0, 0).0, 0.0);
        assert_eq!(wilson_95(5, 5).1, 1.0);
    }
}
