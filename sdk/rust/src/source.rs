//! Rows in.

use serde::de::DeserializeOwned;

use crate::{BatchBuilder, Failure, Issues};

/// A plugin that brings rows in.
///
/// ```
#[doc = include_str!("../examples/source.rs")]
/// ```
pub trait Source: Sized + 'static {
    /// Its configuration. Keys that the type does not read are refused.
    type Config: DeserializeOwned;
    /// What reads its rows.
    type Reader: Reader;

    /// Takes the configuration. Called once, first.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn configure(config: Self::Config) -> Result<Self, Issues>;

    /// A self-test without side effects.
    ///
    /// # Errors
    /// When the plugin would not work.
    fn probe(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// A reader that goes on after `cursor`, or from the beginning.
    ///
    /// # Errors
    /// When the input cannot be opened, or is not the one that the cursor is about.
    fn open(&self, cursor: Option<&[u8]>) -> Result<Self::Reader, Failure>;
}

/// Reads the rows of a source.
pub trait Reader: 'static {
    /// At most `rows_max` rows of at most about `bytes_max` bytes.
    ///
    /// # Errors
    /// When the rows cannot be read. What was returned before stays as it is.
    fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, Failure>;
}

/// What a reader has.
pub enum Pull {
    /// Rows, and the cursor behind them: the host commits both or neither.
    Rows(BatchBuilder, Vec<u8>),
    /// Nothing now; ask again after `retry_ms` milliseconds.
    Idle {
        /// Milliseconds.
        retry_ms: u32,
    },
    /// Nothing ever again.
    Finished,
}

#[cfg(target_family = "wasm")]
mod glue {
    use std::cell::RefCell;

    use super::{Pull, Reader, Source};
    use crate::Failure;
    use crate::bindings::host::failures;
    use crate::bindings::source as wit;
    use crate::export::private::{Exported, Hosted, configured};

    /// A reader as the host holds it. Boxed, because the bindings want one type for all sources.
    pub struct HostReader(RefCell<Box<dyn Reader>>);

    impl<P: Source + Hosted> wit::Guest for Exported<P> {
        type Reader = HostReader;

        fn open(cursor: Option<Vec<u8>>) -> Result<wit::Reader, failures::Failure> {
            let reader = configured::<P>()?.open(cursor.as_deref()).map_err(Failure::into_host)?;
            Ok(wit::Reader::new(HostReader(RefCell::new(Box::new(reader)))))
        }
    }

    impl wit::GuestReader for HostReader {
        fn next(&self, rows_max: u32, bytes_max: u64) -> Result<wit::Pull, failures::Failure> {
            let pulled = self.0.borrow_mut().next(rows_max, bytes_max);
            let pulled = pulled.and_then(|pull| {
                Ok(match pull {
                    Pull::Rows(rows, cursor) => wit::Pull::Rows(wit::Pulled { rows: rows.finish()?, cursor }),
                    Pull::Idle { retry_ms } => wit::Pull::Idle(retry_ms),
                    Pull::Finished => wit::Pull::Finished,
                })
            });
            pulled.map_err(Failure::into_host)
        }
    }
}
