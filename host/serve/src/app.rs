//! What a request is answered from, and which function answers it.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::error::ServeError;
use crate::guard::Guard;
use crate::infer::{self, RowIds};
use crate::metrics::Metrics;
use crate::models::{self, Target};
use crate::ports::Ports;
use crate::refusal::{self, Refusal};
use crate::settings::ServeSettings;
use crate::token_file::TokenFile;
use crate::{events, labels, page, triggers};

/// What every request is answered from.
pub(crate) struct App {
    pub ports: Ports,
    pub settings: ServeSettings,
    pub metrics: Metrics,
    pub guard: Guard,
    pub row_ids: RowIds,
    pub blocking: Arc<Semaphore>,
    /// Copies of requests that a version gets which is rolled out.
    pub mirrors: Arc<Semaphore>,
    pub bodies_large: Semaphore,
    pub subscribers: Arc<Semaphore>,
    /// Ends what would otherwise never end.
    pub stop: CancellationToken,
}

impl App {
    /// An app for a server on `listen`.
    pub(crate) fn new(
        ports: Ports,
        tokens: TokenFile,
        settings: ServeSettings,
        listen: SocketAddr,
        stop: CancellationToken,
    ) -> Result<App, ServeError> {
        Ok(App {
            ports,
            metrics: Metrics::new(),
            guard: Guard::new(listen, &settings.hosts, tokens),
            row_ids: RowIds::new()?,
            blocking: Arc::new(Semaphore::new(settings.blocking_requests_max)),
            mirrors: Arc::new(Semaphore::new(settings.mirrored_requests_max)),
            bodies_large: Semaphore::new(settings.bodies_large_max),
            subscribers: Arc::new(Semaphore::new(settings.subscribers_max)),
            settings,
            stop,
        })
    }
}

/// The routes.
pub(crate) fn router(app: Arc<App>) -> TowerToHyperService<Router> {
    let router = Router::new()
        .route("/", get(|State(app): State<Arc<App>>| async move { page::overview(&app).await }))
        .route(
            "/p/{pipeline}",
            get(|State(app): State<Arc<App>>, Path(name): Path<String>| async move { page::pipeline(&app, &name).await }),
        )
        .route("/events", get(|State(app): State<Arc<App>>, request: Request| async move { events::follow(&app, request.uri().query()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|State(app): State<Arc<App>>| async move { readiness(&app, "ready") }))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route(
            "/v1/labels",
            post(|State(app): State<Arc<App>>, request: Request| async move { labels::add(&app, request.into_body()).await }),
        )
        .route(
            "/v1/triggers/{pipeline}/{name}",
            post(|State(app): State<Arc<App>>, Path((pipeline, name)): Path<(String, String)>| async move {
                triggers::post(&app, &pipeline, &name).await
            }),
        )
        .route("/v2", get(|| async { models::server() }))
        .route("/v2/", get(|| async { models::server() }))
        .route("/v2/health/live", get(|| async { refusal::json(StatusCode::OK, "{\"live\":true}") }))
        .route("/v2/health/ready", get(|State(app): State<Arc<App>>| async move { readiness(&app, "ready") }))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(ready))
        .route("/v2/models/{model}/infer", post(infer_champion))
        .route("/v2/models/{model}/versions/{version}", get(metadata_of_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(ready_of_version))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer_version))
        .fallback(|request: Request| async move {
            let path: String = request.uri().path().chars().take(200).collect();
            Refusal::missing(format!("there is nothing at `{path}`; GET /v2 and GET / are good places to begin"))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let (method, path) = (request.method(), request.uri().path());
            let sentence = format!("{method} is not possible at `{path}`; the header `Allow` says what is");
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
        })
        .with_state(app);
    TowerToHyperService::new(router)
}

/// Answers one request: refused at the door, or routed; within its time, and whatever happens in it.
pub(crate) async fn handle(app: Arc<App>, router: TowerToHyperService<Router>, request: Request<Body>) -> Response {
    if let Err(refusal) = app.guard.check(request.method(), request.uri().path(), request.headers()) {
        return secured(refusal.into_response());
    }
    let answer = AssertUnwindSafe(answer(app.clone(), router, request)).catch_unwind();
    let response = match timeout(Duration::from_millis(app.settings.request_ms_max), answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            error!("a request panicked");
            Refusal::fault("the request broke off; this is a fault of the host, its log says more").into_response()
        }
        Err(_) => {
            let sentence = format!("there was no answer within {} ms; try again, or send fewer rows", app.settings.request_ms_max);
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, sentence).into_response()
        }
    };
    secured(response)
}

/// Routes a request. Inference goes straight to its function: taking a path apart and boxing what a router boxes would cost a small
/// request as much as its model.
async fn answer(app: Arc<App>, router: TowerToHyperService<Router>, request: Request<Body>) -> Response {
    let uri = request.uri().clone();
    match Target::of_infer(uri.path()).filter(|_| *request.method() == Method::POST) {
        Some(target) => infer::infer(&app, target, request).await,
        None => router.call(request).await.unwrap_or_else(|never| match never {}),
    }
}

/// Headers that every response has: nothing here is to be guessed at, framed, or kept.
fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether the host should be sent requests: 503 with every reason while it should not.
fn readiness(app: &App, word: &str) -> Response {
    let mut reasons = app.ports.views.unready();
    for (name, route) in &app.ports.routes.borrow().models {
        reasons.extend(route.champion.as_ref().err().map(|reason| format!("nobody serves `{name}` yet: {reason}")));
    }
    if reasons.is_empty() {
        return refusal::json(StatusCode::OK, serde_json::json!({ word: true }).to_string());
    }
    let body = serde_json::json!({ word: false, "error": reasons.join("; "), "reasons": reasons });
    refusal::json(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app.ports.views.status().await) + &app.ports.views.counters();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn status(State(app): State<Arc<App>>) -> Response {
    match serde_json::to_vec(&app.ports.views.status().await) {
        Ok(body) => refusal::json(StatusCode::OK, body),
        Err(failure) => Refusal::fault(format!("the status could not be written as JSON: {failure}")).into_response(),
    }
}

async fn metadata(State(app): State<Arc<App>>, Path(model): Path<String>) -> Response {
    models::metadata(&app.ports.routes.borrow(), Target { model: &model, version: None })
}

async fn metadata_of_version(State(app): State<Arc<App>>, Path((model, version)): Path<(String, String)>) -> Response {
    models::metadata(&app.ports.routes.borrow(), Target { model: &model, version: Some(&version) })
}

async fn ready(State(app): State<Arc<App>>, Path(model): Path<String>) -> Response {
    models::ready(&app.ports.routes.borrow(), Target { model: &model, version: None })
}

async fn ready_of_version(State(app): State<Arc<App>>, Path((model, version)): Path<(String, String)>) -> Response {
    models::ready(&app.ports.routes.borrow(), Target { model: &model, version: Some(&version) })
}

async fn infer_champion(State(app): State<Arc<App>>, Path(model): Path<String>, request: Request) -> Response {
    infer::infer(&app, Target { model: &model, version: None }, request).await
}

async fn infer_version(State(app): State<Arc<App>>, Path((model, version)): Path<(String, String)>, request: Request) -> Response {
    infer::infer(&app, Target { model: &model, version: Some(&version) }, request).await
}
