//! Rows to rows.

use serde::de::DeserializeOwned;

use crate::{Batch, Edit, Failure, Issues};

/// A plugin that changes rows or quarantines them. It is pure: the same rows and configuration give the same edits,
/// and the same [`state`](crate::state) where it keeps some.
///
/// ```
#[doc = include_str!("../examples/cleaner.rs")]
/// ```
pub trait Cleaner: Sized + 'static {
    /// Its configuration. Keys that the type does not read are refused.
    type Config: DeserializeOwned;

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

    /// Reads `rows` and asks for edits.
    ///
    /// # Errors
    /// When the rows cannot be cleaned; no edit is made then.
    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure>;
}

#[cfg(target_family = "wasm")]
mod glue {
    use super::Cleaner;
    use crate::bindings::cleaner as wit;
    use crate::bindings::host::{failures, rows};
    use crate::export::private::{Exported, Hosted, configured};
    use crate::{Batch, Edit, Failure};

    impl<P: Cleaner + Hosted> wit::Guest for Exported<P> {
        fn clean(rows: &rows::Batch, edit: &rows::Editor) -> Result<(), failures::Failure> {
            configured::<P>()?.clean(&Batch::new(rows), &Edit::new(edit)).map_err(Failure::into_host)
        }
    }
}
