//! `POST /v1/labels`: what turned out to be true, by row id. All labels of a request are kept, or none.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Deserialize;
use tidegate_vocab::{LateLabel, Timestamp};
use tracing::error;

use crate::app::App;
use crate::body;
use crate::ports::{LabelError, ModelRoute, Routes};
use crate::refusal::{self, Refusal};

/// Ids that a refusal lists.
const IDS_LISTED_MAX: usize = 100;
/// Bytes of one row id.
const ID_BYTES_MAX: usize = 1_024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelsRequest {
    pipeline: String,
    labels: Vec<LabelRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelRequest {
    id: String,
    label: String,
    #[serde(default)]
    known_at: Option<String>,
}

/// Keeps the labels of a request.
pub(crate) async fn add(app: &Arc<App>, body: Body) -> Response {
    match kept(app, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn kept(app: &Arc<App>, body: Body) -> Result<Response, Refusal> {
    let held = body::read(body, &app.settings, &app.bodies_large).await?;
    let request: LabelsRequest = serde_json::from_slice(&held.bytes).map_err(|error| {
        let what = if error.is_data() { "does not hold labels" } else { "is not JSON" };
        let expected =
            "{\"pipeline\": \"…\", \"labels\": [{\"id\": \"…\", \"label\": \"…\", \"known_at\": \"…\"}, …]}, `known_at` being optional";
        Refusal::bad(format!("the body {what}: {error}; expected {expected}"))
    })?;
    if request.labels.len() > app.settings.labels_max {
        let sentence = format!("there are {} labels; expected at most {} in one request", request.labels.len(), app.settings.labels_max);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence));
    }
    let routes: Arc<Routes> = app.ports.routes.borrow().clone();
    let route = pipeline(&routes, &request.pipeline)?;
    let labels = checked(route, request.labels, app.ports.clock.now())?;
    let added = app.ports.labels.add(&route.pipeline, labels).await.map_err(refused)?;
    let body = serde_json::json!({ "added": added.added, "unchanged": added.unchanged });
    Ok(refusal::json(StatusCode::OK, body.to_string()))
}

fn pipeline<'a>(routes: &'a Routes, name: &str) -> Result<&'a ModelRoute, Refusal> {
    routes.models.values().find(|route| route.pipeline.as_str() == name).ok_or_else(|| {
        let found: Vec<String> = routes.models.values().map(|route| format!("`{}`", route.pipeline)).collect();
        let found = if found.is_empty() { "none".into() } else { found.join(", ") };
        let name: String = name.chars().take(80).collect();
        Refusal::missing(format!("there is no pipeline `{name}`; there are {found}"))
    })
}

fn checked(route: &ModelRoute, labels: Vec<LabelRequest>, now: Timestamp) -> Result<Vec<LateLabel>, Refusal> {
    let classes = &route.contract.label.classes;
    let mut seen: HashMap<String, String> = HashMap::with_capacity(labels.len());
    let mut kept = Vec::with_capacity(labels.len());
    for LabelRequest { id, label, known_at } in labels {
        let shown: String = id.chars().take(80).collect();
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(Refusal::unprocessable(format!("the id `{shown}` has {} bytes; expected 1 to {ID_BYTES_MAX}", id.len())));
        }
        if !classes.contains(&label) {
            let allowed: Vec<String> = classes.iter().map(|class| format!("`{class}`")).collect();
            let found: String = label.chars().take(80).collect();
            let allowed = allowed.join(", ");
            return Err(Refusal::unprocessable(format!("row `{shown}` has the label `{found}`; the contract's classes are {allowed}")));
        }
        let known_at = known_at.map_or(Ok(now), |text| instant(&shown, &text, now))?;
        match seen.get(&id) {
            Some(earlier) if *earlier == label => continue,
            Some(earlier) => {
                return Err(Refusal::unprocessable(format!("row `{shown}` has two labels, `{earlier}` and `{label}`; send the right one")));
            }
            None => seen.insert(id.clone(), label.clone()),
        };
        kept.push(LateLabel { row_id: id, class: label, known_at });
    }
    Ok(kept)
}

fn instant(id: &str, text: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let Ok(at) = text.parse::<jiff::Timestamp>() else {
        let found: String = text.chars().take(80).collect();
        let sentence = format!("row `{id}` has `known_at` `{found}`; expected an instant such as `2026-03-01T12:00:00Z`");
        return Err(Refusal::unprocessable(sentence));
    };
    let at = Timestamp(at.as_microsecond());
    if at > now {
        let sentence = format!("row `{id}` has `known_at` {at}, which is in the future (it is {now}); leave it out for now");
        return Err(Refusal::unprocessable(sentence));
    }
    Ok(at)
}

fn refused(failure: LabelError) -> Refusal {
    match failure {
        LabelError::Unknown(mut ids) => {
            let count = ids.len();
            ids.truncate(IDS_LISTED_MAX);
            let listed = if count > ids.len() { format!(", the first {IDS_LISTED_MAX} in `ids`") } else { ", listed in `ids`".into() };
            let noun = if count == 1 { "label names a row that was" } else { "labels name rows that were" };
            let sentence = format!("{count} {noun} neither predicted nor ingested{listed}; nothing was kept, send the others without them");
            Refusal { ids, ..Refusal::unprocessable(sentence) }
        }
        LabelError::NotById => Refusal::unprocessable(format!("{failure}; none was kept")),
        LabelError::Failed(why) => {
            error!(error = why, "could not keep labels");
            Refusal::later(format!("the labels could not be stored, and none was kept: {why}; send the same request again"))
        }
    }
}
