//! The status page: what serves, why, since when, how well, what is under way and what comes next.
//!
//! It is whole without JavaScript. With it, the parts named by [`fragments`] are replaced as they change, by the same functions
//! that wrote them first.

mod chart;
mod decisions;
mod plugins;
mod policy;
mod ring;
mod scale;
mod settings;
mod summary;
mod words;

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::app::App;
use crate::refusal::Refusal;
use crate::status::{PipelineStatus, Status};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("follow.js");

/// `GET /`: the only pipeline, or all of them in short.
pub(crate) async fn overview(app: &App) -> Response {
    let status = app.ports.views.status().await;
    match &status.pipelines[..] {
        [only] => document(&status, Some(only)),
        _ => document(&status, None),
    }
}

/// `GET /p/{pipeline}`.
pub(crate) async fn pipeline(app: &App, name: &str) -> Response {
    let status = app.ports.views.status().await;
    match find(&status, name) {
        Some(pipeline) => document(&status, Some(pipeline)),
        None => {
            let found: Vec<String> = status.pipelines.iter().map(|pipeline| format!("`{}`", pipeline.id)).collect();
            let name: String = name.chars().take(80).collect();
            Refusal::missing(format!("there is no pipeline `{name}`; there are {}", found.join(", "))).into_response()
        }
    }
}

/// The parts of a page that change, by the id of their element: of `pipeline`, or of the list of all.
pub(crate) fn fragments(status: &Status, pipeline: Option<&str>) -> Vec<(String, String)> {
    let parts = match pipeline.and_then(|name| find(status, name)) {
        Some(pipeline) => parts(status, pipeline),
        None => vec![("list", list(status))],
    };
    parts.into_iter().map(|(id, markup)| (id.to_owned(), markup.into_string())).collect()
}

fn find<'a>(status: &'a Status, name: &str) -> Option<&'a PipelineStatus> {
    status.pipelines.iter().find(|pipeline| pipeline.id.as_str() == name)
}

fn parts(status: &Status, pipeline: &PipelineStatus) -> Vec<(&'static str, Markup)> {
    let heading = |title: &str, markup: Markup| html! { h2 { (title) } (markup) };
    vec![
        ("now", now(pipeline)),
        ("ring", ring::ring(pipeline)),
        ("champion", summary::champion(pipeline)),
        ("accuracy", heading("Accuracy over time", chart::chart(pipeline))),
        ("work", summary::work(pipeline)),
        ("decisions", decisions::decisions(&pipeline.decisions)),
        ("drift", summary::drift(pipeline)),
        ("rows", summary::rows(pipeline)),
        ("plugins", plugins::plugins(&status.plugins, Some(pipeline.id.as_str()))),
        ("settings", settings::settings(&status.settings)),
    ]
}

/// What is going on, in a sentence, and what is in its way.
fn now(pipeline: &PipelineStatus) -> Markup {
    html! {
        p class="now" { (words::sentence(&pipeline.doing)) @if pipeline.replayed { span class="soft" { " Time is simulated: " (words::instant(pipeline.now)) "." } } }
        @if let Some(why) = &pipeline.stalled { p class="stalled" role="alert" { strong { "It does not get on. " } (words::sentence(why)) } }
    }
}

/// All pipelines, a line each.
fn list(status: &Status) -> Markup {
    html! {
        @if status.pipelines.is_empty() { p class="empty" { "No pipeline is configured. `tidegate init` writes a first one." } }
        ul class="pipelines" {
            @for pipeline in &status.pipelines {
                li {
                    a href=(format!("/p/{}", pipeline.id)) { (pipeline.id) }
                    span class="serves" {
                        @match &pipeline.champion {
                            Some(champion) => {
                                (champion.version) " serves"
                                @if champion.rows > 0 { ", " (words::percent(champion.right as f64 / champion.rows as f64)) " % right" }
                            },
                            None => "nobody serves yet",
                        }
                    }
                    span class="doing" { (words::sentence(&pipeline.doing)) }
                    @if let Some(why) = &pipeline.stalled { span class="bad" { (words::sentence(why)) } }
                }
            }
        }
    }
}

fn document(status: &Status, pipeline: Option<&PipelineStatus>) -> Response {
    let title = pipeline.map_or_else(|| "Tidegate".to_owned(), |pipeline| format!("{} · Tidegate", pipeline.id));
    let follow = pipeline.map_or_else(|| "/events".to_owned(), |pipeline| format!("/events?pipeline={}", pipeline.id));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body data-follow=(follow) {
                header {
                    a class="brand" href="/" { "Tidegate" }
                    @if status.pipelines.len() > 1 {
                        nav aria-label="Pipelines" {
                            @for other in &status.pipelines {
                                @let is_here = pipeline.is_some_and(|pipeline| pipeline.id == other.id);
                                a href=(format!("/p/{}", other.id)) aria-current=[is_here.then_some("page")] { (other.id) }
                            }
                        }
                    }
                    span class="link" id="link" role="status" {}
                }
                main { (body(status, pipeline)) }
                footer {
                    "Tidegate " (status.host_version) ", started " (words::instant(status.started_at)) ". All times are UTC. "
                    a href="/metrics" { "Metrics" } " · " a href="/v1/status" { "Status as JSON" } " · " a href="/readyz" { "Readiness" }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy::CONTENT_SECURITY_POLICY.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (StatusCode::OK, headers, page.into_string()).into_response()
}

fn body(status: &Status, pipeline: Option<&PipelineStatus>) -> Markup {
    let Some(pipeline) = pipeline else {
        return html! { h1 { "Pipelines" } div id="list" { (list(status)) } (plugins::plugins(&status.plugins, None)) (settings::settings(&status.settings)) };
    };
    html! {
        h1 { (pipeline.id) }
        @for (id, markup) in parts(status, pipeline) { div id=(id) class="part" { (markup) } }
    }
}
