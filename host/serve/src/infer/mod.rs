//! `POST /v2/models/{model}[/versions/{version}]/infer`.
//!
//! What a small request costs beyond HTTP is one pass over its body, one array a feature and the model: routes are read from a
//! watch, what follows from a contract and the counters of a version are made once, and nothing waits for the store.

mod answer;
mod arms;
mod column;
mod plan;
mod reply;
mod request;
mod row_ids;

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode};
use serde_json::{Map, Value};
use tidegate_model::Predictions;
use tidegate_vocab::LoggedPrediction;
use tokio::time::Instant;
use tracing::error;

use self::arms::Answer;
use self::plan::RequestRows;
use self::reply::Reply;
use self::request::{Cell, Cells};
use crate::app::App;
use crate::body;
use crate::models::{Target, find};
use crate::ports::{Arm, ModelRoute, Routes};
use crate::refusal::{self, Refusal};

pub(crate) use self::column::datatype;
pub(crate) use self::plan::{PROBABILITY, Plan, ROW_ID};
pub(crate) use self::row_ids::RowIds;

/// Rows that are predicted on the thread that reads HTTP: they take microseconds, and a change of thread takes more.
const INLINE_ROWS_MAX: usize = 64;

/// Answers an inference request, and counts it whatever becomes of it.
pub(crate) async fn infer(app: &Arc<App>, target: Target<'_>, request: Request<axum::body::Body>) -> Response {
    let start = Instant::now();
    // Holding this keeps the champion that the request began with, whoever is promoted meanwhile.
    let routes: Arc<Routes> = app.ports.routes.borrow().clone();
    let found = find(&routes, target);
    let outcome = match &found {
        Ok((route, arm)) => answered(app, target, route, arm, request, start).await,
        Err(refusal) => Err(refusal.clone()),
    };
    let status = outcome.as_ref().map_or_else(|refusal| refusal.status, |_| StatusCode::OK);
    let by = outcome.as_ref().map(|(_, by)| by).ok().or(found.as_ref().ok().map(|(_, arm)| *arm));
    match by {
        Some(arm) => arm.counters(target.model, &app.metrics).count(status, start.elapsed()),
        None => app.metrics.count_unanswered(routes.models.contains_key(target.model).then_some(target.model), status),
    }
    outcome.map_or_else(Refusal::into_response, |(response, _)| response)
}

async fn answered(
    app: &Arc<App>,
    target: Target<'_>,
    route: &ModelRoute,
    arm: &Arc<Arm>,
    request: Request<axum::body::Body>,
    start: Instant,
) -> Result<(Response, Arc<Arm>), Refusal> {
    let (parts, body) = request.into_parts();
    body::refuse_binary(&parts.headers)?;
    let held = body::read(body, &app.settings, &app.bodies_large).await?;
    let plan = route.plan();
    let request = request::parse(&held.bytes)?;
    let label = &route.contract.label.column;
    let outputs = reply::wanted(&request, label)?;
    let RequestRows { batch, ids, cells } = plan.rows(request.inputs, app.settings.rows_max)?;
    let id = request.id.as_ref().map(|id| id.0.as_ref());
    let own = ids.first().cloned().flatten();
    let row_ids: Vec<String> = ids.into_iter().map(|id| id.unwrap_or_else(|| app.row_ids.next())).collect();
    let answer = match route.rollout.as_ref().filter(|_| target.version.is_none()) {
        Some(rollout) => {
            // Who asks under an id of its own stays with one version; an id that was made here is as good as chance.
            let key = own.as_deref().or(id).or(row_ids.first().map(String::as_str)).unwrap_or_default();
            arms::answer_shared(app, route, arm, rollout, key, batch).await?
        }
        None => Answer { by: Arc::clone(arm), predictions: predict(app, arm, route, batch).await?, counted: None },
    };
    let Answer { by, predictions, counted } = answer;
    let model = target.model;
    let counters = by.counters(model, &app.metrics);
    let version = counters.version.as_str();
    let reply = Reply { model, version, id, label, outputs: &outputs, predictions: &predictions, row_ids: &row_ids }.to_json();
    for class in &predictions.predicted {
        counters.classes[*class as usize].increment(1);
    }
    let rows = row_ids.len() as u64;
    let latency_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let answer = Answer { by: Arc::clone(&by), predictions, counted };
    let log = logged(app, &answer, plan, row_ids, &cells, latency_ns);
    if !app.ports.predictions.log(&route.pipeline, log) {
        counters.shed.increment(rows);
    }
    Ok((refusal::json(StatusCode::OK, reply), by))
}

/// Asks the model here where that is quick, else on a thread that may block: a guest that hangs must not hold a thread that HTTP
/// needs. A task that blocked in place would free its thread too, but could not be given up at the request's deadline. The permit
/// goes with the work, so that a request that was given up still counts until its guest is stopped.
async fn predict(app: &Arc<App>, arm: &Arc<Arm>, route: &ModelRoute, batch: tidegate_vocab::Batch) -> Result<Predictions, Refusal> {
    let (plan, now) = (route.plan(), app.ports.clock.now());
    if arm.cleaners.is_empty() && batch.row_count() <= INLINE_ROWS_MAX {
        return answer::answer(arm, &plan.features, &batch, now);
    }
    let Ok(permit) = app.blocking.clone().try_acquire_owned() else {
        let busy = app.settings.blocking_requests_max;
        return Err(Refusal::later(format!("{busy} requests are with cleaners and models already; try again")));
    };
    let (arm, features) = (arm.clone(), plan.features.clone());
    let work = tokio::task::spawn_blocking(move || {
        let answered = answer::answer(&arm, &features, &batch, now);
        drop(permit);
        answered
    });
    work.await.unwrap_or_else(|failure| {
        error!(error = %failure, "a prediction broke off");
        Err(Refusal::fault("the prediction broke off; this is a fault of the host, its log says more"))
    })
}

fn logged(app: &App, answer: &Answer, plan: &Plan, row_ids: Vec<String>, cells: &[Cells<'_>], latency_ns: u64) -> Vec<LoggedPrediction> {
    let at = app.ports.clock.now();
    let Answer { by, predictions, counted } = answer;
    let classes = predictions.classes.len();
    let of_row = |(row, row_id): (usize, String)| LoggedPrediction {
        row_id,
        at,
        version: by.version,
        predicted: predictions.classes[predictions.predicted[row] as usize].clone(),
        probabilities: predictions.probabilities[row * classes..][..classes].to_vec(),
        features: features(plan, cells, row),
        latency_ns,
        arm: *counted,
    };
    row_ids.into_iter().enumerate().map(of_row).collect()
}

fn features(plan: &Plan, cells: &[Cells<'_>], row: usize) -> Map<String, Value> {
    let value = |cell: &Cell<'_>| match cell {
        Cell::Null => Value::Null,
        Cell::Bool(value) => Value::Bool(*value),
        Cell::Integer(value) => Value::from(*value),
        Cell::Number(value) => Value::from(*value),
        Cell::Text(text) => Value::String(text.clone().into_owned()),
    };
    plan.features.iter().zip(cells).map(|(column, cells)| (column.name.clone(), value(&cells.0[row]))).collect()
}
