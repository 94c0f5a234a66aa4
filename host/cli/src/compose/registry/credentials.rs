//! Credentials for a registry: from the environment, or from where `docker login` and its like keep them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::failure::Failure;

/// `HOST=USER:PASSWORD`, for one registry.
pub const VARIABLE: &str = "TIDEGATE_REGISTRY_AUTH";
/// Bytes of a file of credentials.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What `docker login` writes, as far as it is used here.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
}

/// The credentials for `host`, if there are any.
///
/// # Errors
/// A [`Failure`] that names the variable or the file that cannot be read, never what is in it.
pub fn of(host: &str) -> Result<RegistryAuth, Failure> {
    if let Ok(value) = std::env::var(VARIABLE)
        && let Some(auth) = in_variable(&value, host)?
    {
        return Ok(auth);
    }
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    folder.map_or(Ok(RegistryAuth::Anonymous), |folder| in_file(&folder.join("config.json"), host))
}

fn in_variable(value: &str, host: &str) -> Result<Option<RegistryAuth>, Failure> {
    let parts = value.split_once('=').and_then(|(own, pair)| Some((own, pair.split_once(':')?)));
    let Some((own, (user, password))) = parts else {
        return Err(Failure::usage(
            format!("`{VARIABLE}` is not of the form HOST=USER:PASSWORD"),
            format!("write `{host}=USER:PASSWORD`, or unset it"),
        ));
    };
    Ok((own == host).then(|| RegistryAuth::Basic(user.to_owned(), password.to_owned())))
}

#[expect(clippy::disallowed_methods, reason = "a file of the operator's, in the place that all tools use")]
fn in_file(path: &Path, host: &str) -> Result<RegistryAuth, Failure> {
    let unusable = |why: String| {
        let hint = format!("mend it, log in again with `docker login {host}`, or set `{VARIABLE}` to `{host}=USER:PASSWORD`");
        Failure::usage(format!("the credentials in `{}` cannot be read: {why}", path.display()), hint)
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(unusable(error.to_string())),
        Ok(_) => {}
    }
    // An error of the parser could quote what it found.
    let config: DockerConfig =
        serde_json::from_slice(&bytes).map_err(|error| unusable(format!("line {} is not as it must be", error.line())))?;
    let of_host = |name: &String| name.trim_start_matches("https://").split('/').next() == Some(host);
    let Some((_, entry)) = config.auths.into_iter().find(|(name, _)| of_host(name)) else { return Ok(RegistryAuth::Anonymous) };
    if !entry.username.is_empty() {
        return Ok(RegistryAuth::Basic(entry.username, entry.password));
    }
    // Where a helper keeps them, the entry is empty.
    if entry.auth.is_empty() {
        return Ok(RegistryAuth::Anonymous);
    }
    let pair = BASE64_STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let (user, password) = pair.ok_or_else(|| unusable(format!("its entry for `{host}` is no pair in base64")))?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they read")]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_variable_is_for_one_host() {
        assert_eq!(in_variable("ghcr.io=ada:a:b=c", "ghcr.io").unwrap(), Some(basic("ada", "a:b=c")));
        assert_eq!(in_variable("ghcr.io=ada:x", "ghcr.io.example.com").unwrap(), None);
        let failure = in_variable("ada:secret-word", "ghcr.io").unwrap_err().line();
        assert!(failure.contains("not of the form") && !failure.contains("secret-word"), "{failure}");
    }

    #[test]
    fn what_docker_login_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert_eq!(in_file(&path, "ghcr.io").unwrap(), RegistryAuth::Anonymous);
        let read = |text: &str, host: &str| {
            std::fs::write(&path, text).unwrap();
            in_file(&path, host)
        };
        let pair = BASE64_STANDARD.encode("ada:word:2");
        let auths = format!(
            r#"{{"auths":{{"ghcr.io":{{"auth":"{pair}"}},"https://a.example/v1/":{{"username":"b","password":"c"}},"h":{{}}}},"credsStore":"x"}}"#
        );
        assert_eq!(read(&auths, "ghcr.io").unwrap(), basic("ada", "word:2"));
        assert_eq!(read(&auths, "a.example").unwrap(), basic("b", "c"));
        assert_eq!(read(&auths, "h").unwrap(), RegistryAuth::Anonymous);
        assert_eq!(read(&auths, "io").unwrap(), RegistryAuth::Anonymous);
        for (text, expected) in [
            (r#"{"auths":{"h":{"auth":"secret-word"}}}"#, "no pair in base64"),
            (r#"{"auths":"secret-word"}"#, "line 1 is not as it must be"),
        ] {
            let failure = read(text, "h").unwrap_err().line();
            assert!(failure.contains(expected) && !failure.contains("secret-word"), "{failure}");
        }
    }
}
