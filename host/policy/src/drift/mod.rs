//! Drift: have the rows that arrive moved away from those that a champion learned from?
//!
//! A feature drifts when its effect is larger than such windows usually show in the reference ([`feature`]), larger than anybody minds,
//! significant after correction over all features (Benjamini and Hochberg), and all that in 2 of the last 3 disjoint windows. Defaults
//! that ask for less alarm on identical rows. Drift says that rows have moved, and not that answers became worse: it may start a run,
//! and decides nothing.

mod feature;
mod sketch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::feature::FeatureReference;
use self::sketch::Sketch;
use crate::benjamini_hochberg;
use crate::sentence::count;

pub use self::sketch::DriftColumn;

/// Windows that a feature is remembered for, and of these, those in which it has to move.
const REMEMBERED: usize = 3;
const PERSISTENT: usize = 2;
/// Features that a sentence names.
const NAMED_MAX: usize = 3;

/// How drift is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriftSettings {
    /// Rows of one window; at least [`DriftSettings::ROWS_MIN`].
    pub window_rows: u64,
    /// The least effect that anybody minds: distance in spreads of numbers, Jensen-Shannon distance of words, share of missing rows.
    pub effect_min: f64,
    /// The share of false ones that is put up with among features found to move in a window.
    pub q: f64,
    /// Whether rows are declared not to depend on each other.
    pub independent: bool,
}

impl DriftSettings {
    /// Rows below which nothing is said.
    pub const ROWS_MIN: u64 = 300;

    /// Windows of 500 rows, 0.1, 0.05, for rows in time.
    pub fn usual() -> DriftSettings {
        DriftSettings { window_rows: 500, effect_min: 0.1, q: 0.05, independent: false }
    }
}

/// The rows that a champion learned from, as far as drift needs them. Its size does not depend on their number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReference {
    settings: DriftSettings,
    features: Vec<FeatureReference>,
    /// Columns of which drift cannot be measured, and why.
    pub refused: Vec<(String, String)>,
}

/// Rows since the last window was whole. Windows add up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DriftWindow {
    sketches: Vec<Sketch>,
    rows: u64,
}

/// In which of the last windows each feature moved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftState {
    moved: BTreeMap<String, Vec<bool>>,
}

/// One feature in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureDrift {
    /// Its name.
    pub name: String,
    /// How far it has moved.
    pub effect: f64,
    /// The effect that 99 % of usual windows stay below.
    pub usual: f64,
    /// The chance of such an effect without drift, corrected over all features.
    pub p: f64,
    /// Whether it moved in this window.
    pub moved: bool,
    /// Whether it drifts: it moved in 2 of the last 3 windows, this one among them.
    pub drifts: bool,
    /// The population stability index, and what it stays below 99 times of 100 for independent rows without drift.
    pub psi: Option<(f64, f64)>,
}

/// What was found of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftLook {
    /// Its rows.
    pub rows: u64,
    /// Every feature, the one that moved most first.
    pub features: Vec<FeatureDrift>,
    /// One sentence for people.
    pub reason: String,
}

impl DriftReference {
    /// The reference of these columns of the same rows, in the order of time.
    pub fn of(columns: &[(&str, DriftColumn<'_>)], settings: DriftSettings) -> DriftReference {
        let (mut features, mut refused) = (Vec::new(), Vec::new());
        for (name, column) in columns {
            match FeatureReference::of(name, *column, settings.window_rows as usize) {
                Ok(feature) => features.push(feature),
                Err(why) => refused.push(((*name).to_owned(), why)),
            }
        }
        DriftReference { settings, features, refused }
    }

    /// How drift is looked for.
    pub fn settings(&self) -> &DriftSettings {
        &self.settings
    }

    /// The columns that windows need, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// Adds rows to a window: the columns of [`DriftReference::columns`], in that order.
    pub fn add(&self, window: &mut DriftWindow, columns: &[DriftColumn<'_>]) {
        let sketches: Vec<Sketch> = self.features.iter().zip(columns).map(|(feature, column)| feature.sketch(*column)).collect();
        window.rows += columns.first().map_or(0, |column| column.len() as u64);
        match window.sketches.is_empty() {
            true => window.sketches = sketches,
            false => window.sketches.iter_mut().zip(&sketches).for_each(|(all, more)| all.merge(more)),
        }
    }

    /// Looks at a window, and remembers what moved. `None` of too few rows, about which nothing can be said.
    pub fn look(&self, window: &DriftWindow, state: &mut DriftState) -> Option<DriftLook> {
        if window.rows < DriftSettings::ROWS_MIN || window.sketches.len() != self.features.len() {
            return None;
        }
        let settings = &self.settings;
        let distances: Vec<_> =
            self.features.iter().zip(&window.sketches).map(|(feature, rows)| feature.distance(rows, settings.independent)).collect();
        let corrected = benjamini_hochberg(&distances.iter().map(|distance| distance.p).collect::<Vec<_>>());
        let mut features = Vec::with_capacity(distances.len());
        for ((feature, distance), p) in self.features.iter().zip(distances).zip(corrected) {
            let moved = distance.effect > distance.threshold && distance.effect > settings.effect_min && p <= settings.q;
            let drifts = state.remember(&feature.name, moved) && moved;
            let (name, usual) = (feature.name.clone(), distance.threshold);
            features.push(FeatureDrift { name, effect: distance.effect, usual, p, moved, drifts, psi: distance.psi });
        }
        // Those that drift first, then by how far each is beyond what is usual for it.
        let far = |feature: &FeatureDrift| feature.effect / feature.usual.max(settings.effect_min);
        features.sort_by(|a, b| b.drifts.cmp(&a.drifts).then(far(b).total_cmp(&far(a))));
        let reason = sentence(&features, window.rows);
        Some(DriftLook { rows: window.rows, features, reason })
    }
}

impl DriftWindow {
    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds the rows of another window over the same reference.
    pub fn merge(&mut self, other: &DriftWindow) {
        self.rows += other.rows;
        match self.sketches.is_empty() {
            true => self.sketches.clone_from(&other.sketches),
            false => self.sketches.iter_mut().zip(&other.sketches).for_each(|(all, more)| all.merge(more)),
        }
    }
}

impl DriftState {
    /// Notes whether a feature moved; whether it did so in enough of the last windows.
    fn remember(&mut self, name: &str, moved: bool) -> bool {
        let last = self.moved.entry(name.to_owned()).or_default();
        last.push(moved);
        let over = last.len().saturating_sub(REMEMBERED);
        last.drain(..over);
        last.iter().filter(|moved| **moved).count() >= PERSISTENT
    }
}

impl DriftLook {
    /// The features that drift.
    pub fn drifting(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.drifts)
    }

    /// Whether any feature drifts.
    pub fn drifts(&self) -> bool {
        self.drifting().next().is_some()
    }
}

fn sentence(features: &[FeatureDrift], rows: u64) -> String {
    let told = |feature: &FeatureDrift| format!("`{}` by {:.2} (usual up to {:.2})", feature.name, feature.effect, feature.usual);
    let named = |which: &dyn Fn(&FeatureDrift) -> bool| -> (usize, String) {
        let found: Vec<&FeatureDrift> = features.iter().filter(|feature| which(feature)).collect();
        let words: Vec<String> = found.iter().take(NAMED_MAX).map(|feature| told(feature)).collect();
        let more = found.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (found.len(), format!("{}{more}", words.join(", ")))
    };
    let of = format!("of {} features, over {} rows", features.len(), count(rows));
    let (drifting, which) = named(&|feature| feature.drifts);
    if drifting > 0 {
        return format!("{drifting} {of}, moved in {PERSISTENT} of the last {REMEMBERED} windows: {which}");
    }
    match named(&|feature| feature.moved) {
        (0, _) => format!("nothing moved {of}"),
        (moved, which) => format!("{moved} {of}, moved in this window alone: {which}"),
    }
}
