//! `tidegate up`: the loop as a service.

use super::config;
use crate::args::{Global, Up};
use crate::compose;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::up::{Options, up as run_host};

/// Runs the host until it is told to stop.
///
/// # Errors
/// A [`Failure`] when something it needs cannot be opened: the state folder, a plugin, the address.
pub fn up(global: &Global, options: &Up, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut config = config(global)?;
    config.check_files()?;
    config.unserved("up").iter().for_each(|note| terminal.note(note));
    let only = match &global.pipeline {
        Some(name) => Some(config.pipeline(Some(name))?.id.clone()),
        None => None,
    };
    only.iter().for_each(|only| config.retain(only));
    let options = Options { listen: options.listen, replay: options.replay, once: options.once, only };
    compose::with_state(&config, async |state| {
        run_host(config.clone(), state, options, terminal).await?;
        Ok(Exit::Ok)
    })
}
