//! Plugins out of registries of containers, in the layout that the CNCF gives to WebAssembly: a manifest with the configuration
//! `application/vnd.wasm.config.v0+json` and one layer `application/wasm`. The component's minisign signature is the annotation
//! `tidegate.minisign` of the manifest, so that the digest of the manifest covers it and the layout stays what every tool expects.
//!
//! Invariant: nothing is handed on whose digest and size are not those that were announced, and no more is read than a component may
//! have. Credentials go to the registry they are for, over TLS or to this machine, and into no message.

mod credentials;

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use tokio_rustls::rustls::crypto::ring;

use crate::config::{ALGORITHM, OciReference, section};
use crate::failure::Failure;

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
const MANIFEST_TYPES: [&str; 2] = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];
/// The annotation that holds a signature.
pub const SIGNATURE: &str = "tidegate.minisign";
/// Manifests of an index that are listed; the rest is counted.
const LISTED_MAX: usize = 8;
/// Bytes of a signature.
const SIGNATURE_BYTES_MAX: usize = 4096;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a registry may say nothing.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
/// How long a pull may take, however steadily something comes.
const PULL_WITHIN: Duration = Duration::from_secs(600);

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// Where it is, by digest.
    pub from: OciReference,
    /// The component.
    pub component: Bytes,
    /// The signature that came with it, if one did.
    pub signature: Option<String>,
}

/// Pulls a component of at most `bytes_max` bytes, with the credentials that this machine has for the registry.
///
/// # Errors
/// A [`Failure`] that names the reference, what was found there instead, and the way out.
pub async fn pull(reference: &OciReference, bytes_max: u64) -> Result<Pulled, Failure> {
    within(PULL_WITHIN, reference, pull_all(reference, bytes_max)).await
}

async fn within<T>(most: Duration, reference: &OciReference, pulling: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(most, pulling).await.unwrap_or_else(|_| {
        let why = format!("it was not done after {} seconds", most.as_secs());
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, why);
        Err(Failure::new(&Unreachable { host: reference.host().to_owned(), source }, Some("try again, or from another registry".into())))
    })
}

async fn pull_all(reference: &OciReference, bytes_max: u64) -> Result<Pulled, Failure> {
    let auth = credentials::of(reference.host())?;
    let client = client(reference)?;
    let (manifest, digest) = manifest(&client, reference, &auth).await?;
    if !reference.is_pinned() && !digest.starts_with(ALGORITHM) {
        let found = format!("a manifest that the registry tells by `{}`, not by a digest `{ALGORITHM}…`", section::shown(&digest));
        return Err(misfit(reference, &found, "name it by its digest of that algorithm".to_owned()));
    }
    let layer = layer(&manifest, reference, bytes_max)?;
    let component = component(&client, reference, layer).await?;
    let signature = signature(&manifest, reference)?;
    // What was asked for by digest stays that: a registry may tell the digest of another algorithm besides.
    let from = if reference.is_pinned() { reference.clone() } else { reference.pinned(&digest) };
    Ok(Pulled { from, component: component.into(), signature })
}

fn client(reference: &OciReference) -> Result<Client, Failure> {
    // Whoever was first has installed the same one.
    let _ = ring::default_provider().install_default();
    let protocol = match reference.is_loopback() {
        true => ClientProtocol::HttpsExcept(vec![reference.host().to_owned()]),
        false => ClientProtocol::Https,
    };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_WITHIN),
        read_timeout: Some(QUIET_WITHIN),
        platform_resolver: None,
        user_agent: concat!("tidegate/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| Failure::from(anyhow::Error::new(error).context("could not set up the client of registries")))
}

/// The manifest behind a reference, and its digest, which is checked where the reference names it.
async fn manifest(client: &Client, reference: &OciReference, auth: &RegistryAuth) -> Result<(OciImageManifest, String), Failure> {
    let pulled = client.pull_manifest_raw(reference.reference(), auth, &MANIFEST_TYPES).await;
    let (bytes, digest) = pulled.map_err(|error| failed(reference, auth, &error))?;
    match serde_json::from_slice(&bytes) {
        Ok(OciManifest::Image(manifest)) => Ok((manifest, digest)),
        Ok(OciManifest::ImageIndex(index)) => {
            let digests: Vec<&str> = index.manifests.iter().map(|entry| entry.digest.as_str()).filter(|digest| is_digest(digest)).collect();
            let (listed, more) = digests.split_at(digests.len().min(LISTED_MAX));
            let found = format!("an index of {} manifests", index.manifests.len());
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            Err(misfit(reference, &found, format!("name one of them by its digest: {}{more}", section::list(listed))))
        }
        Err(error) => Err(misfit(reference, &format!("no manifest ({error})"), pushed_alone())),
    }
}

/// Whether a registry's word for a digest is one, and nothing that a terminal would take for an order.
fn is_digest(text: &str) -> bool {
    text.strip_prefix(ALGORITHM).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The one layer, which is a component of no more bytes than one may have.
fn layer<'a>(manifest: &'a OciImageManifest, reference: &OciReference, bytes_max: u64) -> Result<&'a OciDescriptor, Failure> {
    let config = &manifest.config.media_type;
    if config != CONFIG_TYPE {
        return Err(misfit(reference, &format!("something else: its configuration is `{}`", section::shown(config)), pushed_alone()));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(misfit(reference, &format!("{} layers where a component is one", manifest.layers.len()), pushed_alone()));
    };
    if layer.media_type != LAYER_TYPE {
        return Err(misfit(reference, &format!("a layer of `{}`", section::shown(&layer.media_type)), pushed_alone()));
    }
    if u64::try_from(layer.size).ok().filter(|size| *size <= bytes_max).is_none() {
        let text = format!("the component at `{reference}` has {} bytes, at most {bytes_max} are loaded", layer.size);
        return Err(Failure::usage(text, "make it smaller, or raise `[plugins] component_bytes_max`"));
    }
    Ok(layer)
}

/// The bytes of the layer, whose digest the client checks.
async fn component(client: &Client, reference: &OciReference, layer: &OciDescriptor) -> Result<Vec<u8>, Failure> {
    let size = usize::try_from(layer.size).unwrap_or(usize::MAX);
    let opened = client.pull_blob_stream(reference.reference(), layer).await;
    let mut blob = opened.map_err(|error| failed(reference, &RegistryAuth::Anonymous, &error))?.stream;
    let mut component = Vec::new();
    let broken = |error: std::io::Error| {
        let hint = "somebody changed it, or it broke on the way: pull again; if it stays so, ask whoever pushed it".to_owned();
        Failure::new(&Broken { reference: reference.to_string(), source: error }, Some(hint))
    };
    while let Some(bytes) = blob.try_next().await.map_err(broken)? {
        component.extend_from_slice(&bytes);
        if component.len() > size {
            break;
        }
    }
    if component.len() == size {
        return Ok(component);
    }
    let many = if component.len() > size { "more".to_owned() } else { component.len().to_string() };
    Err(broken(std::io::Error::other(format!("its manifest announces {size} bytes, and {many} came"))))
}

/// The registry sent other bytes than it announced.
#[derive(Debug, thiserror::Error)]
#[error("the component at `{reference}` is not what its digest says")]
struct Broken {
    reference: String,
    source: std::io::Error,
}

fn signature(manifest: &OciImageManifest, reference: &OciReference) -> Result<Option<String>, Failure> {
    let Some(text) = manifest.annotations.as_ref().and_then(|annotations| annotations.get(SIGNATURE)) else { return Ok(None) };
    if text.len() > SIGNATURE_BYTES_MAX {
        let text =
            format!("the annotation `{SIGNATURE}` of `{reference}` has {} bytes, at most {SIGNATURE_BYTES_MAX} are read", text.len());
        return Err(Failure::usage(text, "it holds the text of `NAME.wasm.sig`, which `tidegate plugin sign` writes"));
    }
    Ok(Some(text.clone()))
}

fn misfit(reference: &OciReference, found: &str, way_out: String) -> Failure {
    Failure::usage(format!("there is no WebAssembly component at `{reference}`: found {found}"), way_out)
}

fn pushed_alone() -> String {
    format!("push the component alone, as one layer `{LAYER_TYPE}` with the configuration `{CONFIG_TYPE}`; `wkg oci push` does")
}

/// What went wrong at the registry, and the way out.
fn failed(reference: &OciReference, auth: &RegistryAuth, error: &OciDistributionError) -> Failure {
    let host = reference.host();
    let denied = || {
        let (who, hint) = match auth {
            RegistryAuth::Anonymous => ("without credentials", "log in with"),
            _ => ("with the credentials for it", "these may be old, or for another repository: log in again with"),
        };
        let variable = credentials::VARIABLE;
        let hint = format!("{hint} `docker login {host}`, or set `{variable}` to `{host}=USER:PASSWORD`; credential helpers are not run");
        Failure::usage(format!("the registry `{host}` does not give out `{reference}` {who}"), hint)
    };
    let gone = || {
        let hint =
            "check the repository and the digest; `oras manifest fetch --descriptor HOST/REPOSITORY:TAG` shows what a tag stands for";
        Failure::usage(format!("there is no `{reference}`"), hint)
    };
    let has = |envelope: &oci_client::errors::OciEnvelope, codes: &[OciErrorCode]| {
        envelope.errors.iter().any(|error| codes.contains(&error.code))
    };
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => denied(),
        OciDistributionError::ServerError { code: 401 | 403, .. } => denied(),
        OciDistributionError::RegistryError { envelope, .. } if has(envelope, &[OciErrorCode::Unauthorized, OciErrorCode::Denied]) => {
            denied()
        }
        OciDistributionError::ServerError { code: 404, .. } | OciDistributionError::ImageManifestNotFoundError(_) => gone(),
        OciDistributionError::RegistryError { envelope, .. }
            if has(
                envelope,
                &[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound, OciErrorCode::BlobUnknown],
            ) =>
        {
            gone()
        }
        OciDistributionError::DigestError(error) => {
            let text = format!("the manifest at `{reference}` is not what its digest says: {error}");
            Failure::usage(text, "somebody changed it, or it broke on the way: pull again; if it stays so, ask whoever pushed it")
        }
        OciDistributionError::RequestError(error) if error.is_connect() || error.is_timeout() => {
            let hint = format!("check that `{host}` is right and can be reached from here; what was pulled before is used without it");
            Failure::new(&Unreachable { host: host.to_owned(), source: with_causes(error) }, Some(hint))
        }
        other => Failure::new(&Unreachable { host: host.to_owned(), source: with_causes(other) }, None),
    }
}

/// A registry that gave no answer of use.
#[derive(Debug, thiserror::Error)]
#[error("nothing could be pulled from the registry `{host}`")]
struct Unreachable {
    host: String,
    source: std::io::Error,
}

/// An error with what caused it, in one line and without what a registry could put into a terminal.
fn with_causes(error: &dyn std::error::Error) -> std::io::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    std::io::Error::other(text.chars().filter(|character| !character.is_control()).take(512).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_registry_that_sends_byte_after_byte_is_given_up_on() {
        let reference = OciReference::read("oci://127.0.0.1:1/a/b:1").unwrap();
        let failure = within(Duration::ZERO, &reference, std::future::pending::<Result<(), Failure>>()).await.unwrap_err();
        let expected = "nothing could be pulled from the registry `127.0.0.1:1`: it was not done after 0 seconds";
        assert!(failure.line().starts_with(expected), "{}", failure.line());
    }
}
