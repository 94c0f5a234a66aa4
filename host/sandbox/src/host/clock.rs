//! `clock`: the host's time, simulated in a backtest, for plugins that were granted it.

use crate::bindings::shared::clock::Host;

use super::HostState;

impl Host for HostState {
    /// The interface has no error for a denial, so that a plugin without the grant reads the frozen clock of WASI: the epoch.
    fn now_us(&mut self) -> wasmtime::Result<i64> {
        self.count_call()?;
        if self.grants.clock {
            return Ok(self.clock.now().0);
        }
        let line = format!("[plugin.{}.grant] clock = true", self.plugin);
        self.deny("the clock", line);
        Ok(0)
    }
}
