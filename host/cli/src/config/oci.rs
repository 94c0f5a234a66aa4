//! Where a plugin is pulled from: `oci://HOST/REPOSITORY@sha256:…`.

use oci_client::Reference;

/// What a reference begins with.
const SCHEME: &str = "oci://";
/// The one algorithm of digests that is taken.
pub const ALGORITHM: &str = "sha256:";

/// A place in a registry of containers, by digest or by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference(Reference);

impl OciReference {
    /// Reads a reference; the error says what is wrong with it.
    pub fn read(text: &str) -> Result<OciReference, String> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| format!("it does not begin with `{SCHEME}`"))?;
        let reference: Reference = rest.parse().map_err(|error: oci_client::ParseError| error.to_string())?;
        // Without a host the crate would take it for one of Docker's own images.
        if rest.split('/').next() != Some(reference.registry()) || !rest.contains('/') {
            return Err("it names no host".to_owned());
        }
        if reference.digest().is_some_and(|digest| !digest.starts_with(ALGORITHM)) {
            return Err(format!("its digest is not of `{ALGORITHM}…`"));
        }
        Ok(OciReference(reference))
    }

    /// The reference as the client takes it.
    pub fn reference(&self) -> &Reference {
        &self.0
    }

    /// The host, with its port where it names one.
    pub fn host(&self) -> &str {
        self.0.registry()
    }

    /// Whether it says by digest what is pulled.
    pub fn is_pinned(&self) -> bool {
        self.0.digest().is_some()
    }

    /// The same place by the digest of what it holds now.
    pub fn pinned(&self, digest: &str) -> OciReference {
        OciReference(Reference::with_digest(self.host().to_owned(), self.0.repository().to_owned(), digest.to_owned()))
    }

    /// Whether the host is this machine: the only one that is spoken to without TLS.
    pub fn is_loopback(&self) -> bool {
        let name = self.host().rsplit_once(':').map_or(self.host(), |(name, _)| name);
        name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

/// By digest if it names one, else by tag.
impl std::fmt::Display for OciReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.0.registry(), self.0.repository())?;
        match (self.0.digest(), self.0.tag()) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, tag) => write!(f, ":{}", tag.unwrap_or("latest")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_host_and_is_written_by_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let read = |text: &str| OciReference::read(text).map(|reference| (reference.to_string(), reference.is_loopback()));
        assert_eq!(read("oci://ghcr.io/a/b:1"), Ok(("oci://ghcr.io/a/b:1".to_owned(), false)));
        assert_eq!(read("oci://ghcr.io/a/b"), Ok(("oci://ghcr.io/a/b:latest".to_owned(), false)));
        assert_eq!(read(&format!("oci://127.0.0.1:5000/b:1@{digest}")), Ok((format!("oci://127.0.0.1:5000/b@{digest}"), true)));
        assert_eq!(read("oci://localhost/b:1"), Ok(("oci://localhost/b:1".to_owned(), true)));
        assert!(!read("oci://127.example.com/b").unwrap().1);
        for (text, expected) in [
            ("ghcr.io/a/b:1", "does not begin with `oci://`"),
            ("oci://csv:1", "names no host"),
            ("oci://team/csv:1", "names no host"),
            ("oci://ghcr.io/A:1", "invalid reference format"),
            ("oci://ghcr.io/a@sha256:00", "invalid reference format"),
            (&format!("oci://ghcr.io/a@sha512:{}", "0a".repeat(64)), "is not of `sha256:"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let pinned = OciReference::read("oci://ghcr.io/a/b:1").unwrap().pinned(&digest);
        assert!(pinned.is_pinned() && pinned.to_string() == format!("oci://ghcr.io/a/b@{digest}"));
    }
}
