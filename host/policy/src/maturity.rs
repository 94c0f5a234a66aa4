//! How late labels come: the share that is known by an age, estimated while many have not come yet.
//!
//! Counting rows with labels alone would say that all labels come early: the late ones are not there to be counted. A row without one is
//! therefore taken as known to be later than its age now (Kaplan and Meier 1958, the label's arrival as the event).

use serde::{Deserialize, Serialize};

/// A row, and how old it was when its label became known; or how old it is now, without one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelAge {
    /// Seconds.
    pub age_s: f64,
    /// Whether the label came at that age.
    pub is_known: bool,
}

/// The share of labels known by each age.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Maturity {
    /// Rows it was estimated from.
    pub rows: u64,
    /// Of these, rows whose label is known.
    pub known: u64,
    /// Ages in seconds at which labels came, rising, each with the share known by then and that share's standard error (Greenwood 1926;
    /// 0 at the last step where nothing is left).
    pub steps: Vec<MaturityStep>,
}

/// One age at which labels came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaturityStep {
    /// Seconds.
    pub age_s: f64,
    /// The share of labels known by that age.
    pub share: f64,
    /// Its standard error.
    pub error: f64,
}

impl Maturity {
    /// The curve of these rows. Ages that are no number are left out; one below 0, of a label that was known before its row, counts as 0.
    pub fn of(ages: &[LabelAge]) -> Maturity {
        let mut ages: Vec<LabelAge> = ages.iter().copied().filter(|row| row.age_s.is_finite()).collect();
        ages.iter_mut().for_each(|row| row.age_s = row.age_s.max(0.0));
        ages.sort_by(|a, b| a.age_s.total_cmp(&b.age_s));
        let known = ages.iter().filter(|row| row.is_known).count() as u64;
        let (mut unknown, mut greenwood, mut steps) = (1.0, 0.0, Vec::new());
        let mut at_risk = ages.len() as f64;
        for same in ages.chunk_by(|a, b| a.age_s == b.age_s) {
            let came = same.iter().filter(|row| row.is_known).count() as f64;
            if came > 0.0 {
                unknown *= 1.0 - came / at_risk;
                greenwood += came / (at_risk * (at_risk - came));
                let error = if unknown > 0.0 { unknown * greenwood.sqrt() } else { 0.0 };
                steps.push(MaturityStep { age_s: same[0].age_s, share: 1.0 - unknown, error });
            }
            at_risk -= same.len() as f64;
        }
        Maturity { rows: ages.len() as u64, known, steps }
    }

    /// The share of labels known by an age of so many seconds.
    pub fn share_by(&self, age_s: f64) -> f64 {
        let after = self.steps.partition_point(|step| step.age_s <= age_s);
        after.checked_sub(1).map_or(0.0, |index| self.steps[index].share)
    }

    /// The age in seconds by which `share` of the labels are known; `None` while nobody has seen so many come.
    pub fn age_of(&self, share: f64) -> Option<f64> {
        self.steps.iter().find(|step| step.share >= share - 1e-12).map(|step| step.age_s)
    }

    /// The curve at `count` ages at most, evenly apart in share, for people and pictures.
    pub fn thinned(&self, count: usize) -> Vec<MaturityStep> {
        if self.steps.len() <= count {
            return self.steps.clone();
        }
        let last = self.steps.len() - 1;
        (0..count).map(|index| self.steps[index * last / (count - 1).max(1)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ages(known: &[f64], waiting: &[f64]) -> Vec<LabelAge> {
        let of = |is_known| move |age_s: &f64| LabelAge { age_s: *age_s, is_known };
        known.iter().map(of(true)).chain(waiting.iter().map(of(false))).collect()
    }

    #[test]
    fn rows_that_wait_count_as_later_and_not_as_missing() {
        let all_known = Maturity::of(&ages(&[10.0, 20.0, 30.0, 40.0], &[]));
        assert_eq!((all_known.age_of(0.5), all_known.age_of(1.0), all_known.share_by(35.0)), (Some(20.0), Some(40.0), 0.75));
        // Young rows that wait say nothing about later ages.
        let young = Maturity::of(&ages(&[10.0, 20.0, 30.0, 40.0], &[5.0; 100]));
        assert_eq!((young.steps.clone(), young.rows), (all_known.steps, 104));
        // Old ones do.
        let old = Maturity::of(&ages(&[10.0, 20.0, 30.0, 40.0], &[50.0; 4]));
        assert_eq!((old.age_of(0.5), old.age_of(0.51), old.share_by(1e9)), (Some(40.0), None, 0.5));
        assert_eq!((Maturity::of(&[]), Maturity::of(&ages(&[f64::NAN], &[])).rows), (Maturity::default(), 0));
        assert_eq!(Maturity::of(&ages(&[-5.0], &[])).steps[0].age_s, 0.0);
    }

    #[test]
    fn a_thinned_curve_keeps_both_ends() {
        let curve = Maturity::of(&ages(&(0..100).map(f64::from).collect::<Vec<_>>(), &[]));
        let thinned = curve.thinned(5);
        assert_eq!((thinned.len(), thinned[0], thinned[4]), (5, curve.steps[0], curve.steps[99]));
        assert_eq!(curve.thinned(200).len(), 100);
    }

    proptest! {
        #[test]
        fn the_curve_rises_from_0_to_at_most_1(rows in prop::collection::vec((0.0..1e6f64, any::<bool>()), 0..200)) {
            let rows: Vec<LabelAge> = rows.into_iter().map(|(age_s, is_known)| LabelAge { age_s, is_known }).collect();
            let curve = Maturity::of(&rows);
            let rises = curve.steps.windows(2).all(|pair| pair[0].age_s < pair[1].age_s && pair[0].share <= pair[1].share + 1e-12);
            prop_assert!(rises);
            prop_assert!(curve.steps.iter().all(|step| (0.0..=1.0 + 1e-12).contains(&step.share) && step.error >= 0.0));
        }
    }
}
