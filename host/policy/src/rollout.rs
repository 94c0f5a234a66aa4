//! A rollout before its canary: a new version answers copies of requests, and nobody sees its answers.
//!
//! A shadow shows what a gate cannot: that the version answers what is really asked, at all, and about as the champion does. It is
//! no comparison of quality, since nobody knows yet who is right where the two disagree.

use serde::{Deserialize, Serialize};

use crate::sentence::{count, percent};
use crate::{CanarySettings, CanaryVerdict, HardFault};

/// How a version takes over traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutSettings {
    /// Requests of which the new version answers a copy before it answers any; 0 for no shadow.
    pub shadow_requests: u64,
    /// The least share of mirrored rows on which it has to agree with the champion.
    pub agreement_min: f64,
    /// The canary; without steps a version serves after its shadow.
    pub canary: CanarySettings,
}

/// What a shadow has shown so far. Tallies add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShadowTally {
    /// Requests that were mirrored and answered.
    pub requests: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows to which both gave the same class.
    pub agreed: u64,
    /// Requests that were not mirrored, because answering users comes first.
    pub shed: u64,
    /// What it did that no version may do, where the champion answered.
    pub hard_fault: Option<HardFault>,
}

impl ShadowTally {
    /// Takes in another tally of the same shadow.
    pub fn merge(&mut self, other: &ShadowTally) {
        self.requests += other.requests;
        self.rows += other.rows;
        self.agreed += other.agreed;
        self.shed += other.shed;
        self.hard_fault = self.hard_fault.or(other.hard_fault);
    }

    /// What to do with a shadow that has shown this, and why: it goes on, is taken back, or is over
    /// ([`CanaryVerdict::NextStep`], or [`CanaryVerdict::Promote`] where no canary follows).
    pub fn look(&self, settings: &RolloutSettings) -> (CanaryVerdict, String) {
        if let Some(fault) = self.hard_fault {
            return (CanaryVerdict::RollBack, format!("rolled back: the shadow {}, where the champion answered", fault.sentence()));
        }
        let (requests, needed) = (self.requests, settings.shadow_requests);
        if requests < needed {
            return (CanaryVerdict::Continue, format!("continues: {} of {} requests mirrored", count(requests), count(needed)));
        }
        let agreement = if self.rows == 0 { 1.0 } else { self.agreed as f64 / self.rows as f64 };
        let seen = format!("the shadow agrees with the champion on {} of {} rows", percent(agreement), count(self.rows));
        if agreement < settings.agreement_min {
            return (CanaryVerdict::RollBack, format!("rolled back: {seen}, less than {}", percent(settings.agreement_min)));
        }
        match settings.canary.steps.first() {
            Some(share) => (CanaryVerdict::NextStep, format!("next step: {seen}; a canary of {} of traffic follows", percent(*share))),
            None => (CanaryVerdict::Promote, format!("through: {seen}")),
        }
    }
}

impl HardFault {
    /// What was done, as the end of a sentence.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            HardFault::ServerError => "answered with an internal error",
            HardFault::NotANumber => "answered a number that is none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(shadow_requests: u64, steps: &[f64]) -> RolloutSettings {
        let canary = CanarySettings { steps: steps.to_vec(), ..CanarySettings::usual() };
        RolloutSettings { shadow_requests, agreement_min: 0.5, canary }
    }

    #[track_caller]
    fn check(tally: ShadowTally, settings: &RolloutSettings, verdict: CanaryVerdict, reason: &str) {
        assert_eq!(tally.look(settings), (verdict, reason.to_owned()));
    }

    #[test]
    fn a_shadow_goes_on_is_over_or_is_taken_back() {
        let (with_canary, alone) = (settings(200, &[0.01, 0.5]), settings(200, &[]));
        let tally = |requests, rows, agreed| ShadowTally { requests, rows, agreed, ..ShadowTally::default() };
        check(ShadowTally::default(), &with_canary, CanaryVerdict::Continue, "continues: 0 of 200 requests mirrored");
        check(tally(199, 199, 0), &with_canary, CanaryVerdict::Continue, "continues: 199 of 200 requests mirrored");
        check(
            tally(200, 1_000, 930),
            &with_canary,
            CanaryVerdict::NextStep,
            "next step: the shadow agrees with the champion on 93.0 % of 1,000 rows; a canary of 1.0 % of traffic follows",
        );
        check(
            tally(200, 1_000, 500),
            &alone,
            CanaryVerdict::Promote,
            "through: the shadow agrees with the champion on 50.0 % of 1,000 rows",
        );
        check(
            tally(200, 1_000, 499),
            &with_canary,
            CanaryVerdict::RollBack,
            "rolled back: the shadow agrees with the champion on 49.9 % of 1,000 rows, less than 50.0 %",
        );
    }

    #[test]
    fn one_fault_ends_a_shadow_before_its_requests_are_over() {
        let mut tally = ShadowTally { requests: 3, rows: 3, agreed: 3, ..ShadowTally::default() };
        tally.merge(&ShadowTally { requests: 1, shed: 2, hard_fault: Some(HardFault::ServerError), ..ShadowTally::default() });
        assert_eq!((tally.requests, tally.shed), (4, 2));
        let reason = "rolled back: the shadow answered with an internal error, where the champion answered";
        check(tally, &settings(200, &[]), CanaryVerdict::RollBack, reason);
    }
}
