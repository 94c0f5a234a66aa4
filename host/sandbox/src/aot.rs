//! The cache of compiled plugins.
//!
//! Invariant: bytes are handed to `deserialize` only when this process (or a child of it) compiled them, or when their MAC over
//! key and code verifies. The key names the component's digest, wasmtime, the target and the whole engine configuration, so that
//! an entry can go stale but never be wrong. A bad entry is compiled anew.

use std::hash::{Hash, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use tidegate_vocab::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compile::{CompileError, compile};
use crate::engine::SandboxInner;

const MAC_BYTES: usize = 32;

/// How a component came to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiled {
    /// It was compiled.
    Now,
    /// It was in the cache.
    Before,
}

pub(crate) fn ready(sandbox: &SandboxInner, digest: Digest, bytes: &[u8]) -> Result<(Component, Compiled), CompileError> {
    let config = &sandbox.config;
    let key = key(&sandbox.engine, digest);
    let kept = config.compiled.as_ref().and_then(|cache| cache.get(&key));
    if let Some(code) = kept.as_deref().and_then(|entry| opened(&config.mac_key, &key, entry)) {
        // An entry that another build of wasmtime made under this key is refused by it: compile anew.
        if let Ok(component) = deserialize(&sandbox.engine, code) {
            return Ok((component, Compiled::Before));
        }
    }
    let code = compile(&config.compiler, &config.limits, &sandbox.engine, sandbox.layout, bytes)?;
    let component = deserialize(&sandbox.engine, &code)
        .map_err(|error| CompileError::Died { how: "its result does not load".into(), why: format!("{error:#}") })?;
    if let Some(cache) = &config.compiled {
        cache.put(&key, &sealed(&config.mac_key, &key, &code));
    }
    Ok((component, Compiled::Now))
}

#[expect(unsafe_code, reason = "compiled code is run as it is; the callers vouch for where it comes from, see the invariant above")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was compiled by this program for this engine, in this process or in its child, or carries a MAC that only
    // this program's key can have made over the same.
    unsafe { Component::deserialize(engine, code) }
}

/// The name of an entry.
fn key(engine: &Engine, digest: Digest) -> String {
    struct Fingerprint(Sha256);
    impl Hasher for Fingerprint {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut fingerprint = Fingerprint(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut fingerprint);
    (std::env::consts::ARCH, std::env::consts::OS, env!("CARGO_PKG_VERSION")).hash(&mut fingerprint);
    format!("{digest}-{}", &hex::encode(fingerprint.0.finalize())[..32])
}

fn mac(mac_key: &[u8; 32], key: &str, code: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).expect("HMAC takes keys of any length");
    mac.update(&(key.len() as u64).to_le_bytes());
    mac.update(key.as_bytes());
    mac.update(code);
    mac
}

fn sealed(mac_key: &[u8; 32], key: &str, code: &[u8]) -> Vec<u8> {
    let mut entry = mac(mac_key, key, code).finalize().into_bytes().to_vec();
    entry.extend_from_slice(code);
    entry
}

/// The code of an entry whose MAC verifies.
fn opened<'a>(mac_key: &[u8; 32], key: &str, entry: &'a [u8]) -> Option<&'a [u8]> {
    let (tag, code) = entry.split_at_checked(MAC_BYTES)?;
    mac(mac_key, key, code).verify_slice(tag).ok().map(|()| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_opens_only_with_its_key_and_whole() {
        let entry = sealed(&[7; 32], "a", b"code");
        assert_eq!(opened(&[7; 32], "a", &entry), Some(&b"code"[..]));
        assert_eq!(opened(&[8; 32], "a", &entry), None);
        assert_eq!(opened(&[7; 32], "b", &entry), None);
        for at in 0..entry.len() {
            let mut flipped = entry.clone();
            flipped[at] ^= 1;
            assert_eq!(opened(&[7; 32], "a", &flipped), None, "byte {at}");
        }
        assert_eq!(opened(&[7; 32], "a", &entry[..20]), None);
    }
}
