//! Alerter `webhook`: posts every alert as JSON to an address.
//!
//! The address must be granted, and a key goes in as a granted secret that this plugin never sees. It sends once and says whether
//! trying again can help: the host owns retries. A redirect of a POST is not followed, because it would become a GET or be sent
//! twice.

mod body;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tidegate_plugin::http::{self, Request, Response};
use tidegate_plugin::{Alert, Alerter, Failure, Issues};

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where alerts are posted.
    pub url: String,
    /// The granted secret that the host adds on the way out.
    pub secret: Option<String>,
    /// More headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, instead of the usual one.
    pub body: Option<Value>,
    /// JSON pointer to what the other side calls the alert, in its answer.
    pub reference: Option<String>,
}

/// The plugin.
pub struct Webhook {
    config: Config,
}

tidegate_plugin::export!(Webhook, alerter);

impl Alerter for Webhook {
    type Config = Config;

    fn configure(config: Config) -> Result<Webhook, Issues> {
        let mut issues = Issues::default();
        if !["http://", "https://"].iter().any(|scheme| config.url.starts_with(scheme)) {
            issues.push("/url", format!("`{}` does not begin with `https://` or `http://`", config.url));
        }
        if config.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            issues.push("/headers", "the body is JSON, so `content-type` is set already");
        }
        if let Some(body) = &config.body {
            body::unknown(body).into_iter().for_each(|(pointer, why)| issues.push(format!("/body{pointer}"), why));
        }
        issues.or(Webhook { config })
    }

    fn notify(&self, alert: &Alert) -> Result<Option<String>, Failure> {
        let value = self.config.body.as_ref().map_or_else(|| body::usual(alert), |template| body::filled(template, alert));
        let headers = self.config.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let response = http::send(Request {
            method: "POST".into(),
            url: self.config.url.clone(),
            headers: headers.chain([("content-type".to_owned(), "application/json".to_owned())]).collect(),
            body: serde_json::to_vec(&value)?,
            secret: self.config.secret.clone(),
        })?;
        match response.status {
            200..=299 => Ok(self.reference(&response)),
            _ => Err(refused(&response, &self.config.url)),
        }
    }
}

impl Webhook {
    /// What the other side calls the alert. An answer that does not say is no failure: the alert has arrived.
    fn reference(&self, response: &Response) -> Option<String> {
        let answer: Value = serde_json::from_slice(&response.body).ok()?;
        match answer.pointer(self.config.reference.as_ref()?)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

fn refused(response: &Response, url: &str) -> Failure {
    let advice = match response.status {
        300..=399 => "; redirects of a POST are not followed, so name the place it redirects to in `url`",
        401 | 403 => "; check `secret` and the value behind it",
        _ => "",
    };
    let failure = response.failure(url);
    Failure { message: failure.message + advice, ..failure }
}

#[cfg(test)]
mod tests;
