//! An actor's part in a rollout: has the new version checked, and tells the pipeline what came of requests.

use std::sync::Arc;
use std::time::Duration;

use tidegate_pipeline::{Event, Outcome, PipelineError};
use tidegate_serve::RolloutStatus;
use tidegate_vocab::{VersionNo, VersionState};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::actor::Actor;
use super::check::{CheckEnd, check};
use super::traffic::Split;
use crate::failure::Failure;

/// Time between two looks at what came of requests; a hard fault is looked at at once.
const LOOK_MS: u64 = 250;
/// Time until a check is tried again that said nothing about the version, and a version that did not load is loaded again.
const AGAIN_MS: u64 = 10_000;

/// What is remembered of a rollout between steps, and may be lost.
pub struct RolloutPace {
    /// The check under way.
    check: Option<(VersionNo, JoinHandle<CheckEnd>)>,
    /// When a check, or the loading of a checked version, is next tried.
    try_at: Instant,
    look_at: Instant,
    has_failed: bool,
}

impl RolloutPace {
    /// Nothing is under way.
    pub fn new() -> RolloutPace {
        RolloutPace { check: None, try_at: Instant::now(), look_at: Instant::now(), has_failed: false }
    }

    /// Waits until a look is due at what `split` has counted; for ever where nothing is shared out.
    pub fn look_due(&self, split: Option<Arc<Split>>) -> impl Future<Output = ()> + use<> {
        let (look_at, has_failed) = (self.look_at, self.has_failed);
        async move {
            match split {
                Some(_) if has_failed => tokio::time::sleep_until(look_at).await,
                Some(split) => split.due(look_at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for the end of the check under way; for ever where there is none.
    pub async fn checked(&mut self) -> (VersionNo, CheckEnd) {
        let Some((version, check)) = &mut self.check else { return std::future::pending().await };
        let version = *version;
        let end = check.await.unwrap_or_else(|error| CheckEnd::Again(format!("the check of {version} broke off: {error}")));
        self.check = None;
        (version, end)
    }
}

impl Actor {
    /// Takes the rollout under way further; whether anything moved.
    pub(super) async fn roll_out(&mut self, pace: &mut RolloutPace) -> Result<bool, PipelineError> {
        let Some(rollout) = self.pipeline.rollout().filter(|_| self.pipeline.settings().rollout.is_some()) else { return Ok(false) };
        if rollout.state == VersionState::Blessed {
            if pace.check.is_none() && Instant::now() >= pace.try_at {
                let version = rollout.version;
                pace.check = Some((version, tokio::spawn(check(self.check.clone(), version))));
            }
            return Ok(false);
        }
        let Some(split) = self.router.split() else {
            // Its check went well, and it did not load: the champion answers alone until it does.
            if Instant::now() >= pace.try_at {
                pace.try_at = Instant::now() + Duration::from_millis(AGAIN_MS);
                self.announce().await;
            }
            return Ok(false);
        };
        if Instant::now() < pace.look_at && (pace.has_failed || !split.is_urgent()) {
            return Ok(false);
        }
        pace.look_at = Instant::now() + Duration::from_millis(LOOK_MS);
        let Some(news) = split.drain() else { return Ok(false) };
        let handled = self.pipeline.handle(Event::Answered(Box::new(news.clone()))).await;
        pace.has_failed = handled.is_err();
        if pace.has_failed {
            // What was seen is looked at again: a fault that is forgotten would leave a version in its canary for ever.
            split.give_back(news);
        }
        let moved = handled? == Outcome::Moved;
        if moved {
            self.announce().await;
        }
        Ok(moved)
    }

    /// A check has ended.
    pub(super) async fn check_ended(&mut self, pace: &mut RolloutPace, version: VersionNo, end: CheckEnd) -> Result<(), Failure> {
        match end {
            CheckEnd::Found(found) => {
                self.pipeline.handle(Event::Checked { version, found }).await?;
                self.announce().await;
            }
            CheckEnd::Again(why) => {
                pace.try_at = Instant::now() + Duration::from_millis(AGAIN_MS);
                return Err(Failure::usage(why, format!("it is tried again every {} s", AGAIN_MS / 1_000)));
            }
        }
        Ok(())
    }

    /// Where the rollout stands, for people.
    pub(super) fn rollout_status(&self) -> Option<RolloutStatus> {
        let rollout = self.pipeline.rollout()?;
        let settings = self.pipeline.settings().rollout.as_ref();
        let held =
            || format!("waits: the settings have no `rollout` any more; `tidegate promote {}` or `tidegate rollback`", rollout.version);
        let (requests, requests_needed) = match (rollout.state, settings) {
            (VersionState::Shadow, Some(settings)) => (rollout.shadow.requests, settings.shadow_requests),
            (VersionState::Canary, Some(settings)) => (rollout.canary.requests(), settings.canary.requests_of_step(rollout.canary.step)),
            _ => (0, 0),
        };
        Some(RolloutStatus {
            version: rollout.version,
            stage: match rollout.state {
                VersionState::Blessed => "check",
                VersionState::Shadow => "shadow",
                _ => "canary",
            }
            .to_owned(),
            since: rollout.since,
            share: settings.map_or(0.0, |settings| rollout.share(settings)),
            requests,
            requests_needed,
            reason: match (settings, self.router.left_out()) {
                (None, _) => held(),
                (Some(_), Some(why)) => format!("waits: {} does not load, and is tried again: {why}", rollout.version),
                (Some(_), None) => rollout.reason.clone(),
            },
        })
    }
}
