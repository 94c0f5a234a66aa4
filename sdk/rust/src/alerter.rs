//! An alert out.

use serde::de::DeserializeOwned;

use crate::{Failure, Issues};

/// One message with a cause and a link to evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Names the cause: alerts of one key are one alert.
    pub key: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What happened.
    pub cause: String,
    /// The model it is about.
    pub model: String,
    /// Where the evidence is.
    pub link: String,
    /// When it fired, microseconds since 1970, UTC.
    pub fired_at_us: i64,
    /// Whether this says that it is over.
    pub resolved: bool,
}

/// A plugin that tells people.
///
/// ```
#[doc = include_str!("../examples/alerter.rs")]
/// ```
pub trait Alerter: Sized + 'static {
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

    /// Sends the alert; the answer is what the other side calls it, if it does.
    ///
    /// # Errors
    /// When it could not be sent; say with [`Failure::retryable`] when to try again.
    fn notify(&self, alert: &Alert) -> Result<Option<String>, Failure>;
}

#[cfg(target_family = "wasm")]
mod glue {
    use super::{Alert, Alerter};
    use crate::Failure;
    use crate::bindings::alerter as wit;
    use crate::bindings::host::failures;
    use crate::export::private::{Exported, Hosted, configured};

    impl<P: Alerter + Hosted> wit::Guest for Exported<P> {
        fn notify(alert: wit::Alert) -> Result<wit::Receipt, failures::Failure> {
            let wit::Alert { key, severity, title, cause, model, link, fired_at_us, resolved } = alert;
            let alert = Alert { key, severity, title, cause, model, link, fired_at_us, resolved };
            let reference = configured::<P>()?.notify(&alert).map_err(Failure::into_host)?;
            Ok(wit::Receipt { reference })
        }
    }
}
