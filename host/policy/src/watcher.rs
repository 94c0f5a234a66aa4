//! The detector of one error rule, whichever it is, and what it says when it raises an alarm.

use serde::{Deserialize, Serialize};
use tidegate_vocab::Seed;

use crate::{Adwin, Ddm, Detector, Eddm, Kswin, PageHinkley};

/// A detector and its memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Watcher {
    Ddm(Ddm),
    Eddm(Eddm),
    PageHinkley(PageHinkley),
    Kswin(Kswin),
    /// Stored without its name, as it was when there was no other.
    #[serde(untagged)]
    Adwin(Adwin),
}

/// A rise of the share of wrong predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// The share before.
    pub before: f64,
    /// The share in the last `rows` rows.
    pub after: f64,
    pub rows: u64,
}

impl Watcher {
    /// A detector that has seen nothing.
    pub(crate) fn new(detector: Detector) -> Watcher {
        match detector {
            Detector::Adwin => Watcher::Adwin(Adwin::new()),
            Detector::Ddm => Watcher::Ddm(Ddm::new()),
            Detector::Eddm => Watcher::Eddm(Eddm::new()),
            Detector::PageHinkley => Watcher::PageHinkley(PageHinkley::new()),
            Detector::Kswin => Watcher::Kswin(Kswin::new()),
        }
    }

    /// Takes in whether one prediction was wrong. Some detectors notice a fall as well; becoming better is no alarm.
    pub(crate) fn update(&mut self, wrong: bool) -> Option<Alarm> {
        let value = f64::from(u8::from(wrong));
        let before = self.watched().map(|(mean, _)| mean);
        let changed = match self {
            Watcher::Adwin(adwin) => adwin.update(value),
            Watcher::Ddm(ddm) => ddm.update(value),
            Watcher::Eddm(eddm) => eddm.update(value),
            Watcher::PageHinkley(page_hinkley) => page_hinkley.update(value),
            // The draws only have to be fair; that they are always the same is what makes a story repeatable.
            Watcher::Kswin(kswin) => kswin.update(value, Seed(0)),
        };
        if !changed {
            return None;
        }
        let (before, after, rows) = match self {
            Watcher::Adwin(adwin) => (before?, adwin.mean()?, adwin.width()),
            Watcher::Ddm(ddm) => (ddm.lowest_rate()?, ddm.mean()?, ddm.width()),
            Watcher::Eddm(eddm) => (eddm.lowest_rate()?, eddm.mean()?, eddm.width()),
            Watcher::PageHinkley(page_hinkley) => page_hinkley.rise()?,
            Watcher::Kswin(kswin) => kswin.parts()?,
        };
        (after > before).then_some(Alarm { before, after, rows })
    }

    /// The share of wrong predictions that it looks at, and of how many.
    pub(crate) fn watched(&self) -> Option<(f64, u64)> {
        let (mean, width) = match self {
            Watcher::Adwin(adwin) => (adwin.mean(), adwin.width()),
            Watcher::Ddm(ddm) => (ddm.mean(), ddm.width()),
            Watcher::Eddm(eddm) => (eddm.mean(), eddm.width()),
            Watcher::PageHinkley(page_hinkley) => (page_hinkley.mean(), page_hinkley.width()),
            Watcher::Kswin(kswin) => (kswin.mean(), kswin.width()),
        };
        Some((mean?, width))
    }
}
