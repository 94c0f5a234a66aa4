//! An alerter that misbehaves in the one way that its configuration names; `behave` does nothing.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::{Alert, Alerter, Failure, Issues};

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub mode: Mode,
}

/// What it does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Takes the alert and tells nobody.
    Behave,
    /// Never returns.
    Spin,
    /// Executes `unreachable`.
    Trap,
    /// Says that it could not, for ever.
    Refuse,
}

/// The plugin.
pub struct Hostile {
    mode: Mode,
}

tidegate_plugin::export!(Hostile, alerter);

impl Alerter for Hostile {
    type Config = Config;

    fn configure(config: Config) -> Result<Hostile, Issues> {
        Ok(Hostile { mode: config.mode })
    }

    fn notify(&self, _alert: &Alert) -> Result<Option<String>, Failure> {
        match self.mode {
            Mode::Behave => Ok(None),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Trap => trap(),
            Mode::Refuse => Err(Failure::retryable("the line is busy", 60_000)),
        }
    }
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    std::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}
