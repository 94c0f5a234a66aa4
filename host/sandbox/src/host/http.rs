//! `http`: denied, with the line that would grant it. No request leaves the host in this version.

use crate::bindings::shared::failures::Failure;
use crate::bindings::shared::http::{Host, Request, Response};
use crate::call::quoted;
use crate::grants::toml_text;

use super::HostState;

impl Host for HostState {
    fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Failure>> {
        let most = self.limits.metadata_bytes_max;
        let rest = request.url.split_once("://").map_or(request.url.as_str(), |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').map_or((rest, String::from("/")), |(host, path)| (host, format!("/{path}")));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = host.rsplit_once(':').unwrap_or((host, if request.url.starts_with("http://") { "80" } else { "443" }));
        let line = format!(
            "[plugin.{}.grant] http = [{{ host = {}, port = {}, methods = [{}], path = {} }}]",
            self.plugin,
            toml_text(&quoted(host, most)),
            port.parse::<u16>().unwrap_or(443),
            toml_text(&quoted(&request.method, most)),
            toml_text(&quoted(path.split(['?', '#']).next().unwrap_or("/"), most)),
        );
        if self.grants.http.iter().any(|grant| grant.host == host) {
            let failure = Failure {
                code: super::DENIED,
                message: "this version of the host sends no requests, even granted ones".into(),
                retryable: false,
                retry_after_ms: None,
            };
            return Ok(Err(failure));
        }
        let what = format!("a request to `{}`", quoted(host, most));
        Ok(Err(self.deny(&what, line)))
    }
}
