//! The Open Inference Protocol beside inference: which models and versions there are, and whether they are ready.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tidegate_vocab::{DType, VersionNo};

use crate::infer::{PROBABILITY, ROW_ID, datatype};
use crate::ports::{Arm, ModelRoute, Routes};
use crate::refusal::{self, Refusal};

/// Names that a 404 lists.
const NAMES_MAX: usize = 20;

/// The model, and the version if one is named, of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The version as it is written.
    pub version: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// What `POST path` would infer with; `None` for any other path, and for names that are escaped, which the router reads.
    pub(crate) fn of_infer(path: &'a str) -> Option<Target<'a>> {
        let names = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let (model, version) = match names.split_once("/versions/") {
            Some((model, version)) => (model, Some(version)),
            None => (names, None),
        };
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '%']);
        (is_plain(model) && version.is_none_or(is_plain)).then_some(Target { model, version })
    }
}

/// The model of `target`, and who answers.
pub(crate) fn find<'a>(routes: &'a Routes, target: Target<'_>) -> Result<(&'a ModelRoute, &'a Arc<Arm>), Refusal> {
    let route = model(routes, target.model)?;
    let name = target.model;
    let Some(version) = target.version else {
        return match &route.champion {
            Ok(arm) => Ok((route, arm)),
            Err(reason) => Err(Refusal::later(format!("nobody serves `{name}` yet: {reason}"))),
        };
    };
    let number: Option<VersionNo> = version.parse().ok();
    match number.and_then(|number| route.versions.get(&number)) {
        Some(arm) => Ok((route, arm)),
        None => {
            let found = listed(route.versions.keys().map(ToString::to_string));
            let version: String = version.chars().take(80).collect();
            Err(Refusal::missing(format!("model `{name}` has no version `{version}` that can be asked; there are {found}")))
        }
    }
}

fn model<'a>(routes: &'a Routes, name: &str) -> Result<&'a ModelRoute, Refusal> {
    routes.models.get(name).ok_or_else(|| {
        let found = listed(routes.models.keys().cloned());
        let name: String = name.chars().take(80).collect();
        Refusal::missing(format!("there is no model `{name}`; there are {found}"))
    })
}

/// `GET /v2`.
pub(crate) fn server() -> Response {
    let body = json!({ "name": "tidegate", "version": env!("CARGO_PKG_VERSION"), "extensions": [] });
    refusal::json(StatusCode::OK, body.to_string())
}

/// `GET /v2/models/{model}[/versions/{version}]`. A model that nobody serves yet has its columns all the same.
pub(crate) fn metadata(routes: &Routes, target: Target<'_>) -> Response {
    let route = match (model(routes, target.model), target.version) {
        (Ok(route), None) => Ok(route),
        (Ok(_), Some(_)) => find(routes, target).map(|(route, _)| route),
        (Err(refusal), _) => Err(refusal),
    };
    match route {
        Ok(route) => refusal::json(StatusCode::OK, describe(target.model, route).to_string()),
        Err(refusal) => refusal.into_response(),
    }
}

/// `GET /v2/models/{model}[/versions/{version}]/ready`.
pub(crate) fn ready(routes: &Routes, target: Target<'_>) -> Response {
    match find(routes, target) {
        Ok((_, arm)) => {
            let body = json!({ "name": target.model, "version": arm.version.to_string(), "ready": true });
            refusal::json(StatusCode::OK, body.to_string())
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn describe(name: &str, route: &ModelRoute) -> Value {
    let contract = &route.contract;
    let tensor = |name: &str, datatype: &str| json!({ "name": name, "datatype": datatype, "shape": [-1] });
    let features: Vec<Value> = contract
        .columns
        .iter()
        .filter(|column| column.role == tidegate_vocab::Role::Feature)
        .map(|column| tensor(&column.name, datatype(column.dtype)))
        .collect();
    let versions: Vec<String> = route.versions.keys().map(ToString::to_string).collect();
    json!({
        "name": name,
        "versions": versions,
        "platform": "tidegate",
        "inputs": features,
        "outputs": [
            tensor(&contract.label.column, datatype(DType::Utf8)),
            json!({ "name": PROBABILITY, "datatype": "FP64", "shape": [-1, contract.label.classes.len()] }),
            tensor(ROW_ID, datatype(DType::Utf8)),
        ],
    })
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "none".into(),
        count if count > NAMES_MAX => format!("{} and {} more", names[count - NAMES_MAX..].join(", "), count - NAMES_MAX),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_inference() {
        let found = |path| Target::of_infer(path).map(|target| (target.model, target.version));
        assert_eq!(found("/v2/models/rain/infer"), Some(("rain", None)));
        assert_eq!(found("/v2/models/rain/versions/v2/infer"), Some(("rain", Some("v2"))));
        for path in [
            "/v2/models/infer",
            "/v2/models//infer",
            "/v2/models/a/b/infer",
            "/v2/models/r%61in/infer",
            "/v2/models/a/versions//infer",
            "/",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
