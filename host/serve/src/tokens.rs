//! Who may do what: named secrets with a role, of which only digests are kept.
//!
//! A secret is 256 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing to guess.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tidegate_vocab::{Digest, Timestamp};

use crate::error::ServeError;

/// What a token allows.
///
/// `operate` allows everything, because whoever may choose the champion can do no more harm with labels. Every role allows `read`.
/// Nothing else includes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenRole {
    /// To see the status page, the metrics and what models there are.
    Read,
    /// To ask models.
    Predict,
    /// To say what turned out to be true.
    Label,
    /// Everything.
    Operate,
}

impl TokenRole {
    /// All roles, in the order in which messages list them.
    pub const ALL: [TokenRole; 4] = [TokenRole::Read, TokenRole::Predict, TokenRole::Label, TokenRole::Operate];

    /// The word in the file of tokens and in secrets.
    pub fn word(self) -> &'static str {
        match self {
            TokenRole::Read => "read",
            TokenRole::Predict => "predict",
            TokenRole::Label => "label",
            TokenRole::Operate => "operate",
        }
    }

    /// Whether a token of this role may do what needs `needed`.
    pub fn allows(self, needed: TokenRole) -> bool {
        self == needed || self == TokenRole::Operate || needed == TokenRole::Read
    }
}

impl FromStr for TokenRole {
    type Err = String;

    fn from_str(text: &str) -> Result<TokenRole, String> {
        let found = TokenRole::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("`{text}` is no role of a token: expected read, predict, label or operate"))
    }
}

/// One token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name, for people.
    pub name: String,
    /// What it allows.
    pub role: TokenRole,
    /// SHA-256 of the secret.
    pub sha256: Digest,
    /// When it was created, ISO 8601.
    pub created: String,
}

/// All tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// In the order of creation.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Token>,
}

impl Tokens {
    /// Adds a token and returns its secret, which is kept nowhere.
    ///
    /// # Errors
    /// The name is taken or not a name, or the system gives no random bytes.
    pub fn create(&mut self, name: &str, role: TokenRole, now: Timestamp) -> Result<String, ServeError> {
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name {
            return Err(ServeError::TokenName { name: name.chars().take(80).collect() });
        }
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(ServeError::TokenExists { name: name.into() });
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| ServeError::Random { why: error.to_string() })?;
        let secret = format!("tg_{}_{}", role.word(), hex::encode(random));
        self.tokens.push(Token { name: name.into(), role, sha256: Digest::of(&secret), created: now.to_string() });
        Ok(secret)
    }

    /// Takes the token `name` away.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn revoke(&mut self, name: &str) -> Result<(), ServeError> {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        if self.tokens.len() == before {
            let names: Vec<String> = self.tokens.iter().map(|token| format!("`{}`", token.name)).collect();
            let found = if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(ServeError::TokenMissing { name: name.chars().take(80).collect(), found });
        }
        Ok(())
    }

    /// The token whose secret this is. Takes as long for a wrong secret as for a right one.
    pub fn check(&self, secret: &str) -> Option<&Token> {
        let digest = Digest::of(secret);
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.sha256.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(token);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_until_it_is_revoked_and_is_kept_nowhere() {
        let mut tokens = Tokens::default();
        let secret = tokens.create("ada", TokenRole::Label, Timestamp(0)).unwrap();
        assert!(secret.starts_with("tg_label_") && secret.len() == 9 + 64, "{secret}");
        let other = tokens.create("bob", TokenRole::Read, Timestamp(0)).unwrap();
        assert_eq!(tokens.check(&secret).map(|token| token.name.as_str()), Some("ada"));
        assert_eq!(tokens.check(&other).map(|token| token.role), Some(TokenRole::Read));
        assert_eq!(tokens.check(&secret[..secret.len() - 1]), None);
        assert_eq!(tokens.check(""), None);
        let text = toml::to_string(&tokens).unwrap();
        assert!(!text.contains(&secret) && text.contains("role = \"label\""), "{text}");
        assert_eq!(toml::from_str::<Tokens>(&text).unwrap(), tokens);
        tokens.revoke("ada").unwrap();
        assert_eq!(tokens.check(&secret), None);
        assert_eq!(tokens.revoke("ada").unwrap_err().to_string(), "there is no token named `ada`; there are `bob`");
    }

    #[test]
    fn names_are_checked() {
        let mut tokens = Tokens::default();
        tokens.create("a", TokenRole::Read, Timestamp(0)).unwrap();
        for (name, expected) in [("a", "already"), ("", "cannot name"), ("a b", "cannot name"), (&"x".repeat(65), "cannot name")] {
            let error = tokens.create(name, TokenRole::Read, Timestamp(0)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn roles_include_what_is_said_and_no_more() {
        use TokenRole::{Label, Operate, Predict, Read};
        let allowed: Vec<(TokenRole, TokenRole)> = TokenRole::ALL
            .into_iter()
            .flat_map(|role| TokenRole::ALL.map(|needed| (role, needed)))
            .filter(|(role, needed)| role.allows(*needed))
            .collect();
        let expected = [
            (Read, Read),
            (Predict, Read),
            (Predict, Predict),
            (Label, Read),
            (Label, Label),
            (Operate, Read),
            (Operate, Predict),
            (Operate, Label),
            (Operate, Operate),
        ];
        assert_eq!(allowed, expected);
    }
}
