//! `POST /v1/triggers/{pipeline}/{name}`: somebody outside says that a run is due. The body says nothing, and is not read.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::app::App;
use crate::ports::{Routes, TriggerError};
use crate::refusal::{self, Refusal};

/// Characters of a name that a refusal repeats.
const NAME_CHARS_MAX: usize = 80;

/// Passes a post on to the trigger of that name.
pub(crate) async fn post(app: &Arc<App>, pipeline: &str, name: &str) -> Response {
    posted(app, pipeline, name).await.unwrap_or_else(Refusal::into_response)
}

async fn posted(app: &Arc<App>, pipeline: &str, name: &str) -> Result<Response, Refusal> {
    let routes: Arc<Routes> = app.ports.routes.borrow().clone();
    let short = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
    let Some(route) = routes.models.values().find(|route| route.pipeline.as_str() == pipeline) else {
        let found: Vec<String> = routes.models.values().map(|route| format!("`{}`", route.pipeline)).collect();
        return Err(Refusal::missing(format!("there is no pipeline `{}`; there are {}", short(pipeline), found.join(", "))));
    };
    match app.ports.triggers.post(&route.pipeline, name).await {
        Ok(()) => {
            let body = serde_json::json!({ "pipeline": route.pipeline.as_str(), "trigger": name });
            Ok(refusal::json(StatusCode::ACCEPTED, body.to_string()))
        }
        Err(TriggerError::Unknown(known)) => {
            let known = if known.is_empty() { "none of this kind".to_owned() } else { format!("`{}`", known.join("`, `")) };
            Err(Refusal::missing(format!("`{pipeline}` has no trigger of kind `webhook` named `{}`; it has {known}", short(name))))
        }
        Err(TriggerError::Busy) => Err(Refusal::later(format!("`{pipeline}` is busy; send it again"))),
    }
}
