//! Secrets: read from where the settings say they are, when the plugin that may use them is set up.

use std::path::Path;

use tidegate_sandbox::{SecretGrant, SecretValue};
use tidegate_vocab::PluginName;

use crate::config::{self, SecretOrigin};
use crate::failure::Failure;
use crate::plain_file;

/// Bytes of a file that holds a secret.
const FILE_BYTES_MAX: u64 = 65_536;

/// The secrets that `plugin` was lent by the settings in `folder`, with their values.
///
/// # Errors
/// A [`Failure`] that names the secret and where its value was looked for, never the value.
pub fn secrets(plugin: &PluginName, lent: &[config::SecretGrant], folder: &Path) -> Result<Vec<SecretGrant>, Failure> {
    lent.iter().map(|secret| secret_of(plugin, secret, folder)).collect()
}

fn secret_of(plugin: &PluginName, secret: &config::SecretGrant, folder: &Path) -> Result<SecretGrant, Failure> {
    let (place, found) = match &secret.from {
        SecretOrigin::Env(name) => (format!("the environment variable `{name}`"), from_environment(name)),
        SecretOrigin::File(path) => (format!("`{}`", path.display()), from_file(path)),
    };
    let value = found.and_then(SecretValue::new).map_err(|why| {
        let text = format!("the secret `{}` of plugin `{plugin}` could not be read from {place}: {why}", secret.name);
        let hint = match &secret.from {
            SecretOrigin::Env(name) => {
                format!("set `{name}` where tidegate is started, or correct `from` in `[plugin.{plugin}.grant] secrets`")
            }
            SecretOrigin::File(_) => format!("write the value into that file, or correct `from` in `[plugin.{plugin}.grant] secrets`"),
        };
        Failure::usage(text, hint)
    })?;
    // As the settings have it, for the line that would bind it to another place.
    let from = match &secret.from {
        SecretOrigin::Env(name) => format!("env:{name}"),
        SecretOrigin::File(path) => format!("file:{}", path.strip_prefix(folder).unwrap_or(path).display()),
    };
    let config::SecretGrant { name, header, host, path, .. } = secret.clone();
    Ok(SecretGrant { name, header, host, path, value, from })
}

fn from_environment(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => "it is not set".to_owned(),
        std::env::VarError::NotUnicode(_) => "it is not text".to_owned(),
    })
}

/// The text of a file; the line end that editors add is no part of it.
fn from_file(path: &std::path::Path) -> Result<String, String> {
    let text = plain_file::text(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they name")]
mod tests {
    use super::*;

    fn read(from: SecretOrigin) -> Result<Vec<SecretGrant>, Failure> {
        let (name, header, host) = ("key".to_owned(), "authorization".to_owned(), "a.example".to_owned());
        let secret = config::SecretGrant { name, header, host, path: "/".to_owned(), from };
        secrets(&"web".parse().unwrap(), &[secret], Path::new("/settings"))
    }

    #[test]
    fn a_secret_is_the_text_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "Bearer 0123456789\n").unwrap();
        let found = read(SecretOrigin::File(path.clone())).unwrap();
        assert_eq!(found[0].value, SecretValue::new("Bearer 0123456789").unwrap());
        assert_eq!(found[0].from, format!("file:{}", path.display()));
        std::fs::write(&path, "a\nkey in two lines").unwrap();
        let failure = format!("{:?}", read(SecretOrigin::File(path)).unwrap_err());
        assert!(failure.contains("cannot stand in a header") && !failure.contains("two lines"), "{failure}");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_with_its_place() {
        let failure = format!("{:?}", read(SecretOrigin::Env("TIDEGATE_NO_SUCH_KEY".to_owned())).unwrap_err());
        assert!(failure.contains("environment variable `TIDEGATE_NO_SUCH_KEY`: it is not set"), "{failure}");
        let failure = format!("{:?}", read(SecretOrigin::File("/nowhere/key".into())).unwrap_err());
        assert!(failure.contains("secret `key` of plugin `web`") && failure.contains("No such file"), "{failure}");
    }
}
