//! TLS over the certificates that the system trusts.

use std::sync::{Arc, OnceLock};

use tidegate_sandbox::EgressError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::failed;

/// A connection to `host` that nobody else can read, with a certificate in its name.
pub async fn handshake(host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, EgressError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| failed(format!("`{host}` is not a name that a certificate can have"), false))?;
    let connector = TlsConnector::from(config()?);
    connector.connect(name, stream).await.map_err(|error| failed(format!("no TLS connection to `{host}`: {error}"), true))
}

/// Read once: the system's certificates are many.
fn config() -> Result<Arc<ClientConfig>, EgressError> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(load).clone().map_err(|why| failed(why, false))
}

fn load() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(format!("the system's certificates could not be read ({why}); `SSL_CERT_FILE` can name a file of them"));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("TLS could not be set up: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
