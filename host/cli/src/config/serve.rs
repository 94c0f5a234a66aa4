//! `[serve]`: where predictions are answered.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::section::Section;

/// `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// The address to bind.
    pub listen: SocketAddr,
    /// The file of tokens, made on first start.
    pub tokens: PathBuf,
    /// Names besides its own by which the server may be called, such as that of a proxy; sites whose pages may send to it.
    pub hosts: Vec<String>,
}

pub(super) fn serve(root: &Section<'_>, folder: &Path) -> Option<ServeConfig> {
    let section = root.section("serve")?;
    let listen = section.parsed("listen", "an address and a port such as `127.0.0.1:7070`", |text| text.parse().ok());
    let tokens = section.text("tokens");
    let listen: SocketAddr = listen.unwrap_or_else(default_listen);
    if !listen.ip().is_loopback() && tokens.is_none() {
        let hint = "add `tokens = \"state/tokens\"`, or listen on `127.0.0.1`".to_owned();
        section.problem(
            section.place("listen"),
            format!("`{listen}` is open to others and no tokens guard it"),
            "a public address",
            Some(hint),
        );
    }
    let tokens = folder.join(tokens.map_or_else(|| "state/tokens".to_owned(), |tokens| tokens.value));
    let hosts = section.texts("hosts").unwrap_or_default().into_iter().map(|host| host.value).collect();
    section.finish();
    Some(ServeConfig { listen, tokens, hosts })
}

/// Where `up` listens when nothing else is written: this machine only.
pub fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7070))
}
