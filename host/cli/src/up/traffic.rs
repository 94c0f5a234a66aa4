//! The requests of a rollout: which arm each belongs to, and what has come of them since the pipeline last looked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_pipeline::{Answered, Rollout};
use tidegate_policy::{ArmTally, HardFault, Outcome, RolloutSettings, ShadowTally, arm_of};
use tidegate_serve::{ArmFault, Ended, Mirrored, Place, Traffic};
use tidegate_vocab::{Seed, TrafficArm, VersionNo, VersionState};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is shared out, as one number that every request reads: bits of the canary's share, or one of these.
const NOBODY: u64 = 0;
/// The champion answers, and the new version gets copies.
const MIRRORED: u64 = u64::MAX;

/// One rollout as the server sees it. It stays the same from the first mirrored request to the end, so that nothing is lost of
/// requests that are under way when a step ends.
pub struct Split {
    version: VersionNo,
    seed: Seed,
    share: AtomicU64,
    /// Set at a hard fault, so that no further request reaches the new version before the pipeline has taken it back.
    is_closed: AtomicBool,
    tally: Mutex<Answered>,
    news: Notify,
}

impl Split {
    /// Nobody is shared out to `version` yet. Who is in the canary follows from `seed`, which differs from version to version, so
    /// that the same few do not try out every one.
    pub fn new(version: VersionNo, seed: Seed) -> Split {
        Split {
            version,
            seed: seed.derive(&version.to_string()),
            share: AtomicU64::new(NOBODY),
            is_closed: AtomicBool::new(false),
            tally: Mutex::new(nothing(version)),
            news: Notify::new(),
        }
    }

    /// Shares out as `rollout` stands now.
    pub fn stands(&self, rollout: &Rollout, settings: &RolloutSettings) {
        let share = match rollout.state {
            VersionState::Shadow => MIRRORED,
            VersionState::Canary => rollout.share(settings).to_bits(),
            _ => NOBODY,
        };
        self.share.store(share, Ordering::Release);
    }

    /// The rollout is over: requests that still hold a route with it go to the champion.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// What has come since the last time; `None` where nothing has.
    pub fn drain(&self) -> Option<Answered> {
        let taken = std::mem::replace(&mut *self.tally(), nothing(self.version));
        (taken != nothing(self.version)).then_some(taken)
    }

    /// Takes back what was drained and could not be looked at.
    pub fn give_back(&self, news: Answered) {
        let mut tally = self.tally();
        tally.shadow.merge(&news.shadow);
        tally.canary.merge(&news.canary);
        tally.control.merge(&news.control);
    }

    /// Waits until there is something to look at: at once after a hard fault, else not before `not_before`.
    pub async fn due(&self, not_before: Instant) {
        loop {
            let has_news = *self.tally() != nothing(self.version);
            match (self.is_urgent() || Instant::now() >= not_before, has_news) {
                (true, true) => return,
                (false, true) => tokio::select! {
                    () = tokio::time::sleep_until(not_before) => return,
                    () = self.news.notified() => {}
                },
                (_, false) => self.news.notified().await,
            }
        }
    }

    /// Whether something was seen that no version may do.
    pub fn is_urgent(&self) -> bool {
        let tally = self.tally();
        tally.shadow.hard_fault.is_some() || tally.canary.hard_fault.is_some()
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Answered> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fault: Option<ArmFault>, change: impl FnOnce(&mut Answered, Option<HardFault>)) {
        let fault = fault.map(|fault| match fault {
            ArmFault::ServerError => HardFault::ServerError,
            ArmFault::NotANumber => HardFault::NotANumber,
        });
        if fault.is_some() {
            self.close();
        }
        let was_empty = {
            let mut tally = self.tally();
            let was_empty = *tally == nothing(self.version);
            change(&mut tally, fault);
            was_empty
        };
        if was_empty || fault.is_some() {
            self.news.notify_one();
        }
    }
}

fn nothing(version: VersionNo) -> Answered {
    Answered { version, shadow: ShadowTally::default(), canary: ArmTally::default(), control: ArmTally::default() }
}

impl Traffic for Split {
    fn place(&self, key: &str) -> Place {
        if self.is_closed.load(Ordering::Acquire) {
            return Place::Arm(TrafficArm::Rest);
        }
        match self.share.load(Ordering::Acquire) {
            NOBODY => Place::Arm(TrafficArm::Rest),
            MIRRORED => Place::Mirrored,
            share => Place::Arm(arm_of(key, f64::from_bits(share), self.seed)),
        }
    }

    fn answered(&self, arm: TrafficArm, ended: Ended) {
        self.count(ended.fault, |tally, hard_fault| {
            let outcome = Outcome { error: ended.failed, latency_s: ended.seconds, quality: None, tokens: None, hard_fault };
            match arm {
                TrafficArm::Canary => tally.canary.record(&outcome),
                TrafficArm::Control => tally.control.record(&outcome),
                TrafficArm::Rest => {}
            }
        });
    }

    fn mirrored(&self, mirrored: Mirrored) {
        let fault = if let Mirrored::Fault(fault) = mirrored { Some(fault) } else { None };
        self.count(fault, |tally, hard_fault| {
            let shadow = &mut tally.shadow;
            match mirrored {
                Mirrored::Answered { rows, agreed } => {
                    shadow.requests += 1;
                    shadow.rows += rows;
                    shadow.agreed += agreed;
                }
                Mirrored::Fault(_) => shadow.hard_fault = shadow.hard_fault.or(hard_fault),
                Mirrored::Shed => shadow.shed += 1,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn split(share: f64) -> Split {
        let split = Split::new(VersionNo(3), Seed(7));
        split.share.store(share.to_bits(), Ordering::Release);
        split
    }

    fn places(split: &Split) -> [usize; 3] {
        let mut counts = [0; 3];
        for key in 0..1_000 {
            match split.place(&key.to_string()) {
                Place::Arm(TrafficArm::Canary) => counts[0] += 1,
                Place::Arm(TrafficArm::Control) => counts[1] += 1,
                Place::Arm(TrafficArm::Rest) => counts[2] += 1,
                Place::Mirrored => {}
            }
        }
        counts
    }

    #[test]
    fn a_fault_closes_the_split_before_anybody_looks() {
        let split = split(0.5);
        let [canary, control, rest] = places(&split);
        assert!(canary > 400 && control > 400 && rest == 0, "{canary} {control} {rest}");
        let fine = Ended { seconds: 0.001, failed: false, fault: None };
        split.answered(TrafficArm::Canary, fine);
        assert_eq!(places(&split), [canary, control, rest], "an answer changes nothing");
        split.answered(TrafficArm::Canary, Ended { failed: true, fault: Some(ArmFault::NotANumber), ..fine });
        assert_eq!(places(&split), [0, 0, 1_000]);
        let news = split.drain().unwrap();
        assert_eq!((news.version, news.canary.requests, news.canary.hard_fault), (VersionNo(3), 2, Some(HardFault::NotANumber)));
        assert_eq!(split.drain(), None, "it was taken");
    }

    #[test]
    fn another_version_is_tried_by_others() {
        let of = |version: u32| {
            let split = Split { share: AtomicU64::new(0.1f64.to_bits()), ..Split::new(VersionNo(version), Seed(7)) };
            (0..200).filter(|key| split.place(&key.to_string()) == Place::Arm(TrafficArm::Canary)).collect::<Vec<_>>()
        };
        assert_ne!(of(3), of(4));
        assert_eq!(of(3), of(3));
    }

    #[test]
    fn copies_are_counted_by_what_became_of_them() {
        let split = split(0.5);
        split.share.store(MIRRORED, Ordering::Release);
        assert_eq!(split.place("a"), Place::Mirrored);
        split.mirrored(Mirrored::Answered { rows: 3, agreed: 2 });
        split.mirrored(Mirrored::Shed);
        let shadow = split.drain().unwrap().shadow;
        assert_eq!((shadow.requests, shadow.rows, shadow.agreed, shadow.shed, shadow.hard_fault), (1, 3, 2, 1, None));
        split.mirrored(Mirrored::Fault(ArmFault::ServerError));
        assert_eq!(split.place("a"), Place::Arm(TrafficArm::Rest));
        assert_eq!(split.drain().unwrap().shadow.hard_fault, Some(HardFault::ServerError));
    }

    #[tokio::test]
    async fn news_waits_for_its_time_and_a_fault_does_not() {
        let split = split(0.5);
        let (past, far) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(3_600));
        let fine = Ended { seconds: 0.001, failed: false, fault: None };
        assert_eq!(split.due(past).now_or_never(), None, "nothing has come");
        split.answered(TrafficArm::Control, fine);
        assert_eq!(split.due(far).now_or_never(), None, "it is not time yet");
        assert_eq!(split.due(past).now_or_never(), Some(()));
        split.answered(TrafficArm::Canary, Ended { fault: Some(ArmFault::ServerError), ..fine });
        assert_eq!(split.due(far).now_or_never(), Some(()), "a fault is looked at once");
        let news = split.drain().unwrap();
        split.give_back(news.clone());
        assert_eq!(split.drain(), Some(news), "what could not be looked at is not lost");
    }
}
