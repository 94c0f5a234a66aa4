//! `tidegate token`: who may call the server from outside.

use serde_json::json;
use tidegate_serve::{ServeError, TokenFile, TokenRole as Role};
use tidegate_vocab::Clock as _;

use super::config;
use crate::args::{Global, TokenCommand, TokenRole};
use crate::compose::clock::SystemClock;
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, table};

/// Makes, lists or takes back tokens. A running host notices within seconds.
///
/// # Errors
/// A [`Failure`] when the file cannot be read or written, or the name is taken or not there.
pub fn token(global: &Global, command: &TokenCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let config = config(global)?;
    let failed = |error: ServeError| {
        let hint = error.hint();
        Failure::new(&error, hint)
    };
    let tokens = TokenFile::open(config.tokens_file()).map_err(failed)?;
    match command {
        TokenCommand::Create { name, role } => {
            let role = match role {
                TokenRole::Read => Role::Read,
                TokenRole::Predict => Role::Predict,
                TokenRole::Label => Role::Label,
                TokenRole::Operate => Role::Operate,
            };
            let secret = tokens.create(name, role, SystemClock.now()).map_err(failed)?;
            terminal.result(|| format!("{secret}\n"), || json!({ "name": name, "role": role.word(), "token": secret }));
        }
        TokenCommand::List => {
            let all = tokens.list();
            let row = |token: &tidegate_serve::Token| vec![token.name.clone(), token.role.word().to_owned(), token.created.to_string()];
            let value = |token: &tidegate_serve::Token| json!({ "name": token.name, "role": token.role.word(), "created": token.created });
            let none = "there is no token; `tidegate token create NAME --role label` makes one\n";
            let text =
                || if all.is_empty() { none.to_owned() } else { table(&["name", "role", "created"], all.iter().map(row).collect(), 9) };
            terminal.result(text, || all.iter().map(value).collect());
        }
        TokenCommand::Revoke { name } => {
            tokens.revoke(name).map_err(failed)?;
            terminal.result(|| format!("`{name}` is taken back\n"), || json!({ "revoked": name }));
        }
    }
    Ok(Exit::Ok)
}
