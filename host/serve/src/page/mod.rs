//! The status page.

use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::status::Status;

pub(crate) async fn overview(app: &App) -> Response {
    app.ports.views.status().await.host_version.into_response()
}

pub(crate) async fn pipeline(app: &App, _name: &str) -> Response {
    overview(app).await
}

pub(crate) fn fragments(_status: &Status, _pipeline: Option<&str>) -> Vec<(String, String)> {
    Vec::new()
}
