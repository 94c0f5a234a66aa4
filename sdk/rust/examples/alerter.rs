//! An alerter that posts to a web hook. The host owns retries: the plugin only says whether one can help.
use serde::Deserialize;
use tidegate_plugin::{Alert, Alerter, Failure, Issues, http, log};

#[derive(Deserialize)]
struct Config {
    url: String,
}

struct Hook {
    url: String,
}

tidegate_plugin::export!(Hook, alerter, "examples/alerter.toml");

impl Alerter for Hook {
    type Config = Config;

    fn configure(config: Config) -> Result<Hook, Issues> {
        if !config.url.starts_with("https://") {
            return Err(Issues::at("/url", format!("`{}` is not an https address", config.url)));
        }
        Ok(Hook { url: config.url })
    }

    fn notify(&self, alert: &Alert) -> Result<Option<String>, Failure> {
        let body = serde_json::json!({ "key": alert.key, "title": alert.title, "resolved": alert.resolved }).to_string();
        let request = http::Request { method: "POST".into(), url: self.url.clone(), body: body.into_bytes(), ..Default::default() };
        match http::send(request)?.status {
            200..300 => Ok(None),
            status @ (429 | 500..) => Err(Failure::retryable(format!("the hook answered {status}"), 10_000)),
            status => {
                log::error!("the hook answered {status}");
                Err(Failure::new(format!("the hook answered {status}; expected 200")))
            }
        }
    }
}
