//! Secret keys in minisign's format, and what they sign.
//!
//! Invariant: minisign itself reads every file that is written here, and reads it the same way.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::trust::key_id;

/// The algorithm of a key: ed25519.
const KEY: &[u8; 2] = b"Ed";
/// The algorithm of a signature: ed25519 over the hash.
const HASHED: &[u8; 2] = b"ED";
/// The algorithm of a secret key's checksum.
const CHECKSUM: &[u8; 2] = b"B2";
const ID_BYTES: usize = 8;
const SEED_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 32;
/// Salt and costs of a password, 0 where there is none.
const PASSWORD_BYTES: usize = 48;
/// Where the id lies in a secret key: after three algorithms and what belongs to a password.
const ID_AT: usize = 6 + PASSWORD_BYTES;
const SEED_AT: usize = ID_AT + ID_BYTES;
const SECRET_BYTES: usize = SEED_AT + 2 * SEED_BYTES + CHECKSUM_BYTES;

/// A secret key without a password.
pub struct SecretKey {
    id: [u8; ID_BYTES],
    seed: [u8; SEED_BYTES],
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// Why the system gave no chance.
    pub fn generate() -> Result<SecretKey, String> {
        let (mut id, mut seed) = ([0; ID_BYTES], [0; SEED_BYTES]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut seed)).map_err(|error| error.to_string())?;
        SecretKey::of(id, seed)
    }

    fn of(id: [u8; ID_BYTES], seed: [u8; SEED_BYTES]) -> Result<SecretKey, String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| error.to_string())?;
        Ok(SecretKey { id, seed, pair })
    }

    /// The key in the text of its file.
    ///
    /// # Errors
    /// Why it is none, never what is in it.
    pub fn read(text: &str) -> Result<SecretKey, String> {
        let line = text.lines().nth(1).ok_or("it has no second line")?;
        let bytes = BASE64_STANDARD.decode(line.trim()).map_err(|_| "its second line is not base64")?;
        if bytes.len() != SECRET_BYTES || bytes[..2] != *KEY {
            return Err("it is not in minisign's format".to_owned());
        }
        if bytes[2..4] != [0, 0] {
            return Err("it has a password".to_owned());
        }
        let (mut id, mut seed) = ([0; ID_BYTES], [0; SEED_BYTES]);
        id.copy_from_slice(&bytes[ID_AT..SEED_AT]);
        seed.copy_from_slice(&bytes[SEED_AT..SEED_AT + SEED_BYTES]);
        let key = SecretKey::of(id, seed)?;
        let whole = key.bytes();
        let (ours, given) = (whole.split_at(SECRET_BYTES - CHECKSUM_BYTES), bytes.split_at(SECRET_BYTES - CHECKSUM_BYTES));
        // minisign leaves the checksum of a key without a password empty: only with a password is there something to be wrong about.
        let is_whole = ours.0 == given.0 && (ours.1 == given.1 || given.1.iter().all(|byte| *byte == 0));
        if is_whole { Ok(key) } else { Err("it is damaged".to_owned()) }
    }

    /// The text of its file.
    pub fn secret_text(&self) -> String {
        format!("untrusted comment: minisign secret key {}\n{}\n", self.id(), BASE64_STANDARD.encode(self.bytes()))
    }

    /// The text of the file of its public key.
    pub fn public_text(&self) -> String {
        let bytes = [KEY, &self.id[..], self.pair.public_key().as_ref()].concat();
        format!("untrusted comment: minisign public key {}\n{}\n", self.id(), BASE64_STANDARD.encode(bytes))
    }

    /// Its id, as minisign writes it.
    pub fn id(&self) -> String {
        key_id(&self.id)
    }

    /// The text of a signature of `bytes`, with a comment of one line that is signed as well.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> String {
        let signature = self.pair.sign(blake2b_simd::blake2b(bytes).as_bytes());
        let over_all = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let first = BASE64_STANDARD.encode([HASHED, &self.id[..], signature.as_ref()].concat());
        let last = BASE64_STANDARD.encode(over_all);
        format!("untrusted comment: signature from tidegate\n{first}\ntrusted comment: {comment}\n{last}\n")
    }

    fn bytes(&self) -> Vec<u8> {
        let key = [&self.id[..], &self.seed, self.pair.public_key().as_ref()].concat();
        let checksum = blake2b_simd::Params::new().hash_length(CHECKSUM_BYTES).hash(&[KEY, &key[..]].concat());
        [KEY, &[0, 0][..], CHECKSUM, &[0; PASSWORD_BYTES], &key, checksum.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `minisign -G -W` wrote (0.11, Debian 12): a key without a password has no checksum.
    const OF_MINISIGN: &str = "untrusted comment: minisign encrypted secret key\n\
        RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAq4I5kwgJ4fi3oATb04fsZHnWW33mmw9nVwnHKy\
        +xv4iUWmthAno8Ir5Np92J/IWGnJCXmGkZxqgRp7FbpzWODq9T+EUTcv5eAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    #[test]
    fn a_key_that_minisign_made_is_read() {
        assert_eq!(SecretKey::read(OF_MINISIGN).unwrap().id(), "F8E10908933982AB");
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_a_damaged_one_is_refused() {
        let key = SecretKey::generate().unwrap();
        let text = key.secret_text();
        let again = SecretKey::read(&text).unwrap();
        assert_eq!((again.id(), again.public_text()), (key.id(), key.public_text()));
        let bytes = key.bytes();
        let of = |bytes: &[u8]| SecretKey::read(&format!("comment\n{}\n", BASE64_STANDARD.encode(bytes))).map(|key| key.id());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(of(&changed).is_err(), "byte {at}");
        }
        assert_eq!(of(&bytes[..bytes.len() - 1]), Err("it is not in minisign's format".to_owned()));
        assert!(SecretKey::read(&key.public_text()).is_err());
        assert!(SecretKey::read("").is_err());
    }
}
