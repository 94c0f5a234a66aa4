//! Who answers a request while a version is rolled out.
//!
//! Invariant: a new version costs nobody an answer. Where it fails, the champion answers; a copy that it gets waits for room that no
//! request of a user wants.

use std::sync::Arc;

use http::StatusCode;
use tidegate_model::Predictions;
use tidegate_vocab::{Batch, TrafficArm};
use tokio::time::Instant;

use super::{answer, predict};
use crate::app::App;
use crate::ports::{Arm, ModelRoute};
use crate::refusal::Refusal;
use crate::traffic::{ArmFault, Ended, Mirrored, Place, RolloutRoute, Traffic};

/// What a request was answered.
pub(crate) struct Answer {
    /// By whom.
    pub by: Arc<Arm>,
    /// What.
    pub predictions: Predictions,
    /// The arm that it counts in.
    pub counted: Option<TrafficArm>,
}

/// Answers the rows of one request, whose place in a rollout follows from `key`.
pub(crate) async fn answer_shared(
    app: &Arc<App>,
    route: &ModelRoute,
    champion: &Arc<Arm>,
    rollout: &RolloutRoute,
    key: &str,
    rows: Batch,
) -> Result<Answer, Refusal> {
    let by_champion = |predictions, counted| Answer { by: Arc::clone(champion), predictions, counted };
    match rollout.traffic.place(key) {
        Place::Arm(TrafficArm::Rest) => Ok(by_champion(predict(app, champion, route, rows).await?, None)),
        Place::Mirrored => {
            let predictions = predict(app, champion, route, rows.clone()).await?;
            mirror(app, route, rollout, rows, &predictions);
            Ok(by_champion(predictions, None))
        }
        Place::Arm(TrafficArm::Control) => {
            let counted = Counted::begin(rollout, TrafficArm::Control);
            let answered = predict(app, champion, route, rows).await;
            counted.end(answered.as_ref().err(), None);
            Ok(by_champion(answered?, Some(TrafficArm::Control)))
        }
        Place::Arm(TrafficArm::Canary) => {
            let counted = Counted::begin(rollout, TrafficArm::Canary);
            let answered = checked(predict(app, &rollout.arm, route, rows.clone()).await);
            let (failure, fault) = match answered {
                Ok(predictions) => {
                    counted.end(None, None);
                    return Ok(Answer { by: Arc::clone(&rollout.arm), predictions, counted: Some(TrafficArm::Canary) });
                }
                Err(failed) => failed,
            };
            let Some(fault) = fault else {
                counted.end(Some(&failure), None);
                return Err(failure);
            };
            // Only where the champion can answer is it the new version's fault; where it cannot either, the two are alike.
            let counted = counted.stop();
            let instead = predict(app, champion, route, rows).await;
            counted.end(Some(&failure), Some(fault).filter(|_| instead.is_ok()));
            Ok(by_champion(instead?, None))
        }
    }
}

/// An answer without a number that is none, or why it is none and whose fault that is.
fn checked(answered: Result<Predictions, Refusal>) -> Result<Predictions, (Refusal, Option<ArmFault>)> {
    match answered {
        Ok(predictions) if predictions.probabilities.iter().any(|share| !share.is_finite()) => {
            Err((Refusal::fault("a probability is not a number"), Some(ArmFault::NotANumber)))
        }
        Ok(predictions) => Ok(predictions),
        Err(refusal) => {
            let fault = (refusal.status == StatusCode::INTERNAL_SERVER_ERROR).then_some(ArmFault::ServerError);
            Err((refusal, fault))
        }
    }
}

/// Gives the new version a copy of a request that the champion has answered, if there is room for it.
fn mirror(app: &Arc<App>, route: &ModelRoute, rollout: &RolloutRoute, rows: Batch, answered: &Predictions) {
    let traffic = Arc::clone(&rollout.traffic);
    let Ok(permit) = app.mirrors.clone().try_acquire_owned() else { return traffic.mirrored(Mirrored::Shed) };
    let (arm, features, now) = (Arc::clone(&rollout.arm), route.plan().features.clone(), app.ports.clock.now());
    let class = |predictions: &Predictions, row: usize| predictions.classes[predictions.predicted[row] as usize].clone();
    let champion: Vec<String> = (0..answered.predicted.len()).map(|row| class(answered, row)).collect();
    tokio::task::spawn_blocking(move || {
        let ended = match checked(answer::answer(&arm, &features, &rows, now)) {
            Ok(predictions) => {
                let agreed = champion.iter().enumerate().filter(|(row, said)| class(&predictions, *row) == **said).count();
                Mirrored::Answered { rows: champion.len() as u64, agreed: agreed as u64 }
            }
            Err((_, Some(fault))) => Mirrored::Fault(fault),
            // Its contract may be stricter than the champion's: it has answered, and agrees on nothing.
            Err((_, None)) => Mirrored::Answered { rows: champion.len() as u64, agreed: 0 },
        };
        drop(permit);
        traffic.mirrored(ended);
    });
}

/// One request of an arm; one that is given up before its answer has failed.
struct Counted {
    traffic: Option<Arc<dyn Traffic>>,
    arm: TrafficArm,
    start: Instant,
    seconds: Option<f64>,
}

impl Counted {
    fn begin(rollout: &RolloutRoute, arm: TrafficArm) -> Counted {
        Counted { traffic: Some(Arc::clone(&rollout.traffic)), arm, start: Instant::now(), seconds: None }
    }

    /// The arm has done its part; what follows is not its time.
    fn stop(mut self) -> Counted {
        self.seconds = Some(self.start.elapsed().as_secs_f64());
        self
    }

    /// What the arm said: a refusal of the request itself, or for want of room, says nothing about an arm.
    fn end(mut self, refusal: Option<&Refusal>, fault: Option<ArmFault>) {
        let Some(traffic) = self.traffic.take() else { return };
        let failed = refusal.is_some_and(|refusal| refusal.status == StatusCode::INTERNAL_SERVER_ERROR);
        if refusal.is_none() || failed {
            traffic.answered(self.arm, Ended { seconds: self.took(), failed, fault });
        }
    }

    fn took(&self) -> f64 {
        self.seconds.unwrap_or_else(|| self.start.elapsed().as_secs_f64())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(traffic) = self.traffic.take() {
            traffic.answered(self.arm, Ended { seconds: self.took(), failed: true, fault: None });
        }
    }
}
