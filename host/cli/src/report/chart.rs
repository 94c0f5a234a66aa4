//! The picture: accuracy over time, and beneath it a lane of marks for each replay.
//!
//! A chart is drawn twice, for wide and for narrow screens, so that its letters keep their size on both; the page shows one.
//! Shapes tell marks apart, colour only helps.

use maud::{Markup, html};
use tidegate_vocab::DecisionKind;

use super::rolling::wilson_95;
use super::scale::{Scale, Tick, micros, row_ticks, share_axis, time_ticks};
use super::{Axis, BacktestReport, Lane, Line, Point, Who, day, decision_word};
use crate::config::section::grouped;

/// Replays that get a lane of their own; the page lists the decisions of all.
const LANES_MAX: usize = 12;
/// Places along a line that answer when pointed at.
const TOOLTIPS_MAX: usize = 90;
/// Colours for settings; more settings take them again.
pub(super) const COLORS: usize = 5;

/// For which screens a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Labels beside the lines.
    Wide,
    /// A legend instead of labels.
    Narrow,
}

struct Frame {
    width: f64,
    plot: (f64, f64),
    plot_y: (f64, f64),
    lane_height: f64,
    lane_label_above: bool,
    time_ticks_max: u32,
}

impl Width {
    fn frame(self) -> Frame {
        match self {
            Width::Wide => Frame {
                width: 1000.0,
                plot: (46.0, 868.0),
                plot_y: (30.0, 330.0),
                lane_height: 24.0,
                lane_label_above: false,
                time_ticks_max: 11,
            },
            Width::Narrow => Frame {
                width: 380.0,
                plot: (38.0, 372.0),
                plot_y: (30.0, 260.0),
                lane_height: 42.0,
                lane_label_above: true,
                time_ticks_max: 5,
            },
        }
    }

    fn class(self) -> &'static str {
        match self {
            Width::Wide => "chart wide",
            Width::Narrow => "chart narrow",
        }
    }
}

/// One line as it is drawn: the mean over seeds, with the seeds behind it.
struct Drawn {
    name: String,
    class: String,
    points: Vec<Point>,
    has_band: bool,
    seeds: Vec<Vec<Point>>,
}

/// The chart as inline SVG.
pub(super) fn chart(report: &BacktestReport, width: Width) -> Markup {
    let frame = width.frame();
    let drawn = drawn_lines(report);
    let (x, x_ticks) = horizontal(report, &drawn, &frame);
    let (y, y_ticks) = vertical(&drawn, &frame);
    let lanes: Vec<Lane> = report.lanes().into_iter().take(LANES_MAX).collect();
    let lanes_top = frame.plot_y.1 + 46.0;
    let height = lanes_top + frame.lane_height * lanes.len() as f64 + 6.0;
    html! {
        svg class=(width.class()) viewBox=(format!("0 0 {} {height}", frame.width)) role="img" aria-label="Accuracy over time" {
            text class="axis-title" x="0" y="14" { "Accuracy, share of the last " (grouped(report.window_rows)) " rows" }
            (grid(&frame, x, &x_ticks, y, &y_ticks, height))
            (promotion_rules(report, &frame, x, &lanes))
            @for line in drawn.iter().filter(|line| line.has_band) { (band(line, report.axis, x, y)) }
            @for line in &drawn { (path_of_line(line, report.axis, x, y)) }
            @for line in &drawn { (tooltips(line, report.axis, x, y)) }
            @if width == Width::Wide { (direct_labels(&drawn, &frame, y)) }
            @for (index, lane) in lanes.iter().enumerate() {
                (lane_marks(report, lane, &frame, x, lanes_top + frame.lane_height * index as f64))
            }
        }
    }
}

/// Class of the colour of the settings number `index`.
pub(super) fn color_class(index: usize) -> String {
    format!("c{}", index % COLORS)
}

fn drawn_lines(report: &BacktestReport) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    for line in &report.lines {
        if let Who::Baseline(baseline) = line.who {
            let name = baseline.word().to_owned();
            drawn.push(Drawn { class: format!("base {name}"), name, points: line.points.clone(), has_band: false, seeds: Vec::new() });
        }
    }
    for (index, name) in report.shown_settings().into_iter().enumerate() {
        let is_own = |line: &&Line| matches!(&line.who, Who::Replay { settings, .. } if settings == name);
        let seeds: Vec<Vec<Point>> = report.lines.iter().filter(is_own).map(|line| line.points.clone()).collect();
        let points = mean_points(&seeds);
        let seeds = if seeds.len() > 1 { seeds } else { Vec::new() };
        drawn.push(Drawn { name: report.settings_name(name), class: color_class(index), points, has_band: true, seeds });
    }
    drawn.retain(|line| !line.points.is_empty());
    drawn
}

/// The mean over seeds at each row; seeds of one length have their points at the same rows, others stand for themselves.
fn mean_points(seeds: &[Vec<Point>]) -> Vec<Point> {
    let Some(first) = seeds.first() else { return Vec::new() };
    let alike: Vec<&Vec<Point>> = seeds.iter().filter(|seed| seed.len() == first.len()).collect();
    let mean = |(index, point): (usize, &Point)| {
        let sum: f64 = alike.iter().map(|seed| seed[index].accuracy).sum();
        Point { accuracy: sum / alike.len() as f64, ..*point }
    };
    first.iter().enumerate().map(mean).collect()
}

fn along(axis: Axis, point: &Point) -> f64 {
    match axis {
        Axis::Time => micros(point.at),
        Axis::Rows => point.row as f64,
    }
}

fn horizontal(report: &BacktestReport, drawn: &[Drawn], frame: &Frame) -> (Scale, Vec<Tick>) {
    let places = drawn.iter().flat_map(|line| &line.points).map(|point| along(report.axis, point));
    let marks = report.trainings.iter().map(|mark| place_of(report.axis, mark.row, mark.at));
    let (low, high) = extent(places.chain(marks)).unwrap_or((0.0, 1.0));
    let ticks = match report.axis {
        Axis::Time => time_ticks(low, high, frame.time_ticks_max),
        Axis::Rows => row_ticks(low, high, frame.time_ticks_max),
    };
    (Scale { domain: (low, high), range: frame.plot }, ticks)
}

fn vertical(drawn: &[Drawn], frame: &Frame) -> (Scale, Vec<Tick>) {
    let values = drawn.iter().flat_map(|line| {
        line.points.iter().flat_map(|point| {
            let (low, high) = if line.has_band { wilson_95(point.accuracy, point.rows) } else { (point.accuracy, point.accuracy) };
            [low, high]
        })
    });
    let (low, high) = extent(values).unwrap_or((0.0, 1.0));
    let (domain, ticks) = share_axis(low, high);
    (Scale { domain, range: (frame.plot_y.1, frame.plot_y.0) }, ticks)
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite
        .fold(None, |found: Option<(f64, f64)>, value| Some(found.map_or((value, value), |(low, high)| (low.min(value), high.max(value)))))
}

fn grid(frame: &Frame, x: Scale, x_ticks: &[Tick], y: Scale, y_ticks: &[Tick], height: f64) -> Markup {
    html! {
        g class="grid" {
            @for tick in y_ticks {
                line x1=(frame.plot.0) x2=(frame.plot.1) y1=(y.place(tick.value)) y2=(y.place(tick.value)) {}
                text class="tick" x=(frame.plot.0 - 8.0) y=(y.place(tick.value) + 4.0) text-anchor="end" { (tick.label) }
            }
            @for tick in x_ticks {
                line class="down" x1=(x.place(tick.value)) x2=(x.place(tick.value)) y1=(frame.plot_y.1) y2=(height - 6.0) {}
                text class="tick" x=(x.place(tick.value)) y=(frame.plot_y.1 + 20.0) text-anchor="middle" { (tick.label) }
            }
        }
        line class="axis" x1=(frame.plot.0) x2=(frame.plot.1) y1=(frame.plot_y.1) y2=(frame.plot_y.1) {}
    }
}

/// Where one replay is all there is, its promotions are shown through the plot too.
fn promotion_rules(report: &BacktestReport, frame: &Frame, x: Scale, lanes: &[Lane]) -> Markup {
    let promotions = report.decisions.iter().filter(|entry| lanes.len() == 1 && entry.decision.kind == DecisionKind::Promote);
    html! {
        @for place in promotions.map(|entry| x.place(place_of(report.axis, entry.row, entry.decision.at))) {
            line class="promotion-rule" x1=(place) x2=(place) y1=(frame.plot_y.0) y2=(frame.plot_y.1) {}
        }
    }
}

fn place_of(axis: Axis, row: u64, at: tidegate_vocab::Timestamp) -> f64 {
    match axis {
        Axis::Time => micros(at),
        Axis::Rows => row as f64,
    }
}

fn polyline(points: &[Point], axis: Axis, x: Scale, y: Scale) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(points.len() * 12);
    for (index, point) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{} {}", x.place(along(axis, point)), y.place(point.accuracy));
    }
    path
}

fn band(line: &Drawn, axis: Axis, x: Scale, y: Scale) -> Markup {
    let edge = |upper: bool| {
        line.points.iter().map(move |point| {
            let (low, high) = wilson_95(point.accuracy, point.rows);
            Point { accuracy: if upper { high } else { low }, ..*point }
        })
    };
    let upper: Vec<Point> = edge(true).collect();
    let lower: Vec<Point> = edge(false).rev().collect();
    let path = format!("{}{}Z", polyline(&upper, axis, x, y), polyline(&lower, axis, x, y).replacen('M', "L", 1));
    html! { path class=(format!("band {}", line.class)) d=(path) {} }
}

fn path_of_line(line: &Drawn, axis: Axis, x: Scale, y: Scale) -> Markup {
    html! {
        @for seed in &line.seeds { path class=(format!("seed {}", line.class)) d=(polyline(seed, axis, x, y)) {} }
        path class=(format!("line {}", line.class)) d=(polyline(&line.points, axis, x, y)) {}
    }
}

/// Invisible discs that name the value under the pointer.
fn tooltips(line: &Drawn, axis: Axis, x: Scale, y: Scale) -> Markup {
    let step = line.points.len().div_ceil(TOOLTIPS_MAX).max(1);
    html! {
        g class="tips" {
            @for point in line.points.iter().step_by(step) {
                circle cx=(x.place(along(axis, point))) cy=(y.place(point.accuracy)) r="7" {
                    title { (tooltip(line, axis, point)) }
                }
            }
        }
    }
}

fn tooltip(line: &Drawn, axis: Axis, point: &Point) -> String {
    let place = match axis {
        Axis::Time => format!("{}, row {}", day(point.at), grouped(point.row)),
        Axis::Rows => format!("row {}", grouped(point.row)),
    };
    if !line.has_band {
        return format!("{}, {place}: {:.3}", line.name, point.accuracy);
    }
    let (low, high) = wilson_95(point.accuracy, point.rows);
    format!("{}, {place}: {:.3} (95 % {low:.3} to {high:.3})", line.name, point.accuracy)
}

/// Names at the right ends of the lines, moved apart where they would touch.
fn direct_labels(drawn: &[Drawn], frame: &Frame, y: Scale) -> Markup {
    const APART: f64 = 16.0;
    let mut labels: Vec<(f64, &Drawn, f64)> =
        drawn.iter().filter_map(|line| line.points.last().map(|point| (y.place(point.accuracy), line, point.accuracy))).collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for index in 1..labels.len() {
        labels[index].0 = labels[index].0.max(labels[index - 1].0 + APART);
    }
    html! {
        @for (place, line, value) in labels {
            text class=(format!("label {}", line.class)) x=(frame.plot.1 + 8.0) y=(place + 4.0) {
                (clipped(&line.name, 14)) tspan class="value" dx="5" { (format!("{value:.3}")) }
            }
        }
    }
}

fn clipped(name: &str, chars_max: usize) -> String {
    if name.chars().count() <= chars_max {
        return name.to_owned();
    }
    let mut clipped: String = name.chars().take(chars_max - 1).collect();
    clipped.push('…');
    clipped
}

fn lane_marks(report: &BacktestReport, lane: &Lane, frame: &Frame, x: Scale, top: f64) -> Markup {
    let middle = if frame.lane_label_above { top + frame.lane_height - 15.0 } else { top + frame.lane_height / 2.0 };
    let name = report.lane_name(lane);
    let (label_x, label_y) = if frame.lane_label_above { (frame.plot.0, top + 12.0) } else { (frame.plot.1 + 8.0, middle + 4.0) };
    let trainings = report.trainings.iter().filter(|mark| mark.settings == lane.settings && mark.seed == lane.seed);
    let decisions = report.decisions.iter().filter(|mark| mark.settings == lane.settings && mark.seed == lane.seed);
    html! {
        g class="lane" {
            line class="rail" x1=(frame.plot.0) x2=(frame.plot.1) y1=(middle) y2=(middle) {}
            text class="lane-name" x=(label_x) y=(label_y) { (clipped(&name, 22)) }
            @for mark in trainings {
                g class="mark" transform=(format!("translate({} {middle})", x.place(place_of(report.axis, mark.row, mark.at)))) {
                    title { (day(mark.at)) ", row " (grouped(mark.row)) ": trained " (mark.version) ". " (mark.trigger) }
                    (training_shape())
                }
            }
            @for mark in decisions {
                g class="mark" transform=(format!("translate({} {middle})", x.place(place_of(report.axis, mark.row, mark.decision.at)))) {
                    title {
                        (day(mark.decision.at)) ", row " (grouped(mark.row)) ": " (decision_word(mark.decision.kind)) " "
                        (mark.decision.version) ". " (mark.decision.reason)
                    }
                    (shape(mark.decision.kind))
                }
            }
        }
    }
}

/// The mark of a training.
pub(super) fn training_shape() -> Markup {
    html! { path class="training" d="M0 -7V7" {} }
}

/// The mark of a decision.
pub(super) fn shape(kind: DecisionKind) -> Markup {
    html! {
        @match kind {
            DecisionKind::Promote => path class="promote" d="M0 -5.5L5.5 4.5H-5.5Z" {},
            DecisionKind::Hold => circle class="hold" r="4" {},
            DecisionKind::Reject => path class="reject" d="M-4 -4L4 4M4 -4L-4 4" {},
            DecisionKind::RollBack => path class="roll-back" d="M0 5.5L5.5 -4.5H-5.5Z" {},
        }
    }
}
