//! The loop as a picture: where a row goes, who waits at each place, and where work is going on now.
//!
//! It is drawn twice, wide and narrow, so that its letters keep their size on both; the page shows one.

use maud::{Markup, html};

use super::words::{clipped, grouped};
use crate::status::{Node, PipelineStatus};

/// Size of a box, and distance between two, in units of the drawing.
struct Layout {
    class: &'static str,
    box_size: (f64, f64),
    step: (f64, f64),
    /// Column and row of each place, in the order of the loop.
    places: [(u8, u8); 9],
    detail_chars_max: usize,
}

const WIDE: Layout = Layout {
    class: "ring wide",
    box_size: (162.0, 58.0),
    step: (204.5, 112.0),
    places: [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (3, 1), (2, 1), (1, 1)],
    detail_chars_max: 21,
};

const NARROW: Layout = Layout {
    class: "ring narrow",
    box_size: (158.0, 54.0),
    step: (198.0, 84.0),
    places: [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3), (1, 2), (1, 1)],
    detail_chars_max: 20,
};

/// One place of the loop.
struct Place {
    name: &'static str,
    detail: String,
    is_active: bool,
}

/// The loop of a pipeline.
pub(super) fn ring(pipeline: &PipelineStatus) -> Markup {
    let places = places(pipeline);
    html! {
        (drawn(&WIDE, &places))
        (drawn(&NARROW, &places))
    }
}

fn places(pipeline: &PipelineStatus) -> [Place; 9] {
    let place = |name, detail: String, node: Option<Node>| Place { name, detail, is_active: node == Some(pipeline.at) };
    let names = |names: &[tidegate_vocab::PluginName], none: &str| match names {
        [] => none.to_owned(),
        names => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let kept_out: u64 = pipeline.quarantined.iter().map(|(_, _, rows)| rows).sum();
    let champion = pipeline.champion.as_ref().map_or_else(|| "nobody yet".to_owned(), |champion| champion.version.to_string());
    let trained = pipeline.run.as_ref().and_then(|run| run.progress);
    [
        place("Source", pipeline.source.to_string(), Some(Node::Source)),
        place("Cleaners", names(&pipeline.cleaners, "none"), Some(Node::Cleaners)),
        place("Contract", count(pipeline.features.len(), "feature", "features"), None),
        place("Dataset", format!("{} rows", grouped(pipeline.rows.saturating_sub(kept_out))), None),
        place("Train", trained.map_or_else(|| pipeline.family.clone(), |share| format!("{:.0} %", share * 100.0)), Some(Node::Train)),
        place("Gate", names(&pipeline.evaluators, "no evaluator"), Some(Node::Gate)),
        place("Champion", champion, None),
        place("Serve", format!("{} answers", grouped(pipeline.predictions)), None),
        place("Monitor", format!("{} labels", grouped(pipeline.labels)), Some(Node::Monitor)),
    ]
}

fn drawn(layout: &Layout, places: &[Place; 9]) -> Markup {
    let (columns, rows) = layout.places.iter().fold((0, 0), |(columns, rows), (column, row)| (columns.max(*column), rows.max(*row)));
    let width = layout.step.0 * f64::from(columns) + layout.box_size.0 + 4.0;
    let height = layout.step.1 * f64::from(rows) + layout.box_size.1 + 4.0;
    let active = places.iter().find(|place| place.is_active).map_or("", |place| place.name);
    html! {
        svg class=(layout.class) viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(format!("The loop, at work in: {active}")) {
            g class="ways" { @for way in ways(layout) { path d=(way) {} } }
            g class="heads" { @for (x, y, angle) in heads(layout) { path d="M0 0L-8 -4.5V4.5Z" transform=(format!("translate({x} {y}) rotate({angle})")) {} } }
            @for (place, at) in places.iter().zip(layout.places) { (box_of(layout, place, at)) }
        }
    }
}

fn box_of(layout: &Layout, place: &Place, at: (u8, u8)) -> Markup {
    let (x, y) = corner(layout, at);
    let (width, height) = layout.box_size;
    html! {
        g class=(if place.is_active { "place active" } else { "place" }) transform=(format!("translate({x} {y})")) {
            title { (place.name) ": " (place.detail) }
            @if place.is_active { rect class="halo" width=(width) height=(height) rx="10" {} }
            rect class="box" width=(width) height=(height) rx="10" {}
            @if place.is_active { circle class="dot" cx=(width - 16.0) cy="16" r="4" {} }
            text class="name" x="14" y=(height / 2.0 - 4.0) { (place.name) }
            text class="detail" x="14" y=(height / 2.0 + 15.0) { (clipped(&place.detail, layout.detail_chars_max)) }
        }
    }
}

fn corner(layout: &Layout, (column, row): (u8, u8)) -> (f64, f64) {
    (2.0 + layout.step.0 * f64::from(column), 2.0 + layout.step.1 * f64::from(row))
}

fn middle(layout: &Layout, at: (u8, u8)) -> (f64, f64) {
    let (x, y) = corner(layout, at);
    (x + layout.box_size.0 / 2.0, y + layout.box_size.1 / 2.0)
}

/// Each place and the one after it; after the last comes the first.
fn pairs(layout: &Layout) -> impl Iterator<Item = ((u8, u8), (u8, u8))> {
    let next = layout.places.iter().cycle().skip(1);
    layout.places.iter().copied().zip(next.copied())
}

/// Lines between the middles of neighbours; boxes cover what lies under them. The way back from the last place has a corner.
fn ways(layout: &Layout) -> Vec<String> {
    let way = |(from, to): ((u8, u8), (u8, u8))| {
        let ((x, y), (to_x, to_y)) = (middle(layout, from), middle(layout, to));
        let is_straight = from.0 == to.0 || from.1 == to.1;
        match layout.class {
            _ if is_straight => format!("M{x} {y}L{to_x} {to_y}"),
            "ring wide" => format!("M{x} {y}H{}Q{to_x} {y} {to_x} {}V{to_y}", to_x + 14.0, y - 14.0),
            _ => format!("M{x} {y}V{}Q{x} {to_y} {} {to_y}H{to_x}", to_y + 14.0, x - 14.0),
        }
    };
    pairs(layout).map(way).collect()
}

/// Where each way ends and in which direction, in degrees.
fn heads(layout: &Layout) -> Vec<(f64, f64, i32)> {
    let (half_width, half_height) = (layout.box_size.0 / 2.0, layout.box_size.1 / 2.0);
    let head = |(from, to): ((u8, u8), (u8, u8))| {
        let (x, y) = middle(layout, to);
        let is_upright = from.0 == to.0 || (from.1 != to.1 && layout.class == "ring wide");
        match (is_upright, from.1 > to.1, from.0 > to.0) {
            (true, true, _) => (x, y + half_height + 1.0, -90),
            (true, false, _) => (x, y - half_height - 1.0, 90),
            (false, _, true) => (x + half_width + 1.0, y, 180),
            (false, _, false) => (x - half_width - 1.0, y, 0),
        }
    };
    pairs(layout).map(head).collect()
}
